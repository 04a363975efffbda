//! The core under the simulator, with a broker that does what it is told to, right or wrong.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};

use mqway_codec::{
    Ack, Connack, Decoder, Packet, PacketId, Publish, QoS, ReasonCode, ReasonCodesBuf, Suback, TopicFilter,
    TopicName, Version,
};
use mqway_engine::Limits;
use mqway_engine::sim::{Remote, Sim};

use super::*;
use crate::bench::plan::tests::plan;

/// What the broker does with a message on its way to a subscriber.
#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Deliver,
    Drop,
    Repeat,
    /// After the next one.
    Delay,
    Corrupt,
    /// It closes the connection.
    Close,
}

/// By how many deliveries there were before.
type Deeds = fn(u64) -> Deed;

struct Broker {
    version: Version,
    deeds: Deeds,
    peers: BTreeMap<Remote, (Vec<u8>, Decoder)>,
    subscriptions: Vec<(String, QoS, Remote)>,
    delayed: BTreeMap<Remote, Vec<u8>>,
    deliveries: u64,
    connects: u64,
    connack: ReasonCode,
    suback: ReasonCode,
    ids: u16,
}

impl Broker {
    fn serve(&mut self, sim: &mut Sim<Load>) {
        for remote in sim.take_dialled(&plan(Kind::Pairs, 1, 1).dial.target) {
            self.peers.insert(remote, (Vec::new(), Decoder::new(1 << 20)));
        }
        let remotes: Vec<_> = self.peers.keys().copied().collect();
        for remote in remotes {
            let (mut bytes, mut decoder) = self.peers.remove(&remote).unwrap();
            bytes.extend(sim.read(remote));
            let mut taken = 0;
            while let Some((packet, len)) = decoder.next(&bytes[taken..]).expect("it sends no nonsense") {
                taken += len;
                self.answer(sim, remote, &packet);
            }
            bytes.drain(..taken);
            self.peers.insert(remote, (bytes, decoder));
        }
    }

    fn answer(&mut self, sim: &mut Sim<Load>, remote: Remote, packet: &Packet<'_>) {
        match packet {
            Packet::Connect(_) => {
                self.connects += 1;
                self.say(sim, remote, &Packet::Connack(Connack::new(false, self.connack)));
            }
            Packet::Subscribe(subscribe) => {
                for wanted in subscribe.subscriptions.iter() {
                    self.subscriptions.push((wanted.filter.as_str().to_owned(), wanted.options.qos, remote));
                }
                let mut codes = ReasonCodesBuf::new();
                codes.push(self.suback);
                self.say(sim, remote, &Packet::Suback(Suback::new(subscribe.packet_id, codes.as_codes())));
            }
            Packet::Publish(publish) => {
                if let Some(id) = publish.packet_id {
                    let answer =
                        if publish.qos == QoS::AtLeastOnce { Packet::Puback } else { Packet::Pubrec };
                    self.say(sim, remote, &answer(Ack::new(id)));
                }
                self.deliver(sim, publish);
            }
            Packet::Pubrel(ack) => self.say(sim, remote, &Packet::Pubcomp(Ack::new(ack.packet_id))),
            Packet::Pubrec(ack) => self.say(sim, remote, &Packet::Pubrel(Ack::new(ack.packet_id))),
            Packet::Pingreq => self.say(sim, remote, &Packet::Pingresp),
            Packet::Puback(_) | Packet::Pubcomp(_) | Packet::Disconnect(_) => {}
            packet => panic!("{packet:?}"),
        }
    }

