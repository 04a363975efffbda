use alloc::vec::Vec;
use core::fmt;

use super::Bytes;
use crate::error::{DecodeError, EncodeError, Fault, Field};
use crate::properties::Place;
use crate::reader::Reader;
use crate::topic::check_name;
use crate::writer::{Body, check_binary, check_string, put_binary, put_u16};
use crate::{Decoder, Header, PacketType, Properties, PropertyId, QoS, Version};

const USER_NAME: u8 = 0b1000_0000;
const PASSWORD: u8 = 0b0100_0000;
const WILL_RETAIN: u8 = 0b0010_0000;
const WILL_QOS: u8 = 0b0001_1000;
const WILL: u8 = 0b0000_0100;
const CLEAN_START: u8 = 0b0000_0010;
const RESERVED: u8 = 0b0000_0001;

/// The bit of the protocol level by which a bridge shows that it is one.
const BRIDGE: u8 = 0x80;

/// CONNECT (5.0 §3.1): the first packet of a connection, from the client.
///
/// ```
/// use mqway_codec::{Connect, Version};
///
/// let mut connect = Connect::new(Version::V3_1_1, "sensor-7");
/// connect.keep_alive = 30;
/// let mut bytes = Vec::new();
/// mqway_codec::Packet::from(connect).encode(Version::V3_1_1, &mut bytes)?;
/// assert_eq!(bytes, b"\x10\x14\x00\x04MQTT\x04\x02\x00\x1E\x00\x08sensor-7");
/// # Ok::<(), mqway_codec::EncodeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version that the connection is to speak.
    pub version: Version,
    /// The client is another broker, and says so in the highest bit of the protocol level. No specification has this;
    /// mosquitto's bridges send it, and brokers take it as a wish for messages with their retain flag, and for none
    /// of its own back.
    pub bridge: bool,
    /// No earlier session is wanted. Before 5.0, "clean session", it also ends with the connection.
    pub clean_start: bool,
    /// Seconds within which the client says something; 0 turns it off.
    pub keep_alive: u16,
    /// The client identifier; empty to have one assigned. Whether it is acceptable is for the server to say.
    pub client_id: &'a str,
    /// What to publish if the connection ends without DISCONNECT.
    pub will: Option<Will<'a>>,
    /// The user name.
    pub user_name: Option<&'a str>,
    /// The password, or any credential. Only 5.0 has it without a user name.
    pub password: Option<&'a [u8]>,
    /// Session expiry, receive maximum, maximum packet size, topic alias maximum, request response information,
    /// request problem information, user properties, authentication method and data.
    pub properties: Properties<'a>,
    /// Flags of a 3.1 CONNECT that are set and mean nothing, to give them back.
    idle_flags: u8,
}

/// The will of a [`Connect`] (5.0 §3.1.2.5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// The topic name to publish to.
    pub topic: &'a str,
    /// The message, at most 65,535 bytes.
    pub payload: &'a [u8],
    /// The QoS to publish with.
    pub qos: QoS,
    /// Whether the message is retained.
    pub retain: bool,
    /// Will delay, payload format, message expiry, content type, response topic, correlation data, user properties.
    pub properties: Properties<'a>,
}

impl<'a> Connect<'a> {
    /// A CONNECT with a clean start, a keep alive of 60 seconds, and nothing else.
    pub const fn new(version: Version, client_id: &'a str) -> Self {
        Self {
            version,
            bridge: false,
            clean_start: true,
            keep_alive: 60,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
            idle_flags: 0,
        }
    }

    /// Reads the whole body. The version is in it, so that errors can name it only from there on.
    pub(super) fn read(header: &Header, mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let error = |fault| DecodeError::new(fault).in_packet(PacketType::Connect);
        let (version, bridge) = read_version(&mut reader).map_err(error)?;
        let connect = if version == Version::V5 && header.is_overlong() {
            Err(Fault::VarintOverlong(Field::RemainingLength))
        } else {
            Self::read_rest(version, bridge, &mut reader)
        };
        match connect {
            Ok(connect) if reader.is_empty() => Ok(connect),
            Ok(_) => Err(error(Fault::TrailingBytes(reader.remaining())).in_version(version)),
            Err(fault) => Err(error(fault).in_version(version)),
        }
    }

