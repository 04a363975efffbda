use std::str::FromStr;
use std::sync::Arc;

use mqway_codec::{QoS, ReasonCode, Version};
use mqway_hooks::{
    Authenticate, Authorize, Client, Denial, Later, Login, Message, Phase, Phases, Subscription, Ticket,
    Verdict, Waiting,
};

use super::passwords::basic;
use super::tokens::take_over;
use crate::certificate::fingerprint;
use crate::http::{self, Answer, By, Question, Refusal, Service, Trouble, Who};
use crate::identity::Identity;
use crate::token::{Carriers, Token, TokenSource, token_of};

/// What clients are told where there is no answer: nothing about the service.
const NO_ANSWER: &str = "who decides this gives no answer";

/// Authenticates and authorises by a web service: see [`Service`].
///
/// Register it only for what the service is to be asked: as [`Authenticate`], as [`Authorize`] with these
/// [questions](WebService::asks), or as both. What it allows to be published or subscribed to is left to the hooks behind,
/// which may still deny it. Deliveries cannot wait for a web service, so that it isn't asked about them; the `subscribe`
/// filters of its answer to a CONNECT count there, by [`Granted`](super::Granted).
pub struct WebService {
    service: Arc<Service>,
    /// What stands in front of the reasons of denials.
    name: Arc<str>,
    sources: Vec<TokenSource>,
    phases: Phases,
}

/// A kind of question that a service may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `connect`: who a client is.
    Connect,
    /// `publish`: whether it may publish a message, or have a will.
    Publish,
    /// `subscribe`: whether it may have a subscription.
    Subscribe,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Connect, Kind::Publish, Kind::Subscribe];

    fn phase(self) -> Phase {
        match self {
            Kind::Connect => Phase::Authenticate,
            Kind::Publish => Phase::Publish,
            Kind::Subscribe => Phase::Subscribe,
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        match text {
            "connect" => Ok(Kind::Connect),
            "publish" => Ok(Kind::Publish),
            "subscribe" => Ok(Kind::Subscribe),
            _ => Err(format!("{text:?} is no question; they are connect, publish and subscribe")),
        }
    }
}

impl WebService {
    /// Asks this service, about subscriptions and what is published.
    pub fn new(service: Arc<Service>) -> WebService {
        let name = format!("web service {service}").into();
        let hook = WebService { service, name, sources: vec![TokenSource::Bearer], phases: Phases::NONE };
        hook.asks(&Kind::ALL)
    }

    /// Asks it only these.
    #[must_use]
    pub fn asks(mut self, kinds: &[Kind]) -> WebService {
        let phases: Vec<_> = kinds.iter().map(|kind| kind.phase()).collect();
        self.phases = Phases::of(&phases);
        self
    }

    /// Looks for a token there in the upgrade of a WebSocket, in this order, to send it along; else in its
    /// `Authorization: Bearer`.
    #[must_use]
    pub fn tokens_from(mut self, sources: Vec<TokenSource>) -> WebService {
        self.sources = sources;
        self
    }

    fn token(&self, client: &Client) -> Option<Token> {
        let http = client.facts.http.as_ref()?;
        let carriers =
            Carriers { headers: &http.headers, query: http.query.as_deref(), ..Carriers::default() };
        token_of(&self.sources, &carriers)
    }

    /// Asks; `then` is done with an answer that comes later, on another thread.
    fn ask(
        &self,
        question: Question<'_>,
        later: Later<'_>,
        then: impl FnOnce(Answer, Ticket) + Send + 'static,
    ) -> Result<Answer, Waiting> {
        self.service.ask(question, || {
            let (ticket, waiting) = later.ticket();
            let passed_on: http::Ticket = Box::new(move |answer| then(answer, ticket));
            (passed_on, waiting)
        })
    }
}

impl Authenticate for WebService {
    fn name(&self) -> &str {
        "web service"
    }

    fn authenticate(&self, client: &mut Client, login: &mut Login<'_>, later: Later<'_>) -> Verdict {
        let basic = match (&login.user_name, &login.password) {
            (None, None) => basic(client),
            _ => None,
        };
        let (user_name, password) = match &basic {
            Some((user, password)) => (Some(&**user), Some(&**password)),
            None => (login.user_name.as_deref(), login.password.as_deref()),
        };
        let token = self.token(client);
        let certificates = client.facts.tls.as_ref().map(|tls| &tls.peer_certificates);
        let certificate = certificates.and_then(|chain| chain.first()).map(|der| fingerprint(der));
        let question = Question::Connect {
            who: Who { client_id: &login.client_id, user_name, ..who(client) },
            password,
            token: token.as_ref().map(Token::reveal),
            version: version(client.version),
            certificate: certificate.as_deref(),
        };
        let (name, user) = (self.name.clone(), basic.as_ref().map(|(user, _)| user.clone()));
        let asked = self.ask(question, later, move |answer, ticket| match admitted(answer, user, &name) {
            Ok(Some(identity)) => ticket.allow_with(move |client, login| admit(identity, client, login)),
            Ok(None) => ticket.pass(),
            Err(denial) => ticket.deny(denial),
        });
        let answer = match asked {
            Ok(answer) => answer,
            Err(waiting) => return Verdict::Later(waiting),
        };
        match admitted(answer, basic.map(|(user, _)| user), &self.name) {
            Ok(Some(identity)) => {
                admit(identity, client, login);
                Verdict::Allow
            }
            Ok(None) => Verdict::Pass,
            Err(denial) => Verdict::Deny(denial),
        }
    }
}

