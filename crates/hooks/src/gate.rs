//! Accept hooks, asked before a WebSocket upgrade is answered.

use std::sync::Arc;

use mqway_codec::ReasonCode;
use mqway_transport::Gate;
use mqway_transport::websocket::Refused;

use crate::{Denial, Hooks};

/// Asks the hooks that are there at the time whether to serve a connection of this listener, before its upgrade is
/// answered: a no is HTTP 401 for [`ReasonCode::BadUserNameOrPassword`], else 403. `refused` is told of each no.
pub fn gate(
    listener: Arc<str>,
    hooks: impl Fn() -> Arc<Hooks> + Send + Sync + 'static,
    refused: impl Fn(&Denial) + Send + Sync + 'static,
) -> Gate {
    Gate::new(move |facts| {
        hooks().accept(&listener, facts).map_err(|denial| {
            refused(&denial);
            let text = denial.say.as_deref().unwrap_or(denial.reason.name()).to_owned();
            match denial.reason {
                ReasonCode::BadUserNameOrPassword => Refused::unauthorized(text),
                _ => Refused::forbidden(text),
            }
        })
    })
}
