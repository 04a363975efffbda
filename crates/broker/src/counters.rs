//! What the broker counts. Each worker gathers a tick's counts and then adds them to the shared ones.

use std::sync::atomic::{AtomicU64, Ordering};

use mqway_codec::ReasonCode;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Live counters, shared by the workers.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
            refusals: [[AtomicU64; 32]; 8],
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)*
            refusals: [[u64; 32]; 8],
        }

        /// One worker's counts of a tick. Those that go both ways wrap below zero, and come right where they are added.
        #[derive(Debug, Default)]
        pub(crate) struct Tally {
            $(pub $name: u64,)*
        }

        impl Counters {
            /// Reads them all.
            pub fn snapshot(&self) -> Snapshot {
                let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                Snapshot {
                    $($name: read(&self.$name),)*
                    refusals: self.refusals.each_ref().map(|codes| codes.each_ref().map(read)),
                }
            }

            /// Adds what a worker has gathered, which is then none.
            pub(crate) fn add(&self, tally: &mut Tally) {
                $(
                    let count = std::mem::take(&mut tally.$name);
                    if count != 0 {
                        self.$name.fetch_add(count, Ordering::Relaxed);
                    }
                )*
            }
        }

        impl Snapshot {
            /// Every counter but [`Snapshot::refusals`] with its name, in a fixed order.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Sessions there are, with and without a connection.
    sessions,
    /// Bytes of the subscriptions and wills of all sessions.
    state_bytes,
    /// Sessions with a connection.
    connected,
    /// Sessions that have ended because their expiry interval passed.
    sessions_expired,
    /// CONNECTs accepted.
    connects,
    /// CONNECTs refused, and first packets that were none.
    connects_refused,
    /// Connections that hooks did not have, before CONNECT.
    accepts_denied,
    /// CONNECTs that hooks refused.
    connects_denied,
    /// Messages from clients that hooks did not let be published.
    publishes_denied,
    /// Filters of SUBSCRIBE and UNSUBSCRIBE that hooks refused.
    filters_denied,
    /// Messages to clients that hooks did not let be delivered.
    deliveries_denied,
    /// Wills that hooks did not let be published.
    wills_denied,
    /// Connections that hooks ended, by what they said or by panicking.
    ended_by_hooks,
    /// Connections whose authentication was over.
    authentications_expired,
    /// Answers that hooks promised and did not give in time.
    hook_timeouts,
    /// Answers of hooks that were not waited for, because too many connections were waiting.
    hook_overloads,
    /// Times that hooks slowed a client down: for a while nothing of it was read.
    hook_delays,
    /// CONNECTs refused because too many came in a second.
    connects_over_rate,
    /// CONNECTs refused because as many sessions are, or as many bytes of wills, as may be.
    connects_over_sessions,
    /// Clients that sent no whole CONNECT in time.
    connect_timeouts,
    /// Connections that another one of the same client took over.
    takeovers,
    /// Clients that said nothing for one and a half times their keep alive.
    keep_alive_timeouts,
    /// Connections ended because of what the client sent.
    client_faults,
    /// Packets received from clients.
    packets_received,
    /// Packets sent to clients.
    packets_sent,
    /// PUBLISH packets received.
    publishes_received,
    /// Payload bytes of PUBLISH packets received.
    publish_bytes_received,
    /// PUBLISH packets sent.
    publishes_sent,
    /// Payload bytes of PUBLISH packets sent.
    publish_bytes_sent,
    /// Messages published that no subscription was there for.
    unrouted,
    /// Messages in all sessions, waiting or in flight.
    stored,
    /// Bytes of them, counted anew for each session.
    stored_bytes,
    /// Messages of QoS 0 dropped because their receiver was too slow.
    dropped_slow,
    /// Messages dropped because as many as may wait in a session.
    dropped_queue_full,
    /// Messages dropped because as many bytes as may wait in a session, or in all together.
    dropped_queue_bytes,
    /// Messages dropped because their expiry interval had passed.
    dropped_expired,
    /// Messages dropped because the packet would be larger than its receiver takes.
    dropped_too_large,
    /// Messages that clients refused by a reason code.
    dropped_refused,
    /// Messages dropped because the session that they waited in has ended.
    dropped_session_ended,
    /// Messages dropped because a subscriber inside the program was too slow.
    dropped_local,
    /// Messages refused because of their topic: `$SYS` is the broker's own.
    refused_topics,
    /// Messages not retained because as many, or as many bytes, are as may be.
    retained_refused,
    /// Messages retained.
    retained,
    /// Bytes of them.
    retained_bytes,
    /// Wills published.
    wills,
    /// Subscriptions refused by a limit.
    subscriptions_refused,
    /// Messages of shared subscriptions that went on to another member, because theirs had left.
    share_redeliveries,
    /// Times that the reading of a publisher was stopped because another worker, or its own reader, was behind.
    pauses,
}

impl Counters {
    /// Adds one to what was refused with this reason.
    pub(crate) fn refuse(&self, reason: ReasonCode) {
        let code = usize::from(reason.code());
        self.refusals[code / 32][code % 32].fetch_add(1, Ordering::Relaxed);
    }
}

impl Snapshot {
    /// What hooks have refused, by the reason that they gave; reasons that nobody gave are left out.
    pub fn refusals(&self) -> impl Iterator<Item = (ReasonCode, u64)> {
        let count = |reason: &ReasonCode| {
            let code = usize::from(reason.code());
            (*reason, self.refusals[code / 32][code % 32])
        };
        ReasonCode::ALL.iter().map(count).filter(|(_, count)| *count > 0)
    }
}

impl Tally {
    /// Adds to a counter that goes both ways.
    #[inline]
    pub fn more(counter: &mut u64, by: u64) {
        *counter = counter.wrapping_add(by);
    }

    /// Takes from a counter that goes both ways.
    #[inline]
    pub fn less(counter: &mut u64, by: u64) {
        *counter = counter.wrapping_sub(by);
    }
}
