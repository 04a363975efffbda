//! Many retained messages, and many subscriptions.

use super::scene::{MIB, Scene, broker};
use super::{FOR_GOOD, V3_1_1, V5, enter, subscribe};
use crate::support::{long, packets};
use std::collections::HashSet;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::time::Instant;

/// Publishes in batches with QoS 0, and waits until the last of each is acknowledged.
fn publish_all(stream: &mut TcpStream, count: usize, publish: impl Fn(usize) -> (String, Vec<u8>)) {
    for batch in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let mut bytes = Vec::new();
        for i in batch {
            let (topic, payload) = publish(*i);
            let mut packet = packets::publish(V3_1_1, &topic, 0, 0, &payload);
            packet[0] |= 1;
            bytes.extend(packet);
        }
        bytes.extend(packets::PINGREQ);
        stream.write_all(&bytes).unwrap();
        assert_eq!(packets::read(stream).unwrap(), packets::PINGRESP);
    }
}

#[test]
#[ignore = "long: two hundred thousand retained messages, asked for by several at once"]
fn all_retained_messages_come_to_all_who_ask_for_everything() {
    const RECEIVERS: usize = 4;
    let count = long(200_000, 40_000);
    let scene = Scene::begin("retained messages asked for with #", broker());
    let mut publisher = enter(scene.address(0), V3_1_1, "publisher");
    let topic = |i: usize| format!("kept/{}/{i}", i % 100);
    publish_all(&mut publisher, count, |i| (topic(i), format!("message {i}").into_bytes()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for receiver in 0..RECEIVERS {
            let scene = &scene;
            scope.spawn(move || {
                let mut stream = enter(scene.address(receiver), V3_1_1, &format!("receiver{receiver}"));
                let qos = (receiver % 2) as u8;
                stream.write_all(&packets::subscribe(V3_1_1, 1, "#", qos)).unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut seen = HashSet::new();
                while seen.len() < count {
                    let packet = packets::read(&mut reader).expect("a retained message");
                    if packet[0] & 0xF1 != 0x31 {
                        continue; // SUBACK, and what the witness publishes.
                    }
                    if qos > 0 {
                        let id = packets::publish_id(&packet);
                        stream.write_all(&packets::acknowledgement(0x40, id)).unwrap();
                    }
                    let at = 2 + usize::from(packet[1] >= 0x80);
                    let end = at + 2 + usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
                    let topic = &packet[at + 2..end];
                    assert!(topic.starts_with(b"kept/"));
                    assert!(seen.insert(topic.to_vec()), "a message came twice");
                }
            });
        }
    });
    let took = begun.elapsed();
    let resident = scene.broker.program.resident();
    publish_all(&mut publisher, count, |i| (topic(i), Vec::new()));
    drop(publisher);
    let after = scene.end(16 * MIB);
    println!(
        "    {count} messages to {RECEIVERS} receivers in {took:.1?}; {:.1} MiB while they were retained",
        resident as f64 / MIB as f64
    );
    assert!(after.count("retained") < 100, "only $SYS is left");
}

#[test]
#[ignore = "long: ten thousand subscriptions of one client"]
fn a_client_may_have_ten_thousand_subscriptions_and_no_more() {
    const MOST: usize = 10_000;
    const BATCH: usize = 500;
    let rounds = long(10, 2);
    let scene = Scene::begin("ten thousand subscriptions", broker());
    let begun = Instant::now();
    for _ in 0..rounds {
        let mut stream = enter(scene.address(0), V5, "greedy");
        let mut subscribe_to = |from: usize, count: usize| {
            let mut body = vec![0, 9, 0];
            for i in from..from + count {
                let filter = format!("greedy/{i}/+/{}/#", i % 7);
                body.extend((filter.len() as u16).to_be_bytes());
                body.extend(filter.as_bytes());
                body.push(1);
            }
            stream.write_all(&packets::packet(0x82, &body)).unwrap();
            let suback = packets::read(&mut stream).expect("SUBACK");
            suback[suback.len() - count..].to_vec()
        };
        for from in (0..MOST).step_by(BATCH) {
            assert!(subscribe_to(from, BATCH).iter().all(|code| *code == 1), "granted");
        }
        assert_eq!(subscribe_to(MOST, 1), [0x97], "one more is refused");
        let mut publisher = enter(scene.address(1), V3_1_1, "publisher");
        for i in [0, 1, MOST / 2, MOST - 1] {
            let publish = packets::publish(V3_1_1, &format!("greedy/{i}/x/{}/y/z", i % 7), 0, 0, b"found");
            publisher.write_all(&publish).unwrap();
            assert!(packets::read(&mut stream).unwrap().ends_with(b"found"));
        }
        stream.write_all(&FOR_GOOD).unwrap();
    }
    let took = begun.elapsed();
    let mut late = enter(scene.address(0), V3_1_1, "late");
    subscribe(&mut late, V3_1_1, "greedy/#", 1);
    drop(late);
    let after = scene.end(6 * MIB);
    println!("    {} subscriptions made and ended in {took:.1?}", rounds * MOST);
    assert!(after.count("subscriptions_refused") == rounds as u64 && after.count("sessions") == 0);
}
