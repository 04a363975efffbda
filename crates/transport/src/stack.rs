//! The pile of layers between a socket and the application, for one connection.
//!
//! ```text
//!   socket bytes -> PROXY protocol -> tunnel -> TLS -> HTTP upgrade -> WebSocket frames -> MQTT bytes
//!                   (server side)     (client side)
//! ```
//!
//! A [`Stack`] does no I/O and knows no clock. A shell feeds it what the socket gave
//! ([`receive`](Stack::receive)), asks it to wrap packets ([`send`](Stack::send)) and writes to the socket what
//! it puts out. Two buffers of the shell take the output: `plain`, the bytes above TLS, and `wire`, those that
//! go to the socket. While [`must_seal`](Stack::must_seal) says so, `plain` becomes `wire` by
//! [`seal`](Stack::seal); otherwise the shell writes `plain` itself.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::ServerName;

use crate::cidr::CidrList;
use crate::error::{Blame, Error, ErrorKind};
use crate::facts::Facts;
use crate::tunnel::Tunnel;
use crate::websocket;

pub use crate::websocket::CloseCode;

/// What the connections that a listener accepts have between socket and application.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// Every connection must begin with a PROXY protocol header, version 1 or 2. Its addresses are believed, so
    /// that only a load balancer may be able to reach such a listener.
    pub proxy_protocol: bool,
    /// TLS with this configuration, see [`tls::ServerSetup`](crate::tls::ServerSetup).
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// WebSocket with these options.
    pub websocket: Option<Arc<websocket::ServerOptions>>,
    /// The peers whose `Forwarded` and `X-Forwarded-For` header fields are believed.
    pub trusted_forwarders: CidrList,
}

/// What a dialled connection has between socket and application.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// The socket leads to a proxy, which is asked for a tunnel first.
    pub tunnel: Option<Tunnel>,
    /// TLS with this configuration, to a server of this name (used for SNI and for the certificate).
    pub tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    /// WebSocket with these options.
    pub websocket: Option<Arc<websocket::ClientOptions>>,
}

/// How far a connection is. The order is that of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// A PROXY protocol header is awaited.
    ProxyProtocol,
    /// The HTTP or SOCKS5 proxy has not opened the tunnel yet.
    Tunnel,
    /// The TLS handshake runs.
    Tls,
    /// The WebSocket handshake runs.
    Http,
    /// Data flows.
    Open,
    /// We said goodbye in the WebSocket, and the peer has not yet.
    Closing,
    /// Both sides said goodbye, or an error ended it: flush what is there and close the socket.
    Closed,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::ProxyProtocol => "PROXY protocol header",
            Stage::Tunnel => "tunnel handshake",
            Stage::Tls => "TLS handshake",
            Stage::Http => "WebSocket handshake",
            Stage::Open => "open connection",
            Stage::Closing => "closing handshake",
            Stage::Closed => "closed connection",
        })
    }
}

/// What one call of [`Stack::receive`] brought.
#[derive(Debug, Default)]
pub struct Received<'a> {
    /// Bytes for the application, a piece of its stream: no boundary in it means anything. May be empty.
    pub data: &'a mut [u8],
    /// The last handshake ended in this call: [`Stack::take_facts`] has news, and sending is allowed.
    pub opened: bool,
    /// The peer ended its direction (WebSocket close frame, or TLS close_notify): no data will follow.
    pub ended: bool,
}

/// The layers of one connection. See the [module](self) for the picture.
pub struct Stack {
    stage: Stage,
    server: bool,
    facts: Option<Box<Facts>>,
}

impl Stack {
    /// The layers of an accepted connection. `peer` is the address of the socket's other end, if it has one.
    ///
    /// Without any layer the stack is [`Stage::Open`] at once; no [`Received::opened`] will tell.
    pub fn server(options: &Arc<ServerOptions>, peer: Option<SocketAddr>) -> Stack {
        let _ = options;
        let facts = peer.map(|peer| Box::new(Facts { peer: Some(peer), ..Facts::default() }));
        Stack { stage: Stage::Open, server: true, facts }
    }

    /// The layers of a dialled connection. `plain` receives the first bytes to send, if this side speaks
    /// first; the shell calls [`seal`](Stack::seal) next where [`must_seal`](Stack::must_seal) holds.
    ///
    /// # Errors
    /// If the options cannot work: a name that TLS cannot use, a proxy password too long for SOCKS5.
    pub fn client(options: &Arc<ClientOptions>, plain: &mut Vec<u8>) -> Result<Stack, Error> {
        let _ = (options, plain);
        Ok(Stack { stage: Stage::Open, server: false, facts: None })
    }

