use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mqway_codec::ReasonCode;
use mqway_hooks::{Authenticate, Client, Denial, Exchange, Later, Login, Method, Step, Verdict};

use super::{Grants, TokenGate};
use crate::identity::Identity;
use crate::jwt::{Refusal, Verifier};
use crate::token::{Carriers, Token, TokenSource, token_of};

/// Authenticates by JSON Web Tokens, wherever a client has put one.
///
/// A client without a token is none of its business. The connection ends when its token does; a client of 5.0 that
/// has authenticated by [`TokenMethod`] can send a new one before.
pub struct Tokens {
    verifier: Arc<Verifier>,
    sources: Vec<TokenSource>,
    /// What isn't a token by its form is left to the hooks behind.
    pass_others: bool,
    /// Whether a token's client identifier replaces another one.
    assign_client_id: bool,
}

impl Tokens {
    /// Looks for a token in `sources`, in their order, and has it judged by `verifier`.
    pub fn new(verifier: Arc<Verifier>, sources: Vec<TokenSource>) -> Tokens {
        Tokens { verifier, sources, pass_others: false, assign_client_id: false }
    }

    /// Leaves what isn't a token by its form to the hooks behind, so that passwords and tokens can be used side by side.
    #[must_use]
    pub fn pass_others(mut self) -> Tokens {
        self.pass_others = true;
        self
    }

    /// Gives the client the identifier of its token instead of refusing another one.
    #[must_use]
    pub fn assign_client_id(mut self) -> Tokens {
        self.assign_client_id = true;
        self
    }

    /// What looks at the upgrades of WebSockets by the same rules, before they are answered. `required`: nothing but a
    /// token lets a client in.
    pub fn gate(&self, required: bool) -> TokenGate {
        TokenGate::new(self.verifier.clone(), &self.sources, self.pass_others, required)
    }

    /// The token that counts, and where it stood.
    fn token(&self, client: &Client, login: &Login<'_>) -> Option<(&TokenSource, Token)> {
        let http = client.facts.http.as_ref();
        let carriers = Carriers {
            user_name: login.user_name.as_deref(),
            password: login.password.as_deref(),
            headers: http.map_or(&[], |http| &http.headers),
            query: http.and_then(|http| http.query.as_deref()),
        };
        first_token(&self.sources, &carriers, self.pass_others)
    }
}

/// The first token in these places. `pass_others`: that has the form of one.
pub(super) fn first_token<'s>(
    sources: &'s [TokenSource],
    carriers: &Carriers<'_>,
    pass_others: bool,
) -> Option<(&'s TokenSource, Token)> {
    let mut found =
        sources.iter().filter_map(|source| Some((source, token_of(std::slice::from_ref(source), carriers)?)));
    found.find(|(_, token)| !pass_others || token.reveal().matches('.').count() == 2)
}

impl Authenticate for Tokens {
    fn name(&self) -> &str {
        "jwt"
    }

    fn authenticate(&self, client: &mut Client, login: &mut Login<'_>, later: Later<'_>) -> Verdict {
        let Some((source, token)) = self.token(client, login) else { return Verdict::Pass };
        let as_user_name = *source == TokenSource::UserName;
        if as_user_name {
            client.user_name = None; // It is no name, and would stand in the log as one.
        }
        let own = Own { client_id: login.client_id.to_string(), assign: self.assign_client_id, as_user_name };
        let verdict = self.verifier.verify(&token, now());
        let missing = matches!(verdict, Err(Refusal::UnknownKey | Refusal::NoKeys));
        if !missing || self.verifier.jwks().is_none() {
            return own.settle(verdict, client, login);
        }
        let (ticket, waiting) = later.ticket();
        let asked = own.clone();
        let then = move |verdict| match own.judge(verdict) {
            Ok(identity) => {
                ticket.allow_with(move |client, login| admit(identity, as_user_name, client, login));
            }
            Err(denial) => ticket.deny(denial),
        };
        let Some(verdict) = self.verifier.decide(&token, now(), then) else { return Verdict::Later(waiting) };
        // With the closure its ticket is lost, whose turn nobody has begun to wait for.
        asked.settle(verdict, client, login)
    }
}

/// Authenticates by a token as an enhanced method of 5.0: the data of CONNECT are the token, and those of AUTH 0x19 the
/// next one, before the first ends.
pub struct TokenMethod {
    name: String,
    verifier: Arc<Verifier>,
}

impl TokenMethod {
    /// By the name that clients know the method by: the specifications have none for it.
    pub fn new(name: impl Into<String>, verifier: Arc<Verifier>) -> TokenMethod {
        TokenMethod { name: name.into(), verifier }
    }
}

impl Method for TokenMethod {
    fn name(&self) -> &str {
        &self.name
    }

    fn begin(&self, _client: &mut Client) -> Box<dyn Exchange> {
        Box::new(TokenExchange(self.verifier.clone()))
    }
}

struct TokenExchange(Arc<Verifier>);

