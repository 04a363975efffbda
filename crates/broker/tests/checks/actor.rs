//! A client with its session, its connections, and what it notes of them.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use mqway_broker::Simulated;
use mqway_codec::{
    Connect, Decoder, Disconnect, Packet, Properties, PropertiesBuf, Property, ReasonCode, Version, Will,
    decode,
};
use mqway_engine::sim::Remote;
use mqway_session::client::{Client, Event, Incoming, Message as Outgoing, Options, Outcome};

use super::history::{
    Connection, Delivery, History, LONGEST_EXPIRY, Leaving, Message, NEVER, Subscription, Time,
};
use super::presence;

pub struct Actor {
    pub number: usize,
    pub version: Version,
    pub client: Client,
    pub link: Option<Link>,
    /// Connections that it has left behind, and that the broker may not have ended.
    lingering: Vec<(Remote, usize)>,
    /// Counts the lives of its session.
    pub life: usize,
    /// It has asked for a clean start, and may not know whether it had it.
    pub wants_clean: bool,
}

pub struct Link {
    pub remote: Remote,
    pub connection: usize,
    /// It neither reads nor writes.
    pub stalled: bool,
    decoder: Decoder,
    unread: Vec<u8>,
    /// How much of it was looked at.
    looked_at: usize,
    asked: HashMap<u16, Asked>,
}

enum Asked {
    Subscribe(Vec<usize>),
    Unsubscribe(Vec<usize>),
}

/// What CONNECT is to say.
pub struct Hello {
    pub clean: bool,
    pub keep_alive: u16,
    pub expiry: u32,
    pub will: Option<Testament>,
}

pub struct Testament {
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    pub delay: u32,
}

/// Bytes of the largest packet that is looked at.
const LARGEST: usize = 1 << 20;

/// A DISCONNECT whose connection ends so soon after it was read.
const READ_SOON: Duration = Duration::from_secs(1);

impl Actor {
    pub fn new(number: usize, options: Options) -> Actor {
        let version = options.version;
        let client = Client::new(options);
        Actor { number, version, client, link: None, lingering: Vec::new(), life: 0, wants_clean: false }
    }

    /// Connects, and leaves a connection that it has as it is: the broker will end that.
    pub fn connect(&mut self, broker: &mut Simulated, history: &mut History, hello: Hello) {
        let now = broker.now();
        if self.link.as_ref().is_some_and(|link| history.connections[link.connection].accepted == NEVER) {
            // Its CONNECT may still be on its way, and would take the new one over.
            self.cut(broker, history);
        }
        if let Some(link) = self.link.take() {
            let old = &mut history.connections[link.connection];
            if old.keep_alive == 0 && !broker.is_ended(link.remote) {
                old.alive_until = now;
            }
            self.leave_behind(broker, link);
        }
        self.client.lost();
        let Some(remote) = broker.connect() else { panic!("there is room for all") };
        let connection = history.connections.len();
        self.wants_clean |= hello.clean;
        let expiry = match self.version {
            Version::V5 => hello.expiry.min(LONGEST_EXPIRY),
            _ if self.wants_clean => 0,
            _ => LONGEST_EXPIRY,
        };
        let will = hello.will.as_ref().map(|testament| {
            history.messages.push(Message {
                publisher: self.number,
                will_of: Some(connection),
                topic: testament.topic.clone(),
                qos: testament.qos,
                retain: testament.retain,
                empty: false,
                len: 8,
                expiry: None,
                asked: now,
                done: NEVER,
                seen: NEVER,
                sent: 1,
                lives: BTreeSet::new(),
                doubtful: false,
            });
            history.messages.len() - 1
        });
        let payload = will.map(|message| format!("m{message}")).unwrap_or_default();
        let name = format!("c{}", self.number);
        let (mut properties, mut of_will) = (PropertiesBuf::new(), PropertiesBuf::new());
        let mut connect = Connect::new(self.version, &name);
        connect.clean_start = self.wants_clean;
        connect.keep_alive = hello.keep_alive;
        if self.version == Version::V5 {
            properties.push(Property::SessionExpiryInterval(expiry)).unwrap();
            connect.properties = properties.as_properties();
        }
        if let Some(testament) = &hello.will {
            let mut will = Will::new(&testament.topic, payload.as_bytes());
            will.qos = mqway_codec::QoS::from_u8(testament.qos).unwrap();
            will.retain = testament.retain;
            if self.version == Version::V5 {
                of_will.push(Property::WillDelayInterval(testament.delay)).unwrap();
                will.properties = of_will.as_properties();
            }
            connect.will = Some(will);
        }
        self.client.begin(now, &connect).unwrap();
        history.note(now, || {
            let (clean, keep_alive) = (self.wants_clean, hello.keep_alive);
            let will = will.map(|message| history.name(message));
            format!("{name} connects: k{connection}, clean {clean}, keep alive {keep_alive}, expiry {expiry}, {will:?}")
        });
        history.connections.push(Connection {
            actor: self.number,
            asked: now,
            accepted: NEVER,
            clean: self.wants_clean,
            life: self.life,
            alive_until: now,
            ended_by: NEVER,
            expiry,
            new_expiry: None,
            leaving: Leaving::No,
            will,
            will_delay: hello.will.map_or(0, |testament| testament.delay),
            keep_alive: hello.keep_alive,
        });
        let decoder = Decoder::with_version(self.version, LARGEST);
        let unread = Vec::new();
        let asked = HashMap::new();
        self.link = Some(Link { remote, connection, stalled: false, decoder, unread, looked_at: 0, asked });
        self.exchange(broker, history);
    }

