//! Two sides that keep to the rules, at random, around hooks that deny and change at random: neither side may ever see
//! a rule broken, and everything that was begun comes to its end.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use mqway_hooks::Ticket;

use super::*;

/// Decides by the content, so that the same message meets the same fate, and by the seed.
struct Fates {
    seed: u64,
    tickets: Mutex<Vec<Ticket>>,
}

impl Fates {
    fn of(&self, name: &str, payload: &[u8], fates: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, name, payload).hash(&mut hasher);
        hasher.finish() % fates
    }
}

fn no() -> Denial {
    Denial::new(ReasonCode::QuotaExceeded, "fate")
}

impl Authorize for Fates {
    fn name(&self) -> &str {
        "fates"
    }
    fn phases(&self) -> Phases {
        Phases::ALL
    }
    fn publish(&self, client: &mut Client, message: &Message<'_>, later: Later<'_>) -> Verdict {
        client.slow_down(match self.of("slow", message.payload(), 4) {
            0 => Duration::from_millis(15),
            _ => Duration::ZERO,
        });
        match self.of("judge", message.payload(), 5) {
            0 => Verdict::Deny(no()),
            1 => {
                let (ticket, waiting) = later.ticket();
                self.tickets.lock().unwrap().push(ticket);
                Verdict::Later(waiting)
            }
            _ => Verdict::Pass,
        }
    }
    fn subscribe(&self, _: &mut Client, wanted: &mut Subscription<'_>, _: Later<'_>) -> Verdict {
        match self.of(wanted.filter.as_str(), b"", 3) {
            0 => Verdict::Deny(no()),
            _ => Verdict::Allow,
        }
    }
    fn unsubscribe(&self, _: &mut Client, filter: &Filter<'_>) -> Result<(), Denial> {
        if self.of(filter.as_str(), b"", 3) == 0 { Err(no()) } else { Ok(()) }
    }
    fn deliver(&self, _: &mut Client, message: &Message<'_>) -> Result<(), Denial> {
        if self.of("deliver", message.payload(), 3) == 0 { Err(no()) } else { Ok(()) }
    }
}

impl Fates {
    fn change(&self, message: &mut Message<'_>) {
        match self.of("change", message.payload(), 6) {
            0 => message.set_topic("changed").unwrap(),
            1 => message.set_qos(Q0),
            2 => message.set_qos(Q1),
            3 => message.set_payload([message.payload(), b"+"].concat()),
            _ => {}
        }
    }
}

impl Transform for Fates {
    fn name(&self) -> &str {
        "fates"
    }
    fn publish(&self, _: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        self.change(message);
        Ok(())
    }
    fn deliver(&self, _: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        self.change(message);
        Ok(())
    }
}

/// What has been sent and is not done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Publish(QoS),
    Pubrel,
    Request(usize),
}

/// One side, by the book.
struct Player {
    remote: Remote,
    version: Version,
    is_client: bool,
    unread: Vec<u8>,
    /// By identifier: messages, and requests.
    sent: BTreeMap<u16, (Sent, Vec<u8>)>,
    /// The order of QoS 1 messages whose PUBACK is to come.
    unacknowledged: VecDeque<u16>,
    /// QoS 2 messages of the other side whose PUBREL is to come.
    received: BTreeMap<u16, u8>,
    /// Answers that are still to be given, in order.
    due: VecDeque<Vec<u8>>,
    next: u16,
}

impl Player {
    fn new(remote: Remote, version: Version, is_client: bool) -> Player {
        Player {
            remote,
            version,
            is_client,
            unread: Vec::new(),
            sent: BTreeMap::new(),
            unacknowledged: VecDeque::new(),
            received: BTreeMap::new(),
            due: VecDeque::new(),
            next: 0,
        }
    }

    /// A free identifier.
    fn id(&mut self) -> u16 {
        loop {
            self.next = self.next % 20 + 1;
            if !self.sent.contains_key(&self.next) {
                return self.next;
            }
        }
    }

