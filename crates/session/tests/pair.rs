//! The whole client face to face with a simple model of a server, in memory, with a clock of the test's own: random
//! schedules of publishing both ways, packets that are late, connections that are cut, sessions that are lost.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU16;
use std::time::Duration;

use mqway_codec::{
    Ack, Connack, Connect, Packet, PacketId, PropertiesBuf, Property, Publish, QoS, ReasonCode, Version,
    decode,
};
use mqway_session::client::{AckToken, Client, Event, Fault, Message, Options, Outcome, SessionLost};
use proptest::prelude::*;

const KEEP_ALIVE: u16 = 10;
/// Messages of QoS 1 and 2 that the client has under way at once.
const OURS: u16 = 3;

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// The client's program publishes.
    Publish(QoS),
    /// The server has a message for the client.
    Offer(QoS),
    /// A packet arrives at the server; one of its answers leaves; a packet arrives at the client.
    Arrive,
    Answer,
    Return,
    /// The client's program acknowledges the oldest message, once or twice.
    Acknowledge(bool),
    /// Seconds pass.
    Wait(u64),
    /// The connection is cut and made anew, and the server may have forgotten everything.
    Cut {
        lost: bool,
        takes: u16,
        aliases: u16,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let qos = || prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)];
    prop_oneof![
        4 => qos().prop_map(Step::Publish),
        3 => qos().prop_map(Step::Offer),
        8 => Just(Step::Arrive),
        8 => Just(Step::Answer),
        8 => Just(Step::Return),
        3 => any::<bool>().prop_map(Step::Acknowledge),
        1 => (1..9u64).prop_map(Step::Wait),
        1 => (prop::bool::weighted(0.3), 1..4u16, 0..3u16)
            .prop_map(|(lost, takes, aliases)| Step::Cut { lost, takes, aliases }),
    ]
}

/// A message on its way from the server.
struct Offered {
    number: u64,
    qos: QoS,
    id: Option<PacketId>,
    released: bool,
}

/// What a server must remember, and nothing else.
struct Server {
    version: Version,
    /// The client knows that there is a session.
    session: bool,
    /// CONNECT has come on this connection.
    greeted: bool,
    takes: u16,
    aliases: u16,
    names: BTreeMap<u16, String>,
    received: BTreeSet<PacketId>,
    /// Messages of the client that have no last answer yet, on this connection.
    under_way: u16,
    taken: Vec<(QoS, u64)>,
    answers: VecDeque<Packet<'static>>,
    offered: VecDeque<Offered>,
    done: BTreeSet<u64>,
    last_id: u16,
}

impl Server {
    fn connack(&self) -> Vec<u8> {
        let mut properties = PropertiesBuf::new();
        if self.version == Version::V5 {
            properties.push(Property::ReceiveMaximum(NonZeroU16::new(self.takes).unwrap())).unwrap();
            properties.push(Property::TopicAliasMaximum(self.aliases)).unwrap();
        }
        let mut connack = Connack::new(self.session, ReasonCode::Success);
        connack.properties = properties.as_properties();
        self.bytes(&Packet::Connack(connack))
    }

