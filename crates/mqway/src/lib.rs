//! The program `mqway`, for programs that are mqway with plugins of their own: the whole command line, with theirs compiled
//! in. To embed the broker or the proxy alone, take `mqway-broker` or `mqway-proxy`.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//! use mqway::{Plugin, PluginError, Program, Setup};
//!
//! struct Greeter;
//!
//! impl Plugin for Greeter {
//!     fn name(&self) -> &str {
//!         "greeter"
//!     }
//!
//!     fn load(&self, _: &mut Setup<'_>) -> Result<(), PluginError> {
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     Program::new().plugin(|| Arc::new(Greeter)).run()
//! }
//! ```
#![forbid(unsafe_code)]

mod access;
mod acl;
mod bench;
mod broker;
mod cli;
mod client_flags;
mod completions;
mod config;
mod dial_flags;
mod failure;
mod flags;
mod listen;
mod logging;
mod man;
mod online;
mod open_files;
mod passwd;
mod ping;
mod proxy;
mod publish;
mod quantity;
mod reach;
mod request;
mod schema;
mod settings;
mod signals;
mod subscribe;
mod tap;
mod tls_files;

use std::process::ExitCode;
use std::sync::Arc;

pub use mqway_codec as codec;
pub use mqway_hooks::{self as hooks, Plugin, PluginError, Setup};

use cli::{Cli, Command};

/// Makes a plugin: at the start, and again whenever the configuration is read again.
pub(crate) type Maker = Box<dyn Fn() -> Arc<dyn Plugin>>;

/// The program, with the plugins that are compiled in.
#[derive(Default)]
pub struct Program {
    plugins: Vec<Maker>,
}

impl Program {
    /// Without plugins.
    pub fn new() -> Program {
        Program::default()
    }

    /// Adds a plugin to the broker and the proxy, behind those that are there. It is active where the configuration has a
    /// table for it, `[plugins.NAME]`, which may be empty.
    #[must_use]
    pub fn plugin(mut self, make: impl Fn() -> Arc<dyn Plugin> + 'static) -> Program {
        self.plugins.push(Box::new(make));
        self
    }

    /// Does what the command line says.
    pub fn run(self) -> ExitCode {
        let command = match Cli::read(std::env::args_os()) {
            Ok(cli) => cli.command,
            Err(status) => return status,
        };
        let done = match &command {
            Command::Broker(args) => broker::run(args, &self.plugins),
            Command::Proxy(args) => proxy::run(args, &self.plugins),
            Command::Tap(args) => tap::run(args),
            Command::Pub(args) => publish::run(args),
            Command::Sub(args) => subscribe::run(args),
            Command::Rr(args) => request::run(args),
            Command::Ping(args) => ping::run(args),
            Command::Bench(args) => bench::run(args),
            Command::Passwd(args) => passwd::run(args),
            Command::Acl(args) => acl::run(args),
            Command::Config(args) => config::run(args, &self.plugins),
            Command::Completions(args) => completions::run(args),
            Command::Man(args) => man::run(args),
        };
        let status = match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        };
        logging::finish();
        status
    }
}