    fn read_rest(version: Version, bridge: bool, reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let flags = reader.u8(Field::ConnectFlags)?;
        let will_qos = check_flags(version, flags)?;
        let keep_alive = reader.u16(Field::KeepAlive)?;
        let properties = read_properties(version, reader, Place::Connect)?;
        if properties.contains(PropertyId::AuthenticationData)
            && !properties.contains(PropertyId::AuthenticationMethod)
        {
            return Err(Fault::NoAuthenticationMethod); // 5.0 §3.1.2.11.10
        }
        let client_id = reader.string(Field::ClientId)?; // [MQTT-3.1.3-3], [MQTT-3.1.3-4]
        let will = match flags & WILL {
            0 => None,
            // [MQTT-3.1.2-9]
            _ => Some(Will::read(version, will_qos, flags & WILL_RETAIN != 0, reader)?),
        };
        // 3.1 §3.1: there the remaining length has precedence over these two flags.
        let present =
            |flag, reader: &Reader<'_>| flags & flag != 0 && !(version == Version::V3_1 && reader.is_empty());
        // [MQTT-3.1.2-16], [MQTT-3.1.2-17], [MQTT-3.1.3-12]
        let user_name = match present(USER_NAME, reader) {
            true => Some(reader.string(Field::UserName)?),
            false => None,
        };
        // [MQTT-3.1.2-18], [MQTT-3.1.2-19]
        let password = match present(PASSWORD, reader) {
            true => Some(reader.binary(Field::Password)?),
            false => None,
        };
        let clean_start = flags & CLEAN_START != 0;
        let mut connect = Self {
            version,
            bridge,
            clean_start,
            keep_alive,
            client_id,
            will,
            user_name,
            password,
            properties,
            idle_flags: 0,
        };
        connect.idle_flags = flags & !connect.flags();
        Ok(connect)
    }

    /// The flags that say something.
    fn flags(&self) -> u8 {
        let mut flags = 0;
        if self.clean_start {
            flags |= CLEAN_START;
        }
        if let Some(will) = &self.will {
            flags |= WILL | (will.qos as u8) << 3;
            if will.retain {
                flags |= WILL_RETAIN;
            }
        }
        if self.user_name.is_some() {
            flags |= USER_NAME;
        }
        if self.password.is_some() {
            flags |= PASSWORD;
        }
        flags
    }

    /// The flags that were set and said nothing, as far as they still do.
    fn idle_flags(&self) -> u8 {
        let mut idle = match self.version {
            Version::V3_1 => self.idle_flags,
            Version::V3_1_1 | Version::V5 => 0,
        };
        if self.will.is_some() {
            idle &= !(WILL_QOS | WILL_RETAIN);
        }
        // An absent user name or password can only be one that the end of the packet has cut off.
        let user_name = self.user_name.is_some() || idle & USER_NAME != 0;
        if self.password.is_some() || !user_name {
            idle &= !(USER_NAME | PASSWORD);
        }
        idle
    }
}

/// The version in whose words to answer a CONNECT of a protocol level that does not exist: an older one for levels below
/// those that do, and for those above it the one in whose form the packet is written. `bytes` begin with it.
///
/// To 3.1.1 an answer is due, and 5.0 has another code for it. 3.1.1: [MQTT-3.1.2-2]
pub fn version_for_unknown_level(level: u8, bytes: &[u8]) -> Version {
    if level <= Version::V5.level() || is_written_as(Version::V3_1_1, bytes) {
        Version::V3_1_1
    } else {
        Version::V5
    }
}

/// Whether a packet would be a CONNECT of this version, but for its protocol level.
fn is_written_as(version: Version, bytes: &[u8]) -> bool {
    let longer = bytes.iter().skip(1).take_while(|byte| *byte & 0x80 != 0).count();
    let mut copy = bytes.to_vec();
    let Some(level) = copy.get_mut(1 + longer + 1 + 2 + version.protocol_name().len()) else { return false };
    *level = version.level();
    matches!(Decoder::new(bytes.len()).next(&copy), Ok(Some(_)))
}

/// The version, and whether a bridge asks.
fn read_version(reader: &mut Reader<'_>) -> Result<(Version, bool), Fault> {
    let name = reader.binary(Field::ProtocolName)?;
    if !matches!(name, b"MQTT" | b"MQIsdp") {
        return Err(Fault::ProtocolName); // [MQTT-3.1.2-1]
    }
    let level = reader.u8(Field::ProtocolLevel)?;
    Version::from_level(level & !BRIDGE)
        .filter(|version| version.protocol_name().as_bytes() == name)
        .map(|version| (version, level & BRIDGE != 0))
        .ok_or(Fault::ProtocolLevel(level)) // [MQTT-3.1.2-2]
}

