//! Packets with everything that 5.0 puts into them, to be written and to be read.

use crate::support::packets::{self, Level, V3_1, V5, packet, string, variable};

/// Identifiers of properties (5.0 §2.2.2.2).
pub mod property {
    pub const PAYLOAD_FORMAT: u8 = 0x01;
    pub const MESSAGE_EXPIRY: u8 = 0x02;
    pub const CONTENT_TYPE: u8 = 0x03;
    pub const RESPONSE_TOPIC: u8 = 0x08;
    pub const CORRELATION_DATA: u8 = 0x09;
    pub const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
    pub const SESSION_EXPIRY: u8 = 0x11;
    pub const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub const AUTHENTICATION_METHOD: u8 = 0x15;
    pub const AUTHENTICATION_DATA: u8 = 0x16;
    pub const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub const WILL_DELAY: u8 = 0x18;
    pub const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub const RESPONSE_INFORMATION: u8 = 0x1A;
    pub const REASON_STRING: u8 = 0x1F;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub const TOPIC_ALIAS: u8 = 0x23;
    pub const MAXIMUM_QOS: u8 = 0x24;
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    pub const USER_PROPERTY: u8 = 0x26;
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub const WILDCARDS_AVAILABLE: u8 = 0x28;
    pub const IDENTIFIERS_AVAILABLE: u8 = 0x29;
    pub const SHARES_AVAILABLE: u8 = 0x2A;
}

/// A property of one byte.
pub fn byte(id: u8, value: u8) -> Vec<u8> {
    vec![id, value]
}

/// A property of two bytes.
pub fn two(id: u8, value: u16) -> Vec<u8> {
    [&[id][..], &value.to_be_bytes()].concat()
}

/// A property of four bytes.
pub fn four(id: u8, value: u32) -> Vec<u8> {
    [&[id][..], &value.to_be_bytes()].concat()
}

/// A property that is a text.
pub fn text(id: u8, value: &str) -> Vec<u8> {
    [&[id][..], &string(value)].concat()
}

/// A user property.
pub fn user(name: &str, value: &str) -> Vec<u8> {
    [&[property::USER_PROPERTY][..], &string(name), &string(value)].concat()
}

/// A subscription identifier.
pub fn identifier(value: usize) -> Vec<u8> {
    [&[property::SUBSCRIPTION_IDENTIFIER][..], &variable(value)].concat()
}

/// A CONNECT in all detail. For 3.1 and 3.1.1 the properties are left out.
#[derive(Clone)]
pub struct Hello {
    pub level: Level,
    pub client_id: String,
    pub clean: bool,
    pub keep_alive: u16,
    pub properties: Vec<u8>,
    pub will: Option<LastWill>,
    /// A byte of flags to be sent in place of the right one.
    pub flags: Option<u8>,
}

/// A will in all detail.
#[derive(Clone, Default)]
pub struct LastWill {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub properties: Vec<u8>,
}

impl Hello {
    pub fn new(level: Level, client_id: &str) -> Hello {
        let client_id = client_id.to_owned();
        Hello {
            level,
            client_id,
            clean: true,
            keep_alive: 60,
            properties: Vec::new(),
            will: None,
            flags: None,
        }
    }

    /// A session that stays for as long as any test lasts, in any version.
    pub fn staying(level: Level, client_id: &str) -> Hello {
        let properties = four(property::SESSION_EXPIRY, 600);
        Hello { clean: false, properties, ..Hello::new(level, client_id) }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut body = string(if self.level == V3_1 { "MQIsdp" } else { "MQTT" });
        let of_will = self.will.as_ref().map_or(0, |w| 0x04 | w.qos << 3 | u8::from(w.retain) << 5);
        body.extend([self.level, self.flags.unwrap_or(u8::from(self.clean) << 1 | of_will)]);
        body.extend(self.keep_alive.to_be_bytes());
        body.extend(block(self.level, &self.properties));
        body.extend(string(&self.client_id));
        if let Some(will) = &self.will {
            body.extend(block(self.level, &will.properties));
            body.extend(string(&will.topic));
            body.extend(packets::binary(&will.payload));
        }
        packet(0x10, &body)
    }
}

/// A PUBLISH in all detail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    pub dup: bool,
    pub qos: u8,
    pub retain: bool,
    pub topic: String,
    /// 0 with QoS 0.
    pub id: u16,
    pub properties: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Publish {
    pub fn new(topic: &str, payload: &str) -> Publish {
        Publish { topic: topic.to_owned(), payload: payload.into(), ..Publish::default() }
    }

    pub fn qos(self, qos: u8, id: u16) -> Publish {
        Publish { qos, id, ..self }
    }

    pub fn retained(self) -> Publish {
        Publish { retain: true, ..self }
    }

    pub fn with(self, properties: impl AsRef<[u8]>) -> Publish {
        Publish { properties: properties.as_ref().to_vec(), ..self }
    }

    pub fn bytes(&self, level: Level) -> Vec<u8> {
        let mut body = string(&self.topic);
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        body.extend(block(level, &self.properties));
        body.extend(&self.payload);
        packet(0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain), &body)
    }

    pub fn read(level: Level, bytes: &[u8]) -> Publish {
        assert_eq!(bytes[0] & 0xF0, 0x30, "a PUBLISH: {bytes:02x?}");
        let qos = bytes[0] >> 1 & 3;
        let rest = &mut body(bytes);
        let topic = String::from_utf8(binary(rest)).unwrap();
        let id = if qos > 0 { u16::from_be_bytes(array(rest)) } else { 0 };
        let properties = if level == V5 { take_block(rest) } else { Vec::new() };
        let payload = rest.to_vec();
        Publish { dup: bytes[0] & 8 != 0, qos, retain: bytes[0] & 1 != 0, topic, id, properties, payload }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}

