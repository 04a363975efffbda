use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mqway_codec::{TopicFilter, TopicName};
use mqway_hooks::{By, Client, Event, Message, Observe, Phase, Phases};
use serde::Serialize;

use super::tokens::now;
use crate::webhook::Webhook;

/// Tells a web service what happens: see [`Webhook`].
pub struct Webhooks {
    webhook: Arc<Webhook>,
    phases: Phases,
    topics: Option<Vec<String>>,
    max_payload: usize,
}

/// A kind of event that is told, by the name that it has in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventName(Phase);

impl EventName {
    /// All of them, in the order in which a connection meets them.
    pub const ALL: [EventName; 13] = [
        EventName(Phase::Connected),
        EventName(Phase::SessionCreated),
        EventName(Phase::SessionResumed),
        EventName(Phase::SessionTerminated),
        EventName(Phase::Subscribed),
        EventName(Phase::Unsubscribed),
        EventName(Phase::Published),
        EventName(Phase::Delivered),
        EventName(Phase::Acknowledged),
        EventName(Phase::Dropped),
        EventName(Phase::WillPublished),
        EventName(Phase::Disconnected),
        EventName(Phase::Stop),
    ];

    /// Those that there aren't several of for each message.
    pub fn usual() -> Vec<EventName> {
        const OF_MESSAGES: Phases =
            Phases::of(&[Phase::Published, Phase::Delivered, Phase::Acknowledged, Phase::Dropped]);
        EventName::ALL.into_iter().filter(|name| !OF_MESSAGES.contains(name.0)).collect()
    }

    /// As it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self.0 {
            Phase::SessionCreated => "session_created",
            Phase::SessionResumed => "session_resumed",
            Phase::SessionTerminated => "session_terminated",
            Phase::WillPublished => "will_published",
            phase => phase.name(),
        }
    }
}

impl FromStr for EventName {
    type Err = String;

    fn from_str(text: &str) -> Result<EventName, String> {
        EventName::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| {
            let names = EventName::ALL.map(EventName::as_str);
            format!("{text:?} is no event; they are {}", names.join(", "))
        })
    }
}

impl Webhooks {
    /// Has these told, without payloads.
    pub fn new(webhook: Arc<Webhook>, events: &[EventName]) -> Webhooks {
        let phases: Vec<_> = events.iter().map(|name| name.0).collect();
        Webhooks { webhook, phases: Phases::of(&phases), topics: None, max_payload: 0 }
    }

    /// Tells of messages only if one of these filters matches their topic.
    #[must_use]
    pub fn only_topics(mut self, filters: Vec<String>) -> Webhooks {
        self.topics = Some(filters);
        self
    }

    /// Tells payloads of up to so many bytes.
    #[must_use]
    pub fn payloads_to(mut self, most: usize) -> Webhooks {
        self.max_payload = most;
        self
    }

    fn wants(&self, event: &Event<'_>) -> bool {
        let (Some(filters), Some(topic)) = (&self.topics, topic_of(event)) else { return true };
        let Ok(topic) = TopicName::new(topic) else { return false };
        filters.iter().any(|filter| TopicFilter::new(filter).is_ok_and(|filter| filter.matches(topic)))
    }
}

impl Observe for Webhooks {
    fn name(&self) -> &str {
        "webhooks"
    }

    fn phases(&self) -> Phases {
        self.phases
    }

    fn observe(&self, client_id: &str, client: Option<&mut Client>, event: &Event<'_>) {
        if self.wants(event) {
            let client = client.map(|client| &*client);
            // One that is dropped is counted there.
            self.webhook.send(&Record::of(client_id, client, event, self.max_payload));
        }
    }
}

fn topic_of<'a>(event: &'a Event<'_>) -> Option<&'a str> {
    match event {
        Event::Published(message) | Event::Delivered(message) | Event::WillPublished(message) => {
            Some(message.topic())
        }
        Event::Acknowledged { topic, .. } | Event::Dropped { topic, .. } => Some(topic),
        _ => None,
    }
}

/// An event as JSON.
#[derive(Serialize)]
struct Record<'a> {
    event: &'static str,
    /// Milliseconds since 1970.
    time: u64,
    client_id: &'a str,
    user_name: Option<&'a str>,
    address: Option<IpAddr>,
    port: Option<u16>,
    transport: Option<&'a str>,
    listener: Option<&'a str>,
    #[serde(flatten)]
    details: Details<'a>,
}

