use core::fmt;

use crate::properties::PropertyId;
use crate::topic::TopicError;
use crate::{PacketType, ReasonCode, Version};

/// Why bytes are not a packet, in which packet, and what to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    fault: Fault,
    packet_type: Option<PacketType>,
    version: Option<Version>,
}

impl DecodeError {
    pub(crate) const fn new(fault: Fault) -> Self {
        Self { fault, packet_type: None, version: None }
    }

    pub(crate) const fn in_packet(mut self, packet_type: PacketType) -> Self {
        self.packet_type = Some(packet_type);
        self
    }

    pub(crate) const fn in_version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    /// What is wrong.
    pub const fn fault(&self) -> Fault {
        self.fault
    }

    /// In which packet; `None` if not even its type could be told.
    pub const fn packet_type(&self) -> Option<PacketType> {
        self.packet_type
    }

    /// By the rules of which version. `None` where they are all alike, and for a CONNECT that is wrong before or in
    /// its protocol level: nothing can then be answered in a form the peer is known to understand.
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// What kind of wrong it is, in the words of 5.0 §4.13.
    pub const fn blame(&self) -> Blame {
        self.fault.blame()
    }

    /// The reason code for a 5.0 CONNACK or DISCONNECT that answers it. Older versions close without a word, but for
    /// CONNACK 1 (see [`ConnectReturnCode`](crate::ConnectReturnCode)) to an unsupported version.
    pub const fn reason_code(&self) -> ReasonCode {
        if let Fault::PropertyValue(PropertyId::TopicAlias) = self.fault {
            return ReasonCode::TopicAliasInvalid; // 5.0 §3.3.2.3.4
        }
        match self.blame() {
            Blame::Malformed => ReasonCode::MalformedPacket,
            Blame::ProtocolError => ReasonCode::ProtocolError,
            Blame::UnsupportedVersion => ReasonCode::UnsupportedProtocolVersion,
            Blame::TooLarge => ReasonCode::PacketTooLarge,
        }
    }
}

/// `PUBLISH: …`, or only what is wrong where the packet's type is unknown.
impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(packet_type) = self.packet_type {
            write!(f, "{packet_type}: ")?;
        }
        self.fault.fmt(f)
    }
}

impl core::error::Error for DecodeError {}

/// The kinds of fault that a peer is answered differently for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// A Malformed Packet: it cannot be parsed by the specification.
    Malformed,
    /// A Protocol Error: it can be parsed, and says what is not allowed.
    ProtocolError,
    /// A CONNECT of a protocol or version that this crate does not speak.
    UnsupportedVersion,
    /// Larger than the limit set by this side, and otherwise possibly fine.
    TooLarge,
}

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Packet type 0, or AUTH before 5.0.
    ReservedPacketType,
    /// The low four bits of the first byte are not what they must be. [MQTT-2.1.3-1]
    ReservedFlags(u8),
    /// Bits that must be zero are not.
    ReservedBits(Field),
    /// QoS 3, of a PUBLISH, a will or a subscription.
    QosThree(Field),
    /// A PUBLISH with DUP and QoS 0. [MQTT-3.3.1-2]
    DupWithQos0,
    /// A variable byte integer of more than four bytes.
    VarintTooLong(Field),
    /// A variable byte integer in more bytes than its value needs. [MQTT-1.5.5-1]
    VarintOverlong(Field),
    /// A remaining length that packets of this type cannot have.
    RemainingLength {
        /// What it must be.
        expected: u32,
        /// What it is.
        found: u32,
    },
    /// The packet ends before or within this field.
    Truncated(Field),
    /// This many bytes after the last field.
    TrailingBytes(usize),
    /// The whole packet is larger than this side's limit. [MQTT-3.1.2-24]
    PacketTooLarge {
        /// Bytes of the whole packet.
        size: usize,
        /// The most that were allowed.
        limit: usize,
    },
    /// Not well-formed UTF-8, surrogates included. [MQTT-1.5.4-1]
    Utf8(Field),
    /// A string that contains U+0000. [MQTT-1.5.4-2]
    NulCharacter(Field),
    /// Not a topic name or topic filter.
    Topic(Field, TopicError),
    /// A CONNECT of another protocol than `MQTT` or `MQIsdp`.
    ProtocolName,
    /// A CONNECT of a protocol level that does not exist, or not by this protocol name.
    ProtocolLevel(u8),
    /// Will QoS or will retain without a will. [MQTT-3.1.2-11], [MQTT-3.1.2-13]
    WillFlagsWithoutWill,
    /// A password without a user name, before 5.0. 3.1.1: [MQTT-3.1.2-22]
    PasswordWithoutUserName,
    /// A packet identifier of zero. [MQTT-2.2.1-3]
    PacketIdZero,
    /// A PUBLISH with neither topic name nor topic alias.
    NoTopic,
    /// SUBSCRIBE, SUBACK, UNSUBSCRIBE or UNSUBACK about nothing. [MQTT-3.8.3-2], [MQTT-3.10.3-2]
    EmptyPayload,
    /// Retain handling 3.
    RetainHandlingThree,
    /// No Local on a shared subscription. [MQTT-3.8.3-4]
    NoLocalOnShare,
    /// A reason or return code that this packet cannot carry.
    ReasonCode(u8),
    /// Session present in a CONNACK that refuses. [MQTT-3.2.2-6]
    SessionPresentOnRefusal,
    /// A property identifier that does not exist.
    UnknownProperty(u8),
    /// A property that belongs in other packets.
    MisplacedProperty(PropertyId),
    /// A property, other than the user property, a second time.
    DuplicateProperty(PropertyId),
    /// A property with a value that it may not have.
    PropertyValue(PropertyId),
    /// Authentication data without an authentication method, or an AUTH without one.
    NoAuthenticationMethod,
    /// The first packet is not CONNECT. [MQTT-3.1.0-1]
    NotConnect,
    /// A second CONNECT. [MQTT-3.1.0-2]
    SecondConnect,
}

