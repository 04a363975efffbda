//! What is to be done: how many clients of which kind, what they say, how fast and for how long.

use std::ops::Range;
use std::time::Duration;

use mqway_codec::{
    Connect, Packet, PacketId, Publish, QoS, Subscribe, SubscribeOptions, SubscriptionsBuf, TopicFilter,
    TopicName, Version,
};
use mqway_engine::Dial;

use super::stamp;
use crate::failure::Failure;

/// Pairs of a publisher and one that listens to it, that are kept book of: 96 MiB.
const MOST_FLOWS: u64 = 4 << 20;

/// What kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connections that do nothing.
    Connections {
        /// They are closed as soon as they are accepted, and made anew.
        churn: bool,
    },
    /// Publishers and subscribers; every subscriber gets what every publisher sends.
    Group,
    /// Each publisher has a subscriber of its own.
    Pairs,
}

/// All that workers need to know; the same for each.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What kind of load.
    pub kind: Kind,
    /// Clients that publish; in [`Kind::Connections`], that connect.
    pub publishers: u32,
    /// Clients that subscribe.
    pub subscribers: u32,
    /// Where to.
    pub dial: Dial,
    /// Version of MQTT.
    pub version: Version,
    /// Of subscriptions and messages.
    pub qos: QoS,
    /// Publish with the retain flag.
    pub retain: bool,
    /// User name of all clients.
    pub user_name: Option<String>,
    /// Their password.
    pub password: Option<Vec<u8>>,
    /// Seconds; 0 for none.
    pub keep_alive: u16,
    /// Client identifier, with placeholders.
    pub client_id: String,
    /// Topic that publishers use, with placeholders.
    pub topic: String,
    /// What subscribers subscribe to, with placeholders.
    pub filter: String,
    /// Bytes of a payload.
    pub size: usize,
    /// Messages of a publisher that may be under way.
    pub window: u32,
    /// Messages a second that all publishers send together, whatever the server does.
    pub rate: Option<f64>,
    /// Messages of each publisher after which it is done.
    pub messages: Option<u64>,
    /// Time before measuring begins.
    pub warmup: Duration,
    /// Time that is measured; `None`: until all messages are sent.
    pub duration: Option<Duration>,
    /// New connections a second, all workers together.
    pub connect_rate: Option<f64>,
    /// For each step of connecting, and for a server that has gone silent.
    pub timeout: Duration,
    /// Without news for so long after the last message was sent, what has not come is lost.
    pub drain: Duration,
    /// Tells this run's messages and clients from those of others.
    pub run: u32,
    /// How many workers share the work.
    pub workers: usize,
}

/// The clients of one worker, by their numbers in the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Those that publish.
    pub publishers: Range<u32>,
    /// Those that subscribe.
    pub subscribers: Range<u32>,
}

/// Which side a client is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It publishes.
    Publisher,
    /// It subscribes.
    Subscriber,
}

impl Plan {
    /// Refuses what cannot be meant, before anybody is bothered.
    ///
    /// # Errors
    /// One line about what is wrong.
    pub fn check(&self) -> Result<(), Failure> {
        if self.size < stamp::LEN {
            return Err(Failure::usage(format_args!(
                "--size {} is too short for what a message is checked by; give {} or more",
                self.size,
                stamp::LEN
            )));
        }
        if self.flows() > MOST_FLOWS {
            return Err(Failure::usage(format_args!(
                "{} publishers times {} subscribers is more than can be kept book of; use fewer of one kind",
                self.publishers, self.subscribers
            )));
        }
        let apart =
            self.expand(&self.topic, Side::Publisher, 0) != self.expand(&self.topic, Side::Publisher, 1);
        if self.kind == Kind::Pairs && self.publishers > 1 && !apart {
            return Err(Failure::usage(format_args!(
                "each pair needs a topic of its own: put %i, the number of the pair, into {:?}",
                self.topic
            )));
        }
        self.connect_packet(Side::Publisher, 0)?;
        if self.publishers > 0 && !matches!(self.kind, Kind::Connections { .. }) {
            self.publish_header(u32::MAX, &mut Vec::new())?;
        }
        if self.subscribers > 0 {
            self.subscribe_packet(u32::MAX)?;
        }
        Ok(())
    }

