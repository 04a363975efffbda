//! What the broker counts. Each worker gathers a tick's counts and then adds them to the shared ones.

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

        /// One worker's counts of a tick. Those that go both ways wrap below zero, and come right where they are added.
        #[derive(Debug, Default)]
        pub(crate) struct Tally {
            $(pub $name: u64,)*
        }

        impl Counters {
            /// Reads them all.
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.load(Ordering::Relaxed),)* }
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
            /// Every counter with its name, in a fixed order.
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
    denied_accepts,
    /// CONNECTs that hooks refused because of the user name or the password.
    denied_credentials,
    /// CONNECTs that hooks refused for another reason.
    denied_connects,
    /// Messages from clients that hooks did not let be published.
    denied_publishes,
    /// Subscriptions that hooks did not allow.
    denied_subscriptions,
    /// Subscriptions that hooks did not let be ended.
    denied_unsubscriptions,
    /// Messages to clients that hooks did not let be delivered.
    denied_deliveries,
    /// Wills that hooks did not let be published.
    denied_wills,
    /// Connections that hooks ended, by what they said or by panicking.
    ended_by_hooks,
    /// Connections whose authentication was over.
    authentications_expired,
    /// Answers that hooks had promised, and that did not come in time, or were too many to wait for.
    hooks_unanswered,
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
