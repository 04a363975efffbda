//! The engine's decisions under the simulator.

mod support;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use mqway_engine::sim::{Remote, Sim};
use mqway_engine::{ConnId, Core, Io, Limits, Origin, Target, Why};
use mqway_transport::{ServerOptions, websocket};
use support::Echo;

const SECOND: Duration = Duration::from_secs(1);

fn read_all(sim: &mut Sim<Echo>, remote: Remote, want: usize) -> Vec<u8> {
    let mut got = Vec::new();
    for _ in 0..10_000 {
        sim.run(Duration::from_millis(5));
        got.extend(sim.read(remote));
        if got.len() >= want {
            break;
        }
    }
    got
}

#[test]
fn everything_comes_back_in_order_however_it_is_cut() {
    for seed in 0..50 {
        let mut sim = Sim::new(seed, 2, Limits::default(), vec![ServerOptions::default()], |_| Echo::quiet());
        let remotes: Vec<_> = (0..6).map(|_| sim.connect(0, None).unwrap()).collect();
        let text: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        for remote in &remotes {
            sim.write(*remote, &text);
        }
        for remote in remotes {
            assert!(read_all(&mut sim, remote, text.len()) == text, "seed {seed}");
            sim.end(remote);
            sim.run(SECOND);
            assert!(sim.is_ended(remote), "seed {seed}");
        }
        assert_eq!(sim.connections(), 0);
        assert_eq!(sim.counters().snapshot().buffered, 0);
    }
}

#[test]
fn a_reader_that_stops_holds_a_bounded_amount_and_then_gets_all() {
    let (events, heard) = channel();
    let limits = Limits { high_water: 100_000, low_water: 1_000, ..Limits::default() };
    let mut sim = Sim::new(1, 1, limits, vec![ServerOptions::default()], |_| Echo {
        events: Some(events.clone()),
        hand_over_to: None,
    });
    let remote = sim.connect(0, None).unwrap();
    sim.set_reading(remote, false);
    let text = vec![7; 1_000_000];
    sim.write(remote, &text);
    sim.run(10 * SECOND);
    let buffered = sim.counters().snapshot().buffered;
    assert!((100_000..=100_000 + 64 * 1024).contains(&buffered), "{buffered}");
    assert_eq!(heard.recv().unwrap(), "blocked");
    sim.set_reading(remote, true);
    assert_eq!(read_all(&mut sim, remote, text.len()), text);
    assert_eq!(heard.recv().unwrap(), "unblocked");
}

#[test]
fn who_buffers_more_when_all_is_full_is_ended_and_nobody_else() {
    // 3.1.1: [MQTT-4.8.0-2]
    let limits = Limits { buffered: 200_000, ..Limits::default() };
    let mut sim = Sim::new(1, 1, limits, vec![ServerOptions::default()], |_| Echo::quiet());
    let (stuck, other) = (sim.connect(0, None).unwrap(), sim.connect(0, None).unwrap());
    sim.set_reading(stuck, false);
    sim.write(stuck, &vec![7; 1_000_000]);
    sim.run(10 * SECOND);
    assert_eq!((sim.counters().snapshot().dropped_over_limit, sim.connections()), (1, 1));
    sim.write(other, b"still here");
    assert_eq!(read_all(&mut sim, other, 10), b"still here");
}

#[test]
fn a_connection_that_moves_to_another_worker_loses_nothing() {
    for seed in 0..20 {
        let (events, heard) = channel();
        let mut sim = Sim::new(seed, 2, Limits::default(), vec![ServerOptions::default()], |_| Echo {
            events: Some(events.clone()),
            hand_over_to: Some(1),
        });
        let remote = sim.connect(0, None).unwrap();
        sim.write(remote, b"before and after");
        assert_eq!(read_all(&mut sim, remote, 16), b"before and after");
        assert_eq!(heard.recv().unwrap(), "arrived at 1 from 0");
        assert_eq!(sim.counters().snapshot().open, 1);
    }
}

/// Gives a connection away once it knows, by its first two bytes, where to; there it is echoed.
struct Sorter;

impl Core for Sorter {
    type Mail = ();
    fn opened(&mut self, _: &mut Io<()>, _: ConnId, _: Origin) {}
    fn data(&mut self, io: &mut Io<()>, conn: ConnId, bytes: &mut [u8]) -> usize {
        let Some(worker) = bytes.get(1).map(|byte| usize::from(*byte)) else { return 0 };
        if worker != io.worker() {
            io.hand_over(conn, worker, ());
            return 0;
        }
        // Two bytes each time, so that what follows is shown again.
        io.send(conn, &bytes[..2]);
        io.resume(conn);
        2
    }
    fn ended(&mut self, _: &mut Io<()>, _: ConnId) {}
    fn closed(&mut self, _: &mut Io<()>, _: ConnId, _: &Why) {}
}