    fn leave_behind(&mut self, broker: &mut Simulated, link: Link) {
        broker.set_reading(link.remote, true);
        broker.set_pace(link.remote, usize::MAX);
        self.lingering.push((link.remote, link.connection));
    }

    /// Breaks the connection.
    pub fn cut(&mut self, broker: &mut Simulated, history: &mut History) {
        let now = broker.now();
        let Some(link) = self.link.take() else { return };
        history.note(now, || format!("c{} is cut", self.number));
        let connection = &mut history.connections[link.connection];
        if connection.keep_alive == 0 && !broker.is_ended(link.remote) {
            connection.alive_until = now;
        }
        connection.ended_by = now;
        broker.cut(link.remote);
        self.client.lost();
    }

    /// Ends the connection without a word, having read everything or not.
    pub fn end(&mut self, broker: &mut Simulated, history: &mut History, unread: bool) {
        let now = broker.now();
        if !self.client.is_connected() {
            return self.cut(broker, history);
        }
        let Some(link) = self.link.take() else { return };
        history.note(now, || format!("c{} ends without a word, unread {unread}", self.number));
        let connection = &mut history.connections[link.connection];
        if connection.keep_alive == 0 {
            connection.alive_until = now;
        }
        match unread {
            true => broker.close_unread(link.remote),
            false => broker.end(link.remote),
        }
        self.leave_behind(broker, link);
        self.client.lost();
    }

