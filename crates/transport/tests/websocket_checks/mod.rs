//! What the fuzz targets for WebSocket check, so that a test can replay their corpus with it too.

mod framing;
mod handshake;

pub use framing::{client, server};
pub use handshake::{request, response};

/// A check takes any bytes and panics at a fault.
pub type Check = fn(&[u8]);

/// Each fuzz target and its check.
pub const TARGETS: [(&str, Check); 4] =
    [("ws_server", server), ("ws_client", client), ("ws_request", request), ("ws_response", response)];
