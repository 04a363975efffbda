//! A network that is cut, silent for longer than keep alive, slow, and back: what MQTT promises still holds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use mqway_client::{Client, Endpoint, Incoming, Message, Options, PublishError, QoS, Subscription};
use tokio::time::{Instant, sleep, timeout};

use crate::broker::Mosquitto;
use crate::link::{Link, Weather};
use crate::{SOON, persistent};

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const TOPICS: u64 = 3;
const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(60);

/// A client that notices after 1.3 seconds that nobody is there.
fn alert(client_id: &str) -> Options {
    Options {
        keep_alive: 1,
        ping_time: Duration::from_millis(300),
        connect_time: SECOND,
        ..persistent(client_id)
    }
}

async fn receiver(mosquitto: &Mosquitto) -> (Client, Subscription, Link) {
    let link = Link::to(mosquitto.tcp()).await;
    let client = Client::start(link.endpoint(), alert("receiver"));
    let subscription = timeout(SOON, client.subscribe("cut/#", QoS::ExactlyOnce)).await.unwrap().unwrap();
    (client, subscription, link)
}

/// Publishes with every QoS on every topic, taking numbers from `numbers`, and waits until all are acknowledged.
async fn publish_all(client: &Client, numbers: impl Iterator<Item = u64>, pause: Duration) -> u64 {
    let mut count = 0;
    for number in numbers {
        for qos in QOS {
            let topic = format!("cut/{}/{}", qos as u8, number % TOPICS);
            let mut message = Arc::new(Message { qos, ..Message::new(topic, number.to_string()) });
            while let Err(PublishError::QueueFull(refused)) = client.try_publish(message) {
                message = refused;
                sleep(Duration::from_millis(5)).await;
            }
        }
        count += 1;
        sleep(pause).await;
    }
    // The last word: what was accepted before is acknowledged before, or at least sent before.
    client.publish(Message { qos: QoS::ExactlyOnce, ..Message::new("cut/2/end", "") }).await.unwrap();
    count
}

/// Reads up to the last word.
async fn receive_all(mut subscription: Subscription) -> Vec<Incoming> {
    let mut received = Vec::new();
    while let Some(incoming) = subscription.next().await {
        if &*incoming.topic == "cut/2/end" {
            break;
        }
        received.push(incoming);
    }
    received
}

/// What was received over `link` is what MQTT promises of what was sent.
fn check(link: &Link, received: &[Incoming], count: u64) {
    let mut numbers: HashMap<_, Vec<u64>> = HashMap::new();
    for incoming in received {
        let number = std::str::from_utf8(&incoming.payload).unwrap().parse().unwrap();
        numbers.entry(&*incoming.topic).or_default().push(number);
    }
    for topic in 0..TOPICS {
        let all: Vec<u64> = (0..count).filter(|number| number % TOPICS == topic).collect();
        let of = |qos: u8| numbers.get(&*format!("cut/{qos}/{topic}")).cloned().unwrap_or_default();
        assert_eq!(first_difference(&of(0), &sorted(of(0))), None, "QoS 0: in order, and none twice");
        let mut seen = HashSet::new();
        let first: Vec<_> = of(1).into_iter().filter(|number| seen.insert(*number)).collect();
        // [MQTT-4.6.0-1]
        assert_eq!(first_difference(&first, &all), None, "QoS 1: each at least once, first times in order");
        // [MQTT-4.3.3-10]
        let mut seen = HashSet::new();
        let topic = format!("cut/2/{topic}");
        let again = |number: &u64| link.has_begun_again(&topic, number.to_string().as_bytes());
        let once: Vec<_> =
            of(2).into_iter().filter(|number| seen.insert(*number) || !again(number)).collect();
        assert_eq!(first_difference(&once, &all), None, "QoS 2: each exactly once, in order");
    }
}

fn sorted(mut numbers: Vec<u64>) -> Vec<u64> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Where two lists part, with what they have there.
fn first_difference(ours: &[u64], theirs: &[u64]) -> Option<(usize, Option<u64>, Option<u64>)> {
    let at = (0..ours.len().max(theirs.len())).find(|index| ours.get(*index) != theirs.get(*index))?;
    Some((at, ours.get(at).copied(), theirs.get(at).copied()))
}

