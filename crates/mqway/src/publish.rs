//! `mqway pub`: publishes messages, as `mosquitto_pub` does.

mod lines;
mod source;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroU16;

use clap::ArgAction::SetTrue;
use clap::builder::FalseyValueParser;
use mqway_client::{Client, Delivery, Message, Options, PropertiesBuf, PublishError, QoS, Version};
use tokio::time::Instant;

use crate::client_flags::{ClientFlags, Place, qos, topic_name};
use crate::failure::{Failure, Status};
use crate::logging;
use crate::online::{self, Interrupt, Online, Policy};
use crate::quantity::Seconds;
pub use source::{Source, SourceFlags};

/// Lines that were read and are not acknowledged: beyond it the pipe waits.
const MOST_LINES: usize = 1000;

/// Their bytes, likewise.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Publish messages: one, or each line of stdin
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[command(flatten)]
    flags: ClientFlags,
    /// The topic to publish to
    #[arg(short, long, value_name = "TOPIC", env = "MQWAY_TOPIC")]
    topic: Option<String>,
    #[command(flatten)]
    source: SourceFlags,
    /// Publish each line of stdin as a message
    #[arg(short = 'l', long, env = "MQWAY_STDIN_LINE", action = SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    stdin_line: bool,
    /// Quality of service of the messages
    #[arg(short, long, value_name = "0|1|2", env = "MQWAY_QOS", default_value = "0", value_parser = qos)]
    qos: QoS,
    /// Have the server keep the message for later subscribers
    #[arg(short, long, env = "MQWAY_RETAIN", action = SetTrue, value_parser = FalseyValueParser::new())]
    retain: bool,
    /// Publish the message this often
    #[arg(long, value_name = "N", env = "MQWAY_REPEAT", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Wait this long between one time and the next
    #[arg(long, value_name = "SECS", env = "MQWAY_REPEAT_DELAY", default_value = "0")]
    repeat_delay: Seconds,
    /// Messages of QoS 1 and 2 to have under way at once, not yet acknowledged [default: as many as the server takes, and
    /// 20 before 5.0, where it cannot say]
    #[arg(short = 'M', long, value_name = "N", env = "MQWAY_MAX_INFLIGHT")]
    max_inflight: Option<NonZeroU16>,
}

/// Publishes what the flags say.
pub fn run(args: &Args) -> Result<(), Failure> {
    logging::start(Some(args.flags.log_level()))?;
    let flags = &args.flags;
    let server = flags.server()?;
    let properties = flags.properties()?;
    let version = flags.version(Version::V3_1_1);
    let topic = args.topic.as_ref().or(server.topic.as_ref());
    let topic = topic.ok_or_else(|| Failure::usage("no topic; say which with --topic"))?;
    topic_name(topic)?;
    let model = Message {
        topic: topic.clone(),
        payload: Vec::new(),
        qos: args.qos,
        retain: args.retain,
        properties: if version == Version::V5 {
            properties.of(Place::Publish).clone()
        } else {
            PropertiesBuf::new()
        },
    };
    let source = args.source.source(args.stdin_line)?;
    let endpoint = flags.endpoint(&server, version)?;
    let options = Options { in_flight: args.max_inflight, ..flags.options(version, &properties)? };
    let policy = Policy::new(flags.retry, matches!(source, Source::Lines));
    online::run(async {
        let mut interrupt = Interrupt::catch()?;
        let mut online = Online::start(server.url, endpoint, options, policy);
        let mut publisher = Publisher::new(args, online.client.clone(), model);
        let result = tokio::select! {
            result = publisher.connect_and_publish(&mut online, source) => result,
            name = interrupt.caught() => {
                Err(Failure::other(format_args!("stopped by {name} before all was published")))
            }
        };
        online.leave().await;
        result.and(publisher.verdict())
    })
}

/// What was published, and how it went.
struct Publisher<'a> {
    args: &'a Args,
    client: Client,
    model: Message,
    /// Messages that the server has refused, and the first refusal.
    refused: u64,
    first_refusal: Option<Failure>,
    done: u64,
}

