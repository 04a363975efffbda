//! The client's side of a session, without I/O: packets in, packets out, and what they mean.
//!
//! A [`Client`] lives as long as its session. For each network connection it is told [`Client::begin`], given the
//! bytes that come ([`Client::handle`]) and the time ([`Client::handle_timeout`]), and told [`Client::lost`] at the
//! end. What is to be written gathers in [`Client::output`], what the program should know in [`Client::next_event`].

mod answer;
mod authentication;
mod event;
mod journal;
mod limits;
mod message;
mod output;
mod owed;
mod request;
mod send;
mod skip;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use mqway_codec::{
    Connect, Decoder, Disconnect, Packet, PacketId, Properties, PropertiesBuf, QoS, ReasonCode, Version,
};

use authentication::Authentication;
pub use authentication::NoAuthentication;
pub use event::{Event, Fault, Notice, Outcome, Receipt};
pub use journal::{Change, Progress, Saved};
pub use message::{AckToken, Incoming, Message};
pub use output::Output;
pub use request::{Request, Subscription};

use crate::alias::{AliasesIn, AliasesOut};
use crate::keep_alive::{Beat, Pinger};
use crate::{Inbound, Outbound};
use limits::Limits;
use owed::Owed;

/// Names a publication or a request in its caller's own books. Later requests have higher ones.
pub type Ticket = u64;

/// What becomes of messages of QoS 1 and 2 that were accepted here, when the server has forgotten the session.
///
/// ```
/// use mqway_codec::Version;
/// use mqway_session::client::{Options, SessionLost};
///
/// // Better none than twice.
/// let options = Options { session_lost: SessionLost::Fail, ..Options::new(Version::V5) };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionLost {
    /// They are sent again, as new messages: none is lost, and some may arrive twice.
    #[default]
    Resend,
    /// Those that were sent fail, with [`Outcome::SessionLost`]; those that were not are sent.
    Fail,
    /// None outlives the session for which it was accepted, sent or not; each ends with [`Outcome::Dropped`].
    Drop,
}

/// What holds for every connection of a client.
#[derive(Clone, Debug)]
pub struct Options {
    /// The version to speak.
    pub version: Version,
    /// Messages of QoS 1 and 2 that may wait to be sent; of QoS 0, those that may wait for a connection.
    pub queue_limit: usize,
    /// Bytes of the largest packet to accept; announced in 5.0.
    pub maximum_packet: usize,
    /// Messages of QoS 1 and 2 to have under way at once from the server (5.0).
    pub receive_maximum: u16,
    /// Messages of QoS 1 and 2 to have under way at once to the server. In 5.0 the server may want fewer.
    pub in_flight: NonZeroU16,
    /// Topic aliases to accept; announced in 5.0.
    pub topic_alias_maximum: u16,
    /// What becomes of messages when the session is lost.
    pub session_lost: SessionLost,
    /// Acknowledge only what [`Client::acknowledge`] names, instead of everything as soon as it is handed on. What is
    /// named out of turn waits for the messages of its QoS that came before. [MQTT-4.6.0-2], [MQTT-4.6.0-3]
    pub manual_acknowledgement: bool,
    /// How long the server may take to answer PINGREQ.
    pub ping_time: Duration,
    /// Further properties of each SUBSCRIBE (5.0): user properties.
    pub subscribe_properties: PropertiesBuf,
    /// Properties of each UNSUBSCRIBE (5.0): user properties.
    pub unsubscribe_properties: PropertiesBuf,
}

impl Options {
    /// The usual ones, for a version.
    pub fn new(version: Version) -> Options {
        Options {
            version,
            queue_limit: 65_536,
            maximum_packet: 1024 * 1024,
            receive_maximum: u16::MAX,
            in_flight: Options::in_flight(version),
            topic_alias_maximum: 16,
            session_lost: SessionLost::Resend,
            manual_acknowledgement: false,
            ping_time: Duration::from_secs(10),
            subscribe_properties: PropertiesBuf::new(),
            unsubscribe_properties: PropertiesBuf::new(),
        }
    }
}

