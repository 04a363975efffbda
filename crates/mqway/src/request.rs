//! `mqway rr`: publishes a request and prints the response, as `mosquitto_rr` does.

use std::hash::{BuildHasher, RandomState};
use std::pin::pin;

use clap::ArgAction::SetTrue;
use clap::builder::FalseyValueParser;
use mqway_client::{
    Client, Incoming, Message, PropertiesBuf, Property, QoS, ReasonCode, SubscribeError, SubscribeOptions,
    Version, Wanted,
};
use tokio::time::Instant;

use crate::client_flags::{ClientFlags, Place, qos, topic_name};
use crate::failure::{Failure, Status};
use crate::logging;
use crate::online::{self, Interrupt, Online, Policy};
use crate::publish::{Source, SourceFlags, refusal};
use crate::quantity::Seconds;
use crate::subscribe::print::{self, PrintFlags, Printer};

/// Publish a request, wait for the response and print it
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[command(flatten)]
    flags: ClientFlags,
    /// The topic of the request
    #[arg(short, long, value_name = "TOPIC", env = "MQWAY_TOPIC")]
    topic: Option<String>,
    /// The topic for the response [default: one that nobody else has; needed before 5.0]
    #[arg(short = 'e', long, value_name = "TOPIC", env = "MQWAY_RESPONSE_TOPIC")]
    response_topic: Option<String>,
    #[command(flatten)]
    source: SourceFlags,
    /// Quality of service of request and response
    #[arg(short, long, value_name = "0|1|2", env = "MQWAY_QOS", default_value = "0", value_parser = qos)]
    qos: QoS,
    /// Take no retained message for the response
    #[arg(short = 'R', long, env = "MQWAY_NO_RETAINED", action = SetTrue, value_parser = FalseyValueParser::new())]
    no_retained: bool,
    /// Give up after this time, with status 8
    #[arg(short = 'W', long, value_name = "SECS", env = "MQWAY_WAIT")]
    wait: Option<Seconds>,
    #[command(flatten, next_help_heading = "Output")]
    print: PrintFlags,
}

/// Asks, and prints the answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    let flags = &args.flags;
    logging::start(Some(flags.log_level()))?;
    let server = flags.server()?;
    let version = flags.version(Version::V5);
    let properties = flags.properties()?;
    let topic = args.topic.as_ref().or(server.topic.as_ref());
    let topic = topic.ok_or_else(|| Failure::usage("no topic; say which with --topic"))?;
    let Source::Payload(payload) = args.source.source(false)? else {
        return Err(Failure::usage("a request is one message"));
    };
    let mut message = Message { qos: args.qos, payload, ..Message::new(topic, "") };
    let expected = args.expected(version, properties.of(Place::Publish), &mut message)?;
    topic_name(&message.topic)?;
    let mut printer = Printer::new(&args.print, flags.json)?;
    let endpoint = flags.endpoint(&server, version)?;
    let options = flags.options(version, &properties)?;
    online::run(async {
        let mut interrupt = Interrupt::catch()?;
        let limit = [args.wait, flags.timeout].into_iter().flatten().map(|limit| limit.0).min();
        let ends = limit.map(|limit| Instant::now() + limit);
        let mut online = Online::start(server.url, endpoint, options, Policy::new(flags.retry, false));
        let result = tokio::select! {
            result = exchange(&mut online, message, &expected, args) => result,
            name = interrupt.caught() => Err(Failure::other(format_args!("stopped by {name} before the response came"))),
            () = print::closed() => return Ok(()),
            () = online::passed(ends) => Err(Failure::new(Status::TimedOut, "timed out before the response came")),
        };
        let printed = match result {
            Ok(response) => {
                printer.print(&response);
                printer.flush().await
            }
            Err(failure) => Err(failure),
        };
        online.leave().await;
        printed
    })
}

/// What the response is known by.
struct Expected {
    topic: String,
    /// Empty before 5.0.
    correlation: Vec<u8>,
}

impl Args {
    /// Says in the request (5.0) where the response shall go and what shall be in it.
    fn expected(
        &self,
        version: Version,
        given: &PropertiesBuf,
        message: &mut Message,
    ) -> Result<Expected, Failure> {
        if version != Version::V5 {
            let topic = self.response_topic.clone().ok_or_else(|| {
                Failure::usage(
                    "before MQTT 5.0 a request cannot say where its response shall go; add --response-topic",
                )
            })?;
            topic_name(&topic)?;
            return Ok(Expected { topic, correlation: Vec::new() });
        }
        message.properties = given.clone();
        let given = given.as_properties();
        let random = || format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let topic = self.response_topic.as_deref().or(given.response_topic());
        let topic = topic.map_or_else(|| format!("mqway/rr/{}", random()), str::to_owned);
        topic_name(&topic)?;
        let correlation = given.correlation_data().map_or_else(|| random().into_bytes(), <[u8]>::to_vec);
        let twice = |error| Failure::usage(format_args!("the request's properties: {error}"));
        if given.response_topic().is_none() {
            message.properties.push(Property::ResponseTopic(&topic)).map_err(twice)?;
        }
        if given.correlation_data().is_none() {
            message.properties.push(Property::CorrelationData(&correlation)).map_err(twice)?;
        }
        Ok(Expected { topic, correlation })
    }
}

impl Expected {
    /// Whether this is the response. One without correlation data is taken for it: not every responder sends it back.
    fn is(&self, message: &Incoming) -> bool {
        let correlation = message.properties.as_properties().correlation_data();
        *message.topic == *self.topic && correlation.is_none_or(|correlation| correlation == self.correlation)
    }
}

async fn exchange(
    online: &mut Online,
    message: Message,
    expected: &Expected,
    args: &Args,
) -> Result<Incoming, Failure> {
    let client = online.client.clone();
    let mut messages = client.messages();
    let mut asking = pin!(ask(&client, message, &expected.topic));
    let mut asked = false;
    loop {
        tokio::select! {
            biased;
            result = &mut asking, if !asked => {
                asked = true;
                match result {
                    // Its last event says why it has ended.
                    Err(failure) if failure.status == Status::Lost => return Err(online.over().await),
                    result => result?,
                }
            }
            response = messages.next() => {
                let Some(response) = response else { return Err(online.over().await) };
                if expected.is(&response) && !(args.no_retained && response.retain) {
                    return Ok(response);
                }
            }
            failure = online.over() => return Err(failure),
        }
    }
}

/// Subscribes to the responses, then publishes the request.
async fn ask(client: &Client, message: Message, topic: &str) -> Result<(), Failure> {
    let options = SubscribeOptions::new(message.qos);
    let wanted = vec![Wanted { filter: topic.into(), options, identifier: None }];
    let codes = client.subscribe_only(wanted).await.map_err(|error| match error {
        SubscribeError::Ended => Failure::new(Status::Lost, error),
        error => Failure::other(error),
    })?;
    if let Some(code) = codes.iter().find(|code| code.is_error()) {
        let told = format_args!("the server refused the subscription to {topic:?}: {}", code.name());
        return Err(Failure::new(Status::Denied, told));
    }
    let receipt = client.publish(message).await.map_err(|error| refusal(&error))?;
    if receipt.reason == ReasonCode::NoMatchingSubscribers {
        log::warn!("nobody is there to answer: no subscription matches the topic of the request");
    }
    Ok(())
}
