//! A client with an outbox, against a server that the test plays, and a store that does as it is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use mqway_client::{
    Client, ConnectError, ConnectionEvent, Content, Endpoint, MemoryStore, Message, Options, Outbox,
    OutboxError, PublishError, QoS, ReasonCode, Store,
};
use mqway_codec::{Ack, Packet, PacketId, Publish};
use mqway_session::client::Change;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::SOON;
use crate::program::options;
use crate::support::{Peer, server};

/// A store that commits only while its gate is open, and not when it is broken.
#[derive(Clone, Default)]
struct Gated {
    store: MemoryStore,
    gate: Arc<(Mutex<bool>, Condvar)>,
    broken: Arc<AtomicBool>,
}

impl Gated {
    fn open(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

impl Store for Gated {
    fn load(&mut self) -> Result<Content, OutboxError> {
        self.store.load()
    }

    fn keep_client_id(&mut self, client_id: &str) -> Result<(), OutboxError> {
        self.store.keep_client_id(client_id)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), OutboxError> {
        drop(self.gate.1.wait_while(self.gate.0.lock().unwrap(), |open| !*open).unwrap());
        if self.broken.load(Ordering::SeqCst) {
            return Err(OutboxError::Storage("no space left".into()));
        }
        self.store.commit(changes)
    }
}

fn start(endpoint: &Endpoint, store: impl Store + 'static) -> Client {
    let outbox = Outbox::with_store(store, "c").unwrap();
    Client::start(
        endpoint.clone(),
        Options { shutdown_time: Duration::from_secs(1), ..options(Some(outbox)) },
    )
}

fn message(qos: QoS, text: &str) -> Message {
    Message { qos, ..Message::new("a", text) }
}

fn ack(id: u16) -> Ack<'static> {
    Ack::new(PacketId::new(id).unwrap())
}

fn publish(id: u16, qos: QoS, dup: bool, text: &str) -> Packet<'_> {
    let mut publish = Publish::new("a", text.as_bytes());
    (publish.qos, publish.dup, publish.packet_id) = (qos, dup, PacketId::new(id));
    Packet::Publish(publish)
}

/// A connection whose server has granted the subscription that the client made.
async fn subscribed(listener: &TcpListener, client: &Client) -> (Peer, mqway_client::Subscription) {
    let subscribing = tokio::spawn({
        let client = client.clone();
        async move { client.subscribe("a", QoS::ExactlyOnce).await.unwrap() }
    });
    let mut peer = Peer::welcome(listener, false).await;
    assert_eq!(peer.read().await.unwrap()[0], 0x82);
    peer.grant(1).await;
    (peer, subscribing.await.unwrap())
}

/// Nothing comes that should not.
async fn expect_silence(peer: &mut Peer) {
    let read = timeout(Duration::from_millis(200), peer.read()).await;
    assert!(read.is_err(), "{read:02x?}");
}

#[tokio::test]
async fn nothing_is_sent_before_it_is_stored() {
    let (listener, endpoint) = server().await;
    let store = Gated::default();
    let client = start(&endpoint, store.clone());
    let delivery = client.enqueue(message(QoS::AtLeastOnce, "x")).await.unwrap();
    let mut peer = Peer::welcome(&listener, false).await;
    expect_silence(&mut peer).await;
    store.open();
    peer.expect(publish(1, QoS::AtLeastOnce, false, "x")).await;
    peer.write(Packet::Puback(ack(1))).await;
    assert_eq!(delivery.await.unwrap().reason, ReasonCode::Success);
}

#[tokio::test]
async fn a_message_of_qos_2_goes_on_after_a_crash_where_it_was() {
    let (listener, endpoint) = server().await;
    let store = MemoryStore::default();
    let client = start(&endpoint, store.clone());
    let stored = client.store(message(QoS::ExactlyOnce, "x")).await.unwrap();
    assert_eq!(stored.position, 1);
    let mut peer = Peer::welcome(&listener, false).await;
    peer.expect(publish(1, QoS::ExactlyOnce, false, "x")).await;

    // Of what the first process would still do, nothing reaches the second one's copy.
    let copy = copy_of(&store).await;
    drop((client, peer));
    let client = start(&endpoint, copy.clone());
    let mut peer = Peer::welcome(&listener, true).await;
    peer.expect(publish(1, QoS::ExactlyOnce, true, "x")).await;
    peer.write(Packet::Pubrec(ack(1))).await;
    peer.expect(Packet::Pubrel(ack(1))).await;

    let copy = copy_of(&copy).await;
    drop((client, peer));
    let outbox = Outbox::with_store(copy, "").unwrap();
    assert_eq!((outbox.accepted(), outbox.client_id()), (1, "c"));
    let client = Client::start(endpoint, options(Some(outbox)));
    let mut peer = Peer::welcome(&listener, true).await;
    peer.expect(Packet::Pubrel(ack(1))).await; // [MQTT-4.4.0-1]
    peer.write(Packet::Pubcomp(ack(1))).await;
    assert_eq!(client.store(message(QoS::AtLeastOnce, "y")).await.unwrap().position, 2);
    peer.expect(publish(2, QoS::AtLeastOnce, false, "y")).await;
}