    fn bytes(&self, packet: &Packet<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).unwrap();
        bytes
    }

    fn cut(&mut self, lost: bool) {
        self.greeted = false;
        self.answers.clear();
        self.names.clear();
        self.under_way = 0;
        if lost {
            self.session = false;
            self.received.clear();
            self.offered.clear();
        }
    }

    /// A packet of the client; what is sent at once.
    fn take(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        match decode(self.version, bytes).unwrap() {
            Packet::Connect(_) => {
                self.greeted = true;
                let mut sent = vec![self.connack()];
                let again: Vec<_> = self.offered.iter().filter(|one| one.id.is_some()).collect();
                sent.extend(again.into_iter().map(|one| self.offer(one, true)));
                sent.extend(self.offer_more());
                return sent;
            }
            Packet::Publish(publish) => self.publish(&publish),
            Packet::Pubrel(ack) => {
                self.received.remove(&ack.packet_id);
                self.answers.push_back(Packet::Pubcomp(Ack::new(ack.packet_id)));
            }
            Packet::Puback(ack) | Packet::Pubcomp(ack) => {
                if let Some(at) = self.offered.iter().position(|one| one.id == Some(ack.packet_id)) {
                    self.done.extend(self.offered.remove(at).map(|one| one.number));
                }
            }
            Packet::Pubrec(ack) => {
                for one in self.offered.iter_mut().filter(|one| one.id == Some(ack.packet_id)) {
                    one.released = true;
                }
                return vec![self.bytes(&Packet::Pubrel(Ack::new(ack.packet_id)))];
            }
            Packet::Pingreq => return vec![self.bytes(&Packet::Pingresp)],
            other => panic!("{other:?}"),
        }
        self.offer_more()
    }

    fn publish(&mut self, publish: &Publish<'_>) {
        if let Some(alias) = publish.properties.topic_alias() {
            assert!(alias.get() <= self.aliases, "[MQTT-3.2.2-17]");
            if publish.topic.is_empty() {
                assert!(self.names.contains_key(&alias.get()));
            } else {
                self.names.insert(alias.get(), publish.topic.to_owned());
            }
        } else {
            assert!(!publish.topic.is_empty());
        }
        let number = std::str::from_utf8(publish.payload).unwrap().parse().unwrap();
        let Some(id) = publish.packet_id else {
            self.taken.push((QoS::AtMostOnce, number));
            return;
        };
        self.under_way += 1;
        let most = if self.version == Version::V5 { self.takes } else { u16::MAX };
        assert!(self.under_way <= most, "no more than the Receive Maximum [MQTT-3.3.4-7]");
        if publish.qos == QoS::AtLeastOnce {
            self.taken.push((QoS::AtLeastOnce, number));
            self.answers.push_back(Packet::Puback(Ack::new(id)));
            return;
        }
        if self.received.insert(id) {
            self.taken.push((QoS::ExactlyOnce, number));
        } else {
            assert!(publish.dup, "an identifier in use means the same message [MQTT-2.2.1-3]");
        }
        self.answers.push_back(Packet::Pubrec(Ack::new(id)));
    }

    fn answer(&mut self) -> Option<Vec<u8>> {
        let answer = self.answers.pop_front()?;
        if matches!(answer, Packet::Puback(_) | Packet::Pubcomp(_)) {
            self.under_way = self.under_way.saturating_sub(1);
        }
        Some(self.bytes(&answer))
    }

    fn offer_more(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        let most = if self.version == Version::V5 { usize::from(OURS) } else { usize::MAX };
        while self.session
            && self.greeted
            && self.offered.iter().filter(|one| one.id.is_some()).count() < most
        {
            let Some(at) = self.offered.iter().position(|one| one.id.is_none()) else { break };
            if self.offered[at].qos == QoS::AtMostOnce {
                let one = self.offered.remove(at).unwrap();
                sent.push(self.offer(&one, false));
                continue;
            }
            self.last_id = self.last_id.wrapping_add(1).max(1);
            self.offered[at].id = PacketId::new(self.last_id);
            sent.push(self.offer(&self.offered[at], false));
        }
        sent
    }

    fn offer(&self, one: &Offered, dup: bool) -> Vec<u8> {
        if one.released {
            return self.bytes(&Packet::Pubrel(Ack::new(one.id.unwrap())));
        }
        let payload = one.number.to_string();
        let mut publish = Publish::new("down", payload.as_bytes());
        (publish.qos, publish.dup, publish.packet_id) = (one.qos, dup && one.id.is_some(), one.id);
        self.bytes(&Packet::Publish(publish))
    }
}

struct Rig {
    client: Client,
    server: Server,
    now: Duration,
    /// Packets on their way.
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
    published: Vec<QoS>,
    outcomes: HashMap<u64, Outcome>,
    offered: Vec<QoS>,
    handed_on: Vec<(QoS, u64)>,
    tokens: VecDeque<AckToken>,
}

impl Rig {
    fn new(version: Version, session_lost: SessionLost, manual_acknowledgement: bool) -> Rig {
        let options =
            Options { receive_maximum: OURS, session_lost, manual_acknowledgement, ..Options::new(version) };
        let server = Server {
            version,
            session: false,
            greeted: false,
            takes: 2,
            aliases: 1,
            names: BTreeMap::new(),
            received: BTreeSet::new(),
            under_way: 0,
            taken: Vec::new(),
            answers: VecDeque::new(),
            offered: VecDeque::new(),
            done: BTreeSet::new(),
            last_id: 0,
        };
        let mut rig = Rig {
            client: Client::new(options),
            server,
            now: Duration::ZERO,
            up: VecDeque::new(),
            down: VecDeque::new(),
            published: Vec::new(),
            outcomes: HashMap::new(),
            offered: Vec::new(),
            handed_on: Vec::new(),
            tokens: VecDeque::new(),
        };
        rig.cut(true);
        rig
    }

