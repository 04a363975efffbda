//! A sender and a receiver face to face, over a link that is cut at any moment.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::{HashMap, VecDeque};

use mqway_codec::{PacketId, QoS};
use mqway_session::{Arrival, Drained, Inbound, Outbound, Outgoing};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Packet {
    Publish { id: PacketId, qos: QoS, dup: bool, message: u32 },
    Puback(PacketId),
    Pubrec(PacketId),
    Pubrel(PacketId),
    Pubcomp(PacketId),
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Push(QoS),
    /// Likewise, and if it may be sent at once it is.
    SendNow(QoS),
    /// The sender sends what it may.
    Send,
    /// A packet arrives at the receiver.
    Forward,
    /// A packet arrives at the sender.
    Back,
    /// The link is cut and made anew, the receiver taking so many messages at once.
    Cut(u16),
    /// A request takes an identifier, or gives the oldest one back.
    Request,
    Answer,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop_oneof![Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)].prop_map(Step::Push),
        3 => prop_oneof![Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)].prop_map(Step::SendNow),
        5 => Just(Step::Send),
        6 => Just(Step::Forward),
        6 => Just(Step::Back),
        1 => (1..6u16).prop_map(Step::Cut),
        1 => Just(Step::Request),
        1 => Just(Step::Answer),
    ]
}

struct Rig {
    out: Outbound<u32>,
    inbound: Inbound,
    receive_maximum: u16,
    forward: VecDeque<Packet>,
    back: VecDeque<Packet>,
    requests: VecDeque<PacketId>,
    pushed: Vec<(QoS, u32)>,
    delivered: Vec<(QoS, u32)>,
}

impl Rig {
    fn new() -> Rig {
        let mut rig = Rig {
            out: Outbound::new(usize::MAX),
            inbound: Inbound::new(),
            receive_maximum: 0,
            forward: VecDeque::new(),
            back: VecDeque::new(),
            requests: VecDeque::new(),
            pushed: Vec::new(),
            delivered: Vec::new(),
        };
        rig.connect(3);
        rig
    }

    fn connect(&mut self, receive_maximum: u16) {
        self.forward.clear();
        self.back.clear();
        self.requests.clear();
        self.receive_maximum = receive_maximum;
        self.out.disconnected();
        assert!(self.out.next_outgoing().is_none());
        self.out.connected(receive_maximum);
        self.inbound.connected(receive_maximum);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Push(qos) => {
                let message = self.pushed.len() as u32;
                self.pushed.push((*qos, message));
                self.out.push(*qos, message).unwrap();
            }
            Step::SendNow(qos) => {
                let message = self.pushed.len() as u32;
                self.pushed.push((*qos, message));
                let queued = self.out.queued();
                match self.out.ready() {
                    Some(ready) => {
                        assert_eq!(queued, 0, "nothing is overtaken");
                        let id = ready.id();
                        ready.send(*qos, message);
                        self.forward.push_back(Packet::Publish { id, qos: *qos, dup: false, message });
                    }
                    None => self.out.push(*qos, message).unwrap(),
                }
            }
            Step::Send => self.send(),
            Step::Forward => self.forward(),
            Step::Back => self.back(),
            Step::Cut(receive_maximum) => self.connect(*receive_maximum),
            Step::Request => self.requests.extend(self.out.reserve()),
            Step::Answer => {
                if let Some(id) = self.requests.pop_front() {
                    self.out.release(id).unwrap();
                }
            }
        }
    }

    fn send(&mut self) {
        while let Some(outgoing) = self.out.next_outgoing() {
            self.forward.push_back(match outgoing {
                Outgoing::Publish { id, qos, dup, message } => {
                    Packet::Publish { id, qos, dup, message: *message }
                }
                Outgoing::Pubrel { id } => Packet::Pubrel(id),
            });
        }
    }

    fn forward(&mut self) {
        match self.forward.pop_front() {
            Some(Packet::Publish { id, qos, dup, message }) => {
                match self.inbound.publish(qos, id) {
                    Arrival::New => self.delivered.push((qos, message)),
                    Arrival::Repeated => {
                        assert!(dup, "only what was sent before is repeated [MQTT-3.3.1-1]")
                    }
                    Arrival::TooMany => {
                        panic!("the sender keeps to the Receive Maximum [MQTT-3.3.4-9]")
                    }
                }
                if qos == QoS::AtLeastOnce {
                    self.inbound.puback();
                    self.back.push_back(Packet::Puback(id));
                } else {
                    self.back.push_back(Packet::Pubrec(id));
                }
            }
            Some(Packet::Pubrel(id)) => {
                self.inbound.pubrel(id);
                self.back.push_back(Packet::Pubcomp(id));
            }
            Some(other) => panic!("{other:?} goes the other way"),
            None => {}
        }
    }

    fn back(&mut self) {
        match self.back.pop_front() {
            Some(Packet::Puback(id)) => {
                self.out.puback(id).unwrap();
            }
            Some(Packet::Pubrec(id)) => {
                self.out.pubrec(id, drop).unwrap();
                self.forward.push_back(Packet::Pubrel(id));
            }
            Some(Packet::Pubcomp(id)) => self.out.pubcomp(id).unwrap(),
            Some(other) => panic!("{other:?} goes the other way"),
            None => {}
        }
    }

    fn run_dry(&mut self) {
        for _ in 0..200_000 {
            self.send();
            self.forward();
            self.back();
            if self.out.is_idle() {
                return;
            }
        }
        panic!("{} in flight, {} queued", self.out.in_flight(), self.out.queued());
    }

    fn check(&self) {
        let mut count = HashMap::new();
        for delivery in &self.delivered {
            *count.entry(*delivery).or_insert(0) += 1;
        }
        for pushed in &self.pushed {
            match (pushed.0, count.get(pushed)) {
                (QoS::ExactlyOnce, Some(1)) | (QoS::AtLeastOnce, Some(1..)) => {}
                (_, times) => panic!("{pushed:?} was delivered {times:?} times"),
            }
        }
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut seen = Vec::new();
            for (_, message) in self.delivered.iter().filter(|(of, _)| *of == qos) {
                if !seen.contains(message) {
                    seen.push(*message);
                }
            }
            assert!(seen.is_sorted(), "first deliveries are in the order of publication [MQTT-4.6.0-1]");
        }
        assert_eq!(self.inbound.received().count(), 0, "every message of QoS 2 is released");
    }
}

