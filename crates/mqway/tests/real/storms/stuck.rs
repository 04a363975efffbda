//! Receivers that read slowly, or not at all, while others publish as fast as they can.

use super::scene::{Aftermath, MIB, Scene, broker};
use super::{FOR_GOOD, V3_1_1, V5, enter, subscribe};
use crate::support::{long, packets};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Publishes to `topic` until it is over; how many messages were taken.
fn flood(mut stream: TcpStream, topic: &str, qos: u8, payload: usize, end: Instant) -> u64 {
    const BATCH: u16 = 16;
    let mut sent = 0;
    let payload = vec![0xA5; payload];
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    while Instant::now() < end {
        let batch: Vec<u8> =
            (1..=BATCH).flat_map(|id| packets::publish(V3_1_1, topic, qos, id, &payload)).collect();
        if stream.write_all(&batch).is_err() {
            break; // It is held back: a half-sent batch cannot be gone on with.
        }
        if qos > 0 {
            for _ in 0..BATCH {
                assert_eq!(packets::read(&mut stream).expect("PUBACK")[0], 0x40);
            }
        }
        sent += u64::from(BATCH);
    }
    sent
}

#[test]
#[ignore = "long: a flood towards receivers that never read"]
fn a_receiver_that_never_reads_costs_itself_alone() {
    let during = long(Duration::from_secs(20), Duration::from_secs(4));
    let scene = Scene::begin("a receiver that never reads", broker());
    let mut stuck: Vec<_> = (0..4).map(|i| enter(scene.address(i), V5, &format!("stuck{i}"))).collect();
    for (i, stream) in stuck.iter_mut().enumerate() {
        subscribe(stream, V5, "flood", (i % 2) as u8);
    }
    let end = Instant::now() + during;
    let (at_0, at_1) = std::thread::scope(|scope| {
        let [first, second] =
            [0, 1].map(|i| enter(scene.address(i), V3_1_1, &format!("flood{i}"))).map(|stream| stream);
        let at_0 = scope.spawn(move || flood(first, "flood", 0, 1_000, end));
        let at_1 = scope.spawn(move || flood(second, "flood", 1, 1_000, end));
        (at_0.join().unwrap(), at_1.join().unwrap())
    });
    drop(stuck);
    for i in 0..4 {
        enter(scene.address(i), V5, &format!("stuck{i}")).write_all(&FOR_GOOD).unwrap();
    }
    let after = scene.end(8 * MIB);
    println!("    {at_0} messages with QoS 0, {at_1} with QoS 1; {}", dropped(&after));
    assert!(after.count("dropped_slow") > 0 && after.count("dropped_queue_full") > 0);
    assert_eq!(after.count("stored"), 0);
    // Four sockets' buffers, and two queues of 10,000 messages of 1,000 bytes.
    assert!(after.peak < 96 * MIB, "{after:?}");
}

/// What each policy dropped.
fn dropped(after: &Aftermath) -> String {
    let counters = after.counters.as_object().into_iter().flatten();
    let dropped = counters.filter(|(name, count)| name.starts_with("dropped") && count.as_u64() != Some(0));
    dropped.map(|(name, count)| format!("{name} {count} ")).collect()
}

#[test]
#[ignore = "long: floods towards slow receivers under a tight bound on memory"]
fn memory_stays_under_its_bound_and_who_holds_little_loses_nothing() {
    const RECEIVERS: usize = 60;
    const BOUND: u64 = 48 * MIB;
    let during = long(Duration::from_secs(20), Duration::from_secs(5));
    let broker = broker().arguments(&["--max-buffered", "48MiB"]);
    let broker = broker.environment("MQWAY__BROKER__MAX_STORED", "48MiB");
    let scene = Scene::begin("floods to slow receivers", broker);
    let (over, read) = (AtomicBool::new(false), AtomicU64::new(0));
    let end = Instant::now() + during;
    let sent = std::thread::scope(|scope| {
        for i in 0..RECEIVERS {
            let mut stream = enter(scene.address(i), V5, &format!("slow{i}"));
            subscribe(&mut stream, V5, "flood", (i % 2) as u8);
            let (over, read) = (&over, &read);
            scope.spawn(move || {
                let mut some = [0; 2048];
                while !over.load(Ordering::Relaxed) {
                    match stream.read(&mut some) {
                        Ok(n @ 1..) => read.fetch_add(n as u64, Ordering::Relaxed),
                        _ => return, // dropped over the limit, which it had to expect
                    };
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        let floods: Vec<_> = (0..4)
            .map(|i| {
                let stream = enter(scene.address(i), V3_1_1, &format!("flood{i}"));
                scope.spawn(move || flood(stream, "flood", (i % 2) as u8, 4_000, end))
            })
            .collect();
        let sent: Vec<_> = floods.into_iter().map(|flood| flood.join().unwrap()).collect();
        over.store(true, Ordering::Relaxed);
        sent
    });
    for i in 0..RECEIVERS {
        enter(scene.address(i), V5, &format!("slow{i}")).write_all(&FOR_GOOD).unwrap();
    }
    let after = scene.end(8 * MIB);
    println!("    {sent:?} messages published, {} bytes read; {}", read.into_inner(), dropped(&after));
    assert!(after.count("dropped_queue_bytes") + after.count("dropped_over_limit") > 0);
    // Buffered, stored, and what a worker has in its hands.
    assert!(after.peak < 2 * BOUND + 32 * MIB, "{after:?}");
}
