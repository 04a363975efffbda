//! What WebSocket framing costs: `cargo bench -p mqway-transport --bench websocket`.
//!
//! Prints, for a 64 KiB read buffer full of frames, the time per frame and the rate of payload bytes. The buffer is
//! copied afresh before each pass (a pass destroys it); that copy is measured alone and taken off.

use std::hint::black_box;
use std::time::{Duration, Instant};

use mqway_transport::websocket::{Connection, Limits, MessageKind, Role};

/// The size of a worker's read buffer.
const BUFFER: usize = 64 * 1024;
const PASSES: u32 = 4000;
/// The best of so many runs is reported: what disturbs a run only ever makes it longer.
const RUNS: usize = 7;

fn main() {
    println!("{:<28} {:>10} {:>10}", "read_stream", "ns/frame", "GB/s");
    for payload in [2, 16, 64, 100, 125, 126, 512, 4096, 65000] {
        read_stream(Role::Server, payload);
    }
    for payload in [16, 64, 125, 4096] {
        read_stream(Role::Client, payload);
    }
    println!("{:<28} {:>10} {:>10}", "write_message", "ns/frame", "GB/s");
    for role in [Role::Server, Role::Client] {
        for payload in [16, 64, 4096] {
            write_message(role, payload);
        }
    }
}

fn peer_of(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// As many whole frames as fit in a buffer.
fn frames(sender: Role, payload: usize) -> (Vec<u8>, usize) {
    let mut connection = Connection::new(sender, Limits::default());
    let (mut wire, mut count) = (Vec::new(), 0);
    let body = vec![0x5a; payload];
    loop {
        let before = wire.len();
        connection.write_message(MessageKind::Binary, &body, &mut wire).expect("the connection is open");
        if wire.len() > BUFFER {
            wire.truncate(before);
            return (wire, count);
        }
        count += 1;
    }
}

fn best(mut pass: impl FnMut()) -> Duration {
    (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..PASSES {
                pass();
            }
            start.elapsed() / PASSES
        })
        .min()
        .unwrap_or_default()
}

fn read_stream(role: Role, payload: usize) {
    let (wire, count) = frames(peer_of(role), payload);
    let mut buffer = wire.clone();
    let copy = best(|| {
        buffer.copy_from_slice(&wire);
        black_box(&mut buffer);
    });
    let mut connection = Connection::new(role, Limits::default());
    let mut out = Vec::new();
    let read = best(|| {
        buffer.copy_from_slice(&wire);
        let streamed = connection.read_stream(black_box(&mut buffer), &mut out);
        assert_eq!(streamed.data.len(), count * payload);
        black_box(&mut buffer);
    });
    report(role, payload, read.saturating_sub(copy), count);
}

fn write_message(role: Role, payload: usize) {
    let body = vec![0x5a; payload];
    let count = BUFFER / (payload + 14);
    let mut connection = Connection::new(role, Limits::default());
    let mut out = Vec::with_capacity(BUFFER);
    let time = best(|| {
        out.clear();
        for _ in 0..count {
            connection
                .write_message(MessageKind::Binary, black_box(&body), &mut out)
                .expect("the connection is open");
        }
        black_box(&mut out);
    });
    report(role, payload, time, count);
}

fn report(role: Role, payload: usize, time: Duration, count: usize) {
    let nanoseconds = time.as_secs_f64() * 1e9;
    println!(
        "{:<28} {:>10.2} {:>10.2}",
        format!("{role:?}, {payload} B"),
        nanoseconds / count as f64,
        (count * payload) as f64 / nanoseconds
    );
}
