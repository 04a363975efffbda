//! What the engine counts. Each worker adds to the same set; the figures are exact, their moments are not.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Live counters, shared by the workers.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Reads them all.
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl Snapshot {
            /// Every counter with its name, in a fixed order.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted, those refused by a limit included.
    accepted,
    /// Connections closed at once because the limit on all of them was reached.
    refused_connections,
    /// Connections closed at once because their address has too many already.
    refused_per_address,
    /// Failures of `accept` itself, such as too many open files.
    accept_errors,
    /// Connections open now, accepted and dialled.
    open,
    /// Connections dialled.
    dialled,
    /// Dials that failed: name, TCP, TLS, WebSocket or time.
    dial_failures,
    /// Accepted connections that failed in a handshake below the application's bytes.
    handshake_failures,
    /// Accepted connections whose handshake took too long.
    handshake_timeouts,
    /// Connections dropped because a byte limit was reached.
    dropped_over_limit,
    /// Bytes that wait in all buffers, in both directions.
    buffered,
    /// Bytes read from sockets.
    bytes_read,
    /// Bytes written to sockets.
    bytes_written,
    /// Calls that read from a socket.
    reads,
    /// Calls that wrote to a socket.
    writes,
}

impl Counters {
    /// Bytes that wait in all buffers.
    pub(crate) fn buffered_now(&self) -> u64 {
        self.buffered.load(Ordering::Relaxed)
    }
}

/// Adds to a counter.
#[inline]
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// Takes from a counter that goes both ways.
#[inline]
pub(crate) fn take(counter: &AtomicU64, amount: u64) {
    counter.fetch_sub(amount, Ordering::Relaxed);
}