    /// Pairs of a publisher and a subscriber that hears it.
    fn flows(&self) -> u64 {
        match self.kind {
            Kind::Pairs => u64::from(self.publishers),
            _ => u64::from(self.publishers) * u64::from(self.subscribers),
        }
    }

    /// What is worker `worker`'s part. Publishers stay with those that hear them: the window of the one moves by
    /// what the others receive.
    pub fn share(&self, worker: usize) -> Share {
        let part = |count: u32| {
            let at = |worker: usize| (u64::from(count) * worker as u64 / self.workers.max(1) as u64) as u32;
            at(worker)..at(worker + 1)
        };
        let apart = self.kind != Kind::Group || self.publishers == 0 || self.subscribers == 0;
        match (apart, worker) {
            (true, _) => Share { publishers: part(self.publishers), subscribers: part(self.subscribers) },
            (false, 0) => Share { publishers: 0..self.publishers, subscribers: 0..self.subscribers },
            (false, _) => Share { publishers: 0..0, subscribers: 0..0 },
        }
    }

    /// How many deliveries each message is to have.
    pub fn is_shared(&self) -> bool {
        self.filter.starts_with("$share/")
    }

    /// The CONNECT of a client.
    ///
    /// # Errors
    /// If it cannot be put into a packet.
    pub fn connect_packet(&self, side: Side, number: u32) -> Result<Vec<u8>, Failure> {
        let client_id = self.client_id(side, number);
        let mut connect = Connect::new(self.version, &client_id);
        connect.keep_alive = self.keep_alive;
        connect.user_name = self.user_name.as_deref();
        connect.password = self.password.as_deref();
        encode(self.version, &Packet::Connect(connect))
    }

    /// The SUBSCRIBE of a subscriber.
    ///
    /// # Errors
    /// If the filter is none.
    pub fn subscribe_packet(&self, number: u32) -> Result<Vec<u8>, Failure> {
        let text = self.expand(&self.filter, Side::Subscriber, number);
        let filter = TopicFilter::for_version(self.version, &text)
            .map_err(|error| Failure::usage(format_args!("bad filter {text:?}: {error}")))?;
        let mut subscriptions = SubscriptionsBuf::new();
        subscriptions.push(filter, SubscribeOptions::new(self.qos));
        let subscribe = Subscribe::new(PacketId::MIN, subscriptions.as_subscriptions());
        encode(self.version, &Packet::Subscribe(subscribe))
    }

    /// The start of a publisher's PUBLISH, up to its payload. `scratch` is for the whole packet.
    ///
    /// # Errors
    /// If the topic is none, or the packet would be too large.
    pub fn publish_header(&self, number: u32, scratch: &mut Vec<u8>) -> Result<Box<[u8]>, Failure> {
        let topic = self.expand(&self.topic, Side::Publisher, number);
        TopicName::new(&topic)
            .map_err(|error| Failure::usage(format_args!("bad topic {topic:?}: {error}")))?;
        let payload = vec![0; self.size];
        let publish = Publish {
            qos: self.qos,
            retain: self.retain,
            packet_id: (self.qos != QoS::AtMostOnce).then_some(PacketId::MIN),
            ..Publish::new(&topic, &payload)
        };
        scratch.clear();
        publish.encode(self.version, scratch).map_err(Failure::usage)?;
        Ok(scratch[..scratch.len() - self.size].into())
    }

    /// Where the packet identifier stands in what [`Plan::publish_header`] gives, counted from its end.
    pub fn id_from_end(&self) -> usize {
        // In 5.0 the length of the properties stands behind it.
        if self.version == Version::V5 { 3 } else { 2 }
    }