/// Refuses flags that contradict each other; the will's QoS.
fn check_flags(version: Version, flags: u8) -> Result<QoS, Fault> {
    if flags & RESERVED != 0 {
        return Err(Fault::ReservedBits(Field::ConnectFlags)); // [MQTT-3.1.2-3]
    }
    // 3.1 §3.1 disregards the will's flags where there is no will; later versions refuse them.
    if flags & WILL == 0 && version != Version::V3_1 && flags & (WILL_QOS | WILL_RETAIN) != 0 {
        return Err(Fault::WillFlagsWithoutWill); // [MQTT-3.1.2-11], [MQTT-3.1.2-13]; 3.1.1: [MQTT-3.1.2-11]
    }
    if flags & PASSWORD != 0 && flags & USER_NAME == 0 && version != Version::V5 {
        return Err(Fault::PasswordWithoutUserName); // 3.1.1: [MQTT-3.1.2-22]
    }
    match QoS::from_u8((flags & WILL_QOS) >> 3) {
        Some(qos) => Ok(qos),
        None if flags & WILL == 0 => Ok(QoS::AtMostOnce),
        None => Err(Fault::QosThree(Field::ConnectFlags)), // [MQTT-3.1.2-12]
    }
}

fn read_properties<'a>(
    version: Version,
    reader: &mut Reader<'a>,
    place: Place,
) -> Result<Properties<'a>, Fault> {
    if version == Version::V5 { Properties::read(reader, place) } else { Ok(Properties::EMPTY) }
}

impl<'a> Will<'a> {
    /// A will of QoS 0, not retained.
    pub const fn new(topic: &'a str, payload: &'a [u8]) -> Self {
        Self { topic, payload, qos: QoS::AtMostOnce, retain: false, properties: Properties::EMPTY }
    }

    fn read(version: Version, qos: QoS, retain: bool, reader: &mut Reader<'a>) -> Result<Self, Fault> {
        Ok(Self {
            properties: read_properties(version, reader, Place::Will)?,
            topic: reader.topic_name(Field::WillTopic, false)?, // [MQTT-3.1.3-11]
            payload: reader.binary(Field::WillPayload)?,
            qos,
            retain,
        })
    }

    fn check(&self, version: Version) -> Result<(), EncodeError> {
        if version == Version::V5 {
            self.properties.check_place(Place::Will)?;
        }
        check_name(self.topic).map_err(|error| EncodeError::Topic(Field::WillTopic, error))?;
        check_binary(self.payload, Field::WillPayload)
    }
}

impl Body for Connect<'_> {
    fn check(&self, _: Version) -> Result<(), EncodeError> {
        if self.version == Version::V5 {
            self.properties.check_place(Place::Connect)?;
            if self.properties.contains(PropertyId::AuthenticationData)
                && !self.properties.contains(PropertyId::AuthenticationMethod)
            {
                return Err(Fault::NoAuthenticationMethod.into());
            }
        } else if self.password.is_some() && self.user_name.is_none() {
            return Err(Fault::PasswordWithoutUserName.into());
        }
        check_string(self.client_id, Field::ClientId)?;
        if let Some(will) = &self.will {
            will.check(self.version)?;
        }
        check_string(self.user_name.unwrap_or_default(), Field::UserName)?;
        check_binary(self.password.unwrap_or_default(), Field::Password)
    }

    fn first_byte(&self, _: Version) -> u8 {
        PacketType::Connect.first_byte()
    }

    fn len(&self, _: Version) -> usize {
        let properties = |properties: &Properties<'_>| match self.version {
            Version::V5 => properties.encoded_len(),
            _ => 0,
        };
        let mut len = 2 + self.version.protocol_name().len() + 1 + 1 + 2;
        len += properties(&self.properties) + 2 + self.client_id.len();
        if let Some(will) = &self.will {
            len += properties(&will.properties) + 2 + will.topic.len() + 2 + will.payload.len();
        }
        len += self.user_name.map_or(0, |user_name| 2 + user_name.len());
        len + self.password.map_or(0, |password| 2 + password.len())
    }

    fn write(&self, _: Version, out: &mut Vec<u8>) {
        put_binary(self.version.protocol_name().as_bytes(), out);
        out.push(self.version.level() | if self.bridge { BRIDGE } else { 0 });
        out.push(self.flags() | self.idle_flags());
        put_u16(self.keep_alive, out);
        if self.version == Version::V5 {
            self.properties.write(out);
        }
        put_binary(self.client_id.as_bytes(), out); // The first of them, in this order. [MQTT-3.1.3-1]
        if let Some(will) = &self.will {
            if self.version == Version::V5 {
                will.properties.write(out);
            }
            put_binary(will.topic.as_bytes(), out);
            put_binary(will.payload, out);
        }
        if let Some(user_name) = self.user_name {
            put_binary(user_name.as_bytes(), out);
        }
        if let Some(password) = self.password {
            put_binary(password, out);
        }
    }
}

/// Of password and will payload only the length: this goes into logs.
impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("bridge", &self.bridge)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password", &self.password.map(Bytes))
            .field("properties", &self.properties)
            .finish()
    }
}

impl fmt::Debug for Will<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Will")
            .field("topic", &self.topic)
            .field("payload", &Bytes(self.payload))
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("properties", &self.properties)
            .finish()
    }
}