impl Fault {
    const fn blame(&self) -> Blame {
        match self {
            Self::ReservedPacketType
            | Self::ReservedFlags(_)
            | Self::ReservedBits(_)
            | Self::DupWithQos0
            | Self::VarintTooLong(_)
            | Self::VarintOverlong(_)
            | Self::RemainingLength { .. }
            | Self::Truncated(_)
            | Self::TrailingBytes(_)
            | Self::Utf8(_)
            | Self::NulCharacter(_)
            | Self::WillFlagsWithoutWill
            | Self::PasswordWithoutUserName
            | Self::UnknownProperty(_)
            | Self::MisplacedProperty(_) => Blame::Malformed, // the last two: 5.0 §2.2.2.2
            // 5.0 §3.8.3.1 calls it a Protocol Error in SUBSCRIBE, elsewhere it is malformed.
            Self::QosThree(Field::SubscriptionOptions) => Blame::ProtocolError,
            Self::QosThree(_) => Blame::Malformed,
            // A response topic parses as the string it is, and its value is what is not allowed.
            Self::Topic(Field::Property(_), _) => Blame::ProtocolError,
            Self::Topic(..) => Blame::Malformed,
            Self::PacketIdZero
            | Self::NoTopic
            | Self::EmptyPayload
            | Self::RetainHandlingThree
            | Self::NoLocalOnShare
            | Self::ReasonCode(_)
            | Self::SessionPresentOnRefusal
            | Self::DuplicateProperty(_)
            | Self::PropertyValue(_)
            | Self::NoAuthenticationMethod
            | Self::NotConnect
            | Self::SecondConnect => Blame::ProtocolError,
            Self::ProtocolName | Self::ProtocolLevel(_) => Blame::UnsupportedVersion,
            Self::PacketTooLarge { .. } => Blame::TooLarge,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedPacketType => f.write_str("reserved packet type"),
            Self::ReservedFlags(flags) => write!(f, "reserved header flags {flags:#06b}"),
            Self::ReservedBits(field) => write!(f, "reserved bits set in {field}"),
            Self::QosThree(field) => write!(f, "QoS 3 in {field}"),
            Self::DupWithQos0 => f.write_str("DUP set with QoS 0"),
            Self::VarintTooLong(field) => write!(f, "{field} takes more than four bytes"),
            Self::VarintOverlong(field) => write!(f, "{field} takes more bytes than its value needs"),
            Self::RemainingLength { expected, found } => {
                write!(f, "remaining length is {found} and must be {expected}")
            }
            Self::Truncated(field) => write!(f, "packet ends before the end of {field}"),
            Self::TrailingBytes(count) => write!(f, "{count} bytes too many at the end"),
            Self::PacketTooLarge { size, limit } => {
                write!(f, "packet of {size} bytes is over the limit of {limit}")
            }
            Self::Utf8(field) => write!(f, "{field} is not UTF-8"),
            Self::NulCharacter(field) => write!(f, "{field} contains U+0000"),
            Self::Topic(field, error) => write!(f, "{field} {error}"),
            Self::ProtocolName => f.write_str("protocol name is neither MQTT nor MQIsdp"),
            Self::ProtocolLevel(level) => write!(f, "protocol level {level} is not supported"),
            Self::WillFlagsWithoutWill => f.write_str("will QoS or will retain without a will"),
            Self::PasswordWithoutUserName => f.write_str("password without a user name"),
            Self::PacketIdZero => f.write_str("packet identifier is 0"),
            Self::NoTopic => f.write_str("neither topic name nor topic alias"),
            Self::EmptyPayload => f.write_str("payload is empty"),
            Self::RetainHandlingThree => f.write_str("retain handling 3"),
            Self::NoLocalOnShare => f.write_str("No Local on a shared subscription"),
            Self::ReasonCode(code) => write!(f, "reason code {code:#04x} is not for this packet"),
            Self::SessionPresentOnRefusal => f.write_str("session present with an error code"),
            Self::UnknownProperty(id) => write!(f, "unknown property {id:#04x}"),
            Self::MisplacedProperty(id) => write!(f, "property {id} is not for this packet"),
            Self::DuplicateProperty(id) => write!(f, "property {id} occurs twice"),
            Self::PropertyValue(id) => write!(f, "property {id} has a value that is not allowed"),
            Self::NoAuthenticationMethod => f.write_str("authentication method is missing"),
            Self::NotConnect => f.write_str("first packet is not CONNECT"),
            Self::SecondConnect => f.write_str("second CONNECT"),
        }
    }
}

