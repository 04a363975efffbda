//! Programs with an outbox are killed with SIGKILL at any moment, again and again, beside a real mosquitto.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mqway_client::{Client, Message, Options, QoS, Subscription};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::SOON;
use crate::broker::Mosquitto;
use crate::program::{Task, options};

/// How much of it.
#[derive(Clone, Copy)]
struct Size {
    messages: u64,
    kills: u64,
    /// mosquitto is restarted with every so many kills.
    restart: Option<u64>,
}

const SHORT: Size = Size { messages: 800, kills: 8, restart: None };
const LONG: Size = Size { messages: 10_000, kills: 100, restart: None };

/// The size of a long test: the whole, or with `MQWAY_TEST_SHORT=1` a short one.
fn long(whole: Size) -> Size {
    let short = std::env::var_os("MQWAY_TEST_SHORT").is_some_and(|value| value != "0");
    if short { Size { messages: whole.messages / 5, kills: whole.kills / 5, ..whole } } else { whole }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_is_killed_again_and_again_delivers_each_message_once() {
    publisher(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: a hundred kills"]
async fn a_publisher_that_is_killed_a_hundred_times_delivers_each_of_10_000_messages_once() {
    publisher(long(LONG)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_is_killed_while_the_server_is_restarted_delivers_each_message_once() {
    publisher(Size { restart: Some(4), ..SHORT }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: a hundred kills"]
async fn a_publisher_that_is_killed_a_hundred_times_while_the_server_is_restarted_delivers_each_of_10_000_once()
 {
    publisher(long(Size { restart: Some(10), ..LONG })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_killed_again_and_again_gets_all_messages() {
    receiver(QoS::AtLeastOnce, SHORT).await;
    receiver(QoS::ExactlyOnce, SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: two hundred kills"]
async fn a_receiver_that_is_killed_a_hundred_times_gets_all_of_10_000_messages() {
    receiver(QoS::AtLeastOnce, long(LONG)).await;
    receiver(QoS::ExactlyOnce, long(Size { restart: Some(10), ..LONG })).await;
}

/// A moment in the life of a program, from its start on.
async fn any_moment() {
    let mut byte = [0; 2];
    getrandom::fill(&mut byte).unwrap();
    sleep(Duration::from_micros(u64::from(u16::from_ne_bytes(byte)) * 2)).await;
}

fn persistent(client_id: &str) -> Options {
    Options {
        client_id: client_id.to_owned(),
        session_expiry: Some(Duration::from_secs(3600)),
        ..options(None)
    }
}

/// Waits until a number has stood still for a while. A mosquitto 2.0 that is restarted between PUBREC and PUBCOMP sends
/// PUBLISH again instead of PUBREL, to a receiver that has done with the message: it is not restarted just then.
async fn quiet(number: impl Fn() -> u64) {
    let mut last = None;
    while last != Some(number()) {
        last = Some(number());
        sleep(Duration::from_millis(300)).await;
    }
}

async fn publisher(size: Size) {
    let mut mosquitto = Mosquitto::start();
    let directory = TempDir::new().unwrap();
    let client = Client::start(mosquitto.endpoint(), persistent("witness"));
    let numbers = client.subscribe("numbers", QoS::ExactlyOnce).await.unwrap();
    let counted = Arc::new(AtomicU64::new(0));
    let counting = tokio::spawn(count(numbers, size.messages, counted.clone()));
    for kill in 1..=size.kills {
        // In each life some are left for the next ones, so that every one of them has something to do.
        let last = size.messages * kill / size.kills;
        let mut program = Task::Publish { last }.start(mosquitto.port, directory.path());
        any_moment().await;
        program.kill();
        if size.restart.is_some_and(|every| kill % every == 0) {
            quiet(|| counted.load(Ordering::SeqCst)).await;
            mosquitto.restart();
        }
    }
    let mut program = Task::Publish { last: size.messages }.start(mosquitto.port, directory.path());
    let ended = tokio::task::spawn_blocking(move || program.wait(Duration::from_secs(60))).await.unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    counting.await.unwrap();
}

/// Each number, once and in order, and nothing behind the last.
async fn count(mut numbers: Subscription, last: u64, counted: Arc<AtomicU64>) {
    for expected in 1..=last {
        let message = timeout(Duration::from_secs(60), numbers.next()).await;
        let message = message.unwrap_or_else(|_| panic!("{expected} does not come")).unwrap();
        assert_eq!(String::from_utf8_lossy(&message.payload), expected.to_string());
        counted.store(expected, Ordering::SeqCst);
    }
    let more = timeout(Duration::from_millis(500), numbers.next()).await;
    assert!(more.is_err(), "{more:?}");
}

async fn receiver(qos: QoS, size: Size) {
    let mut mosquitto = Mosquitto::start();
    let directory = TempDir::new().unwrap();
    // The session is there before anything is published.
    drop(Task::Receive(qos).start(mosquitto.port, directory.path()));
    let sender = Client::start(mosquitto.endpoint(), persistent("sender"));
    let mut sent = 0;
    for kill in 1..=size.kills {
        let mut program = Task::Receive(qos).start(mosquitto.port, directory.path());
        if kill == 1 {
            wait_for_subscription(&mut program, directory.path()).await;
        }
        let restarts = size.restart.is_some_and(|every| kill % every == 0);
        if restarts {
            quiet(|| lives(directory.path()).iter().map(Vec::len).sum::<usize>() as u64).await;
            program.kill();
        }
        let last = size.messages * kill / size.kills;
        let mut deliveries = Vec::new();
        for number in sent + 1..=last {
            let message = Message { qos, ..Message::new("numbers", number.to_string()) };
            deliveries.push(sender.enqueue(message).await.unwrap());
        }
        sent = last;
        if restarts {
            for delivery in deliveries {
                delivery.await.unwrap();
            }
            mosquitto.restart();
        } else {
            any_moment().await;
            program.kill();
        }
    }
    let _program = Task::Receive(qos).start(mosquitto.port, directory.path());
    let begun = std::time::Instant::now();
    let lives = loop {
        let lives = lives(directory.path());
        if lives.iter().flatten().any(|number| *number == size.messages) {
            break lives;
        }
        let ends: Vec<_> = lives.iter().map(|life| (life.first(), life.last())).collect();
        assert!(begun.elapsed() < Duration::from_secs(60), "the last message does not come: {ends:?}");
        sleep(Duration::from_millis(20)).await;
    };
    match qos {
        QoS::ExactlyOnce => check_exactly_once(&lives, size.messages),
        _ => check_at_least_once(&lives, size.messages),
    }
}

async fn wait_for_subscription(program: &mut crate::process::Program, directory: &Path) {
    let begun = std::time::Instant::now();
    while lives(directory).is_empty() {
        assert!(program.is_running() && begun.elapsed() < SOON, "the receiver does not begin");
        sleep(Duration::from_millis(10)).await;
    }
    // SUBACK is not to be seen from here.
    sleep(Duration::from_millis(500)).await;
}

/// The numbers that the program wrote down in each of its lives.
fn lives(directory: &Path) -> Vec<Vec<u64>> {
    let text = std::fs::read_to_string(directory.join("received")).unwrap_or_default();
    let lives = text.split("begin\n").skip(1);
    lives.map(|life| life.lines().map(|line| line.parse().unwrap()).collect()).collect()
}

/// In order, and none twice but for the one that the program had in hand when it was killed.
fn check_exactly_once(lives: &[Vec<u64>], last: u64) {
    let mut next = 1;
    for life in lives {
        for (index, number) in life.iter().enumerate() {
            let again = index == 0 && number + 1 == next;
            assert!(*number == next || again, "{number} where {next} was to come");
            next = number + 1;
        }
    }
    assert_eq!(next, last + 1);
}

fn check_at_least_once(lives: &[Vec<u64>], last: u64) {
    let mut seen = std::collections::BTreeSet::new();
    let first: Vec<_> = lives.iter().flatten().filter(|number| seen.insert(**number)).copied().collect();
    let all: Vec<_> = (1..=last).collect();
    assert_eq!(first, all);
}