    /// Says something new, or repeats something, or gives an answer that is due.
    fn act(&mut self, rig: &mut Rig) {
        if let Some(answer) = self.due.pop_front() {
            rig.sim.write(self.remote, &answer);
        }
        if self.sent.len() >= 10 {
            return;
        }
        let topic = format!("t/{}", rig.sim.random().below(5));
        let payload = rig.sim.random().next_u64().to_le_bytes();
        let number = self.id();
        match rig.sim.random().below(8) {
            0 if self.is_client => {
                let filters: Vec<_> = (0..1 + rig.sim.random().below(4))
                    .map(|_| format!("f/{}", rig.sim.random().below(9)))
                    .collect();
                let filters: Vec<_> = filters.iter().map(String::as_str).collect();
                let packet = match rig.sim.random().below(2) {
                    0 => subscribe(self.version, number, &filters),
                    _ => unsubscribe(self.version, number, &filters),
                };
                rig.sim.write(self.remote, &packet);
                self.sent.insert(number, (Sent::Request(filters.len()), packet));
            }
            1 if self.version != Version::V5 => {
                // Old clients and brokers repeat within a connection.
                let begun = self.sent.values().filter(|(sent, _)| matches!(sent, Sent::Publish(_)));
                let begun: Vec<_> = begun.map(|(_, packet)| packet).collect();
                let which = rig.sim.random().below(begun.len().max(1));
                if let Some(packet) = begun.get(which) {
                    let mut packet = packet.to_vec();
                    packet[0] |= 8;
                    rig.sim.write(self.remote, &packet);
                }
            }
            _ => {
                let qos = QoS::from_u8(rig.sim.random().below(3) as u8).unwrap();
                let mut publish = Publish::new(&topic, &payload);
                publish.qos = qos;
                publish.packet_id = (qos != Q0).then(|| id(number));
                let packet = bytes(Packet::Publish(publish), self.version);
                rig.sim.write(self.remote, &packet);
                if qos != Q0 {
                    self.sent.insert(number, (Sent::Publish(qos), packet));
                }
                if qos == Q1 {
                    self.unacknowledged.push_back(number);
                }
            }
        }
    }

    /// Takes what has come.
    fn hear(&mut self, rig: &mut Rig) {
        self.unread.extend(rig.sim.read(self.remote));
        let all = std::mem::take(&mut self.unread);
        let (mut decoder, mut rest) = (Decoder::with_version(self.version, LARGEST_PACKET), &all[..]);
        while let Some((packet, len)) = decoder.next(rest).unwrap() {
            self.take(packet, &mut rig.sim);
            rest = &rest[len..];
        }
        self.unread = rest.to_vec();
    }

    fn take(&mut self, packet: Packet<'_>, sim: &mut Sim<ProxyCore<()>>) {
        let (version, sent) = (self.version, |id: PacketId| id.value());
        match packet {
            Packet::Publish(publish) => match (publish.qos, publish.packet_id.map(sent)) {
                (Q1, Some(number)) => self.due.push_back(puback(version, number)),
                (Q2, Some(number)) => {
                    self.received.insert(number, 0);
                    self.due.push_back(pubrec(version, number));
                }
                _ => {}
            },
            Packet::Puback(ack) => {
                let number = sent(ack.packet_id);
                // A message that was repeated may be acknowledged twice.
                match self.sent.get(&number) {
                    Some((Sent::Publish(Q1), _)) => {}
                    other => {
                        assert!(version != Version::V5, "PUBACK {number} for {other:?}");
                        return;
                    }
                }
                if !self.is_client && version == Version::V5 {
                    assert_eq!(self.unacknowledged.front(), Some(&number)); // [MQTT-4.6.0-2]
                }
                self.unacknowledged.retain(|known| *known != number);
                self.sent.remove(&number);
            }
            Packet::Pubrec(ack) => {
                let number = sent(ack.packet_id);
                match self.sent.get_mut(&number) {
                    Some((state @ Sent::Publish(Q2), _)) => *state = Sent::Pubrel,
                    Some((Sent::Pubrel, _)) if version != Version::V5 => return,
                    other => {
                        assert!(version != Version::V5, "PUBREC {number} for {other:?}");
                        return;
                    }
                }
                if ack.reason.is_error() {
                    self.sent.remove(&number);
                } else {
                    self.due.push_back(pubrel(version, number));
                }
            }
            Packet::Pubrel(ack) => {
                let number = sent(ack.packet_id);
                let known = self.received.remove(&number).is_some();
                assert!(known || version != Version::V5, "PUBREL {number}");
                self.due.push_back(pubcomp(version, number));
            }
            Packet::Pubcomp(ack) => {
                let number = sent(ack.packet_id);
                let before = self.sent.get(&number).map(|(sent, _)| *sent);
                assert!(before == Some(Sent::Pubrel) || version != Version::V5, "PUBCOMP for {before:?}");
                if before == Some(Sent::Pubrel) {
                    self.sent.remove(&number);
                }
            }
            Packet::Subscribe(request) => {
                assert!(!self.is_client);
                let codes = vec![1; request.subscriptions.count()];
                self.due.push_back(suback(version, sent(request.packet_id), &codes));
            }
            Packet::Unsubscribe(request) => {
                assert!(!self.is_client);
                let codes = vec![0; request.filters.count()];
                self.due.push_back(unsuback(version, sent(request.packet_id), &codes));
            }
            Packet::Suback(Suback { packet_id, codes, .. }) => self.answered(sent(packet_id), codes.count()),
            Packet::Unsuback(Unsuback { packet_id, codes, .. }) => {
                let count = codes.count();
                match (version, self.sent.get(&sent(packet_id))) {
                    (Version::V5, _) => self.answered(sent(packet_id), count),
                    (_, Some((Sent::Request(wanted), _))) => self.answered(sent(packet_id), *wanted),
                    other => panic!("UNSUBACK for {other:?}"),
                }
            }
            other => panic!("{:?} at {}", other, sim.now().as_millis()),
        }
    }

