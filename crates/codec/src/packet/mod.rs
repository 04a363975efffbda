//! The control packets, one file each.

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod publish;
mod suback;
mod subscribe;
mod unsuback;
mod unsubscribe;

use alloc::vec::Vec;
use core::fmt;

pub use ack::Ack;
use ack::AckBody;
pub use auth::Auth;
pub use connack::Connack;
pub use connect::{Connect, Will, version_for_unknown_level};
pub use disconnect::Disconnect;
pub use publish::Publish;
pub use suback::{ReasonCodes, ReasonCodesBuf, Suback};
pub use subscribe::{
    RetainHandling, Subscribe, SubscribeOptions, Subscription, Subscriptions, SubscriptionsBuf,
};
pub use unsuback::Unsuback;
pub use unsubscribe::{TopicFilters, TopicFiltersBuf, Unsubscribe};

use crate::error::{DecodeError, EncodeError, Fault, Field};
use crate::reader::Reader;
use crate::writer::{self, Body};
use crate::{Header, PacketType, Properties, ReasonCode, Version};

/// Evaluates `$result` with `$body` bound to the [`Body`] of `$packet`, whichever it is.
macro_rules! with_body {
    ($packet:expr, $body:ident => $result:expr) => {{
        let packet_type = $packet.packet_type();
        match $packet {
            Packet::Connect($body) => $result,
            Packet::Connack($body) => $result,
            Packet::Publish($body) => $result,
            Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
                let $body = &AckBody { packet_type, ack };
                $result
            }
            Packet::Subscribe($body) => $result,
            Packet::Suback($body) => $result,
            Packet::Unsubscribe($body) => $result,
            Packet::Unsuback($body) => $result,
            Packet::Pingreq | Packet::Pingresp => {
                let $body = &Ping(packet_type);
                $result
            }
            Packet::Disconnect($body) => $result,
            Packet::Auth($body) => $result,
        }
    }};
}

