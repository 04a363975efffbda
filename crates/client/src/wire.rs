//! One network connection: a socket, and the layers of bytes on top of it.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use mqway_transport::url::Scheme;
use mqway_transport::websocket::CloseCode;
use mqway_transport::{Stack, Stage};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::endpoint::Reach;
use crate::error::ConnectError;

/// What one read of the socket brings at the most.
const READ_SIZE: usize = 64 * 1024;

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connected socket with its layers. Nothing here is lost if a future of it is dropped.
pub(crate) struct Wire {
    socket: Socket,
    stack: Option<Box<Stack>>,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    /// Application bytes, in order.
    received: Vec<u8>,
    /// To be sent, before TLS.
    plain: Vec<u8>,
    /// To be sent, as it is; from `written` on.
    wire: Vec<u8>,
    written: usize,
    opened: bool,
    ended: bool,
}

impl Wire {
    /// Connects, and shakes hands on every layer.
    pub async fn open(reach: &Reach) -> Result<Wire, ConnectError> {
        let (host, port) = match &reach.options.tunnel {
            Some(tunnel) => (tunnel.proxy.host.as_str(), tunnel.proxy.port),
            None => (reach.url.host.as_str(), reach.url.port),
        };
        let socket = if reach.url.scheme == Scheme::Unix {
            UnixStream::connect(Path::new(&reach.url.path)).await.map(Socket::Unix)
        } else {
            tcp(host, port).await.map(Socket::Tcp)
        };
        let mut wire = Wire {
            socket: socket.map_err(ConnectError::Network)?,
            stack: None,
            buffer: vec![0; READ_SIZE],
            scratch: Vec::new(),
            received: Vec::new(),
            plain: Vec::new(),
            wire: Vec::new(),
            written: 0,
            opened: true,
            ended: false,
        };
        let options = &reach.options;
        if options.tunnel.is_some() || options.tls.is_some() || options.websocket.is_some() {
            wire.opened = false;
            wire.stack = Some(Box::new(Stack::client(options, &mut wire.plain)?));
            wire.seal()?;
        }
        while !wire.opened {
            let stage = wire.stack.as_ref().map_or(Stage::Open, |stack| stack.stage());
            wire.turn(true).await.map_err(|error| match error {
                ConnectError::Broken(error) => ConnectError::LostDuring(stage, error),
                other => other,
            })?;
        }
        Ok(wire)
    }

    /// Waits until the socket gave or took something, and deals with it. Without `read` it is only written to.
    pub async fn turn(&mut self, read: bool) -> Result<(), ConnectError> {
        poll_fn(|context| self.poll_turn(context, read)).await
    }

    fn poll_turn(&mut self, context: &mut Context<'_>, read: bool) -> Poll<Result<(), ConnectError>> {
        let written = self.poll_write(context).map_err(ConnectError::Broken)?;
        if read && !self.ended && self.poll_read(context)?.is_ready() {
            return Poll::Ready(Ok(()));
        }
        written.map(Ok)
    }

    /// Writes what the socket takes at once.
    pub fn flush(&mut self) -> Result<(), ConnectError> {
        self.write().map_err(ConnectError::Broken)
    }

    /// Application bytes that have come. The caller drains what it has used.
    pub fn received(&mut self) -> &mut Vec<u8> {
        &mut self.received
    }

    /// Whether the server will send no more.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Sends one packet: over WebSocket, as one message. [MQTT-6.0.0-2]
    pub fn send(&mut self, packet: &[u8]) {
        match &mut self.stack {
            Some(stack) => stack.send(packet, &mut self.plain),
            None => self.plain.extend_from_slice(packet),
        }
    }

    /// Begins the end: what was sent is followed by the goodbyes of WebSocket and TLS.
    pub fn close(&mut self, code: CloseCode) {
        if let Some(stack) = &mut self.stack {
            stack.close(code, &mut self.plain);
        }
    }

    /// Makes bytes for the socket of what was sent.
    pub fn seal(&mut self) -> Result<(), ConnectError> {
        if self.written == self.wire.len() {
            self.wire.clear();
            self.written = 0;
        }
        match &mut self.stack {
            Some(stack) if stack.must_seal() => stack.seal(&mut self.plain, &mut self.wire)?,
            _ => self.wire.append(&mut self.plain),
        }
        Ok(())
    }

    /// Whether bytes wait for the socket.
    pub fn has_output(&self) -> bool {
        self.written < self.wire.len()
    }

    /// Whether our goodbye still waits for the server's.
    pub fn awaits_close(&self) -> bool {
        !self.ended && self.stack.as_ref().is_some_and(|stack| stack.awaits_peer_close())
    }

    /// Bytes that wait for the socket.
    pub fn queued(&self) -> usize {
        self.plain.len() + self.wire.len() - self.written
    }

    fn write(&mut self) -> io::Result<()> {
        while self.has_output() {
            let bytes = &self.wire[self.written..];
            let written = match &self.socket {
                Socket::Tcp(socket) => socket.try_write(bytes),
                Socket::Unix(socket) => socket.try_write(bytes),
            };
            match written {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes what the socket takes, and is ready when that was something.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut any = false;
        while self.has_output() {
            let bytes = &self.wire[self.written..];
            let written = match &mut self.socket {
                Socket::Tcp(socket) => Pin::new(socket).poll_write(context, bytes),
                Socket::Unix(socket) => Pin::new(socket).poll_write(context, bytes),
            };
            match written? {
                Poll::Ready(written) => self.written += written,
                Poll::Pending => break,
            }
            any = true;
        }
        if any { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Reads what has come. A read that does not fill the buffer has emptied the socket, as `poll_read` knows: unlike
    /// `try_read` it waits for the next event before it asks again, which saves a system call for each that brings
    /// something.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        let read = match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(context, &mut buffer),
            Socket::Unix(socket) => Pin::new(socket).poll_read(context, &mut buffer),
        };
        let len = buffer.filled().len();
        read.map(|read| read.map_err(ConnectError::Broken).and_then(|()| self.receive(len)))
    }

    /// Deals with the bytes read, which are the first in the buffer; none are the end.
    fn receive(&mut self, len: usize) -> Result<(), ConnectError> {
        let input = self.buffer.get_mut(..len).unwrap_or_default();
        let Some(stack) = &mut self.stack else {
            self.ended = len == 0;
            self.received.extend_from_slice(input);
            return Ok(());
        };
        if len == 0 {
            self.ended = true;
            return Ok(stack.receive_eof()?);
        }
        let result = stack.receive(input, &mut self.scratch, &mut self.plain);
        let failed = match result {
            Ok(received) => {
                self.opened |= received.opened;
                self.ended |= received.ended;
                self.received.extend_from_slice(received.data);
                received.failed
            }
            Err(error) => Some(error),
        };
        self.seal()?;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