/// What an event has besides.
#[derive(Serialize)]
#[serde(untagged)]
enum Details<'a> {
    Connected { session_present: bool, version: Option<String> },
    SessionTerminated { expired: bool },
    Subscribed { filter: &'a str, qos: u8 },
    Unsubscribed { filter: &'a str },
    Message(Told<'a>),
    Acknowledged { topic: &'a str, qos: u8 },
    Dropped { topic: &'a str, why: &'a str },
    Disconnected { by: &'static str, reason: &'static str, reason_code: u8, why: &'a str },
    Nothing {},
}

#[derive(Serialize)]
struct Told<'a> {
    topic: &'a str,
    qos: u8,
    retain: bool,
    /// Bytes of the payload, whether it is told or not.
    size: usize,
    payload: Option<&'a str>,
    /// Payloads are bytes, and JSON has none.
    payload_base64: Option<String>,
}

impl<'a> Record<'a> {
    fn of(
        client_id: &'a str,
        client: Option<&'a Client>,
        event: &'a Event<'_>,
        max_payload: usize,
    ) -> Record<'a> {
        let peer = client.and_then(|client| client.facts.peer);
        Record {
            event: EventName(event.phase()).as_str(),
            time: u64::try_from(now().as_millis()).unwrap_or(u64::MAX),
            client_id,
            user_name: client.and_then(|client| client.user_name.as_deref()),
            address: peer.map(|peer| peer.ip()),
            port: peer.map(|peer| peer.port()),
            transport: client.map(Client::transport),
            listener: client.map(|client| &*client.listener),
            details: Details::of(client, event, max_payload),
        }
    }
}

impl<'a> Details<'a> {
    fn of(client: Option<&Client>, event: &'a Event<'_>, max_payload: usize) -> Details<'a> {
        match *event {
            Event::Connected { session_present } => {
                let version = client.map(|client| client.version.to_string());
                Details::Connected { session_present, version }
            }
            Event::SessionTerminated { expired } => Details::SessionTerminated { expired },
            Event::Subscribed { filter, qos } => Details::Subscribed { filter, qos: qos as u8 },
            Event::Unsubscribed { filter } => Details::Unsubscribed { filter },
            Event::Published(message) | Event::Delivered(message) | Event::WillPublished(message) => {
                Details::Message(Told::of(message, max_payload))
            }
            Event::Acknowledged { topic, qos } => Details::Acknowledged { topic, qos: qos as u8 },
            Event::Dropped { topic, why } => Details::Dropped { topic, why },
            Event::Disconnected { by, reason, why } => {
                let by = match by {
                    By::Client => "client",
                    By::Network => "network",
                    By::Server => "server",
                };
                Details::Disconnected { by, reason: reason.name(), reason_code: reason.code(), why }
            }
            _ => Details::Nothing {},
        }
    }
}

impl<'a> Told<'a> {
    fn of(message: &'a Message<'_>, max_payload: usize) -> Told<'a> {
        let payload =
            Some(message.payload()).filter(|payload| payload.len() <= max_payload && max_payload > 0);
        let text = payload.map(str::from_utf8);
        Told {
            topic: message.topic(),
            qos: message.qos() as u8,
            retain: message.retain(),
            size: message.payload().len(),
            payload: text.and_then(Result::ok),
            payload_base64: payload
                .filter(|_| matches!(text, Some(Err(_))))
                .map(|bytes| STANDARD.encode(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::{Duration, Instant};

    use mqway_codec::{QoS, ReasonCode};
    use mqway_hooks::Hooks;
    use mqway_transport::facts::Facts;
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_server::{FakeServer, Reply};
    use crate::webhook::{Target, WebhookSettings};

    /// Long enough for a machine that is busy.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// What is told of these events, of a client if it is said.
    fn told(configure: impl Fn(Webhooks) -> Webhooks, events: &[Event<'_>]) -> Vec<Value> {
        let log = Arc::new(Mutex::new(Vec::<Value>::new()));
        let taken = log.clone();
        let server = FakeServer::start(move |request| {
            let batch: Value = serde_json::from_str(&request.body).unwrap();
            taken.lock().unwrap().extend(batch["events"].as_array().unwrap().iter().cloned());
            Reply::Json(204, String::new())
        });
        let webhook = Webhook::start(Target::new(WebhookSettings::new(server.url())).unwrap()).unwrap();
        let webhook = Arc::new(webhook);
        let mut hooks = Hooks::new();
        hooks.add_observe(Arc::new(configure(Webhooks::new(webhook.clone(), &EventName::ALL))));
        let facts = Facts { peer: Some("192.0.2.1:1234".parse().unwrap()), ..Facts::default() };
        let mut client = Client::new(1, "tcp://:1883".into(), facts);
        client.user_name = Some("ann".into());
        for event in events {
            hooks.observe("c", Some(&mut client), event).unwrap();
        }
        webhook.finish(Instant::now() + PATIENCE);
        log.lock().unwrap().clone()
    }

    #[test]
    fn every_event_has_its_name_and_members() {
        let mut message = Message::new(TopicName::new("a/b").unwrap(), b"\xFF");
        message.set_qos(QoS::AtLeastOnce);
        let whole = told(
            |hook| hook.payloads_to(1),
            &[
                Event::Connected { session_present: true },
                Event::SessionCreated,
                Event::SessionResumed,
                Event::SessionTerminated { expired: true },
                Event::Subscribed { filter: "a/#", qos: QoS::ExactlyOnce },
                Event::Unsubscribed { filter: "a/#" },
                Event::Published(&message),
                Event::Delivered(&message),
                Event::Acknowledged { topic: "a", qos: QoS::AtLeastOnce },
                Event::Dropped { topic: "a", why: "unrouted" },
                Event::WillPublished(&message),
                Event::Disconnected { by: By::Network, reason: ReasonCode::UnspecifiedError, why: "gone" },
                Event::Stop,
            ],
        );
        let published = |name: &str| {
            json!({ "event": name, "topic": "a/b", "qos": 1, "retain": false, "size": 1, "payload": null,
                "payload_base64": "/w==" })
        };
        let expected = [
            json!({ "event": "connected", "session_present": true, "version": "5.0" }),
            json!({ "event": "session_created" }),
            json!({ "event": "session_resumed" }),
            json!({ "event": "session_terminated", "expired": true }),
            json!({ "event": "subscribed", "filter": "a/#", "qos": 2 }),
            json!({ "event": "unsubscribed", "filter": "a/#" }),
            published("published"),
            published("delivered"),
            json!({ "event": "acknowledged", "topic": "a", "qos": 1 }),
            json!({ "event": "dropped", "topic": "a", "why": "unrouted" }),
            published("will_published"),
            json!({ "event": "disconnected", "by": "network", "reason": "Unspecified error", "reason_code": 128,
                "why": "gone" }),
            json!({ "event": "stop" }),
        ];
        assert_eq!(whole.len(), expected.len());
        for (mut told, mut expected) in whole.into_iter().zip(expected) {
            let time = told.as_object_mut().unwrap().remove("time").unwrap();
            assert!(time.as_u64().unwrap() > 1_700_000_000_000);
            let client = json!({ "client_id": "c", "user_name": "ann", "address": "192.0.2.1", "port": 1234,
                "transport": "tcp", "listener": "tcp://:1883" });
            expected.as_object_mut().unwrap().extend(client.as_object().unwrap().clone());
            assert_eq!(told, expected);
            assert!(told["event"].as_str().unwrap().parse::<EventName>().is_ok());
        }
    }

    #[test]
    fn topics_and_payloads_are_told_as_far_as_is_wanted() {
        let message = Message::new(TopicName::new("a/b").unwrap(), b"text");
        let other = Message::new(TopicName::new("b").unwrap(), b"text");
        let events = [
            Event::SessionCreated,
            Event::Published(&other),
            Event::Published(&message),
            Event::Dropped { topic: "b", why: "unrouted" },
        ];
        let some = told(|hook| hook.only_topics(vec!["a/#".to_owned()]).payloads_to(3), &events);
        assert_eq!(some.len(), 2);
        assert_eq!((&some[1]["size"], &some[1]["payload"]), (&json!(4), &json!(null)));
        let whole = told(|hook| hook.payloads_to(4), &events);
        assert_eq!((whole.len(), &whole[1]["payload"]), (4, &json!("text")));
        assert!("publish".parse::<EventName>().unwrap_err().contains("they are connected, session_created"));
        assert!(!EventName::usual().contains(&EventName(Phase::Delivered)));
    }
}