/// What servers take that cannot say what they take: several refuse or ignore what goes beyond. mosquitto's usual limit
/// is 20: at the 21st message of QoS 2 it closes the connection, and would do so again for ever.
const IN_FLIGHT_BEFORE_5: NonZeroU16 = NonZeroU16::new(20).expect("not zero");

impl Options {
    /// As many as the server takes in 5.0, where it says so itself; 20 before.
    fn in_flight(version: Version) -> NonZeroU16 {
        match version {
            Version::V5 => NonZeroU16::MAX,
            Version::V3_1 | Version::V3_1_1 => IN_FLIGHT_BEFORE_5,
        }
    }
}

/// A client's session, and its connection while there is one.
#[derive(Debug)]
pub struct Client {
    options: Options,
    outbound: Outbound<Publication, Released>,
    inbound: Inbound,
    /// Messages of QoS 0 that wait for a connection.
    unsent: VecDeque<Publication>,
    /// Messages that were handed on and wait for [`Client::acknowledge`].
    unacknowledged: BTreeMap<(QoS, PacketId), u32>,
    owed: Owed,
    /// What the program wants to receive, to be asked for again where the server has forgotten.
    subscriptions: BTreeMap<Box<str>, Subscription>,
    /// Requests that wait for a connection, also those that an earlier one did not answer.
    waiting: VecDeque<(Ticket, Request)>,
    /// Requests that wait for their answer.
    asked: BTreeMap<PacketId, (Option<Ticket>, Request)>,
    live: Option<Live>,
    /// The server has, or had, a session of ours.
    known: bool,
    /// Counts connections, so that acknowledgements of an earlier one are known as such.
    epoch: u32,
    events: VecDeque<Event>,
    output: Output,
    /// Changes of what must survive the process; `None`: nobody wants to know.
    journal: Option<Vec<Change>>,
}

/// A message with its ticket.
#[derive(Clone, Debug)]
struct Publication {
    ticket: Ticket,
    message: Arc<Message>,
    /// It was under way when a session was lost, and is sent again as new.
    resent: bool,
}

/// What is kept of a message between PUBREC and PUBCOMP.
#[derive(Clone, Debug)]
struct Released {
    ticket: Ticket,
    /// What PUBREC said.
    receipt: Receipt,
}

/// What dies with the network connection.
#[derive(Debug)]
struct Live {
    decoder: Decoder,
    /// Bytes still to come of a packet that is skipped.
    skip: usize,
    authentication: Authentication,
    pinger: Pinger,
    aliases_in: AliasesIn,
    aliases_out: AliasesOut,
    keep_alive: u16,
    clean_start: bool,
    /// CONNACK has come, and said yes.
    accepted: bool,
    limits: Limits,
}

impl Client {
    /// A session that has never been connected.
    pub fn new(options: Options) -> Client {
        Client {
            outbound: Outbound::new(options.queue_limit),
            options,
            inbound: Inbound::new(),
            unsent: VecDeque::new(),
            unacknowledged: BTreeMap::new(),
            owed: Owed::default(),
            subscriptions: BTreeMap::new(),
            waiting: VecDeque::new(),
            asked: BTreeMap::new(),
            live: None,
            known: false,
            epoch: 0,
            events: VecDeque::new(),
            output: Output::default(),
            journal: None,
        }
    }

