//! Text to [`Url`].

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{DEFAULT_PATH, MAX_UNIX_PATH, MAX_URL, Scheme, Secret, Url, UrlError};

pub(super) fn server(text: &str, default: Option<Scheme>) -> Result<Url, UrlError> {
    let url = parse(text, default)?;
    if url.scheme == Scheme::Unix {
        return Ok(url);
    }
    if url.host.is_empty() {
        return Err(fail(text, "no host; write it as tcp://host:1883"));
    }
    if url.port == 0 {
        return Err(fail(text, "port 0 cannot be dialled; name the server's port"));
    }
    Ok(url)
}

pub(super) fn listener(text: &str) -> Result<Url, UrlError> {
    let url = parse(text, None)?;
    if url.user.is_some() || url.password.is_some() {
        return Err(fail(text, "a listener takes no user and password; leave out what stands before @"));
    }
    Ok(url)
}

fn parse(text: &str, default: Option<Scheme>) -> Result<Url, UrlError> {
    if text.len() > MAX_URL {
        return Err(UrlError {
            text: "(too long to show)".into(),
            why: format!("longer than {MAX_URL} bytes"),
        });
    }
    if let Some(bad) = text.chars().find(|c| c.is_control() || c.is_whitespace()) {
        return Err(fail(text, format!("{bad:?} in it; percent-encode it or leave it out")));
    }
    let (scheme, rest) = split_scheme(text, default)?;
    if scheme == Scheme::Unix {
        return unix(text, rest);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let (user, password, host, port) =
        address_and_credentials(text, authority).map_err(|error| match target.contains('@') {
            true => fail(text, "a /, ? or # in a password must be written %2F, %3F or %23"),
            false => error,
        })?;
    let path =
        if scheme.is_websocket() { websocket_path(text, target)? } else { no_path(text, scheme, target)? };
    Ok(Url { scheme, host, port: port.unwrap_or(scheme.default_port()), path, user, password })
}

/// Everything that may stand between `://` and the path.
pub(crate) type Parts = (Option<String>, Option<Secret>, String, Option<u16>);

/// Splits `[user[:password]@]host[:port]`; `text` is the whole, for messages.
pub(crate) fn address_and_credentials(text: &str, authority: &str) -> Result<Parts, UrlError> {
    // The last @ ends the credentials: people forget to encode one in a password.
    let (credentials, address) = match authority.rsplit_once('@') {
        Some((credentials, address)) => (Some(credentials), address),
        None => (None, authority),
    };
    let (user, password) = credentials.map_or(Ok((None, None)), |c| split_credentials(text, c))?;
    let (host, port) = split_address(text, address)?;
    Ok((user, password, host, port))
}

fn split_scheme(text: &str, default: Option<Scheme>) -> Result<(Scheme, &str), UrlError> {
    let Some((name, rest)) = scheme_end(text).map(|end| (&text[..end], &text[end + 3..])) else {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok((Scheme::Unix, path));
        }
        return match default {
            Some(scheme) => Ok((scheme, text)),
            None => Err(fail(text, "no scheme; write it as tcp://, tls://, ws://, wss:// or unix://")),
        };
    };
    match Scheme::from_name(name) {
        Some(scheme) => Ok((scheme, rest)),
        None => {
            let meant = match name.to_ascii_lowercase().as_str() {
                "http" => "did you mean ws://?",
                "https" => "did you mean wss://?",
                "ssl" | "mqtt+ssl" | "mqttssl" | "tcps" => "did you mean tls://?",
                _ => "use tcp, tls, ws, wss or unix (mqtt and mqtts mean tcp and tls)",
            };
            Err(fail(text, format!("unknown scheme {name:?}; {meant}")))
        }
    }
}

/// Where a scheme ends and `://` begins (RFC 3986 §3.1).
fn scheme_end(text: &str) -> Option<usize> {
    let end = text.find("://")?;
    text[..end].bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)).then_some(end)
}

fn unix(text: &str, rest: &str) -> Result<Url, UrlError> {
    if !rest.starts_with('/') {
        return Err(fail(text, "the socket's file must be an absolute path, as in unix:///run/mqway.sock"));
    }
    let path = String::from_utf8(percent_decode(text, rest)?)
        .map_err(|_| fail(text, "the socket's file name is not UTF-8 after percent-decoding"))?;
    if path.contains('\0') {
        return Err(fail(text, "the socket's file name contains a zero byte"));
    }
    if path.len() > MAX_UNIX_PATH {
        return Err(fail(
            text,
            format!("the socket's file name is longer than {MAX_UNIX_PATH} bytes; shorten it"),
        ));
    }
    Ok(Url { scheme: Scheme::Unix, host: String::new(), port: 0, path, user: None, password: None })
}

