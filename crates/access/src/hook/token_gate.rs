use std::sync::Arc;

use mqway_codec::ReasonCode;
use mqway_hooks::{Accept, Denial};
use mqway_transport::facts::Facts;

use super::tokens::{first_token, now, refused};
use crate::jwt::{Refusal, Verifier};
use crate::token::{Carriers, TokenSource};

/// Judges the token that a WebSocket's upgrade brings before the upgrade is answered, so that a bad one is refused in HTTP.
///
/// It refuses only what CONNECT could not mend: where the user name or the password is looked at first, nothing is
/// decided before they have come. What passes is judged again with CONNECT, when more is known of the client.
pub struct TokenGate {
    verifier: Arc<Verifier>,
    /// Those of the upgrade that are looked at before any of CONNECT.
    sources: Vec<TokenSource>,
    pass_others: bool,
    /// A client without a token is refused, too.
    required: bool,
}

impl TokenGate {
    pub(super) fn new(
        verifier: Arc<Verifier>,
        sources: &[TokenSource],
        pass_others: bool,
        required: bool,
    ) -> TokenGate {
        let of_upgrade = sources.iter().take_while(|source| source.is_of_upgrade());
        let of_upgrade: Vec<_> = of_upgrade.cloned().collect();
        let required = required && of_upgrade.len() == sources.len();
        TokenGate { verifier, sources: of_upgrade, pass_others, required }
    }
}

impl Accept for TokenGate {
    fn name(&self) -> &str {
        "jwt"
    }

    fn accept(&self, _listener: &str, facts: &Facts) -> Result<(), Denial> {
        let Some(http) = &facts.http else { return Ok(()) };
        let carriers =
            Carriers { headers: &http.headers, query: http.query.as_deref(), ..Carriers::default() };
        let Some((_, token)) = first_token(&self.sources, &carriers, self.pass_others) else {
            let missing = || Denial::new(ReasonCode::BadUserNameOrPassword, "jwt: there is no token");
            return if self.required { Err(missing().say("a token is missing")) } else { Ok(()) };
        };
        match self.verifier.verify(&token, now()) {
            Ok(_) => Ok(()),
            // Its key may be fetched while CONNECT waits.
            Err(Refusal::UnknownKey | Refusal::NoKeys) if self.verifier.jwks().is_some() => Ok(()),
            Err(refusal) => Err(refused(&refusal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use mqway_transport::facts::HttpFacts;

    use super::*;
    use crate::jwt::{Algorithm, Key, KeySet, Rules};

    fn gate(sources: &[&str], required: bool) -> TokenGate {
        let key = Key::from_secret(b"a secret of at least thirty-two bytes", &[Algorithm::Hs256]).unwrap();
        let verifier = Arc::new(Verifier::new(Rules::default(), KeySet::new([key]), None));
        let sources: Vec<_> = sources.iter().map(|source| source.parse().unwrap()).collect();
        TokenGate::new(verifier, &sources, false, required)
    }

    fn with_query(query: Option<&str>) -> Facts {
        let http = HttpFacts { query: query.map(str::to_owned), ..HttpFacts::default() };
        Facts { http: Some(http), ..Facts::default() }
    }

    #[test]
    fn a_bad_token_is_refused_where_connect_could_not_mend_it() {
        let bad = with_query(Some("token=a.b.c"));
        for (sources, refused) in [
            (&["query:token"][..], true),
            (&["cookie:session", "query:token"], true),
            (&["query:token", "password"], true),
            (&["password", "query:token"], false),
            (&["cookie:session"], false),
        ] {
            let denial = gate(sources, false).accept("", &bad).err();
            assert_eq!(denial.is_some(), refused, "{sources:?}");
            assert!(denial.is_none_or(|denial| denial.reason == ReasonCode::BadUserNameOrPassword));
        }
        assert!(gate(&["query:token"], true).accept("", &Facts::default()).is_ok(), "TCP has no upgrade");
    }

    #[test]
    fn a_token_is_missed_where_nothing_else_lets_in() {
        let none = with_query(None);
        assert!(gate(&["query:token", "bearer"], true).accept("", &none).is_err());
        assert!(gate(&["query:token", "password"], true).accept("", &none).is_ok());
        assert!(gate(&["query:token"], false).accept("", &none).is_ok());
    }
}
