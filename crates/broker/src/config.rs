//! What a broker is started with.

use std::num::NonZeroU32;
use std::time::Duration;

use mqway_engine::{Config as EngineConfig, Limits as EngineLimits, Listener};
use mqway_hooks::{Hooks, Refusals};
use mqway_session::server::Terms;

/// Everything that a broker is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients are accepted.
    pub listeners: Vec<Listener>,
    /// Workers, and the limits that hold for any connection.
    pub engine: EngineConfig,
    /// What clients are offered.
    pub terms: Terms,
    /// What no client, and not all of them together, may exceed.
    pub limits: Limits,
    /// How often the topics below `$SYS` are published; `None`: never.
    pub sys_interval: Option<Duration>,
    /// What judges, changes and watches clients and their messages.
    pub hooks: Hooks,
    /// What happens where the protocol leaves a choice of how to refuse.
    pub refusals: Refusals,
}

/// Bytes of the largest packet, unless the configuration says otherwise.
pub const MAXIMUM_PACKET: usize = 16 * 1024 * 1024;

impl Default for Config {
    fn default() -> Config {
        let mut config = Config {
            listeners: Vec::new(),
            engine: EngineConfig::default(),
            terms: Terms::default(),
            limits: Limits::default(),
            sys_interval: Some(Duration::from_secs(10)),
            hooks: Hooks::new(),
            refusals: Refusals::default(),
        };
        config.engine.limits =
            EngineLimits { high_water: 1024 * 1024, low_water: 256 * 1024, ..EngineLimits::default() };
        config.terms.in_flight = std::num::NonZeroU16::new(1024).unwrap_or(std::num::NonZeroU16::MAX);
        config.set_maximum_packet(MAXIMUM_PACKET);
        config
    }
}

impl Config {
    /// Sets the bytes of the largest packet to accept. A packet waits in memory until it is whole, so that the
    /// engine's limit goes with it.
    pub fn set_maximum_packet(&mut self, bytes: usize) {
        self.terms.maximum_packet = bytes;
        self.engine.limits.unread = bytes.saturating_add(READ_AHEAD);
    }
}

/// Bytes that may be read behind an incomplete packet.
const READ_AHEAD: usize = 128 * 1024;

/// Limits of a broker; what goes beyond them is dropped or refused, and counted.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The time for a whole CONNECT to come.
    pub connect_time: Duration,
    /// CONNECTs in a second, over all listeners; more are refused. `None`: any number.
    pub connect_rate: Option<NonZeroU32>,
    /// The time that a hook has for an answer which it has promised. After that there is none, and what is done then
    /// is what [`Hooks::unanswered`] says.
    pub hook_time: Duration,
    /// Connections that may wait for answers of hooks at once; for more there is none.
    pub hook_waiting: usize,
    /// Messages that may wait in a session, beside those in flight.
    pub queue_messages: usize,
    /// Bytes of the messages in a session, waiting and in flight.
    pub queue_bytes: usize,
    /// Bytes of the messages in all sessions.
    pub stored_bytes: u64,
    /// What becomes of a message that finds a full queue.
    pub queue_full: QueueFull,
    /// Sessions, with and without a connection; clients that would begin another are refused.
    pub sessions: u64,
    /// Subscriptions of one session.
    pub subscriptions: usize,
    /// Bytes of the subscriptions and wills of all sessions.
    pub state_bytes: u64,
    /// Levels of a topic name or filter.
    pub topic_levels: usize,
    /// Messages retained.
    pub retained_messages: u64,
    /// Bytes of messages retained.
    pub retained_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect_time: Duration::from_secs(10),
            connect_rate: None,
            hook_time: Duration::from_secs(5),
            hook_waiting: 10_000,
            queue_messages: 10_000,
            queue_bytes: 64 * 1024 * 1024,
            stored_bytes: 1024 * 1024 * 1024,
            queue_full: QueueFull::DropNewest,
            sessions: 1_000_000,
            subscriptions: 10_000,
            state_bytes: 1024 * 1024 * 1024,
            topic_levels: 128,
            retained_messages: 1_000_000,
            retained_bytes: 1024 * 1024 * 1024,
        }
    }
}

/// What becomes of a message that finds a full queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueFull {
    /// It is dropped.
    #[default]
    DropNewest,
    /// The one that has waited longest is dropped in its place.
    DropOldest,
}
