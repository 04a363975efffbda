use crate::error::{DecodeError, Fault, Field};
use crate::header::FirstByte;
use crate::{Header, Packet, PacketId, PacketType, Publish, Version};

/// Decodes one packet, which is all of `bytes`. A CONNECT is read by the version it names, whatever `version` is.
///
/// # Errors
/// Whatever makes it no packet of that version.
#[inline]
pub fn decode(version: Version, bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let Some(header) = Header::peek(bytes)? else {
        return Err(DecodeError::new(Fault::Truncated(Field::RemainingLength)).in_version(version));
    };
    header.check(version)?;
    let error = |fault| DecodeError::new(fault).in_packet(header.packet_type).in_version(version);
    match bytes.len().checked_sub(header.packet_len()) {
        Some(0) => {}
        Some(extra) => return Err(error(Fault::TrailingBytes(extra))),
        None => return Err(error(Fault::Truncated(Field::Payload))),
    }
    let (_, body) = bytes.split_at(header.header_len());
    Packet::read_then(version, &header, body, |packet| packet)
}

/// Takes packets off the front of a stream that comes in pieces of any size.
///
/// It owns no buffer: the caller keeps what has come and was not yet taken, and offers it again with more behind it.
/// Nothing is stored between calls but the version, and a call for a packet that isn't complete reads its header only.
///
/// ```
/// use mqway_codec::{Decoder, Packet};
///
/// let stream = b"\x10\x0C\x00\x04MQTT\x04\x02\x00\x3C\x00\x00\xC0\x00\xC0";
/// let mut decoder = Decoder::new(64 * 1024);
/// let mut rest = &stream[..];
/// let mut seen = Vec::new();
/// while let Some((packet, consumed)) = decoder.next(rest)? {
///     seen.push(packet.packet_type().name());
///     rest = &rest[consumed..];
/// }
/// assert_eq!(seen, ["CONNECT", "PINGREQ"]);
/// assert_eq!(rest, b"\xC0", "the start of a packet waits for the rest of it");
/// # Ok::<(), mqway_codec::DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    version: Option<Version>,
    limit: usize,
}

impl Decoder {
    /// The server's: the first packet must be CONNECT, which sets the version. No packet may be larger than `limit`
    /// bytes in all, header included: what Maximum Packet Size means.
    pub const fn new(limit: usize) -> Self {
        Self { version: None, limit }
    }

    /// The client's: it has sent CONNECT, and so knows the version.
    pub const fn with_version(version: Version, limit: usize) -> Self {
        Self { version: Some(version), limit }
    }

    /// The version of the connection; `None` until CONNECT was seen.
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// Sets the version by which the packets from here on are decoded.
    pub const fn set_version(&mut self, version: Version) {
        self.version = Some(version);
    }

    /// Sets the limit for packets from here on: another one may hold before CONNECT than after it.
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The packet at the start of `bytes` and its length in bytes; `Ok(None)` if it isn't complete. The packet borrows
    /// from `bytes`, which the caller then goes on behind it.
    ///
    /// # Errors
    /// As soon as the bytes present prove the fault: a header that can't be, or a length over the limit, is refused
    /// before the packet has come. After an error the stream cannot be read any further, and every call with the same
    /// bytes gives the same error.
    #[inline]
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(Packet<'a>, usize)>, DecodeError> {
        let Some(header) = self.header(bytes)? else { return Ok(None) };
        let len = header.packet_len();
        let Some(body) = bytes.get(header.header_len()..len) else { return Ok(None) };
        // Before CONNECT, header() lets pass nothing but CONNECT, which names its version itself.
        let version = self.version.unwrap_or(Version::V5);
        Packet::read_then(version, &header, body, |packet| {
            let packet = packet?;
            if let Packet::Connect(connect) = &packet {
                self.version = Some(connect.version);
            }
            Ok(Some((packet, len)))
        })
    }