impl Exchange for TokenExchange {
    fn take(&mut self, client: &mut Client, data: Option<&[u8]>) -> Step {
        let Some(token) = data.and_then(|data| str::from_utf8(data).ok()).map(Token::new) else {
            return Step::Deny(Denial::not_authorized("jwt: the data are no token"));
        };
        let verdict = self.0.verify(&token, now());
        if let (Err(Refusal::UnknownKey), Some(jwks)) = (&verdict, self.0.jwks()) {
            // An exchange cannot wait; the next one may find the key.
            let _ = jwks.refetch(Box::new(|| ()));
        }
        let own = Own { client_id: client.client_id.to_string(), assign: false, as_user_name: false };
        match own.judge(verdict) {
            Ok(identity) => match super::shown(client, "jwt", identity.user_name.as_deref()) {
                Ok(()) => {
                    take_over(identity, client);
                    Step::Done(None)
                }
                Err(denial) => Step::Deny(denial),
            },
            Err(denial) => Step::Deny(denial),
        }
    }
}

/// What the client says of itself, and what is to become of it.
#[derive(Clone)]
struct Own {
    client_id: String,
    assign: bool,
    /// Its token stands where its user name should.
    as_user_name: bool,
}

impl Own {
    fn settle(
        &self,
        verdict: Result<Identity, Refusal>,
        client: &mut Client,
        login: &mut Login<'_>,
    ) -> Verdict {
        match self.judge(verdict) {
            Ok(identity) => {
                admit(identity, self.as_user_name, client, login);
                Verdict::Allow
            }
            Err(denial) => Verdict::Deny(denial),
        }
    }

    fn judge(&self, verdict: Result<Identity, Refusal>) -> Result<Identity, Denial> {
        let identity = verdict.map_err(|refusal| refused(&refusal))?;
        if !self.assign && !self.client_id.is_empty() {
            identity.check_client_id(&self.client_id).map_err(|error| {
                Denial::new(ReasonCode::ClientIdentifierNotValid, format!("jwt: {error}"))
                    .say(error.to_string())
            })?;
        }
        Ok(identity)
    }
}

/// The client hears why, too: a refusal says nothing of the token that it doesn't know.
pub(super) fn refused(refusal: &Refusal) -> Denial {
    let reason = match refusal {
        Refusal::NoKeys => ReasonCode::ServerUnavailable,
        _ => ReasonCode::BadUserNameOrPassword,
    };
    Denial::new(reason, format!("jwt: {refusal}")).say(refusal.to_string())
}

fn admit(identity: Identity, as_user_name: bool, client: &mut Client, login: &mut Login<'_>) {
    if let Some(client_id) = &identity.client_id {
        login.client_id = client_id.clone().into();
    }
    if as_user_name {
        // An upstream would log it.
        login.user_name = identity.user_name.clone().map(Into::into);
        if login.user_name.is_none() {
            login.password = None; // Before 5.0 there is none without a user name. 3.1.1: [MQTT-3.1.2-22]
        }
    }
    take_over(identity, client);
}

/// Notes who a client has shown to be.
pub(super) fn take_over(identity: Identity, client: &mut Client) {
    if let Some(user_name) = identity.user_name {
        client.user_name = Some(user_name.into());
    }
    client.groups = identity.groups.into_iter().map(Arc::from).collect();
    client.claims = identity.claims.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    client.lifetime = identity.expires_at.map(|end| end.saturating_sub(now()));
    client.keep(Grants { publish: identity.publish, subscribe: identity.subscribe });
}