    /// Sends DISCONNECT.
    pub fn leave(
        &mut self,
        broker: &mut Simulated,
        history: &mut History,
        with_will: bool,
        new_expiry: Option<u32>,
    ) {
        let now = broker.now();
        if !self.client.is_connected() || self.link.as_ref().is_none_or(|link| link.stalled) {
            return;
        }
        self.look_at_output(history, now);
        let Some(link) = self.link.take() else { return };
        history
            .note(now, || format!("c{} leaves, with will {with_will}, expiry {new_expiry:?}", self.number));
        let connection = &mut history.connections[link.connection];
        let (with_will, new_expiry) = match self.version {
            // A client that wanted no session cannot have one in the end.
            Version::V5 => (with_will, new_expiry.filter(|_| connection.expiry > 0)),
            _ => (false, None),
        };
        if connection.keep_alive == 0 {
            connection.alive_until = now;
        }
        connection.leaving = Leaving::Written { with_will, at: now };
        connection.new_expiry = new_expiry.map(|expiry| expiry.min(LONGEST_EXPIRY));
        let mut properties = PropertiesBuf::new();
        if let Some(expiry) = new_expiry {
            properties.push(Property::SessionExpiryInterval(expiry)).unwrap();
        }
        let reason = match with_will {
            true => ReasonCode::DisconnectWithWill,
            false => ReasonCode::NORMAL_DISCONNECTION,
        };
        let mut disconnect = Disconnect::new(reason);
        disconnect.properties = properties.as_properties();
        // Behind whatever it has written before.
        let mut out = self.client.output().as_bytes().to_vec();
        Packet::Disconnect(disconnect).encode(self.version, &mut out).unwrap();
        self.client.disconnect(reason, Properties::EMPTY);
        self.client.lost();
        broker.write(link.remote, &out);
        self.leave_behind(broker, link);
    }

    /// Reads what has come, and writes what is to be written.
    pub fn exchange(&mut self, broker: &mut Simulated, history: &mut History) {
        self.watch_lingering(broker, history);
        let now = broker.now();
        let Some(link) = self.link.as_mut().filter(|link| !link.stalled) else { return };
        let (remote, connection) = (link.remote, link.connection);
        link.unread.extend(broker.read(remote));
        self.look_at_input(history, now);
        let Some(link) = self.link.as_mut() else { return };
        let used = match self.client.handle(now, &link.unread) {
            Ok(used) => used,
            Err(fault) => panic!("what c{} got on k{connection} is no MQTT: {fault}", self.number),
        };
        link.unread.drain(..used);
        link.looked_at -= used;
        while let Some(event) = self.client.next_event() {
            self.take(history, now, connection, event);
        }
        if self.client.poll_timeout().is_some_and(|due| due <= now)
            && self.client.handle_timeout(now).is_err()
        {
            return self.cut(broker, history);
        }
        self.look_at_output(history, now);
        let output = self.client.output().as_bytes().to_vec();
        self.client.output().clear();
        broker.write(remote, &output);
        let known = &mut history.connections[connection];
        if broker.is_ended(remote) {
            // Nobody has taken it over, so that there are only two good reasons: silence, before CONNECT or later.
            assert!(
                known.keep_alive > 0 || known.accepted == NEVER,
                "the broker has ended k{connection} of c{}",
                self.number
            );
            known.ended_by = now;
            history.note(now, || format!("c{}: k{connection} was ended", self.number));
            self.link = None;
            self.client.lost();
        } else if known.keep_alive == 0 && known.accepted < NEVER {
            known.alive_until = now;
        }
    }

    fn watch_lingering(&mut self, broker: &mut Simulated, history: &mut History) {
        let now = broker.now();
        self.lingering.retain(|(remote, connection)| {
            broker.read(*remote);
            if !broker.is_ended(*remote) {
                return true;
            }
            let alone = history.later_connections(*connection).next().is_none();
            let known = &mut history.connections[*connection];
            known.ended_by = known.ended_by.min(now);
            if let Leaving::Written { with_will, at } = known.leaving
                && alone
                && now - at < READ_SOON
                // One that was silent for too long may have been ended before.
                && known.keep_alive == 0
            {
                known.leaving = Leaving::Read { with_will };
            }
            false
        });
    }