proptest! {
    #[test]
    fn qos_1_at_least_once_qos_2_exactly_once_in_order_and_no_identifier_leaks(
        steps in prop::collection::vec(step(), 1..300)
    ) {
        let mut rig = Rig::new();
        for step in &steps {
            rig.step(step);
        }
        rig.connect(4);
        rig.run_dry();
        rig.check();
        prop_assert_eq!(rig.out.in_flight(), 0);
        prop_assert!(rig.out.reserve().is_some());
    }
}

#[test]
fn identifiers_go_round_and_never_are_zero() {
    // [MQTT-2.2.1-3], [MQTT-2.2.1-4]
    let mut rig = Rig::new();
    for _ in 0..70_000 {
        rig.step(&Step::Push(QoS::AtLeastOnce));
        rig.send();
        rig.forward();
        rig.back();
    }
    assert!(rig.out.is_idle());
    assert_eq!(rig.delivered.len(), 70_000);
}

#[test]
fn an_old_request_holds_its_identifier_while_all_others_go_round() {
    let mut rig = Rig::new();
    rig.step(&Step::Request);
    let held = rig.requests[0];
    for _ in 0..140_000 {
        rig.step(&Step::Push(QoS::AtLeastOnce));
        rig.send();
        if let Some(Packet::Publish { id, .. }) = rig.forward.front() {
            assert_ne!(*id, held);
        }
        rig.forward();
        rig.back();
    }
    assert!(rig.out.is_idle());
    rig.step(&Step::Answer);
    assert_eq!(rig.delivered.len(), 140_000);
}

