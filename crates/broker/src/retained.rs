//! What is retained: whose it is, how much of it there may be, and how it goes once it has expired.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mqway_codec::TopicName;
use mqway_engine::Io;
use mqway_routing::{RetainedCursor, Scan};

use crate::Message;
use crate::clients::Timer;
use crate::counters::Tally;
use crate::mail::Mail;
use crate::message::{Draft, Expired, time_left};
use crate::shared::Shared;

/// A retained message.
#[derive(Debug)]
pub(crate) struct Retained {
    pub message: Arc<Message>,
    /// Who has published it, for No Local; `None`: the broker, or the program around it.
    pub publisher: Option<Publisher>,
}

/// Stands for a client identifier, which it is a keyed hash of: a retained message outlives its publisher's session, and
/// may be told from one's own all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publisher(pub NonZeroU64);

/// How long expired messages may stay before it is looked for them, and at the most as much longer as that takes.
const SWEEP: Duration = Duration::from_secs(30);

/// Retained messages that a sweep looks at before others get their turn, and how long that is.
const SWEPT_AT_ONCE: usize = 512;
const TURN: Duration = Duration::from_millis(2);

/// Retains a message, or nothing any more; of no session. [MQTT-3.3.1-5], [MQTT-3.3.1-6]; 3.1.1: [MQTT-3.1.2-7],
/// 3.1.1: [MQTT-3.3.1-7]
pub(crate) fn retain(
    shared: &Shared,
    tally: &mut Tally,
    topic: TopicName<'_>,
    draft: &mut Draft<'_>,
    publisher: Option<Publisher>,
) {
    let (limits, counters) = (&shared.limits, &shared.counters);
    let before = if draft.payload.is_empty() {
        shared.retained.remove(topic) // [MQTT-3.3.1-7]
    } else {
        let message = draft.shared();
        let known = shared.retained.with(topic, |retained| retained.message.size());
        let bytes = counters.retained_bytes.load(Ordering::Relaxed) + message.size() as u64;
        let full = known.is_none() && shared.retained.len() as u64 >= limits.retained_messages;
        if full || bytes - (known.unwrap_or(0) as u64).min(bytes) > limits.retained_bytes {
            tally.retained_refused += 1;
            return;
        }
        // At once, so that the limit holds also within a tick.
        counters.retained.fetch_add(1, Ordering::Relaxed);
        counters.retained_bytes.fetch_add(message.size() as u64, Ordering::Relaxed);
        shared.retained.insert(topic, Retained { message, publisher })
    };
    if let Some(before) = before {
        take_off(shared, &before.message);
    }
}

/// Forgets a message that has expired, unless another is retained in its place meanwhile.
pub(crate) fn forget_expired(shared: &Shared, message: &Arc<Message>) {
    let same = |retained: &Retained| Arc::ptr_eq(&retained.message, message);
    if let Ok(topic) = TopicName::new(&message.topic)
        && let Some(expired) = shared.retained.remove_if(topic, same)
    {
        take_off(shared, &expired.message);
    }
}

/// Takes a message that is not retained any more off the books.
fn take_off(shared: &Shared, message: &Message) {
    shared.counters.retained.fetch_sub(1, Ordering::Relaxed);
    shared.counters.retained_bytes.fetch_sub(message.size() as u64, Ordering::Relaxed);
}

/// Looks from time to time for retained messages that have expired: else those that nobody asks for would fill what may
/// be retained. A worker that has retained nothing that expires has nothing to look for.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// How far a sweep that has begun has come.
    cursor: Option<RetainedCursor>,
    /// It has seen what will expire later.
    again: bool,
    armed: bool,
}

impl Sweep {
    /// A message that will expire has been retained.
    #[inline]
    pub fn expect(&mut self, io: &mut Io<Mail>) {
        if !std::mem::replace(&mut self.armed, true) {
            io.set_timer(io.now() + SWEEP, Timer::Sweep.key());
        }
    }

    /// Looks at some more.
    pub fn go_on(&mut self, io: &mut Io<Mail>, shared: &Shared) {
        let cursor = self.cursor.get_or_insert_with(RetainedCursor::all);
        let mut expired = Vec::new();
        let now = io.now();
        let scan =
            shared.retained.scan(cursor, SWEPT_AT_ONCE, |_, Retained { message, .. }| {
                match time_left(message.expires, now) {
                    Err(Expired) => expired.push(message.clone()),
                    Ok(left) => self.again |= left.is_some(),
                }
            });
        expired.iter().for_each(|message| forget_expired(shared, message));
        let pause = match scan {
            Scan::More => TURN,
            Scan::Done => {
                self.cursor = None;
                self.armed = std::mem::take(&mut self.again);
                SWEEP
            }
        };
        if self.armed {
            io.set_timer(now + pause, Timer::Sweep.key());
        }
    }
}
