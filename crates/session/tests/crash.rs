//! A client whose process may die at any moment, with a store of its changes, against a server that keeps its session.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{
    Ack, Connack, Connect, Packet, PacketId, PropertiesBuf, Property, Publish, QoS, ReasonCode, Version,
    decode,
};
use mqway_session::client::{AckToken, Change, Client, Event, Message, Options, Progress, Saved};
use mqway_session::{Arrival, Inbound, Outbound, Outgoing};
use proptest::prelude::*;

const NOW: Duration = Duration::ZERO;
const VERSION: Version = Version::V5;

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// The program publishes its next message.
    Publish,
    /// Somebody publishes a message for the program.
    Serve,
    /// So many changes become safe.
    Commit(usize),
    /// A packet arrives at the server.
    Forward,
    /// A packet arrives at the client.
    Back,
    /// The program asks for the next message.
    Take,
    /// The link is cut and made anew.
    Cut,
    /// The process is killed, and started again.
    Crash,
    /// The link is cut, and the server forgets the session.
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Publish),
        3 => Just(Step::Serve),
        6 => (1..8usize).prop_map(Step::Commit),
        8 => Just(Step::Forward),
        8 => Just(Step::Back),
        4 => Just(Step::Take),
        1 => Just(Step::Cut),
        1 => Just(Step::Crash),
    ]
}

/// What is safe.
#[derive(Default)]
struct Store {
    accepted: u64,
    messages: BTreeMap<u64, (Option<Arc<Message>>, Option<PacketId>)>,
    received: BTreeSet<PacketId>,
}

impl Store {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Accepted { ticket, message } => {
                assert_eq!(ticket, self.accepted + 1);
                self.accepted = ticket;
                self.messages.insert(ticket, (Some(message), None));
            }
            Change::Sent { ticket, id } => self.messages.get_mut(&ticket).unwrap().1 = Some(id),
            Change::Queued { ticket } => self.messages.get_mut(&ticket).unwrap().1 = None,
            Change::Released { ticket, id } => {
                assert_eq!(self.messages.insert(ticket, (None, Some(id))).unwrap().1, Some(id));
            }
            Change::Done { ticket } => {
                self.messages.remove(&ticket).unwrap();
            }
            Change::Received { id } => drop(self.received.insert(id)),
            Change::Forgotten { id } => drop(self.received.remove(&id)),
        }
    }

    fn saved(&self) -> Saved {
        let progress = |(ticket, state): (&u64, &(Option<Arc<Message>>, Option<PacketId>))| {
            let progress = match state.clone() {
                (Some(message), None) => Progress::Queued(message),
                (Some(message), Some(id)) => Progress::Sent(id, message),
                (None, Some(id)) => Progress::Released(id),
                (None, None) => panic!("neither message nor identifier"),
            };
            (*ticket, progress)
        };
        Saved {
            messages: self.messages.iter().map(progress).collect(),
            received: self.received.iter().copied().collect(),
        }
    }
}

/// The server's side of the session, which no crash touches.
struct Server {
    out: Outbound<u64>,
    inbound: Inbound,
    known: bool,
    got: Vec<u64>,
    served: u64,
}

struct Rig {
    client: Client,
    store: Store,
    /// Noted, and not yet safe.
    changes: VecDeque<Change>,
    /// Changes noted and committed since the process began.
    noted: usize,
    committed: usize,
    /// Up to which change all must be safe before more is written.
    barrier: usize,
    held: VecDeque<(usize, Vec<u8>)>,
    forward: VecDeque<Vec<u8>>,
    back: VecDeque<Vec<u8>>,
    server: Server,
    arrived: VecDeque<(u64, AckToken)>,
    /// With the token until it is used.
    in_hand: Option<(u64, Option<AckToken>)>,
    /// The acknowledgement of the message before must be safe before the program gets the next one.
    take_after: usize,
    taken: Vec<u64>,
    excused: Vec<u64>,
}

/// Numbers tell the quality of service.
fn qos(number: u64) -> QoS {
    if number.is_multiple_of(3) { QoS::AtLeastOnce } else { QoS::ExactlyOnce }
}

fn options() -> Options {
    Options { manual_acknowledgement: true, receive_maximum: 3, ..Options::new(VERSION) }
}

