//! The command lines of `pub`, `sub` and `rr` as mosquitto's tools understand theirs: a flag takes what follows it,
//! whatever that looks like; the last of two counts; `-D` takes as many words as its property has.

use std::collections::VecDeque;
use std::ffi::OsString;

use clap::{Arg, Command};

use super::properties::{SEPARATOR, word_count};

/// The commands that this holds for.
pub const COMMANDS: [&str; 3] = ["pub", "sub", "rr"];

/// Makes a command take its values as mosquitto's tools do.
pub fn like_mosquitto(command: Command) -> Command {
    if !COMMANDS.contains(&command.get_name()) {
        return command;
    }
    command.args_override_self(true).mut_args(|arg| {
        match arg.get_action().takes_values() && !arg.is_positional() {
            true => arg.allow_hyphen_values(true),
            false => arg,
        }
    })
}

/// Joins the words of each `-D` into one argument, which is all that clap can take.
pub fn gather_properties(program: &Command, arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments.get(1).and_then(|name| name.to_str()).unwrap_or_default();
    let Some(command) = program.find_subcommand(name).filter(|_| COMMANDS.contains(&name)) else {
        return arguments;
    };
    let mut rest = VecDeque::from(arguments);
    let mut gathered: Vec<OsString> = rest.drain(..2).collect();
    while let Some(argument) = rest.pop_front() {
        match flag(command, &argument) {
            Some((arg, attached)) if arg.get_id() == "property" => {
                let joined = joined(attached, &mut rest);
                gathered.push(format!("--property={joined}").into());
            }
            Some((_, Some(_))) | None => gathered.push(argument),
            Some((_, None)) => {
                gathered.push(argument);
                gathered.extend(rest.pop_front());
            }
        }
    }
    gathered
}

/// The flag in an argument that takes a value, and the value if that is in it too.
fn flag<'a>(command: &'a Command, argument: &OsString) -> Option<(&'a Arg, Option<String>)> {
    let text = argument.to_str()?;
    if let Some(long) = text.strip_prefix("--") {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let named = |arg: &&Arg| {
            arg.get_long() == Some(name) || arg.get_all_aliases().unwrap_or_default().contains(&name)
        };
        let arg = command.get_arguments().find(named)?;
        return arg.get_action().takes_values().then_some((arg, value));
    }
    let mut letters = text.strip_prefix('-')?.chars();
    // Those before it take none, as -v in -vt.
    let arg = letters.find_map(|letter| {
        let arg = command.get_arguments().find(|arg| arg.get_short() == Some(letter))?;
        arg.get_action().takes_values().then_some(arg)
    })?;
    let value = letters.as_str();
    Some((arg, (!value.is_empty()).then(|| value.trim_start_matches('=').to_owned())))
}

fn joined(attached: Option<String>, rest: &mut VecDeque<OsString>) -> String {
    // One text with all in it, as a variable of the environment has it.
    if let Some(text) = attached.as_ref().filter(|text| text.contains(' ')) {
        return text.clone();
    }
    let mut words = VecDeque::from_iter(attached);
    let mut wanted = 2;
    while words.len() < wanted {
        let Some(word) = rest.pop_front() else { break };
        words.push_back(word.to_string_lossy().into_owned());
        if words.len() == 1 && words.front().is_some_and(|first| first.contains(' ')) {
            break;
        }
        if let Some(name) = words.get(1) {
            wanted = word_count(name);
        }
    }
    Vec::from(words).join(&SEPARATOR.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn gathered(line: &str) -> String {
        let arguments = line.split(' ').map(|word| word.replace('_', " ").into()).collect();
        let gathered = gather_properties(&Cli::command(), arguments);
        let words: Vec<_> = gathered.iter().map(|word| word.to_string_lossy().replace(' ', "_")).collect();
        words.join(" ").replace(SEPARATOR, ",")
    }

    #[test]
    fn a_property_takes_as_many_words_as_it_has() {
        for (line, expected) in [
            (
                "mqway pub -D publish content-type text/plain host",
                "mqway pub --property=publish,content-type,text/plain host",
            ),
            (
                "mqway sub -v --property CONNECT User-Property -a -D -t x",
                "mqway sub -v --property=CONNECT,User-Property,-a,-D -t x",
            ),
            // Not a flag, but what another one takes.
            ("mqway pub -m -D -t -D -rm -D", "mqway pub -m -D -t -D -rm -D"),
            (
                "mqway pub --message -D --topic=-D -mx -D will",
                "mqway pub --message -D --topic=-D -mx --property=will",
            ),
            (
                "mqway pub -D publish_content-type_a_b host",
                "mqway pub --property=publish_content-type_a_b host",
            ),
            ("mqway tap -D a b c", "mqway tap -D a b c"),
            ("mqway", "mqway"),
        ] {
            assert_eq!(gathered(line), expected);
        }
    }
}
