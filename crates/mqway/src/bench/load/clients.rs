//! The connections of a worker: made at their pace, kept alive, and counted when they end.

use std::io;
use std::time::Duration;

use mqway_codec::{Connack, Disconnect, Packet, QoS, ReasonCode, Suback};
use mqway_engine::{ConnId, Io, Why};
use mqway_transport::websocket::CloseCode;

use super::{DIAL_KEY, Kind, Load, Order, Phase, nanos};
use crate::bench::plan::{Plan, Share, Side};
use crate::failure::{Failure, Status, in_words};

/// Connections that a worker makes at the same time. Servers let some 100 wait to be accepted: the SYN of one more is
/// dropped, and sent again after a second.
const MOST_CONNECTING: usize = 64;

/// A packet of two bytes, the same in every version.
const PINGREQ: [u8; 2] = [0xC0, 0];

/// The PINGREQ of a client is sent after this part of its keep alive.
const KEEP_ALIVE_PART: u64 = 2;

/// One client.
pub(super) struct Client {
    conn: Option<ConnId>,
    pub state: State,
    pub side: Side,
    /// Its place among the worker's clients of that side.
    pub index: usize,
    /// When it was dialled.
    dialled: u64,
    /// When it last changed its state.
    since: u64,
    /// When it last said something.
    pub said: u64,
    /// When the PINGREQ was sent that is unanswered; 0 for none.
    pinged: u64,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has no connection yet.
    Waiting,
    /// TCP and all layers above it are under way.
    Dialling,
    /// CONNECT is sent.
    Connecting,
    /// SUBSCRIBE is sent.
    Subscribing,
    /// All is ready.
    Ready,
    /// Its connection is gone, for whatever reason.
    Gone,
}

/// The clients of a share: subscribers first, so that they are there when publishers begin.
pub(super) fn of(plan: &Plan, share: &Share) -> Vec<Client> {
    let sides = match plan.kind {
        Kind::Connections { .. } => [(Side::Publisher, 0), (Side::Publisher, share.publishers.len())],
        _ => [(Side::Subscriber, share.subscribers.len()), (Side::Publisher, share.publishers.len())],
    };
    let clients = sides.into_iter().flat_map(|(side, count)| (0..count).map(move |index| (side, index)));
    let new = |(side, index)| Client {
        conn: None,
        state: State::Waiting,
        side,
        index,
        dialled: 0,
        since: 0,
        said: 0,
        pinged: 0,
    };
    clients.map(new).collect()
}

/// Tells people what to do where the system has run out of something.
pub(super) fn undialled(failure: Failure, why: &Why) -> Failure {
    let Why::Connect(error) = why else { return failure };
    let advice = match error.raw_os_error() {
        Some(EMFILE) => "each connection is an open file: raise `ulimit -n`, and its hard limit if need be",
        Some(ENFILE) => "the whole system has no more open files: raise fs.file-max",
        Some(EADDRNOTAVAIL) => {
            "this address has no more ports for one server, 28,000 or so: widen net.ipv4.ip_local_port_range"
        }
        _ if error.kind() == io::ErrorKind::NotFound => "is the server there?",
        _ => return failure,
    };
    Failure::new(failure.status, format_args!("{failure}; {advice}"))
}

/// As Linux and most others number them; where they differ, only the advice is missing.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const EADDRNOTAVAIL: i32 = if cfg!(target_os = "linux") { 99 } else { 49 };

impl Load {
    /// The client of a connection.
    #[inline]
    pub(super) fn client(&self, conn: ConnId) -> Option<usize> {
        let index = *self.slots.get(conn.slot())? as usize;
        self.clients.get(index).filter(|client| client.conn == Some(conn)).map(|_| index)
    }

    /// The publisher of a connection.
    pub(super) fn publisher_at(&self, conn: ConnId) -> Option<usize> {
        let client = &self.clients[self.client(conn)?];
        (client.side == Side::Publisher && client.index < self.publishers.len()).then_some(client.index)
    }

    pub(super) fn conn_of(&self, client: usize) -> Option<ConnId> {
        self.clients.get(client)?.conn
    }

    /// Dials as many clients as may be.
    pub(super) fn dial_more(&mut self, io: &mut Io<Order>) {
        let most = if self.is_churn() { usize::MAX } else { MOST_CONNECTING };
        let now = self.now(io);
        while self.connecting < most && self.may_dial() {
            if let Some(wait) = self.wait_for_rate(now) {
                if !std::mem::replace(&mut self.dial_timer, true) {
                    io.set_timer(io.now() + Duration::from_nanos(wait), DIAL_KEY);
                }
                return;
            }
            let Some(index) = self.queue.pop_front() else { return };
            self.dial(io, index, now);
        }
    }

