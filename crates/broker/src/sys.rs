//! The topics below `$SYS`, by the names that mosquitto gave them.

use std::sync::Arc;
use std::time::Duration;

use mqway_engine::{Counters as EngineCounters, Io};

use crate::counters::Snapshot;
use crate::house::House;
use crate::mail::Mail;
use crate::message::Message;

/// Publishes the broker's figures at an interval.
pub(crate) struct Sys {
    interval: Duration,
    engine: Option<Arc<EngineCounters>>,
    /// The most clients that were connected at once.
    most_connected: u64,
    last: Option<(Duration, [u64; RATES.len()])>,
    /// For each rate its average over 1, 5 and 15 minutes.
    averages: [[f64; 3]; RATES.len()],
}

/// What averages are made of, as it stands in `$SYS/broker/load/…`.
const RATES: [&str; 8] = [
    "messages/received",
    "messages/sent",
    "publish/received",
    "publish/sent",
    "bytes/received",
    "bytes/sent",
    "connections",
    "publish/dropped",
];

const MINUTES: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

impl Sys {
    pub fn new(interval: Duration) -> Sys {
        Sys { interval, engine: None, most_connected: 0, last: None, averages: [[0.0; 3]; RATES.len()] }
    }

    /// Publishes all of them. Returns when to do it next.
    pub fn publish(&mut self, io: &mut Io<Mail>, house: &mut House) -> Duration {
        let now = io.now();
        let engine = self.engine.get_or_insert_with(|| io.counters()).snapshot();
        let counts = house.shared.counters.snapshot();
        self.most_connected = self.most_connected.max(counts.connected);
        let totals = [
            counts.packets_received,
            counts.packets_sent,
            counts.publishes_received,
            counts.publishes_sent,
            engine.bytes_read,
            engine.bytes_written,
            counts.connects,
            dropped(&counts),
        ];
        self.average(now, totals);
        let disconnected = counts.sessions.saturating_sub(counts.connected);
        let figures: [(&str, u64); 26] = [
            ("uptime", now.as_secs()),
            ("clients/total", counts.sessions),
            ("clients/connected", counts.connected),
            ("clients/active", counts.connected),
            ("clients/disconnected", disconnected),
            ("clients/inactive", disconnected),
            ("clients/maximum", self.most_connected),
            ("clients/expired", counts.sessions_expired),
            ("messages/received", counts.packets_received),
            ("messages/sent", counts.packets_sent),
            ("messages/stored", counts.stored),
            ("store/messages/count", counts.stored),
            ("store/messages/bytes", counts.stored_bytes),
            ("publish/messages/received", counts.publishes_received),
            ("publish/messages/sent", counts.publishes_sent),
            ("publish/messages/dropped", dropped(&counts)),
            ("publish/bytes/received", counts.publish_bytes_received),
            ("publish/bytes/sent", counts.publish_bytes_sent),
            ("bytes/received", engine.bytes_read),
            ("bytes/sent", engine.bytes_written),
            ("retained messages/count", counts.retained),
            ("retained messages/bytes", counts.retained_bytes),
            ("subscriptions/count", house.shared.index.len() as u64),
            ("shared_subscriptions/count", house.shared.index.shares() as u64),
            ("connections/socket/count", engine.open),
            ("connections/refused", counts.connects_refused + engine.refused_connections),
        ];
        say(io, house, "version", concat!("mqway version ", env!("CARGO_PKG_VERSION")));
        for (name, figure) in figures {
            let text = if name == "uptime" { format!("{figure} seconds") } else { figure.to_string() };
            say(io, house, name, &text);
        }
        for (name, averages) in RATES.iter().zip(self.averages) {
            for ((minutes, _), average) in MINUTES.iter().zip(averages) {
                say(io, house, &format!("load/{name}/{minutes}"), &format!("{average:.2}"));
            }
        }
        now + self.interval
    }

    /// Brings the averages, which are per minute, up to date: each decays with its own time.
    fn average(&mut self, now: Duration, totals: [u64; RATES.len()]) {
        if let Some((then, before)) = self.last {
            let passed = now.saturating_sub(then).as_secs_f64();
            for ((averages, total), before) in self.averages.iter_mut().zip(totals).zip(before) {
                let rate = total.saturating_sub(before) as f64 * 60.0 / passed.max(0.001);
                for (average, (_, seconds)) in averages.iter_mut().zip(MINUTES) {
                    let kept = (-passed / seconds).exp();
                    *average = *average * kept + rate * (1.0 - kept);
                }
            }
        }
        self.last = Some((now, totals));
    }
}

fn dropped(counts: &Snapshot) -> u64 {
    counts.dropped_slow
        + counts.dropped_queue_full
        + counts.dropped_queue_bytes
        + counts.dropped_expired
        + counts.dropped_too_large
        + counts.dropped_session_ended
}

fn say(io: &mut Io<Mail>, house: &mut House, name: &str, text: &str) {
    let mut message = Message::new(&format!("$SYS/broker/{name}"), text.as_bytes());
    message.retain = true;
    house.publish_own(io, &Arc::new(message));
}
