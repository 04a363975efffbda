//! Messages of QoS 1 and 2 on their way in: which have come, and what the sender still owes.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use mqway_codec::{PacketId, QoS};

/// What one side of a session has received and not yet finished.
///
/// A message of QoS 2 counts as received from its PUBLISH to its PUBREL, across connections: a PUBLISH with the same
/// identifier in between is the same message again. [MQTT-4.3.3-10] Whether it has expired meanwhile changes nothing.
/// [MQTT-4.3.3-13]
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Made for the first message of QoS 2: most senders have none.
    received: Option<Box<Received>>,
    /// Messages of QoS 1 whose PUBACK has not been sent.
    unacknowledged: u16,
    /// Messages of QoS 2 whose PUBCOMP, or refusing PUBREC, has not been sent on this connection.
    incomplete: u16,
    /// How many of both together we have told the sender to have under way at once.
    receive_maximum: u16,
}

/// Messages of QoS 2 by identifier.
#[derive(Clone, Debug, Default)]
struct Received(BTreeMap<PacketId, Progress>);

/// How far a message of QoS 2 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It has come; PUBREC may or may not have been sent.
    Received,
    /// It has come on an earlier connection, and was not repeated on this one.
    Earlier,
}

/// What a PUBLISH is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A message that has not been seen: it is to be handed on.
    New,
    /// A message of QoS 2 that was handed on before: it is only acknowledged again.
    Repeated,
    /// One more than the Receive Maximum allows: in 5.0 the connection ends with 0x93. [MQTT-3.3.4-7]
    TooMany,
}

impl Inbound {
    /// Nothing received, no connection.
    pub fn new() -> Inbound {
        Inbound { received: None, unacknowledged: 0, incomplete: 0, receive_maximum: u16::MAX }
    }

    /// There is a connection, on which the sender may have `receive_maximum` messages under way.
    pub fn connected(&mut self, receive_maximum: u16) {
        self.receive_maximum = receive_maximum;
        self.unacknowledged = 0;
        self.incomplete = 0;
        // Without any it is not needed until the next.
        self.received = self.received.take().filter(|received| !received.0.is_empty());
        if let Some(received) = &mut self.received {
            received.0.values_mut().for_each(|progress| *progress = Progress::Earlier);
        }
    }

    /// A PUBLISH of QoS 1 or 2 has come.
    pub fn publish(&mut self, qos: QoS, id: PacketId) -> Arrival {
        if qos == QoS::AtLeastOnce {
            if self.under_way() >= self.receive_maximum {
                return Arrival::TooMany;
            }
            self.unacknowledged += 1;
            return Arrival::New; // Whatever DUP says. [MQTT-4.3.2-5]
        }
        let known = self.received.as_ref().and_then(|received| received.0.get(&id).copied());
        if known == Some(Progress::Received) {
            return Arrival::Repeated;
        }
        if self.under_way() >= self.receive_maximum {
            return Arrival::TooMany;
        }
        self.received_mut().insert(id, Progress::Received);
        self.incomplete += 1;
        if known.is_some() { Arrival::Repeated } else { Arrival::New }
    }

    /// PUBACK is being sent.
    pub fn puback(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
    }

    /// PUBREC with a reason of 0x80 and above is being sent: the message is refused, and its identifier free.
    /// [MQTT-4.3.3-9]
    pub fn refuse(&mut self, id: PacketId) {
        self.finish(id);
    }

    /// PUBREL has come, and PUBCOMP is being sent. False if no such message was received: PUBCOMP then says 0x92 in
    /// 5.0, and nothing is wrong with the connection. The identifier is free. [MQTT-4.3.3-12]
    pub fn pubrel(&mut self, id: PacketId) -> bool {
        self.finish(id)
    }

    /// The identifiers of the messages of QoS 2 that were received and not released.
    pub fn received(&self) -> impl Iterator<Item = PacketId> + '_ {
        self.received.iter().flat_map(|received| received.0.keys().copied())
    }

    /// Puts back what a store remembers of an earlier process.
    pub fn restore(&mut self, id: PacketId) {
        self.received_mut().insert(id, Progress::Earlier);
    }

    /// The session is gone.
    pub fn clear(&mut self) {
        *self = Inbound { receive_maximum: self.receive_maximum, ..Inbound::new() };
    }

    fn finish(&mut self, id: PacketId) -> bool {
        let known = self.received.as_mut().is_some_and(|received| received.0.remove(&id).is_some());
        // A sender may count the end of a message from an earlier connection as room for a new one (5.0 §4.9).
        self.incomplete = self.incomplete.saturating_sub(1);
        known
    }

    fn received_mut(&mut self) -> &mut BTreeMap<PacketId, Progress> {
        &mut self.received.get_or_insert_default().0
    }

    fn under_way(&self) -> u16 {
        self.unacknowledged.saturating_add(self.incomplete)
    }
}

impl Default for Inbound {
    fn default() -> Inbound {
        Inbound::new()
    }
}
