//! Gathering an HTTP head, and reading its header fields.

use httparse::Header;

/// The bytes of a head as they come in. A head that comes in one piece is never copied.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    bytes: Vec<u8>,
}

/// What [`Gathered::push`] found.
pub(super) enum Push<'a> {
    /// The whole head is there, up to and including its empty line.
    Complete {
        head: &'a [u8],
        /// How many bytes of the input belong to it.
        consumed: usize,
    },
    /// The empty line is missing; this is all there is so far.
    Partial(&'a [u8]),
    /// More than the limit, and no empty line within it; this is how it begins.
    TooLarge(&'a [u8]),
}

impl Gathered {
    /// Adds `input`. At most `limit` bytes are kept.
    pub(super) fn push<'a>(&'a mut self, input: &'a [u8], limit: usize) -> Push<'a> {
        if self.bytes.is_empty() {
            return match end_of_head(input, 0) {
                Some(end) if end <= limit => Push::Complete { head: &input[..end], consumed: end },
                None if input.len() <= limit => {
                    self.bytes.extend_from_slice(input);
                    Push::Partial(&self.bytes)
                }
                _ => Push::TooLarge(input),
            };
        }
        let before = self.bytes.len();
        // One byte over the limit is enough to know.
        let taken = input.len().min(limit.saturating_add(1).saturating_sub(before));
        self.bytes.extend_from_slice(&input[..taken]);
        match end_of_head(&self.bytes, before.saturating_sub(2)) {
            Some(end) if end <= limit => Push::Complete { head: &self.bytes[..end], consumed: end - before },
            None if self.bytes.len() <= limit => Push::Partial(&self.bytes),
            _ => Push::TooLarge(&self.bytes),
        }
    }

    /// What has been kept so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what has been kept, for another head.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// Where the head ends that may end after `from`: behind a line feed, then an optional carriage return and another
/// line feed (a single line feed is a line's end too, RFC 9112 §2.2).
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(offset) = bytes.get(at..)?.iter().position(|&byte| byte == b'\n') {
        at += offset + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// The values of all fields of this name.
pub(super) fn fields<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// The value of a field that may stand at most once.
pub(super) fn single<'h>(headers: &'h [Header<'h>], name: &'h str) -> Result<Option<&'h [u8]>, Repeated> {
    let mut values = fields(headers, name);
    let first = values.next();
    if values.next().is_some() { Err(Repeated) } else { Ok(first) }
}

/// A field stands more than once.
pub(super) struct Repeated;

/// The elements of the comma-separated lists in all fields of this name (RFC 9110 §5.6.1), without the empty ones.
pub(super) fn list<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    fields(headers, name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Whether the lists contain this element, in any case.
pub(super) fn list_contains(headers: &[Header<'_>], name: &str, element: &str) -> bool {
    list(headers, name).any(|candidate| candidate.eq_ignore_ascii_case(element.as_bytes()))
}

/// Whether these bytes are a token (RFC 9110 §5.6.2), as names of fields, methods and subprotocols are.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_found_however_it_is_cut() {
        for head in [&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], b"GET / HTTP/1.1\nHost: h\n\n", b"a\r\n\n"] {
            let mut bytes = head.to_vec();
            bytes.extend_from_slice(b"\x82\x00\r\n\r\n");
            for cut in 0..bytes.len() {
                let mut gathered = Gathered::default();
                let first = match gathered.push(&bytes[..cut], 1000) {
                    Push::Complete { head: found, consumed } => {
                        assert_eq!((found, consumed), (head, head.len()));
                        continue;
                    }
                    Push::Partial(kept) => kept.len(),
                    Push::TooLarge(_) => panic!("within the limit"),
                };
                assert!(first < head.len());
                let Push::Complete { head: found, consumed } = gathered.push(&bytes[cut..], 1000) else {
                    panic!("complete")
                };
                assert_eq!((found, consumed), (head, head.len() - cut));
            }
        }
    }

    #[test]
    fn no_more_than_the_limit_is_kept() {
        let mut gathered = Gathered::default();
        assert!(matches!(gathered.push(&[b'a'; 10], 9), Push::TooLarge(_)));
        assert!(matches!(gathered.push(&[b'a'; 9], 9), Push::Partial(_)));
        assert!(matches!(gathered.push(&[b'a'; 1000], 9), Push::TooLarge(_)));
        assert!(gathered.bytes().len() <= 10);
        let mut gathered = Gathered::default();
        assert!(matches!(gathered.push(b"aaaaaaaa\n\n", 9), Push::TooLarge(_)));
        assert!(matches!(gathered.push(b"aaaaaaa\n\n", 9), Push::Complete { consumed: 9, .. }));
    }

    #[test]
    fn lists_may_be_spread_over_fields() {
        let headers = [
            Header { name: "Connection", value: b"keep-alive, , Upgrade " },
            Header { name: "connection", value: b"x" },
            Header { name: "other", value: b"y" },
        ];
        let found: Vec<&[u8]> = list(&headers, "CONNECTION").collect();
        assert_eq!(found, [&b"keep-alive"[..], b"Upgrade", b"x"]);
        assert!(list_contains(&headers, "connection", "upgrade"));
        assert!(!list_contains(&headers, "connection", "upgrad"));
        assert!(single(&headers, "connection").is_err());
    }
}
