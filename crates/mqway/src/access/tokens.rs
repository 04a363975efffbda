//! From `[jwt]` to hooks: clients that show a JSON Web Token.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mqway_access::hook::{Granted, TokenMethod, Tokens};
use mqway_access::jwks::{Jwks, JwksSource};
use mqway_access::jwt::{Algorithm, ClaimNames, Key, KeySet, Origin, Rules, Verifier};
use mqway_access::token::TokenSource;
use mqway_hooks::{Authenticate as _, Hooks};

use super::{Guards, read};
use crate::failure::Failure;
use crate::settings::Jwt;

/// Keys are not fetched more often than that, whatever the settings say.
const LEAST_REFRESH: Duration = Duration::from_secs(1);

/// Whether there are keys to check tokens by.
pub fn are_asked_for(jwt: &Jwt) -> bool {
    jwt.secret_file.is_some() || jwt.public_key_files.is_some() || jwt.jwks.is_some()
}

/// Whether cookies authenticate, so that pages of other origins must be kept out.
pub fn come_in_cookies(jwt: &Jwt) -> bool {
    jwt.sources.iter().flatten().any(|source| source.starts_with("cookie:"))
}

/// Whether tokens say what their clients may do.
pub fn grant(jwt: &Jwt) -> bool {
    jwt.publish_claim.is_some() || jwt.subscribe_claim.is_some()
}

/// Adds the hooks for tokens; gives back the one that judges them, if there is one. `others_too`: there are passwords,
/// besides.
///
/// # Errors
/// One line about the first setting or file that cannot be used.
pub fn add(
    jwt: &Jwt,
    others_too: bool,
    before: Option<&Guards>,
    guards: &mut Guards,
) -> Result<Option<Arc<Tokens>>, Failure> {
    if !are_asked_for(jwt) {
        return match *jwt == Jwt::default() {
            true => Ok(None),
            false => Err(Failure::usage(
                "[jwt] has no keys; give it `secret_file`, `public_key_files` or `jwks`, or leave it out",
            )),
        };
    }
    let algorithms = parsed::<Algorithm>("algorithms", jwt.algorithms.as_deref().unwrap_or_default())?;
    let keys = keys(jwt, &algorithms)?;
    let (keys, jwks) = match &jwt.jwks {
        Some(place) if place.contains("://") => {
            let before = before.and_then(|before| before.jwks.as_ref());
            (keys, Some(fetched(place, jwt, algorithms, before)?))
        }
        Some(path) => {
            let set = KeySet::from_jwks(&read(Path::new(path))?, &algorithms, Origin::File);
            (keys.and(&set.map_err(|error| unusable(path, &error))?), None)
        }
        None => (keys, None),
    };
    guards.jwks = jwks.clone();
    let verifier = Arc::new(Verifier::new(rules(jwt), keys, jwks));
    let sources = match &jwt.sources {
        Some(sources) => parsed::<TokenSource>("sources", sources)?,
        None => vec![TokenSource::Password, TokenSource::Bearer],
    };
    let mut tokens = Tokens::new(verifier.clone(), sources);
    if others_too {
        tokens = tokens.pass_others();
    }
    if jwt.assign_client_id == Some(true) {
        tokens = tokens.assign_client_id();
    }
    let (tokens, hooks) = (Arc::new(tokens), &mut guards.hooks);
    hooks.add_authenticate(tokens.clone());
    if let Some(method) = &jwt.method {
        hooks.add_method(Arc::new(TokenMethod::new(method, verifier)));
    }
    if grant(jwt) {
        hooks.add_authorize(Arc::new(Granted));
    }
    Ok(Some(tokens))
}

/// Has tokens judged before the upgrade of a WebSocket is answered, too, unless the settings say otherwise. To be called
/// when all others that may let clients in are there.
pub fn guard_upgrades(jwt: &Jwt, tokens: &Tokens, hooks: &mut Hooks) {
    if jwt.refuse_upgrade != Some(false) {
        let nothing_else = !hooks.anonymous && hooks.authenticators().eq([tokens.name()]);
        hooks.add_accept(Arc::new(tokens.gate(nothing_else)));
    }
}

fn keys(jwt: &Jwt, algorithms: &[Algorithm]) -> Result<KeySet, Failure> {
    let mut keys = Vec::new();
    if let Some(path) = &jwt.secret_file {
        let secret = read(path)?;
        let key = Key::from_secret(secret.trim_ascii_end(), algorithms);
        keys.push(key.map_err(|error| unusable(&path.display().to_string(), &error))?);
    }
    for path in jwt.public_key_files.iter().flatten() {
        let key = Key::from_pem(&read(path)?, algorithms);
        keys.push(key.map_err(|error| unusable(&path.display().to_string(), &error))?);
    }
    Ok(KeySet::new(keys))
}

/// Keys from a URL. Where they were fetched from it `before`, those go on to count until others have come: a server that is
/// down when settings are read again locks nobody out.
fn fetched(
    url: &str,
    jwt: &Jwt,
    algorithms: Vec<Algorithm>,
    before: Option<&Arc<Jwks>>,
) -> Result<Arc<Jwks>, Failure> {
    let mut source = JwksSource { algorithms, ..JwksSource::new(url) };
    if let Some(refresh) = jwt.jwks_refresh {
        if refresh.0 < LEAST_REFRESH {
            return Err(Failure::usage("[jwt] jwks_refresh is at least one second"));
        }
        source.refresh = refresh.0;
        source.least_interval = source.least_interval.min(refresh.0);
    }
    if let Some(before) = before.filter(|before| *before.source() == source) {
        before.fetch_now();
        return Ok(before.clone());
    }
    let started = Jwks::start(source).map_err(|error| Failure::usage(format_args!("[jwt] jwks: {error}")));
    started.map(Arc::new)
}

fn rules(jwt: &Jwt) -> Rules {
    let standard = Rules::default();
    Rules {
        leeway: jwt.leeway.map_or(standard.leeway, |leeway| leeway.0),
        must_expire: jwt.must_expire.unwrap_or(standard.must_expire),
        issuers: jwt.issuers.clone().unwrap_or_default(),
        audiences: jwt.audiences.clone().unwrap_or_default(),
        claims: ClaimNames {
            user_name: jwt.user_claim.clone().or(standard.claims.user_name),
            client_id: jwt.client_id_claim.clone(),
            groups: jwt.groups_claim.clone(),
            publish: jwt.publish_claim.clone(),
            subscribe: jwt.subscribe_claim.clone(),
            keep: jwt.keep_claims.clone().unwrap_or_default(),
        },
        ..standard
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    key: &str,
    texts: &[String],
) -> Result<Vec<T>, Failure> {
    let one =
        |text: &String| text.parse().map_err(|error| Failure::usage(format_args!("[jwt] {key}: {error}")));
    texts.iter().map(one).collect()
}

fn unusable(path: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format_args!("{path}: {error}"))
}