/// A store with what another one has now.
async fn copy_of(store: &MemoryStore) -> MemoryStore {
    let content = store.clone().load().unwrap();
    let mut copy = MemoryStore::default();
    copy.keep_client_id(&content.client_id.unwrap()).unwrap();
    for (ticket, progress) in content.session.messages {
        use mqway_session::client::Progress;
        let text = message(QoS::ExactlyOnce, "x");
        copy.commit(&[Change::Accepted { ticket, message: Arc::new(text) }]).unwrap();
        copy.commit(&match progress {
            Progress::Queued(_) => vec![],
            Progress::Sent(id, _) => vec![Change::Sent { ticket, id }],
            Progress::Released(id) => vec![Change::Released { ticket, id }],
        })
        .unwrap();
    }
    copy
}

#[tokio::test]
async fn a_store_that_fails_ends_the_client_and_everyone_is_told() {
    let (listener, endpoint) = server().await;
    let store = Gated::default();
    store.broken.store(true, Ordering::SeqCst);
    let client = start(&endpoint, store.clone());
    let mut events = client.events();
    let delivery = client.enqueue(message(QoS::AtLeastOnce, "x")).await.unwrap();
    let storing = tokio::spawn({
        let client = client.clone();
        async move { client.store(message(QoS::AtLeastOnce, "y")).await }
    });
    let mut peer = Peer::welcome(&listener, false).await;
    expect_silence(&mut peer).await;
    store.open();
    assert!(matches!(storing.await.unwrap(), Err(PublishError::Outbox(_))));
    assert!(matches!(delivery.await, Err(PublishError::Outbox(_))));
    assert_eq!(peer.read().await, None, "what is not stored is not sent");
    assert!(matches!(events.next().await, Some(ConnectionEvent::Connected { .. })));
    let Some(ConnectionEvent::Lost { error, retry_in: None }) = events.next().await else {
        panic!("not lost")
    };
    assert!(matches!(*error, ConnectError::Outbox(_)), "{error}");
    assert!(matches!(client.publish(message(QoS::AtLeastOnce, "z")).await, Err(PublishError::Ended)));
}

#[tokio::test]
async fn a_store_that_fails_without_a_connection_ends_the_client_too() {
    let store = Gated::default();
    store.broken.store(true, Ordering::SeqCst);
    store.open();
    let client = start(&Endpoint::new("tcp://127.0.0.1:1"), store);
    let stored = timeout(SOON, client.store(message(QoS::AtLeastOnce, "y"))).await.unwrap();
    assert!(matches!(stored, Err(PublishError::Outbox(_))), "{stored:?}");
}

#[tokio::test]
async fn a_message_is_acknowledged_when_the_program_asks_for_the_next_one() {
    let (listener, endpoint) = server().await;
    let store = Gated::default();
    let client = start(&endpoint, store.clone());
    let (mut peer, mut messages) = subscribed(&listener, &client).await;
    for (id, qos) in
        [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce), (3, QoS::AtLeastOnce), (4, QoS::AtLeastOnce)]
    {
        peer.write(publish(id, qos, false, "x")).await;
    }
    assert_eq!(messages.next().await.unwrap().token, None);
    expect_silence(&mut peer).await;
    assert_eq!(messages.next().await.unwrap().qos, QoS::ExactlyOnce);
    peer.expect(Packet::Puback(ack(1))).await;
    expect_silence(&mut peer).await;
    // That a message of QoS 2 was received is stored before PUBREC is sent, and before the program has the next one.
    assert!(timeout(Duration::from_millis(100), messages.next()).await.is_err());
    expect_silence(&mut peer).await;
    store.open();
    messages.next().await.unwrap();
    peer.expect(Packet::Pubrec(ack(2))).await;
    // The program has done with the one in hand when it leaves; it has not seen the last.
    client.disconnect().await;
    peer.expect(Packet::Puback(ack(3))).await;
    peer.expect(Packet::Disconnect(Default::default())).await;
}

