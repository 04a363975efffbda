//! The moments at which a hook is asked or told.

use std::fmt;

macro_rules! phases {
    ($($(#[$doc:meta])* $name:ident $text:literal,)*) => {
        /// A moment in the life of a connection, a message or a session at which hooks are asked, or told.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Phase {
            $($(#[$doc])* $name,)*
        }

        impl Phase {
            /// All of them, in the order in which a connection meets them.
            pub const ALL: &[Phase] = &[$(Phase::$name),*];

            /// Its name in logs and metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Phase::$name => $text,)*
                }
            }
        }
    };
}

phases! {
    /// A connection has come, its handshakes are done; over WebSocket, before the upgrade is answered.
    Accept "accept",
    /// CONNECT has come.
    Authenticate "authenticate",
    /// CONNECT or AUTH of an enhanced authentication has come (5.0 §4.12).
    Exchange "exchange",
    /// It is settled who a client is, and judged whether it may come in.
    Admit "admit",
    /// A client was not let in.
    Refused "refused",
    /// CONNACK has accepted the client.
    Connected "connected",
    /// A new session has begun.
    SessionCreated "session created",
    /// A client has come back to its session.
    SessionResumed "session resumed",
    /// A session has ended: it expired, or was ended.
    SessionTerminated "session terminated",
    /// A filter of a SUBSCRIBE is judged.
    Subscribe "subscribe",
    /// The subscription is made, SUBACK is on its way.
    Subscribed "subscribed",
    /// A filter of an UNSUBSCRIBE is judged.
    Unsubscribe "unsubscribe",
    /// The subscription is no more.
    Unsubscribed "unsubscribed",
    /// A message has come from a client.
    Publish "publish",
    /// The message was accepted.
    Published "published",
    /// A message is about to be sent to one client.
    Deliver "deliver",
    /// It was sent.
    Delivered "delivered",
    /// The client has acknowledged it.
    Acknowledged "acknowledged",
    /// A message was dropped.
    Dropped "dropped",
    /// A will is about to be published.
    Will "will",
    /// It was.
    WillPublished "will published",
    /// A connection that had been accepted is over.
    Disconnected "disconnected",
    /// The server stops.
    Stop "stop",
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of phases: those at which a hook wants to be called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases(u32);

impl Phases {
    /// None.
    pub const NONE: Phases = Phases(0);
    /// Every one.
    pub const ALL: Phases = Phases(u32::MAX);

    /// Just these.
    ///
    /// ```
    /// use mqway_hooks::{Phase, Phases};
    ///
    /// const WANTED: Phases = Phases::of(&[Phase::Publish, Phase::Will]);
    /// assert!(WANTED.contains(Phase::Will) && !WANTED.contains(Phase::Deliver));
    /// ```
    pub const fn of(phases: &[Phase]) -> Phases {
        let (mut bits, mut at) = (0, 0);
        while at < phases.len() {
            bits |= 1 << phases[at] as u32;
            at += 1;
        }
        Phases(bits)
    }

    /// Whether this one is among them.
    #[inline]
    pub const fn contains(self, phase: Phase) -> bool {
        self.0 & (1 << phase as u32) != 0
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, others: Phases) -> Phases {
        Phases(self.0 | others.0)
    }

    /// These, but not those.
    #[must_use]
    pub const fn without(self, others: Phases) -> Phases {
        Phases(self.0 & !others.0)
    }

    /// Those that both have.
    #[must_use]
    pub const fn within(self, others: Phases) -> Phases {
        Phases(self.0 & others.0)
    }
}