fn split_credentials(text: &str, credentials: &str) -> Result<(Option<String>, Option<Secret>), UrlError> {
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (credentials, None),
    };
    let user = String::from_utf8(percent_decode(text, user)?)
        .map_err(|_| fail(text, "the user name is not UTF-8 after percent-decoding"))?;
    let password = password.map(|password| percent_decode(text, password).map(Secret::new)).transpose()?;
    Ok((Some(user).filter(|user| !user.is_empty() || password.is_some()), password))
}

fn split_address(text: &str, address: &str) -> Result<(String, Option<u16>), UrlError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, after) =
                rest.split_once(']').ok_or_else(|| fail(text, "an IPv6 address needs a closing ]"))?;
            let host: Ipv6Addr = host.parse().map_err(|_| {
                fail(text, format!("{host:?} in brackets is not an IPv6 address; only those take brackets"))
            })?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(port),
                None if after.is_empty() => None,
                None => {
                    return Err(fail(text, format!("{after:?} after ]; a port is written as [::1]:1883")));
                }
            };
            (host.to_string(), port)
        }
        None => match address.split_once(':') {
            Some((_, rest)) if rest.contains(':') => {
                return Err(fail(text, "an IPv6 address needs brackets, as in tcp://[::1]:1883"));
            }
            Some((host, port)) => (host_name(text, host)?, Some(port)),
            None => (host_name(text, address)?, None),
        },
    };
    // RFC 3986 allows `host:` with nothing after the colon; it means the default port.
    let port = port.filter(|port| !port.is_empty()).map(|port| parse_port(text, port)).transpose()?;
    Ok((host, port))
}

fn host_name(text: &str, host: &str) -> Result<String, UrlError> {
    if !host.is_ascii() {
        return Err(fail(text, "the host name is not ASCII; write its xn-- form"));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if let Some(bad) = host.bytes().find(|&b| !allowed(b)) {
        return Err(fail(text, format!("{:?} cannot stand in a host name", char::from(bad))));
    }
    if host.len() > 253 {
        return Err(fail(text, "the host name is longer than 253 bytes"));
    }
    let numeric = !host.is_empty() && host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err(fail(text, format!("{host:?} is not an IPv4 address")));
    }
    Ok(host.to_ascii_lowercase())
}

fn parse_port(text: &str, port: &str) -> Result<u16, UrlError> {
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    port.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| fail(text, format!("port {port:?} is not a number from 0 to 65535")))
}

fn websocket_path(text: &str, target: &str) -> Result<String, UrlError> {
    if target.contains('#') {
        return Err(fail(text, "a WebSocket URL has no fragment; write # as %23")); // RFC 6455 §3
    }
    let allowed =
        |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}');
    if let Some(bad) = target.chars().find(|&c| !allowed(c)) {
        return Err(fail(text, format!("{bad:?} in the path; percent-encode it")));
    }
    percent_decode(text, target)?;
    Ok(if target.starts_with('/') { target.to_owned() } else { format!("{DEFAULT_PATH}{target}") })
}

fn no_path(text: &str, scheme: Scheme, target: &str) -> Result<String, UrlError> {
    match target {
        "" | "/" => Ok(String::new()),
        _ => Err(fail(text, format!("{scheme}:// has no path; leave it out, or use ws:// or wss://"))),
    }
}

fn percent_decode(text: &str, encoded: &str) -> Result<Vec<u8>, UrlError> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let value = match tail {
            [high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        let value =
            value.ok_or_else(|| fail(text, "% without two hexadecimal digits; write a % itself as %25"))?;
        bytes.push(value);
        rest = tail.get(2..).unwrap_or_default();
    }
    Ok(bytes)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

pub(super) fn fail(text: &str, why: impl Into<String>) -> UrlError {
    UrlError { text: without_credentials(text), why: why.into() }
}

/// Everything from the scheme to the last @ of the text goes: a password with a slash in it, forgotten to be
/// encoded, must not be shown either.
fn without_credentials(text: &str) -> String {
    let start = scheme_end(text).map_or(0, |end| end + 3);
    match text.rfind('@') {
        Some(at) if at >= start => format!("{}…{}", &text[..start], &text[at..]),
        _ => text.to_owned(),
    }
}
