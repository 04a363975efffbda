//! The programs that are killed: this test once more, with a variable that says what to do.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mqway_client::{Backoff, Client, Endpoint, Message, Options, Outbox, QoS};

use crate::process::Program;

/// Says what a process of this test is to do, if it is one of these programs.
const TASK: &str = "MQWAY_TEST_OUTBOX";

/// What a killed program does.
#[derive(Clone, Copy)]
pub enum Task {
    /// Publishes numbers from where it is up to this one, and ends when all are delivered.
    Publish { last: u64 },
    /// Writes the numbers that come with this QoS to `received`.
    Receive(QoS),
}

impl Task {
    pub fn start(self, port: u16, directory: &Path) -> Program {
        let task = match self {
            Task::Publish { last } => format!("publish {last}"),
            Task::Receive(qos) => format!("receive {}", u8::from(qos == QoS::ExactlyOnce) + 1),
        };
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["program::process", "--exact", "--nocapture"]);
        command.env(TASK, format!("{task} {port} {}", directory.display()));
        Program::start(command)
    }
}

pub fn options(outbox: Option<Outbox>) -> Options {
    let backoff = Backoff { first: Duration::from_millis(20), ..Backoff::default() };
    Options { backoff, outbox, shutdown_time: Duration::from_secs(60), ..Options::default() }
}

/// No test, but the program of a process that a test has started.
#[tokio::test]
async fn process() {
    let Ok(task) = std::env::var(TASK) else { return };
    let [task, number, port, directory] = task.splitn(4, ' ').collect::<Vec<_>>()[..] else {
        panic!("{task}")
    };
    let endpoint = Endpoint::new(format!("tcp://127.0.0.1:{port}"));
    let number = number.parse().unwrap();
    let directory = Path::new(directory);
    let outbox = Outbox::open(directory.join("outbox"), task).unwrap();
    match task {
        "publish" => publish(endpoint, outbox, number).await,
        "receive" => receive(endpoint, outbox, number, directory).await,
        _ => panic!("{task}"),
    }
}

async fn publish(endpoint: Endpoint, outbox: Outbox, last: u64) {
    let first = outbox.accepted() + 1;
    let client = Client::start(endpoint, options(Some(outbox)));
    for number in first..=last {
        let qos = QoS::ExactlyOnce;
        let message = Message { qos, ..Message::new("numbers", number.to_string()) };
        // Most are only handed over; of some the program wants to know.
        if number.is_multiple_of(7) {
            assert_eq!(client.store(message).await.unwrap().position, number);
        } else {
            drop(client.enqueue(message).await.unwrap());
        }
    }
    client.disconnect().await;
}

async fn receive(endpoint: Endpoint, outbox: Outbox, qos: u64, directory: &Path) {
    let qos = if qos == 1 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
    let client = Client::start(endpoint, options(Some(outbox)));
    let mut file = OpenOptions::new().append(true).create(true).open(directory.join("received")).unwrap();
    file.write_all(b"begin\n").unwrap();
    let mut numbers = loop {
        // A connection that is lost just then is a reason to ask again.
        if let Ok(numbers) = client.subscribe("numbers", qos).await {
            break numbers;
        }
    };
    while let Some(message) = numbers.next().await {
        let mut line = message.payload.into_vec();
        line.push(b'\n');
        file.write_all(&line).unwrap();
    }
}