#[tokio::test]
async fn a_stream_that_is_dropped_acknowledges_what_it_has() {
    let (listener, endpoint) = server().await;
    let client = start(&endpoint, MemoryStore::default());
    let (mut peer, mut messages) = subscribed(&listener, &client).await;
    for id in [1, 2] {
        peer.write(publish(id, QoS::AtLeastOnce, false, "x")).await;
    }
    messages.next().await.unwrap();
    sleep(Duration::from_millis(100)).await;
    drop(messages);
    let mut packets: Vec<_> =
        [peer.read().await, peer.read().await, peer.read().await].into_iter().flatten().collect();
    packets.sort();
    assert_eq!(packets[..2], [[0x40, 2, 0, 1], [0x40, 2, 0, 2]]);
    assert_eq!(packets[2][0], 0xa2, "UNSUBSCRIBE");
}

#[tokio::test]
async fn what_comes_before_the_program_has_subscribed_again_waits_for_it() {
    let (listener, endpoint) = server().await;
    let client = start(&endpoint, MemoryStore::default());
    let mut peer = Peer::welcome(&listener, true).await;
    peer.write(publish(1, QoS::AtLeastOnce, true, "x")).await;
    peer.write(publish(2, QoS::ExactlyOnce, true, "y")).await;
    expect_silence(&mut peer).await;
    let subscribing = tokio::spawn(async move { client.subscribe("a", QoS::ExactlyOnce).await.unwrap() });
    assert_eq!(peer.read().await.unwrap()[0], 0x82);
    peer.grant(1).await;
    let mut messages = subscribing.await.unwrap();
    assert_eq!(&*messages.next().await.unwrap().payload, b"x");
    assert_eq!(&*messages.next().await.unwrap().payload, b"y");
    peer.expect(Packet::Puback(ack(1))).await;
}

#[tokio::test]
async fn what_comes_for_a_filter_that_the_program_has_given_up_waits_for_nobody() {
    let (listener, endpoint) = server().await;
    let client = start(&endpoint, MemoryStore::default());
    let (mut peer, messages) = subscribed(&listener, &client).await;
    drop(messages);
    assert_eq!(peer.read().await.unwrap()[0], 0xa2);
    peer.write(publish(1, QoS::AtLeastOnce, false, "x")).await;
    peer.expect(Packet::Puback(ack(1))).await;
}

#[tokio::test]
async fn unsubscribing_acknowledges_what_nobody_has_taken() {
    let (listener, endpoint) = server().await;
    let client = start(&endpoint, MemoryStore::default());
    let mut peer = Peer::welcome(&listener, true).await;
    peer.write(publish(1, QoS::ExactlyOnce, true, "x")).await;
    expect_silence(&mut peer).await;
    let unsubscribing = tokio::spawn(async move { client.unsubscribe("a").await });
    let mut packets = [peer.read().await.unwrap()[0], peer.read().await.unwrap()[0]];
    packets.sort();
    assert_eq!(packets, [0x50, 0xa2], "PUBREC and UNSUBSCRIBE");
    unsubscribing.abort();
}

#[tokio::test]
async fn more_than_a_stream_holds_may_come_before_its_subscription_is_answered() {
    let (listener, endpoint) = server().await;
    let client = Client::start(endpoint, Options { buffer: 2, ..options(None) });
    let subscribing = tokio::spawn(async move { client.subscribe("a", QoS::AtLeastOnce).await.unwrap() });
    let mut peer = Peer::welcome(&listener, false).await;
    assert_eq!(peer.read().await.unwrap()[0], 0x82);
    for id in 1..=20 {
        peer.write(publish(id, QoS::AtLeastOnce, false, &id.to_string())).await;
    }
    peer.grant(1).await;
    let mut messages = timeout(SOON, subscribing).await.unwrap().unwrap();
    for id in 1..=20 {
        assert_eq!(*messages.next().await.unwrap().payload, *id.to_string().as_bytes());
    }
}