/// A part of a packet, to say where a [`Fault`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// The low four bits of the first byte.
    HeaderFlags,
    /// How many bytes follow the header.
    RemainingLength,
    /// Of CONNECT.
    ProtocolName,
    /// Of CONNECT; 5.0 calls it protocol version.
    ProtocolLevel,
    /// Of CONNECT.
    ConnectFlags,
    /// Of CONNECT.
    KeepAlive,
    /// Of CONNECT.
    ClientId,
    /// Of CONNECT.
    WillTopic,
    /// Of CONNECT.
    WillPayload,
    /// Of CONNECT.
    UserName,
    /// Of CONNECT.
    Password,
    /// Of CONNACK: session present.
    ConnackFlags,
    /// Or return code.
    ReasonCode,
    /// Of PUBLISH.
    TopicName,
    /// The packet identifier.
    PacketId,
    /// What follows the variable header.
    Payload,
    /// Of SUBSCRIBE or UNSUBSCRIBE.
    TopicFilter,
    /// Of a filter in SUBSCRIBE; its QoS before 5.0.
    SubscriptionOptions,
    /// How many bytes of properties follow.
    PropertyLength,
    /// A property's value.
    Property(PropertyId),
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeaderFlags => "header flags",
            Self::RemainingLength => "remaining length",
            Self::ProtocolName => "protocol name",
            Self::ProtocolLevel => "protocol level",
            Self::ConnectFlags => "connect flags",
            Self::KeepAlive => "keep alive",
            Self::ClientId => "client identifier",
            Self::WillTopic => "will topic",
            Self::WillPayload => "will payload",
            Self::UserName => "user name",
            Self::Password => "password",
            Self::ConnackFlags => "connect acknowledge flags",
            Self::ReasonCode => "reason code",
            Self::TopicName => "topic name",
            Self::PacketId => "packet identifier",
            Self::Payload => "payload",
            Self::TopicFilter => "topic filter",
            Self::SubscriptionOptions => "subscription options",
            Self::PropertyLength => "property length",
            Self::Property(id) => return write!(f, "property {id}"),
        })
    }
}

/// Why a packet cannot be encoded: the fault is our own side's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary of more than 65,535 bytes.
    TooLong(Field),
    /// A packet of more than 268,435,455 bytes after its header.
    PacketTooLarge,
    /// A string with U+0000. [MQTT-1.5.4-2]
    NulCharacter(Field),
    /// Not a topic name, or (as a share) not a topic filter of 5.0.
    Topic(Field, TopicError),
    /// A packet that would break this rule of the protocol.
    Fault(Fault),
    /// A PUBLISH of QoS 0 with a packet identifier, or of QoS 1 or 2 without. [MQTT-2.2.1-2]
    PacketId,
    /// This version has no way to say it.
    NotInVersion(Field),
    /// This version has no packet of this type.
    NoSuchPacket(PacketType),
}

impl From<Fault> for EncodeError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(field) => write!(f, "{field} is longer than 65535 bytes"),
            Self::PacketTooLarge => f.write_str("packet is longer than 268435455 bytes"),
            Self::NulCharacter(field) => write!(f, "{field} contains U+0000"),
            Self::Topic(field, error) => write!(f, "{field} {error}"),
            Self::Fault(fault) => fault.fmt(f),
            Self::PacketId => f.write_str("packet identifier must be present with QoS 1 and 2 only"),
            Self::NotInVersion(field) => write!(f, "this protocol version cannot express the {field}"),
            Self::NoSuchPacket(packet_type) => write!(f, "this protocol version has no {packet_type}"),
        }
    }
}

impl core::error::Error for EncodeError {}