fn number(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

impl Rig {
    fn new() -> Rig {
        let mut rig = Rig {
            client: Client::restore(options(), Saved::default()),
            store: Store::default(),
            changes: VecDeque::new(),
            noted: 0,
            committed: 0,
            barrier: 0,
            held: VecDeque::new(),
            forward: VecDeque::new(),
            back: VecDeque::new(),
            server: Server {
                out: Outbound::new(usize::MAX),
                inbound: Inbound::new(),
                known: false,
                got: Vec::new(),
                served: 0,
            },
            arrived: VecDeque::new(),
            in_hand: None,
            take_after: 0,
            taken: Vec::new(),
            excused: Vec::new(),
        };
        rig.cut();
        rig
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Publish => {
                let unsafe_yet = self.changes.iter().filter(|one| matches!(one, Change::Accepted { .. }));
                let next = self.store.accepted + unsafe_yet.count() as u64 + 1;
                let message = Message { qos: qos(next), ..Message::new("up", next.to_string()) };
                self.client.publish(NOW, next, message).unwrap();
            }
            Step::Serve => {
                self.server.served += 1;
                self.server.out.push(qos(self.server.served), self.server.served).unwrap();
                self.serve();
            }
            Step::Commit(count) => self.commit(*count),
            Step::Forward => self.forward(),
            Step::Back => {
                if let Some(packet) = self.back.pop_front() {
                    assert_eq!(self.client.handle(NOW, &packet), Ok(packet.len()));
                }
            }
            Step::Take => self.take(),
            Step::Cut => self.cut(),
            Step::Crash => self.crash(),
            Step::Forget => {
                self.server.known = false;
                (self.server.inbound, self.server.out) = (Inbound::new(), Outbound::new(usize::MAX));
                self.cut();
            }
        }
        self.gather();
    }

    /// Takes what the client has done: changes are to become safe, and packets wait for those before them.
    fn gather(&mut self) {
        for change in self.client.take_changes() {
            self.noted += 1;
            if change.precedes_output() {
                self.barrier = self.noted;
            }
            self.changes.push_back(change);
        }
        self.held.extend(self.client.output().packets().map(|packet| (self.barrier, packet.to_vec())));
        self.client.output().clear();
        while self.held.front().is_some_and(|(after, _)| *after <= self.committed) {
            self.forward.extend(self.held.pop_front().map(|(_, packet)| packet));
        }
        while let Some(event) = self.client.next_event() {
            if let Event::Message(incoming) = event {
                self.arrived.push_back((number(&incoming.payload), incoming.token.unwrap()));
            }
        }
    }

    fn commit(&mut self, count: usize) {
        for change in self.changes.drain(..count.min(self.changes.len())) {
            self.store.apply(change);
            self.committed += 1;
        }
    }

    fn take(&mut self) {
        if let Some((_, token)) = &mut self.in_hand
            && let Some(token) = token.take()
        {
            self.client.acknowledge(NOW, token);
            self.gather();
            self.take_after = self.noted;
        }
        if self.committed >= self.take_after {
            self.in_hand = self.arrived.pop_front().map(|(number, token)| (number, Some(token)));
            self.taken.extend(self.in_hand.as_ref().map(|(number, _)| *number));
        }
    }

    fn cut(&mut self) {
        self.held.clear();
        self.forward.clear();
        self.back.clear();
        self.server.out.disconnected();
        let mut connect = Connect::new(VERSION, "c");
        connect.clean_start = false;
        self.client.begin(NOW, &connect).unwrap();
        self.gather();
    }

    fn crash(&mut self) {
        self.client = Client::restore(options(), self.store.saved());
        self.changes.clear();
        (self.noted, self.committed, self.barrier, self.take_after) = (0, 0, 0, 0);
        self.arrived.clear();
        self.excused.extend(self.in_hand.take().map(|(number, _)| number));
        self.cut();
    }

    fn forward(&mut self) {
        let Some(packet) = self.forward.pop_front() else { return };
        let server = &mut self.server;
        match decode(VERSION, &packet).unwrap() {
            Packet::Connect(_) => {
                let mut properties = PropertiesBuf::new();
                properties.push(Property::ReceiveMaximum(NonZeroU16::new(4).unwrap())).unwrap();
                let mut connack = Connack::new(server.known, ReasonCode::Success);
                connack.properties = properties.as_properties();
                server.known = true;
                server.out.connected(3);
                server.inbound.connected(4);
                self.answer(Packet::Connack(connack));
            }
            Packet::Publish(publish) => {
                let id = publish.packet_id.unwrap();
                match server.inbound.publish(publish.qos, id) {
                    Arrival::New => server.got.push(number(publish.payload)),
                    Arrival::Repeated => assert!(publish.dup, "[MQTT-3.3.1-1]"),
                    Arrival::TooMany => panic!("the client keeps to the Receive Maximum [MQTT-3.3.4-9]"),
                }
                if publish.qos == QoS::AtLeastOnce {
                    server.inbound.puback();
                    self.answer(Packet::Puback(Ack::new(id)));
                } else {
                    self.answer(Packet::Pubrec(Ack::new(id)));
                }
            }
            Packet::Pubrel(ack) => {
                server.inbound.pubrel(ack.packet_id);
                self.answer(Packet::Pubcomp(Ack::new(ack.packet_id)));
            }
            Packet::Puback(ack) => drop(server.out.puback(ack.packet_id).unwrap()),
            Packet::Pubrec(ack) => {
                server.out.pubrec(ack.packet_id, drop).unwrap();
                self.answer(Packet::Pubrel(Ack::new(ack.packet_id)));
            }
            Packet::Pubcomp(ack) => server.out.pubcomp(ack.packet_id).unwrap(),
            other => panic!("{other:?}"),
        }
        self.serve();
    }

    /// The server sends what it may.
    fn serve(&mut self) {
        while let Some(outgoing) = self.server.out.next_outgoing() {
            let packet = match outgoing {
                Outgoing::Publish { id, qos, dup, message } => {
                    let payload = message.to_string();
                    let mut publish = Publish::new("down", payload.as_bytes());
                    (publish.qos, publish.packet_id, publish.dup) = (qos, Some(id), dup);
                    encoded(&Packet::Publish(publish))
                }
                Outgoing::Pubrel { id } => encoded(&Packet::Pubrel(Ack::new(id))),
            };
            self.back.push_back(packet);
        }
    }

    fn answer(&mut self, packet: Packet<'_>) {
        self.back.push_back(encoded(&packet));
    }

    fn run_dry(&mut self) {
        for _ in 0..100_000 {
            for step in [Step::Forward, Step::Back, Step::Take, Step::Commit(1)] {
                self.step(&step);
            }
            let quiet = self.held.is_empty() && self.forward.is_empty() && self.back.is_empty();
            if quiet && self.changes.is_empty() && self.client.pending() == 0 && self.server.out.is_idle() {
                return;
            }
        }
        panic!("{} and {} are never done", self.client.pending(), self.server.out.in_flight());
    }

    fn check(&self) {
        exactly_or_at_least_once(&self.server.got, self.store.accepted, &[]);
        exactly_or_at_least_once(&self.taken, self.server.served, &self.excused);
        assert!(self.store.messages.is_empty(), "{:?}", self.store.messages);
        assert!(self.store.received.is_empty(), "{:?}", self.store.received);
        assert_eq!(self.server.inbound.received().count(), 0);
    }
}

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(VERSION, &mut bytes).unwrap();
    bytes
}

