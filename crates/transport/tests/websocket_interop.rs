//! The opposite end is tungstenite, in memory, in both roles.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod websocket_wire;

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use mqway_transport::websocket::{
    ClientHandshake, ClientOptions, CloseCode, Connection, End, Event, MessageKind, ServerHandshake,
    ServerOptions,
};
use tungstenite::handshake::HandshakeError;
use tungstenite::protocol::frame::coding::CloseCode as TheirCode;
use tungstenite::{Message, WebSocket};
use websocket_wire::ECHO;

/// One direction each, shared by both ends.
#[derive(Clone, Default)]
struct Pipe {
    to_them: Rc<RefCell<Vec<u8>>>,
    from_them: Rc<RefCell<Vec<u8>>>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.to_them.borrow_mut();
        if bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = buffer.len().min(bytes.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        bytes.drain(..len);
        Ok(len)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.from_them.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Pipe {
    /// Gives them what we wrote.
    fn send(&self, out: &mut Vec<u8>) {
        self.to_them.borrow_mut().append(out);
    }

    fn received(&self) -> Vec<u8> {
        std::mem::take(&mut self.from_them.borrow_mut())
    }
}

/// Our server, their client.
fn their_client() -> (Connection, WebSocket<Pipe>, Pipe) {
    let pipe = Pipe::default();
    let request = tungstenite::ClientRequestBuilder::new("ws://broker.test/mqtt?a=b".parse().unwrap())
        .with_sub_protocol("mqtt");
    let Err(HandshakeError::Interrupted(waiting)) = tungstenite::client(request, pipe.clone()) else {
        panic!("their client waits for us")
    };
    let options = ServerOptions { limits: ECHO, ..ServerOptions::default() };
    let mut out = Vec::new();
    let accepted = ServerHandshake::new(Arc::new(options)).feed(&pipe.received(), &mut out).unwrap().unwrap();
    assert_eq!(accepted.facts.query.as_deref(), Some("a=b"));
    pipe.send(&mut out);
    let (theirs, response) = waiting.handshake().expect("their client is content");
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mqtt");
    (accepted.connection, theirs, pipe)
}

/// Our client, their server.
fn their_server() -> (Connection, WebSocket<Pipe>, Pipe) {
    let none: [&str; 0] = [];
    let options = ClientOptions::new("broker.test", 8083, false, "/mqtt").unwrap();
    let options = options.subprotocols(none).unwrap().limits(ECHO);
    let pipe = Pipe::default();
    let mut out = Vec::new();
    let mut handshake = ClientHandshake::start(Arc::new(options), &mut out).unwrap();
    pipe.send(&mut out);
    let theirs = tungstenite::accept(pipe.clone()).expect("their server is content");
    let connected = handshake.feed(&pipe.received()).unwrap().unwrap();
    (connected.connection, theirs, pipe)
}

fn both() -> [(Connection, WebSocket<Pipe>, Pipe); 2] {
    [their_client(), their_server()]
}

const LENGTHS: [usize; 9] = [0, 1, 125, 126, 127, 65535, 65536, 100_000, 3_000_000];

#[test]
fn they_read_what_we_write() {
    for (mut ours, mut theirs, pipe) in both() {
        for len in LENGTHS {
            let payload: Vec<u8> = (0..len).map(|index| (index * 7) as u8).collect();
            let mut out = Vec::new();
            ours.write_message(MessageKind::Binary, &payload, &mut out).unwrap();
            ours.begin_message(MessageKind::Text, len as u64, &mut out).unwrap();
            let text = "t".repeat(len);
            for piece in text.as_bytes().chunks(1000) {
                ours.write_piece(piece, &mut out).unwrap();
            }
            pipe.send(&mut out);
            assert_eq!(theirs.read().unwrap(), Message::binary(payload));
            assert_eq!(theirs.read().unwrap(), Message::text(text));
        }
    }
}

#[test]
fn we_read_what_they_write() {
    for (mut ours, mut theirs, pipe) in both() {
        let mut expected = Vec::new();
        for len in LENGTHS {
            let payload: Vec<u8> = (0..len).map(|index| (index * 13) as u8).collect();
            theirs.send(Message::binary(payload.clone())).unwrap();
            expected.extend_from_slice(&payload);
        }
        let mut data = Vec::new();
        for piece in pipe.received().chunks_mut(8191) {
            let streamed = ours.read_stream(piece, &mut Vec::new());
            assert_eq!(streamed.end, None);
            data.extend_from_slice(&piece[streamed.data]);
        }
        assert!(data == expected);
    }
}

#[test]
fn pings_are_answered_both_ways() {
    for (mut ours, mut theirs, pipe) in both() {
        let mut out = Vec::new();
        ours.ping(b"ours", &mut out).unwrap();
        pipe.send(&mut out);
        theirs.read().unwrap();
        theirs.flush().unwrap();
        let mut bytes = pipe.received();
        let event = ours.read(&mut bytes, &mut 0, &mut out).unwrap().unwrap();
        assert!(matches!(event, Event::Pong(payload) if *payload == *b"ours"));
        theirs.send(Message::Ping("theirs".into())).unwrap();
        ours.read_stream(&mut pipe.received(), &mut out);
        pipe.send(&mut out);
        assert_eq!(theirs.read().unwrap(), Message::Pong("theirs".into()));
    }
}

#[test]
fn we_close_and_they_answer() {
    for (mut ours, mut theirs, pipe) in both() {
        let mut out = Vec::new();
        ours.close(CloseCode::GOING_AWAY, "bye", &mut out);
        pipe.send(&mut out);
        let Message::Close(Some(close)) = theirs.read().unwrap() else { panic!("a close") };
        assert_eq!((close.code, close.reason.as_str()), (TheirCode::Away, "bye"));
        // Their server says that it may close now, their client waits for ours to.
        let _ = theirs.flush();
        let streamed = ours.read_stream(&mut pipe.received(), &mut out);
        assert!(matches!(streamed.end, Some(End::Close(close)) if close.code == Some(CloseCode::GOING_AWAY)));
        assert!(ours.is_finished() && out.is_empty());
    }
}

#[test]
fn they_close_and_we_answer() {
    for (mut ours, mut theirs, pipe) in both() {
        theirs.close(None).unwrap();
        let mut out = Vec::new();
        let streamed = ours.read_stream(&mut pipe.received(), &mut out);
        assert!(matches!(streamed.end, Some(End::Close(_))));
        pipe.send(&mut out);
        assert_eq!(theirs.read().unwrap(), Message::Close(None));
    }
}

#[test]
fn they_hear_why_we_refuse() {
    for (mut ours, mut theirs, pipe) in both() {
        // Their library sends whatever frame it is given: a text that is none.
        let frame = tungstenite::protocol::frame::Frame::message(
            &b"\xff"[..],
            tungstenite::protocol::frame::coding::OpCode::Data(
                tungstenite::protocol::frame::coding::Data::Text,
            ),
            true,
        );
        theirs.send(Message::Frame(frame)).unwrap();
        let mut out = Vec::new();
        let streamed = ours.read_stream(&mut pipe.received(), &mut out);
        assert!(matches!(streamed.end, Some(End::Violation(_))));
        pipe.send(&mut out);
        let Message::Close(Some(close)) = theirs.read().unwrap() else { panic!("a close") };
        assert_eq!(close.code, TheirCode::Invalid);
    }
}
