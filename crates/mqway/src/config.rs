//! `mqway config`: looks at configuration files.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{CommandFactory, Subcommand};

use crate::cli::Cli;
use crate::failure::Failure;
use crate::logging::{self, say};
use crate::proxy::wiring;
use crate::settings::{DEFAULT_FILE, Settings, profile};

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
            let settings = Settings::load(Some(file))?;
            // What the proxy would warn of, it warns of here.
            logging::start(settings.log.level.as_deref())?;
            profile::check(&Cli::command(), &settings)?;
            // A user's own file may be for the clients alone.
            if settings.profiles.is_empty()
                || !settings.listeners.is_empty()
                || !settings.upstreams.is_empty()
            {
                wiring::wire(&settings)?;
            }
            say(format_args!("{} is good", file.display()));
            Ok(())
        }
        Action::Default => io::stdout().write_all(DEFAULT_FILE.as_bytes()).map_err(Failure::other),
    }
}
