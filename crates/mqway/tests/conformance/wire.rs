//! Bytes to a server and packets from it, over every transport.

use crate::support::certificates::Certificates;
use crate::support::mqway::is_tls;
use crate::support::websocket::{self, BINARY, CLOSE, PING, WebSocket};
use crate::support::{Stream, address, dial_tcp, packets};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::ErrorKind;
use std::sync::Arc;

/// A connection on which nothing of MQTT was said yet.
pub enum Wire {
    Stream(Box<dyn Stream>),
    Frames(Box<WebSocket<Box<dyn Stream>>>),
}

impl Wire {
    /// Connects to a listener, with whatever its URL needs.
    pub fn dial(url: &str, certificates: &Certificates) -> Wire {
        let stream = dial_tcp(address(url));
        let stream: Box<dyn Stream> = if is_tls(url) {
            Box::new(StreamOwned::new(tls(certificates), stream))
        } else {
            Box::new(stream)
        };
        if url.starts_with("ws") {
            Wire::Frames(Box::new(WebSocket::over(stream, "/mqtt", websocket::MQTT)))
        } else {
            Wire::Stream(stream)
        }
    }

    /// Sends bytes, over WebSocket in one frame. It is no matter if the server has closed: what it said before counts.
    pub fn send(&mut self, bytes: &[u8]) {
        let sent = match self {
            Wire::Stream(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Wire::Frames(ws) => {
                let frame = websocket::binary(bytes);
                ws.stream.write_all(&frame).and_then(|()| ws.stream.flush())
            }
        };
        if let Err(error) = sent {
            let over = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted];
            assert!(over.contains(&error.kind()), "sending: {error}");
        }
    }

    /// The next packet; `None` if the server has closed instead.
    pub fn packet(&mut self) -> Option<Vec<u8>> {
        let ws = match self {
            Wire::Stream(stream) => return packets::read(stream),
            Wire::Frames(ws) => ws,
        };
        loop {
            let frame = ws.frame()?;
            match frame.opcode {
                PING => continue,
                CLOSE => return None,
                _ => {}
            }
            assert!(frame.opcode == BINARY && frame.fin && frame.reserved == 0, "{frame:?}");
            let length = packets::length(&frame.payload);
            assert_eq!(length, Some(frame.payload.len()), "a message is a packet: {frame:02x?}");
            return Some(frame.payload);
        }
    }
}

fn tls(certificates: &Certificates) -> ClientConnection {
    let authority = CertificateDer::from_pem_file(certificates.ca()).expect("it was just written");
    let mut roots = RootCertStore::empty();
    roots.add(authority).expect("it is a certificate");
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("it is a name");
    ClientConnection::new(Arc::new(config), name).expect("the configuration is complete")
}
