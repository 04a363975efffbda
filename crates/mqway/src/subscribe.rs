//! `mqway sub`: subscribes and prints, as `mosquitto_sub` does.

mod format;
mod json;
pub mod print;

use std::hash::{BuildHasher, RandomState};
use std::pin::pin;

use clap::ArgAction::SetTrue;
use clap::builder::FalseyValueParser;
use mqway_client::{
    AckToken, Client, Incoming, Message, Options, PublishError, QoS, RetainHandling, SubscribeError,
    SubscribeOptions, Subscription, Version, Wanted,
};
use mqway_codec::{TopicFilter, TopicName};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};

use crate::client_flags::{ClientFlags, qos};
use crate::failure::{Failure, Status};
use crate::logging;
use crate::online::{self, Interrupt, Online, Policy};
use crate::quantity::Seconds;
use print::{PrintFlags, Printer};

/// Subscribe, and print the messages that come
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[command(flatten)]
    flags: ClientFlags,
    /// Subscribe to this filter; repeat it for more
    #[arg(short, long, value_name = "FILTER", env = "MQWAY_TOPIC", value_delimiter = '\n')]
    topic: Vec<String>,
    /// Leave out messages whose topic matches this filter; repeat it for more
    #[arg(short = 'T', long, value_name = "FILTER", env = "MQWAY_FILTER_OUT", value_delimiter = '\n')]
    filter_out: Vec<String>,
    /// Unsubscribe from this filter, of a session that is continued; repeat it for more
    #[arg(short = 'U', long, value_name = "FILTER", env = "MQWAY_UNSUBSCRIBE", value_delimiter = '\n')]
    unsubscribe: Vec<String>,
    /// Highest quality of service to receive with
    #[arg(short, long, value_name = "0|1|2", env = "MQWAY_QOS", default_value = "0", value_parser = qos)]
    qos: QoS,
    /// End after this many messages
    #[arg(short = 'C', long, value_name = "N", env = "MQWAY_COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this time, with status 8
    #[arg(short = 'W', long, value_name = "SECS", env = "MQWAY_WAIT")]
    wait: Option<Seconds>,
    /// End as soon as the server has acknowledged the subscriptions
    #[arg(short = 'E', long, env = "MQWAY_EXIT_AFTER_SUBSCRIBE", action = SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    exit_after_subscribe: bool,
    /// Leave out retained messages that were there before
    #[arg(short = 'R', long, env = "MQWAY_NO_RETAINED", action = SetTrue, value_parser = FalseyValueParser::new())]
    no_retained: bool,
    /// Print retained messages only, and end with the first other one
    #[arg(long, env = "MQWAY_RETAINED_ONLY", action = SetTrue, value_parser = FalseyValueParser::new())]
    retained_only: bool,
    /// Have the server forget the retained messages that come, but for those that --filter-out leaves out
    #[arg(long, env = "MQWAY_REMOVE_RETAINED", action = SetTrue, value_parser = FalseyValueParser::new())]
    remove_retained: bool,
    /// Show messages as retained if they were published so (5.0)
    #[arg(long, env = "MQWAY_RETAIN_AS_PUBLISHED", action = SetTrue, value_parser = FalseyValueParser::new())]
    retain_as_published: bool,
    /// Print only this percentage of the messages, chosen by chance
    #[arg(long, value_name = "PERCENT", env = "MQWAY_RANDOM_FILTER", value_parser = percentage)]
    random_filter: Option<f64>,
    #[command(flatten, next_help_heading = "Output")]
    print: PrintFlags,
}