/// A SUBSCRIBE of filters, each with its byte of options.
pub fn subscribe(level: Level, id: u16, filters: &[(&str, u8)], properties: &[u8]) -> Vec<u8> {
    let mut body = [&id.to_be_bytes()[..], &block(level, properties)].concat();
    for (filter, options) in filters {
        body.extend(string(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

/// A SUBACK without properties.
pub fn suback(level: Level, id: u16, codes: &[u8]) -> Vec<u8> {
    packet(0x90, &[&id.to_be_bytes()[..], &block(level, &[]), codes].concat())
}

/// An UNSUBSCRIBE.
pub fn unsubscribe(level: Level, id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = [&id.to_be_bytes()[..], &block(level, &[])].concat();
    filters.iter().for_each(|filter| body.extend(string(filter)));
    packet(0xA2, &body)
}

/// An UNSUBACK without properties; the codes are 5.0's.
pub fn unsuback(level: Level, id: u16, codes: &[u8]) -> Vec<u8> {
    let codes = if level == V5 { codes } else { &[] };
    packet(0xB0, &[&id.to_be_bytes()[..], &block(level, &[]), codes].concat())
}

/// A DISCONNECT of 5.0.
pub fn disconnect(reason: u8, properties: &[u8]) -> Vec<u8> {
    packet(0xE0, &[&[reason][..], &block(V5, properties)].concat())
}

/// The return or reason code of a CONNACK.
pub fn code_of(connack: &[u8]) -> u8 {
    body(connack)[1]
}

/// Whether a CONNACK says that there was a session.
pub fn session_present(connack: &[u8]) -> bool {
    let flags = body(connack)[0];
    assert!(flags <= 1, "the other flags are reserved: {connack:02x?}"); // [MQTT-3.2.2-1]
    flags == 1
}

/// The properties of a CONNACK or DISCONNECT of 5.0, in order: identifier and value, a user property's value being both
/// of its texts.
pub fn properties_of(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let before = if bytes[0] == 0x20 { 2 } else { 1 };
    let mut rest = body(bytes).get(before..).unwrap_or_default();
    if rest.is_empty() {
        return Vec::new();
    }
    let block = take_block(&mut rest);
    assert!(rest.is_empty(), "nothing follows the properties: {bytes:02x?}");
    list(&block)
}

/// Properties without their length in front, one by one.
pub fn list(mut rest: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    let rest = &mut rest;
    while let Some((id, after)) = rest.split_first() {
        *rest = after;
        let value = match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => array::<1>(rest).to_vec(),
            0x13 | 0x21..=0x23 => array::<2>(rest).to_vec(),
            0x02 | 0x11 | 0x18 | 0x27 => array::<4>(rest).to_vec(),
            0x0B => variable(take_variable(rest)),
            0x26 => [binary(rest), binary(rest)].concat(),
            _ => binary(rest),
        };
        all.push((*id, value));
    }
    all
}

/// The value of a property, if it is there.
pub fn value(properties: &[(u8, Vec<u8>)], id: u8) -> Option<&[u8]> {
    properties.iter().find(|one| one.0 == id).map(|one| &*one.1)
}

/// What follows the fixed header.
pub fn body(packet: &[u8]) -> &[u8] {
    let length = packet[1..].iter().take_while(|byte| **byte >= 0x80).count();
    &packet[2 + length..]
}

/// Properties with their length, where the version has them.
fn block(level: Level, properties: &[u8]) -> Vec<u8> {
    if level == V5 { [&variable(properties.len())[..], properties].concat() } else { Vec::new() }
}

fn take_block(rest: &mut &[u8]) -> Vec<u8> {
    let length = take_variable(rest);
    let (block, after) = rest.split_at(length);
    *rest = after;
    block.to_vec()
}

fn take_variable(rest: &mut &[u8]) -> usize {
    let mut value = 0;
    for i in 0.. {
        let [byte] = array(rest);
        value |= usize::from(byte & 0x7F) << (7 * i);
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn binary(rest: &mut &[u8]) -> Vec<u8> {
    let length = u16::from_be_bytes(array(rest));
    let (value, after) = rest.split_at(length.into());
    *rest = after;
    value.to_vec()
}

fn array<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (value, after) = rest.split_at(N);
    *rest = after;
    value.try_into().unwrap()
}