#[test]
fn what_a_store_remembers_is_sent_again_in_order() {
    let id = |value| PacketId::new(value).unwrap();
    let mut out = Outbound::new(10);
    out.restore(id(7), QoS::AtLeastOnce, "a");
    out.restore_released(id(3), "kept");
    out.restore(id(9), QoS::ExactlyOnce, "b");
    out.push(QoS::AtLeastOnce, "c").unwrap();
    out.connected(65_535);
    let first = out.next_outgoing();
    assert_eq!(first, Some(Outgoing::Publish { id: id(7), qos: QoS::AtLeastOnce, dup: true, message: &"a" }));
    assert_eq!(out.next_outgoing(), Some(Outgoing::Pubrel { id: id(3) }));
    let third = out.next_outgoing();
    assert_eq!(third, Some(Outgoing::Publish { id: id(9), qos: QoS::ExactlyOnce, dup: true, message: &"b" }));
    let new = out.next_outgoing();
    assert_eq!(new, Some(Outgoing::Publish { id: id(10), qos: QoS::AtLeastOnce, dup: false, message: &"c" }));
    assert_eq!(out.pubcomp(id(3)), Ok("kept"));
    assert_eq!(out.puback(id(9)), Err(mqway_session::UnknownId), "a PUBACK is no answer to QoS 2");
    assert_eq!(out.pubrec(id(9), |_| "b was here"), Ok(()));
    assert_eq!(out.pubrec(id(9), |_| "said twice"), Ok(()));
    let rest: Vec<_> = out.drain().collect();
    let sent = |message| Drained::Message { qos: QoS::AtLeastOnce, sent: true, message };
    assert_eq!(rest, [sent("a"), Drained::Released("b was here"), sent("c")]);
}

#[test]
fn what_is_put_back_keeps_its_identifiers_and_new_messages_get_others() {
    let id = |value| PacketId::new(value).unwrap();
    let mut out = Outbound::<u32>::new(usize::MAX);
    // Round the end, with gaps small and large, and one that is out of line.
    let ids: Vec<u16> = (65_000..=65_535).step_by(3).chain(1..20).chain([400, 30_000, 29_000]).collect();
    for (message, value) in (0..).zip(&ids) {
        out.restore(id(*value), QoS::AtLeastOnce, message);
    }
    assert_eq!(out.in_flight(), ids.len());
    (1_000..2_500).for_each(|message| out.push(QoS::AtLeastOnce, message).unwrap());
    out.connected(u16::MAX);
    let mut sent = Vec::new();
    while let Some(Outgoing::Publish { id, dup, message, .. }) = out.next_outgoing() {
        sent.push((id, dup, *message));
    }
    let again: Vec<_> = sent.iter().filter(|(_, dup, _)| *dup).map(|(id, _, _)| id.value()).collect();
    assert_eq!(again, ids);
    assert_eq!(sent.len(), ids.len() + 1_500);
    let different: std::collections::BTreeSet<_> = sent.iter().map(|(id, _, _)| *id).collect();
    assert_eq!(different.len(), sent.len());
    for (id, _, message) in sent.iter().rev() {
        assert_eq!(out.puback(*id), Ok(*message));
    }
    assert!(out.is_idle());
}

#[test]
fn a_full_queue_gives_the_message_back_or_makes_room() {
    let mut out = Outbound::<_>::new(1);
    out.push(QoS::AtLeastOnce, 1).unwrap();
    assert_eq!(out.push(QoS::AtLeastOnce, 2), Err(mqway_session::Full(2)));
    assert_eq!(out.pop_oldest(), Some(1));
    out.push(QoS::AtLeastOnce, 2).unwrap();
}

#[test]
fn a_sender_that_ignores_the_receive_maximum_is_noticed() {
    let id = |value| PacketId::new(value).unwrap();
    let mut inbound = Inbound::new();
    inbound.connected(2);
    assert_eq!(inbound.publish(QoS::AtLeastOnce, id(1)), Arrival::New);
    assert_eq!(inbound.publish(QoS::ExactlyOnce, id(2)), Arrival::New);
    assert_eq!(inbound.publish(QoS::AtLeastOnce, id(3)), Arrival::TooMany);
    assert_eq!(inbound.publish(QoS::ExactlyOnce, id(2)), Arrival::Repeated);
    inbound.puback();
    assert_eq!(inbound.publish(QoS::AtLeastOnce, id(3)), Arrival::New);
    assert_eq!(inbound.publish(QoS::ExactlyOnce, id(2)), Arrival::Repeated);
    inbound.refuse(id(2));
    assert_eq!(inbound.publish(QoS::ExactlyOnce, id(2)), Arrival::New); // [MQTT-4.3.3-9]
    assert!(inbound.pubrel(id(2)));
    assert!(!inbound.pubrel(id(2)), "PUBREL of a PUBCOMP that was lost: 0x92, and no more");
}
