//! Keep alive (5.0 §3.1.2.10): silence is bounded, on both sides.

use core::time::Duration;

/// The client's side: says something at least once in the interval, and notices when nothing comes back.
///
/// PINGREQ is due when nothing was sent for an interval, and also when nothing came: a client that publishes all the
/// time would else not notice before TCP does, many minutes later, that nobody is there.
#[derive(Clone, Debug)]
pub struct Pinger {
    interval: Option<Duration>,
    /// How long an answer to PINGREQ may take.
    patience: Duration,
    last_sent: Duration,
    last_received: Duration,
    /// When PINGREQ was sent that nothing has answered.
    asked: Option<Duration>,
}

/// What a client's keep alive wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Nothing before this moment; `None`: nothing ever.
    Wait(Option<Duration>),
    /// Send PINGREQ. [MQTT-3.1.2-20]
    Ping,
    /// The server has not answered in time: the connection is dead.
    Dead,
}

impl Pinger {
    /// For a connection that begins `now`. An interval of 0 seconds turns keep alive off.
    pub fn new(seconds: u16, patience: Duration, now: Duration) -> Pinger {
        let interval = (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)));
        Pinger { interval, patience, last_sent: now, last_received: now, asked: None }
    }

    /// The server has set another interval, or confirmed ours.
    pub fn restart(&mut self, seconds: u16, now: Duration) {
        *self = Pinger::new(seconds, self.patience, now);
    }

    /// When [`Pinger::poll`] will want something; `None`: never.
    pub fn due(&self) -> Option<Duration> {
        let interval = self.interval?;
        Some(match self.asked {
            Some(asked) => asked.saturating_add(self.patience),
            None => self.last_sent.min(self.last_received) + interval,
        })
    }

    /// A packet was sent.
    pub fn sent(&mut self, now: Duration) {
        self.last_sent = now;
    }

    /// Something came. Any byte shows that the server lives, not only PINGRESP: a large message may hold that up.
    pub fn received(&mut self, now: Duration) {
        self.last_received = now;
        self.asked = None;
    }

    /// What is due at `now`. After [`Beat::Ping`] the packet counts as sent.
    pub fn poll(&mut self, now: Duration) -> Beat {
        let Some(due) = self.due() else {
            return Beat::Wait(None);
        };
        if now < due {
            return Beat::Wait(Some(due));
        }
        if self.asked.is_some() {
            return Beat::Dead;
        }
        self.asked = Some(now);
        self.last_sent = now;
        Beat::Ping
    }
}

/// The server's side: a client that says nothing for one and a half times the interval is gone. [MQTT-3.1.2-22]
#[derive(Clone, Debug)]
pub struct Watch {
    last_received: Duration,
    /// The keep alive in seconds; 0: none.
    keep_alive: u16,
}

impl Watch {
    /// For a connection that begins `now`.
    pub fn new(seconds: u16, now: Duration) -> Watch {
        Watch { last_received: now, keep_alive: seconds }
    }

    /// Something came.
    pub fn received(&mut self, now: Duration) {
        self.last_received = now;
    }

    /// When the client is gone unless something comes before; `None`: never.
    pub fn ends(&self) -> Option<Duration> {
        let allowed = Duration::from_millis(1_500 * u64::from(self.keep_alive));
        (self.keep_alive > 0).then(|| self.last_received + allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_silent_client_pings_and_a_silent_server_is_dead() {
        let mut pinger = Pinger::new(10, 5 * SECOND, SECOND);
        assert_eq!(pinger.poll(2 * SECOND), Beat::Wait(Some(11 * SECOND)));
        pinger.sent(5 * SECOND);
        pinger.received(6 * SECOND);
        assert_eq!(pinger.poll(11 * SECOND), Beat::Wait(Some(15 * SECOND)));
        assert_eq!(pinger.poll(15 * SECOND), Beat::Ping); // [MQTT-3.1.2-20]
        assert_eq!(pinger.poll(16 * SECOND), Beat::Wait(Some(20 * SECOND)));
        pinger.received(16 * SECOND);
        assert_eq!(pinger.poll(20 * SECOND), Beat::Wait(Some(25 * SECOND)));
        assert_eq!(pinger.poll(25 * SECOND), Beat::Ping);
        assert_eq!(pinger.poll(30 * SECOND), Beat::Dead);
    }

    #[test]
    fn a_client_that_talks_all_the_time_notices_a_silent_server_too() {
        let mut pinger = Pinger::new(10, 5 * SECOND, SECOND);
        for second in 2..11 {
            pinger.sent(second * SECOND);
        }
        assert_eq!(pinger.poll(11 * SECOND), Beat::Ping);
        pinger.sent(15 * SECOND);
        assert_eq!(pinger.poll(16 * SECOND), Beat::Dead);
    }

    #[test]
    fn no_interval_means_no_ping_and_no_end() {
        assert_eq!(Pinger::new(0, SECOND, SECOND).poll(9_999 * SECOND), Beat::Wait(None));
        assert_eq!(Watch::new(0, SECOND).ends(), None);
    }

    #[test]
    fn a_server_waits_one_and_a_half_times() {
        let mut watch = Watch::new(10, SECOND);
        assert_eq!(watch.ends(), Some(16 * SECOND));
        watch.received(4 * SECOND);
        assert_eq!(watch.ends(), Some(19 * SECOND));
    }
}
