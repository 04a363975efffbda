use core::fmt;

use crate::PacketType;

/// Defines [`ReasonCode`] from the table of 5.0 §2.4, with the packets that each code may stand in.
macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal, [$($packet:ident)*];)*) => {
        /// The outcome of a request, or why a connection ends (5.0 §2.4). From 0x80 on it is a failure.
        ///
        /// ```
        /// use mqway_codec::ReasonCode;
        ///
        /// assert!(ReasonCode::NotAuthorized.is_error());
        /// assert_eq!(ReasonCode::QuotaExceeded.name(), "Quota exceeded");
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[$doc])* $name = $code,)*
        }

        impl ReasonCode {
            /// Every reason code, in rising order.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The reason code with this number.
            #[inline]
            pub const fn from_u8(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its name in the specification.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Bit n is set if packet type n may carry it.
            #[inline]
            const fn packets(self) -> u16 {
                match self {
                    $(Self::$name => 0 $(| 1 << PacketType::$packet as u16)*,)*
                }
            }
        }
    };
}

reason_codes! {
    /// Success; in SUBACK granted QoS 0, in DISCONNECT a normal disconnection.
    Success = 0x00, "Success",
        [Connack Puback Pubrec Pubrel Pubcomp Suback Unsuback Disconnect Auth];
    /// The subscription is accepted, with QoS 1 at most.
    GrantedQos1 = 0x01, "Granted QoS 1", [Suback];
    /// The subscription is accepted, with QoS 2 at most.
    GrantedQos2 = 0x02, "Granted QoS 2", [Suback];
    /// The client disconnects and wants its will published.
    DisconnectWithWill = 0x04, "Disconnect with Will Message", [Disconnect];
    /// The message is accepted, and nobody subscribes to it.
    NoMatchingSubscribers = 0x10, "No matching subscribers", [Puback Pubrec];
    /// There was no such subscription to remove.
    NoSubscriptionExisted = 0x11, "No subscription existed", [Unsuback];
    /// The authentication goes on with another step.
    ContinueAuthentication = 0x18, "Continue authentication", [Auth];
    /// The client starts to authenticate again.
    ReAuthenticate = 0x19, "Re-authenticate", [Auth];
    /// A failure that its sender does not name, or that has no code.
    UnspecifiedError = 0x80, "Unspecified error", [Connack Puback Pubrec Suback Unsuback Disconnect];
    /// A packet could not be parsed.
    MalformedPacket = 0x81, "Malformed Packet", [Connack Disconnect];
    /// A packet was not allowed, or not then.
    ProtocolError = 0x82, "Protocol Error", [Connack Disconnect];
    /// The packet is valid and this implementation does not take it.
    ImplementationSpecificError = 0x83, "Implementation specific error",
        [Connack Puback Pubrec Suback Unsuback Disconnect];
    /// The server does not speak the version that the client asks for.
    UnsupportedProtocolVersion = 0x84, "Unsupported Protocol Version", [Connack];
    /// The client identifier is a valid string and not allowed.
    ClientIdentifierNotValid = 0x85, "Client Identifier not valid", [Connack];
    /// The server does not accept these credentials.
    BadUserNameOrPassword = 0x86, "Bad User Name or Password", [Connack];
    /// The client may not do this.
    NotAuthorized = 0x87, "Not authorized", [Connack Puback Pubrec Suback Unsuback Disconnect];
    /// The MQTT server is not available.
    ServerUnavailable = 0x88, "Server unavailable", [Connack];
    /// The server is busy; try again later.
    ServerBusy = 0x89, "Server busy", [Connack Disconnect];
    /// This client has been banned.
    Banned = 0x8A, "Banned", [Connack];
    /// The server is shutting down.
    ServerShuttingDown = 0x8B, "Server shutting down", [Disconnect];
    /// The authentication method is not supported, or not the one in use.
    BadAuthenticationMethod = 0x8C, "Bad authentication method", [Connack Disconnect];
    /// Nothing was heard for one and a half times the keep alive.
    KeepAliveTimeout = 0x8D, "Keep Alive timeout", [Disconnect];
    /// Another connection uses this client identifier now.
    SessionTakenOver = 0x8E, "Session taken over", [Disconnect];
    /// The topic filter is well-formed and not accepted.
    TopicFilterInvalid = 0x8F, "Topic Filter invalid", [Suback Unsuback Disconnect];
    /// The topic name is well-formed and not accepted.
    TopicNameInvalid = 0x90, "Topic Name invalid", [Connack Puback Pubrec Disconnect];
    /// The packet identifier is in use already.
    PacketIdentifierInUse = 0x91, "Packet Identifier in use", [Puback Pubrec Suback Unsuback];
    /// The packet identifier is not known.
    PacketIdentifierNotFound = 0x92, "Packet Identifier not found", [Pubrel Pubcomp];
    /// More messages are unacknowledged than Receive Maximum allows.
    ReceiveMaximumExceeded = 0x93, "Receive Maximum exceeded", [Disconnect];
    /// A topic alias of 0, over the maximum, or not set before.
    TopicAliasInvalid = 0x94, "Topic Alias invalid", [Disconnect];
    /// The packet is larger than its receiver takes.
    PacketTooLarge = 0x95, "Packet too large", [Connack Disconnect];
    /// Data arrives at too high a rate.
    MessageRateTooHigh = 0x96, "Message rate too high", [Disconnect];
    /// A limit of the implementation or of an administrator is exceeded.
    QuotaExceeded = 0x97, "Quota exceeded", [Connack Puback Pubrec Suback Disconnect];
    /// An administrator ends the connection.
    AdministrativeAction = 0x98, "Administrative action", [Disconnect];
    /// The payload is not what its format indicator says.
    PayloadFormatInvalid = 0x99, "Payload format invalid", [Connack Puback Pubrec Disconnect];
    /// The server does not retain messages.
    RetainNotSupported = 0x9A, "Retain not supported", [Connack Disconnect];
    /// The QoS is above the server's Maximum QoS.
    QosNotSupported = 0x9B, "QoS not supported", [Connack Disconnect];
    /// Use another server for now.
    UseAnotherServer = 0x9C, "Use another server", [Connack Disconnect];
    /// Use another server from now on.
    ServerMoved = 0x9D, "Server moved", [Connack Disconnect];
    /// The server has no shared subscriptions, or not for this client.
    SharedSubscriptionsNotSupported = 0x9E, "Shared Subscriptions not supported", [Suback Disconnect];
    /// Connections are made at too high a rate.
    ConnectionRateExceeded = 0x9F, "Connection rate exceeded", [Connack Disconnect];
    /// This connection has lasted as long as it may.
    MaximumConnectTime = 0xA0, "Maximum connect time", [Disconnect];
    /// The server has no subscription identifiers.
    SubscriptionIdentifiersNotSupported = 0xA1, "Subscription Identifiers not supported", [Suback Disconnect];
    /// The server has no wildcard subscriptions, or not for this client.
    WildcardSubscriptionsNotSupported = 0xA2, "Wildcard Subscriptions not supported", [Suback Disconnect];
}

