//! The HTTP part of WebSocket (RFC 6455 §4): a request, a response, and the bytes behind them are frames.

mod client;
mod head;
mod options;
mod origin;
mod refused;
mod server;

pub use client::{ClientHandshake, Connected, HandshakeError, RefusedByServer};
pub use options::{ClientOptions, InvalidOption, ServerOptions};
pub use origin::{OriginPattern, Origins};
pub use refused::Refused;
pub use server::{Accepted, ServerHandshake};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The default limit for a request or response head in bytes.
pub(crate) const DEFAULT_MAX_HEAD: usize = 16 * 1024;
/// The most header fields a head may have.
const MAX_FIELDS: usize = 100;
/// What a server adds to the key before it hashes it (RFC 6455 §1.3).
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept` that proves that a server has understood `key`.
fn accept_for(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(ACCEPT_GUID);
    STANDARD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    #[test]
    fn example_of_the_specification() {
        // RFC 6455 §1.3
        assert_eq!(super::accept_for(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