impl Authorize for WebService {
    fn name(&self) -> &str {
        "web service"
    }

    fn phases(&self) -> Phases {
        self.phases
    }

    fn publish(&self, client: &mut Client, message: &Message<'_>, later: Later<'_>) -> Verdict {
        let question = Question::Publish {
            who: who(client),
            topic: message.topic(),
            qos: message.qos() as u8,
            retain: message.retain(),
            will: message.is_will(),
        };
        let name = self.name.clone();
        let asked = self.ask(question, later, move |answer, ticket| match granted(answer, &name) {
            Ok(_) => ticket.pass(),
            Err(denial) => ticket.deny(denial),
        });
        match asked.map(|answer| granted(answer, &self.name)) {
            Ok(Ok(_)) => Verdict::Pass,
            Ok(Err(denial)) => Verdict::Deny(denial),
            Err(waiting) => Verdict::Later(waiting),
        }
    }

    fn subscribe(&self, client: &mut Client, wanted: &mut Subscription<'_>, later: Later<'_>) -> Verdict {
        let qos = wanted.options().qos as u8;
        let question = Question::Subscribe { who: who(client), filter: wanted.filter.as_str(), qos };
        let name = self.name.clone();
        let asked = self.ask(question, later, move |answer, ticket| match granted(answer, &name) {
            Ok(most) => ticket.pass_within(most),
            Err(denial) => ticket.deny(denial),
        });
        match asked.map(|answer| granted(answer, &self.name)) {
            Ok(Ok(most)) => {
                wanted.lower_qos(most);
                Verdict::Pass
            }
            Ok(Err(denial)) => Verdict::Deny(denial),
            Err(waiting) => Verdict::Later(waiting),
        }
    }
}

/// Who a client is, as far as is known now.
fn who(client: &Client) -> Who<'_> {
    Who {
        client_id: &client.client_id,
        user_name: client.user_name.as_deref(),
        address: client.facts.peer.map(|peer| peer.ip()),
        transport: client.transport(),
        listener: &client.listener,
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::V3_1 => "3.1",
        Version::V3_1_1 => "3.1.1",
        Version::V5 => "5.0",
    }
}

/// Who the service says that it is; `None` if it doesn't know. `user`: what the upgrade request says, if CONNECT doesn't.
fn admitted(answer: Answer, user: Option<String>, name: &str) -> Result<Option<Identity>, Denial> {
    match answer.verdict {
        http::Verdict::Allow(allowed) => {
            let user_name = allowed.identity.user_name.or(user);
            Ok(Some(Identity { user_name, ..allowed.identity }))
        }
        http::Verdict::Ignore => Ok(None),
        http::Verdict::Deny(refusal) => Err(denial(name, refusal, answer.by, ReasonCode::ServerBusy)),
    }
}

fn admit(identity: Identity, client: &mut Client, login: &mut Login<'_>) {
    if let Some(client_id) = &identity.client_id {
        login.client_id = client_id.clone().into();
    }
    take_over(identity, client);
}

/// The most that is granted.
fn granted(answer: Answer, name: &str) -> Result<QoS, Denial> {
    match answer.verdict {
        http::Verdict::Allow(allowed) => Ok(allowed.qos.and_then(QoS::from_u8).unwrap_or(QoS::ExactlyOnce)),
        http::Verdict::Ignore => Ok(QoS::ExactlyOnce),
        http::Verdict::Deny(refusal) => Err(denial(name, refusal, answer.by, ReasonCode::QuotaExceeded)),
    }
}

/// A no of this service, or in its place; `busy` where it has too much to do.
fn denial(name: &str, Refusal { reason, credentials }: Refusal, by: By, busy: ReasonCode) -> Denial {
    if let By::Fallback(trouble) = by {
        let too_much = matches!(trouble, Trouble::Full | Trouble::Late);
        let code = if too_much { busy } else { ReasonCode::ServerUnavailable };
        return Denial::new(code, format!("{name}: {trouble}")).say(NO_ANSWER);
    }
    let code = if credentials { ReasonCode::BadUserNameOrPassword } else { ReasonCode::NotAuthorized };
    match reason {
        Some(reason) => Denial::new(code, format!("{name}: {reason}")).say(reason),
        None => Denial::new(code, format!("{name}: it says no")),
    }
}

#[cfg(test)]
mod tests;