impl<'a> Publisher<'a> {
    fn new(args: &'a Args, client: Client, model: Message) -> Publisher<'a> {
        Publisher { args, client, model, refused: 0, first_refusal: None, done: 0 }
    }

    async fn connect_and_publish(&mut self, online: &mut Online, source: Source) -> Result<(), Failure> {
        let limit = self.args.flags.timeout;
        let deadline = limit.map(|limit| Instant::now() + limit.0);
        let timed_out = || Failure::new(Status::TimedOut, "timed out before all was published");
        tokio::select! {
            connected = online.connected() => connected?,
            () = online::passed(deadline) => return Err(timed_out()),
        }
        match source {
            Source::Payload(payload) => tokio::select! {
                result = self.repeat(payload) => result,
                failure = online.over() => Err(failure),
                () = online::passed(deadline) => Err(timed_out()),
            },
            Source::Lines => {
                let mut window = Window::default();
                tokio::select! {
                    result = self.lines(&mut window) => result?,
                    failure = online.over() => return Err(failure),
                }
                // The time is that for the server to answer, not for the pipe to end.
                let deadline = limit.map(|limit| Instant::now() + limit.0);
                tokio::select! {
                    result = self.settle(&mut window, 0, 0) => result,
                    failure = online.over() => Err(failure),
                    () = online::passed(deadline) => Err(timed_out()),
                }
            }
        }
    }

    /// One payload, again and again.
    async fn repeat(&mut self, payload: Vec<u8>) -> Result<(), Failure> {
        let message = std::sync::Arc::new(Message { payload, ..self.model.clone() });
        for time in 0..self.args.repeat {
            if time > 0 {
                tokio::time::sleep(self.args.repeat_delay.0).await;
            }
            let result = self.client.publish(message.clone()).await;
            self.note(message.payload.len(), result.map(drop))?;
        }
        Ok(())
    }

    /// The lines of stdin. Returns at their end; those in the window are not acknowledged then.
    async fn lines(&mut self, window: &mut Window) -> Result<(), Failure> {
        let mut batches = lines::read();
        while let Some(batch) = batches.recv().await {
            for line in batch? {
                let len = line.len();
                let message = Message { payload: line, ..self.model.clone() };
                let delivery = self.client.enqueue(message).await.map_err(|error| refusal(&error))?;
                window.bytes += len;
                window.deliveries.push_back((len, delivery));
                self.settle(window, MOST_LINES, MOST_BYTES).await?;
            }
        }
        Ok(())
    }

    /// Waits until no more messages than `count`, with no more than `bytes`, are under way.
    async fn settle(&mut self, window: &mut Window, count: usize, bytes: usize) -> Result<(), Failure> {
        while window.deliveries.len() > count || window.bytes > bytes {
            // Taken out only when it is done: this future may be dropped on the way, and another go on.
            let Some((len, delivery)) = window.deliveries.front_mut() else { break };
            let (len, result) = (*len, delivery.await);
            window.deliveries.pop_front();
            window.bytes -= len;
            self.note(len, result.map(drop))?;
        }
        Ok(())
    }

    /// Counts one message. A refusal is no reason to keep the next from the server.
    fn note(&mut self, len: usize, result: Result<(), PublishError>) -> Result<(), Failure> {
        let failure = result.as_ref().err().map(refusal);
        if self.args.flags.json {
            self.print(len, failure.as_ref())?;
        }
        match failure {
            None => self.done += 1,
            Some(failure) if failure.status == Status::Denied => {
                log::debug!("{failure}");
                self.refused += 1;
                self.first_refusal.get_or_insert(failure);
            }
            Some(failure) => return Err(failure),
        }
        Ok(())
    }

    fn print(&self, len: usize, failure: Option<&Failure>) -> Result<(), Failure> {
        let mut line = serde_json::json!({
            "topic": self.model.topic,
            "qos": self.model.qos as u8,
            "retain": self.model.retain,
            "bytes": len,
            "published": failure.is_none(),
        });
        if let (Some(failure), Some(line)) = (failure, line.as_object_mut()) {
            line.insert("error".to_owned(), failure.message.as_str().into());
        }
        match writeln!(io::stdout(), "{line}") {
            // Nobody wants to know; the messages are wanted nevertheless.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::stdout(&error)),
            _ => Ok(()),
        }
    }

    fn verdict(self) -> Result<(), Failure> {
        match self.first_refusal {
            None => Ok(()),
            Some(only) if self.refused == 1 => Err(only),
            Some(first) => {
                let all = self.refused + self.done;
                Err(Failure::new(first.status, format_args!("{} of {all} messages: {first}", self.refused)))
            }
        }
    }
}

/// Lines that are under way, in order.
#[derive(Default)]
struct Window {
    deliveries: VecDeque<(usize, Delivery)>,
    bytes: usize,
}

/// Why a message was not published, as an exit status.
pub fn refusal(error: &PublishError) -> Failure {
    let status = match error {
        PublishError::Refused(_)
        | PublishError::TooLarge(_)
        | PublishError::QosNotSupported(_)
        | PublishError::RetainNotSupported(_) => Status::Denied,
        PublishError::Invalid(_) => Status::Usage,
        PublishError::SessionLost(_) | PublishError::Ended => Status::Lost,
        _ => Status::Other,
    };
    Failure::new(status, error)
}
