use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use mqway_codec::{PacketId, PacketType, QoS, ReasonCode, Version};

use super::{Fault, Granted, NEVER, Sender, Terms, Will, acknowledge};
use crate::{Drained, Full, Inbound, Outbound, Outgoing, Ready};

/// What outlives a client's connections: messages under way in both directions, and how it ends. `M` is a message on
/// its way to the client. Subscriptions are kept where they are looked up.
#[derive(Debug)]
pub struct Session<M> {
    /// Made for the first message of QoS 1 or 2: most sessions, most of the time, have none to send.
    outbound: Option<Box<Outbound<M>>>,
    queue_limit: usize,
    /// Messages that may be under way at once on the present connection.
    window: u16,
    pub(super) inbound: Inbound,
    sender: Option<Sender>,
    will: Option<Box<Will>>,
    /// The client has taken its will back: it stays with the connection, and is never published.
    will_is_revoked: bool,
    /// Seconds that it outlives the connection.
    expiry: u32,
    /// The most seconds that it may.
    longest_expiry: u32,
    /// Since when there is no connection, if there has been one.
    left: Option<Duration>,
}

/// What has come due.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// To be published.
    pub will: Option<Box<Will>>,
    /// The session is over.
    pub ended: bool,
}

impl<M> Session<M> {
    /// A session without a connection. At most `queue_limit` messages wait in it, beside those in flight.
    pub fn new(queue_limit: usize) -> Session<M> {
        Session {
            outbound: None,
            queue_limit,
            window: 0,
            inbound: Inbound::new(),
            sender: None,
            will: None,
            will_is_revoked: false,
            expiry: 0,
            longest_expiry: 0,
            left: None,
        }
    }

    /// There is a connection. What was to happen without one does not. [MQTT-3.1.3-9]
    pub fn connected(&mut self, sender: Sender, granted: Granted, terms: &Terms, will: Option<Will>) {
        self.will = will.map(Box::new); // [MQTT-3.1.2-7]
        self.will_is_revoked = false;
        self.left = None;
        self.expiry = granted.session_expiry;
        self.longest_expiry = terms.session_expiry;
        self.window = granted.in_flight.get();
        if let Some(outbound) = &mut self.outbound {
            outbound.connected(self.window);
        }
        // Before 5.0 a client knows nothing of our Receive Maximum.
        let ours = if sender.version() == Version::V5 { terms.receive_maximum.get() } else { u16::MAX };
        self.inbound.connected(ours);
        self.sender = Some(sender);
    }

    /// The connection is gone. Unless the client said otherwise, its will and the session's end become due.
    pub fn disconnected(&mut self, now: Duration) {
        self.will = self.will.take().filter(|_| !self.will_is_revoked);
        self.sender = None;
        self.window = 0;
        self.outbound = self.outbound.take().filter(|outbound| !outbound.is_idle());
        if let Some(outbound) = &mut self.outbound {
            outbound.disconnected();
        }
        self.left = Some(now);
    }

    /// When it ends, while there is no connection; `None`: not at all. [MQTT-3.1.2-23]
    fn ends(&self) -> Option<Duration> {
        self.left.filter(|_| self.expiry != NEVER).map(|left| left + seconds(self.expiry))
    }

    /// When the will is published, while there is no connection.
    fn will_due(&self) -> Option<Duration> {
        Some(self.left? + seconds(self.will.as_ref()?.delay))
    }

    /// The next moment at which something comes due; `None`: never.
    pub fn due(&self) -> Option<Duration> {
        match (self.ends(), self.will_due()) {
            (Some(ends), Some(will)) => Some(ends.min(will)),
            (ends, will) => ends.or(will),
        }
    }

    /// What is due by `now`. The will does not wait any longer than the session. [MQTT-3.1.2-8]
    pub fn poll(&mut self, now: Duration) -> Due {
        let is_due = |moment: Option<Duration>| moment.is_some_and(|moment| moment <= now);
        let ended = is_due(self.ends());
        // It is published once. [MQTT-3.1.2-10]; 3.1.1: [MQTT-3.1.2-10]
        let will = if ended || is_due(self.will_due()) { self.will.take() } else { None };
        Due { will, ended }
    }

    /// The session ends now, whatever its expiry: the client begins a new one. Gives its will, if one waits.
    pub fn end(&mut self) -> Option<Box<Will>> {
        self.will.take().filter(|_| !self.will_is_revoked)
    }

    /// The sending half of the connection, while there is one.
    #[inline]
    pub fn sender(&mut self) -> Option<&mut Sender> {
        self.sender.as_mut()
    }

    /// Whether there is a connection.
    #[inline]
    pub fn is_connected(&self) -> bool {
        self.sender.is_some()
    }

    /// Bytes of the will that it holds.
    pub fn will_size(&self) -> usize {
        self.will.as_ref().map_or(0, |will| will.size())
    }

    /// Seconds that it outlives its connection.
    pub fn expiry(&self) -> u32 {
        self.expiry
    }

