//! MQTT over every transport: the binary. One file a subcommand; this one only finds out which.
#![forbid(unsafe_code)]

mod cli;
mod config;
mod failure;
mod logging;
mod open_files;
mod ping;
mod proxy;
mod quantity;
mod reach;
mod settings;
mod signals;
mod tap;
mod tls_files;

use std::process::ExitCode;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let command = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli.command,
        Err(status) => return status,
    };
    let done = match &command {
        Command::Proxy(args) => proxy::run(args),
        Command::Tap(args) => tap::run(args),
        Command::Ping(args) => ping::run(args),
        Command::Config(args) => config::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