    fn deliver(&mut self, sim: &mut Sim<Load>, publish: &Publish<'_>) {
        let topic = TopicName::new(publish.topic).unwrap();
        for (filter, qos, remote) in self.subscriptions.clone() {
            if !TopicFilter::new(&filter).unwrap().matches(topic) {
                continue;
            }
            let deed = (self.deeds)(self.deliveries);
            self.deliveries += 1;
            self.ids = self.ids.checked_add(1).unwrap_or(1);
            let mut payload = publish.payload.to_vec();
            if deed == Deed::Corrupt {
                *payload.last_mut().unwrap() ^= 1;
            }
            let qos = qos.min(publish.qos);
            let packet_id = PacketId::new(self.ids).filter(|_| qos != QoS::AtMostOnce);
            let message = Publish { qos, packet_id, ..Publish::new(publish.topic, &payload) };
            let mut bytes = Vec::new();
            message.encode(self.version, &mut bytes).unwrap();
            match deed {
                Deed::Drop => {}
                Deed::Repeat => sim.write(remote, &[&bytes[..], &bytes].concat()),
                Deed::Close => sim.end(remote),
                Deed::Delay => {
                    self.delayed.insert(remote, bytes);
                }
                Deed::Deliver | Deed::Corrupt => {
                    sim.write(remote, &bytes);
                    if let Some(late) = self.delayed.remove(&remote) {
                        sim.write(remote, &late);
                    }
                }
            }
        }
    }

    fn say(&self, sim: &mut Sim<Load>, remote: Remote, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).unwrap();
        sim.write(remote, &bytes);
    }
}

struct Run {
    sim: Sim<Load>,
    broker: Broker,
    news: Receiver<(usize, News)>,
}

impl Run {
    fn new(seed: u64, plan: Plan, deeds: Deeds) -> Run {
        let (sender, news) = channel();
        let target = plan.dial.target.clone();
        let version = plan.version;
        let plan = Arc::new(plan);
        plan.check().unwrap();
        let mut sim = Sim::new(seed, 1, Limits::default(), Vec::new(), |worker| {
            Load::new(worker, plan.clone(), Clock::Engine, 1 << 50, sender.clone()).unwrap()
        });
        sim.serve(target);
        sim.post(0, Order::Begin);
        let broker = Broker {
            version,
            deeds,
            peers: BTreeMap::new(),
            subscriptions: Vec::new(),
            delayed: BTreeMap::new(),
            deliveries: 0,
            connects: 0,
            connack: ReasonCode::Success,
            suback: ReasonCode::Success,
            ids: 0,
        };
        Run { sim, broker, news }
    }

    /// Runs as the main thread would have it, for no more than that time.
    fn run(&mut self, time: Duration) -> Option<Tally> {
        let end = self.sim.now() + time;
        while self.sim.now() < end {
            self.sim.run(Duration::from_millis(1));
            self.broker.serve(&mut self.sim);
            for (_, news) in self.news.try_iter().collect::<Vec<_>>() {
                match news {
                    News::Ready { clients: 0 } => self.sim.post(0, Order::End),
                    News::Ready { .. } => self.sim.post(0, Order::Go),
                    News::Done(tally) => return Some(*tally),
                    News::Progress(_) | News::Interrupt => {}
                }
            }
        }
        None
    }
}

#[track_caller]
fn tally(seed: u64, plan: Plan, deeds: Deeds) -> Tally {
    Run::new(seed, plan, deeds).run(Duration::from_secs(60)).expect("it ends by itself")
}

#[test]
fn what_a_good_broker_delivers_is_all_there_in_every_shape_version_and_qos() {
    for (kind, publishers, subscribers) in
        [(Kind::Pairs, 3, 3), (Kind::Group, 2, 3), (Kind::Group, 3, 0), (Kind::Group, 1, 5)]
    {
        for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let plan = Plan { version, qos, ..plan(kind, publishers, subscribers) };
                let all = tally(1, plan, |_| Deed::Deliver).all;
                let case = format!("{kind:?} {publishers} {subscribers} {version} {qos:?}: {all:?}");
                let sent = 100 * u64::from(publishers);
                let copies = if kind == Kind::Pairs { 1 } else { u64::from(subscribers) };
                assert_eq!(all.connected, u64::from(publishers + subscribers), "{case}");
                assert_eq!(
                    (all.sent, all.received, all.delivered),
                    (sent, sent * copies, sent * copies),
                    "{case}"
                );
                assert_eq!(all.acknowledged, if qos == QoS::AtMostOnce { 0 } else { sent }, "{case}");
                assert_eq!((all.lost, all.duplicated, all.out_of_order, all.corrupt), (0, 0, 0, 0), "{case}");
            }
        }
    }
}

