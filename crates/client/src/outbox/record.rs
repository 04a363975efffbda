//! The bytes of an outbox's file: a head, then frames of changes.
//!
//! | bytes | |
//! |---|---|
//! | head, 12 | `mqwayob` and 0x0a, then the version of this format |
//! | frame | `frm` and 0x0a, length of its records (4), its number in the file from 0 on (8), checksum of all but itself (4), records |
//!
//! A record is a letter and its fields. Numbers are big-endian; a message is a PUBLISH of 5.0 with packet identifier 1.
//!
//! A frame that was not written whole is the last one, since the next is begun only when the disk has it.

use std::sync::Arc;

use mqway_codec::{EncodeError, Packet, PacketId, PropertiesBuf, Publish, Version, decode};
use mqway_session::client::{Change, Message, Ticket};

const MAGIC: &[u8; 8] = b"mqwayob\n";

/// The version of the format above.
pub(super) const FORMAT: u32 = 1;

pub(super) const HEAD: usize = 12;

const FRAME: &[u8; 4] = b"frm\n";

/// Bytes of a frame before its records.
pub(super) const FRAME_HEAD: usize = 20;

/// One entry of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// The client identifier that the outbox belongs to.
    ClientId(String),
    /// So many messages were accepted.
    Accepted(Ticket),
    Change(Change),
}

/// Why a file is not read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is none of ours.
    Foreign,
    /// Another version of the format.
    Format(u32),
}

pub(super) fn head() -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(MAGIC);
    head[8..].copy_from_slice(&FORMAT.to_be_bytes());
    head
}

pub(super) fn check_head(bytes: &[u8]) -> Result<(), Unreadable> {
    let version = bytes.strip_prefix(MAGIC).and_then(|rest| rest.first_chunk()).copied();
    match version.map(u32::from_be_bytes) {
        Some(FORMAT) => Ok(()),
        Some(other) => Err(Unreadable::Format(other)),
        None => Err(Unreadable::Foreign),
    }
}

/// Begins a frame; records are appended, and [`end_frame`] ends it.
pub(super) fn begin_frame(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(FRAME);
    out.resize(start + FRAME_HEAD, 0);
    start
}

pub(super) fn end_frame(out: &mut [u8], start: usize, number: u64) {
    let frame = &mut out[start..];
    let len = u32::try_from(frame.len() - FRAME_HEAD).expect("a frame is ended when it has enough");
    frame[4..8].copy_from_slice(&len.to_be_bytes());
    frame[8..16].copy_from_slice(&number.to_be_bytes());
    let sum = checksum(&[&frame[..16], &frame[FRAME_HEAD..]]);
    frame[16..20].copy_from_slice(&sum.to_be_bytes());
}

/// The head of a frame, whose records are still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHead {
    bytes: [u8; FRAME_HEAD],
    pub len: usize,
    pub number: u64,
}

impl FrameHead {
    pub fn read(bytes: &[u8]) -> Option<FrameHead> {
        let bytes = *bytes.first_chunk::<FRAME_HEAD>()?;
        let mut reader = Reader(bytes.strip_prefix(FRAME)?);
        let len = usize::try_from(u32::from_be_bytes(reader.array()?)).ok()?;
        let number = u64::from_be_bytes(reader.array()?);
        Some(FrameHead { bytes, len, number })
    }

    /// Whether these are its records.
    pub fn fits(&self, records: &[u8]) -> bool {
        let sum = checksum(&[&self.bytes[..16], records]);
        records.len() == self.len && self.bytes[16..] == sum.to_be_bytes()
    }
}

/// Whether a whole frame with at least this number begins anywhere.
pub(super) fn has_frame(bytes: &[u8], number: u64) -> bool {
    bytes.windows(FRAME.len()).enumerate().filter(|(_, window)| window == FRAME).any(|(at, _)| {
        let Some((head, records)) = bytes[at..].split_at_checked(FRAME_HEAD) else { return false };
        FrameHead::read(head).is_some_and(|head| {
            head.number >= number && records.get(..head.len).is_some_and(|records| head.fits(records))
        })
    })
}

pub(super) fn write_client_id(out: &mut Vec<u8>, client_id: &str) {
    // A client identifier of CONNECT is no longer than that; one that is could not connect.
    let len = u16::try_from(client_id.len()).unwrap_or(u16::MAX);
    out.push(b'c');
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&client_id.as_bytes()[..usize::from(len)]);
}

pub(super) fn write_accepted(out: &mut Vec<u8>, accepted: Ticket) {
    write_ticket(out, b'n', accepted);
}

