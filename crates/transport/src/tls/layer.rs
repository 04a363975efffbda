//! The TLS of one connection.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use rustls::{ClientConfig, Connection, ServerConfig};
use rustls_pki_types::ServerName;

use crate::facts::TlsFacts;

/// One end of a TLS connection.
///
/// Between calls it keeps an unfinished record or handshake message (rustls: at most 64 KiB) and nothing else:
/// decrypted bytes go to the caller at once, encrypted ones too.
#[derive(Debug)]
pub(crate) struct Layer {
    connection: Connection,
    /// A close_notify goes out behind what is sealed next.
    closing: bool,
}

/// What one call of [`Layer::receive`] brought, besides the bytes.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The handshake ended in this call.
    pub(crate) opened: bool,
    /// The peer's close_notify has come.
    pub(crate) ended: bool,
    /// The connection is broken; what was decrypted before is good.
    pub(crate) failed: Option<rustls::Error>,
}

impl Layer {
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Layer, rustls::Error> {
        let connection = rustls::ServerConnection::new(config)?;
        Ok(Layer { connection: connection.into(), closing: false })
    }

    pub(crate) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Layer, rustls::Error> {
        let connection = rustls::ClientConnection::new(config, name)?;
        Ok(Layer { connection: connection.into(), closing: false })
    }

    /// Decrypts all of `input` and appends the application's bytes to `data`.
    pub(crate) fn receive(&mut self, mut input: &[u8], data: &mut Vec<u8>) -> Progress {
        let was_handshaking = self.connection.is_handshaking();
        let mut progress = Progress::default();
        // What follows a close_notify is dropped (RFC 8446 §6.1).
        while !input.is_empty() && !progress.ended {
            match self.step(&mut input, data) {
                Ok(ended) => progress.ended = ended,
                Err(error) => {
                    progress.failed = Some(error);
                    break;
                }
            }
        }
        if !self.connection.is_handshaking() {
            // Lets rustls shrink its record buffer, which it does on a read only. If a part of a message is in it, as
            // in a handshake that somebody has left lying, it would grow instead.
            let _ = self.connection.read_tls(&mut NothingYet);
        }
        progress.opened = was_handshaking && !self.connection.is_handshaking();
        progress
    }

    /// Takes a part of `input`, some KiB. True once the peer's close_notify has come.
    fn step(&mut self, input: &mut &[u8], data: &mut Vec<u8>) -> Result<bool, rustls::Error> {
        self.connection.read_tls(input).map_err(|error| rustls::Error::General(error.to_string()))?;
        let result = self.connection.process_new_packets();
        // Bytes of records before the one that failed, too.
        let mut reader = self.connection.reader();
        while let Ok(chunk) = reader.fill_buf() {
            if chunk.is_empty() {
                break;
            }
            data.extend_from_slice(chunk);
            let length = chunk.len();
            reader.consume(length);
        }
        result.map(|state| state.peer_has_closed())
    }

    /// Encrypts `plain`, once the handshake is over, and appends everything TLS wants to say to `wire`. `plain` is
    /// empty then, also after an error: what cannot be encrypted now never can.
    pub(crate) fn seal(&mut self, plain: &mut Vec<u8>, wire: &mut Vec<u8>) -> Result<(), rustls::Error> {
        let mut sealed = Ok(());
        if !self.connection.is_handshaking() {
            sealed = self.encrypt(plain, wire);
            plain.clear();
        }
        if self.closing {
            self.closing = false;
            self.connection.send_close_notify();
        }
        self.flush(wire);
        sealed
    }

    /// rustls takes its limit of 64 KiB at a time, so that no more than that is ever buffered twice.
    fn encrypt(&mut self, mut rest: &[u8], wire: &mut Vec<u8>) -> Result<(), rustls::Error> {
        // What waits in front, such as an alert or a ticket, would count towards the limit.
        self.flush(wire);
        while !rest.is_empty() {
            let taken = io::Write::write(&mut self.connection.writer(), rest)
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            rest = rest.get(taken..).unwrap_or_default();
            if !self.flush(wire) && taken == 0 {
                return Err(rustls::Error::EncryptError);
            }
        }
        Ok(())
    }

    /// Whether there was anything.
    fn flush(&mut self, wire: &mut Vec<u8>) -> bool {
        let before = wire.len();
        // Writing to a Vec does not fail; each call moves up to 64 chunks.
        while self.connection.wants_write()
            && self.connection.write_tls(wire).is_ok_and(|written| written > 0)
        {}
        wire.len() > before
    }

    /// The next [`Layer::seal`] ends our direction.
    pub(crate) fn close(&mut self) {
        self.closing = true;
    }

    /// What the handshake found out.
    pub(crate) fn facts(&self) -> TlsFacts {
        let connection = &self.connection;
        TlsFacts {
            version: match connection.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "",
            },
            cipher: connection
                .negotiated_cipher_suite()
                .map_or_else(String::new, |suite| suite.suite().as_str().unwrap_or_default().to_owned()),
            server_name: match connection {
                Connection::Server(server) => server.server_name().map(str::to_owned),
                Connection::Client(_) => None,
            },
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            peer_certificates: connection.peer_certificates().map(<[_]>::to_vec).unwrap_or_default(),
        }
    }
}

/// A source without bytes that has not ended either.
struct NothingYet;

impl Read for NothingYet {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}
