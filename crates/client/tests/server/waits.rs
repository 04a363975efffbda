//! Time: the waits between attempts, and servers that fall silent at every stage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mqway_client::{Backoff, Client, ConnectError, ConnectionEvent, Endpoint, Options, QoS, Version};
use mqway_codec::{Packet, Publish};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::peer::{SOON, Server, ack, lost, message, publish, publishing, subscribed};

const FIRST: Duration = Duration::from_millis(40);
const BACKOFF: Backoff =
    Backoff { first: FIRST, most: Duration::from_millis(320), stable: Duration::from_millis(400) };

/// Whether a wait is what [`Backoff`] promises after so many failures in a row.
fn is_after(failures: u32, wait: Duration) -> bool {
    let bound = (FIRST * 2u32.pow(failures - 1)).min(BACKOFF.most);
    (bound / 2..=bound).contains(&wait)
}

#[tokio::test]
async fn waits_double_and_are_kept_and_only_a_connection_that_lasts_makes_them_short_again() {
    let server = Server::new(Version::V5).await;
    let client = Client::start(server.endpoint(), Options { backoff: BACKOFF, ..server.options() });
    let mut events = client.events();
    // Accepting and dropping at once is failing.
    for failures in 1..=6 {
        drop(server.welcome(false).await);
        let (_, wait) = lost(&mut events).await;
        assert!(is_after(failures, wait.unwrap()), "{wait:?} after {failures}");
    }
    // So is not accepting.
    let refused = Instant::now();
    drop(server.socket().await);
    let (_, wait) = lost(&mut events).await;
    assert!(is_after(7, wait.unwrap()));
    let peer = server.welcome(false).await;
    assert!(refused.elapsed() >= wait.unwrap(), "the wait that was told is kept");
    sleep(BACKOFF.stable * 3 / 2).await;
    drop(peer);
    let (_, wait) = lost(&mut events).await;
    assert!(is_after(1, wait.unwrap()), "{wait:?} after a connection that lasted");
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_not_hammered() {
    let server = Server::new(Version::V5).await;
    let _client = Client::start(server.endpoint(), server.options());
    let begun = Instant::now();
    let mut attempts = 0;
    while timeout(Duration::from_secs(2).saturating_sub(begun.elapsed()), server.socket()).await.is_ok() {
        attempts += 1;
    }
    // 10, 20, 40, 80, 160, 320, 640, 1,280 ms at the least.
    assert!((4..=8).contains(&attempts), "{attempts} attempts in two seconds");
}

#[tokio::test]
async fn failing_slowly_is_failing_and_every_server_gets_its_turn() {
    let (deaf, deafer) = (Server::new(Version::V5).await, Server::new(Version::V5).await);
    let good = Server::new(Version::V5).await;
    let stable = Duration::from_millis(50);
    let options = Options {
        connect_time: Duration::from_millis(100),
        backoff: Backoff { stable, ..BACKOFF },
        ..good.options()
    };
    let servers = vec![deaf.endpoint(), deafer.endpoint(), good.endpoint()];
    let _client = Client::start_any(servers, options);
    good.welcome(false).await;
}

#[tokio::test]
async fn a_server_that_falls_silent_at_any_stage_is_given_up_in_time() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = deaf.local_addr().unwrap();
    let connect_time = Duration::from_millis(300);
    for endpoint in [
        Endpoint::new(format!("tcp://{address}")),
        Endpoint::new(format!("tls://{address}")).insecure(),
        Endpoint::new(format!("ws://{address}")),
        Endpoint::new(format!("wss://{address}")).insecure(),
        Endpoint::new("tcp://broker.invalid").proxy(format!("http://{address}")),
        Endpoint::new("tcp://broker.invalid").proxy(format!("socks5://{address}")),
    ] {
        let begun = Instant::now();
        let options = Options { connect_time, ..Options::default() };
        let client = Client::start(endpoint, options);
        let (error, retry_in) = lost(&mut client.events()).await;
        assert!(matches!(*error, ConnectError::TimedOut) && retry_in.is_some(), "{error}");
        assert!(begun.elapsed() >= connect_time && begun.elapsed() < connect_time + SOON / 10);
    }
}

#[tokio::test]
async fn a_provider_that_never_answers_is_asked_again_and_holds_up_nobody() {
    let server = Server::new(Version::V5).await;
    let endpoint = server.endpoint();
    let asked = Arc::new(AtomicBool::new(false));
    let provider = move |_| {
        let first = !asked.swap(true, Ordering::SeqCst);
        let endpoint = endpoint.clone();
        async move {
            if first {
                std::future::pending::<()>().await;
            }
            endpoint
        }
    };
    let options = Options { connect_time: Duration::from_millis(200), ..server.options() };
    let client = Client::start_with(provider, options);
    let (error, _) = lost(&mut client.events()).await;
    assert!(matches!(*error, ConnectError::TimedOut), "{error}");
    server.welcome(false).await;

    let stuck = Client::start_with(|_| std::future::pending(), Options::default());
    timeout(SOON / 10, stuck.disconnect()).await.expect("there is nothing to wait for");
}

#[tokio::test]
async fn the_provider_is_told_how_many_attempts_have_failed() {
    let server = Server::new(Version::V5).await;
    let endpoint = server.endpoint();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let provider = move |failures| {
        tell.send(failures).unwrap();
        std::future::ready(endpoint.clone())
    };
    let backoff = Backoff { stable: Duration::from_millis(100), ..server.options().backoff };
    let _client = Client::start_with(provider, Options { backoff, ..server.options() });
    for failures in 0..3 {
        drop(server.socket().await);
        assert_eq!(told.recv().await, Some(failures));
    }
    let peer = server.welcome(false).await;
    assert_eq!(told.recv().await, Some(3));
    sleep(Duration::from_millis(200)).await;
    drop(peer);
    assert_eq!(told.recv().await, Some(1), "the loss of a good connection is the first failure");
}

