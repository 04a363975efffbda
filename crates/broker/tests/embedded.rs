//! The broker inside a program that does odd things.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqway_broker::{Broker, Builder, Message, NotTaken};
use mqway_codec::{PropertiesBuf, Property, Publish, ReasonCode, TopicFilter};
use mqway_engine::{Bind, Bound, Listener};
use mqway_hooks::{Accept, Denial, Hooks};
use mqway_transport::facts::Facts;

const LONG: Duration = Duration::from_secs(30);

fn builder() -> Builder {
    Broker::builder().listen_tcp("127.0.0.1", 0).configure(|config| config.sys_interval = None)
}

#[test]
fn to_subscribe_at_a_broker_that_has_stopped_waited_for_ever() {
    let broker = builder().start().unwrap();
    let before = broker.subscribe("a", 1).unwrap();
    broker.stop(Duration::ZERO);
    // Its workers stop one after the other, so that some of these still find one.
    let refused = std::iter::repeat_with(|| broker.subscribe("a", 1)).find_map(Result::err);
    assert!(matches!(refused, Some(NotTaken::Busy)));
    assert!(broker.join());
    drop(before);
}

#[test]
fn many_subscribe_while_it_stops_and_none_waits_for_ever() {
    for _ in 0..20 {
        let broker = builder().start().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| while broker.subscribe("a", 1).is_ok() {});
            }
            broker.stop(Duration::ZERO);
        });
        assert!(broker.join());
    }
}

#[test]
fn a_broker_that_was_dropped_went_on_listening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broker");
    let broker = builder()
        .listen(mqway_engine::Listener::new(mqway_engine::Bind::Unix(path.clone())))
        .start()
        .unwrap();
    let messages = broker.subscribe("a", 10).unwrap();
    let reader = std::thread::spawn(move || while messages.recv_timeout(LONG).is_ok() {});
    for _ in 0..1_000 {
        broker.publish(Message::new("a", "x")).unwrap();
    }
    drop(broker);
    reader.join().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_subscriber_that_panics_leaves_nothing_behind() {
    let broker = builder().start().unwrap();
    let subscription = broker.subscribe("a", 0).unwrap();
    std::thread::spawn(move || {
        let _subscription = subscription;
        panic!("a consumer fails, as this test wants it");
    })
    .join()
    .unwrap_err();
    let witness = broker.subscribe("a", usize::MAX).unwrap();
    broker.publish(Message::new("a", "x")).unwrap();
    assert_eq!(&*witness.recv_timeout(LONG).unwrap().topic, "a");
    drop(witness);
    let end = Instant::now() + LONG;
    let left = || {
        let counts = broker.counters().snapshot();
        (counts.sessions, counts.state_bytes)
    };
    while left() != (0, 0) {
        assert!(Instant::now() < end, "{:?}", left());
        std::thread::yield_now();
    }
}

#[test]
fn what_a_program_publishes_is_checked_as_what_clients_do() {
    let broker = builder().start().unwrap();
    for topic in ["", "a/+", "#", "a\0"] {
        assert!(matches!(broker.publish(Message::new(topic, "x")), Err(NotTaken::Topic(_))), "{topic:?}");
    }
    for filter in ["", "a#", "$share/g", "\0"] {
        assert!(matches!(broker.subscribe(filter, 1), Err(NotTaken::Topic(_))), "{filter:?}");
    }
    let mut properties = PropertiesBuf::new();
    properties.push(Property::TopicAlias(1.try_into().unwrap())).unwrap();
    let message = Message { properties, ..Message::new("a", "x") };
    assert!(matches!(broker.publish(message), Err(NotTaken::Properties)));
}

#[test]
fn what_has_expired_was_given_to_the_program_as_retained() {
    let broker = builder().start().unwrap();
    for (topic, expires) in [("a", Some(Duration::ZERO)), ("b", None)] {
        broker.publish(Message { retain: true, expires, ..Message::new(topic, "x") }).unwrap();
    }
    while broker.counters().snapshot().retained < 2 {
        std::thread::yield_now();
    }
    let messages = broker.subscribe("#", 10).unwrap();
    assert_eq!(&*messages.recv_timeout(LONG).unwrap().topic, "b");
    assert!(messages.try_recv().is_err());
}

