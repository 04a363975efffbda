//! One publisher: when it may send its next message, and what is under way.

use std::collections::VecDeque;

use mqway_codec::{PacketId, QoS};
use mqway_session::{Outbound, Outgoing, UnknownId};

use super::plan::Plan;
use super::stamp::{Stamp, filler};

/// Bytes that a publisher sends before others get their turn; one message at least.
const BURST: usize = 256 * 1024;

/// What decides when messages are sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As soon as no more than so many are under way.
    Window(u32),
    /// At moments that are fixed before, whatever the server does.
    Rate {
        /// When the first message of the first publisher is due.
        start: u64,
        /// From one message of a publisher to its next, in nanoseconds.
        interval: f64,
        /// From one publisher to the next, in nanoseconds.
        stagger: f64,
    },
}

/// What all publishers of a worker have in common.
#[derive(Debug)]
pub struct Stock {
    pace: Pace,
    qos: QoS,
    run: u32,
    messages: u64,
    /// Nothing is due from this moment on.
    until: u64,
    /// Nanoseconds from 1970 to the start of the worker's clock.
    epoch: u64,
    id_from_end: usize,
    filler: Vec<u8>,
    /// How many subscribers get each message.
    copies: u64,
}

/// One publisher.
pub struct Publisher {
    /// Its place among the worker's clients.
    pub client: usize,
    /// Its connection is ready.
    pub live: bool,
    /// More waits for the network than should.
    pub blocked: bool,
    /// It is on the list of those that may have something to send.
    pub listed: bool,
    number: u32,
    header: Box<[u8]>,
    sent: u64,
    /// Messages below this one are not waited for any more.
    given_up: u64,
    /// Messages received, by the highest number: the sum over all subscribers.
    heard: u64,
    /// Messages that the server has read, as PINGRESP tells.
    read: u64,
    /// What had been sent at each PINGREQ that is under way.
    pings: VecDeque<u64>,
    /// The moments at which messages of QoS 1 and 2 were meant to be sent.
    outbound: Outbound<u64, u64>,
    acknowledged: u64,
    /// The server takes no more unacknowledged messages at once.
    receive_maximum: u64,
}

/// What a turn of a publisher came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Messages that were sent.
    pub sent: u64,
    /// More may be sent at once, when the others have had their turn.
    pub more: bool,
    /// A PINGREQ should follow, which is how messages of QoS 0 that nobody of ours receives are counted off.
    pub ping: bool,
}

impl Stock {
    /// What `plan` says, for messages that are due from `start` to `until`.
    pub fn new(plan: &Plan, publishers: usize, epoch: u64, start: u64, until: u64) -> Stock {
        let pace = match plan.rate {
            None => Pace::Window(plan.window),
            Some(rate) => {
                let share = rate * publishers as f64 / f64::from(plan.publishers.max(1));
                let stagger = 1e9 / share;
                Pace::Rate { start, interval: stagger * publishers as f64, stagger }
            }
        };
        Stock {
            pace,
            qos: plan.qos,
            run: plan.run,
            messages: plan.messages.unwrap_or(u64::MAX),
            until,
            epoch,
            id_from_end: plan.id_from_end(),
            filler: filler(plan.size),
            copies: 0,
        }
    }

    /// Nothing is due any more.
    pub fn end(&mut self, now: u64) {
        self.until = self.until.min(now);
    }

    /// Whether something may be due at `now` or later.
    pub fn is_open(&self, now: u64) -> bool {
        now < self.until
    }

    /// Sets how many subscribers get each message.
    pub fn set_copies(&mut self, copies: u64) {
        self.copies = copies;
    }

    /// What follows the stamp in each payload.
    pub fn filler(&self) -> &[u8] {
        &self.filler
    }

    /// How fast.
    pub fn pace(&self) -> Pace {
        self.pace
    }
}

impl Pace {
    /// When message `number` of the publisher at `place` is due; `None`: whenever there is room.
    fn due(self, place: usize, number: u64) -> Option<u64> {
        match self {
            Pace::Window(_) => None,
            Pace::Rate { start, interval, stagger } => {
                Some(start.saturating_add((number as f64 * interval + place as f64 * stagger) as u64))
            }
        }
    }
}

impl Publisher {
    /// Publisher `number` of the run, which sends packets that begin with `header`.
    pub fn new(client: usize, number: u32, header: Box<[u8]>) -> Publisher {
        Publisher {
            client,
            live: false,
            blocked: false,
            listed: false,
            number,
            header,
            sent: 0,
            given_up: 0,
            heard: 0,
            read: 0,
            pings: VecDeque::new(),
            outbound: Outbound::new(1),
            acknowledged: 0,
            receive_maximum: 0,
        }
    }

    /// Its connection is there.
    pub fn connected(&mut self, receive_maximum: u16) {
        self.live = true;
        self.receive_maximum = u64::from(receive_maximum);
        self.outbound.connected(receive_maximum);
    }

    /// Messages that it has sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether all that it sent is acknowledged, as far as it ever will be.
    pub fn is_acknowledged(&self, qos: QoS) -> bool {
        qos == QoS::AtMostOnce || self.acknowledged == self.sent
    }

    /// Whether it has nothing to send any more, of the number of messages it was given.
    pub fn is_done(&self, stock: &Stock) -> bool {
        self.sent >= stock.messages
    }

