//! MQTT packets written out by hand.

use std::io::Read;

/// A protocol level as it stands in CONNECT.
pub type Level = u8;
pub const V3_1: Level = 3;
pub const V3_1_1: Level = 4;
pub const V5: Level = 5;
pub const LEVELS: [Level; 3] = [V3_1, V3_1_1, V5];

pub const PINGREQ: [u8; 2] = [0xC0, 0];
pub const PINGRESP: [u8; 2] = [0xD0, 0];
pub const DISCONNECT: [u8; 2] = [0xE0, 0];

/// What a level is called on the command lines of clients.
pub fn name(level: Level) -> &'static str {
    match level {
        V3_1 => "3.1",
        V3_1_1 => "3.1.1",
        _ => "5.0",
    }
}

/// A packet from its first byte and the rest.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend(variable(body.len()));
    bytes.extend(body);
    bytes
}

/// A variable byte integer.
pub fn variable(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

/// A string with its length in front.
pub fn string(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

/// Bytes with their length in front.
pub fn binary(data: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(data.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(data);
    bytes
}

/// A clean CONNECT without will or credentials, keep alive 60 s.
pub fn connect(level: Level, client_id: &str) -> Vec<u8> {
    Connect { level, client_id, ..Connect::default() }.bytes()
}

/// A CONNECT in detail; v5 properties as raw bytes without their length.
pub struct Connect<'a> {
    pub level: Level,
    pub client_id: &'a str,
    pub clean: bool,
    pub keep_alive: u16,
    pub will: Option<(&'a str, &'a [u8])>,
    pub user: Option<(&'a str, &'a str)>,
    pub properties: &'a [u8],
}

impl Default for Connect<'_> {
    fn default() -> Self {
        Connect {
            level: V3_1_1,
            client_id: "test",
            clean: true,
            keep_alive: 60,
            will: None,
            user: None,
            properties: &[],
        }
    }
}

impl Connect<'_> {
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = string(if self.level == V3_1 { "MQIsdp" } else { "MQTT" });
        let flags = u8::from(self.clean) << 1
            | if self.will.is_some() { 0x0C } else { 0 }
            | if self.user.is_some() { 0xC0 } else { 0 };
        body.extend([self.level, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        if self.level == V5 {
            body.extend(variable(self.properties.len()));
            body.extend(self.properties);
        }
        body.extend(string(self.client_id));
        if let Some((topic, payload)) = self.will {
            if self.level == V5 {
                body.push(0);
            }
            body.extend(string(topic));
            body.extend(binary(payload));
        }
        if let Some((name, password)) = self.user {
            body.extend(string(name));
            body.extend(string(password));
        }
        packet(0x10, &body)
    }
}

/// A PUBLISH; the packet id is left out with QoS 0.
pub fn publish(level: Level, topic: &str, qos: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = string(topic);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    if level == V5 {
        body.push(0);
    }
    body.extend(payload);
    packet(0x30 | qos << 1, &body)
}

/// A SUBSCRIBE of one filter.
pub fn subscribe(level: Level, id: u16, filter: &str, qos: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if level == V5 {
        body.push(0);
    }
    body.extend(string(filter));
    body.push(qos);
    packet(0x82, &body)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP by its first byte (0x40, 0x50, 0x62, 0x70), without a reason code.
pub fn acknowledgement(first: u8, id: u16) -> Vec<u8> {
    packet(first, &id.to_be_bytes())
}

/// CONNACK that accepts.
pub fn connack(level: Level) -> Vec<u8> {
    if level == V5 { vec![0x20, 3, 0, 0, 0] } else { vec![0x20, 2, 0, 0] }
}

/// Where the variable header of a whole packet begins.
fn body(packet: &[u8]) -> usize {
    2 + packet[1..].iter().take_while(|byte| **byte >= 0x80).count()
}

/// The protocol level in a CONNECT.
pub fn level_of(connect: &[u8]) -> Level {
    let name = body(connect);
    connect[name + 2 + usize::from(connect[name + 1])]
}

/// The packet id at the start of the variable header (all but PUBLISH).
pub fn id(packet: &[u8]) -> u16 {
    let at = body(packet);
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

/// The packet id of a PUBLISH with QoS 1 or 2.
pub fn publish_id(packet: &[u8]) -> u16 {
    let topic = body(packet);
    let at = topic + 2 + usize::from(u16::from_be_bytes([packet[topic], packet[topic + 1]]));
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

/// The length of the packet that `bytes` start with, once its fixed header is there.
pub fn length(bytes: &[u8]) -> Option<usize> {
    let mut remaining = 0;
    for i in 0..4 {
        let byte = *bytes.get(1 + i)?;
        remaining |= usize::from(byte & 0x7F) << (7 * i);
        if byte < 0x80 {
            return Some(2 + i + remaining);
        }
    }
    panic!("a remaining length of over four bytes: {:02x?}", &bytes[..5]);
}

/// Splits bytes into whole packets; panics if something is left over.
pub fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let whole = length(bytes).filter(|&n| n <= bytes.len());
        let n = whole.unwrap_or_else(|| panic!("{} bytes are no whole packet", bytes.len()));
        packets.push(bytes[..n].to_vec());
        bytes = &bytes[n..];
    }
    packets
}

/// Reads one packet; `None` if the peer closed instead.
pub fn read(stream: &mut (impl Read + ?Sized)) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 2];
    match stream.read_exact(&mut bytes) {
        Ok(()) => {}
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset
            ) =>
        {
            return None;
        }
        Err(e) => panic!("waiting for a packet: {e}"),
    }
    while length(&bytes).is_none() {
        let mut next = [0];
        stream.read_exact(&mut next).expect("the rest of a length");
        bytes.extend(next);
    }
    let (header, whole) = (bytes.len(), length(&bytes).expect("checked by the loop"));
    bytes.resize(whole, 0);
    stream.read_exact(&mut bytes[header..]).expect("the rest of a packet");
    Some(bytes)
}