/// All numbers up to `last` are there.
fn at_least_once(got: &[u64], last: u64) {
    let got: BTreeSet<_> = got.iter().copied().collect();
    assert_eq!(got, (1..=last).collect());
}

/// All numbers up to `last` are there: those of QoS 2 once, and once more for each time that they are excused; and they
/// came in order, of each quality of service.
fn exactly_or_at_least_once(got: &[u64], last: u64, excused: &[u64]) {
    let mut counts = HashMap::new();
    for number in got {
        *counts.entry(*number).or_insert(0) += 1;
    }
    for number in 1..=last {
        let count = counts.remove(&number).unwrap_or(0);
        let most = 1 + excused.iter().filter(|other| **other == number).count();
        assert!(count >= 1, "{number} of {last} is lost");
        assert!(qos(number) == QoS::AtLeastOnce || count <= most, "{number} came {count} times, of {most}");
    }
    assert!(counts.is_empty(), "{counts:?} was never accepted");
    for which in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut seen = BTreeSet::new();
        let first: Vec<_> = got.iter().filter(|one| qos(**one) == which && seen.insert(**one)).collect();
        assert!(first.is_sorted(), "[MQTT-4.6.0-1] {first:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_or_doubled_whenever_the_process_is_killed(
        steps in prop::collection::vec(step(), 1..400)
    ) {
        let mut rig = Rig::new();
        for step in &steps {
            rig.step(step);
        }
        rig.run_dry();
        rig.check();
    }

    #[test]
    fn nothing_is_lost_whenever_the_process_is_killed_or_the_server_forgets(
        steps in prop::collection::vec(prop_oneof![
            4 => Just(Step::Publish),
            6 => (1..8usize).prop_map(Step::Commit),
            8 => Just(Step::Forward),
            8 => Just(Step::Back),
            1 => Just(Step::Cut),
            1 => Just(Step::Crash),
            1 => Just(Step::Forget),
        ], 1..400)
    ) {
        let mut rig = Rig::new();
        for step in &steps {
            rig.step(step);
        }
        rig.run_dry();
        at_least_once(&rig.server.got, rig.store.accepted);
        assert!(rig.store.messages.is_empty(), "{:?}", rig.store.messages);
    }
}