#[test]
fn each_mischief_of_a_broker_is_counted_as_what_it_is() {
    for seed in 0..8 {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let plan = Plan { qos, ..plan(Kind::Pairs, 2, 2) };
            let every = |deeds: Deeds| tally(seed, plan.clone(), deeds).all;
            let all = every(|n| if n % 10 == 3 { Deed::Drop } else { Deed::Deliver });
            assert_eq!((all.lost, all.duplicated, all.out_of_order), (20, 0, 0), "{all:?}");
            let all = every(|n| if n % 10 == 3 { Deed::Repeat } else { Deed::Deliver });
            assert_eq!((all.lost, all.duplicated, all.out_of_order), (0, 20, 0), "{all:?}");
            let all = every(|n| if n % 20 == 3 { Deed::Delay } else { Deed::Deliver });
            assert_eq!((all.lost, all.duplicated), (0, 0), "{all:?}");
            assert!((9..=10).contains(&all.out_of_order), "{all:?}");
            let all = every(|n| if n % 10 == 3 { Deed::Corrupt } else { Deed::Deliver });
            assert_eq!((all.corrupt, all.lost), (20, 20), "{all:?}");
        }
    }
}

#[test]
fn a_broker_that_loses_a_whole_window_does_not_stop_the_run() {
    let deeds: Deeds = |n| if (40..60).contains(&n) { Deed::Drop } else { Deed::Deliver };
    let all = tally(5, plan(Kind::Pairs, 1, 1), deeds).all;
    assert_eq!((all.sent, all.lost), (100, 20));
}

#[test]
fn a_subscriber_that_is_cut_off_is_told_of_and_its_publisher_sends_no_more() {
    let deeds: Deeds = |n| if n == 30 { Deed::Close } else { Deed::Deliver };
    let result = tally(2, plan(Kind::Pairs, 2, 2), deeds);
    assert_eq!(result.all.lost_connections, 1);
    assert_eq!(result.main_failure().unwrap().1, Status::Lost);
    assert!(result.all.sent < 200 && result.all.sent > 100, "{:?}", result.all);
    assert!(result.all.lost <= 1, "what the cut swallowed is not counted as the broker's");
}

#[test]
fn refusals_are_counted_and_end_the_run() {
    let mut run = Run::new(3, Plan { version: Version::V5, ..plan(Kind::Pairs, 2, 2) }, |_| Deed::Deliver);
    run.broker.connack = ReasonCode::NotAuthorized;
    let result = run.run(Duration::from_secs(30)).unwrap();
    assert_eq!((result.all.connected, result.all.failed), (0, 4));
    let (reason, status, count) = result.main_failure().unwrap();
    assert!(reason.contains("Not authorized") && status == Status::Refused && count == 4, "{reason}");

    let mut run = Run::new(3, plan(Kind::Group, 1, 2), |_| Deed::Deliver);
    run.broker.suback = ReasonCode::UnspecifiedError;
    let result = run.run(Duration::from_secs(30)).unwrap();
    assert_eq!((result.all.failed, result.main_failure().unwrap().1), (2, Status::Denied));
    assert_eq!(result.all.sent, 100, "the publisher does its part");
}

#[test]
fn nobody_there_is_a_failure_and_no_hang() {
    let (sender, news) = channel();
    let plan = Arc::new(plan(Kind::Pairs, 2, 2));
    let mut sim = Sim::new(1, 1, Limits::default(), Vec::new(), |_| {
        Load::new(0, plan.clone(), Clock::Engine, 0, sender.clone()).unwrap()
    });
    sim.post(0, Order::Begin);
    sim.run(Duration::from_millis(50));
    assert!(matches!(news.try_recv(), Ok((0, News::Ready { clients: 0 }))));
    sim.post(0, Order::End);
    let Ok((0, News::Done(tally))) = news.try_recv() else { panic!("no result") };
    assert_eq!((tally.all.failed, tally.main_failure().unwrap().1), (4, Status::Network));
}

