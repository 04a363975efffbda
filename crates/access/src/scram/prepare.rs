//! Names and passwords in the one form in which they are compared.

use std::borrow::Cow;

/// By SASLprep (RFC 4013), as RFC 5802 §2.2 demands; `None` if it has forbidden characters.
pub(super) fn prepare(text: &str) -> Option<Cow<'_, str>> {
    stringprep::saslprep(text).ok()
}
