//! `mqway man`: manual pages, one for the program and one for each command.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::Cli;
use crate::failure::Failure;

/// Print a manual page, as in: mqway man sub | man -l -
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command whose page it is [default: that of mqway itself]
    command: Option<String>,
    /// Write all pages into this directory instead
    #[arg(long, value_name = "DIR", env = "MQWAY_DIR")]
    dir: Option<PathBuf>,
}

/// Prints or writes them.
pub fn run(args: &Args) -> Result<(), Failure> {
    let pages = pages();
    if let Some(dir) = &args.dir {
        let cannot =
            |path: &PathBuf, error| Failure::other(format_args!("cannot write {}: {error}", path.display()));
        fs::create_dir_all(dir).map_err(|error| cannot(dir, error))?;
        return pages.iter().try_for_each(|page| {
            let path = dir.join(format!("{}.1", page.name));
            fs::write(&path, &page.text).map_err(|error| cannot(&path, error))
        });
    }
    let name = args.command.as_ref().map_or("mqway".to_owned(), |command| format!("mqway-{command}"));
    let page = pages.iter().find(|page| page.name == name);
    let page = page.ok_or_else(|| {
        let command = args.command.as_deref().unwrap_or_default();
        Failure::usage(format_args!("there is no command {command:?}; mqway --help lists them"))
    })?;
    match io::stdout().write_all(&page.text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::stdout(&error)),
        _ => Ok(()),
    }
}

struct Page {
    name: String,
    text: Vec<u8>,
}

/// All pages; the program's own is first.
fn pages() -> Vec<Page> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let commands: Vec<Command> = program.get_subcommands().cloned().collect();
    let own = page("mqway".to_owned(), program);
    let others = commands.into_iter().map(|command| page(format!("mqway-{}", command.get_name()), command));
    std::iter::once(own).chain(others).collect()
}

fn page(name: String, command: Command) -> Page {
    let mut text = Vec::new();
    // Writing into memory cannot fail.
    let _ = Man::new(command.display_name(name.clone())).render(&mut text);
    Page { name, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_with_its_flags() {
        let pages = pages();
        assert_eq!(pages[0].name, "mqway");
        let page = pages.iter().find(|page| page.name == "mqway-sub").expect("a page for it");
        let text = String::from_utf8_lossy(&page.text);
        for word in [".TH", "mqway\\-sub", "\\-\\-filter\\-out", "MQWAY_FILTER_OUT"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
}
