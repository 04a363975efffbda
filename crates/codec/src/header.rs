use core::fmt;

use crate::error::{DecodeError, Fault, Field};

use crate::varint;
use crate::{PacketId, QoS, Version};

/// The type of a control packet: the high four bits of its first byte (5.0 §2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// Client to server: opens the connection.
    Connect = 1,
    /// Server to client: the answer to CONNECT.
    Connack = 2,
    /// Either way: a message.
    Publish = 3,
    /// Either way: a message of QoS 1 has arrived.
    Puback = 4,
    /// Either way: a message of QoS 2 has arrived.
    Pubrec = 5,
    /// Either way: the sender of a message of QoS 2 forgets it.
    Pubrel = 6,
    /// Either way: the receiver of a message of QoS 2 has forgotten its identifier.
    Pubcomp = 7,
    /// Client to server: makes subscriptions.
    Subscribe = 8,
    /// Server to client: the answer to SUBSCRIBE.
    Suback = 9,
    /// Client to server: removes subscriptions.
    Unsubscribe = 10,
    /// Server to client: the answer to UNSUBSCRIBE.
    Unsuback = 11,
    /// Client to server: is anybody there?
    Pingreq = 12,
    /// Server to client: yes.
    Pingresp = 13,
    /// Closes the connection: from the client, since 5.0 from either.
    Disconnect = 14,
    /// Either way, since 5.0: a step of enhanced authentication.
    Auth = 15,
}

impl PacketType {
    /// The type with this number; `None` for 0 and above 15.
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Connect,
            2 => Self::Connack,
            3 => Self::Publish,
            4 => Self::Puback,
            5 => Self::Pubrec,
            6 => Self::Pubrel,
            7 => Self::Pubcomp,
            8 => Self::Subscribe,
            9 => Self::Suback,
            10 => Self::Unsubscribe,
            11 => Self::Unsuback,
            12 => Self::Pingreq,
            13 => Self::Pingresp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// `CONNECT`, `CONNACK`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Connack => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::Puback => "PUBACK",
            Self::Pubrec => "PUBREC",
            Self::Pubrel => "PUBREL",
            Self::Pubcomp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::Suback => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Unsuback => "UNSUBACK",
            Self::Pingreq => "PINGREQ",
            Self::Pingresp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// The first byte of a packet of this type, without PUBLISH's own flags.
    pub(crate) const fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.reserved_flags()
    }

    /// What the four flag bits must be (5.0 §2.1.3), PUBLISH apart.
    const fn reserved_flags(self) -> u8 {
        match self {
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        }
    }

    /// Whether the flags are those of a packet that 3.1 sends again with DUP (3.1 §2.1); later only PUBLISH has it.
    const fn is_repeated(self, flags: u8) -> bool {
        matches!(self, Self::Pubrel | Self::Subscribe | Self::Unsubscribe)
            && flags == DUP | self.reserved_flags()
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The DUP bit of the first byte.
pub(crate) const DUP: u8 = 0b1000;
/// The RETAIN bit of the first byte.
pub(crate) const RETAIN: u8 = 0b0001;

/// The fixed header of a packet: its first two to five bytes (5.0 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the packet is.
    pub packet_type: PacketType,
    /// The low four bits of the first byte; PUBLISH keeps DUP, QoS and RETAIN there.
    pub flags: u8,
    /// Bytes after the header, at most 268,435,455.
    pub remaining_length: u32,
    length_len: u8,
}

impl Header {
    /// Reads the header at the start of `bytes`. `Ok(None)` if more bytes are needed.
    ///
    /// # Errors
    /// As soon as the bytes present prove that no version can have a packet that starts so: type 0, flags that are
    /// reserved, QoS 3, DUP with QoS 0, a remaining length of more than four bytes. What depends on the version is
    /// for [`Header::check`].
    #[inline]
    pub fn peek(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        match FirstByte::peek(bytes)? {
            Some(first) => first.with_length(bytes),
            None => Ok(None),
        }
    }

    /// Refuses what `version` does not allow in a header. CONNECT is judged by the version it names itself, so here
    /// it passes.
    ///
    /// # Errors
    /// AUTH before 5.0, DUP on anything but PUBLISH after 3.1, a remaining length in more bytes than needed (5.0
    /// only) or one that a packet of this type cannot have.
    #[inline]
    pub fn check(&self, version: Version) -> Result<(), DecodeError> {
        FirstByte { packet_type: self.packet_type, flags: self.flags }.check(version)?;
        self.check_length(version)
    }

    /// The part of [`Header::check`] that needs the length.
    #[inline]
    pub(crate) fn check_length(&self, version: Version) -> Result<(), DecodeError> {
        let found = self.remaining_length;
        let fault = match self.packet_type {
            PacketType::Connect => return Ok(()),
            packet_type => match fixed_length(packet_type, version) {
                Some(expected) if expected != found => Fault::RemainingLength { expected, found },
                _ if version == Version::V5 && self.is_overlong() => {
                    Fault::VarintOverlong(Field::RemainingLength)
                }
                _ => return Ok(()),
            },
        };
        Err(DecodeError::new(fault).in_packet(self.packet_type).in_version(version))
    }

    /// Whether fewer bytes could have held the remaining length. [MQTT-1.5.5-1]
    pub(crate) const fn is_overlong(&self) -> bool {
        self.length_len as usize != varint::len(self.remaining_length)
    }

    /// Bytes of the header itself: 2 to 5.
    #[inline]
    pub const fn header_len(&self) -> usize {
        1 + self.length_len as usize
    }

    /// Bytes of the whole packet: header and remaining length.
    #[inline]
    pub const fn packet_len(&self) -> usize {
        self.header_len() + self.remaining_length as usize
    }

