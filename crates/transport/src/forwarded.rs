//! Whose connection an HTTP reverse proxy forwards: `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Anyone can write such header fields. They are believed only as far as the chain of trust reaches: the socket's
//! peer must be listed, and going from the last entry to the first, each entry was written by the one after it.
//! The first address that is not listed, seen from our end, is the client.

use std::net::{IpAddr, SocketAddr};

use crate::cidr::CidrList;

#[cfg(test)]
mod tests;

/// The client's address by the header fields of a request that came from `peer`; `None` if they say nothing that
/// can be believed. The port is 0 where it isn't told.
///
/// Several fields of one name count as one, in their order (RFC 9110 §5.3). If both kinds are there and disagree,
/// one of them was not written by a listed proxy, and neither is believed.
pub fn client_address<'a>(
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    peer: SocketAddr,
    trusted: &CidrList,
) -> Option<SocketAddr> {
    if !trusted.contains(peer.ip()) {
        return None;
    }
    let (mut standard, mut customary) = (None, None);
    for (name, value) in fields {
        if name.eq_ignore_ascii_case("forwarded") {
            forwarded(value, standard.get_or_insert_with(Vec::new))?;
        } else if name.eq_ignore_ascii_case("x-forwarded-for") {
            x_forwarded_for(value, customary.get_or_insert_with(Vec::new));
        }
    }
    let standard = standard.map(|hops| first_stranger(&hops, trusted));
    let customary = customary.map(|hops| first_stranger(&hops, trusted));
    match (standard, customary) {
        (Some(a), Some(b)) if a.map(|a| a.ip()) == b.map(|b| b.ip()) => a,
        (Some(_), Some(_)) => None,
        (found, other) => found.or(other)?,
    }
}

/// One entry of the chain; `None` if its writer hid or did not know the address.
type Hop = Option<SocketAddr>;

/// Walks from the nearest hop to the farthest, ends at the first that isn't listed, or before one that is hidden.
fn first_stranger(hops: &[Hop], trusted: &CidrList) -> Option<SocketAddr> {
    let mut nearest = None;
    for hop in hops.iter().rev() {
        let address = (*hop)?;
        nearest = Some(address);
        if !trusted.contains(address.ip()) {
            break;
        }
    }
    nearest
}

fn x_forwarded_for(value: &[u8], hops: &mut Vec<Hop>) {
    for word in value.split(|&b| b == b',') {
        let word = word.trim_ascii();
        if !word.is_empty() {
            hops.push(str::from_utf8(word).ok().and_then(node));
        }
    }
}

/// Appends the `for` of each element (RFC 7239 §4). `None` if the field isn't well-formed.
fn forwarded(value: &[u8], hops: &mut Vec<Hop>) -> Option<()> {
    let mut rest = str::from_utf8(value).ok()?.trim_ascii();
    let mut element: Option<Hop> = None;
    loop {
        rest = rest.trim_ascii_start();
        let name_end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(name_end);
        rest = after;
        if !name.is_empty() {
            let (text, after) = pair_value(rest.strip_prefix('=')?)?;
            rest = after.trim_ascii_start();
            let hop = if name.eq_ignore_ascii_case("for") { Some(node(&text)) } else { None };
            // Each parameter once at most in an element (RFC 7239 §4).
            element = match (element, hop) {
                (Some(Some(_)), Some(_)) => return None,
                (_, Some(hop)) => Some(hop),
                (element, None) => Some(element.flatten()),
            };
        }
        match rest.chars().next() {
            Some(';') => rest = &rest[1..],
            Some(',') => {
                hops.extend(element.take());
                rest = &rest[1..];
            }
            Some(_) => return None,
            None => {
                hops.extend(element.take());
                return Some(());
            }
        }
    }
}

/// A token or a quoted string at the start of `text`, and what follows it.
fn pair_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !is_token(c)).unwrap_or(text.len());
        let (token, rest) = text.split_at(end);
        return (!token.is_empty()).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// RFC 9110 §5.6.2, and the colon of an address that somebody forgot to quote.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:".contains(c)
}

/// An address with or without a port, IPv6 with or without brackets (RFC 7239 §6). `unknown` and names that begin
/// with an underscore hide the address; a port that does so counts as 0.
fn node(text: &str) -> Hop {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 0));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (
                IpAddr::V6(host.parse().ok()?),
                if port.is_empty() { None } else { Some(port.strip_prefix(':')?) },
            )
        }
        None => {
            let (host, port) = text.split_once(':')?;
            (IpAddr::V4(host.parse().ok()?), Some(port))
        }
    };
    let port = match port {
        None => 0,
        Some(hidden) if hidden.starts_with('_') => 0,
        Some(port) => port.parse().ok()?,
    };
    Some(SocketAddr::new(host, port))
}
