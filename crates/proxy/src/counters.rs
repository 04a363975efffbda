//! What the proxy counts.

use std::sync::atomic::{AtomicU64, Ordering};

use mqway_codec::{PacketType, ReasonCode};

use crate::Direction;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Live counters, shared by the workers.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
            packets: [[AtomicU64; 16]; 2],
            refusals: [[AtomicU64; 32]; 8],
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)*
            /// Packets passed on, by direction (to the upstream, to the client) and packet type.
            pub packets: [[u64; 16]; 2],
            refusals: [[u64; 32]; 8],
        }

        impl Counters {
            /// Reads them all.
            pub fn snapshot(&self) -> Snapshot {
                let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                Snapshot {
                    $($name: read(&self.$name),)*
                    packets: self.packets.each_ref().map(|types| types.each_ref().map(read)),
                    refusals: self.refusals.each_ref().map(|codes| codes.each_ref().map(read)),
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
    /// Connections that hooks refused before they said anything of MQTT.
    accepts_denied,
    /// CONNECTs that hooks refused.
    connects_denied,
    /// Messages of clients that hooks refused.
    publishes_denied,
    /// Filters of SUBSCRIBE and UNSUBSCRIBE that hooks refused.
    filters_denied,
    /// Messages that hooks kept from their receiver.
    deliveries_denied,
    /// Messages that hooks made larger than their receiver takes.
    messages_grown_too_large,
    /// Answers that hooks promised and did not give in time.
    hook_timeouts,
    /// Answers of hooks that were not waited for, because too many connections were waiting.
    hook_overloads,
    /// Times that hooks slowed a client down: for a while nothing of it was read.
    hook_delays,
    /// Connections that a hook has ended: by a refusal that says so, by a panic, or because authentication had expired.
    ended_by_hooks,
    /// Messages of which observers were not told, because too many waited to be acknowledged.
    untold,
}

impl Counters {
    /// Adds one.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds one to what was refused with this reason.
    pub(crate) fn refuse(&self, reason: ReasonCode) {
        let code = usize::from(reason.code());
        Counters::count(&self.refusals[code / 32][code % 32]);
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

    /// What hooks have refused, by the reason that they gave; reasons that nobody gave are left out.
    pub fn refusals(&self) -> impl Iterator<Item = (ReasonCode, u64)> {
        let count = |reason: &ReasonCode| {
            let code = usize::from(reason.code());
            (*reason, self.refusals[code / 32][code % 32])
        };
        ReasonCode::ALL.iter().map(count).filter(|(_, count)| *count > 0)
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