    fn may_dial(&self) -> bool {
        match self.phase {
            Phase::Connecting => !self.queue.is_empty(),
            Phase::Running => self.is_churn() && !self.queue.is_empty(),
            _ => false,
        }
    }

    /// How long the next dial has to wait, in nanoseconds.
    fn wait_for_rate(&self, now: u64) -> Option<u64> {
        let rate = self.plan.connect_rate? / self.plan.workers as f64;
        let due = self.began.saturating_add((self.dialled as f64 * 1e9 / rate) as u64);
        (due > now).then(|| due - now)
    }

    fn dial(&mut self, io: &mut Io<Order>, index: u32, now: u64) {
        let conn = io.dial(u64::from(index), self.plan.dial.clone());
        if self.slots.len() <= conn.slot() {
            self.slots.resize(conn.slot() + 1, u32::MAX);
        }
        self.slots[conn.slot()] = index;
        self.dialled += 1;
        self.connecting += 1;
        let client = &mut self.clients[index as usize];
        client.conn = Some(conn);
        client.dialled = now;
        client.since = now;
        client.state = State::Dialling;
    }

    pub(super) fn say_connect(&mut self, io: &mut Io<Order>, conn: ConnId) {
        let now = self.now(io);
        let Some(index) = self.client(conn) else { return };
        let client = &mut self.clients[index];
        client.state = State::Connecting;
        client.since = now;
        client.said = now;
        let (side, number) = (client.side, self.number(index));
        match self.plan.connect_packet(side, number) {
            Ok(packet) => io.send(conn, &packet),
            Err(failure) => self.lose(io, conn, failure),
        }
    }

    /// A client's number in the run.
    fn number(&self, index: usize) -> u32 {
        let client = &self.clients[index];
        let first = match client.side {
            Side::Publisher => self.share.publishers.start,
            Side::Subscriber => self.share.subscribers.start,
        };
        first + client.index as u32
    }

    pub(super) fn connacked(&mut self, io: &mut Io<Order>, conn: ConnId, connack: &Connack<'_>) {
        let Some(index) = self.client(conn) else { return };
        let now = self.now(io);
        if connack.reason.is_error() {
            let reason = in_words(connack.reason, &connack.properties);
            let told = format_args!("the server refused the connection: {reason}");
            return self.lose(io, conn, Failure::new(Status::Refused, told));
        }
        // [MQTT-3.2.2-11]: a PUBLISH of a higher QoS would end the connection.
        let highest = connack.properties.maximum_qos().unwrap_or(QoS::ExactlyOnce);
        let publishes = index >= self.share.subscribers.len() && !self.publishers.is_empty();
        if publishes && highest < self.plan.qos {
            let told = format_args!("the server takes no messages of QoS {}", self.plan.qos as u8);
            return self.lose(io, conn, Failure::new(Status::Denied, told));
        }
        self.tally.all.connected += 1;
        self.tally.connect.record(now.saturating_sub(self.clients[index].dialled));
        self.tally.connecting = now.saturating_sub(self.began);
        let client = &mut self.clients[index];
        client.since = now;
        match client.side {
            Side::Subscriber => {
                client.state = State::Subscribing;
                match self.plan.subscribe_packet(self.number(index)) {
                    Ok(packet) => io.send(conn, &packet),
                    Err(failure) => self.lose(io, conn, failure),
                }
            }
            Side::Publisher => {
                let place = client.index;
                self.ready(io, index);
                if let Some(publisher) = self.publishers.get_mut(place) {
                    publisher
                        .connected(connack.properties.receive_maximum().map_or(u16::MAX, |most| most.get()));
                }
                if self.is_churn() {
                    self.churn(io, conn, index);
                }
            }
        }
    }

    pub(super) fn subacked(&mut self, io: &mut Io<Order>, conn: ConnId, suback: &Suback<'_>) {
        let Some(index) = self.client(conn) else { return };
        let code = suback.codes.iter().next().unwrap_or(ReasonCode::UnspecifiedError);
        if code.is_error() {
            let reason = in_words(code, &suback.properties);
            let told = format_args!("the server refused the subscription: {reason}");
            return self.lose(io, conn, Failure::new(Status::Denied, told));
        }
        if self.clients[index].state == State::Subscribing {
            self.ready(io, index);
        }
    }

    fn ready(&mut self, io: &mut Io<Order>, index: usize) {
        self.clients[index].state = State::Ready;
        self.connecting -= 1;
        self.dial_more(io);
        self.check_ready(io);
    }