    /// A network connection is there: CONNECT is to be sent. Version, Receive Maximum, Maximum Packet Size and Topic
    /// Alias Maximum come from the [`Options`]; all else from `connect`, whose own values for these are replaced.
    ///
    /// # Errors
    /// If `connect` cannot be encoded.
    pub fn begin(&mut self, now: Duration, connect: &Connect<'_>) -> Result<(), mqway_codec::EncodeError> {
        self.lost();
        let packet = send::connect(&self.options, connect)?;
        self.output.push(&packet);
        self.epoch = self.epoch.wrapping_add(1);
        self.live = Some(Live {
            decoder: Decoder::with_version(self.options.version, self.options.maximum_packet),
            skip: 0,
            authentication: Authentication::begin(connect),
            pinger: Pinger::new(connect.keep_alive, self.options.ping_time, now),
            aliases_in: AliasesIn::new(self.topic_alias_maximum()), // [MQTT-3.3.2-7]
            aliases_out: AliasesOut::new(0),
            keep_alive: connect.keep_alive,
            clean_start: connect.clean_start,
            accepted: false,
            limits: Limits::none(),
        });
        Ok(())
    }

    /// Takes bytes from the server. Returns how many were used; the rest is the start of a packet, to be given again
    /// with more behind it.
    ///
    /// # Errors
    /// The connection must be closed, after what [`Client::output`] has.
    pub fn handle(&mut self, now: Duration, bytes: &[u8]) -> Result<usize, Fault> {
        let mut used = 0;
        if let Some(live) = &mut self.live
            && !bytes.is_empty()
        {
            live.pinger.received(now);
        }
        while let Some(live) = &mut self.live {
            let skipped = live.skip.min(bytes.len() - used);
            live.skip -= skipped;
            used += skipped;
            let decoded = live.decoder.next(&bytes[used..]);
            let (packet, len) = match decoded {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) => {
                    // A server of 3.x refuses a client of 5.0 in its own words.
                    if self.refused_in_3_1_1(&bytes[used..]) {
                        return Ok(bytes.len());
                    }
                    match self.too_large(now, &bytes[used..], error) {
                        Ok(true) => continue,
                        Ok(false) => break,
                        Err(fault) => {
                            self.say_goodbye(fault.reason());
                            return Err(fault);
                        }
                    }
                }
            };
            used += len;
            self.packet(now, packet).inspect_err(|fault| self.say_goodbye(fault.reason()))?;
        }
        Ok(used)
    }

    /// The network connection is no more. What was accepted is kept for the next one.
    pub fn lost(&mut self) {
        self.live = None;
        self.outbound.disconnected();
        self.owed.clear();
        self.output.clear();
        self.ask_again();
    }

    /// Adds a message to those to be sent. Its outcome comes as [`Event::Published`] with this ticket: for QoS 0 as
    /// soon as it is in the output.
    ///
    /// # Errors
    /// If as many wait as may, or if the server will not take it; the message comes back.
    pub fn publish(
        &mut self,
        now: Duration,
        ticket: Ticket,
        message: impl Into<Arc<Message>>,
    ) -> Result<(), NotAccepted> {
        let publication = Publication { ticket, message: message.into(), resent: false };
        if let Some(live) = self.live.as_ref().filter(|live| live.accepted) {
            if publication.message.qos > live.limits.maximum_qos {
                return Err(NotAccepted::QosNotSupported(publication.message)); // [MQTT-3.2.2-11]
            }
            if publication.message.retain && !live.limits.retain {
                return Err(NotAccepted::RetainNotSupported(publication.message)); // [MQTT-3.2.2-14]
            }
        }
        if publication.message.qos == QoS::AtMostOnce {
            if self.unsent.len() >= self.options.queue_limit {
                return Err(NotAccepted::QueueFull(publication.message));
            }
            self.unsent.push_back(publication);
        } else {
            let message = publication.message.clone();
            if let Err(crate::Full(publication)) = self.outbound.push(message.qos, publication) {
                return Err(NotAccepted::QueueFull(publication.message));
            }
            self.note(|| Change::Accepted { ticket, message });
        }
        self.pump(now);
        Ok(())
    }

    /// Asks for messages. The subscription is asked for again on each connection whose server has no session of ours,
    /// until [`Client::unsubscribe`]. The answer comes as [`Event::Answered`].
    pub fn subscribe(&mut self, now: Duration, ticket: Ticket, subscriptions: Vec<Subscription>) {
        for subscription in &subscriptions {
            self.subscriptions.insert(subscription.filter.clone(), subscription.clone());
        }
        self.waiting.push_back((ticket, Request::Subscribe(subscriptions)));
        self.pump(now);
    }

    /// Asks for no more messages of these filters.
    pub fn unsubscribe(&mut self, now: Duration, ticket: Ticket, filters: Vec<Box<str>>) {
        for filter in &filters {
            self.subscriptions.remove(filter);
        }
        self.waiting.push_back((ticket, Request::Unsubscribe(filters)));
        self.pump(now);
    }

    /// Acknowledges a message that was handed on with this token.
    pub fn acknowledge(&mut self, now: Duration, token: AckToken) {
        self.answer_token(now, token);
    }

    /// Sends DISCONNECT. The caller then writes the output and closes the network connection.
    pub fn disconnect(&mut self, reason: ReasonCode, properties: Properties<'_>) {
        if self.is_connected() {
            let mut disconnect = Disconnect::new(reason);
            disconnect.properties = properties;
            // Without properties that would make it too large for the server ([MQTT-3.14.2-3], [MQTT-3.14.2-4]), and
            // without what the version does not have: the plain form is always there.
            let forms = [disconnect, Disconnect::new(reason), Disconnect::default()];
            let _ = forms.iter().find_map(|form| self.encode_fitting(&Packet::Disconnect(*form)));
        }
        self.live = None; // Nothing is sent after it. [MQTT-3.14.4-1]
        self.outbound.disconnected();
    }

    /// When [`Client::handle_timeout`] has something to do; `None`: nothing.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.live.as_ref().filter(|live| live.accepted)?.pinger.due()
    }

    /// Keeps the connection alive.
    ///
    /// # Errors
    /// If the server has not answered in time: the connection is dead.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<(), Fault> {
        let Some(live) = self.live.as_mut().filter(|live| live.accepted) else {
            return Ok(());
        };
        match live.pinger.poll(now) {
            Beat::Wait(_) => Ok(()),
            Beat::Ping => {
                self.write(now, &Packet::Pingreq);
                Ok(())
            }
            Beat::Dead => Err(Fault::NoAnswer),
        }
    }

    /// The caller has left the network unread: that nothing came says nothing about the server.
    pub fn unread(&mut self, now: Duration) {
        if let Some(live) = &mut self.live {
            live.pinger.received(now);
        }
    }

    /// What is to be written to the network, packet by packet.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// The next thing that the program should know.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether there is a network connection, from [`Client::begin`] until it is over.
    pub fn has_connection(&self) -> bool {
        self.live.is_some()
    }

    /// Whether the server has accepted the present connection.
    pub fn is_connected(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.accepted)
    }

    /// Messages that were accepted here and are not done with.
    pub fn pending(&self) -> usize {
        self.unsent.len() + self.outbound.queued() + self.outbound.in_flight()
    }

    fn topic_alias_maximum(&self) -> u16 {
        if self.options.version == Version::V5 { self.options.topic_alias_maximum } else { 0 }
    }

    /// Tells the server why the connection ends, where the version can (5.0 §4.13). 3.1.1: [MQTT-4.8.0-1]
    fn say_goodbye(&mut self, reason: ReasonCode) {
        if self.is_connected() && self.options.version == Version::V5 {
            let _ = self.encode(&Packet::Disconnect(Disconnect::new(reason)));
        }
        self.live = None;
        self.outbound.disconnected();
    }
}

/// Why a message was not accepted. It is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAccepted {
    /// As many wait as may.
    QueueFull(Arc<Message>),
    /// The server has said that it takes no message of this QoS. [MQTT-3.2.2-11]
    QosNotSupported(Arc<Message>),
    /// The server has said that it retains none. [MQTT-3.2.2-14]
    RetainNotSupported(Arc<Message>),
}
