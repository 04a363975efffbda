//! Somebody who goes about their business while it storms: one client publishes with QoS 1, another receives, and none
//! of the messages may be missing, come twice, out of order, or late.

use crate::support::packets::{self, V3_1_1};
use crate::support::{SOON, dial_tcp};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use std::io::Write;

/// The pause between two messages.
const PACE: Duration = Duration::from_millis(5);

/// How many clients it is.
pub const CLIENTS: u64 = 2;

/// The two clients, each on a thread of its own until asked what they have seen.
pub struct Witness {
    over: Arc<AtomicBool>,
    publisher: JoinHandle<u64>,
    receiver: JoinHandle<Testimony>,
}

/// What was seen.
#[derive(Debug)]
pub struct Testimony {
    pub messages: u64,
    /// The longest time from a PUBLISH to its arrival.
    pub slowest: Duration,
}

impl Witness {
    pub fn begin(broker: SocketAddr) -> Witness {
        static WITNESSES: AtomicUsize = AtomicUsize::new(0);
        let topic = format!("witness/{}", WITNESSES.fetch_add(1, Ordering::Relaxed));
        let over = Arc::new(AtomicBool::new(false));
        let epoch = Instant::now();
        let mut from = enter(broker, &format!("{topic}/to"));
        from.write_all(&packets::subscribe(V3_1_1, 1, &topic, 1)).unwrap();
        assert_eq!(packets::read(&mut from).unwrap()[0], 0x90);
        let to = enter(broker, &format!("{topic}/from"));
        let topic_len = topic.len();
        let receiver = thread::spawn(move || receive(from, topic_len, epoch));
        let ends = Arc::clone(&over);
        let publisher = thread::spawn(move || publish(to, &topic, epoch, &ends));
        Witness { over, publisher, receiver }
    }

    /// Ends both; panics if a message is missing.
    pub fn testify(self) -> Testimony {
        self.over.store(true, Ordering::Relaxed);
        let published = self.publisher.join().expect("every message was acknowledged");
        let testimony = self.receiver.join().expect("every message came once, in order");
        assert_eq!(testimony.messages, published);
        testimony
    }
}

fn enter(broker: SocketAddr, name: &str) -> TcpStream {
    let mut stream = dial_tcp(broker);
    stream.set_read_timeout(Some(SOON * 3)).unwrap();
    stream.write_all(&packets::connect(V3_1_1, name)).unwrap();
    assert_eq!(packets::read(&mut stream).unwrap(), packets::connack(V3_1_1));
    stream
}

/// Publishes numbers with the time until it is over, and then an empty message. How many numbers there were.
fn publish(mut stream: TcpStream, topic: &str, epoch: Instant, over: &AtomicBool) -> u64 {
    let mut number = 0_u64;
    loop {
        let ends = over.load(Ordering::Relaxed);
        let id = (number % 60_000) as u16 + 1;
        let mut payload = Vec::new();
        if !ends {
            payload.extend(number.to_be_bytes());
            payload.extend((epoch.elapsed().as_micros() as u64).to_be_bytes());
        }
        stream.write_all(&packets::publish(V3_1_1, topic, 1, id, &payload)).unwrap();
        assert_eq!(packets::read(&mut stream).expect("PUBACK"), packets::acknowledgement(0x40, id));
        if ends {
            return number;
        }
        number += 1;
        thread::sleep(PACE);
    }
}

fn receive(mut stream: TcpStream, topic_len: usize, epoch: Instant) -> Testimony {
    let mut seen = Testimony { messages: 0, slowest: Duration::ZERO };
    loop {
        let packet = packets::read(&mut stream).expect("the witness is never disconnected");
        let id = packets::publish_id(&packet);
        stream.write_all(&packets::acknowledgement(0x40, id)).unwrap();
        let payload = &packet[2 + 2 + topic_len + 2..];
        let Some((number, sent)) = payload.split_first_chunk() else { return seen };
        assert_eq!(u64::from_be_bytes(*number), seen.messages, "the number of the next message");
        let sent = Duration::from_micros(u64::from_be_bytes(sent.try_into().unwrap()));
        seen.slowest = seen.slowest.max(epoch.elapsed().saturating_sub(sent));
        seen.messages += 1;
    }
}
