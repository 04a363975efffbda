//! `mqway ping`.
use crate::failure::Failure;
/// Make one round trip through a server
#[derive(Debug, clap::Args)]
pub struct Args {}
pub fn run(_: &Args) -> Result<(), Failure> {
    Ok(())
}
