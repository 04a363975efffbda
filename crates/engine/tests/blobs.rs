//! Payloads that connections share, and packets that are marked for each, over every layer, through slow and broken links.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::sync::Arc;
use std::time::Duration;

use mqway_engine::sim::{Remote, Sim};
use mqway_engine::{Blob, ConnId, Core, Io, Limits, Origin, Why};
use mqway_transport::tls::{ClientSetup, Identity, Pem, ServerSetup, server_name};
use mqway_transport::websocket::{self, CloseCode};
use mqway_transport::{ClientOptions, ServerOptions, Stack};

/// What comes between and around blobs.
const HEAD: &[u8] = b"head";

/// Sends what its orders say, one byte each: `b` a head and the blob, `m` something that is marked, `s` something small, `q`
/// the end of it all.
struct Library {
    blob: Arc<Blob>,
}

impl Core for Library {
    type Mail = ();

    fn opened(&mut self, _: &mut Io<()>, _: ConnId, _: Origin) {}

    fn data(&mut self, io: &mut Io<()>, conn: ConnId, orders: &mut [u8]) -> usize {
        for order in orders.iter() {
            match order {
                b'b' => drop(io.send_blob(conn, HEAD, &self.blob)),
                b'm' => _ = io.send_marked(conn, b"m--k", b"ed", |head| head[1..3].copy_from_slice(b"ar")),
                b'q' => io.close(conn, CloseCode::NORMAL),
                _ => io.send(conn, b"small"),
            }
        }
        orders.len()
    }

    fn ended(&mut self, _: &mut Io<()>, _: ConnId) {}

    fn closed(&mut self, _: &mut Io<()>, _: ConnId, _: &Why) {}
}

/// A client at the far end, with its layers.
struct Far {
    remote: Remote,
    stack: Stack,
    plain: Vec<u8>,
    got: Vec<u8>,
    ended: bool,
}

impl Far {
    fn new(sim: &mut Sim<Library>, options: &Arc<ClientOptions>) -> Far {
        let remote = sim.connect(0, None).unwrap();
        let mut plain = Vec::new();
        let stack = Stack::client(options, &mut plain).unwrap();
        Far { remote, stack, plain, got: Vec::new(), ended: false }
    }

    /// Takes what has come, and sends what there is to send.
    fn turn(&mut self, sim: &mut Sim<Library>) {
        let mut bytes = sim.read(self.remote);
        let mut scratch = Vec::new();
        let received = self.stack.receive(&mut bytes, &mut scratch, &mut self.plain).unwrap();
        self.got.extend_from_slice(received.data);
        self.ended |= received.ended || sim.is_ended(self.remote);
        let mut wire = Vec::new();
        if self.stack.must_seal() {
            self.stack.seal(&mut self.plain, &mut wire).unwrap();
        } else {
            wire.append(&mut self.plain);
        }
        sim.write(self.remote, &wire);
    }

    fn order(&mut self, orders: &[u8]) {
        self.stack.send(orders, &mut self.plain);
    }
}

/// Nothing, WebSocket, TLS, and one in the other.
fn layers() -> Vec<(&'static str, ServerOptions, Arc<ClientOptions>)> {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (chain, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let pem = |bytes| Pem { name: "test", bytes };
    let identity = Identity { chain: pem(chain.as_bytes()), key: pem(key.as_bytes()) };
    let server_tls = ServerSetup::new(identity).build().unwrap();
    let client_tls = ClientSetup { insecure: true, ..ClientSetup::default() }.build().unwrap();
    let client_tls = (client_tls, server_name("localhost").unwrap());
    let upgrade = websocket::ClientOptions::new("localhost", 80, false, "/mqtt").unwrap();
    let mut layers = Vec::new();
    for (name, tls, framed) in
        [("tcp", false, false), ("ws", false, true), ("tls", true, false), ("wss", true, true)]
    {
        let server = ServerOptions {
            tls: tls.then(|| server_tls.clone()),
            websocket: framed.then(|| Arc::new(websocket::ServerOptions::default())),
            ..ServerOptions::default()
        };
        let client = ClientOptions {
            tls: tls.then(|| client_tls.clone()),
            websocket: framed.then(|| Arc::new(upgrade.clone())),
            ..ClientOptions::default()
        };
        layers.push((name, server, Arc::new(client)));
    }
    layers
}