/// Since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use mqway_codec::{Connect, Version};
    use mqway_hooks::{Hooks, Rehearsal};
    use mqway_transport::facts::HttpFacts;
    use serde_json::Value;

    use super::*;
    use crate::fake_server::{FakeServer, Reply};
    use crate::jwks::{Jwks, JwksSource};
    use crate::jwt::{Algorithm, ClaimNames, Key, KeySet, Rules};

    fn made() -> (Vec<u8>, Value) {
        let all: Vec<Value> = serde_json::from_str(include_str!("../jwt/made/tokens.json")).unwrap();
        let made = all.into_iter().find(|entry| entry["alg"] == "ES256").unwrap();
        (made["token"].as_str().unwrap().as_bytes().to_vec(), made)
    }

    fn rules() -> Rules {
        let claims = ClaimNames { client_id: Some("sub".to_owned()), ..ClaimNames::default() };
        Rules { audiences: vec!["mqtt".to_owned()], claims, ..Rules::default() }
    }

    fn verifier() -> Arc<Verifier> {
        let key = Key::from_pem(made().1["key"].as_str().unwrap().as_bytes(), &[Algorithm::Es256]).unwrap();
        Arc::new(Verifier::new(rules(), KeySet::new([key]), None))
    }

    fn rehearsal(tokens: Tokens) -> Rehearsal {
        let mut hooks = Hooks::new();
        hooks.anonymous = false;
        hooks.add_authenticate(Arc::new(tokens));
        Rehearsal::new(hooks)
    }

    fn connect<'a>(client_id: &'a str, password: Option<&'a [u8]>) -> Connect<'a> {
        let mut connect = Connect::new(Version::V5, client_id);
        connect.user_name = Some("anybody");
        connect.password = password;
        connect
    }

    #[test]
    fn a_token_says_who_it_is_and_until_when() {
        let (token, _) = made();
        let mut rehearsal = rehearsal(Tokens::new(verifier(), vec![TokenSource::Password]));
        rehearsal.login(&connect("ann", Some(&token))).unwrap();
        assert_eq!(rehearsal.client.user_name.as_deref(), Some("ann"));
        assert!(rehearsal.client.lifetime.is_some_and(|left| left > Duration::from_secs(3_600)));
        assert_eq!(rehearsal.client.data::<Grants>(), Some(&mut Grants::default()));
        let denial = rehearsal.login(&connect("bob", Some(&token))).unwrap_err();
        assert_eq!(denial.reason, ReasonCode::ClientIdentifierNotValid);
        let unsigned = &token[..=token.iter().rposition(|&byte| byte == b'.').unwrap()];
        let denial = rehearsal.login(&connect("ann", Some(unsigned))).unwrap_err();
        assert_eq!(denial.say.as_deref(), Some("the token's signature is wrong"));
        rehearsal.login(&connect("", Some(&token))).unwrap();
        assert_eq!(&*rehearsal.client.client_id, "ann", "the token's identifier is assigned");
        let denial = rehearsal.login(&connect("ann", None)).unwrap_err();
        assert!(!denial.rule.starts_with("jwt"), "{denial}: no hook has an opinion");
    }

    #[test]
    fn a_browser_s_cookie_counts_and_passwords_are_left_to_others() {
        let (token, _) = made();
        let sources = vec![TokenSource::Password, TokenSource::Cookie("session".to_owned())];
        let mut rehearsal = rehearsal(Tokens::new(verifier(), sources).pass_others().assign_client_id());
        let cookie = [b"session=".as_slice(), &token].concat();
        let headers = vec![("cookie".to_owned(), cookie)];
        rehearsal.client.facts.http = Some(HttpFacts { headers, ..HttpFacts::default() });
        rehearsal.login(&connect("page", None)).unwrap();
        assert_eq!(&*rehearsal.client.client_id, "ann");
        rehearsal.login(&connect("page", Some(b"a password"))).unwrap();
        rehearsal.client.facts.http = None;
        let denial = rehearsal.login(&connect("page", Some(b"a password"))).unwrap_err();
        assert!(!denial.rule.starts_with("jwt"), "{denial}: no hook has an opinion");
    }

    #[test]
    fn a_token_in_the_place_of_the_user_name_is_nobody_s_name() {
        let (token, _) = made();
        let token = str::from_utf8(&token).unwrap();
        let mut rehearsal = rehearsal(Tokens::new(verifier(), vec![TokenSource::UserName]));
        let mut connect = connect("ann", Some(b"x"));
        connect.user_name = Some(token);
        rehearsal.login(&connect).unwrap();
        assert_eq!(rehearsal.client.user_name.as_deref(), Some("ann"));
        let forged = format!("{token}x");
        connect.user_name = Some(&forged);
        rehearsal.login(&connect).unwrap_err();
        assert_eq!(rehearsal.client.user_name, None, "the log shows it");
    }

    #[test]
    fn a_key_that_is_not_there_yet_is_waited_for() {
        let (token, made) = made();
        let jwks = serde_json::json!({ "keys": [made["jwk"]] }).to_string();
        let server = FakeServer::start(move |_| Reply::Json(200, jwks.clone()));
        let jwks = Jwks::start(JwksSource::new(server.url())).unwrap();
        let verifier = Arc::new(Verifier::new(rules(), KeySet::default(), Some(Arc::new(jwks))));
        let mut rehearsal = rehearsal(Tokens::new(verifier, vec![TokenSource::Password]));
        rehearsal.login(&connect("ann", Some(&token))).unwrap();
        assert_eq!(rehearsal.client.user_name.as_deref(), Some("ann"));
    }

    #[test]
    fn an_exchange_takes_a_token_and_later_another_of_the_same_user() {
        let (token, _) = made();
        let method = TokenMethod::new("JWT", verifier());
        let mut client = rehearsal(Tokens::new(verifier(), Vec::new())).client;
        client.client_id = "ann".into();
        for _ in 0..2 {
            let step = method.begin(&mut client).take(&mut client, Some(&token));
            assert!(matches!(step, Step::Done(None)), "{step:?}");
            assert_eq!(client.user_name.as_deref(), Some("ann"));
        }
        for bad in [None, Some(&b"\xFF"[..]), Some(b"x.y.z")] {
            assert!(matches!(method.begin(&mut client).take(&mut client, bad), Step::Deny(_)));
        }
    }
}
