use std::time::Duration;

use mqway_codec::{Decoder, Packet, Version};

use super::*;
use crate::bench::plan::Kind;
use crate::bench::plan::tests::plan;

const UNTIL: u64 = 1_000_000_000;

fn publisher(plan: &Plan) -> Publisher {
    let mut publisher = Publisher::new(0, 3, plan.publish_header(3, &mut Vec::new()).unwrap());
    publisher.connected(u16::MAX);
    publisher
}

fn stock(plan: &Plan, copies: u64) -> Stock {
    let mut stock = Stock::new(plan, plan.publishers as usize, 1 << 60, 0, UNTIL);
    stock.set_copies(copies);
    stock
}

#[test]
fn packets_are_what_the_codec_would_make_of_them() {
    for version in [Version::V3_1_1, Version::V5] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let plan = Plan { version, qos, window: 3, ..plan(Kind::Pairs, 5, 5) };
            let (mut publisher, mut out) = (publisher(&plan), Vec::new());
            assert_eq!(publisher.send(0, 77, &stock(&plan, 1), &mut out).sent, 3);
            let (mut decoder, mut rest) = (Decoder::with_version(version, 1_000), &out[..]);
            for number in 0..3 {
                let Some((Packet::Publish(publish), len)) = decoder.next(rest).unwrap() else { panic!() };
                rest = &rest[len..];
                assert_eq!((publish.topic, publish.qos, publish.payload.len()), ("t/3", qos, plan.size));
                let id = (qos != QoS::AtMostOnce).then(|| number as u16 + 1);
                assert_eq!(publish.packet_id.map(PacketId::value), id);
                let stamp = Stamp { run: plan.run, publisher: 3, number, at: (1 << 60) + 77 };
                assert_eq!(Stamp::split_from(publish.payload).unwrap().0, stamp);
            }
            assert!(rest.is_empty());
        }
    }
}

#[test]
fn a_window_moves_by_what_is_heard_and_acknowledged() {
    let plan = Plan { qos: QoS::AtLeastOnce, window: 8, messages: None, ..plan(Kind::Group, 1, 2) };
    let (stock, mut publisher) = (stock(&plan, 2), publisher(&plan));
    let send = |publisher: &mut Publisher| publisher.send(0, 5, &stock, &mut Vec::new()).sent;
    assert_eq!((send(&mut publisher), send(&mut publisher)), (8, 0));
    publisher.heard(8);
    assert_eq!(send(&mut publisher), 0, "acknowledgements are missing");
    for id in 1..=4 {
        assert_eq!(publisher.completed(PacketId::new(id).unwrap(), QoS::AtLeastOnce), Ok(5));
    }
    assert_eq!(send(&mut publisher), 4);
    publisher.heard(1);
    assert_eq!(send(&mut publisher), 0, "a single message is not worth a system call");
    publisher.give_up();
    assert_eq!(send(&mut publisher), 8);
    assert!(publisher.completed(PacketId::new(1).unwrap(), QoS::AtLeastOnce).is_err(), "answered before");
}

#[test]
fn the_server_sets_how_many_may_be_unacknowledged() {
    let plan = Plan { qos: QoS::ExactlyOnce, window: 100, messages: None, ..plan(Kind::Group, 1, 0) };
    let mut publisher = publisher(&plan);
    publisher.connected(10);
    let (stock, mut out) = (stock(&plan, 0), Vec::new());
    assert_eq!(publisher.send(0, 5, &stock, &mut out).sent, 10);
    for id in 1..=10 {
        publisher.pubrec(PacketId::new(id).unwrap()).unwrap();
    }
    assert_eq!(publisher.send(0, 5, &stock, &mut out).sent, 0);
    for id in 1..=10 {
        assert_eq!(publisher.pubcomp(PacketId::new(id).unwrap()), Ok(5));
    }
    assert_eq!(publisher.send(0, 5, &stock, &mut out).sent, 10);
    assert!(!publisher.is_acknowledged(QoS::ExactlyOnce));
}

#[test]
fn without_anybody_to_hear_pings_tell_what_was_read() {
    let plan = Plan { window: 8, messages: None, ..plan(Kind::Group, 1, 0) };
    let (stock, mut publisher) = (stock(&plan, 0), publisher(&plan));
    let turn = publisher.send(0, 5, &stock, &mut Vec::new());
    assert_eq!((turn.sent, turn.ping), (8, true));
    publisher.pinged();
    assert_eq!(publisher.send(0, 5, &stock, &mut Vec::new()).sent, 0);
    publisher.ponged();
    assert_eq!(publisher.send(0, 5, &stock, &mut Vec::new()).sent, 8);
    publisher.ponged();
    assert_eq!(publisher.send(0, 5, &stock, &mut Vec::new()).sent, 0, "an answer that nobody asked for");
}

#[test]
fn a_schedule_gives_each_publisher_its_turn_whatever_was_late() {
    let plan = Plan { rate: Some(1_000.0), messages: None, ..plan(Kind::Pairs, 4, 4) };
    let stock = stock(&plan, 1);
    let mut publishers: Vec<_> = (0..4).map(|_| publisher(&plan)).collect();
    let mut sent_by = |now: Duration| -> Vec<u64> {
        let turn = |(place, one): (usize, &mut Publisher)| {
            one.send(place, now.as_nanos() as u64, &stock, &mut Vec::new()).sent
        };
        publishers.iter_mut().enumerate().map(turn).collect()
    };
    assert_eq!(sent_by(Duration::ZERO), [1, 0, 0, 0]);
    assert_eq!(sent_by(Duration::from_millis(2)), [0, 1, 1, 0]);
    assert_eq!(sent_by(Duration::from_millis(400)), [100, 99, 99, 100]);
    assert_eq!(sent_by(Duration::from_secs(2)), [149, 150, 150, 150], "nothing is due after the end");
    assert!(publishers.iter().enumerate().all(|(place, one)| one.unsent(place, &stock) == 0));
    assert_eq!(publisher(&plan).unsent(0, &stock), 250);
}

#[test]
fn large_messages_take_turns() {
    let plan = Plan { size: 100_000, ..plan(Kind::Pairs, 1, 1) };
    let (stock, mut publisher, mut out) = (stock(&plan, 1), publisher(&plan), Vec::new());
    let turn = publisher.send(0, 5, &stock, &mut out);
    assert!(turn.more && turn.sent == 3, "{turn:?}");
    publisher.blocked = true;
    assert_eq!(publisher.send(0, 5, &stock, &mut out), Turn::default());
}
