//! `mqway tap`: a proxy that prints every packet of both directions.

pub mod fields;
mod printer;
pub mod shown;

use std::net::SocketAddr;
use std::time::Duration;

use clap::ArgAction::SetTrue;
use clap::builder::FalseyValueParser;
use jiff::Timestamp;
use mqway_proxy::{Direction, LinkId, Observer, Proxy, Seen};

use crate::failure::Failure;
use crate::proxy::{self, flags::Flags};
use crate::quantity::Bytes;
use printer::Printer;
use shown::{Fields, Shown};

/// Run a proxy that prints every packet of both directions
///
/// A line a packet, on stdout: time (UTC), connection, > to the server or < to the client, the packet and all that is
/// in it, as far as it says something. Passwords are hidden.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON, one object a line, with whole payloads; of packets over 64 KiB only the beginning
    #[arg(long, env = "MQWAY_JSON", action = SetTrue, value_parser = FalseyValueParser::new())]
    json: bool,
    /// Print no more than this of a payload [default: 100; with --json all]
    #[arg(long, value_name = "BYTES", env = "MQWAY_PAYLOAD")]
    payload: Option<Bytes>,
    /// Print passwords and authentication data too
    #[arg(long, env = "MQWAY_SECRETS", action = SetTrue, value_parser = FalseyValueParser::new())]
    secrets: bool,
    #[command(flatten)]
    flags: Flags,
}

/// How much of a payload people want to read.
const PREVIEW: usize = 100;

/// Runs until a signal ends it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let printer = Printer::start()?;
    let started = Timestamp::now();
    let style = Style {
        json: args.json,
        payload: args.payload.map_or(if args.json { usize::MAX } else { PREVIEW }, Bytes::to_usize),
        secrets: args.secrets,
    };
    let done = proxy::serve(&args.flags, &[], |config| {
        Proxy::start_observed(config, |_| Tap { started, style, printer: printer.clone() })
    });
    done.and(printer.finish())
}

/// What the output looks like.
#[derive(Clone, Copy, Debug)]
struct Style {
    json: bool,
    /// Most bytes of a payload that are shown.
    payload: usize,
    secrets: bool,
}

/// Sees the packets of one worker.
struct Tap {
    started: Timestamp,
    style: Style,
    printer: Printer,
}

impl Observer for Tap {
    fn opened(&mut self, link: LinkId, at: Duration, peer: Option<SocketAddr>) {
        let peer = peer.map_or_else(|| "a Unix socket".to_owned(), |peer| peer.to_string());
        self.event(link, at, '+', "opened", "from", peer);
    }

    fn packet(&mut self, seen: &Seen<'_>) {
        let (sign, direction) = match seen.direction {
            Direction::ToUpstream => ('>', "to_upstream"),
            Direction::ToClient => ('<', "to_client"),
        };
        let name = seen.packet.packet_type().to_string();
        let mut fields = fields::of(seen, self.style.secrets);
        let line = if self.style.json {
            let mut all: Fields<'_> = self.head(seen.link, seen.at);
            all.push(("direction", Shown::Word(direction.to_owned())));
            all.push(("packet", Shown::Word(name)));
            all.push(("length", Shown::Number(seen.len as u64)));
            all.append(&mut fields);
            shown::json(&all, self.style.payload)
        } else {
            let text = shown::text(&fields, self.style.payload);
            let line = format!("{} {sign} {name:<11} {text}", self.place(seen.link, seen.at));
            line.trim_end().to_owned()
        };
        self.printer.print(line);
    }

    fn closed(&mut self, link: LinkId, at: Duration, why: &str) {
        self.event(link, at, '-', "closed", "why", why.to_owned());
    }
}

impl Tap {
    fn event(&self, link: LinkId, at: Duration, sign: char, event: &str, key: &'static str, value: String) {
        let line = if self.style.json {
            let mut all = self.head(link, at);
            all.extend([("event", Shown::Word(event.to_owned())), (key, Shown::Word(value))]);
            shown::json(&all, 0)
        } else {
            format!("{} {sign} {event:<11} {value}", self.place(link, at))
        };
        self.printer.print(line);
    }

    /// When and where, for JSON.
    fn head(&self, link: LinkId, at: Duration) -> Fields<'static> {
        let time = self.time(at);
        vec![("time", Shown::Word(format!("{time:.6}"))), ("connection", Shown::Word(connection(link)))]
    }

    /// When and where, for people: the day does not matter to them.
    fn place(&self, link: LinkId, at: Duration) -> String {
        let time = format!("{:.6}", self.time(at));
        let time = time.split_once('T').map_or(&*time, |(_, time)| time).trim_end_matches('Z');
        format!("{time} {:<5}", connection(link))
    }

    fn time(&self, at: Duration) -> Timestamp {
        self.started.checked_add(at).unwrap_or(self.started)
    }
}

fn connection(link: LinkId) -> String {
    format!("{}.{}", link.worker, link.number)
}
