use core::fmt;

use crate::PacketType;

/// Defines [`PropertyId`] from the table of 5.0 §2.2.2.2, with the packets that each property belongs in.
macro_rules! property_ids {
    ($($name:ident = $id:literal, $text:literal, [$($place:ident)*];)*) => {
        /// What a property is (5.0 §2.2.2.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum PropertyId {
            $(#[doc = concat!("[`Property::", stringify!($name), "`](crate::Property::", stringify!($name), ")")]
            $name = $id,)*
        }

        impl PropertyId {
            /// Every property, in rising order.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The property with this identifier.
            #[inline]
            pub const fn from_u8(id: u8) -> Option<Self> {
                match id {
                    $($id => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its name in the specification.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            const fn places(self) -> u16 {
                match self {
                    $(Self::$name => 0 $(| 1 << Place::$place as u16)*,)*
                }
            }
        }
    };
}

property_ids! {
    PayloadFormatIndicator = 0x01, "Payload Format Indicator", [Publish Will];
    MessageExpiryInterval = 0x02, "Message Expiry Interval", [Publish Will];
    ContentType = 0x03, "Content Type", [Publish Will];
    ResponseTopic = 0x08, "Response Topic", [Publish Will];
    CorrelationData = 0x09, "Correlation Data", [Publish Will];
    SubscriptionIdentifier = 0x0B, "Subscription Identifier", [Publish Subscribe];
    SessionExpiryInterval = 0x11, "Session Expiry Interval", [Connect Connack Disconnect];
    AssignedClientIdentifier = 0x12, "Assigned Client Identifier", [Connack];
    ServerKeepAlive = 0x13, "Server Keep Alive", [Connack];
    AuthenticationMethod = 0x15, "Authentication Method", [Connect Connack Auth];
    AuthenticationData = 0x16, "Authentication Data", [Connect Connack Auth];
    RequestProblemInformation = 0x17, "Request Problem Information", [Connect];
    WillDelayInterval = 0x18, "Will Delay Interval", [Will];
    RequestResponseInformation = 0x19, "Request Response Information", [Connect];
    ResponseInformation = 0x1A, "Response Information", [Connack];
    ServerReference = 0x1C, "Server Reference", [Connack Disconnect];
    ReasonString = 0x1F, "Reason String",
        [Connack Puback Pubrec Pubrel Pubcomp Suback Unsuback Disconnect Auth];
    ReceiveMaximum = 0x21, "Receive Maximum", [Connect Connack];
    TopicAliasMaximum = 0x22, "Topic Alias Maximum", [Connect Connack];
    TopicAlias = 0x23, "Topic Alias", [Publish];
    MaximumQos = 0x24, "Maximum QoS", [Connack];
    RetainAvailable = 0x25, "Retain Available", [Connack];
    UserProperty = 0x26, "User Property",
        [Connect Connack Publish Will Puback Pubrec Pubrel Pubcomp Subscribe Suback Unsubscribe Unsuback Disconnect Auth];
    MaximumPacketSize = 0x27, "Maximum Packet Size", [Connect Connack];
    WildcardSubscriptionAvailable = 0x28, "Wildcard Subscription Available", [Connack];
    SubscriptionIdentifierAvailable = 0x29, "Subscription Identifier Available", [Connack];
    SharedSubscriptionAvailable = 0x2A, "Shared Subscription Available", [Connack];
}

impl PropertyId {
    /// Whether packets of this type may carry it. For the will's properties, which CONNECT holds apart, see
    /// [`PropertyId::is_allowed_in_will`].
    pub const fn is_allowed_in(self, packet_type: PacketType) -> bool {
        self.places() >> packet_type as u16 & 1 != 0
    }

    /// Whether a will may carry it.
    pub const fn is_allowed_in_will(self) -> bool {
        self.places() >> Place::Will as u16 & 1 != 0
    }

    /// Its bit in a set of properties.
    #[inline]
    pub(crate) const fn bit(self) -> u64 {
        1 << self as u64
    }
}

impl fmt::Display for PropertyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a set of properties belongs to.
#[derive(Clone, Copy)]
#[repr(u16)]
pub(crate) enum Place {
    /// The will inside CONNECT; 0 is no packet's type.
    Will = 0,
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Subscribe = 8,
    Suback = 9,
    Unsubscribe = 10,
    Unsuback = 11,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl Place {
    pub(crate) const fn of(packet_type: PacketType) -> Self {
        match packet_type {
            PacketType::Connect => Self::Connect,
            PacketType::Connack => Self::Connack,
            PacketType::Publish => Self::Publish,
            PacketType::Puback => Self::Puback,
            PacketType::Pubrec => Self::Pubrec,
            PacketType::Pubrel => Self::Pubrel,
            PacketType::Pubcomp => Self::Pubcomp,
            PacketType::Subscribe => Self::Subscribe,
            PacketType::Suback => Self::Suback,
            PacketType::Unsubscribe => Self::Unsubscribe,
            PacketType::Unsuback => Self::Unsuback,
            PacketType::Pingreq => Self::Pingreq,
            PacketType::Pingresp => Self::Pingresp,
            PacketType::Disconnect => Self::Disconnect,
            PacketType::Auth => Self::Auth,
        }
    }

    /// The properties that may stand here.
    #[inline]
    pub(crate) const fn allowed(self) -> u64 {
        ALLOWED[self as usize]
    }

    /// The properties that may stand here more than once (5.0 §3.3.2.3.8 for the subscription identifiers).
    #[inline]
    pub(crate) const fn repeatable(self) -> u64 {
        match self {
            Self::Publish => PropertyId::UserProperty.bit() | PropertyId::SubscriptionIdentifier.bit(),
            _ => PropertyId::UserProperty.bit(),
        }
    }
}

const ALLOWED: [u64; 16] = {
    let mut sets = [0; 16];
    let mut index = 0;
    while index < PropertyId::ALL.len() {
        let id = PropertyId::ALL[index];
        let mut place = 0;
        while place < sets.len() {
            if id.places() >> place & 1 != 0 {
                sets[place] |= id.bit();
            }
            place += 1;
        }
        index += 1;
    }
    sets
};
