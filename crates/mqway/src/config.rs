//! `mqway config`: looks at configuration files.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;

use crate::failure::Failure;
use crate::logging::say;
use crate::proxy::wiring;
use crate::settings::{DEFAULT_FILE, Settings};

/// Check a configuration file, or print the default one
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read a file, and the certificates it names, and say whether the proxy would start with it
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print a file with every key explained
    Default,
}

/// Does it.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.action {
        Action::Check { file } => {
            wiring::wire(&Settings::load(Some(file))?)?;
            say(format_args!("{} is good", file.display()));
            Ok(())
        }
        Action::Default => io::stdout().write_all(DEFAULT_FILE.as_bytes()).map_err(Failure::other),
    }
}