impl ReasonCode {
    /// [`ReasonCode::Success`], as DISCONNECT calls it.
    pub const NORMAL_DISCONNECTION: Self = Self::Success;
    /// [`ReasonCode::Success`], as SUBACK calls it.
    pub const GRANTED_QOS_0: Self = Self::Success;

    /// The number that goes on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether it is a failure: 0x80 or above.
    #[inline]
    pub const fn is_error(self) -> bool {
        self as u8 >= 0x80
    }

    /// Whether packets of this type may carry it (5.0 §2.4 and the packets' own tables).
    #[inline]
    pub const fn is_allowed_in(self, packet_type: PacketType) -> bool {
        self.packets() >> packet_type as u16 & 1 != 0
    }

    /// The code of a SUBACK that grants this QoS.
    pub const fn granted(qos: crate::QoS) -> Self {
        match qos {
            crate::QoS::AtMostOnce => Self::GRANTED_QOS_0,
            crate::QoS::AtLeastOnce => Self::GrantedQos1,
            crate::QoS::ExactlyOnce => Self::GrantedQos2,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The return code of CONNACK before 5.0 (3.1.1 §3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ConnectReturnCode {
    /// The connection is accepted.
    Accepted = 0,
    /// The server does not speak this version.
    UnacceptableProtocolVersion = 1,
    /// The client identifier is a valid string and not allowed.
    IdentifierRejected = 2,
    /// The MQTT service is not available.
    ServerUnavailable = 3,
    /// The user name or password is malformed, or wrong.
    BadUserNameOrPassword = 4,
    /// The client may not connect.
    NotAuthorized = 5,
}

impl ConnectReturnCode {
    /// The return code with this number; `None` above 5.
    pub const fn from_u8(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Accepted,
            1 => Self::UnacceptableProtocolVersion,
            2 => Self::IdentifierRejected,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }

    /// The reason code of 5.0 that says the same.
    pub const fn reason(self) -> ReasonCode {
        match self {
            Self::Accepted => ReasonCode::Success,
            Self::UnacceptableProtocolVersion => ReasonCode::UnsupportedProtocolVersion,
            Self::IdentifierRejected => ReasonCode::ClientIdentifierNotValid,
            Self::ServerUnavailable => ReasonCode::ServerUnavailable,
            Self::BadUserNameOrPassword => ReasonCode::BadUserNameOrPassword,
            Self::NotAuthorized => ReasonCode::NotAuthorized,
        }
    }

    /// The nearest return code. `None` for faults of the client's packet, which 3.x answers by closing the
    /// connection, and for codes that no CONNACK carries.
    pub const fn from_reason(reason: ReasonCode) -> Option<Self> {
        Some(match reason {
            ReasonCode::Success => Self::Accepted,
            ReasonCode::UnsupportedProtocolVersion => Self::UnacceptableProtocolVersion,
            ReasonCode::ClientIdentifierNotValid => Self::IdentifierRejected,
            ReasonCode::BadUserNameOrPassword => Self::BadUserNameOrPassword,
            ReasonCode::NotAuthorized | ReasonCode::Banned | ReasonCode::BadAuthenticationMethod => {
                Self::NotAuthorized
            }
            ReasonCode::UnspecifiedError
            | ReasonCode::ImplementationSpecificError
            | ReasonCode::ServerUnavailable
            | ReasonCode::ServerBusy
            | ReasonCode::QuotaExceeded
            | ReasonCode::UseAnotherServer
            | ReasonCode::ServerMoved
            | ReasonCode::ConnectionRateExceeded => Self::ServerUnavailable,
            _ => return None,
        })
    }
}

impl fmt::Display for ConnectReturnCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accepted => "Connection accepted",
            Self::UnacceptableProtocolVersion => "Unacceptable protocol version",
            Self::IdentifierRejected => "Identifier rejected",
            Self::ServerUnavailable => "Server unavailable",
            Self::BadUserNameOrPassword => "Bad user name or password",
            Self::NotAuthorized => "Not authorized",
        })
    }
}