    /// Closes a connection that was only made to be closed, and makes the next.
    fn churn(&mut self, io: &mut Io<Order>, conn: ConnId, index: usize) {
        self.say_goodbye(io, conn);
        self.clients[index].conn = None;
        self.clients[index].state = State::Waiting;
        self.queue.push_back(index as u32);
        self.dial_more(io);
    }

    fn say_goodbye(&self, io: &mut Io<Order>, conn: ConnId) {
        let mut bytes = Vec::new();
        let packet = Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION));
        if packet.encode(self.plan.version, &mut bytes).is_ok() {
            io.send(conn, &bytes);
        }
        io.close(conn, CloseCode::NORMAL);
    }

    /// A connection is gone, or has to go.
    pub(super) fn lose(&mut self, io: &mut Io<Order>, conn: ConnId, failure: Failure) {
        let Some(index) = self.client(conn) else { return };
        io.abort(conn);
        let client = &mut self.clients[index];
        client.conn = None;
        client.pinged = 0;
        let (state, place) = (std::mem::replace(&mut client.state, State::Gone), client.index);
        self.tally.fail(failure);
        if state == State::Ready {
            self.tally.all.lost_connections += 1;
        } else {
            self.tally.all.failed += 1;
            self.connecting -= 1;
        }
        match self.clients[index].side {
            Side::Publisher => {
                if let Some(publisher) = self.publishers.get_mut(place) {
                    publisher.live = false;
                }
            }
            Side::Subscriber => {
                self.count_copies();
                self.mute_single(place);
            }
        }
        if self.is_churn() {
            self.clients[index].state = State::Waiting;
            self.later.push(index as u32);
        }
        self.dial_more(io);
        self.check_ready(io);
    }

    /// A publisher whose only subscriber is gone has nobody to send to.
    pub(super) fn mute_single(&mut self, place: usize) {
        let heard = self.clients.get(place).is_some_and(|client| client.state == State::Ready);
        if self.plan.kind == Kind::Pairs
            && !heard
            && let Some(publisher) = self.publishers.get_mut(place)
        {
            publisher.live = false;
        }
    }

    /// Ends what has taken too long, and keeps the rest alive.
    pub(super) fn sweep(&mut self, io: &mut Io<Order>) {
        let now = self.now(io);
        let timeout = nanos(self.plan.timeout);
        let keep_alive = u64::from(self.plan.keep_alive) * 1_000_000_000;
        for index in 0..self.clients.len() {
            let client = &self.clients[index];
            let Some(conn) = client.conn else { continue };
            let silent = match client.state {
                State::Connecting if now - client.since > timeout => "no answer to CONNECT",
                State::Subscribing if now - client.since > timeout => "no answer to SUBSCRIBE",
                State::Ready if client.pinged != 0 && now - client.pinged > timeout.max(keep_alive) => {
                    "no answer to PINGREQ"
                }
                State::Ready if keep_alive != 0 && now - client.said > keep_alive / KEEP_ALIVE_PART => {
                    self.ping(io, index, now);
                    continue;
                }
                _ => continue,
            };
            let told = format_args!("timed out after {} s: {silent}", self.plan.timeout.as_secs_f64());
            self.lose(io, conn, Failure::new(Status::TimedOut, told));
        }
    }

    pub(super) fn ping(&mut self, io: &mut Io<Order>, index: usize, now: u64) {
        let client = &mut self.clients[index];
        let Some(conn) = client.conn else { return };
        client.said = now;
        if client.pinged == 0 {
            client.pinged = now;
        }
        if client.side == Side::Publisher
            && let Some(publisher) = self.publishers.get_mut(client.index)
        {
            publisher.pinged();
        }
        io.send(conn, &PINGREQ);
    }

    pub(super) fn ponged(&mut self, index: usize, now: u64) {
        let client = &mut self.clients[index];
        let pinged = std::mem::take(&mut client.pinged);
        if pinged != 0 {
            self.tally.ping.record(now.saturating_sub(pinged));
        }
        let (side, place) = (client.side, client.index);
        if side == Side::Publisher && place < self.publishers.len() {
            self.read += 1;
            self.publishers[place].ponged();
            self.list(place);
        }
    }

    /// Says goodbye on every connection.
    pub(super) fn hang_up(&mut self, io: &mut Io<Order>) {
        for index in 0..self.clients.len() {
            let Some(conn) = self.clients[index].conn.take() else { continue };
            match self.clients[index].state {
                State::Ready | State::Subscribing => self.say_goodbye(io, conn),
                _ => io.abort(conn),
            }
        }
    }
}