    /// The DUP flag, if this is a PUBLISH.
    pub const fn dup(&self) -> bool {
        matches!(self.packet_type, PacketType::Publish) && self.flags & DUP != 0
    }

    /// The QoS, if this is a PUBLISH.
    pub const fn qos(&self) -> Option<QoS> {
        match self.packet_type {
            PacketType::Publish => QoS::from_u8(self.flags >> 1 & 0b11),
            _ => None,
        }
    }

    /// The RETAIN flag, if this is a PUBLISH.
    pub const fn retain(&self) -> bool {
        matches!(self.packet_type, PacketType::Publish) && self.flags & RETAIN != 0
    }

    /// Where the packet identifier stands in `packet`, which starts with this header; `None` if packets of this kind
    /// have none or the bytes end before it. With it a packet can be given another identifier in place.
    pub fn packet_id_offset(&self, packet: &[u8]) -> Option<usize> {
        let start = self.header_len();
        let offset = match self.packet_type {
            PacketType::Publish if self.qos()? == QoS::AtMostOnce => return None,
            PacketType::Publish => {
                let length = packet.get(start..)?.first_chunk::<2>()?;
                start + 2 + usize::from(u16::from_be_bytes(*length))
            }
            PacketType::Puback
            | PacketType::Pubrec
            | PacketType::Pubrel
            | PacketType::Pubcomp
            | PacketType::Subscribe
            | PacketType::Suback
            | PacketType::Unsubscribe
            | PacketType::Unsuback => start,
            _ => return None,
        };
        (offset + 2 <= packet.len().min(self.packet_len())).then_some(offset)
    }

    /// The packet identifier of `packet`, which starts with this header, without decoding the rest; `None` as for
    /// [`Header::packet_id_offset`], and where it is zero.
    pub fn packet_id(&self, packet: &[u8]) -> Option<PacketId> {
        let offset = self.packet_id_offset(packet)?;
        PacketId::new(u16::from_be_bytes(*packet.get(offset..)?.first_chunk()?))
    }
}

/// The first byte of a packet, as far as some version allows it.
#[derive(Clone, Copy)]
pub(crate) struct FirstByte {
    pub(crate) packet_type: PacketType,
    flags: u8,
}

impl FirstByte {
    /// Reads it; `Ok(None)` if there is none.
    #[inline(always)]
    pub(crate) fn peek(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let flags = first & 0x0F;
        // PUBLISH first, and the rest out of its way: it is nearly all of a busy stream.
        if first >> 4 != PacketType::Publish as u8 {
            return Self::new_other(first >> 4, flags).map(Some);
        }
        let packet_type = PacketType::Publish;
        let fault = match flags & 0b1110 {
            0b0110 | 0b1110 => Fault::QosThree(Field::HeaderFlags), // [MQTT-3.3.1-4]
            DUP => Fault::DupWithQos0,                              // [MQTT-3.3.1-2]
            _ => return Ok(Some(Self { packet_type, flags })),
        };
        Err(DecodeError::new(fault).in_packet(packet_type))
    }

    #[inline(never)]
    fn new_other(packet_type: u8, flags: u8) -> Result<Self, DecodeError> {
        let Some(packet_type) = PacketType::from_u8(packet_type) else {
            return Err(DecodeError::new(Fault::ReservedPacketType));
        };
        if flags == packet_type.reserved_flags() || packet_type.is_repeated(flags) {
            Ok(Self { packet_type, flags })
        } else {
            // [MQTT-2.1.3-1], [MQTT-3.14.1-1], [MQTT-3.15.1-1]; 3.1.1: [MQTT-2.2.2-2]
            Err(DecodeError::new(Fault::ReservedFlags(flags)).in_packet(packet_type))
        }
    }

    /// Refuses what `version` does not allow.
    #[inline]
    pub(crate) fn check(self, version: Version) -> Result<(), DecodeError> {
        let fault = match self.packet_type {
            PacketType::Auth if version != Version::V5 => Fault::ReservedPacketType,
            // [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1]
            packet_type if version != Version::V3_1 && packet_type.is_repeated(self.flags) => {
                Fault::ReservedFlags(self.flags)
            }
            _ => return Ok(()),
        };
        Err(DecodeError::new(fault).in_packet(self.packet_type).in_version(version))
    }

    /// The header that begins with it at the start of `bytes`; `Ok(None)` if it isn't complete.
    #[inline(always)]
    pub(crate) fn with_length(self, bytes: &[u8]) -> Result<Option<Header>, DecodeError> {
        let Self { packet_type, flags } = self;
        match varint::read(bytes.get(1..).unwrap_or_default()) {
            Ok(Some(varint::Varint { value, len })) => {
                Ok(Some(Header { packet_type, flags, remaining_length: value, length_len: len }))
            }
            Ok(None) => Ok(None),
            Err(varint::TooLong) => {
                Err(DecodeError::new(Fault::VarintTooLong(Field::RemainingLength)).in_packet(packet_type))
            }
        }
    }
}

/// The remaining length that every packet of this type has in `version`, where there is but one.
const fn fixed_length(packet_type: PacketType, version: Version) -> Option<u32> {
    match packet_type {
        PacketType::Publish => None,
        PacketType::Pingreq | PacketType::Pingresp => Some(0),
        _ if matches!(version, Version::V5) => None,
        PacketType::Disconnect => Some(0),
        PacketType::Connack
        | PacketType::Puback
        | PacketType::Pubrec
        | PacketType::Pubrel
        | PacketType::Pubcomp
        | PacketType::Unsuback => Some(2),
        _ => None,
    }
}
