//! `mqway bench`: a load generator that checks what it measures.

mod drive;
mod flags;
mod histogram;
mod load;
mod plan;
mod publisher;
mod report;
mod sequence;
mod stamp;
mod tally;

use std::hash::{BuildHasher, RandomState};

use clap::Subcommand;

use crate::failure::Failure;
use crate::{logging, reach};
use flags::{IdleFlags, ServerFlags, TrafficFlags};
use plan::Kind;
use report::Report;

/// Put load on a server: connections, publish, subscribe, pairs; every message is checked
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    load: Load,
}

/// Kinds of load.
#[derive(Debug, Subcommand)]
enum Load {
    /// Open many connections and hold them, or open and close them all the time
    #[command(disable_help_flag = true)]
    Connections {
        /// How many at a time
        #[arg(short = 'n', long, value_name = "N", env = "MQWAY_CLIENTS", default_value = "100")]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        clients: u32,
        #[command(flatten)]
        idle: IdleFlags,
        #[command(flatten)]
        server: Box<ServerFlags>,
    },
    /// Publish; with --subscribers, also receive (fan-in)
    #[command(disable_help_flag = true)]
    Publish {
        /// How many publishers
        #[arg(short = 'n', long, value_name = "N", env = "MQWAY_CLIENTS", default_value = "10")]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        clients: u32,
        /// How many subscribers, each of which gets every message (with a $share filter, all together)
        #[arg(long, value_name = "N", env = "MQWAY_SUBSCRIBERS", default_value = "0")]
        #[arg(value_parser = clap::value_parser!(u32).range(..=1_000_000))]
        subscribers: u32,
        #[command(flatten)]
        traffic: TrafficFlags,
        #[command(flatten)]
        server: Box<ServerFlags>,
    },
    /// Receive what others publish, another `mqway bench` say; with --publishers, publish too (fan-out)
    #[command(disable_help_flag = true)]
    Subscribe {
        /// How many subscribers
        #[arg(short = 'n', long, value_name = "N", env = "MQWAY_CLIENTS", default_value = "10")]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        clients: u32,
        /// How many publishers, whose messages each subscriber gets
        #[arg(long, value_name = "N", env = "MQWAY_PUBLISHERS", default_value = "0")]
        #[arg(value_parser = clap::value_parser!(u32).range(..=1_000_000))]
        publishers: u32,
        #[command(flatten)]
        traffic: TrafficFlags,
        #[command(flatten)]
        server: Box<ServerFlags>,
    },
    /// Publish and receive in pairs, each with a topic of its own
    #[command(disable_help_flag = true)]
    Pairs {
        /// How many pairs
        #[arg(short = 'n', long, value_name = "N", env = "MQWAY_CLIENTS", default_value = "10")]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        clients: u32,
        #[command(flatten)]
        traffic: TrafficFlags,
        #[command(flatten)]
        server: Box<ServerFlags>,
    },
}

/// Does it, and prints the result.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (name, server) = match &args.load {
        Load::Connections { server, .. } => ("connections", server),
        Load::Publish { server, .. } => ("publish", server),
        Load::Subscribe { server, .. } => ("subscribe", server),
        Load::Pairs { server, .. } => ("pairs", server),
    };
    logging::start(Some(&server.log))?;
    let (url, dial) = reach::dial(&server.dial.upstream(), server.timeout())?;
    let reached = reach::name(&url, &dial);
    // Tells runs apart; no secret.
    let run = RandomState::new().hash_one(std::process::id()) as u32;
    let mut plan = server.plan(&url, dial, run)?;
    match &args.load {
        Load::Connections { clients, idle, .. } => {
            plan.publishers = *clients;
            idle.apply(&mut plan);
        }
        Load::Publish { clients, subscribers, traffic, .. } => {
            (plan.kind, plan.publishers, plan.subscribers) = (Kind::Group, *clients, *subscribers);
            traffic.apply(&mut plan);
        }
        Load::Subscribe { clients, publishers, traffic, .. } => {
            (plan.kind, plan.publishers, plan.subscribers) = (Kind::Group, *publishers, *clients);
            traffic.apply(&mut plan);
        }
        Load::Pairs { clients, traffic, .. } => {
            (plan.kind, plan.publishers, plan.subscribers) = (Kind::Pairs, *clients, *clients);
            traffic.apply(&mut plan);
        }
    }
    plan.check()?;
    let report = Report::new(name, &reached, server.json, server.quiet);
    drive::run(plan, &report)
}