fn library(seed: u64, limits: Limits, server: &ServerOptions, blob: &Arc<Blob>) -> Sim<Library> {
    Sim::new(seed, 1, limits, vec![server.clone()], |_| Library { blob: blob.clone() })
}

fn blob(len: usize) -> Arc<Blob> {
    Blob::new((0..len).map(|at| (at * 31 % 251) as u8).collect::<Vec<_>>())
}

#[test]
fn blobs_come_whole_and_in_order_over_every_layer() {
    for (name, server, client) in layers() {
        for seed in 0..12 {
            let blob = blob(1 + seed as usize % 3 * 100_000);
            let mut sim = library(seed, Limits::default(), &server, &blob);
            let mut far = Far::new(&mut sim, &client);
            let (mut wanted, mut orders) = (Vec::new(), Vec::new());
            for _ in 0..20 {
                match sim.random().below(3) {
                    0 => {
                        orders.push(b'b');
                        wanted.extend_from_slice(HEAD);
                        wanted.extend_from_slice(blob.bytes());
                    }
                    1 => {
                        orders.push(b'm');
                        wanted.extend_from_slice(b"marked");
                    }
                    _ => {
                        orders.push(b's');
                        wanted.extend_from_slice(b"small");
                    }
                }
            }
            // What comes behind the end is not sent, nor does it change what was.
            orders.extend_from_slice(b"qm");
            let mut ordered = orders.as_slice();
            for _ in 0..20_000 {
                sim.run(Duration::from_millis(2));
                far.turn(&mut sim);
                // Some at once, so that they gather, and some while others are being written.
                if !ordered.is_empty() && far.stack.stage() == mqway_transport::Stage::Open {
                    let some = 1 + sim.random().below(ordered.len());
                    far.order(&ordered[..some]);
                    ordered = &ordered[some..];
                }
                if far.ended {
                    break;
                }
            }
            assert!(far.ended && far.got == wanted, "{name}, seed {seed}: {} bytes", far.got.len());
            sim.end(far.remote);
            sim.run(Duration::from_secs(30));
            assert_eq!((sim.connections(), sim.counters().snapshot().buffered), (0, 0), "{name}");
        }
    }
}

#[test]
fn a_blob_that_a_hundred_slow_readers_wait_for_is_there_once() {
    let blob = blob(1_000_000);
    for (name, server, client) in layers().into_iter().take(2) {
        let mut sim = library(1, Limits::default(), &server, &blob);
        let mut readers: Vec<_> = (0..100).map(|_| Far::new(&mut sim, &client)).collect();
        for _ in 0..100 {
            sim.run(Duration::from_millis(5));
            readers.iter_mut().for_each(|reader| reader.turn(&mut sim));
        }
        for reader in &mut readers {
            sim.set_reading(reader.remote, false);
            reader.order(b"b");
            reader.turn(&mut sim);
        }
        sim.run(Duration::from_secs(1));
        // Beside it each has the smallest buffer there is, for the bytes in front of it.
        let buffered = sim.counters().snapshot().buffered;
        assert!((1_000_000..=1_000_000 + 100 * 4_096).contains(&buffered), "{name}: {buffered}");
        for reader in &readers[1..] {
            sim.cut(reader.remote);
        }
        sim.run(Duration::from_secs(1));
        assert!((1_000_000..=1_004_096).contains(&sim.counters().snapshot().buffered), "{name}");
        sim.cut(readers[0].remote);
        sim.run(Duration::from_secs(1));
        assert_eq!(sim.counters().snapshot().buffered, 0, "{name}");
    }
}

#[test]
fn who_waits_for_more_blobs_than_there_is_room_for_is_ended() {
    let (_, server, client) = layers().swap_remove(0);
    let limits = Limits { buffered: 1_500_000, ..Limits::default() };
    let blob = blob(500_000);
    let mut sim = library(1, limits, &server, &blob);
    let (mut stuck, mut other) = (Far::new(&mut sim, &client), Far::new(&mut sim, &client));
    sim.set_reading(stuck.remote, false);
    stuck.order(b"bbbb");
    other.order(b"b");
    for _ in 0..200 {
        stuck.turn(&mut sim);
        other.turn(&mut sim);
        sim.run(Duration::from_millis(5));
    }
    assert_eq!((sim.counters().snapshot().dropped_over_limit, sim.connections()), (1, 1));
    assert_eq!(other.got.len(), HEAD.len() + blob.bytes().len());
}