#[tokio::test]
async fn a_message_that_failed_is_told_although_its_publisher_is_gone() {
    let (listener, endpoint) = server().await;
    let client = start(&endpoint, MemoryStore::default());
    let mut events = client.events();
    drop(client.store(message(QoS::AtLeastOnce, "x")).await.unwrap());
    let mut peer = Peer::welcome(&listener, false).await;
    peer.read().await.unwrap();
    peer.write(Packet::Puback(Ack::with_reason(PacketId::new(1).unwrap(), ReasonCode::NotAuthorized))).await;
    assert!(matches!(events.next().await, Some(ConnectionEvent::Connected { .. })));
    let Some(ConnectionEvent::Undelivered { position: 1, error }) = events.next().await else {
        panic!("lost")
    };
    assert!(matches!(&*error, PublishError::Refused(receipt) if receipt.reason == ReasonCode::NotAuthorized));
}

#[tokio::test]
async fn a_full_outbox_takes_the_next_message_when_one_is_done_with() {
    let (listener, endpoint) = server().await;
    let outbox = Outbox::with_store(MemoryStore::default(), "c").unwrap().limits(2, usize::MAX);
    let client = Client::start(endpoint, options(Some(outbox)));
    let mut peer = Peer::welcome(&listener, false).await;
    for text in ["a", "b"] {
        client.store(message(QoS::AtLeastOnce, text)).await.unwrap();
        peer.read().await.unwrap();
    }
    let third = tokio::spawn(async move { client.store(message(QoS::AtLeastOnce, "c")).await });
    expect_silence(&mut peer).await;
    assert!(!third.is_finished());
    peer.write(Packet::Puback(ack(1))).await;
    peer.expect(publish(3, QoS::AtLeastOnce, false, "c")).await;
    assert_eq!(third.await.unwrap().unwrap().position, 3);
}

#[tokio::test]
async fn what_cannot_be_stored_is_given_back() {
    let nowhere = Endpoint::new("tcp://127.0.0.1:1");
    let client = start(&nowhere, MemoryStore::default());
    let refused = client.store(message(QoS::AtMostOnce, "x")).await;
    assert!(matches!(refused, Err(PublishError::NotStored(_))), "{refused:?}");
    let refused = client.store(Message { topic: "a/#".to_owned(), ..message(QoS::AtLeastOnce, "x") }).await;
    assert!(matches!(refused, Err(PublishError::Invalid(_))), "{refused:?}");
    assert_eq!(client.store(message(QoS::AtLeastOnce, "x")).await.unwrap().position, 1);
    let client = Client::start(nowhere, Options::default());
    let refused = client.store(message(QoS::AtLeastOnce, "x")).await;
    assert!(matches!(refused, Err(PublishError::NotStored(_))), "{refused:?}");
}

#[tokio::test]
async fn options_that_do_not_go_with_an_outbox_are_final_errors() {
    let outbox = || Some(Outbox::with_store(MemoryStore::default(), "c").unwrap());
    let taken = outbox();
    let _holder = Client::start(Endpoint::new("tcp://127.0.0.1:1"), options(taken.clone()));
    for (options, expected) in [
        (
            Options { client_id: "d".to_owned(), ..options(outbox()) },
            "the outbox belongs to the client \"c\", not \"d\"",
        ),
        (Options { clean_start: true, ..options(outbox()) }, "an outbox is for a session that is kept"),
        (
            Options { session_expiry: Some(Duration::ZERO), ..options(outbox()) },
            "an outbox is for a session that is kept",
        ),
        (options(taken), "the outbox is in use"),
    ] {
        let client = Client::start(Endpoint::new("tcp://127.0.0.1:1"), options);
        let Some(ConnectionEvent::Lost { error, retry_in: None }) = client.events().next().await else {
            panic!("{expected}")
        };
        assert_eq!(error.to_string(), expected);
        assert!(matches!(client.publish(message(QoS::AtLeastOnce, "x")).await, Err(PublishError::Ended)));
    }
}

#[tokio::test]
async fn a_directory_is_free_again_once_the_client_has_disconnected() {
    let directory = tempfile::tempdir().unwrap();
    for number in 1..4 {
        let outbox = Outbox::open(directory.path(), "").unwrap();
        assert_eq!(outbox.accepted(), number - 1);
        let impatient = Options { shutdown_time: Duration::from_millis(50), ..options(Some(outbox)) };
        let client = Client::start(Endpoint::new("tcp://127.0.0.1:1"), impatient);
        drop(client.enqueue(message(QoS::AtLeastOnce, "x")).await.unwrap());
        client.disconnect().await;
    }
}
