//! Signals to a broker that is under load.

use crate::storms::witness::Witness;
use crate::support::certificates::Certificates;
use crate::support::clients::{Target, mosquitto_client};
use crate::support::mqway::{Proxy, Running};
use crate::support::packets::{self, V3_1_1, V5};
use crate::support::process::run;
use crate::support::websocket::{self, BINARY, WebSocket};
use crate::support::{SOON, address, dial_tcp, eventually, read_to_close};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// DISCONNECT of 5.0 with Server shutting down, as it begins.
const SHUTTING_DOWN: u8 = 0x8B;

/// The status that a shell reports of a process that SIGTERM has ended.
const TERMINATED: i32 = 128 + 15;

fn enter(broker: SocketAddr, level: u8, name: &str) -> TcpStream {
    let mut stream = dial_tcp(broker);
    stream.set_read_timeout(Some(SOON * 2)).unwrap();
    stream.write_all(&packets::connect(level, name)).unwrap();
    assert_eq!(packets::read(&mut stream).expect("CONNACK")[0], 0x20);
    stream.write_all(&packets::subscribe(level, 1, "load", 0)).unwrap();
    assert_eq!(packets::read(&mut stream).expect("SUBACK")[0], 0x90);
    stream
}

fn enter_by_websocket(broker: SocketAddr, name: &str) -> WebSocket {
    let mut client = WebSocket::connect(broker);
    client.send(&websocket::binary(&packets::connect(V5, name)));
    assert_eq!(client.packet()[0], 0x20);
    client.send(&websocket::binary(&packets::subscribe(V5, 1, "load", 0)));
    assert_eq!(client.packet()[0], 0x90);
    client
}

/// Publishes to `load` until the broker is gone.
fn load(broker: SocketAddr) -> thread::JoinHandle<()> {
    let mut stream = dial_tcp(broker);
    stream.write_all(&packets::connect(V3_1_1, "load")).unwrap();
    assert_eq!(packets::read(&mut stream).expect("CONNACK")[0], 0x20);
    let publish = packets::publish(V3_1_1, "load", 0, 0, &[1; 500]);
    thread::spawn(move || while stream.write_all(&publish).is_ok() {})
}

fn start(grace: &str) -> Running {
    let broker = Proxy::broker().listen("tcp://127.0.0.1:0").listen("ws://127.0.0.1:0");
    broker.arguments(&["--grace", grace]).start()
}

#[test]
fn a_stop_under_load_says_goodbye_to_each_client() {
    const CLIENTS: usize = 25;
    let mut broker = start("10");
    let (tcp, ws) = (broker.address(), address(broker.url(1)));
    let by_tcp: Vec<_> = (0..CLIENTS).map(|i| enter(tcp, V5, &format!("tcp{i}"))).collect();
    let by_old: Vec<_> = (0..CLIENTS).map(|i| enter(tcp, V3_1_1, &format!("old{i}"))).collect();
    let by_ws: Vec<_> = (0..CLIENTS).map(|i| enter_by_websocket(ws, &format!("ws{i}"))).collect();
    let last_word = |mut stream: TcpStream| {
        let mut last = None;
        while let Some(packet) = packets::read(&mut stream) {
            last = Some(packet);
        }
        last.expect("something came")
    };
    let last_frames = |mut client: WebSocket| {
        let (mut last, mut close) = (None, None);
        while let Some(frame) = client.frame() {
            match frame.opcode {
                BINARY => last = Some(frame.payload),
                _ => {
                    close = Some(frame.close_code());
                    client.stream.write_all(&websocket::frame(0x88, &1001_u16.to_be_bytes())).unwrap();
                }
            }
        }
        (last.expect("something came"), close)
    };
    thread::scope(|scope| {
        let by_tcp: Vec<_> =
            by_tcp.into_iter().map(|client| scope.spawn(move || last_word(client))).collect();
        let by_old: Vec<_> =
            by_old.into_iter().map(|client| scope.spawn(move || last_word(client))).collect();
        let by_ws: Vec<_> =
            by_ws.into_iter().map(|client| scope.spawn(move || last_frames(client))).collect();
        let load = load(tcp);
        thread::sleep(Duration::from_millis(500));
        let begun = Instant::now();
        broker.program.signal("TERM");
        assert_eq!(broker.program.wait(SOON).and_then(|status| status.code()), Some(0));
        println!("ended {:.2?} after SIGTERM", begun.elapsed());
        for client in by_tcp {
            let last = client.join().unwrap();
            assert_eq!((last[0], last[2]), (0xE0, SHUTTING_DOWN), "{last:02x?}");
        }
        for client in by_old {
            assert_eq!(client.join().unwrap()[0] & 0xF0, 0x30, "before 5.0 servers have no goodbye");
        }
        for client in by_ws {
            let (last, close) = client.join().unwrap();
            assert_eq!((last[0], last[2], close), (0xE0, SHUTTING_DOWN, Some(1001)));
        }
        load.join().unwrap();
    });
}

