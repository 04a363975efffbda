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
use crate::tls::{self, Layer};
use crate::tunnel::Tunnel;
use crate::websocket::{self, Connection, End, MessageKind, WriteError};

mod setup;

use setup::Setup;

pub use crate::websocket::CloseCode;

/// What the connections that a listener accepts have between socket and application.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// Every connection must begin with a PROXY protocol header, version 1 or 2. Its addresses are believed, so
    /// that only a load balancer may be able to reach such a listener.
    pub proxy_protocol: bool,
    /// TLS with this configuration, see [`tls::ServerSetup`].
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// WebSocket with these options.
    pub websocket: Option<Arc<websocket::ServerOptions>>,
    /// The peers whose `Forwarded` and `X-Forwarded-For` header fields are believed.
    pub trusted_forwarders: CidrList,
    /// Judges WebSocket upgrades before they are answered.
    pub gate: Option<Gate>,
}

/// Judges a WebSocket upgrade by all that is known of the connection, before it is answered.
#[derive(Clone)]
pub struct Gate(Arc<Judge>);

type Judge = dyn Fn(&Facts) -> Result<(), websocket::Refused> + Send + Sync;

impl Gate {
    /// A gate that asks `judge`, which must not block.
    pub fn new(judge: impl Fn(&Facts) -> Result<(), websocket::Refused> + Send + Sync + 'static) -> Gate {
        Gate(Arc::new(judge))
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
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
    /// One direction has ended: we said goodbye and the peer may still send, or a WebSocket peer did and our answer
    /// waits for the end of a packet in pieces.
    Closing,
    /// Both directions have ended, or an error ended them: write what there is and close the socket.
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
    /// How many bytes of the input lie before `data`. Without TLS only: with it, `data` isn't in the input.
    pub offset: usize,
    /// The last handshake ended in this call: [`Stack::take_facts`] has news, and sending is allowed.
    pub opened: bool,
    /// The peer ended its direction (WebSocket close frame, or TLS close_notify), or broke a rule: no data will
    /// follow.
    pub ended: bool,
    /// The peer broke a rule after the data, which are good. What [`Stack::receive`] says of errors holds.
    pub failed: Option<Error>,
}

/// The layers of one connection: an ordered stream of bytes both ways, whatever lies below. [MQTT-4.2.0-1] See the
/// [module](self) for the picture.
///
/// It takes 40 bytes; each layer that is there takes a box of its own, and that of the handshakes goes when they end.
pub struct Stack {
    stage: Stage,
    server: bool,
    /// What the handshakes need, until all are over.
    setup: Option<Box<Setup>>,
    tls: Option<Box<Layer>>,
    websocket: Option<Box<Connection>>,
    /// Gathered by the handshakes, until somebody takes them.
    facts: Option<Box<Facts>>,
}

impl Stack {
    /// The layers of an accepted connection. `peer` is the address of the socket's other end, if it has one.
    ///
    /// Without any layer the stack is [`Stage::Open`] at once; no [`Received::opened`] will tell.
    pub fn server(options: &Arc<ServerOptions>, peer: Option<SocketAddr>) -> Stack {
        let mut stack = Stack::new(true);
        stack.facts = Some(Box::new(Facts { peer, ..Facts::default() }));
        stack.start_server(options);
        stack
    }

    /// The layers of a dialled connection. `plain` receives the first bytes to send, if this side speaks
    /// first; the shell calls [`seal`](Stack::seal) next where [`must_seal`](Stack::must_seal) holds.
    ///
    /// # Errors
    /// If the options cannot work, such as a password too long for SOCKS5.
    pub fn client(options: &Arc<ClientOptions>, plain: &mut Vec<u8>) -> Result<Stack, Error> {
        let mut stack = Stack::new(false);
        stack.start_client(options, plain)?;
        Ok(stack)
    }

    fn new(server: bool) -> Stack {
        Stack { stage: Stage::Open, server, setup: None, tls: None, websocket: None, facts: None }
    }

