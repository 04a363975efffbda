use core::num::{NonZeroU16, NonZeroU32};
use core::time::Duration;

use mqway_codec::{Connack, Connect, PropertiesBuf, Property, QoS, ReasonCode, Version};

use super::{NEVER, Receiver, Sender, Terms, Will};
use crate::keep_alive::Watch;

/// A CONNECT that the server can live with: what it asks for.
#[derive(Clone, Debug)]
pub struct Hello<'a> {
    connect: Connect<'a>,
    /// Seconds of keep alive that the client has sent.
    asked: u16,
    granted: Granted,
}

/// What a connection is granted, where the client's wish and the server's limits differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Seconds that the session outlives the connection; [`NEVER`]: for ever.
    pub session_expiry: u32,
    /// Seconds of keep alive; 0: none.
    pub keep_alive: u16,
    /// Messages of QoS 1 and 2 under way to the client at once.
    pub in_flight: NonZeroU16,
}

impl<'a> Hello<'a> {
    /// Judges a CONNECT, as far as it can be without knowing the client.
    ///
    /// # Errors
    /// The reason for CONNACK.
    pub fn read(connect: &Connect<'a>, terms: &Terms) -> Result<Hello<'a>, ReasonCode> {
        check_client_id(connect)?;
        if let Some(will) = &connect.will {
            if will.qos > terms.maximum_qos {
                return Err(ReasonCode::QosNotSupported); // [MQTT-3.2.2-12]
            }
            if will.retain && !terms.retain {
                return Err(ReasonCode::RetainNotSupported); // [MQTT-3.2.2-13]
            }
        }
        let granted = Granted {
            session_expiry: wanted_expiry(connect).min(terms.session_expiry),
            keep_alive: keep_alive(connect, terms),
            in_flight: connect.properties.receive_maximum().unwrap_or(NonZeroU16::MAX).min(terms.in_flight),
        };
        Ok(Hello { connect: *connect, asked: connect.keep_alive, granted })
    }

    /// The client has sent this keep alive, in seconds, and CONNECT was changed since: it is told what it is to use.
    /// [MQTT-3.2.2-21]
    #[must_use]
    pub fn asked(self, keep_alive: u16) -> Hello<'a> {
        Hello { asked: keep_alive, ..self }
    }