/// A client for whom far more waits than it will ever read.
fn stuck(broker: &Running) -> TcpStream {
    let stuck = enter(broker.address(), V3_1_1, "stuck");
    load(broker.address());
    assert!(eventually(SOON, || broker.counters()["pauses"].as_u64() > Some(0)), "it is not stuck");
    stuck
}

#[test]
fn a_stop_does_not_wait_longer_than_the_grace_time_for_who_does_not_read() {
    let mut broker = start("1");
    let _stuck = stuck(&broker);
    broker.program.signal("TERM");
    assert_eq!(broker.program.wait(SOON).and_then(|status| status.code()), Some(0));
}

#[test]
fn a_second_signal_under_load_ends_the_broker_at_once() {
    let mut broker = start("30");
    let _stuck = stuck(&broker);
    broker.program.signal("TERM");
    assert!(broker.program.stderr.contain("stopping"));
    thread::sleep(Duration::from_millis(300));
    assert!(broker.program.is_running(), "it waits for who does not read");
    broker.program.signal("TERM");
    let status = broker.program.wait(SOON).expect("it ends");
    assert_eq!(status.code(), Some(TERMINATED));
}

#[test]
fn a_reload_under_load_loses_nobody_and_shows_the_new_certificate() {
    let certificates = Certificates::new();
    let broker = Proxy::broker().listen("tcp://127.0.0.1:0").listen("tls://127.0.0.1:0");
    let broker = broker.tls(&certificates).start();
    let trusts = |authority: &str| {
        let ca = certificates.file(authority);
        let target = Target { url: broker.url(1).to_owned(), level: V3_1_1, ca: &ca };
        let mut command = mosquitto_client("mosquitto_pub", &target);
        command.args(["-t", "t", "-m", "x", "-q", "1"]);
        run(command, b"", SOON * 2).code == Some(0)
    };
    let witnesses: Vec<_> = (0..5).map(|_| Witness::begin(broker.address())).collect();
    let mut idle: Vec<_> = (0..50).map(|i| enter(broker.address(), V5, &format!("idle{i}"))).collect();
    assert!(trusts("ca.pem"));
    for (from, to) in [("impostor.pem", "server.pem"), ("impostor.key", "server.key")] {
        std::fs::copy(certificates.file(from), certificates.file(to)).unwrap();
    }
    for _ in 0..20 {
        broker.program.signal("HUP");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(eventually(SOON, || trusts("other-ca.pem")), "the new certificate is shown");
    assert!(!trusts("ca.pem"), "and the old one is not");

    std::fs::write(certificates.file("server.pem"), "no certificate at all").unwrap();
    broker.program.signal("HUP");
    assert!(broker.program.stderr.contain("nothing is reloaded"), "a bad file is logged");
    assert!(trusts("other-ca.pem"), "and changes nothing");
    for client in &mut idle {
        client.write_all(&packets::PINGREQ).unwrap();
        assert_eq!(packets::read(client).unwrap(), packets::PINGRESP);
    }
    for witness in witnesses {
        assert!(witness.testify().slowest < SOON);
    }
    drop(idle);
    let mut left = dial_tcp(broker.address());
    left.write_all(&packets::DISCONNECT).unwrap();
    assert!(read_to_close(&mut left).is_ok(), "it still turns away who is no client");
}

#[test]
fn a_broker_whose_stderr_nobody_read_could_not_be_stopped() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqway"));
    command.args(["broker", "--listen", "tcp://127.0.0.1:0"]).stderr(Stdio::piped());
    let mut broker = command.spawn().unwrap();
    let mut stderr = BufReader::new(broker.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let address: SocketAddr = line.trim().strip_prefix("listening tcp://").unwrap().parse().unwrap();
    let mut client = enter(address, V3_1_1, "client");
    // Far more than a pipe holds.
    for _ in 0..200 {
        assert!(Command::new("kill").args(["-USR1", &broker.id().to_string()]).status().unwrap().success());
    }
    client.write_all(&[0xC0, 0]).unwrap();
    assert_eq!(packets::read(&mut client).expect("PINGRESP")[0], 0xD0);
    assert!(Command::new("kill").arg(broker.id().to_string()).status().unwrap().success());
    let ended = eventually(SOON * 2, || broker.try_wait().unwrap().is_some());
    let _ = broker.kill();
    let status = broker.wait().unwrap();
    assert!(ended && status.success(), "{status}");
}
