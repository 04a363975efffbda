//! Tokens: where a client may put one, and how it stays out of logs.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// Something that lets in whoever holds it. It is never shown: neither by `Debug` nor in any error of this crate.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// Takes the text of one.
    pub fn new(text: impl Into<Box<str>>) -> Token {
        Token(text.into())
    }

    /// The text, for whoever checks it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One place where a token may stand. In a configuration it is written as [`FromStr`] reads it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum TokenSource {
    /// The password of CONNECT: `password`.
    Password,
    /// The user name of CONNECT: `username`.
    UserName,
    /// The field `Authorization: Bearer …` of the WebSocket upgrade (RFC 6750 §2.1): `bearer`.
    Bearer,
    /// A cookie of this name, sent with the upgrade: `cookie:NAME`.
    Cookie(String),
    /// A parameter of this name in the URL of the upgrade: `query:NAME`. URLs end up in the logs of whatever stands
    /// in between, so that it is the last choice.
    Query(String),
    /// An entry among the offered subprotocols that begins so: `subprotocol:PREFIX`. A page that can set no header
    /// can still do `new WebSocket(url, ["mqtt", "bearer." + token])`.
    Subprotocol(String),
}

impl TokenSource {
    /// Whether it is a place in the upgrade of a WebSocket; else it is one in CONNECT.
    pub fn is_of_upgrade(&self) -> bool {
        !matches!(self, TokenSource::Password | TokenSource::UserName)
    }
}

impl FromStr for TokenSource {
    type Err = String;

    fn from_str(text: &str) -> Result<TokenSource, String> {
        match text.split_once(':') {
            None if text == "password" => Ok(TokenSource::Password),
            None if text == "username" => Ok(TokenSource::UserName),
            None if text == "bearer" => Ok(TokenSource::Bearer),
            Some(("cookie", name)) if !name.is_empty() => Ok(TokenSource::Cookie(name.to_owned())),
            Some(("query", name)) if !name.is_empty() => Ok(TokenSource::Query(name.to_owned())),
            Some(("subprotocol", prefix)) if !prefix.is_empty() => {
                Ok(TokenSource::Subprotocol(prefix.to_owned()))
            }
            _ => Err(format!(
                "{text:?} is no place for a token; they are password, username, bearer, cookie:NAME, query:NAME \
                 and subprotocol:PREFIX"
            )),
        }
    }
}

impl TryFrom<String> for TokenSource {
    type Error = String;

    fn try_from(text: String) -> Result<TokenSource, String> {
        text.parse()
    }
}

/// What a client sent that may carry a token.
#[derive(Clone, Copy, Default)]
pub struct Carriers<'a> {
    /// The user name of CONNECT.
    pub user_name: Option<&'a str>,
    /// The password of CONNECT.
    pub password: Option<&'a [u8]>,
    /// The header fields of the WebSocket upgrade, names in lower case.
    pub headers: &'a [(String, Vec<u8>)],
    /// What stood after `?` in its URL.
    pub query: Option<&'a str>,
}

/// The first token that is found, looking at `sources` in their order. What is empty, or no text, is passed over.
pub fn token_of(sources: &[TokenSource], carriers: &Carriers<'_>) -> Option<Token> {
    sources.iter().find_map(|source| find(source, carriers)).map(|text| Token::new(text.as_ref()))
}

fn find<'a>(source: &TokenSource, carriers: &Carriers<'a>) -> Option<Cow<'a, str>> {
    let text = match source {
        TokenSource::Password => Cow::Borrowed(std::str::from_utf8(carriers.password?).ok()?),
        TokenSource::UserName => Cow::Borrowed(carriers.user_name?),
        TokenSource::Bearer => fields(carriers, "authorization").find_map(bearer)?.into(),
        TokenSource::Cookie(name) => {
            fields(carriers, "cookie")
                .flat_map(|field| field.split(';'))
                .find_map(|pair| cookie(pair, name))?
        }
        .into(),
        TokenSource::Query(name) => carriers.query?.split('&').find_map(|pair| parameter(pair, name))?,
        TokenSource::Subprotocol(prefix) => fields(carriers, "sec-websocket-protocol")
            .flat_map(|field| field.split(','))
            .find_map(|entry| entry.trim().strip_prefix(prefix.as_str()))?
            .into(),
    };
    (!text.is_empty()).then_some(text)
}

