use alloc::vec::Vec;
use core::fmt;

use super::{Properties, Property, PropertyId};
use crate::error::{EncodeError, Fault};

/// Properties being put together for a packet to send.
///
/// ```
/// use mqway_codec::{Property, PropertiesBuf};
///
/// let mut properties = PropertiesBuf::new();
/// properties.push(Property::ContentType("text/plain"))?;
/// properties.push(Property::UserProperty("colour", "blue"))?;
/// assert_eq!(properties.as_properties().content_type(), Some("text/plain"));
/// # Ok::<(), mqway_codec::EncodeError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PropertiesBuf {
    raw: Vec<u8>,
    present: u64,
}

impl PropertiesBuf {
    /// An empty one. Allocates nothing.
    pub const fn new() -> Self {
        Self { raw: Vec::new(), present: 0 }
    }

    /// Appends a property. Whether it belongs in the packet shows when the packet is encoded.
    ///
    /// # Errors
    /// A value that cannot be written, or that the specification forbids; a second property of a kind that no packet
    /// may have twice. Nothing is appended then.
    pub fn push(&mut self, property: Property<'_>) -> Result<(), EncodeError> {
        const REPEATABLE: u64 = PropertyId::UserProperty.bit() | PropertyId::SubscriptionIdentifier.bit();
        let id = property.id();
        if id.bit() & self.present & !REPEATABLE != 0 {
            return Err(Fault::DuplicateProperty(id).into());
        }
        property.write(&mut self.raw)?;
        self.present |= id.bit();
        Ok(())
    }

    /// Appends all of `properties`, as [`PropertiesBuf::push`].
    ///
    /// # Errors
    /// As [`PropertiesBuf::push`], at the first that cannot be appended.
    pub fn extend<'a>(
        &mut self,
        properties: impl IntoIterator<Item = Property<'a>>,
    ) -> Result<(), EncodeError> {
        properties.into_iter().try_for_each(|property| self.push(property))
    }

    /// The properties, to put into a packet.
    pub fn as_properties(&self) -> Properties<'_> {
        Properties { raw: &self.raw, present: self.present }
    }

    /// Removes all, and keeps the memory.
    pub fn clear(&mut self) {
        self.raw.clear();
        self.present = 0;
    }
}

/// A copy, to change.
impl From<Properties<'_>> for PropertiesBuf {
    fn from(properties: Properties<'_>) -> Self {
        Self { raw: properties.raw.to_vec(), present: properties.present }
    }
}

impl fmt::Debug for PropertiesBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_properties().fmt(f)
    }
}