/// A control packet. What it holds, it borrows from the bytes that it was decoded from.
///
/// Two packets are equal if they encode to the same bytes in their version: a PUBACK that came in a longer form than it
/// needs differs from the short one, though they say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// [`PacketType::Connect`]
    Connect(Connect<'a>),
    /// [`PacketType::Connack`]
    Connack(Connack<'a>),
    /// [`PacketType::Publish`]
    Publish(Publish<'a>),
    /// [`PacketType::Puback`]
    Puback(Ack<'a>),
    /// [`PacketType::Pubrec`]
    Pubrec(Ack<'a>),
    /// [`PacketType::Pubrel`]
    Pubrel(Ack<'a>),
    /// [`PacketType::Pubcomp`]
    Pubcomp(Ack<'a>),
    /// [`PacketType::Subscribe`]
    Subscribe(Subscribe<'a>),
    /// [`PacketType::Suback`]
    Suback(Suback<'a>),
    /// [`PacketType::Unsubscribe`]
    Unsubscribe(Unsubscribe<'a>),
    /// [`PacketType::Unsuback`]
    Unsuback(Unsuback<'a>),
    /// [`PacketType::Pingreq`]
    Pingreq,
    /// [`PacketType::Pingresp`]
    Pingresp,
    /// [`PacketType::Disconnect`]
    Disconnect(Disconnect<'a>),
    /// [`PacketType::Auth`]
    Auth(Auth<'a>),
}

impl<'a> Packet<'a> {
    /// Its type.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::Connack(_) => PacketType::Connack,
            Self::Publish(_) => PacketType::Publish,
            Self::Puback(_) => PacketType::Puback,
            Self::Pubrec(_) => PacketType::Pubrec,
            Self::Pubrel(_) => PacketType::Pubrel,
            Self::Pubcomp(_) => PacketType::Pubcomp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::Suback(_) => PacketType::Suback,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::Unsuback(_) => PacketType::Unsuback,
            Self::Pingreq => PacketType::Pingreq,
            Self::Pingresp => PacketType::Pingresp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// Appends the packet to `out`, which it leaves as it was if it fails. A CONNECT goes by its own version, not by
    /// `version`.
    ///
    /// Before 5.0 there are no properties, and those given here are left out: a message with properties can go to
    /// subscribers of any version as it is.
    ///
    /// # Errors
    /// Whatever [`decode`](crate::decode) would refuse, and what `version` cannot express.
    #[inline]
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        with_body!(self, body => writer::encode(body, version, out))
    }

    /// The length of what [`Packet::encode`] appends when it succeeds.
    pub fn encoded_len(&self, version: Version) -> usize {
        with_body!(self, body => writer::encoded_len(body, version))
    }

    /// Decodes what follows `header`, which has been checked for `version`, and gives what `then` makes of it.
    ///
    /// A packet is 144 bytes large, most of them CONNECT's. PUBLISH and acknowledgements without a reason, nearly all
    /// of a busy stream, are apart from the rest: each is written once, straight to where `then` wants it, instead of
    /// being moved through every `Result` on the way. It takes half the time.
    #[inline(always)]
    pub(crate) fn read_then<T>(
        version: Version,
        header: &Header,
        body: &'a [u8],
        mut then: impl FnMut(Result<Self, DecodeError>) -> T,
    ) -> T {
        if header.packet_type == PacketType::Publish {
            return Publish::read_then(
                version,
                header.flags,
                &mut Reader::new(body),
                |publish| match publish {
                    Ok(publish) => then(Ok(Self::Publish(publish))),
                    Err(fault) => {
                        then(Err(DecodeError::new(fault).in_packet(PacketType::Publish).in_version(version)))
                    }
                },
            );
        }
        if let Some(ack) = Ack::bare(header, body) {
            match header.packet_type {
                PacketType::Puback => return then(Ok(Self::Puback(ack))),
                PacketType::Pubrec => return then(Ok(Self::Pubrec(ack))),
                PacketType::Pubrel => return then(Ok(Self::Pubrel(ack))),
                PacketType::Pubcomp => return then(Ok(Self::Pubcomp(ack))),
                _ => {}
            }
        }
        then(Self::read_other(version, header, body))
    }

    #[inline(never)]
    fn read_other(version: Version, header: &Header, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_type = header.packet_type;
        let decoded = match packet_type {
            PacketType::Connect => return Connect::read(header, reader).map(Self::Connect),
            PacketType::Connack => Connack::read(version, &mut reader).map(Self::Connack),
            PacketType::Publish => {
                Publish::read_then(version, header.flags, &mut reader, |publish| publish).map(Self::Publish)
            }
            PacketType::Puback => Ack::read(version, header, &mut reader).map(Self::Puback),
            PacketType::Pubrec => Ack::read(version, header, &mut reader).map(Self::Pubrec),
            PacketType::Pubrel => Ack::read(version, header, &mut reader).map(Self::Pubrel),
            PacketType::Pubcomp => Ack::read(version, header, &mut reader).map(Self::Pubcomp),
            PacketType::Subscribe => Subscribe::read(version, header.flags, &mut reader).map(Self::Subscribe),
            PacketType::Suback => Suback::read(version, &mut reader).map(Self::Suback),
            PacketType::Unsubscribe => {
                Unsubscribe::read(version, header.flags, &mut reader).map(Self::Unsubscribe)
            }
            PacketType::Unsuback => Unsuback::read(version, &mut reader).map(Self::Unsuback),
            PacketType::Pingreq => Ok(Self::Pingreq),
            PacketType::Pingresp => Ok(Self::Pingresp),
            PacketType::Disconnect => Disconnect::read(version, &mut reader).map(Self::Disconnect),
            PacketType::Auth => Auth::read(&mut reader).map(Self::Auth),
        };
        let fault = match decoded {
            Ok(packet) if reader.is_empty() => return Ok(packet),
            Ok(_) => Fault::TrailingBytes(reader.remaining()),
            Err(fault) => fault,
        };
        Err(DecodeError::new(fault).in_packet(packet_type).in_version(version))
    }
}

/// PINGREQ and PINGRESP: a header and nothing else.
struct Ping(PacketType);

impl Body for Ping {
    fn check(&self, _: Version) -> Result<(), EncodeError> {
        Ok(())
    }

    fn first_byte(&self, _: Version) -> u8 {
        self.0.first_byte()
    }

    fn len(&self, _: Version) -> usize {
        0
    }

    fn write(&self, _: Version, _: &mut Vec<u8>) {}
}

/// How much of the end of a 5.0 packet is written out (PUBACK and its like, DISCONNECT, AUTH). A packet keeps one that
/// is longer than it need be, so that encoding gives the same bytes back; any other is `Nothing`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Tail {
    /// Neither reason code nor properties: success, and none.
    #[default]
    Nothing,
    /// The reason code.
    Reason,
    /// The reason code and the properties.
    Properties,
}

impl Tail {
    /// What to keep of a packet that came with `self`.
    fn kept(self, reason: ReasonCode, properties: &Properties<'_>) -> Self {
        if self == Self::Nothing.needed(reason, properties) { Self::Nothing } else { self }
    }

    /// What must be written for these values, where `self` was kept.
    fn needed(self, reason: ReasonCode, properties: &Properties<'_>) -> Self {
        let least = match (reason, properties.is_empty()) {
            (_, false) => Self::Properties,
            (ReasonCode::Success, true) => Self::Nothing,
            (_, true) => Self::Reason,
        };
        self.max(least)
    }

    fn len(self, properties: &Properties<'_>) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Reason => 1,
            Self::Properties => 1 + properties.encoded_len(),
        }
    }

    fn write(self, reason: ReasonCode, properties: &Properties<'_>, out: &mut Vec<u8>) {
        if self >= Self::Reason {
            out.push(reason.code());
        }
        if self == Self::Properties {
            properties.write(out);
        }
    }
}

/// Reads a reason code, which must be one that `packet_type` may carry.
fn read_reason(packet_type: PacketType, reader: &mut Reader<'_>) -> Result<ReasonCode, Fault> {
    let code = reader.u8(Field::ReasonCode)?;
    ReasonCode::from_u8(code)
        .filter(|reason| reason.is_allowed_in(packet_type))
        .ok_or(Fault::ReasonCode(code))
}

/// Refuses a reason code that `packet_type` may not carry.
fn check_reason(packet_type: PacketType, reason: ReasonCode) -> Result<(), EncodeError> {
    if reason.is_allowed_in(packet_type) { Ok(()) } else { Err(Fault::ReasonCode(reason.code()).into()) }
}

/// Prints only the length of what may be long, or secret.
struct Bytes<'a>(&'a [u8]);

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Makes a [`Packet`] of each packet that has a struct to itself.
macro_rules! packets {
    ($($name:ident)*) => {
        $(impl<'a> From<$name<'a>> for Packet<'a> {
            fn from(packet: $name<'a>) -> Self {
                Self::$name(packet)
            }
        })*
    };
}

packets! { Connect Connack Publish Subscribe Suback Unsubscribe Unsuback Disconnect Auth }