#[test]
fn a_schedule_is_kept_and_latency_counts_from_it() {
    let plan = Plan {
        rate: Some(200.0),
        messages: None,
        warmup: Duration::from_secs(1),
        duration: Some(Duration::from_secs(5)),
        ..plan(Kind::Pairs, 4, 4)
    };
    let result = tally(4, plan, |_| Deed::Deliver);
    assert_eq!((result.all.sent, result.all.lost, result.all.unsent), (1_200, 0, 0));
    assert_eq!((result.nanos, result.latency.count()), (5_000_000_000, 1_000));
    assert!((990..=1_010).contains(&result.measured.sent), "{:?}", result.measured);
    // The simulator's network takes some milliseconds each way.
    assert!((100_000..100_000_000).contains(&result.latency.percentile(0.5)));
}

#[test]
fn a_broker_that_falls_silent_fails_the_run() {
    let deeds: Deeds = |n| if n >= 50 { Deed::Drop } else { Deed::Deliver };
    let plan = Plan { qos: QoS::AtLeastOnce, ..plan(Kind::Pairs, 1, 1) };
    let all = tally(6, plan, deeds).all;
    assert_eq!((all.sent, all.lost), (100, 50), "acknowledged, but never delivered");
}

#[test]
fn connections_are_made_at_their_rate_held_and_kept_alive() {
    let plan = Plan {
        connect_rate: Some(10.0),
        duration: Some(Duration::from_secs(30)),
        keep_alive: 10,
        ..plan(Kind::Connections { churn: false }, 20, 0)
    };
    let result = tally(7, plan, |_| Deed::Deliver);
    assert_eq!((result.all.connected, result.all.failed), (20, 0));
    assert!((1_800_000_000..2_500_000_000).contains(&result.connecting), "{}", result.connecting);
    assert!(result.ping.count() >= 20 * 4, "{}", result.ping.count());
}

#[test]
fn churn_makes_connection_after_connection() {
    let kind = Kind::Connections { churn: true };
    let mut run =
        Run::new(8, Plan { duration: Some(Duration::from_secs(2)), ..plan(kind, 3, 0) }, |_| Deed::Deliver);
    let result = run.run(Duration::from_secs(20)).unwrap();
    assert!(result.all.connected > 30, "{:?}", result.all);
    assert_eq!(result.all.failed, 0);
    assert_eq!(result.connect.count(), result.all.connected);
    assert!(run.broker.connects >= result.all.connected);
}

#[test]
fn the_user_may_end_it_early_and_still_learns_what_came() {
    let plan = Plan { messages: None, duration: Some(Duration::from_secs(3_000)), ..plan(Kind::Pairs, 1, 1) };
    let mut run = Run::new(9, plan, |_| Deed::Deliver);
    assert!(run.run(Duration::from_secs(2)).is_none());
    run.sim.post(0, Order::End);
    let result = run.run(Duration::from_secs(5)).unwrap();
    assert!(result.all.sent > 0 && result.all.lost == 0 && result.nanos > 1_000_000_000, "{result:?}");
}

#[test]
fn a_hostile_server_is_told_of_and_harms_nobody() {
    for bytes in [
        &b"\x30\x05\x00\x03t/0"[..],
        b"\x40\x02\x00\x07",
        b"\x00\x00",
        b"\x20\x02\x00\x00\x20\x02\x00\x00",
        b"\x90\x03\x00\x01\x00",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x62\x02\x00\x01",
        b"\x30\xff\xff\xff\x7f",
    ] {
        let mut run = Run::new(1, plan(Kind::Pairs, 1, 1), |_| Deed::Deliver);
        run.sim.run(Duration::from_millis(20));
        for remote in run.sim.take_dialled(&plan(Kind::Pairs, 1, 1).dial.target) {
            run.sim.write(remote, bytes);
        }
        let result = run.run(Duration::from_secs(60)).expect("it ends");
        assert!(result.all.failed + result.all.lost_connections > 0, "{bytes:x?}: {result:?}");
    }
}