    /// Takes bytes from the socket. All of `input` is consumed; what a layer cannot use yet it keeps, bounded.
    ///
    /// The data returned lies in `input` (plain TCP, WebSocket: unmasked and compacted in place) or in
    /// `scratch` (TLS: decrypted), which is cleared first; a worker lends the same one to all its connections.
    /// Answers of the layers (pong, echo of a close, HTTP response) are appended to `plain`.
    ///
    /// # Errors
    /// The connection cannot go on. `plain` may hold last words (an HTTP error, a close frame), and TLS an alert:
    /// the shell calls [`seal`](Stack::seal) once more where it must, writes what there is and closes.
    pub fn receive<'a>(
        &mut self,
        input: &'a mut [u8],
        scratch: &'a mut Vec<u8>,
        plain: &mut Vec<u8>,
    ) -> Result<Received<'a>, Error> {
        let _ = (scratch, plain);
        Ok(Received { data: input, opened: false, ended: false })
    }

    /// The socket reported the end of the peer's bytes.
    ///
    /// # Errors
    /// If a handshake was not over. On an open connection the end is accepted as it is, also without TLS
    /// close_notify or WebSocket close frame: MQTT has its own DISCONNECT, and knows what its absence means.
    pub fn receive_eof(&mut self) -> Result<(), Error> {
        match self.stage {
            Stage::Open | Stage::Closing | Stage::Closed => Ok(()),
            stage => {
                let peer = if self.server { "client" } else { "server" };
                Err(Error::new(
                    stage,
                    Blame::Peer,
                    ErrorKind::Closed,
                    format!("{peer} closed during the {stage}"),
                ))
            }
        }
    }

    /// Wraps one whole MQTT packet and appends it to `plain`: over WebSocket it is one message of one frame.
    /// Ignored after [`close`](Stack::close). Must not be called before the stack is open.
    pub fn send(&mut self, packet: &[u8], plain: &mut Vec<u8>) {
        plain.extend_from_slice(packet);
    }

    /// Begins a packet of `len` bytes that is sent in pieces: appends the frame header, if there is one.
    /// Until the pieces are complete no other packet may be sent; control frames that come up wait.
    pub fn begin_packet(&mut self, len: usize, plain: &mut Vec<u8>) {
        let _ = (len, plain);
    }

    /// Appends the next piece of the packet that [`begin_packet`](Stack::begin_packet) announced.
    pub fn send_piece(&mut self, piece: &[u8], plain: &mut Vec<u8>) {
        plain.extend_from_slice(piece);
    }

    /// An orderly end of our direction: WebSocket close frame into `plain`, TLS close_notify at the next
    /// [`seal`](Stack::seal). Nothing can be sent afterwards. With WebSocket the shell then waits, within a time
    /// limit, while [`awaits_peer_close`](Stack::awaits_peer_close).
    pub fn close(&mut self, code: CloseCode, plain: &mut Vec<u8>) {
        let _ = (code, plain);
        self.stage = Stage::Closed;
    }

    /// The time for the handshakes is over. Appends last words to `plain` where the layer has some (HTTP 408);
    /// the shell seals, writes and closes. The error returned names the stage.
    pub fn timed_out(&mut self, plain: &mut Vec<u8>) -> Error {
        let _ = plain;
        let stage = self.stage;
        Error::new(stage, Blame::Peer, ErrorKind::TimedOut, format!("timed out during the {stage}"))
    }

    /// Whether `plain` must go through [`seal`](Stack::seal) before it may be written to the socket.
    pub fn must_seal(&self) -> bool {
        false
    }

    /// Turns all of `plain` (which is empty afterwards) and whatever TLS itself wants to say into bytes for the
    /// socket, appended to `wire`. To be called after each [`receive`](Stack::receive), [`client`](Stack::client)
    /// and [`close`](Stack::close) while [`must_seal`](Stack::must_seal) holds, and once a tick for what was sent.
    ///
    /// # Errors
    /// If the TLS connection is broken; `wire` may still have gained an alert.
    pub fn seal(&mut self, plain: &mut Vec<u8>, wire: &mut Vec<u8>) -> Result<(), Error> {
        wire.append(plain);
        Ok(())
    }

    /// Open, without any layer: socket bytes are MQTT bytes in both directions, and a shell may bypass the stack.
    pub fn is_plain(&self) -> bool {
        self.stage == Stage::Open
    }

    /// How far the connection is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// What was learned during the handshakes; once, after opening.
    pub fn take_facts(&mut self) -> Option<Box<Facts>> {
        self.facts.take()
    }

    /// We sent a WebSocket close frame and its echo has not come.
    pub fn awaits_peer_close(&self) -> bool {
        self.stage == Stage::Closing
    }
}
