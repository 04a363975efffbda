//! The command line: which subcommands there are, and how a mistake in it is told.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::client_flags::arguments;
use crate::failure::Failure;
use crate::settings::profile;
use crate::{
    acl, bench, broker, completions, config, man, passwd, ping, proxy, publish, request, subscribe, tap,
};

/// MQTT over every transport.
#[derive(Debug, Parser)]
#[command(
    name = "mqway",
    version,
    about = "MQTT over every transport: a broker, a proxy between transports, and tools; alone it runs the broker",
    after_help = "URLs: tcp:// (mqtt://), tls:// (mqtts://), ws://, wss://, unix:///path.\n\
        Every flag is also a variable of the environment: --max-packet is MQWAY_MAX_PACKET.\n\
        Where a flag may be repeated, blanks separate the values of its variable (line ends, those of header fields)."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What there is to do; one file each.
#[derive(Debug, Subcommand)]
pub enum Command {
    Broker(Box<broker::Args>),
    Proxy(Box<proxy::Args>),
    Tap(Box<tap::Args>),
    Pub(Box<publish::Args>),
    Sub(Box<subscribe::Args>),
    Rr(Box<request::Args>),
    Ping(Box<ping::Args>),
    Bench(bench::Args),
    Passwd(passwd::Args),
    Acl(acl::Args),
    Config(config::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Cli {
    /// Reads the command line, or says what is wrong with it; help and version are printed here.
    ///
    /// # Errors
    /// With the exit status of the program.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
        // Values of variables may be secrets, which help must not show.
        let command = Cli::command()
            .mut_subcommands(|command| command.mut_args(|arg| arg.hide_env_values(true)))
            .mut_subcommands(arguments::like_mosquitto);
        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        if arguments.len() == 1 {
            arguments.push("broker".into());
        }
        let arguments = arguments::gather_properties(&command, arguments);
        let mut matches = command.clone().try_get_matches_from(&arguments).map_err(|error| report(&error))?;
        let completed = profile::complete(&command, &arguments, &matches);
        if let Some((command, arguments)) = completed.map_err(|failure| failure.report())? {
            matches = command.try_get_matches_from(arguments).map_err(|error| report(&error))?;
        }
        Cli::from_arg_matches(&matches).map_err(|error| report(&error))
    }
}

/// Prints what clap has to say.
fn report(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody is left to hear that stdout is closed.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => Failure::usage(in_one_line(error)).report(),
    }
}

/// Commands of later versions, which people may have read about.
const NOT_YET: [&str; 2] = ["check", "ctl"];

/// Clap's message without its usage and its advice to ask for help, but with its suggestions.
fn in_one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand)
        && NOT_YET.contains(&name.as_str())
    {
        return format!("`mqway {name}` is not in this version; mqway --help lists the commands that are");
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let lines = lines.map(|line| line.trim_start_matches("error: ").trim_start_matches("tip: "));
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(arguments: &[&str]) -> String {
        let arguments = ["mqway"].iter().chain(arguments);
        in_one_line(&Cli::try_parse_from(arguments).unwrap_err())
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mistakes_are_told_in_one_line_with_what_was_meant() {
        for (arguments, expected) in [
            (
                &["proxy", "--lisen", "x"][..],
                "unexpected argument '--lisen' found; a similar argument exists: '--listen'",
            ),
            (&["proxi"], "unrecognized subcommand 'proxi'; a similar subcommand exists: 'proxy'"),
            (&["check"], "`mqway check` is not in this version; mqway --help lists the commands that are"),
            (
                &["proxy", "--max-packet", "1Mb"],
                "invalid value '1Mb' for '--max-packet <BYTES>': \"Mb\" is no unit",
            ),
        ] {
            let told = message(arguments);
            assert!(told.starts_with(expected) && !told.contains('\n'), "{told:?}");
        }
    }

    #[test]
    fn every_flag_is_also_a_variable() {
        let mut cli = Cli::command();
        cli.build();
        let nested = |command: &clap::Command| command.get_subcommands().cloned().collect::<Vec<_>>();
        let commands =
            nested(&cli).into_iter().flat_map(|command| [nested(&command), vec![command]].concat());
        for command in commands.filter(|command| command.get_name() != "help") {
            for arg in command.get_arguments().filter(|arg| arg.get_long().is_some_and(|long| long != "help"))
            {
                let variable = arg.get_env().and_then(|name| name.to_str()).unwrap_or_default();
                let long = arg.get_long().unwrap_or_default().to_uppercase().replace('-', "_");
                assert_eq!(variable, format!("MQWAY_{long}"), "{} {arg}", command.get_name());
            }
        }
    }
}
