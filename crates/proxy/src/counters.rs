//! What the proxy counts.

use std::sync::atomic::{AtomicU64, Ordering};

use mqway_codec::PacketType;

use crate::Direction;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Live counters, shared by the workers.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
            packets: [[AtomicU64; 16]; 2],
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)*
            /// Packets passed on, by direction (to the upstream, to the client) and packet type.
            pub packets: [[u64; 16]; 2],
        }

        impl Counters {
            /// Reads them all.
            pub fn snapshot(&self) -> Snapshot {
                let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                Snapshot {
                    $($name: read(&self.$name),)*
                    packets: self.packets.each_ref().map(|types| types.each_ref().map(read)),
                }
            }
        }

        impl Snapshot {
            /// Every counter but those of packets with its name, in a fixed order.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Clients whose connection is open now.
    clients,
    /// Valid CONNECTs.
    connects,
    /// First packets that were not a valid CONNECT.
    connects_refused,
    /// Clients that sent no whole CONNECT in time.
    connect_timeouts,
    /// Second CONNECTs on one connection.
    second_connects,
    /// CONNECTs that reached an upstream.
    upstream_connects,
    /// Dials of an upstream that failed.
    upstream_failures,
    /// CONNECTs passed to another upstream than the first choice.
    upstream_failovers,
    /// CONNECTs refused because no upstream could be reached.
    upstream_unavailable,
    /// CONNECTs that an upstream did not answer in time.
    connack_timeouts,
    /// CONNACKs of an upstream that refused.
    connacks_refused,
    /// Clients that sent DISCONNECT.
    client_disconnects,
    /// Clients that ended without DISCONNECT; their will is the server's to publish.
    client_ends,
    /// Connections that an upstream ended.
    upstream_ends,
    /// Packets that were malformed or not allowed, from clients.
    client_faults,
    /// Packets that were malformed or not allowed, from upstreams.
    upstream_faults,
    /// Packets over the limit, from either side.
    packets_too_large,
    /// Times that a slow reader stopped the reading of the other side.
    pauses,
    /// Packets so large that they were passed on while still arriving.
    packets_passed_in_pieces,
}

impl Counters {
    /// Adds one.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one back, of those that go both ways.
    pub(crate) fn uncount(counter: &AtomicU64) {
        counter.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Snapshot {
    /// Packets of one type passed on in one direction.
    pub fn passed(&self, direction: Direction, packet_type: PacketType) -> u64 {
        self.packets[direction as usize][packet_type as usize]
    }
}

/// One worker's count of packets, brought to the shared counters once a tick.
#[derive(Default)]
pub(crate) struct Tally {
    packets: [[u32; 16]; 2],
    any: bool,
}

impl Tally {
    #[inline]
    pub fn count(&mut self, direction: Direction, packet_type: PacketType) {
        self.packets[direction as usize][packet_type as usize] += 1;
        self.any = true;
    }

    pub fn flush(&mut self, counters: &Counters) {
        if !std::mem::take(&mut self.any) {
            return;
        }
        let own = self.packets.as_flattened_mut();
        for (own, shared) in own.iter_mut().zip(counters.packets.as_flattened()) {
            if *own > 0 {
                shared.fetch_add(u64::from(std::mem::take(own)), Ordering::Relaxed);
            }
        }
    }
}
