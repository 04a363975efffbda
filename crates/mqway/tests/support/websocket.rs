//! WebSocket as RFC 6455 has it, in as few lines as a test needs: frames in the clear, every field visible.

use super::{dial_tcp, packets};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The key of RFC 6455 §1.3 and the answer that belongs to it.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// One frame, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    pub reserved: u8,
    pub opcode: u8,
    pub masked: bool,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The status code of a close frame; 1005 if it has none.
    pub fn close_code(&self) -> u16 {
        assert_eq!(self.opcode, CLOSE, "{self:?}");
        self.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))
    }

    /// Parses the first frame of `bytes`; `None` if it is not all there.
    pub fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        let (extended, mut at) = match second & 0x7F {
            126 => (2, 4),
            127 => (8, 10),
            _ => (0, 2),
        };
        let length = match extended {
            0 => usize::from(second & 0x7F),
            _ => bytes.get(2..at)?.iter().fold(0, |n, &b| n << 8 | usize::from(b)),
        };
        let masked = second & 0x80 != 0;
        let mut mask = [0; 4];
        if masked {
            mask.copy_from_slice(bytes.get(at..at + 4)?);
            at += 4;
        }
        let payload = bytes.get(at..at.checked_add(length)?)?;
        let payload = payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
        let frame =
            Frame { fin: first & 0x80 != 0, reserved: first >> 4 & 7, opcode: first & 0x0F, masked, payload };
        Some((frame, at + length))
    }
}

/// A masked frame whose first byte is given whole: FIN, reserved bits and opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..=125 => bytes.push(0x80 | n as u8),
        n @ 126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0x80 | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().enumerate().map(|(i, b)| b ^ MASK[i % 4]));
    bytes
}

/// A whole binary message.
pub fn binary(payload: &[u8]) -> Vec<u8> {
    frame(0x80 | BINARY, payload)
}

/// The head of an HTTP response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn parse(head: &[u8]) -> Response {
        let text = String::from_utf8_lossy(head).into_owned();
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|l| l.strip_prefix("HTTP/1.1 ")).and_then(|l| l.get(..3));
        let status =
            status.and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no HTTP/1.1 response: {text}"));
        let headers = lines
            .filter_map(|l| l.split_once(':'))
            .map(|(n, v)| (n.to_owned(), v.trim().to_owned()))
            .collect();
        Response { status, headers, text }
    }
}

/// A good upgrade request with further lines of header (each ended by CR LF).
pub fn request(path: &str, further: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{further}\r\n"
    )
}

/// The usual header line that asks for MQTT.
pub const MQTT: &str = "Sec-WebSocket-Protocol: mqtt\r\n";

/// Sends a request and reads the head of the response, byte by byte so that nothing after it is taken.
pub fn exchange(stream: &mut (impl Read + Write), request: &str) -> Response {
    stream.write_all(request.as_bytes()).expect("the request can be sent");
    read_response(stream)
}

pub fn read_response(stream: &mut impl Read) -> Response {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            other => panic!("{other:?} within a response: {}", String::from_utf8_lossy(&head)),
        }
    }
    Response::parse(&head)
}

/// An open WebSocket to a server, frames in and out.
pub struct WebSocket<S = TcpStream> {
    pub stream: S,
    received: Vec<u8>,
}

impl WebSocket {
    /// One whose handshake is done.
    pub fn opened(stream: TcpStream) -> WebSocket {
        WebSocket { stream, received: Vec::new() }
    }

    /// Connects to `/mqtt` with the subprotocol `mqtt`.
    pub fn connect(address: SocketAddr) -> WebSocket {
        WebSocket::connect_with(address, "/mqtt", MQTT)
    }

    pub fn connect_with(address: SocketAddr, path: &str, further: &str) -> WebSocket {
        WebSocket::over(dial_tcp(address), path, further)
    }
}

impl<S: Read + Write> WebSocket<S> {
    /// The handshake over a stream that is there already.
    pub fn over(mut stream: S, path: &str, further: &str) -> WebSocket<S> {
        let response = exchange(&mut stream, &request(path, further));
        assert_eq!(response.status, 101, "{response:?}");
        assert_eq!(response.header("Sec-WebSocket-Accept"), Some(ACCEPT), "{response:?}");
        WebSocket { stream, received: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it can be sent");
    }

    /// Reads a frame; `None` if the peer closed the socket.
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, n)) = Frame::parse(&self.received) {
                self.received.drain(..n);
                assert!(!frame.masked, "servers do not mask: {frame:?}");
                return Some(frame);
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => self.received.extend(&buffer[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("waiting for a frame: {e}"),
            }
        }
    }

    /// Reads a message that is one MQTT packet in one binary frame.
    pub fn packet(&mut self) -> Vec<u8> {
        let frame = self.frame().expect("a frame");
        assert!(frame.opcode == BINARY && frame.fin && frame.reserved == 0, "{frame:?}");
        assert_eq!(
            packets::length(&frame.payload),
            Some(frame.payload.len()),
            "one packet: {:02x?}",
            frame.payload
        );
        frame.payload
    }

    /// Expects a close frame with this code and then the end of the connection.
    pub fn expect_closed(&mut self, code: u16) {
        let frame = self.frame().expect("a close frame before the end");
        assert_eq!(frame.close_code(), code, "{frame:?}");
        let _ = self.stream.write_all(&super::websocket::frame(0x80 | CLOSE, &code.to_be_bytes()));
        assert_eq!(self.frame(), None, "nothing after a close frame");
    }
}

/// The frames of one direction of a recorded connection: the HTTP head, then frames, whole to the last.
pub fn recorded_frames(bytes: &[u8]) -> Vec<Frame> {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an HTTP head") + 4;
    let mut rest = &bytes[head..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let Some((frame, n)) = Frame::parse(rest) else {
            panic!("{} bytes of an unfinished frame", rest.len())
        };
        frames.push(frame);
        rest = &rest[n..];
    }
    frames
}

/// Asserts that every message is exactly one MQTT packet, and gives back the packets.
pub fn expect_one_packet_per_message(frames: &[Frame], from_client: bool) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut message: Option<Vec<u8>> = None;
    for frame in frames {
        assert_eq!(frame.masked, from_client, "clients mask, servers do not");
        assert_eq!(frame.reserved, 0);
        if frame.opcode >= CLOSE {
            assert!(frame.fin && frame.payload.len() <= 125, "a control frame: {frame:?}");
            continue;
        }
        let mut payload = match (frame.opcode, message.take()) {
            (BINARY, None) => Vec::new(),
            (CONTINUATION, Some(begun)) => begun,
            (opcode, begun) => panic!("opcode {opcode} with a message begun: {}", begun.is_some()),
        };
        payload.extend(&frame.payload);
        if frame.fin {
            assert_eq!(packets::length(&payload), Some(payload.len()), "one whole packet in each message");
            packets.push(payload);
        } else {
            message = Some(payload);
        }
    }
    assert!(message.is_none(), "a message was not finished");
    packets
}
