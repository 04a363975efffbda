//! `mqway proxy`: brings clients of any transport to servers of any transport.

pub mod flags;
pub mod wiring;

use crate::failure::Failure;
use crate::logging;

/// Bring clients of any transport to servers of any transport
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: flags::Flags,
}

/// Runs until a signal ends it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let settings = args.flags.settings()?;
    logging::start(settings.log.level.as_deref())?;
    Ok(())
}