    /// Messages that were due before `stock` ended and were not sent, where there is a schedule.
    pub fn unsent(&self, place: usize, stock: &Stock) -> u64 {
        let Pace::Rate { start, interval, stagger } = stock.pace else { return 0 };
        let time = stock.until.saturating_sub(start) as f64 - place as f64 * stagger;
        let due = if time > 0.0 { (time / interval).ceil() as u64 } else { 0 };
        due.min(stock.messages).saturating_sub(self.sent)
    }

    /// A subscriber's highest number has grown by so much.
    #[inline]
    pub fn heard(&mut self, more: u64) {
        self.heard = self.heard.saturating_add(more);
    }

    /// What is under way will not come: others may be sent in its place.
    pub fn give_up(&mut self) {
        self.given_up = self.sent;
    }

    /// A PINGREQ is sent.
    pub fn pinged(&mut self) {
        self.pings.push_back(self.sent);
    }

    /// PINGRESP: the server has read all that was sent before PINGREQ.
    pub fn ponged(&mut self) {
        self.read = self.pings.pop_front().unwrap_or(self.read);
    }

    /// PUBACK, or a PUBREC that refuses: when the message was meant to be sent.
    pub fn completed(&mut self, id: PacketId, qos: QoS) -> Result<u64, UnknownId> {
        let at = match qos {
            QoS::ExactlyOnce => self.outbound.pubrec_refused(id)?,
            _ => self.outbound.puback(id)?,
        };
        self.acknowledged += 1;
        Ok(at)
    }

    /// PUBREC: PUBREL is to be sent.
    pub fn pubrec(&mut self, id: PacketId) -> Result<(), UnknownId> {
        self.outbound.pubrec(id, |at| at)
    }

    /// PUBCOMP: when the message was meant to be sent.
    pub fn pubcomp(&mut self, id: PacketId) -> Result<u64, UnknownId> {
        let at = self.outbound.pubcomp(id)?;
        self.acknowledged += 1;
        Ok(at)
    }

    /// Appends to `out` the packets that may be sent at `now`.
    pub fn send(&mut self, place: usize, now: u64, stock: &Stock, out: &mut Vec<u8>) -> Turn {
        if !self.live || self.blocked {
            return Turn::default();
        }
        let mut left = self.allowed(stock).min(stock.messages.saturating_sub(self.sent));
        let mut turn = Turn::default();
        while left > 0 {
            let at = stock.pace.due(place, self.sent).unwrap_or(now);
            if at > now || at >= stock.until || !self.put(at, stock, out) {
                break;
            }
            left -= 1;
            turn.sent += 1;
            if out.len() >= BURST {
                turn.more = left > 0;
                break;
            }
        }
        turn.ping = turn.sent > 0 && self.wants_ping(stock);
        turn
    }

    /// How many may be sent before something comes back.
    fn allowed(&self, stock: &Stock) -> u64 {
        let room = match stock.qos {
            QoS::AtMostOnce => u64::MAX,
            _ => self.receive_maximum.saturating_sub(self.sent - self.acknowledged),
        };
        let Pace::Window(window) = stock.pace else { return room };
        let window = match stock.qos {
            QoS::AtMostOnce => u64::from(window),
            _ => u64::from(window).min(self.receive_maximum),
        };
        let behind = match (stock.qos, stock.copies) {
            (QoS::AtMostOnce, 0) => self.read,
            (_, 0) => self.acknowledged,
            (QoS::AtMostOnce, copies) => self.heard / copies,
            (_, copies) => (self.heard / copies).min(self.acknowledged),
        };
        let under_way = self.sent.saturating_sub(behind.max(self.given_up));
        let credit = window.saturating_sub(under_way).min(room);
        // A quarter of the window at once: single messages would cost a system call each, here and at the server.
        if credit >= window.div_ceil(4) { credit } else { 0 }
    }

    fn wants_ping(&self, stock: &Stock) -> bool {
        let Pace::Window(window) = stock.pace else { return false };
        let since = self.sent - self.pings.back().copied().unwrap_or(self.read);
        stock.qos == QoS::AtMostOnce && stock.copies == 0 && since >= u64::from(window).div_ceil(4)
    }

    /// Appends one packet, for a message that was meant to be sent at `at`.
    #[inline]
    fn put(&mut self, at: u64, stock: &Stock, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.extend_from_slice(&self.header);
        if stock.qos != QoS::AtMostOnce {
            let Some(id) = self.next_id(stock.qos, at) else {
                out.truncate(start);
                return false;
            };
            let place = out.len().saturating_sub(stock.id_from_end);
            if let Some(place) = out.get_mut(place..place + 2) {
                place.copy_from_slice(&id.value().to_be_bytes());
            }
        }
        let stamp = Stamp {
            run: stock.run,
            publisher: self.number,
            number: self.sent,
            at: stock.epoch.saturating_add(at),
        };
        out.extend_from_slice(&stamp.to_bytes());
        out.extend_from_slice(&stock.filler);
        self.sent += 1;
        true
    }

    /// The identifier for a message that goes out at once: nothing ever waits in the queue behind the window.
    fn next_id(&mut self, qos: QoS, at: u64) -> Option<PacketId> {
        self.outbound.push(qos, at).ok()?;
        match self.outbound.next_outgoing()? {
            Outgoing::Publish { id, .. } => Some(id),
            Outgoing::Pubrel { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