/// What a client with this keep alive does when its server falls silent, publishing all the while or not.
async fn notices(publishes: bool) {
    let server = Server::new(Version::V5).await;
    let options = Options { keep_alive: 1, ping_time: Duration::from_millis(500), ..server.options() };
    let client = Client::start(server.endpoint(), options);
    let mut events = client.events();
    let _silent = server.welcome(false).await;
    let begun = Instant::now();
    if publishes {
        let client = client.clone();
        tokio::spawn(async move {
            while client.try_publish(message(QoS::AtMostOnce, "x")).is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
        });
    }
    let (error, _) = lost(&mut events).await;
    assert_eq!(error.to_string(), "the server did not answer PINGREQ in time");
    let silent = begun.elapsed();
    assert!((1_400..2_500).contains(&silent.as_millis()), "noticed after {silent:?}");
    server.welcome(false).await;
}

#[tokio::test]
async fn silence_is_noticed_after_keep_alive_and_ping_time() {
    tokio::join!(notices(false), notices(true));
}

#[tokio::test]
async fn a_program_that_is_slow_for_longer_than_keep_alive_keeps_its_connection() {
    let server = Server::new(Version::V5).await;
    let options =
        Options { keep_alive: 1, ping_time: Duration::from_millis(100), buffer: 1, ..server.options() };
    let client = Client::start(server.endpoint(), options);
    let mut events = client.events();
    let mut peer = server.welcome(false).await;
    assert!(matches!(events.next().await.unwrap(), ConnectionEvent::Connected { .. }));
    let mut subscription = subscribed(&mut peer, &client).await;
    for text in ["1", "2", "3"] {
        peer.write(Packet::Publish(Publish::new("a", text.as_bytes()))).await;
    }
    // It goes on saying that it is there, and expects no answer that it does not read.
    for _ in 0..3 {
        peer.expect(Packet::Pingreq).await;
        peer.write(Packet::Pingresp).await;
    }
    for text in ["1", "2", "3"] {
        assert_eq!(&*subscription.next().await.unwrap().payload, text.as_bytes());
    }
    assert!(timeout(Duration::ZERO, events.next()).await.is_err(), "the connection was lost");
}

#[tokio::test]
async fn the_end_comes_in_time_also_where_the_server_takes_nothing() {
    let server = Server::new(Version::V5).await;
    let options = Options { shutdown_time: Duration::from_millis(300), ..server.options() };
    let client = Client::start(server.endpoint(), options);
    let _silent = server.welcome(false).await;
    for _ in 0..64 {
        client.try_publish(message(QoS::AtLeastOnce, &"x".repeat(1 << 20))).unwrap();
    }
    sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    client.disconnect().await;
    let took = begun.elapsed();
    assert!((300..1_500).contains(&took.as_millis()), "took {took:?}");
}

#[tokio::test]
async fn limits_beyond_all_reason_are_no_limits() {
    let server = Server::new(Version::V5).await;
    let most = Duration::MAX;
    let options = Options {
        connect_time: most,
        shutdown_time: most,
        ping_time: most,
        backoff: Backoff { first: most, most, stable: most },
        session_expiry: Some(most),
        ..server.options()
    };
    let client = Client::start(server.endpoint(), options);
    let mut peer = server.welcome(false).await;
    client.publish(message(QoS::AtMostOnce, "x")).await.unwrap();
    peer.read().await.unwrap();
    let mut events = client.events();
    drop(peer);
    assert!(lost(&mut events).await.1.unwrap() > Duration::from_secs(24 * 60 * 60));
    timeout(SOON, client.disconnect()).await.expect("there is nothing to deliver");
}

#[tokio::test]
async fn a_program_that_publishes_for_each_message_is_not_held_up_by_those_it_has_not_taken_yet() {
    let server = Server::new(Version::V5).await;
    let client = Client::start(server.endpoint(), Options { buffer: 2, ..server.options() });
    let mut peer = server.welcome(false).await;
    let mut subscription = subscribed(&mut peer, &client).await;
    // Many messages, and the answer behind them.
    for _ in 0..500 {
        peer.write(Packet::Publish(Publish::new("a", b"question"))).await;
    }
    for _ in 0..3 {
        subscription.next().await.unwrap();
        let answered = publishing(&client, QoS::AtLeastOnce, "answer");
        let bytes = peer.read().await.expect("PUBLISH");
        peer.write(Packet::Puback(ack(u16::from_be_bytes([bytes[5], bytes[6]])))).await;
        answered.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_program_that_took_no_messages_let_keep_alive_pass_in_silence() {
    let server = Server::new(Version::V5).await;
    let options = Options { keep_alive: 1, buffer: 1, ..server.options() };
    let client = Client::start(server.endpoint(), options);
    let mut peer = server.welcome(false).await;
    let _unread = subscribed(&mut peer, &client).await;
    for _ in 0..10 {
        peer.write(publish(0, QoS::AtMostOnce, false, "x")).await;
    }
    let begun = Instant::now();
    for _ in 0..3 {
        peer.expect(Packet::Pingreq).await; // [MQTT-3.1.2-20]
    }
    assert!(
        begun.elapsed() < Options::default().ping_time,
        "answers that it does not read must not be waited for"
    );
}
