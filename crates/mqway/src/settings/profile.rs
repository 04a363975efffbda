//! Profiles: tables of the configuration file that say what no flag and no variable says.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use toml::{Table, Value};

use super::{Settings, known};
use crate::client_flags::arguments::COMMANDS;
use crate::failure::Failure;

/// Flags that say the same thing in different words: whichever comes from higher up leaves the others out.
const RIVALS: [(&str, &[&str]); 12] = [
    ("server", &["url", "host", "port", "unix"]),
    ("url", &["host", "port", "unix"]),
    ("unix", &["url", "host", "port"]),
    ("host", &["url", "unix"]),
    ("port", &["url", "unix"]),
    ("message", &MESSAGES),
    ("file", &MESSAGES),
    ("stdin_file", &MESSAGES),
    ("stdin_line", &MESSAGES),
    ("null_message", &MESSAGES),
    ("id", &["id_prefix"]),
    ("id_prefix", &["id"]),
];

const MESSAGES: [&str; 5] = ["message", "file", "stdin_file", "stdin_line", "null_message"];

/// Completes the command line of a client command: variables of the environment yield to flags that mean something
/// else in their place, and what neither says is taken from the profile, if there is one. `None`: it is complete.
///
/// # Errors
/// If the profile is not there, or says what is no flag.
pub fn complete(
    program: &Command,
    arguments: &[OsString],
    matches: &ArgMatches,
) -> Result<Option<(Command, Vec<OsString>)>, Failure> {
    let Some((name, matches)) = matches.subcommand().filter(|(name, _)| COMMANDS.contains(name)) else {
        return Ok(None);
    };
    let Some(command) = program.find_subcommand(name) else { return Ok(None) };
    let given = Given { matches, command };
    let yielding: Vec<_> = given.from(ValueSource::EnvVariable).filter(|id| given.is_beaten(id)).collect();
    let profile = match matches.get_one::<String>("profile") {
        Some(profile) => given.additions(program, &file(matches)?, profile)?,
        None => Vec::new(),
    };
    if yielding.is_empty() && profile.is_empty() {
        return Ok(None);
    }
    let without = |arg: Arg| match yielding.contains(&arg.get_id().as_str()) {
        true => arg.env(clap::builder::Resettable::Reset),
        false => arg,
    };
    let program = program.clone().mut_subcommand(name, |command| command.mut_args(without));
    let (before, behind) = arguments.split_at(arguments.len().min(2));
    Ok(Some((program, [before, &profile, behind].concat())))
}

/// Checks the names in all profiles.
///
/// # Errors
/// The first name that is no flag, with the nearest that is.
pub fn check(program: &Command, settings: &Settings) -> Result<(), Failure> {
    settings.profiles.iter().try_for_each(|(name, profile)| check_keys(program, name, profile))
}

/// What the command line and the environment say.
struct Given<'a> {
    matches: &'a ArgMatches,
    command: &'a Command,
}

impl<'a> Given<'a> {
    fn from(&self, source: ValueSource) -> impl Iterator<Item = &'a str> {
        let matches = self.matches;
        let ids = self.command.get_arguments().map(|arg| arg.get_id().as_str());
        ids.filter(move |id| matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(source))
    }

    /// Whether a flag of the command line says something else in place of this one.
    fn is_beaten(&self, id: &str) -> bool {
        self.from(ValueSource::CommandLine).any(|flag| rivals(flag, id))
    }

    /// What the profile adds, as arguments.
    fn additions(&self, program: &Command, file: &Path, name: &str) -> Result<Vec<OsString>, Failure> {
        let settings = Settings::load(Some(file))?;
        let Some(profile) = settings.profiles.get(name) else {
            let there: Vec<_> = settings.profiles.keys().map(String::as_str).collect();
            let there = if there.is_empty() { "there are none".to_owned() } else { there.join(", ") };
            let file = file.display();
            return Err(Failure::usage(format_args!(
                "{file} has no profile {name:?}; its profiles: {there}"
            )));
        };
        check_keys(program, name, profile)?;
        let set: Vec<_> =
            self.from(ValueSource::CommandLine).chain(self.from(ValueSource::EnvVariable)).collect();
        let mut additions = Vec::new();
        for (key, value) in profile {
            let id = key.replace('-', "_");
            let known = self.command.get_arguments().find(|arg| arg.get_id() == id.as_str());
            let said = set.iter().any(|other| *other == id || rivals(other, &id));
            if let Some(arg) = known.filter(|_| !said) {
                let wrong = |why: &str| {
                    Failure::usage(format_args!("{}: profile {name:?}, {key}: {why}", file.display()))
                };
                additions.extend(as_arguments(arg, value).map_err(wrong)?);
            }
        }
        Ok(additions)
    }
}

fn rivals(flag: &str, other: &str) -> bool {
    flag != other && RIVALS.iter().any(|(one, rivals)| *one == flag && rivals.contains(&other))
}

/// The file that the profile is in.
fn file(matches: &ArgMatches) -> Result<PathBuf, Failure> {
    if let Some(file) = matches.get_one::<PathBuf>("config") {
        return Ok(file.clone());
    }
    let directory = |name: &str| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let settings = directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")));
    settings.map(|path| path.join("mqway/config.toml")).ok_or_else(|| {
        Failure::usage("where is the configuration file? There is no HOME; name the file with --config")
    })
}

/// Every key is a flag of one of the commands; each takes those that it has.
fn check_keys(program: &Command, name: &str, profile: &Table) -> Result<(), Failure> {
    let commands = program.get_subcommands().filter(|command| COMMANDS.contains(&command.get_name()));
    let mut known: Vec<_> = commands.flat_map(Command::get_arguments).filter_map(Arg::get_long).collect();
    known.retain(|flag| !["help", "profile", "config"].contains(flag));
    let unknown = profile.keys().map(|key| key.replace('_', "-")).find(|key| !known.contains(&key.as_str()));
    match unknown {
        None => Ok(()),
        Some(key) => Err(Failure::usage(match known::nearest(&key, &known) {
            Some(meant) => format!("profile {name:?} has `{key}`, which is no flag; did you mean `{meant}`?"),
            None => format!("profile {name:?} has `{key}`, which is no flag; mqway sub --help lists them"),
        })),
    }
}

fn as_arguments(arg: &Arg, value: &Value) -> Result<Vec<OsString>, &'static str> {
    let long = arg.get_long().unwrap_or_default();
    let one = |value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            _ => return Err("write a text, a number, true, false or a list of these"),
        };
        Ok(OsString::from(format!("--{long}={text}")))
    };
    match (value, arg.get_action().takes_values()) {
        (Value::Boolean(set), false) => Ok(set.then(|| format!("--{long}").into()).into_iter().collect()),
        (_, false) => Err("write true or false"),
        (Value::Array(values), true) => values.iter().map(one).collect(),
        (value, true) => Ok(vec![one(value)?]),
    }
}