    fn answered(&mut self, number: u16, codes: usize) {
        let request = self.sent.remove(&number).map(|(sent, _)| sent);
        assert_eq!((self.is_client, request), (true, Some(Sent::Request(codes))));
    }
}

#[test]
fn two_sides_by_the_book_never_see_a_rule_broken() {
    // With 272 an acknowledgement of a message that was repeated came when another had its identifier.
    for seed in (0..60).chain([272]) {
        // 3.1 has no word for a refused subscription.
        let version = [Version::V3_1_1, Version::V5][seed as usize % 2];
        let fates = Arc::new(Fates { seed, tickets: Mutex::default() });
        let mut hooks = Hooks::new();
        hooks.add_authorize(fates.clone());
        hooks.add_transform(fates.clone());
        let mut rig = rig(seed, hooks);
        let (client, upstream) = rig.session(version);
        let mut players = [Player::new(client, version, true), Player::new(upstream, version, false)];
        let mut quiet = 0;
        for step in 0..3_000 {
            for player in &mut players {
                match step < 800 {
                    true if rig.sim.random().below(2) == 0 => player.act(&mut rig),
                    true => {}
                    false => player.due.drain(..).for_each(|answer| rig.sim.write(player.remote, &answer)),
                }
            }
            rig.sim.run(Duration::from_millis(3));
            if step >= 800 || rig.sim.random().below(3) == 0 {
                let tickets = std::mem::take(&mut *fates.tickets.lock().unwrap());
                for ticket in tickets {
                    if rig.sim.random().below(2) == 0 { ticket.allow() } else { ticket.deny(no()) }
                }
            }
            players.iter_mut().for_each(|player| player.hear(&mut rig));
            quiet = if players.iter().all(|player| player.sent.is_empty()) { quiet + 1 } else { 0 };
            if step > 800 && quiet > 20 {
                break;
            }
        }
        for player in &players {
            assert!(player.sent.is_empty(), "seed {seed}: never done: {:?}", player.sent);
            assert!(!rig.sim.is_ended(player.remote), "seed {seed}");
        }
    }
}

#[test]
fn whatever_both_sides_send_hooks_leave_nothing_behind() {
    for seed in 0..200 {
        let fates = Arc::new(Fates { seed, tickets: Mutex::default() });
        let mut hooks = Hooks::new();
        hooks.add_authorize(fates.clone());
        hooks.add_transform(fates.clone());
        let short = Duration::from_millis(200);
        let limits = Limits {
            connect_time: short,
            dial_time: short,
            connack_time: short,
            hook_time: short,
            waiting: 3,
            ..Limits::default()
        };
        let engine = EngineLimits { close_time: short, ..EngineLimits::default() };
        let config = Config { limits, ..config(hooks) };
        let mut rig = Rig::with_config(seed, &config, engine, ServerOptions::default());
        let version = VERSIONS[rig.sim.random().below(3)];
        let client = rig.client();
        let mut remotes = vec![client];
        for _ in 0..rig.sim.random().below(40) {
            let remote = remotes[rig.sim.random().below(remotes.len())];
            let packet = noise(rig.sim.random(), version);
            rig.sim.write(remote, &packet);
            let reads = rig.sim.random().below(4) > 0;
            rig.sim.set_reading(remote, reads);
            let some = Duration::from_millis(rig.sim.random().below(30) as u64);
            rig.sim.run(some);
            remotes.extend(rig.sim.take_dialled(&target(1)));
            match rig.sim.random().below(40) {
                0 => rig.sim.end(remote),
                1 => rig.sim.cut(remote),
                2 => fates.tickets.lock().unwrap().clear(),
                _ => {}
            }
            assert!(rig.sim.counters().snapshot().buffered < 3_000_000, "seed {seed}");
        }
        for remote in rig.sim.take_dialled(&target(1)).into_iter().chain(remotes.iter().copied()) {
            rig.sim.set_reading(remote, true);
            rig.sim.end(remote);
        }
        for _ in 0..20 {
            rig.sim.run(Duration::from_millis(100));
            for remote in rig.sim.take_dialled(&target(1)) {
                rig.sim.end(remote);
            }
        }
        assert_eq!(rig.sim.connections(), 0, "seed {seed}");
        assert_eq!(rig.sim.counters().snapshot().buffered, 0, "seed {seed}");
        assert_eq!(rig.counters.snapshot().clients, 0, "seed {seed}");
        assert!((0..2).all(|worker| rig.sim.core(worker).context.waiting == 0), "seed {seed}");
    }
}
