//! `mqway config`: looks at configuration files.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{CommandFactory, Subcommand, ValueEnum};

use crate::Maker;
use crate::access::Guards;
use crate::cli::Cli;
use crate::failure::Failure;
use crate::logging::{self, say};
use crate::settings::{BROKER_FILE, PROXY_FILE, Settings, profile};
use crate::{broker, proxy, schema};

/// Check a configuration file, or print the default one
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read a file, and the certificates, users and rules it names, and say whether the broker would start with it; or, if the file has
    /// upstreams, the proxy
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print a file with every key explained
    Default {
        /// For which command
        #[arg(value_enum, default_value_t = Server::Broker)]
        server: Server,
    },
    /// Print the JSON Schema of configuration files
    Schema,
}

/// What can be configured.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Server {
    /// mqway broker
    Broker,
    /// mqway proxy, and mqway tap
    Proxy,
}

/// Does it.
pub fn run(args: &Args, plugins: &[Maker]) -> Result<(), Failure> {
    match &args.action {
        Action::Check { file } => {
            let settings = Settings::load(Some(file))?;
            // What the server would warn of, it warns of here.
            logging::start(settings.log.level.as_deref())?;
            profile::check(&Cli::command(), &settings)?;
            // A user's own file may be for the clients alone.
            if !settings.upstreams.is_empty() {
                proxy::wiring::wire(&settings)?;
            } else if settings.profiles.is_empty() || !settings.listeners.is_empty() {
                broker::wiring::wire(&settings)?;
            }
            Guards::of(&settings, plugins, None)?.unload();
            say(format_args!("{} is good", file.display()));
            Ok(())
        }
        Action::Default { server: Server::Broker } => print(BROKER_FILE),
        Action::Default { server: Server::Proxy } => print(PROXY_FILE),
        Action::Schema => print(&schema::schema()),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    io::stdout().write_all(text.as_bytes()).map_err(Failure::other)
}