    /// Notes what the broker answers, before the client is shown it and answers in turn.
    fn look_at_input(&mut self, history: &mut History, now: Time) {
        let Some(link) = &mut self.link else { return };
        while let Ok(Some((packet, len))) = link.decoder.next(&link.unread[link.looked_at..]) {
            link.looked_at += len;
            let answered =
                |id: mqway_codec::PacketId, asked: &mut HashMap<u16, Asked>| asked.remove(&id.value());
            match packet {
                Packet::Connack(connack) if !connack.reason.is_error() => {
                    let clean = std::mem::take(&mut self.wants_clean);
                    debug_assert_eq!(clean, history.connections[link.connection].clean);
                    self.life =
                        presence::accepted(history, link.connection, self.life, connack.session_present, now);
                }
                Packet::Connack(connack) => panic!("c{} was refused: {}", self.number, connack.reason.name()),
                Packet::Suback(suback) => {
                    if let Some(Asked::Subscribe(list)) = answered(suback.packet_id, &mut link.asked) {
                        for (number, code) in list.into_iter().zip(suback.codes.iter()) {
                            let granted = history.subscriptions[number].options.qos;
                            assert_eq!(code, ReasonCode::granted(granted), "for s{number}"); // [MQTT-3.9.3-1]
                            subscribed(history, number, now);
                        }
                    }
                }
                Packet::Unsuback(unsuback) => {
                    if let Some(Asked::Unsubscribe(list)) = answered(unsuback.packet_id, &mut link.asked) {
                        for number in list {
                            let old = &mut history.subscriptions[number];
                            old.gone = old.gone.min(now);
                        }
                    }
                }
                Packet::Disconnect(disconnect) => {
                    let known = &history.connections[link.connection];
                    let fair = disconnect.reason == ReasonCode::KeepAliveTimeout && known.keep_alive > 0;
                    assert!(
                        fair,
                        "the broker ends k{} of c{}: {}",
                        link.connection,
                        self.number,
                        disconnect.reason.name()
                    );
                }
                _ => {}
            }
        }
    }

