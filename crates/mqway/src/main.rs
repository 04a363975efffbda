//! MQTT over every transport: the binary. One file a subcommand; this one only finds out which.
#![forbid(unsafe_code)]

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

/// glibc's allocator keeps the pages that one small piece of memory lies on: after a storm of clients it held nearly
/// all that the storm had taken. This one gives them back within seconds.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let command = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli.command,
        Err(status) => return status,
    };
    let done = match &command {
        Command::Broker(args) => broker::run(args),
        Command::Proxy(args) => proxy::run(args),
        Command::Tap(args) => tap::run(args),
        Command::Pub(args) => publish::run(args),
        Command::Sub(args) => subscribe::run(args),
        Command::Rr(args) => request::run(args),
        Command::Ping(args) => ping::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Passwd(args) => passwd::run(args),
        Command::Acl(args) => acl::run(args),
        Command::Config(args) => config::run(args),
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