/// Silence for longer than keep alive, cuts at odd moments, a slow line, silence again; in the end all is well.
async fn bad_weather(link: &Link) {
    link.becomes(Weather::Silent);
    sleep(3 * SECOND).await;
    for piece in 1..10 {
        link.becomes(Weather::Fine);
        sleep(Duration::from_millis(29 * piece)).await;
        link.becomes(Weather::Cut);
        sleep(Duration::from_millis(13 * piece)).await;
    }
    link.becomes(Weather::Slow(Duration::from_millis(2)));
    sleep(SECOND).await;
    link.becomes(Weather::Silent);
    sleep(2 * SECOND).await;
    link.becomes(Weather::Fine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_in_bad_weather_loses_nothing_and_keeps_the_order() {
    let mosquitto = Mosquitto::start();
    let (receiver, subscription, back) = receiver(&mosquitto).await;
    let receiving = tokio::spawn(receive_all(subscription));
    let link = Link::to(mosquitto.tcp()).await;
    let sender = Client::start(link.endpoint(), alert("sender"));
    let end = Instant::now() + 9 * SECOND;
    let numbers = (0..).take_while(|_| Instant::now() < end);
    let publishing = async {
        // Some are under way when it begins.
        tokio::join!(publish_all(&sender, numbers, Duration::from_millis(2)), async {
            sleep(SECOND / 4).await;
            bad_weather(&link).await;
        })
    };
    let (count, ()) = timeout(LIMIT, publishing).await.expect("an end");
    let received = timeout(LIMIT, receiving).await.expect("the last word").unwrap();
    assert!(count > 500, "{count} in nine seconds");
    check(&back, &received, count);
    sender.disconnect().await;
    receiver.disconnect().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_in_bad_weather_misses_nothing_and_gets_it_in_order() {
    let mosquitto = Mosquitto::start();
    let (receiver, subscription, link) = receiver(&mosquitto).await;
    let receiving = tokio::spawn(receive_all(subscription));
    let sender =
        Client::start(Endpoint::new(format!("tcp://127.0.0.1:{}", mosquitto.tcp())), alert("sender"));
    // Some arrive; from then on they wait in mosquitto.
    let weather = async {
        sleep(SECOND / 4).await;
        bad_weather(&link).await;
    };
    let publishing = publish_all(&sender, 0..3_000, Duration::from_micros(100));
    let (count, ()) = timeout(LIMIT, async { tokio::join!(publishing, weather) }).await.expect("an end");
    let received = timeout(LIMIT, receiving).await.expect("the last word").unwrap();
    check(&link, &received, count);
    sender.disconnect().await;
    receiver.disconnect().await;
}

/// Chance that can be had again (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn weather(&mut self) -> (Weather, Duration) {
        let millis = Duration::from_millis;
        match self.below(8) {
            0 => (Weather::Silent, millis(self.below(3_000))),
            1 | 2 => (Weather::Cut, millis(self.below(300))),
            3 => (Weather::Slow(millis(self.below(5))), millis(self.below(1_000))),
            _ => (Weather::Fine, millis(self.below(1_500))),
        }
    }
}

async fn any_weather(link: &Link, mut chance: Chance, end: Instant) {
    while Instant::now() < end {
        let (weather, time) = chance.weather();
        link.becomes(weather);
        sleep(time).await;
    }
    link.becomes(Weather::Fine);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: minutes of bad weather on both sides"]
async fn nothing_is_lost_whatever_the_weather_on_both_sides() {
    let short = std::env::var_os("MQWAY_TEST_SHORT").is_some_and(|value| value != "0");
    let time = if short { 15 * SECOND } else { 180 * SECOND };
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
    println!("seed {seed}");
    let mosquitto = Mosquitto::start();
    let (receiver, subscription, back) = receiver(&mosquitto).await;
    let receiving = tokio::spawn(receive_all(subscription));
    let out = Link::to(mosquitto.tcp()).await;
    let sender = Client::start(out.endpoint(), alert("sender"));
    let end = Instant::now() + time;
    let numbers = (0..).take_while(|_| Instant::now() < end);
    let everything = async {
        tokio::join!(
            publish_all(&sender, numbers, Duration::from_millis(2)),
            any_weather(&out, Chance(seed), end),
            any_weather(&back, Chance(seed.rotate_left(32)), end)
        )
    };
    let (count, (), ()) = timeout(time + LIMIT, everything).await.expect("an end");
    let received = timeout(LIMIT, receiving).await.expect("the last word").unwrap();
    println!("{count} numbers");
    check(&back, &received, count);
    sender.disconnect().await;
    receiver.disconnect().await;
}
