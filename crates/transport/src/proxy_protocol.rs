//! The PROXY protocol: a load balancer says, before the first byte of a connection, whose connection it is.
//!
//! Both versions of HAProxy's specification (2020/03/05) are told apart by their first byte. Clauses below are
//! its sections.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[cfg(test)]
mod tests;

/// What a complete header said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The connection of `source`, who had connected to `destination`.
    Proxied {
        /// The client's address.
        source: SocketAddr,
        /// The address that the client had dialled.
        destination: SocketAddr,
    },
    /// The sender speaks for itself (a health check), or knows no address that we could use: those of the socket
    /// count (`LOCAL`, `UNKNOWN`, unspecified and Unix addresses).
    Unproxied,
}

/// Why bytes are not a PROXY protocol header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The connection begins with something else.
    Absent,
    /// Version 1: the line does not end within [`MAX_V1`] bytes.
    LineTooLong,
    /// Version 1: the line does not read `PROXY TCP4|TCP6 source destination port port`.
    Line,
    /// Version 2: another version or an unknown command.
    VersionOrCommand(u8),
    /// Version 2: an address family or protocol that no stream connection has.
    Family(u8),
    /// Version 2: shorter than its addresses.
    Length(u16),
}

/// The longest line of version 1 with its CR LF, in bytes (§2.1).
pub const MAX_V1: usize = 107;

/// The bytes that every header of version 2 begins with (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with (§2.1).
const V1_START: &[u8; 6] = b"PROXY ";
/// Signature, version and command, family, length (§2.2).
const V2_FIXED: usize = 16;
/// Addresses and ports of IPv4, of IPv6, and the paths of Unix sockets (§2.2).
const V4_BLOCK: u16 = 12;
const V6_BLOCK: u16 = 36;
const UNIX_BLOCK: u16 = 216;
/// What a parser may ever keep: the fixed part and the addresses of IPv6, or the line of version 1.
const MAX_KEPT: usize = MAX_V1;

/// Reads one header, fed in any pieces. Keeps at most 107 bytes: additional fields (TLVs) are skipped as they come.
#[derive(Debug, Default)]
pub struct Parser {
    kept: Vec<u8>,
    /// Set once the addresses of version 2 are known: the result, and how many bytes are still to skip.
    skipping: Option<(Header, usize)>,
}