/// # Errors
/// If a message cannot be written, which whoever accepted it has made sure of.
pub(super) fn write_change(out: &mut Vec<u8>, change: &Change) -> Result<(), EncodeError> {
    match change {
        Change::Accepted { ticket, message } => {
            write_ticket(out, b'a', *ticket);
            write_message(out, message)?;
        }
        Change::Sent { ticket, id } => {
            write_ticket(out, b's', *ticket);
            out.extend_from_slice(&id.value().to_be_bytes());
        }
        Change::Queued { ticket } => write_ticket(out, b'q', *ticket),
        Change::Released { ticket, id } => {
            write_ticket(out, b'r', *ticket);
            out.extend_from_slice(&id.value().to_be_bytes());
        }
        Change::Done { ticket } => write_ticket(out, b'd', *ticket),
        Change::Received { id } => write_id(out, b'i', *id),
        Change::Forgotten { id } => write_id(out, b'f', *id),
    }
    Ok(())
}

fn write_ticket(out: &mut Vec<u8>, letter: u8, ticket: Ticket) {
    out.push(letter);
    out.extend_from_slice(&ticket.to_be_bytes());
}

fn write_id(out: &mut Vec<u8>, letter: u8, id: PacketId) {
    out.push(letter);
    out.extend_from_slice(&id.value().to_be_bytes());
}

fn write_message(out: &mut Vec<u8>, message: &Message) -> Result<(), EncodeError> {
    let publish = Publish {
        dup: false,
        qos: message.qos,
        retain: message.retain,
        topic: &message.topic,
        packet_id: PacketId::new(1),
        properties: message.properties.as_properties(),
        payload: &message.payload,
    };
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    publish.encode(Version::V5, out)?;
    let len = u32::try_from(out.len() - at - 4).expect("a packet has at most 268,435,460 bytes");
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

/// The records of a frame. `None` for what is none.
pub(super) fn read_records(bytes: &[u8]) -> impl Iterator<Item = Option<Record>> {
    let mut reader = Reader(bytes);
    let mut sound = true;
    std::iter::from_fn(move || {
        if reader.0.is_empty() || !sound {
            return None;
        }
        let record = reader.record();
        sound = record.is_some();
        Some(record)
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn ticket(&mut self) -> Option<Ticket> {
        self.array().map(u64::from_be_bytes)
    }

    fn id(&mut self) -> Option<PacketId> {
        self.array().map(u16::from_be_bytes).and_then(PacketId::new)
    }

    fn record(&mut self) -> Option<Record> {
        let change = match self.array()? {
            [b'c'] => {
                let len = u16::from_be_bytes(self.array()?);
                let name = std::str::from_utf8(self.take(usize::from(len))?).ok()?;
                return Some(Record::ClientId(name.to_owned()));
            }
            [b'n'] => return Some(Record::Accepted(self.ticket()?)),
            [b'a'] => Change::Accepted { ticket: self.ticket()?, message: Arc::new(self.message()?) },
            [b's'] => Change::Sent { ticket: self.ticket()?, id: self.id()? },
            [b'q'] => Change::Queued { ticket: self.ticket()? },
            [b'r'] => Change::Released { ticket: self.ticket()?, id: self.id()? },
            [b'd'] => Change::Done { ticket: self.ticket()? },
            [b'i'] => Change::Received { id: self.id()? },
            [b'f'] => Change::Forgotten { id: self.id()? },
            _ => return None,
        };
        Some(Record::Change(change))
    }

    fn message(&mut self) -> Option<Message> {
        let len = usize::try_from(u32::from_be_bytes(self.array()?)).ok()?;
        let Ok(Packet::Publish(publish)) = decode(Version::V5, self.take(len)?) else {
            return None;
        };
        publish.packet_id?;
        Some(Message {
            topic: publish.topic.into(),
            payload: publish.payload.into(),
            qos: publish.qos,
            retain: publish.retain,
            properties: PropertiesBuf::from(publish.properties),
        })
    }
}

/// CRC-32 as in Ethernet (IEEE 802.3), of all parts in turn.
fn checksum(parts: &[&[u8]]) -> u32 {
    let next = |sum: u32, byte: &u8| (sum >> 8) ^ TABLE[usize::from(sum as u8 ^ byte)];
    !parts.iter().copied().flatten().fold(u32::MAX, next)
}

/// The remainder of each byte.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut sum = index as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(checksum(&[b"1234", b"56789"]), 0xcbf4_3926);
    }
}