/// Subscribes, and prints what comes.
pub fn run(args: &Args) -> Result<(), Failure> {
    let flags = &args.flags;
    logging::start(Some(flags.log_level()))?;
    let server = flags.server()?;
    let properties = flags.properties()?;
    let version = flags.version(Version::V3_1_1);
    let mut filters = args.topic.clone();
    filters.extend(server.topic.clone());
    if filters.is_empty() && args.unsubscribe.is_empty() {
        return Err(Failure::usage("no topic to subscribe to; say which with --topic"));
    }
    for filter in filters.iter().chain(&args.filter_out).chain(&args.unsubscribe) {
        TopicFilter::for_version(version, filter)
            .map_err(|error| Failure::usage(format_args!("bad topic filter {filter:?}: {error}")))?;
    }
    if args.no_retained && args.retained_only {
        return Err(Failure::usage("--no-retained and --retained-only leave nothing; drop one of them"));
    }
    let printer = Printer::new(&args.print, flags.json)?;
    let endpoint = flags.endpoint(&server, version)?;
    let options = Options {
        // What was not printed is not acknowledged, so that a session that is kept still has it.
        manual_acknowledgement: true,
        ..flags.options(version, &properties)?
    };
    let wanted = filters.iter().map(|filter| args.wanted(version, filter)).collect();
    online::run(async {
        let mut interrupt = Interrupt::catch()?;
        let ends = args.wait.map(|wait| Instant::now() + wait.0);
        let mut online = Online::start(server.url, endpoint, options, Policy::new(flags.retry, true));
        let mut subscriber = Subscriber {
            args,
            messages: online.client.messages(),
            client: online.client.clone(),
            printer,
            printed: Vec::new(),
            count: 0,
            removals: JoinSet::new(),
        };
        let result = tokio::select! {
            result = subscriber.run(&mut online, wanted) => result,
            _ = interrupt.caught() => Ok(()),
            // Not only when the next message comes: that may be never.
            () = print::closed() => Ok(()),
            () = online::passed(ends) => Err(Failure::new(Status::TimedOut, "timed out")),
        };
        // What nobody has read by then is not acknowledged.
        let flushed = timeout(online::GOODBYE, subscriber.flush()).await.unwrap_or(Ok(()));
        online.leave().await;
        result.and(flushed)
    })
}

impl Args {
    fn wanted(&self, version: Version, filter: &str) -> Wanted {
        let mut options = SubscribeOptions::new(self.qos);
        if version == Version::V5 {
            options.retain_as_published = self.retain_as_published;
            if self.no_retained {
                options.retain_handling = RetainHandling::DoNotSend;
            }
        }
        Wanted { filter: filter.into(), options, identifier: None }
    }
}

/// Prints messages, one after the other.
struct Subscriber<'a> {
    args: &'a Args,
    client: Client,
    messages: Subscription,
    printer: Printer,
    /// Messages in the printer's buffer, to be acknowledged when it is written.
    printed: Vec<AckToken>,
    count: u64,
    /// Retained messages that the server is to forget.
    removals: JoinSet<Result<(), PublishError>>,
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Then {
    Next,
    End,
}

