//! The engine on real sockets.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use mqway_engine::{Bind, Bound, Config, Engine, Limits, Listener};
use support::Echo;

fn start(config: Config, bind: Bind) -> Engine<String> {
    Engine::start(config, vec![Listener::new(bind)], |_| Echo::quiet()).unwrap()
}

fn address(engine: &Engine<String>) -> SocketAddr {
    match &engine.addresses()[0] {
        Bound::Tcp(address) => *address,
        Bound::Unix(path) => panic!("{} is no TCP address", path.display()),
    }
}

fn end(engine: Engine<String>) {
    engine.stop(Duration::from_millis(200));
    assert!(engine.join());
}

#[test]
fn many_megabytes_come_back_over_tcp_and_the_end_after_them() {
    let engine = start(Config::default(), Bind::tcp("127.0.0.1", 0));
    let mut stream = TcpStream::connect(address(&engine)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let text: Vec<u8> = (0..2_000_000u32).flat_map(u32::to_le_bytes).collect();
    let sent = text.clone();
    let thread = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    thread.join().unwrap();
    assert!(got == text);
    end(engine);
}

#[test]
fn a_unix_socket_serves_and_its_file_goes_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("echo.sock");
    let engine = start(Config::default(), Bind::Unix(path.clone()));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert_eq!(got, "hello");
    end(engine);
    assert!(!path.exists());
}

#[test]
fn a_unix_socket_that_a_killed_program_left_behind_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("echo.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    end(start(Config::default(), Bind::Unix(path)));
}

#[test]
fn connections_move_between_workers() {
    let (events, heard) = channel();
    let config = Config { workers: 2, ..Config::default() };
    let listener = Listener::new(Bind::tcp("127.0.0.1", 0));
    let engine = Engine::start(config, vec![listener], |_| Echo {
        events: Some(events.clone()),
        hand_over_to: Some(1),
    })
    .unwrap();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(address(&engine)).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut got = [0; 5];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
    }
    assert_eq!(heard.recv().unwrap(), "arrived at 1 from 0");
    engine.poster().post(0, "hello".to_owned()).unwrap();
    assert!(heard.iter().any(|event| event == "mail at 0: hello"));
    end(engine);
}

#[test]
fn limits_in_all_and_per_address_close_the_next_connection_at_once() {
    for limits in [
        Limits { connections: 2, ..Limits::default() },
        Limits { connections_per_address: 2, ..Limits::default() },
    ] {
        // With several workers another than the last may be the one too many.
        let engine = start(Config { workers: 1, limits, ..Config::default() }, Bind::tcp("127.0.0.1", 0));
        let mut streams: Vec<_> = (0..3).map(|_| TcpStream::connect(address(&engine)).unwrap()).collect();
        let mut last = streams.pop().unwrap();
        // Closed, or reset where the close overtook our connect.
        assert!(!matches!(last.read(&mut [0]), Ok(1..)));
        for mut stream in streams {
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
        end(engine);
    }
}

#[test]
fn an_address_in_use_is_said_so() {
    let engine = start(Config::default(), Bind::tcp("127.0.0.1", 0));
    let taken = Listener::new(Bind::tcp("127.0.0.1", address(&engine).port()));
    let error = Engine::start(Config::default(), vec![taken], |_| Echo::quiet()).unwrap_err();
    assert!(error.to_string().starts_with("cannot listen: Address"), "{error}");
    end(engine);
}

#[test]
fn a_reader_that_stops_does_not_hold_up_others_nor_the_end() {
    let engine = start(Config { workers: 1, ..Config::default() }, Bind::tcp("127.0.0.1", 0));
    let stuck = TcpStream::connect(address(&engine)).unwrap();
    stuck.set_nonblocking(true).unwrap();
    let piece = vec![1; 64 * 1024];
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < Duration::from_secs(1) {
        match (&stuck).write(&piece) {
            Ok(taken) => sent += taken,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    let buffered = engine.counters().snapshot().buffered;
    assert!(buffered < 1024 * 1024, "{buffered} of {sent} buffered");
    let mut other = TcpStream::connect(address(&engine)).unwrap();
    other.write_all(b"x").unwrap();
    other.read_exact(&mut [0]).unwrap();
    end(engine);
}