#[test]
fn bytes_that_made_the_core_give_a_connection_away_go_along() {
    for seed in 0..50 {
        let mut sim = Sim::new(seed, 3, Limits::default(), vec![ServerOptions::default()], |_| Sorter);
        let remotes: Vec<_> = (0..6).map(|_| sim.connect(0, None).unwrap()).collect();
        for (index, remote) in remotes.iter().enumerate() {
            sim.write(*remote, &[7, index as u8 % 3].repeat(50));
        }
        sim.run(SECOND);
        for (index, remote) in remotes.into_iter().enumerate() {
            assert_eq!(sim.read(remote), [7, index as u8 % 3].repeat(50), "seed {seed}");
        }
    }
}

#[test]
fn a_cut_connection_is_told_once_and_leaves_nothing() {
    let (events, heard) = channel();
    let mut sim = Sim::new(3, 1, Limits::default(), vec![ServerOptions::default()], |_| Echo {
        events: Some(events.clone()),
        hand_over_to: None,
    });
    let remote = sim.connect(0, None).unwrap();
    sim.write(remote, b"x");
    sim.cut(remote);
    sim.run(SECOND);
    assert!(heard.recv().unwrap().starts_with("connection lost"));
    assert!(heard.try_recv().is_err());
    assert_eq!(sim.connections(), 0);
}

#[test]
fn a_limit_on_all_connections_refuses_the_next_one() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let mut sim = Sim::new(3, 1, limits, vec![ServerOptions::default()], |_| Echo::quiet());
    let first = sim.connect(0, None).unwrap();
    sim.connect(0, None).unwrap();
    assert!(sim.connect(0, None).is_none());
    sim.end(first);
    sim.run(SECOND);
    assert!(sim.connect(0, None).is_some());
}

#[test]
fn a_handshake_that_does_not_end_is_ended() {
    let options = ServerOptions { proxy_protocol: true, ..ServerOptions::default() };
    let limits = Limits { handshake_time: 3 * SECOND, ..Limits::default() };
    let mut sim = Sim::new(3, 1, limits, vec![options], |_| Echo::quiet());
    sim.connect(0, None).unwrap();
    sim.run(2 * SECOND);
    assert_eq!(sim.connections(), 1);
    sim.run(7 * SECOND);
    assert_eq!(sim.connections(), 0);
    assert_eq!(sim.counters().snapshot().handshake_timeouts, 1);
}

#[test]
fn handshakes_do_not_delay_a_stop_and_nobody_gets_in_after_it() {
    let options = ServerOptions { proxy_protocol: true, ..ServerOptions::default() };
    let mut sim = Sim::new(3, 1, Limits::default(), vec![options], |_| Echo::quiet());
    let half = sim.connect(0, None).unwrap();
    sim.write(half, b"PROXY UNKNOWN");
    sim.run(SECOND);
    sim.stop();
    sim.run(Duration::from_millis(10));
    assert_eq!(sim.connections(), 0);
    assert!(sim.connect(0, None).is_none());
}

#[test]
fn a_target_is_named_as_it_was_given() {
    assert_eq!(Target::Tcp { host: "::1".into(), port: 1883 }.to_string(), "[::1]:1883");
}

#[test]
fn pongs_for_a_peer_that_never_reads_do_not_pile_up() {
    let websocket = Arc::new(websocket::ServerOptions::default());
    let options = ServerOptions { websocket: Some(websocket), ..ServerOptions::default() };
    let limits = Limits { high_water: 100_000, low_water: 1_000, ..Limits::default() };
    let mut sim = Sim::new(1, 1, limits, vec![options], |_| Echo::quiet());
    let remote = sim.connect(0, None).unwrap();
    sim.set_reading(remote, false);
    sim.write(
        remote,
        b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'x'; 125]].concat();
    for _ in 0..200 {
        sim.write(remote, &ping.repeat(100));
        sim.run(Duration::from_millis(20));
    }
    // A buffer may be twice as large as what lies in it.
    let buffered = sim.counters().snapshot().buffered;
    assert!(buffered < 240_000, "{buffered}");
    sim.set_reading(remote, true);
    assert!(read_all(&mut sim, remote, 100).starts_with(b"HTTP/1.1 101"));
}

#[test]
fn little_that_is_left_of_much_does_not_lie_in_a_large_buffer() {
    let limits = Limits { high_water: 1_000_000, low_water: 1_000, ..Limits::default() };
    let mut sim = Sim::new(1, 1, limits, vec![ServerOptions::default()], |_| Echo::quiet());
    let remote = sim.connect(0, None).unwrap();
    sim.set_reading(remote, false);
    let text = vec![7; 900_000];
    sim.write(remote, &text);
    sim.run(10 * SECOND);
    let buffered = |sim: &Sim<Echo>| sim.counters().snapshot().buffered;
    assert!(buffered(&sim) > 500_000, "{}", buffered(&sim));
    // It takes nearly all, and then no more for ever.
    sim.set_pace(remote, 2_000);
    sim.set_reading(remote, true);
    let mut got = 0;
    while got < text.len() - 70_000 {
        sim.run(Duration::from_millis(1));
        got += sim.read(remote).len();
    }
    sim.set_reading(remote, false);
    sim.run(10 * SECOND);
    assert!(buffered(&sim) < 4 * 70_000, "{}", buffered(&sim));
}