impl Subscriber<'_> {
    async fn run(&mut self, online: &mut Online, wanted: Vec<Wanted>) -> Result<(), Failure> {
        let limit = self.args.flags.timeout.map(|limit| Instant::now() + limit.0);
        let client = self.client.clone();
        let mut asking = pin!(ask(&client, wanted, &self.args.unsubscribe));
        let mut answered = false;
        loop {
            tokio::select! {
                biased;
                answer = &mut asking, if !answered => {
                    answered = true;
                    match answer {
                        // Its last event says why it has ended.
                        Err(failure) if failure.status == Status::Lost => return Err(online.over().await),
                        answer => answer?,
                    }
                    if self.args.exit_after_subscribe {
                        return Ok(());
                    }
                }
                message = self.messages.next() => {
                    let message = message.ok_or_else(|| Failure::other("the client has ended"))?;
                    if self.take(message).await? == Then::End {
                        return self.remove(online).await;
                    }
                }
                Some(removed) = self.removals.join_next() => report(removed),
                failure = online.over() => return Err(failure),
                () = online::passed(limit), if !answered => {
                    return Err(Failure::new(Status::TimedOut, "timed out before the server granted the subscription"));
                }
            }
        }
    }

    /// Prints a message and those that are there already, then writes all at once.
    async fn take(&mut self, message: Incoming) -> Result<Then, Failure> {
        let mut next = Some(message);
        while let Some(mut message) = next {
            let token = message.token.take();
            let then = self.print(&message);
            self.printed.extend(token);
            if then == Then::End {
                self.flush().await?;
                return Ok(Then::End);
            }
            next = if self.printer.is_full() { None } else { self.messages.try_next() };
        }
        self.flush().await?;
        Ok(if self.printer.is_closed() { Then::End } else { Then::Next })
    }

    /// mosquitto's order: what ends it, what is left out, what is removed, what is printed, what counts.
    fn print(&mut self, message: &Incoming) -> Then {
        let args = self.args;
        if args.retained_only && !message.retain {
            return Then::End;
        }
        if args.filter_out.iter().any(|filter| matches(filter, &message.topic)) {
            return Then::Next;
        }
        if args.remove_retained && message.retain {
            self.forget(&message.topic);
        }
        if args.no_retained && message.retain {
            return Then::Next;
        }
        if args.random_filter.is_none_or(|percentage| chance() * 100.0 < percentage) {
            self.printer.print(message);
        }
        self.count += 1;
        if args.count == Some(self.count) { Then::End } else { Then::Next }
    }

    /// Publishes an empty retained message, which makes the server forget the one that it has.
    fn forget(&mut self, topic: &str) {
        let client = self.client.clone();
        let message = Message { qos: QoS::AtLeastOnce, retain: true, ..Message::new(topic, Vec::new()) };
        // A task of its own: to wait here would be to take no messages meanwhile.
        self.removals.spawn(async move { client.publish(message).await.map(drop) });
    }

    /// Waits until the server has forgotten all that it was to forget.
    async fn remove(&mut self, online: &mut Online) -> Result<(), Failure> {
        loop {
            tokio::select! {
                removed = self.removals.join_next() => match removed {
                    Some(removed) => report(removed),
                    None => return Ok(()),
                },
                // They may stand between us and the acknowledgements, and were not asked for any more.
                Some(_) = self.messages.next() => {}
                failure = online.over() => return Err(failure),
            }
        }
    }

    /// Writes what is printed, and acknowledges it.
    async fn flush(&mut self) -> Result<(), Failure> {
        self.printer.flush().await?;
        let printed = self.printed.drain(..);
        if !self.printer.is_closed() {
            printed.for_each(|token| self.client.acknowledge(token));
        }
        Ok(())
    }
}

/// Subscribes and unsubscribes. What the server refuses is told; it is a failure if it grants nothing at all.
async fn ask(client: &Client, wanted: Vec<Wanted>, unsubscribe: &[String]) -> Result<(), Failure> {
    let failure = |error: &SubscribeError| {
        let status = match error {
            SubscribeError::Refused(_) => Status::Denied,
            SubscribeError::Filter(_) => Status::Usage,
            SubscribeError::Ended => Status::Lost,
            _ => Status::Other,
        };
        Failure::new(status, error)
    };
    if !wanted.is_empty() {
        let codes = client.subscribe_only(wanted.clone()).await.map_err(|error| failure(&error))?;
        let refused = wanted.iter().zip(&codes).filter(|(_, code)| code.is_error());
        let refused: Vec<_> =
            refused.map(|(one, code)| format!("{:?}: {}", one.filter, code.name())).collect();
        let told = format!("the server refused the subscription to {}", refused.join(", "));
        match refused.len() {
            0 => {}
            all if all == wanted.len() => return Err(Failure::new(Status::Denied, told)),
            _ => log::warn!("{told}"),
        }
        log::debug!("subscribed");
    }
    for filter in unsubscribe {
        match client.unsubscribe(filter).await {
            Ok(()) => {}
            Err(error @ SubscribeError::Refused(_)) => log::warn!("{filter:?}: {error}"),
            Err(error) => return Err(failure(&error)),
        }
    }
    Ok(())
}

fn report(removed: Result<Result<(), PublishError>, JoinError>) {
    if let Ok(Err(error)) = removed {
        log::warn!("a retained message stays: {error}");
    }
}

fn matches(filter: &str, topic: &str) -> bool {
    match (TopicFilter::new(filter), TopicName::new(topic)) {
        (Ok(filter), Ok(topic)) => filter.matches(topic),
        _ => false,
    }
}

/// A number from 0 up to 1, each equally likely; good enough to choose messages by.
fn chance() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

fn percentage(text: &str) -> Result<f64, String> {
    let percentage = text.parse().ok().filter(|percentage| (0.1..=100.0).contains(percentage));
    percentage.ok_or_else(|| "write a percentage from 0.1 to 100".to_owned())
}
