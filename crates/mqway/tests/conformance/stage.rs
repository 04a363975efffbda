//! Where the scenarios are played: the servers, the ways to them, names that nobody else uses.

use crate::client::Client;
use crate::fields::code_of;
use crate::support::certificates::Certificates;
use crate::support::mqway::{Proxy, Running};
use crate::support::packets::{self, Level};
use crate::wire::Wire;
use std::io::Write;
use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// The ways to a broker, in the order of the listeners; the last one leads through a proxy.
const WAYS: [&str; 5] = ["tcp", "tls", "ws", "wss", "proxy"];
const LISTENERS: [&str; 4] =
    ["mqtt://127.0.0.1:0", "mqtts://127.0.0.1:0", "ws://127.0.0.1:0", "wss://127.0.0.1:0"];

/// A broker and a proxy before it, which speaks WebSocket over TLS with it.
struct House {
    broker: Running,
    proxy: Running,
    certificates: Certificates,
}

impl House {
    fn start(settings: &str) -> House {
        let certificates = Certificates::new();
        let mut file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
        file.write_all(settings.as_bytes()).unwrap();
        let mut broker = Proxy::broker().ending_with_us().tls(&certificates);
        for url in LISTENERS {
            broker = broker.listen(url);
        }
        let path = file.path().to_str().unwrap();
        let broker = broker.arguments(&["-c", path]).start();
        let proxy = Proxy::new().ending_with_us().tls(&certificates).listen("mqtt://127.0.0.1:0");
        let proxy = proxy.upstream(&broker.url(3).replace("127.0.0.1", "localhost"));
        House { broker, proxy: proxy.arguments(&["--connect-timeout", "3"]).start(), certificates }
    }

    /// One with the limits that it has of itself, but for a short wait for CONNECT and a Receive Maximum that a test can
    /// exceed.
    fn usual() -> &'static House {
        static HOUSE: OnceLock<House> = OnceLock::new();
        HOUSE.get_or_init(|| House::start(USUAL))
    }

    /// One that offers little.
    fn narrow() -> &'static House {
        static HOUSE: OnceLock<House> = OnceLock::new();
        HOUSE.get_or_init(|| House::start(NARROW))
    }
}

const USUAL: &str = "
[broker]
receive_maximum = 100

[limits]
connect_timeout = 3
";

const NARROW: &str = "
[broker]
max_keep_alive = 2
max_session_expiry = 3
max_qos = 1
retain = false
shared_subscriptions = false
receive_maximum = 3
max_inflight = 4
max_topic_aliases = 2
max_queued_messages = 5
max_subscriptions = 3
max_topic_levels = 4

[limits]
max_packet = 1024
";

/// Where one scenario is played, over one way.
#[derive(Clone, Copy)]
pub struct Stage {
    house: &'static House,
    way: usize,
    number: u32,
}

/// Plays a scenario over each way at the same time.
pub fn everywhere(scenario: impl Fn(Stage) + Sync) {
    play(House::usual(), scenario);
}

/// Plays a scenario at the broker with narrow limits: retains nothing, QoS 1 at the most.
pub fn at_the_narrow_one(scenario: impl Fn(Stage) + Sync) {
    play(House::narrow(), scenario);
}

fn play(house: &'static House, scenario: impl Fn(Stage) + Sync) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let scenario = &scenario;
    thread::scope(|scope| {
        let play = |way| {
            let stage = Stage { house, way, number: NUMBER.fetch_add(1, Ordering::Relaxed) };
            let thread = thread::Builder::new().name(WAYS[way].to_owned());
            thread.spawn_scoped(scope, move || scenario(stage)).expect("threads can be started")
        };
        let played: Vec<_> = (0..WAYS.len()).map(play).collect();
        let ends: Vec<_> = played.into_iter().map(|thread| thread.join()).collect();
        if let Some(end) = ends.into_iter().find_map(Result::err) {
            resume_unwind(end);
        }
    });
    for program in [&house.broker.program, &house.proxy.program] {
        let panic = program.stderr.all().into_iter().find(|line| line.contains("panicked"));
        assert_eq!(panic, None);
    }
}

impl Stage {
    /// A client identifier of this scenario: 23 characters at most if `role` has 8.
    pub fn id(&self, role: &str) -> String {
        format!("c{}{role}", self.number)
    }

    /// A topic, or a filter, of this scenario.
    pub fn topic(&self, rest: &str) -> String {
        format!("t{}/{rest}", self.number)
    }

    /// Whether a proxy stands between.
    pub fn through_proxy(&self) -> bool {
        WAYS[self.way] == "proxy"
    }

    /// Whether packets travel in WebSocket messages.
    pub fn websocket_url(&self) -> Option<&'static str> {
        (WAYS[self.way] == "ws").then(|| self.url())
    }

    fn url(&self) -> &'static str {
        if self.through_proxy() { self.house.proxy.url(0) } else { self.house.broker.url(self.way) }
    }

    /// A connection on which nothing was said.
    pub fn open(&self, level: Level) -> Client {
        Client::new(Wire::dial(self.url(), &self.house.certificates), level)
    }

    /// A connection whose first packet is this; gives back the answer, too.
    pub fn greet(&self, level: Level, connect: &[u8]) -> (Client, Vec<u8>) {
        let mut client = self.open(level);
        client.send(connect);
        let connack = client.next();
        assert_eq!(connack[0], 0x20, "CONNACK comes first: {connack:02x?}"); // [MQTT-3.2.0-1]
        (client, connack)
    }

    /// A client that was accepted, in a session that ends with it.
    pub fn client(&self, level: Level, role: &str) -> Client {
        self.client_with(level, packets::connect(level, &self.id(role)))
    }

    /// One that was accepted with this CONNECT.
    pub fn client_with(&self, level: Level, connect: Vec<u8>) -> Client {
        let (client, connack) = self.greet(level, &connect);
        assert_eq!(code_of(&connack), 0, "{connack:02x?}");
        client
    }
}