impl Parser {
    /// Takes bytes from the front of `input`; tells how many, and the header once it is complete. Whatever follows
    /// the header is left.
    ///
    /// # Errors
    /// As soon as the bytes cannot become a header. The connection must be dropped (§2).
    pub fn feed(&mut self, input: &[u8]) -> Result<(usize, Option<Header>), Malformed> {
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            if let Some((header, left)) = self.skipping {
                let skipped = left.min(rest.len());
                self.skipping = Some((header, left - skipped));
                return Ok((used + skipped, (skipped == left).then_some(header)));
            }
            let wanted = match self.wanted()? {
                Wanted::Bytes(count) => count.min(rest.len()),
                Wanted::Line => rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |at| at + 1),
            };
            let taken = wanted.min(MAX_KEPT - self.kept.len());
            self.kept.extend_from_slice(&rest[..taken]);
            used += taken;
            if let Some(header) = self.parse()? {
                return Ok((used, Some(header)));
            }
            if taken == 0 && self.skipping.is_none() {
                return Ok((used, None));
            }
        }
    }

    /// What the next step needs.
    fn wanted(&self) -> Result<Wanted, Malformed> {
        let kept = self.kept.len();
        let bytes = |total: usize| Wanted::Bytes(total.saturating_sub(kept));
        Ok(match self.kept.first() {
            None => bytes(1),
            Some(b'P') if kept < V1_START.len() => bytes(V1_START.len()),
            Some(b'P') => Wanted::Line,
            Some(_) if kept < V2_FIXED => bytes(V2_FIXED),
            Some(_) => bytes(V2_FIXED + usize::from(self.v2_block()?)),
        })
    }

    fn parse(&mut self) -> Result<Option<Header>, Malformed> {
        if self.kept.first() == Some(&b'P') {
            return self.parse_v1();
        }
        let start = self.kept.len().min(SIGNATURE.len());
        if self.kept[..start] != SIGNATURE[..start] {
            return Err(Malformed::Absent);
        }
        if self.kept.len() < V2_FIXED {
            return Ok(None);
        }
        let block = usize::from(self.v2_block()?);
        if self.kept.len() == V2_FIXED + block {
            let header = self.v2_addresses();
            let length = usize::from(self.v2_length());
            self.kept = Vec::new();
            self.skipping = Some((header, length - block));
        }
        Ok(None)
    }

    fn parse_v1(&mut self) -> Result<Option<Header>, Malformed> {
        let start = self.kept.len().min(V1_START.len());
        if self.kept[..start] != V1_START[..start] {
            return Err(Malformed::Absent);
        }
        let Some(line) = self.kept.strip_suffix(b"\n") else {
            return if self.kept.len() < MAX_V1 { Ok(None) } else { Err(Malformed::LineTooLong) };
        };
        let line = line.strip_suffix(b"\r").ok_or(Malformed::Line)?;
        let header = str::from_utf8(line).ok().and_then(v1_line).ok_or(Malformed::Line)?;
        self.kept = Vec::new();
        Ok(Some(header))
    }

    /// How many bytes of addresses follow the fixed part and matter; checks everything else in the fixed part.
    fn v2_block(&self) -> Result<u16, Malformed> {
        let (Some(&version_command), Some(&family)) = (self.kept.get(12), self.kept.get(13)) else {
            return Ok(0);
        };
        let block = match version_command {
            0x20 => return Ok(0), // LOCAL: family and addresses are ignored (§2.2)
            0x21 => match family {
                0x00 => return Ok(0), // UNSPEC: accepted, addresses ignored (§2.2)
                0x11 => V4_BLOCK,
                0x21 => V6_BLOCK,
                0x31 => UNIX_BLOCK,
                other => return Err(Malformed::Family(other)),
            },
            other => return Err(Malformed::VersionOrCommand(other)),
        };
        let length = self.v2_length();
        if length < block {
            return Err(Malformed::Length(length));
        }
        // The paths of Unix sockets tell us nothing: they are skipped along with the additional fields.
        Ok(if block == UNIX_BLOCK { 0 } else { block })
    }

    fn v2_length(&self) -> u16 {
        match self.kept.get(14..V2_FIXED) {
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            _ => 0,
        }
    }

    /// The addresses after the fixed part, whose number of bytes says what they are.
    fn v2_addresses(&self) -> Header {
        let block = &self.kept[V2_FIXED..];
        let (addresses, ports) = block.split_at(block.len().saturating_sub(4));
        let (source, destination) = addresses.split_at(addresses.len() / 2);
        match (address(source), address(destination), ports) {
            (Some(source), Some(destination), &[a, b, c, d]) => Header::Proxied {
                source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
                destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
            },
            _ => Header::Unproxied,
        }
    }
}

enum Wanted {
    /// This many more.
    Bytes(usize),
    /// Everything up to the end of the line.
    Line,
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    let v6 = || <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into());
    v4().or_else(|_| v6()).ok()
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 40000 1883` without its line end (§2.1).
fn v1_line(line: &str) -> Option<Header> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Header::Unproxied); // whatever follows is ignored
    }
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse().map(IpAddr::V4).ok(),
            "TCP6" => word.parse().map(IpAddr::V6).ok(),
            _ => None,
        }
    };
    let (source, destination) = (address()?, address()?);
    let mut port = || -> Option<u16> {
        let word = words.next()?;
        let canonical = word.bytes().all(|b| b.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
        word.parse().ok().filter(|_| canonical)
    };
    let (source_port, destination_port) = (port()?, port()?);
    words.next().is_none().then_some(Header::Proxied {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Absent => f.write_str("the connection does not begin with a PROXY protocol header"),
            Malformed::LineTooLong => write!(f, "its line does not end within {MAX_V1} bytes"),
            Malformed::Line => f.write_str("its line is not PROXY TCP4|TCP6 source destination port port"),
            Malformed::VersionOrCommand(byte) => write!(f, "unknown version and command {byte:#04x}"),
            Malformed::Family(byte) => write!(f, "address family and protocol {byte:#04x} on a stream"),
            Malformed::Length(length) => write!(f, "length {length} is less than its addresses need"),
        }
    }
}

impl std::error::Error for Malformed {}
