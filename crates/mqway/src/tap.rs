//! `mqway tap`.
use crate::failure::Failure;
/// Run a proxy that prints every packet
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: crate::proxy::flags::Flags,
}
pub fn run(_: &Args) -> Result<(), Failure> {
    Ok(())
}
