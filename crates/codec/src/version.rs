use core::fmt;

/// A version of the protocol, named by what its CONNECT says.
///
/// ```
/// use mqway_codec::Version;
///
/// assert_eq!(Version::from_level(4), Some(Version::V3_1_1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Version {
    /// MQTT 3.1 (2010): protocol name `MQIsdp`, level 3.
    V3_1 = 3,
    /// MQTT 3.1.1 (OASIS, 2014): protocol name `MQTT`, level 4.
    V3_1_1 = 4,
    /// MQTT 5.0 (OASIS, 2019): protocol name `MQTT`, level 5.
    V5 = 5,
}

impl Version {
    /// The protocol level (5.0: protocol version) byte of CONNECT.
    pub const fn level(self) -> u8 {
        self as u8
    }

    /// The version with this protocol level.
    pub const fn from_level(level: u8) -> Option<Self> {
        match level {
            3 => Some(Self::V3_1),
            4 => Some(Self::V3_1_1),
            5 => Some(Self::V5),
            _ => None,
        }
    }

    /// The protocol name that CONNECT carries beside the level.
    pub const fn protocol_name(self) -> &'static str {
        match self {
            Self::V3_1 => "MQIsdp",
            Self::V3_1_1 | Self::V5 => "MQTT",
        }
    }
}

/// `3.1`, `3.1.1` or `5.0`.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_1 => "3.1",
            Self::V3_1_1 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}
