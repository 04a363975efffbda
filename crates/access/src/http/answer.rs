//! What a web service answers, and what stands in for an answer.

use std::time::Duration;

use mqway_codec::TopicFilter;
use serde::Deserialize;

use crate::identity::Identity;

/// Characters of a reason: what fits into a line of a log and a v5 reason string.
const MAX_REASON: usize = 256;

/// Bytes of a name.
const MAX_NAME: usize = 65_535;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allow(Box<Allowed>),
    /// It may not.
    Deny(Refusal),
    /// The service doesn't know; somebody else decides.
    Ignore,
}

/// Why not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// What the service says about it, shortened and without control characters.
    pub reason: Option<String>,
    /// It is because of the credentials: another password or token might do.
    pub credentials: bool,
}

/// What comes with leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// For a connection: who it is, as far as the service says so.
    pub identity: Identity,
    /// For a subscription: the highest quality of service that is granted.
    pub qos: Option<u8>,
}

/// A verdict, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is to be done.
    pub verdict: Verdict,
    /// Who says so.
    pub by: By,
}

/// Whose verdict it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The service's.
    Service,
    /// The service's, given before.
    Cache,
    /// The configuration's, because there is no answer.
    Fallback(Trouble),
}

/// Why there is no answer of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It cannot be reached, takes too long, or answers nonsense.
    #[error("the web service does not answer as it should")]
    Failed,
    /// It has failed so often of late that it is left alone for a while.
    #[error("the web service is left alone after failures")]
    Resting,
    /// Too many questions are waiting.
    #[error("too many questions for the web service are waiting")]
    Full,
    /// The question has waited for too long.
    #[error("the question waited too long for the web service")]
    Late,
    /// All is coming to an end.
    #[error("the server is stopping")]
    Stopped,
}

/// What is done without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenDown {
    /// It may not.
    #[default]
    Deny,
    /// It may.
    Allow,
    /// Somebody else decides.
    Pass,
}

impl WhenDown {
    pub(super) fn answer(self, trouble: Trouble) -> Answer {
        let verdict = match self {
            WhenDown::Deny => Verdict::Deny(Refusal::default()),
            WhenDown::Allow => Verdict::Allow(Box::default()),
            WhenDown::Pass => Verdict::Ignore,
        };
        Answer { verdict, by: By::Fallback(trouble) }
    }
}

/// The JSON of an answer.
#[derive(Deserialize)]
struct Reply {
    result: Word,
    reason: Option<String>,
    user_name: Option<String>,
    client_id: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    publish: Option<Vec<String>>,
    subscribe: Option<Vec<String>>,
    expires_at: Option<u64>,
    qos: Option<u8>,
    cache: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Allow,
    Deny,
    Ignore,
}

/// The verdict in a body, and for how long it may be kept if that is said; `None` for nonsense.
pub(super) fn parse(body: &[u8]) -> Option<(Verdict, Option<Duration>)> {
    let reply: Reply = serde_json::from_slice(body).ok()?;
    let cache = reply.cache.map(Duration::from_secs);
    let verdict = match reply.result {
        Word::Ignore => Verdict::Ignore,
        Word::Deny => Verdict::Deny(refusal(reply, false)),
        Word::Allow => Verdict::Allow(Box::new(allowed(reply)?)),
    };
    Some((verdict, cache))
}

/// The verdict of an answer with status 401 or 403: a no, whatever stands in its body. Reason and lifetime count if
/// they are there.
pub(super) fn parse_refusal(status: u16, body: &[u8]) -> (Verdict, Option<Duration>) {
    let reply: Option<Reply> = serde_json::from_slice(body).ok();
    let reply = reply.filter(|reply| matches!(reply.result, Word::Deny));
    let cache = reply.as_ref().and_then(|reply| reply.cache).map(Duration::from_secs);
    let credentials = status == 401;
    let refusal = reply.map_or(Refusal { reason: None, credentials }, |reply| refusal(reply, credentials));
    (Verdict::Deny(refusal), cache)
}

fn refusal(reply: Reply, credentials: bool) -> Refusal {
    let reason = reply.reason.map(|reason| shown(&reason)).filter(|reason| !reason.is_empty());
    Refusal { reason, credentials }
}

/// Leave is not given by halves: what cannot be meant makes all of it nonsense.
fn allowed(reply: Reply) -> Option<Allowed> {
    let names = reply.user_name.iter().chain(&reply.client_id).chain(&reply.groups);
    let mut filters = reply.publish.iter().chain(&reply.subscribe).flatten();
    let good =
        |name: &String| !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
    if !names.into_iter().all(good)
        || !filters.all(|filter| TopicFilter::new(filter).is_ok())
        || reply.qos.is_some_and(|qos| qos > 2)
    {
        return None;
    }
    let identity = Identity {
        user_name: reply.user_name,
        client_id: reply.client_id,
        groups: reply.groups,
        publish: reply.publish,
        subscribe: reply.subscribe,
        claims: Vec::new(),
        expires_at: reply.expires_at.map(Duration::from_secs),
    };
    Some(Allowed { identity, qos: reply.qos })
}

/// A reason as it may stand in a log and in a packet, which has no place for some characters. [MQTT-1.5.4-2]
fn shown(reason: &str) -> String {
    reason.chars().filter(|char| !char.is_control()).take(MAX_REASON).collect()
}