    /// The PUBACK, PUBREC, PUBREL or PUBCOMP at the start of `bytes`, if it is [`BARE_ACK`](Self::BARE_ACK) bytes long: a
    /// header and an identifier, which in every version means success. Nearly all are, and come in rows. Whatever else
    /// begins there is for [`Decoder::next`], which gives the same for these.
    #[inline]
    pub fn bare_ack(&self, bytes: &[u8]) -> Option<(PacketType, PacketId)> {
        let [first, 2, high, low, ..] = *bytes else { return None };
        let packet_type = match first {
            0x40 => PacketType::Puback,
            0x50 => PacketType::Pubrec,
            0x62 => PacketType::Pubrel,
            0x70 => PacketType::Pubcomp,
            _ => return None,
        };
        let id = PacketId::new(u16::from_be_bytes([high, low]))?;
        (self.version.is_some() && self.limit >= Self::BARE_ACK).then_some((packet_type, id))
    }

    /// The length of what [`Decoder::bare_ack`] takes.
    pub const BARE_ACK: usize = 4;

    /// The header of the packet at the start of `bytes`, checked as [`Decoder::next`] does; `Ok(None)` if it isn't
    /// complete. Its [`packet_len`](Header::packet_len) says how many bytes to wait for.
    ///
    /// # Errors
    /// As [`Decoder::next`].
    #[inline]
    pub fn header(&self, bytes: &[u8]) -> Result<Option<Header>, DecodeError> {
        // In the order of the bytes: where the stream was cut must not decide which of two faults is found.
        let Some(first) = FirstByte::peek(bytes)? else { return Ok(None) };
        match self.version {
            // A PUBLISH that is one in any version, and where it may be.
            Some(_) if first.packet_type == PacketType::Publish => {}
            Some(version) => self.check_order(first.packet_type).and_then(|()| first.check(version))?,
            None => self.check_order(first.packet_type)?,
        }
        let Some(header) = first.with_length(bytes)? else { return Ok(None) };
        if let Some(version) = self.version {
            header.check_length(version)?;
        }
        let (size, limit) = (header.packet_len(), self.limit);
        if size > limit {
            return Err(self.error(Fault::PacketTooLarge { size, limit }, header.packet_type));
        }
        Ok(Some(header))
    }

    /// A PUBLISH of which everything before the payload has come, and of the payload perhaps a part: what is in
    /// `bytes` of it. With it a large message can be judged, and passed on, while it still arrives. `header` is what
    /// [`Decoder::header`] gave for `bytes`. `Ok(None)` if more is needed, or if the packet is no PUBLISH.
    ///
    /// # Errors
    /// As [`Decoder::next`].
    pub fn publish_start<'a>(
        &self,
        header: &Header,
        bytes: &'a [u8],
    ) -> Result<Option<Publish<'a>>, DecodeError> {
        let end = header.packet_len().min(bytes.len());
        let (PacketType::Publish, Some(body)) = (header.packet_type, bytes.get(header.header_len()..end))
        else {
            return Ok(None);
        };
        match Packet::read_then(self.version.unwrap_or(Version::V5), header, body, |packet| packet) {
            Ok(Packet::Publish(publish)) => Ok(Some(publish)),
            Ok(_) => Ok(None),
            Err(error) => match error.fault() {
                // Properties are read once all have come: one that ends beyond them always will.
                Fault::Truncated(Field::Property(_)) => Err(error),
                // Any other field that ends beyond what has come may still end within the packet.
                Fault::Truncated(_) if end < header.packet_len() => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// CONNECT comes first, and once.
    #[inline]
    fn check_order(&self, packet_type: PacketType) -> Result<(), DecodeError> {
        match (self.version, packet_type) {
            (None, PacketType::Connect) => Ok(()),
            (None, _) => Err(self.error(Fault::NotConnect, packet_type)), // [MQTT-3.1.0-1]
            (Some(_), PacketType::Connect) => Err(self.error(Fault::SecondConnect, packet_type)), // [MQTT-3.1.0-2]
            (Some(_), _) => Ok(()),
        }
    }

    #[cold]
    fn error(&self, fault: Fault, packet_type: PacketType) -> DecodeError {
        let error = DecodeError::new(fault).in_packet(packet_type);
        match self.version {
            Some(version) => error.in_version(version),
            None => error,
        }
    }
}
