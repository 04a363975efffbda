//! Choices made from bytes; when they run out, every choice is the first.

use mqway_codec::{PacketId, QoS, ReasonCode, Version};

pub struct Source<'a> {
    bytes: &'a [u8],
}

impl<'a> Source<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        byte
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// A number below `bound`, at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    pub fn binary(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.bytes.len());
        let (taken, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        taken
    }

    /// Text of pieces that matter to MQTT, or of the input; and once in a while too long.
    pub fn text(&mut self) -> String {
        const PIECES: [&str; 10] = ["a", "/", "+", "#", "$", "$share/", "$SYS", "\0", "é", "\u{10FFFF}"];
        match self.byte() {
            0..=127 => (0..self.below(8)).map(|_| PIECES[self.below(PIECES.len())]).collect(),
            128..=254 => String::from_utf8_lossy(self.binary()).into_owned(),
            255 => "x".repeat(65_530 + self.below(10)),
        }
    }

    /// Text that is a topic name more often than not.
    pub fn topic(&mut self) -> String {
        match self.below(4) {
            0 => self.text(),
            _ => (0..=self.below(5)).map(|_| ["a", "/", "bc", "$"][self.below(4)]).collect(),
        }
    }

    pub fn version(&mut self) -> Version {
        [Version::V5, Version::V3_1_1, Version::V3_1][self.below(3)]
    }

    pub fn qos(&mut self) -> QoS {
        [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][self.below(3)]
    }

    pub fn packet_id(&mut self) -> PacketId {
        PacketId::new(self.u16()).unwrap_or(PacketId::MAX)
    }

    pub fn reason(&mut self) -> ReasonCode {
        match self.below(4) {
            0 => ReasonCode::Success,
            _ => ReasonCode::ALL[self.below(ReasonCode::ALL.len())],
        }
    }
}
