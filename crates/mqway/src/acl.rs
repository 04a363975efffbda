//! `mqway acl`: asks permissions without a broker.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use mqway_access::acl::{Acl, Grant, Request, Subject};
use mqway_codec::{TopicFilter, TopicName};

use crate::access;
use crate::failure::{Failure, Status};
use crate::settings::Settings;

/// Ask what a client may do, and by which line of which file
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say whether a client may publish to a topic, receive from it, or subscribe to a filter; exit status 7 if not
    ///
    ///   mqway acl check --acl acl.toml -u alice -i phone publish home/alice/light
    #[command(verbatim_doc_comment)]
    Check(Box<Check>),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// The rules: ours if the name ends in .toml, else mosquitto's
    #[arg(long, value_name = "FILE", env = "MQWAY_ACL", required_unless_present = "config")]
    acl: Option<PathBuf>,
    /// The configuration of a server, whose acl_file under [access] has the rules
    #[arg(short, long, value_name = "FILE", env = "MQWAY_CONFIG", conflicts_with = "acl")]
    config: Option<PathBuf>,
    /// User name [default: an anonymous client]
    #[arg(short, long, alias = "user", value_name = "NAME", env = "MQWAY_USERNAME")]
    username: Option<String>,
    /// Client identifier
    #[arg(short, long, alias = "client-id", value_name = "ID", env = "MQWAY_ID", default_value = "")]
    id: String,
    /// Group that the user is in; may be repeated
    #[arg(long, value_name = "NAME", env = "MQWAY_GROUP", value_delimiter = ' ')]
    group: Vec<String>,
    /// Claim of the client's token; may be repeated
    #[arg(long, value_name = "NAME=VALUE", env = "MQWAY_CLAIM", value_delimiter = ' ', value_parser = claim)]
    claim: Vec<(String, String)>,
    /// Address that the client comes from
    #[arg(long, value_name = "IP", env = "MQWAY_ADDRESS")]
    address: Option<IpAddr>,
    /// Name of the listener
    #[arg(long, value_name = "NAME", env = "MQWAY_LISTENER", default_value = "")]
    listener: String,
    /// Transport: tcp, tls, ws, wss or unix
    #[arg(long, value_name = "NAME", env = "MQWAY_TRANSPORT", default_value = "tcp")]
    transport: String,
    /// What the client wants
    #[arg(value_enum)]
    wanted: Wanted,
    /// The topic; to subscribe, the filter
    topic: String,
}

/// What a client may want.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Wanted {
    /// Send a message, or have it as its will
    Publish,
    /// Subscribe to a filter
    Subscribe,
    /// Be sent a message
    Receive,
}

/// Does it.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.action {
        Action::Check(check) => check.run(),
    }
}

impl Check {
    fn run(&self) -> Result<(), Failure> {
        let wrong = |why| Failure::usage(format_args!("the topic {:?} {why}", self.topic));
        let request = match self.wanted {
            Wanted::Publish => Request::Publish(TopicName::new(&self.topic).map_err(wrong)?),
            Wanted::Receive => Request::Receive(TopicName::new(&self.topic).map_err(wrong)?),
            Wanted::Subscribe => Request::Subscribe(TopicFilter::new(&self.topic).map_err(wrong)?),
        };
        let subject = Subject {
            user: self.username.as_deref(),
            client_id: &self.id,
            groups: &self.group,
            listener: &self.listener,
            transport: &self.transport,
            address: self.address,
            claims: &self.claim,
        };
        let explanation = self.rules()?.rights(&subject).explain(request);
        writeln!(io::stdout(), "{explanation}").map_err(|error| Failure::stdout(&error))?;
        match explanation.grant {
            Grant::Refused => Err(Failure::told(Status::Denied)),
            Grant::Partly | Grant::Wholly => Ok(()),
        }
    }

    fn rules(&self) -> Result<Acl, Failure> {
        match (&self.acl, &self.config) {
            (Some(file), _) => access::rules(file),
            (None, Some(configuration)) => rules_named_in(configuration),
            (None, None) => Err(Failure::usage("either --acl or --config says where the rules are")),
        }
    }
}

/// The rules that a server with this configuration goes by.
fn rules_named_in(configuration: &Path) -> Result<Acl, Failure> {
    let settings = Settings::load(Some(configuration))?;
    let file = settings.access.acl_file.ok_or_else(|| {
        Failure::usage(format_args!("{} names no acl_file under [access]", configuration.display()))
    })?;
    access::rules(&file)
}

fn claim(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