    /// Takes bytes from the socket. All of `input` is consumed; what a layer cannot use yet it keeps, bounded.
    ///
    /// The data returned lies in `input` or, with TLS, in `scratch`, which is cleared first; a worker lends the same
    /// one to all its connections. WebSocket frames are unmasked and compacted in place. Answers of the layers (pong,
    /// echo of a close, HTTP response) are appended to `plain`.
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
        let before = self.stage;
        let mut received = self.unwrap(input, scratch, plain).inspect_err(|_| self.stop())?;
        received.opened = before < Stage::Open && self.stage >= Stage::Open;
        if received.failed.is_some() {
            received.ended = true;
            self.stop();
            if received.data.is_empty()
                && let Some(error) = received.failed
            {
                return Err(error);
            }
        }
        Ok(received)
    }

    /// Takes `input` through the layers from the outermost to the innermost.
    fn unwrap<'a>(
        &mut self,
        input: &'a mut [u8],
        scratch: &'a mut Vec<u8>,
        plain: &mut Vec<u8>,
    ) -> Result<Received<'a>, Error> {
        if self.stage == Stage::Closed {
            return Ok(Received { ended: true, ..Received::default() });
        }
        let mut received = Received::default();
        let used = self.feed_outer_handshake(input, plain)?;
        received.offset = used;
        let mut bytes = input.get_mut(used..).unwrap_or_default();
        if let Some(tls) = &mut self.tls {
            scratch.clear();
            let progress = tls.receive(bytes, scratch);
            bytes = &mut scratch[..];
            received.ended = progress.ended;
            received.failed = progress.failed.map(|error| self.tls_error(&error));
            if progress.opened {
                self.tls_opened(plain)?;
            }
        }
        if self.stage == Stage::Http {
            let used = self.feed_http(bytes, plain)?;
            received.offset += used;
            bytes = bytes.get_mut(used..).unwrap_or_default();
        }
        if self.stage < Stage::Open {
            // Whatever there was, the handshake took it.
            bytes = &mut [];
            if received.ended && received.failed.is_none() {
                return Err(self.closed_early());
            }
        }
        received.data = bytes;
        if self.websocket.is_some() {
            self.unframe(&mut received, plain);
        }
        if received.ended && self.stage == Stage::Closing && self.websocket.is_none() {
            self.stage = Stage::Closed;
        }
        Ok(received)
    }

    /// Leaves of the frames in `received.data` what is in them.
    fn unframe(&mut self, received: &mut Received<'_>, plain: &mut Vec<u8>) {
        let Some(websocket) = &mut self.websocket else { return };
        let bytes = std::mem::take(&mut received.data);
        let streamed = websocket.read_stream(bytes, plain);
        received.offset += streamed.data.start;
        received.data = bytes.get_mut(streamed.data).unwrap_or_default();
        match streamed.end {
            None => {}
            Some(End::Close(_)) => received.ended = true,
            Some(End::Violation(violation)) => {
                let peer = self.peer();
                let message = format!("WebSocket: the {peer} broke a rule: {violation}");
                received.failed = Some(self.error(Blame::Peer, ErrorKind::WebSocket, message));
            }
        }
        self.follow_websocket();
    }

    /// The socket reported the end of the peer's bytes.
    ///
    /// # Errors
    /// If a handshake was not over. On an open connection the end is accepted as it is, also without TLS
    /// close_notify or WebSocket close frame: MQTT has its own DISCONNECT, and knows what its absence means.
    pub fn receive_eof(&mut self) -> Result<(), Error> {
        match self.stage {
            Stage::Open | Stage::Closed => Ok(()),
            Stage::Closing => {
                self.stage = Stage::Closed;
                Ok(())
            }
            _ => {
                let error = self.closed_early();
                self.stop();
                Err(error)
            }
        }
    }

    /// Wraps one whole MQTT packet and appends it to `plain`: over WebSocket it is one message of one frame
    /// [MQTT-6.0.0-2]. Ignored once either side has begun to close. Must not be called before the stack is open, nor
    /// while another packet is sent in pieces.
    pub fn send(&mut self, packet: &[u8], plain: &mut Vec<u8>) {
        self.send_parts(packet, &[], plain);
    }

    /// [`Stack::send`] for a packet that lies in two parts.
    pub fn send_parts(&mut self, head: &[u8], tail: &[u8], plain: &mut Vec<u8>) {
        match &mut self.websocket {
            Some(websocket) => {
                written(websocket.write_message_parts(MessageKind::Binary, head, tail, plain));
            }
            None if self.stage == Stage::Open => {
                plain.extend_from_slice(head);
                plain.extend_from_slice(tail);
            }
            None => {}
        }
    }

    /// Begins a packet of `len` bytes that is sent in pieces: appends the frame header, if there is one.
    /// Until the pieces are complete no other packet may be sent; control frames that come up wait.
    pub fn begin_packet(&mut self, len: usize, plain: &mut Vec<u8>) {
        if let Some(websocket) = &mut self.websocket {
            written(websocket.begin_message(MessageKind::Binary, len as u64, plain));
        }
    }

    /// Appends the next piece of the packet that [`begin_packet`](Stack::begin_packet) announced. It is finished
    /// even if the peer has begun to close meanwhile.
    pub fn send_piece(&mut self, piece: &[u8], plain: &mut Vec<u8>) {
        match &mut self.websocket {
            Some(websocket) => {
                written(websocket.write_piece(piece, plain));
                self.follow_websocket();
            }
            None if self.stage == Stage::Open => plain.extend_from_slice(piece),
            None => {}
        }
    }

    /// Whether what is sent is changed on its way, so that it cannot be sent from where it lies: a WebSocket's client
    /// masks.
    pub fn masks(&self) -> bool {
        self.websocket.is_some() && !self.server
    }

    /// [`Stack::send`] but for the last `rest` bytes of the packet: the caller sends them from where they lie, behind what
    /// `plain` holds then, if this says that it goes at all. Only for a stack that does not [mask](Stack::masks).
    pub fn send_head(&mut self, head: &[u8], rest: usize, plain: &mut Vec<u8>) -> bool {
        match &mut self.websocket {
            Some(websocket) => {
                let sent = websocket.write_message_head(MessageKind::Binary, head, rest, plain);
                written(sent);
                sent.is_ok()
            }
            None if self.stage == Stage::Open => {
                plain.extend_from_slice(head);
                true
            }
            None => false,
        }
    }

    /// An orderly end of our direction: WebSocket close frame into `plain`, TLS close_notify behind it (at the next
    /// [`seal`](Stack::seal)). Nothing can be sent afterwards; what the peer still sends is still received. With
    /// WebSocket the shell waits, within a time limit, while [`awaits_peer_close`](Stack::awaits_peer_close).
    pub fn close(&mut self, code: CloseCode, plain: &mut Vec<u8>) {
        if self.stage < Stage::Open {
            return self.stop();
        }
        self.stage = self.stage.max(Stage::Closing);
        match (&mut self.websocket, &mut self.tls) {
            (Some(websocket), _) => {
                websocket.close(code, "", plain);
                self.follow_websocket();
            }
            (None, Some(tls)) => tls.close(),
            (None, None) => {}
        }
    }

    /// The time for the handshakes is over. Appends last words to `plain` where the layer has some (HTTP 408);
    /// the shell seals, writes and closes. The error returned names the stage.
    pub fn timed_out(&mut self, plain: &mut Vec<u8>) -> Error {
        if let Some(setup) = &self.setup {
            setup.say_timed_out(plain);
        }
        let message = format!("the {} did not finish the {} in time", self.peer(), self.stage);
        let error = self.error(Blame::Peer, ErrorKind::TimedOut, message);
        self.stop();
        error
    }

    /// Whether `plain` must go through [`seal`](Stack::seal) before it may be written to the socket.
    pub fn must_seal(&self) -> bool {
        self.tls.is_some() || matches!(self.stage, Stage::Tunnel | Stage::Tls)
    }

    /// Turns all of `plain` (which is empty afterwards) and whatever TLS itself wants to say into bytes for the
    /// socket, appended to `wire`. To be called after each [`receive`](Stack::receive), [`client`](Stack::client)
    /// and [`close`](Stack::close) while [`must_seal`](Stack::must_seal) holds, and once a tick for what was sent.
    ///
    /// # Errors
    /// If the TLS connection is broken; `wire` may still have gained an alert.
    pub fn seal(&mut self, plain: &mut Vec<u8>, wire: &mut Vec<u8>) -> Result<(), Error> {
        let Some(tls) = &mut self.tls else {
            wire.append(plain);
            return Ok(());
        };
        let sealed = tls.seal(plain, wire);
        match sealed {
            // The connection has ended already, and whoever had to know was told why.
            Err(_) if self.stage == Stage::Closed => Ok(()),
            Err(error) => {
                let error = self.tls_error(&error);
                self.stop();
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// How far the connection is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// What was learned during the handshakes, until somebody takes it.
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_deref()
    }

    /// What was learned during the handshakes; once, after opening. `None` on a dialled connection without TLS and
    /// WebSocket, about which nothing can be learned.
    pub fn take_facts(&mut self) -> Option<Box<Facts>> {
        self.facts.take()
    }

    /// We sent a WebSocket close frame and the peer's has not come.
    pub fn awaits_peer_close(&self) -> bool {
        self.websocket.as_ref().is_some_and(|websocket| websocket.awaits_peer_close())
    }

    /// Pieces are missing of the packet that [`begin_packet`](Stack::begin_packet) announced. If they never come,
    /// neither does a close frame: all that is left is to close the socket.
    pub fn is_inside_packet(&self) -> bool {
        self.websocket.as_ref().is_some_and(|websocket| websocket.outgoing_left() > 0)
    }

    /// Moves the stage along with the closing handshake of the WebSocket, and ends TLS behind it.
    fn follow_websocket(&mut self) {
        let Some(websocket) = &self.websocket else { return };
        if websocket.is_finished() {
            self.stop();
        } else if !websocket.is_open() {
            self.stage = Stage::Closing;
        }
    }

    /// Nothing more is received; what was written is followed by the end of TLS.
    fn stop(&mut self) {
        if self.stage < Stage::Closed {
            self.stage = Stage::Closed;
            if let Some(tls) = &mut self.tls {
                tls.close();
            }
        }
    }

    /// The error for a peer that closes during a handshake.
    fn closed_early(&self) -> Error {
        let said = self.setup.as_ref().and_then(|setup| setup.closed_early());
        let message = said.unwrap_or_else(|| format!("{} closed during the {}", self.peer(), self.stage));
        self.error(Blame::Peer, ErrorKind::Closed, message)
    }

    fn tls_error(&self, error: &rustls::Error) -> Error {
        let (blame, message) = tls::explain(error, self.server);
        self.error(blame, ErrorKind::Tls, message)
    }

    fn error(&self, blame: Blame, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(self.stage, blame, kind, message)
    }

    /// What messages call the other end.
    fn peer(&self) -> &'static str {
        match (self.stage, self.server) {
            (Stage::Tunnel, _) => "proxy",
            (_, true) => "client",
            (_, false) => "server",
        }
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("stage", &self.stage)
            .field("server", &self.server)
            .field("tls", &self.tls.is_some())
            .field("websocket", &self.websocket)
            .finish_non_exhaustive()
    }
}

/// Writing to a WebSocket that closes is no fault of the caller's, everything else is.
fn written(result: Result<(), WriteError>) {
    debug_assert!(matches!(result, Ok(()) | Err(WriteError::Closing)), "{result:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_small_and_may_change_threads() {
        fn may_change_threads<T: Send>() {}
        may_change_threads::<Stack>();
        assert!(size_of::<Stack>() <= 40, "{}", size_of::<Stack>());
        assert!(size_of::<Connection>() <= 80, "{}", size_of::<Connection>());
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
