//! From `[jwt]` to hooks: clients that show a JSON Web Token.

use std::path::Path;
use std::sync::Arc;

use mqway_access::hook::{Granted, TokenMethod, Tokens};
use mqway_access::jwks::{Jwks, JwksSource};
use mqway_access::jwt::{Algorithm, ClaimNames, Key, KeySet, Origin, Rules, Verifier};
use mqway_access::token::TokenSource;
use mqway_hooks::Hooks;

use super::read;
use crate::failure::Failure;
use crate::settings::Jwt;

/// Whether there are keys to check tokens by.
pub fn are_asked_for(jwt: &Jwt) -> bool {
    jwt.secret_file.is_some() || jwt.public_key_files.is_some() || jwt.jwks.is_some()
}

/// Whether cookies authenticate, so that pages of other origins must be kept out.
pub fn come_in_cookies(jwt: &Jwt) -> bool {
    jwt.sources.iter().flatten().any(|source| source.starts_with("cookie:"))
}

/// Adds the hooks for tokens. `others_too`: there are passwords, besides.
///
/// # Errors
/// One line about the first setting or file that cannot be used.
pub fn add(jwt: &Jwt, others_too: bool, hooks: &mut Hooks) -> Result<(), Failure> {
    if !are_asked_for(jwt) {
        return match *jwt == Jwt::default() {
            true => Ok(()),
            false => Err(Failure::usage(
                "[jwt] has no keys; give it `secret_file`, `public_key_files` or `jwks`, or leave it out",
            )),
        };
    }
    let algorithms = parsed::<Algorithm>("algorithms", jwt.algorithms.as_deref().unwrap_or_default())?;
    let keys = keys(jwt, &algorithms)?;
    let (keys, jwks) = match &jwt.jwks {
        Some(place) if place.contains("://") => (keys, Some(fetched(place, jwt, algorithms)?)),
        Some(path) => {
            let set = KeySet::from_jwks(&read(Path::new(path))?, &algorithms, Origin::File);
            (keys.and(&set.map_err(|error| unusable(path, &error))?), None)
        }
        None => (keys, None),
    };
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
    hooks.add_authenticate(Arc::new(tokens));
    if let Some(method) = &jwt.method {
        hooks.add_method(Arc::new(TokenMethod::new(method, verifier)));
    }
    if jwt.publish_claim.is_some() || jwt.subscribe_claim.is_some() {
        hooks.add_authorize(Arc::new(Granted));
    }
    Ok(())
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

fn fetched(url: &str, jwt: &Jwt, algorithms: Vec<Algorithm>) -> Result<Jwks, Failure> {
    let mut source = JwksSource { algorithms, ..JwksSource::new(url) };
    if let Some(refresh) = jwt.jwks_refresh {
        source.refresh = refresh.0;
    }
    Jwks::start(source).map_err(|error| Failure::usage(format_args!("[jwt] jwks: {error}")))
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