    fn client_id(&self, side: Side, number: u32) -> String {
        let letter = match side {
            Side::Publisher => "p",
            Side::Subscriber => "s",
        };
        self.client_id.replace("%i", &format!("{letter}{number}")).replace("%r", &format!("{:08x}", self.run))
    }

    fn expand(&self, text: &str, side: Side, number: u32) -> String {
        text.replace("%i", &number.to_string())
            .replace("%r", &format!("{:08x}", self.run))
            .replace("%c", &self.client_id(side, number))
    }
}

fn encode(version: Version, packet: &Packet<'_>) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).map_err(Failure::usage)?;
    Ok(bytes)
}

#[cfg(test)]
pub mod tests {
    use std::sync::Arc;

    use mqway_engine::Target;
    use mqway_transport::ClientOptions;

    use super::*;

    /// A plan for tests, with little of everything.
    pub fn plan(kind: Kind, publishers: u32, subscribers: u32) -> Plan {
        let target = Target::Tcp { host: "broker".to_owned(), port: 1883 };
        let options = Arc::new(ClientOptions { tunnel: None, tls: None, websocket: None });
        Plan {
            kind,
            publishers,
            subscribers,
            dial: Dial { target, options, time_limit: Duration::from_secs(5) },
            version: Version::V3_1_1,
            qos: QoS::AtMostOnce,
            retain: false,
            user_name: None,
            password: None,
            keep_alive: 60,
            client_id: "b%r%i".to_owned(),
            topic: "t/%i".to_owned(),
            filter: if kind == Kind::Pairs { "t/%i" } else { "t/+" }.to_owned(),
            size: 40,
            window: 8,
            rate: None,
            messages: Some(100),
            warmup: Duration::ZERO,
            duration: None,
            connect_rate: None,
            timeout: Duration::from_secs(5),
            drain: Duration::from_secs(1),
            run: 9,
            workers: 1,
        }
    }

    #[test]
    fn workers_share_all_clients_and_keep_those_together_that_belong_together() {
        for (kind, publishers, subscribers) in
            [(Kind::Pairs, 10, 10), (Kind::Group, 7, 0), (Kind::Group, 0, 3), (Kind::Group, 5, 6)]
        {
            let plan = Plan { workers: 3, ..plan(kind, publishers, subscribers) };
            let shares: Vec<_> = (0..3).map(|worker| plan.share(worker)).collect();
            let all = |of: fn(&Share) -> &Range<u32>| shares.iter().flat_map(move |share| of(share).clone());
            assert!(all(|share| &share.publishers).eq(0..publishers));
            assert!(all(|share| &share.subscribers).eq(0..subscribers));
            if kind == Kind::Pairs {
                assert!(shares.iter().all(|share| share.publishers == share.subscribers));
            }
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let good = plan(Kind::Pairs, 2, 2);
        assert_eq!(good.check(), Ok(()));
        for (bad, word) in [
            (Plan { size: 27, ..good.clone() }, "28 or more"),
            (Plan { topic: "same".to_owned(), ..good.clone() }, "%i"),
            (Plan { topic: "a/#/%i".to_owned(), ..good.clone() }, "bad topic"),
            (Plan { filter: "a#".to_owned(), ..good.clone() }, "bad filter"),
            (plan(Kind::Group, 100_000, 100_000), "fewer"),
            (Plan { size: 300 << 20, ..good.clone() }, "longer"),
        ] {
            let told = bad.check().unwrap_err();
            assert!(told.message.contains(word), "{told}");
        }
    }

    #[test]
    fn placeholders_stand_for_number_run_and_client() {
        let plan = Plan { topic: "a/%r/%c/%i".to_owned(), ..plan(Kind::Pairs, 1, 1) };
        assert_eq!(plan.expand(&plan.topic, Side::Publisher, 5), "a/00000009/b00000009p5/5");
        let header = plan.publish_header(5, &mut Vec::new()).unwrap();
        assert!(header.ends_with(b"a/00000009/b00000009p5/5"));
    }
}
