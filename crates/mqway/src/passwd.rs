//! `mqway passwd`: keeps a password file, by the habits of `mosquitto_passwd`.

mod prompt;
mod replace;

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::ArgAction::SetTrue;
use clap::builder::FalseyValueParser;
use mqway_access::password::{self, MAX_FILE, PasswordHash};
use mqway_access::scram::{DEFAULT_ITERATIONS, Verifier};

use crate::failure::Failure;
use crate::logging::say;

/// The longest password that CONNECT can carry, in bytes (5.0 §1.5.6).
const MAX_PASSWORD: usize = 65_535;

/// Add a user to a password file, or change or delete one
///
/// The password is asked for twice at a terminal; else it is the first line of stdin. The broker reads the file again
/// on SIGHUP.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file; made, for the eyes of its owner only, if there is none
    file: PathBuf,
    /// Whose password
    user: String,
    /// The password, with -b only: other users of this machine see it
    #[arg(requires = "batch")]
    password: Option<String>,
    /// Take the password from the command line
    #[arg(short, action = SetTrue, requires = "password")]
    batch: bool,
    /// Forget what is in the file, and begin a new one
    #[arg(short, action = SetTrue)]
    create: bool,
    /// Delete the user
    #[arg(short = 'D', action = SetTrue, conflicts_with_all = ["password", "create", "scram"])]
    delete: bool,
    /// Let the user authenticate by SCRAM-SHA-256 as well; who could before still can
    #[arg(long, env = "MQWAY_SCRAM", action = SetTrue, value_parser = FalseyValueParser::new())]
    scram: bool,
}

/// Does it.
pub fn run(args: &Args) -> Result<(), Failure> {
    password::check_user_name(&args.user)
        .map_err(|why| Failure::usage(format_args!("the user name {:?} {why}", args.user)))?;
    let text = if args.create { Vec::new() } else { read(&args.file, args.delete)? };
    if args.delete {
        return delete(args, &text);
    }
    let password = match &args.password {
        Some(password) => password.clone().into_bytes(),
        None => ask()?,
    };
    if password.is_empty() || password.len() > MAX_PASSWORD {
        return Err(Failure::usage(format_args!("a password has 1 to {MAX_PASSWORD} bytes")));
    }
    let hash = PasswordHash::new(&password).map_err(Failure::other)?;
    let wants_scram = args.scram || password::has_scram(&text, &args.user);
    let scram = wants_scram.then(|| verifier(&password)).transpose()?;
    let edited = password::set(&text, &args.user, &hash, scram.as_ref()).map_err(Failure::usage)?;
    let edited = edited.ok_or_else(|| {
        Failure::other(format_args!("{} would be longer than {MAX_FILE} bytes", args.file.display()))
    })?;
    replace::replace(&args.file, &edited.text)?;
    let done = if edited.existed { "changed the password of" } else { "added" };
    say(format_args!("{done} {:?} in {}", args.user, args.file.display()));
    Ok(())
}

fn delete(args: &Args, text: &[u8]) -> Result<(), Failure> {
    let edited = password::remove(text, &args.user);
    if !edited.existed {
        let (user, file) = (&args.user, args.file.display());
        return Err(Failure::other(format_args!("there is no user {user:?} in {file}")));
    }
    replace::replace(&args.file, &edited.text)?;
    say(format_args!("deleted {:?} from {}", args.user, args.file.display()));
    Ok(())
}

/// What the file holds; nothing, if it `must_exist` not and does not.
fn read(file: &Path, must_exist: bool) -> Result<Vec<u8>, Failure> {
    let cannot =
        |why: &dyn std::fmt::Display| Failure::usage(format_args!("cannot read {}: {why}", file.display()));
    let opened = match fs::File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => return Ok(Vec::new()),
        opened => opened.map_err(|error| cannot(&error))?,
    };
    let mut text = Vec::new();
    opened.take(MAX_FILE as u64 + 1).read_to_end(&mut text).map_err(|error| cannot(&error))?;
    if text.len() > MAX_FILE {
        return Err(cannot(&format_args!("it is longer than {MAX_FILE} bytes")));
    }
    Ok(text)
}

/// The password, from who sits at the terminal or from the first line of stdin.
fn ask() -> Result<Vec<u8>, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return prompt::line(stdin.lock(), MAX_PASSWORD);
    }
    let silence = prompt::Silence::new()?;
    let first = silence.ask("Password: ", MAX_PASSWORD)?;
    let second = silence.ask("Once more: ", MAX_PASSWORD)?;
    if first != second {
        return Err(Failure::other("the two are not the same; nothing was changed"));
    }
    Ok(first)
}

fn verifier(password: &[u8]) -> Result<Verifier, Failure> {
    let password = std::str::from_utf8(password)
        .map_err(|_| Failure::usage("SCRAM takes no password that is not UTF-8"))?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| Failure::other("the system gave no random numbers"))?;
    Verifier::derive(password, DEFAULT_ITERATIONS, &salt).map_err(Failure::usage)
}
