//! From settings to the proxy's own configuration.
use crate::failure::Failure;
use crate::settings::Settings;
pub fn config(_: &Settings) -> Result<(), Failure> {
    Ok(())
}