    /// Acknowledges a message from the client with this reason, PUBACK or PUBREC by its QoS.
    /// [MQTT-3.3.4-1], [MQTT-4.3.2-4], [MQTT-4.3.3-8]; 3.1.1: [MQTT-4.3.2-2], [MQTT-4.3.3-2]
    #[inline]
    pub fn acknowledge(
        &mut self,
        version: Version,
        qos: QoS,
        id: PacketId,
        reason: ReasonCode,
        out: &mut Vec<u8>,
    ) {
        let packet_type = match qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => {
                self.inbound.puback();
                PacketType::Puback
            }
            QoS::ExactlyOnce => {
                if reason.is_error() && version == Version::V5 {
                    self.inbound.refuse(id);
                }
                PacketType::Pubrec
            }
        };
        acknowledge(packet_type, version, id, reason, out);
    }

    /// A message of QoS 1 or 2 from the client that is not to be taken yet: it will be shown again, as if it had not come.
    pub fn take_back(&mut self, qos: QoS, id: PacketId) {
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.inbound.puback(),
            QoS::ExactlyOnce => self.inbound.refuse(id),
        }
    }

    /// Adds a message of QoS 1 or 2 to those that wait.
    ///
    /// # Errors
    /// If as many wait as may; the message comes back.
    #[inline]
    pub fn push(&mut self, qos: QoS, message: M) -> Result<(), M> {
        made(&mut self.outbound, self.queue_limit, self.window)
            .push(qos, message)
            .map_err(|Full(message)| message)
    }

    /// A place for a message that is sent at once, if it need not wait: for others, for room, or for a connection.
    #[inline]
    pub fn ready(&mut self) -> Option<Ready<'_, M>> {
        if self.window == 0 {
            return None; // There is no connection.
        }
        made(&mut self.outbound, self.queue_limit, self.window).ready()
    }

    /// Takes the oldest message that waits: to make room for a newer one.
    pub fn pop_oldest(&mut self) -> Option<M> {
        self.outbound.as_mut()?.pop_oldest()
    }

    /// [`Session::pop_oldest`], if it is one of these.
    pub fn pop_oldest_if(&mut self, is_one: impl FnOnce(&M) -> bool) -> Option<M> {
        self.outbound.as_mut()?.pop_oldest_if(is_one)
    }

    /// The next packet that may be sent now, and how to write it. Call it until there is none.
    #[inline]
    pub fn next_outgoing(&mut self) -> Option<(Outgoing<'_, M>, &mut Sender)> {
        let sender = self.sender.as_mut()?;
        self.outbound.as_mut()?.next_outgoing().map(|outgoing| (outgoing, sender))
    }

    /// A message that [`Session::next_outgoing`] gave cannot be sent: it is done with. [MQTT-3.1.2-25]
    pub fn give_up(&mut self, qos: QoS, id: PacketId) -> Option<M> {
        match qos {
            QoS::ExactlyOnce => self.outbound()?.pubrec_refused(id).ok(),
            QoS::AtMostOnce | QoS::AtLeastOnce => self.outbound()?.puback(id).ok(),
        }
    }

    /// Messages that wait.
    #[inline]
    pub fn queued(&self) -> usize {
        self.outbound.as_ref().map_or(0, |outbound| outbound.queued())
    }

    /// Whether the client takes another message of QoS 1 or 2 now.
    pub fn has_room(&self) -> bool {
        self.outbound.as_ref().map_or(self.window > 0, |outbound| outbound.has_room())
    }

    /// Messages sent and not acknowledged.
    pub fn in_flight(&self) -> usize {
        self.outbound.as_ref().map_or(0, |outbound| outbound.in_flight())
    }

    /// The session is over: every message that the client may not have, in order; with `true` if it was sent.
    pub fn drain(&mut self) -> impl Iterator<Item = (QoS, bool, M)> + '_ {
        self.outbound.iter_mut().flat_map(|outbound| outbound.drain()).filter_map(|left| match left {
            Drained::Message { qos, sent, message } => Some((qos, sent, message)),
            // With PUBREC the client took it over (5.0 §4.3.3).
            Drained::Released(()) => None,
        })
    }

    /// What is under way to the client, if anything is.
    #[inline]
    pub(super) fn outbound(&mut self) -> Option<&mut Outbound<M>> {
        self.outbound.as_deref_mut()
    }

    /// DISCONNECT takes it back. [MQTT-3.1.2-10]; 3.1.1: [MQTT-3.1.2-10]
    pub(super) fn forget_will(&mut self) {
        self.will_is_revoked = true;
    }

    /// DISCONNECT says how long the session is to stay.
    pub(super) fn change_expiry(&mut self, expiry: u32) -> Result<(), Fault> {
        // 5.0 §3.14.2.2.2: a client that wanted no session cannot have one in the end.
        if self.expiry == 0 && expiry != 0 {
            return Err(Fault::SessionExpiry);
        }
        self.expiry = expiry.min(self.longest_expiry);
        Ok(())
    }
}

/// What is under way to a client, from the first message on.
#[inline]
fn made<M>(outbound: &mut Option<Box<Outbound<M>>>, queue_limit: usize, window: u16) -> &mut Outbound<M> {
    match outbound {
        Some(outbound) => outbound,
        None => outbound.insert(make(queue_limit, window)),
    }
}

#[cold]
fn make<M>(queue_limit: usize, window: u16) -> Box<Outbound<M>> {
    let mut outbound = Box::new(Outbound::new(queue_limit));
    if window > 0 {
        outbound.connected(window);
    }
    outbound
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}