    fn look_at_output(&mut self, history: &mut History, now: Time) {
        let Some(link) = &mut self.link else { return };
        for packet in self.client.output().packets() {
            match decode(self.version, packet).unwrap() {
                Packet::Publish(publish) => {
                    if let Some(message) = number_of(publish.payload) {
                        history.messages[message].sent += 1;
                        history.messages[message].lives.insert(self.life);
                    }
                }
                Packet::Subscribe(subscribe) => {
                    let identifier = subscribe.properties.subscription_identifiers().next();
                    let list = subscribe.subscriptions.iter().map(|one| {
                        let filter = one.filter.as_str().to_owned();
                        // The one that it replaces.
                        for old in &mut history.subscriptions {
                            if old.actor == self.number && old.filter == filter {
                                old.sure_until = old.sure_until.min(now);
                            }
                        }
                        history.subscriptions.push(Subscription {
                            actor: self.number,
                            life: self.life,
                            connection: link.connection,
                            filter,
                            options: one.options,
                            identifier: identifier.map(|identifier| identifier.value()),
                            asked: now,
                            sure_from: NEVER,
                            sure_until: NEVER,
                            gone: NEVER,
                        });
                        history.subscriptions.len() - 1
                    });
                    let list: Vec<_> = list.collect();
                    history.note(now, || {
                        let all = list.iter().map(|number| {
                            let one = &history.subscriptions[*number];
                            format!("s{number} {} {:?} {:?}", one.filter, one.options, one.identifier)
                        });
                        format!("c{} subscribes to {}", self.number, all.collect::<Vec<_>>().join(", "))
                    });
                    link.asked.insert(subscribe.packet_id.value(), Asked::Subscribe(list));
                }
                Packet::Unsubscribe(unsubscribe) => {
                    let filters: Vec<_> =
                        unsubscribe.filters.iter().map(|filter| filter.as_str().to_owned()).collect();
                    history.note(now, || format!("c{} unsubscribes from {filters:?}", self.number));
                    let mut list = Vec::new();
                    for (number, old) in history.subscriptions.iter_mut().enumerate() {
                        if old.actor == self.number && filters.contains(&old.filter) {
                            old.sure_until = old.sure_until.min(now);
                            list.push(number);
                        }
                    }
                    link.asked.insert(unsubscribe.packet_id.value(), Asked::Unsubscribe(list));
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, history: &mut History, now: Time, connection: usize, event: Event) {
        match event {
            Event::Message(message) => self.deliver(history, now, connection, &message),
            Event::Published { ticket, outcome: Outcome::Answered(receipt) } => {
                assert!(!receipt.reason.is_error(), "m{ticket} was refused");
                history.messages[ticket as usize].done = now;
            }
            Event::Skipped { .. } => panic!("c{} got more than it takes", self.number), // [MQTT-3.1.2-24]
            _ => {}
        }
    }

    fn deliver(&mut self, history: &mut History, now: Time, connection: usize, incoming: &Incoming) {
        let message = number_of(&incoming.payload);
        let properties = incoming.properties.as_properties();
        let delivery = Delivery {
            actor: self.number,
            life: self.life,
            connection,
            message,
            topic: incoming.topic.to_string(),
            qos: incoming.qos as u8,
            retain: incoming.retain,
            dup: incoming.dup,
            at: now,
            identifiers: properties.subscription_identifiers().map(|id| id.value()).collect(),
            expiry: properties.message_expiry_interval(),
        };
        history.note(now, || {
            let flags = [(delivery.retain, " retained"), (delivery.dup, " again")];
            let flags: String = flags.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
            format!("c{} gets {message:?} on {} QoS {}{flags}", self.number, delivery.topic, delivery.qos)
        });
        if let (WITNESS, Some(message)) =
            (self.number, message.and_then(|number| history.messages.get_mut(number)))
        {
            message.seen = message.seen.min(now);
        }
        history.deliveries.push(delivery);
    }

    /// Publishes a message whose payload is its number, and as much more as makes it `len` bytes.
    #[expect(clippy::too_many_arguments, reason = "that is what a message is made of")]
    pub fn publish(
        &mut self,
        history: &mut History,
        now: Time,
        topic: &str,
        qos: u8,
        retain: bool,
        len: usize,
        expiry: Option<u32>,
    ) {
        let expiry = expiry.filter(|_| self.version == Version::V5);
        let (number, empty) = (history.messages.len(), len == 0);
        let mut payload = if empty { String::new() } else { format!("m{number} ") };
        payload.extend(std::iter::repeat_n('.', len.saturating_sub(payload.len())));
        let mut message = Outgoing::new(topic, payload);
        message.qos = mqway_codec::QoS::from_u8(qos).unwrap();
        message.retain = retain;
        if let Some(seconds) = expiry {
            message.properties.push(Property::MessageExpiryInterval(seconds)).unwrap();
        }
        let len = message.payload.len();
        if self.client.publish(now, number as u64, message).is_err() {
            return;
        }
        // One without a payload has no number by which to count how often it was sent.
        let sent = if empty { 2 } else { 0 };
        history.messages.push(Message {
            publisher: self.number,
            will_of: None,
            topic: topic.to_owned(),
            qos,
            retain,
            empty,
            len,
            expiry,
            asked: now,
            done: NEVER,
            seen: NEVER,
            sent,
            lives: BTreeSet::new(),
            doubtful: false,
        });
        history.note(now, || format!("c{} publishes {}", self.number, history.name(number)));
    }
}

/// The client that is there all the time, and gets everything that goes to more than one of a group.
pub const WITNESS: usize = 0;

/// The number of the message that has this payload.
fn number_of(payload: &[u8]) -> Option<usize> {
    let digits = payload.strip_prefix(b"m")?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// A subscription stands, and those that it replaces are gone.
fn subscribed(history: &mut History, number: usize, now: Time) {
    let (actor, filter, asked) = {
        let one = &mut history.subscriptions[number];
        one.sure_from = now;
        (one.actor, one.filter.clone(), one.asked)
    };
    for old in &mut history.subscriptions[..number] {
        if old.actor == actor && old.filter == filter && old.asked <= asked {
            old.gone = old.gone.min(now);
        }
    }
}
