//! Simulated workers, and clients that talk to them.

use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{
    Connect, PropertiesBuf, Property, QoS, ReasonCode, SubscribeOptions, SubscriptionId, Version,
};
use mqway_engine::sim::{Remote, Sim};
use mqway_session::client::{Client, Event, Incoming, Message, Options, Subscription};
use mqway_transport::ServerOptions;

use crate::core::BrokerCore;
use crate::shared::Shared;
use crate::{Config, Snapshot};

/// A broker and its clients.
pub struct World {
    pub sim: Sim<BrokerCore>,
    pub shared: Arc<Shared>,
    pub clients: Vec<Far>,
}

/// A client and its connection.
pub struct Far {
    pub client: Client,
    pub remote: Option<Remote>,
    pub unread: Vec<u8>,
    /// What it has been told, apart from messages.
    pub events: Vec<Event>,
    /// The messages that it got.
    pub got: Vec<Incoming>,
}

pub const SECOND: Duration = Duration::from_secs(1);

impl World {
    pub fn new(seed: u64, workers: usize, config: Config) -> World {
        let shared = Arc::new(Shared::new(&config, workers, 0));
        let Config { engine, .. } = config;
        let enough = engine.limits.high_water;
        let sim = Sim::new(seed, workers, engine.limits, vec![ServerOptions::default()], |worker| {
            BrokerCore::new(worker, shared.clone(), enough, None)
        });
        World { sim, shared, clients: Vec::new() }
    }

    /// A client that has never been connected.
    pub fn add(&mut self, options: Options) -> usize {
        self.clients.push(Far {
            client: Client::new(options),
            remote: None,
            unread: Vec::new(),
            events: Vec::new(),
            got: Vec::new(),
        });
        self.clients.len() - 1
    }

    /// A client of this version, connected with a clean start.
    pub fn connected(&mut self, version: Version, name: &str) -> usize {
        let index = self.add(Options::new(version));
        self.connect(index, &Connect::new(version, name));
        self.settle();
        assert!(self.clients[index].client.is_connected(), "{:?}", self.clients[index].events);
        index
    }

    /// Opens a connection and sends CONNECT.
    pub fn connect(&mut self, index: usize, connect: &Connect<'_>) {
        self.lose(index);
        let Some(remote) = self.sim.connect(0, None) else { return };
        let now = self.sim.now();
        let far = &mut self.clients[index];
        far.client.begin(now, connect).unwrap();
        far.remote = Some(remote);
    }

    /// Cuts a client's connection.
    pub fn cut(&mut self, index: usize) {
        if let Some(remote) = self.clients[index].remote {
            self.sim.cut(remote);
        }
        self.lose(index);
    }

    fn lose(&mut self, index: usize) {
        let far = &mut self.clients[index];
        far.remote = None;
        far.unread.clear();
        far.client.lost();
    }

    /// Lets everything that is under way arrive.
    pub fn settle(&mut self) {
        for _ in 0..60 {
            self.run(Duration::from_millis(5));
        }
    }

    /// Lets some time pass.
    pub fn run(&mut self, time: Duration) {
        self.exchange();
        self.sim.run(time);
        self.exchange();
    }

    fn exchange(&mut self) {
        let now = self.sim.now();
        for far in &mut self.clients {
            let Some(remote) = far.remote else { continue };
            far.unread.extend(self.sim.read(remote));
            let used = far.client.handle(now, &far.unread).expect("the broker sends what it may");
            far.unread.drain(..used);
            while let Some(event) = far.client.next_event() {
                match event {
                    Event::Message(message) => far.got.push(message),
                    other => far.events.push(other),
                }
            }
            let output = far.client.output().as_bytes().to_vec();
            far.client.output().clear();
            self.sim.write(remote, &output);
            if self.sim.is_ended(remote) {
                far.remote = None;
                far.client.lost();
            }
        }
    }

    /// Subscribes and waits; the reasons.
    pub fn subscribe(&mut self, index: usize, filters: &[(&str, SubscribeOptions)]) -> Vec<ReasonCode> {
        self.subscribe_with(index, filters, None)
    }

    pub fn subscribe_with(
        &mut self,
        index: usize,
        filters: &[(&str, SubscribeOptions)],
        identifier: Option<u32>,
    ) -> Vec<ReasonCode> {
        let list = filters.iter().map(|(filter, options)| Subscription {
            filter: (*filter).into(),
            options: *options,
            identifier: identifier.and_then(SubscriptionId::new),
        });
        let now = self.sim.now();
        self.clients[index].events.clear();
        self.clients[index].client.subscribe(now, 1, list.collect());
        self.settle();
        let answered = self.clients[index].events.iter().find_map(|event| match event {
            Event::Answered { codes, .. } => Some(codes.clone()),
            _ => None,
        });
        answered.unwrap_or_default()
    }

    pub fn unsubscribe(&mut self, index: usize, filter: &str) {
        let now = self.sim.now();
        self.clients[index].client.unsubscribe(now, 2, vec![filter.into()]);
        self.settle();
    }

    /// Publishes and waits.
    pub fn publish(&mut self, index: usize, message: Message) {
        self.send(index, message);
        self.settle();
    }

    /// Publishes.
    pub fn send(&mut self, index: usize, message: Message) {
        let now = self.sim.now();
        self.clients[index].client.publish(now, 3, message).unwrap();
    }

    /// The messages that a client got since this was last asked, as `topic payload`.
    pub fn got(&mut self, index: usize) -> Vec<String> {
        let got = std::mem::take(&mut self.clients[index].got);
        got.iter()
            .map(|message| format!("{} {}", message.topic, String::from_utf8_lossy(&message.payload)))
            .collect()
    }

    pub fn counts(&self) -> Snapshot {
        self.shared.counters.snapshot()
    }
}

pub fn message(topic: &str, payload: &str, qos: QoS) -> Message {
    let mut message = Message::new(topic, payload);
    message.qos = qos;
    message
}

pub fn retained(topic: &str, payload: &str) -> Message {
    let mut message = message(topic, payload, QoS::AtLeastOnce);
    message.retain = true;
    message
}

pub fn properties(list: &[Property<'_>]) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    properties.extend(list.iter().copied()).unwrap();
    properties
}

pub const QOS_0: SubscribeOptions = SubscribeOptions::new(QoS::AtMostOnce);
pub const QOS_1: SubscribeOptions = SubscribeOptions::new(QoS::AtLeastOnce);
pub const QOS_2: SubscribeOptions = SubscribeOptions::new(QoS::ExactlyOnce);