    /// The packet itself.
    pub fn connect(&self) -> &Connect<'a> {
        &self.connect
    }

    /// What is granted.
    pub fn granted(&self) -> Granted {
        self.granted
    }

    /// The client identifier; `None` if the server is to choose one. [MQTT-3.1.3-6]
    pub fn client_id(&self) -> Option<&'a str> {
        Some(self.connect.client_id).filter(|id| !id.is_empty())
    }

    /// A copy of the will.
    pub fn will(&self) -> Option<Will> {
        self.connect.will.as_ref().map(Will::of)
    }

    /// Bytes of the largest packet that the client takes.
    pub fn maximum_packet(&self) -> u32 {
        self.connect.properties.maximum_packet_size().map_or(u32::MAX, NonZeroU32::get)
    }

    /// The receiving half of the connection, which is accepted `now`.
    pub fn receiver(&self, terms: &Terms, now: Duration) -> Receiver {
        Receiver::new(self.connect.version, terms, Watch::new(self.granted.keep_alive, now))
    }

    /// The sending half.
    pub fn sender(&self, terms: &Terms) -> Sender {
        let properties = &self.connect.properties;
        let aliases = properties.topic_alias_maximum().unwrap_or(0).min(terms.own_aliases);
        Sender::new(self.connect.version, self.maximum_packet(), aliases)
    }

    /// The CONNACK that accepts. `assigned` is the client identifier, if the server chose it; `authentication` has the
    /// method's last words.
    pub fn connack(
        &self,
        terms: &Terms,
        session_present: bool,
        assigned: Option<&str>,
        authentication: &PropertiesBuf,
        out: &mut alloc::vec::Vec<u8>,
    ) {
        let version = self.connect.version;
        let mut properties = PropertiesBuf::new();
        if version == Version::V5 {
            let told = self.told(terms, assigned).into_iter().flatten();
            // Each is there once, and no longer than what it was made of.
            let pushed = properties.extend(told.chain(authentication.as_properties().iter()));
            debug_assert!(pushed.is_ok(), "{pushed:?}");
        }
        // 3.1 has no session present flag: the byte is reserved.
        let session_present = session_present && version != Version::V3_1;
        let mut connack = Connack::new(session_present, ReasonCode::Success);
        connack.properties = properties.as_properties();
        let encoded = mqway_codec::Packet::Connack(connack).encode(version, out);
        debug_assert!(encoded.is_ok(), "{encoded:?}");
    }

    /// Whether that CONNACK is no larger than the client takes. [MQTT-3.1.2-24]
    pub fn connack_fits(
        &self,
        terms: &Terms,
        assigned: Option<&str>,
        authentication: &PropertiesBuf,
    ) -> bool {
        let maximum = self.maximum_packet();
        // Nearly all clients take what there can be.
        maximum == u32::MAX || {
            let mut connack = alloc::vec::Vec::new();
            self.connack(terms, false, assigned, authentication, &mut connack);
            connack.len() <= maximum as usize
        }
    }

    /// What differs from what a client of 5.0 assumes.
    fn told<'b>(&self, terms: &'b Terms, assigned: Option<&'b str>) -> [Option<Property<'b>>; 13] {
        let Granted { session_expiry, keep_alive, .. } = self.granted;
        let asks = self.connect.properties.request_response_information() == Some(true);
        let packet = u32::try_from(terms.maximum_packet).ok().and_then(NonZeroU32::new);
        [
            // [MQTT-3.1.3-7]
            assigned.map(Property::AssignedClientIdentifier),
            (session_expiry != wanted_expiry(&self.connect))
                .then_some(Property::SessionExpiryInterval(session_expiry)),
            // What the client is to use, [MQTT-3.2.2-21].
            (keep_alive != self.asked).then_some(Property::ServerKeepAlive(keep_alive)),
            (terms.receive_maximum < NonZeroU16::MAX)
                .then_some(Property::ReceiveMaximum(terms.receive_maximum)),
            packet.map(Property::MaximumPacketSize),
            (terms.topic_alias_maximum > 0).then_some(Property::TopicAliasMaximum(terms.topic_alias_maximum)),
            // [MQTT-3.2.2-9]
            (terms.maximum_qos < QoS::ExactlyOnce).then_some(Property::MaximumQos(terms.maximum_qos)),
            (!terms.retain).then_some(Property::RetainAvailable(false)),
            (!terms.wildcards).then_some(Property::WildcardSubscriptionAvailable(false)),
            (!terms.identifiers).then_some(Property::SubscriptionIdentifierAvailable(false)),
            (!terms.shares).then_some(Property::SharedSubscriptionAvailable(false)),
            // [MQTT-3.1.2-28]
            terms.response_information.as_deref().filter(|_| asks).map(Property::ResponseInformation),
            None,
        ]
    }
}

/// An empty identifier is one to be assigned, where that is allowed; any other will do. [MQTT-3.1.3-5]
fn check_client_id(connect: &Connect<'_>) -> Result<(), ReasonCode> {
    let may_be_empty = match connect.version {
        // 3.1 §3.1: between 1 and 23 characters. Servers commonly take longer ones, and clients count on it.
        Version::V3_1 => false,
        Version::V3_1_1 => connect.clean_start, // 3.1.1: [MQTT-3.1.3-6], [MQTT-3.1.3-8]
        Version::V5 => true,
    };
    if connect.client_id.is_empty() && !may_be_empty {
        return Err(ReasonCode::ClientIdentifierNotValid);
    }
    Ok(())
}

/// What 5.0 says in a number, older versions say with Clean Session: it goes with the connection, or it stays.
fn wanted_expiry(connect: &Connect<'_>) -> u32 {
    match connect.version {
        Version::V5 => connect.properties.session_expiry_interval().unwrap_or(0),
        Version::V3_1 | Version::V3_1_1 if connect.clean_start => 0,
        Version::V3_1 | Version::V3_1_1 => NEVER,
    }
}

fn keep_alive(connect: &Connect<'_>, terms: &Terms) -> u16 {
    match terms.keep_alive {
        Some(longest)
            if connect.version == Version::V5
                && (connect.keep_alive == 0 || connect.keep_alive > longest.get()) =>
        {
            longest.get()
        }
        _ => connect.keep_alive, // [MQTT-3.2.2-22]
    }
}