#[test]
fn a_plugin_publishes_subscribes_lists_and_ends_sessions() {
    let broker = builder().start().unwrap();
    let server = broker.server();
    let (to, messages) = std::sync::mpsc::channel();
    let filter = TopicFilter::new("a/+").unwrap();
    let each = move |publish: &Publish<'_>| {
        to.send((publish.topic.to_owned(), publish.payload.to_vec())).unwrap();
        publish.payload != b"last"
    };
    server.subscribe(filter, Box::new(each)).unwrap();
    let mut publish = Publish::new("a/b", b"first");
    let expiry = Property::MessageExpiryInterval(60);
    let mut properties = PropertiesBuf::new();
    properties.push(expiry).unwrap();
    publish.properties = properties.as_properties();
    // Until the subscription stands, nobody gets it.
    while messages.try_recv().is_err() {
        server.publish(&publish).unwrap();
        std::thread::yield_now();
    }
    server.publish(&Publish::new("a/b", b"last")).unwrap();
    while messages.recv_timeout(Duration::from_secs(60)).unwrap().1 != b"last" {}
    // It is called no more.
    server.publish(&Publish::new("a/b", b"after")).unwrap();
    assert!(messages.recv_timeout(Duration::from_secs(60)).is_err());
    assert!(server.publish(&Publish::new("a/+", b"")).is_err());

    let Bound::Tcp(address) = broker.addresses()[0] else { panic!() };
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    let sessions = server.sessions();
    assert_eq!(sessions.len(), 1);
    assert!(sessions[0].client_id == "c" && sessions[0].connected && sessions[0].subscriptions == 0);
    assert!(!server.end_session("nobody") && server.end_session("c"));
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() && server.sessions().is_empty());
}

/// Serves only who asks for it by the right header field.
struct Doorman;

impl Accept for Doorman {
    fn name(&self) -> &str {
        "doorman"
    }

    fn accept(&self, listener: &str, facts: &Facts) -> Result<(), Denial> {
        assert_eq!(listener, "ws://127.0.0.1:0/mqtt");
        let fields = facts.http.iter().flat_map(|http| &http.headers);
        match fields.clone().find(|(name, _)| name == "authorization") {
            Some((_, value)) if value == b"right" => Ok(()),
            Some(_) => Err(Denial::not_authorized("doorman")),
            None => Err(Denial::new(ReasonCode::BadUserNameOrPassword, "doorman")),
        }
    }
}

#[test]
fn a_websocket_upgrade_is_refused_before_it_is_answered() {
    let mut listener = Listener::new(Bind::tcp("127.0.0.1", 0));
    listener.options.websocket = Some(Arc::default());
    let broker = Broker::builder()
        .listen(listener)
        .configure(|config| config.hooks.add_accept(Arc::new(Doorman)))
        .start()
        .unwrap();
    let Bound::Tcp(address) = broker.addresses()[0] else { panic!() };
    let upgrade = |field: &str| {
        let mut client = TcpStream::connect(address).unwrap();
        let request = format!(
            "GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{field}\r\n"
        );
        client.write_all(request.as_bytes()).unwrap();
        let mut status = [0; 12];
        client.read_exact(&mut status).unwrap();
        String::from_utf8_lossy(&status).into_owned()
    };
    assert_eq!(upgrade(""), "HTTP/1.1 401");
    assert_eq!(upgrade("Authorization: wrong\r\n"), "HTTP/1.1 403");
    assert_eq!(upgrade("Authorization: right\r\n"), "HTTP/1.1 101");
    assert_eq!(broker.counters().snapshot().accepts_denied, 2);
    // Without hooks everybody is served.
    broker.set_hooks(Hooks::new()).unwrap();
    assert_eq!(upgrade(""), "HTTP/1.1 101");
}