    fn cut(&mut self, lost: bool) {
        self.client.lost();
        self.server.cut(lost);
        self.up.clear();
        self.down.clear();
        let mut connect = Connect::new(self.server.version, "c");
        connect.clean_start = false;
        connect.keep_alive = KEEP_ALIVE;
        self.client.begin(self.now, &connect).unwrap();
        self.settle();
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Publish(qos) => {
                let ticket = self.published.len() as u64;
                self.published.push(*qos);
                let message =
                    Message { qos: *qos, ..Message::new(format!("up/{}", *qos as u8), ticket.to_string()) };
                self.client.publish(self.now, ticket, message).unwrap();
            }
            Step::Offer(qos) => {
                let number = self.offered.len() as u64;
                self.offered.push(*qos);
                if self.server.session {
                    self.server.offered.push_back(Offered { number, qos: *qos, id: None, released: false });
                    self.down.extend(self.server.offer_more());
                }
            }
            Step::Arrive => {
                if let Some(packet) = self.up.pop_front() {
                    self.down.extend(self.server.take(&packet));
                }
            }
            Step::Answer => self.down.extend(self.server.answer()),
            Step::Return => self.come_down(),
            Step::Acknowledge(twice) => {
                if let Some(token) = self.tokens.pop_front() {
                    if *twice {
                        self.client.acknowledge(self.now, token.clone());
                    }
                    self.client.acknowledge(self.now, token);
                }
            }
            Step::Wait(seconds) => {
                self.now += Duration::from_secs(*seconds);
                match self.client.handle_timeout(self.now) {
                    Ok(()) => {}
                    Err(Fault::NoAnswer) => self.cut(false),
                    Err(fault) => panic!("{fault}"),
                }
            }
            Step::Cut { lost, takes, aliases } => {
                (self.server.takes, self.server.aliases) = (*takes, *aliases);
                self.cut(*lost);
            }
        }
        self.settle();
    }

    /// A packet arrives at the client, which finds no fault with it.
    fn come_down(&mut self) {
        let Some(packet) = self.down.pop_front() else { return };
        // Only from here on both know of the session. Where the word of a lost one gets lost itself, nobody can promise
        // anything any more.
        self.server.session |= packet[0] == 0x20;
        assert_eq!(self.client.handle(self.now, &packet), Ok(packet.len()));
    }

    fn settle(&mut self) {
        self.up.extend(self.client.output().packets().map(<[u8]>::to_vec));
        self.client.output().clear();
        while let Some(event) = self.client.next_event() {
            match event {
                Event::Published { ticket, outcome } => {
                    let before = self.outcomes.insert(ticket, outcome);
                    assert_eq!(before, None, "{ticket} ends once");
                }
                Event::Message(incoming) => {
                    let number = std::str::from_utf8(&incoming.payload).unwrap().parse().unwrap();
                    self.handed_on.push((incoming.qos, number));
                    self.tokens.extend(incoming.token);
                }
                Event::Connected { .. } | Event::SessionLost { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn run_dry(&mut self) {
        for _ in 0..100_000 {
            for step in [Step::Arrive, Step::Answer, Step::Return, Step::Acknowledge(false)] {
                self.step(&step);
            }
            let quiet = self.up.is_empty() && self.down.is_empty() && self.server.answers.is_empty();
            let quiet = quiet && self.tokens.is_empty();
            if quiet && self.client.pending() == 0 && self.server.offered.is_empty() {
                return;
            }
        }
        panic!("{} pending, {} offered", self.client.pending(), self.server.offered.len());
    }

    fn check(&self) {
        for (ticket, qos) in self.published.iter().enumerate() {
            let ticket = ticket as u64;
            let times = self.server.taken.iter().filter(|taken| **taken == (*qos, ticket)).count();
            let right = match (qos, &self.outcomes[&ticket]) {
                (QoS::AtMostOnce, Outcome::Sent) => times <= 1,
                (QoS::AtLeastOnce, Outcome::Answered(_)) => times >= 1,
                (QoS::ExactlyOnce, Outcome::Answered(receipt)) if receipt.resent => times >= 1,
                (QoS::ExactlyOnce, Outcome::Answered(_)) => times == 1, // [MQTT-4.3.3-1]
                (QoS::AtLeastOnce, Outcome::SessionLost(_) | Outcome::Dropped(_)) => true,
                (QoS::ExactlyOnce, Outcome::SessionLost(_) | Outcome::Dropped(_)) => times <= 1,
                _ => false,
            };
            assert!(right, "{ticket} of {qos:?} arrived {times} times: {:?}", self.outcomes[&ticket]);
        }
        for (number, qos) in self.offered.iter().enumerate() {
            let times = self.handed_on.iter().filter(|one| **one == (*qos, number as u64)).count();
            let done = self.server.done.contains(&(number as u64));
            let right = match qos {
                QoS::AtMostOnce => times <= 1,
                QoS::AtLeastOnce => times >= usize::from(done),
                QoS::ExactlyOnce => times <= 1 && times >= usize::from(done), // [MQTT-4.3.3-10]
            };
            assert!(right, "{number} of {qos:?} was handed on {times} times");
        }
        for all in [&self.server.taken, &self.handed_on] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let mut seen = BTreeSet::new();
                let of = all.iter().filter(|(of, number)| *of == qos && seen.insert(*number));
                let first: Vec<_> = of.map(|(_, number)| *number).collect();
                assert!(first.is_sorted(), "first times are in order [MQTT-4.6.0-1]: {first:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn a_client_keeps_what_each_qos_promises_both_ways_whatever_happens(
        version in prop_oneof![Just(Version::V3_1_1), Just(Version::V5)],
        session_lost in prop_oneof![Just(SessionLost::Resend), Just(SessionLost::Fail), Just(SessionLost::Drop)],
        manual in any::<bool>(),
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let mut rig = Rig::new(version, session_lost, manual);
        for step in &steps {
            rig.step(step);
        }
        rig.cut(false);
        rig.run_dry();
        rig.check();
    }
}
