//! What a message says, in as few allocations as may be.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use mqway_engine::Blob;

/// The bytes of a message. Few of them lie within, where the message itself lies: most messages are small, and to keep
/// one then takes a single allocation.
#[derive(Clone)]
pub struct Payload(Place);

#[derive(Clone)]
enum Place {
    Within { len: u8, bytes: [u8; WITHIN] },
    Apart(Box<[u8]>),
    Large(Arc<Blob>),
}

/// Bytes that lie within: about what an allocation of their own would take in bookkeeping and rounding.
const WITHIN: usize = 102;

/// From so many bytes on a payload is not copied to each receiver, but written from where it lies.
pub(crate) const LARGE: usize = 8 * 1024;

impl Payload {
    fn apart(bytes: Box<[u8]>) -> Payload {
        Payload(if bytes.len() < LARGE { Place::Apart(bytes) } else { Place::Large(Blob::new(bytes)) })
    }

    /// What to send it from without a copy, if it is large.
    pub(crate) fn blob(&self) -> Option<&Arc<Blob>> {
        match &self.0 {
            Place::Large(blob) => Some(blob),
            Place::Within { .. } | Place::Apart(_) => None,
        }
    }
}

impl Deref for Payload {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Within { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Place::Apart(bytes) => bytes,
            Place::Large(blob) => blob.bytes(),
        }
    }
}

impl From<&[u8]> for Payload {
    #[inline]
    fn from(payload: &[u8]) -> Payload {
        let mut bytes = [0; WITHIN];
        match bytes.get_mut(..payload.len()) {
            Some(place) => {
                place.copy_from_slice(payload);
                Payload(Place::Within { len: payload.len() as u8, bytes })
            }
            None => Payload::apart(payload.into()),
        }
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Payload {
        text.as_bytes().into()
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        if bytes.len() <= WITHIN { bytes.as_slice().into() } else { Payload::apart(bytes.into()) }
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Payload {
        text.into_bytes().into()
    }
}

/// Only the length.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_there() {
        for len in [0, 1, WITHIN - 1, WITHIN, WITHIN + 1, 5_000, LARGE - 1, LARGE] {
            let bytes: Vec<_> = (0..len).map(|at| at as u8).collect();
            assert_eq!(*Payload::from(&bytes[..]), bytes);
            assert_eq!(*Payload::from(bytes.clone()), bytes);
            assert_eq!(Payload::from(bytes).blob().is_some(), len >= LARGE);
        }
    }

    #[test]
    fn a_payload_within_takes_no_more_than_its_place() {
        assert!(size_of::<Payload>() <= 104, "{}", size_of::<Payload>());
    }
}
