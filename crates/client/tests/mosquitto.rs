//! The client and a real mosquitto.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mqway_client::{Backoff, Client, Endpoint, Message, Options, QoS, Version};
use tokio::time::timeout;

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// A broker of this test's own, gone with it.
struct Mosquitto {
    process: Child,
    directory: tempfile::TempDir,
    tcp: u16,
    ws: u16,
}

impl Mosquitto {
    fn start() -> Mosquitto {
        let directory = tempfile::tempdir().unwrap();
        let (tcp, ws) = (free_port(), free_port());
        // Where it may, it stays root: as another user it could not write its sessions here.
        let config = format!(
            "user root\nlistener {tcp} 127.0.0.1\nlistener {ws} 127.0.0.1\nprotocol websockets\nallow_anonymous true\n\
             persistence true\npersistence_location {}/\nmax_queued_messages 0\n",
            directory.path().display()
        );
        std::fs::write(directory.path().join("mosquitto.conf"), config).unwrap();
        let process = run(directory.path());
        let mosquitto = Mosquitto { process, directory, tcp, ws };
        mosquitto.wait();
        mosquitto
    }

    fn restart(&mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        self.process.wait().unwrap();
        self.process = run(self.directory.path());
        self.wait();
    }

    fn wait(&self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.tcp)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn endpoints(&self) -> [Endpoint; 2] {
        [
            Endpoint::new(format!("tcp://127.0.0.1:{}", self.tcp)),
            Endpoint::new(format!("ws://127.0.0.1:{}/mqtt", self.ws)),
        ]
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(directory: &std::path::Path) -> Child {
    // Debian has it where the PATH of a user does not lead.
    let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
        .unwrap_or("mosquitto");
    let config = directory.join("mosquitto.conf");
    let mut command = Command::new(program);
    command.arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("mosquitto is installed by tests/setup")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn options(version: Version, client_id: &str) -> Options {
    let backoff = Backoff { first: Duration::from_millis(50), ..Backoff::default() };
    Options { version, client_id: client_id.to_owned(), backoff, ..Options::default() }
}

#[tokio::test]
async fn messages_of_every_qos_and_version_come_back_over_tcp_and_websocket() {
    let mosquitto = Mosquitto::start();
    for endpoint in mosquitto.endpoints() {
        for version in VERSIONS {
            let client = Client::start(endpoint.clone(), options(version, "both"));
            let mut subscription = client.subscribe("there/+", QoS::ExactlyOnce).await.unwrap();
            for qos in QOS {
                let payload = vec![b'x'; 50_000];
                client.publish(Message { qos, ..Message::new("there/back", payload.clone()) }).await.unwrap();
                let back = timeout(Duration::from_secs(10), subscription.next()).await.unwrap().unwrap();
                assert_eq!((&*back.topic, &*back.payload, back.qos), ("there/back", &payload[..], qos));
            }
            client.disconnect().await;
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_while_the_broker_is_restarted() {
    let mut mosquitto = Mosquitto::start();
    let [endpoint, _] = mosquitto.endpoints();
    let persistent =
        |id| Options { session_expiry: Some(Duration::from_secs(3600)), ..options(Version::V5, id) };
    let receiver = Client::start(endpoint.clone(), persistent("receiver"));
    let mut subscription = receiver.subscribe("count", QoS::ExactlyOnce).await.unwrap();
    let sender = Client::start(endpoint, persistent("sender"));
    let count = 2_000;
    let sending = tokio::spawn(async move {
        for index in 0..count {
            let message = Message { qos: QoS::ExactlyOnce, ..Message::new("count", index.to_string()) };
            sender.publish(message).await.unwrap();
        }
    });
    for expected in 0..count {
        if expected == count / 3 || expected == count / 2 {
            mosquitto.restart();
        }
        let message = timeout(Duration::from_secs(20), subscription.next()).await.unwrap().unwrap();
        assert_eq!(*message.payload, *expected.to_string().as_bytes());
    }
    sending.await.unwrap();
}
