//! The text of a node.

/// A short text in place, a longer one apart. Levels are short nearly always, and a text apart takes 32 bytes and
/// another cache line at the least.
#[derive(Debug)]
pub(super) enum Label {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<str>),
}

/// As much as there is room for beside the length, with the size that the pointer demands.
const SHORT: usize = 22;

impl Label {
    pub const EMPTY: Self = Self::Short { len: 0, bytes: [0; SHORT] };

    pub fn new(text: &str) -> Self {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..text.len()) {
            Some(start) => {
                start.copy_from_slice(text.as_bytes());
                Self::Short { len: text.len() as u8, bytes }
            }
            None => Self::Long(text.into()),
        }
    }

    /// Its bytes, which are valid UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(text) => text.as_bytes(),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Short { .. } => std::str::from_utf8(self.as_bytes()).expect("made of a str"),
            Self::Long(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_out_as_it_went_in() {
        for text in
            ["", "a", "é", "1234567890123456789012", "12345678901234567890123", "123456789012345678901é"]
        {
            assert_eq!(Label::new(text).as_str(), text);
            assert_eq!(Label::new(text).as_bytes(), text.as_bytes());
        }
        assert_eq!(size_of::<Label>(), 24);
    }
}