/// The values of the fields of this name, as far as they are text.
fn fields<'a>(carriers: &Carriers<'a>, name: &str) -> impl Iterator<Item = &'a str> {
    carriers
        .headers
        .iter()
        .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
        .filter_map(|(_, value)| std::str::from_utf8(value).ok())
}

/// The scheme's name is in any case (RFC 9110 §11.1).
fn bearer(field: &str) -> Option<&str> {
    let (scheme, token) = field.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Quotes around a cookie's value are no part of it, as far as anybody who sets one is concerned (RFC 6265 §4.1.1).
fn cookie<'a>(pair: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = pair.split_once('=')?;
    let value = value.trim();
    (found.trim() == name)
        .then(|| value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

fn parameter<'a>(pair: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let (found, value) = pair.split_once('=')?;
    if percent_decode_str(found).decode_utf8().ok()? != name {
        return None;
    }
    percent_decode_str(value).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(texts: &[&str]) -> Vec<TokenSource> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn found(texts: &[&str], carriers: &Carriers<'_>) -> Option<String> {
        token_of(&sources(texts), carriers).map(|token| token.reveal().to_owned())
    }

    fn header(name: &str, value: &str) -> Vec<(String, Vec<u8>)> {
        vec![(name.to_owned(), value.as_bytes().to_vec())]
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::new("eyJ.secret.x");
        assert_eq!(format!("{token:?} {:?}", Some(&token)), "*** Some(***)");
    }

    #[test]
    fn connect_carries_tokens_in_password_and_user_name() {
        let carriers = Carriers { user_name: Some("name"), password: Some(b"pass"), ..Carriers::default() };
        assert_eq!(found(&["password", "username"], &carriers).as_deref(), Some("pass"));
        assert_eq!(found(&["username", "password"], &carriers).as_deref(), Some("name"));
        let binary = Carriers { password: Some(&[0xFF]), ..Carriers::default() };
        assert_eq!(found(&["password"], &binary), None);
        let empty = Carriers { password: Some(b""), user_name: Some("name"), ..Carriers::default() };
        assert_eq!(found(&["password", "username"], &empty).as_deref(), Some("name"));
    }

    #[test]
    fn an_upgrade_carries_tokens_in_four_places() {
        let headers = header("authorization", "bEARER  abc.def ");
        let carriers = Carriers { headers: &headers, ..Carriers::default() };
        assert_eq!(found(&["bearer"], &carriers).as_deref(), Some("abc.def"));
        let headers = header("authorization", "Basic abc");
        let carriers = Carriers { headers: &headers, ..Carriers::default() };
        assert_eq!(found(&["bearer"], &carriers), None);

        let headers = header("cookie", "xsession=no; session=\"a=b\" ; session=later");
        let carriers = Carriers { headers: &headers, ..Carriers::default() };
        assert_eq!(found(&["cookie:session"], &carriers).as_deref(), Some("a=b"));
        assert_eq!(found(&["cookie:ession"], &carriers), None);

        let carriers = Carriers { query: Some("a=1&to%6ben=x%2Ey&token=later"), ..Carriers::default() };
        assert_eq!(found(&["query:token"], &carriers).as_deref(), Some("x.y"));
        let carriers = Carriers { query: Some("token=%FF"), ..Carriers::default() };
        assert_eq!(found(&["query:token"], &carriers), None);

        let headers = header("sec-websocket-protocol", "mqtt, bearer.a.b.c");
        let carriers = Carriers { headers: &headers, ..Carriers::default() };
        assert_eq!(found(&["subprotocol:bearer."], &carriers).as_deref(), Some("a.b.c"));
        assert_eq!(found(&["subprotocol:token."], &carriers), None);
    }

    #[test]
    fn a_place_that_is_none_is_refused_in_words() {
        for text in ["passwd", "cookie", "cookie:", "header:x", ""] {
            let error = text.parse::<TokenSource>().unwrap_err();
            assert!(error.contains("is no place for a token"), "{error}");
        }
    }
}
