//! Which web pages may connect (RFC 6455 §10.2): browsers say in `Origin` where the script comes from.

use std::str::FromStr;

use super::options::InvalidOption;

/// The origins that a listener lets in. A request without an `Origin` field does not come from a browser and is not
/// concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Every page. Right where no cookie authenticates: MQTT has credentials of its own.
    #[default]
    Any,
    /// Only pages of the host and port that the request itself names. Right where cookies authenticate.
    Same,
    /// Only those listed.
    Listed(Vec<OriginPattern>),
}

/// One entry of a list: `https://app.example.org`, `https://*.example.org:8443`, or `null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern(Pattern);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// The opaque origin, of a local file or a sandboxed frame.
    Null,
    /// This one.
    Exact(Origin),
    /// Every host below `origin.host`, however deep, but not that host itself.
    Below(Origin),
}

/// Scheme, host and port in lower case, the port always explicit where it is known (RFC 6454 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origins {
    /// Whether a request with this `Origin` to this `Host` may go on. Never a comparison by prefix.
    pub(super) fn allow(&self, origin: Option<&[u8]>, host: &[u8]) -> bool {
        let Some(origin) = origin else { return true };
        match self {
            Origins::Any => true,
            Origins::Same => Origin::parse_bytes(origin).is_some_and(|origin| origin.is_at(host)),
            Origins::Listed(patterns) => patterns.iter().any(|pattern| pattern.matches(origin)),
        }
    }
}

impl OriginPattern {
    fn matches(&self, origin: &[u8]) -> bool {
        match &self.0 {
            Pattern::Null => origin == b"null",
            Pattern::Exact(expected) => Origin::parse_bytes(origin).as_ref() == Some(expected),
            Pattern::Below(parent) => {
                Origin::parse_bytes(origin).is_some_and(|origin| origin.is_below(parent))
            }
        }
    }
}

impl FromStr for OriginPattern {
    type Err = InvalidOption;

    fn from_str(text: &str) -> Result<OriginPattern, InvalidOption> {
        if text == "null" {
            return Ok(OriginPattern(Pattern::Null));
        }
        let invalid = || InvalidOption::Origin(text.to_owned());
        let Some((scheme, rest)) = text.split_once("://") else { return Err(invalid()) };
        let (below, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let origin = Origin::parse(&format!("{scheme}://{rest}")).ok_or_else(invalid)?;
        Ok(OriginPattern(if below { Pattern::Below(origin) } else { Pattern::Exact(origin) }))
    }
}

impl Origin {
    fn parse_bytes(bytes: &[u8]) -> Option<Origin> {
        Origin::parse(str::from_utf8(bytes).ok()?)
    }

    /// Reads `scheme://host[:port]`, nothing before, between or after.
    fn parse(text: &str) -> Option<Origin> {
        let (scheme, authority) = text.split_once("://")?;
        let mut rest = scheme.bytes();
        let valid_scheme = rest.next()?.is_ascii_alphabetic()
            && rest.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !valid_scheme {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_authority(authority)?;
        let port = port.or(default_port(&scheme));
        Some(Origin { scheme, host, port })
    }

    /// Whether the `Host` field names this origin's host and port.
    fn is_at(&self, host_field: &[u8]) -> bool {
        let Some((host, port)) = str::from_utf8(host_field).ok().and_then(split_authority) else {
            return false;
        };
        self.host == host && self.port == port.or(default_port(&self.scheme))
    }

    fn is_below(&self, parent: &Origin) -> bool {
        self.scheme == parent.scheme
            && self.port == parent.port
            && self
                .host
                .strip_suffix(&parent.host)
                .and_then(|labels| labels.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty())
    }
}

/// Host in lower case and port of `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_authority(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (&authority[..address.len() + 2], port.strip_prefix(':').or(port.is_empty().then_some("")))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("")),
        },
    };
    let port = match port? {
        "" if authority.ends_with(':') => return None,
        "" => None,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    (!host.is_empty() && host.bytes().all(plain)).then(|| (host.to_ascii_lowercase(), port))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(patterns: &[&str]) -> Origins {
        Origins::Listed(patterns.iter().map(|pattern| pattern.parse().unwrap()).collect())
    }

    fn allows(origins: &Origins, origin: &str) -> bool {
        origins.allow(Some(origin.as_bytes()), b"broker.example.org:8083")
    }

    #[test]
    fn exact_entries_match_the_whole_origin() {
        let origins = listed(&["https://app.example.org", "http://[::1]:3000", "capacitor://localhost"]);
        for good in [
            "https://app.example.org",
            "https://APP.example.org:443",
            "http://[::1]:3000",
            "capacitor://localhost",
        ] {
            assert!(allows(&origins, good), "{good}");
        }
        for bad in [
            "https://app.example.org.evil.test",
            "https://app.example.orgx",
            "https://app.example.org:8443",
            "https://app.example.org/",
            "https://app.example.org https://evil.test",
            "https://user@app.example.org",
            "https://xapp.example.org",
            "http://app.example.org",
            "app.example.org",
            "https://",
            "null",
            "",
        ] {
            assert!(!allows(&origins, bad), "{bad}");
        }
    }

    #[test]
    fn a_star_stands_for_labels_below_the_domain() {
        let origins = listed(&["https://*.example.org"]);
        assert!(allows(&origins, "https://a.example.org"));
        assert!(allows(&origins, "https://a.b.example.org:443"));
        for bad in [
            "https://example.org",
            "https://.example.org",
            "https://evilexample.org",
            "https://a.example.org.evil.test",
            "https://evil.test/.example.org",
            "https://evil.test#.example.org",
            "https://evil.test\\.example.org",
            "https://a.example.org:8443",
            "http://a.example.org",
        ] {
            assert!(!allows(&origins, bad), "{bad}");
        }
    }

    #[test]
    fn null_must_be_listed() {
        assert!(allows(&listed(&["null"]), "null"));
        assert!(!allows(&listed(&["null"]), "NULL"));
        assert!(!allows(&listed(&["https://*.example.org"]), "null"));
        assert!(!allows(&Origins::Same, "null"));
        assert!(allows(&Origins::Any, "null"));
    }

    #[test]
    fn same_origin_compares_host_and_port() {
        assert!(allows(&Origins::Same, "http://broker.example.org:8083"));
        assert!(allows(&Origins::Same, "https://BROKER.example.org:8083"));
        assert!(!allows(&Origins::Same, "http://broker.example.org"));
        assert!(!allows(&Origins::Same, "http://broker.example.org:80830"));
        assert!(Origins::Same.allow(Some(b"https://h"), b"h"));
        assert!(!Origins::Same.allow(Some(b"https://h"), b"h:80"));
        assert!(!Origins::Same.allow(Some(b"https://h\xff"), b"h\xff"));
    }

    #[test]
    fn without_origin_it_is_no_browser() {
        assert!(listed(&[]).allow(None, b"h"));
        assert!(!listed(&[]).allow(Some(b"https://h"), b"h"));
    }

    #[test]
    fn entries_that_cannot_match_are_refused() {
        for bad in [
            "example.org",
            "*.example.org",
            "https://",
            "https://a/b",
            "https://*",
            "https://*.",
            "https://a.*.org",
            "https://h:",
            "https://h:99999",
            "*",
        ] {
            assert!(bad.parse::<OriginPattern>().is_err(), "{bad}");
        }
    }
}
