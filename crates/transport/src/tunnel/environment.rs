//! The environment variables that name proxies.

use std::net::IpAddr;

use super::Proxy;
use crate::cidr::Cidr;
use crate::url::{Scheme, UrlError};

/// The proxy for a server, by the variables that `curl` and most other programs read, or `None`.
///
/// `variable` looks one up; a variable that is empty counts as unset. Lower case goes before upper case.
/// - for `tls` and `wss`: `https_proxy`, then `all_proxy`
/// - for `ws`: `http_proxy`, then `all_proxy`. `HTTP_PROXY` is not read where `REQUEST_METHOD` is set: in a CGI
///   program it is a header field of whoever calls.
/// - for `tcp`: `all_proxy`
/// - for `unix`: none
///
/// `no_proxy` lists, separated by commas or spaces, what is reached without: `*`; a name, which stands for all names
/// below it too, with or without a leading dot or `*.`; an address; a range such as `10.0.0.0/8`; each but the range
/// with `:port` if only that port is meant. This machine (`localhost`, loopback addresses) never needs a proxy.
///
/// # Errors
/// If the variable that counts holds something unusable; it is named in the error.
pub fn proxy_from_environment(
    variable: impl Fn(&str) -> Option<String>,
    scheme: Scheme,
    host: &str,
    port: u16,
) -> Result<Option<Proxy>, UrlError> {
    let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let in_cgi = variable("REQUEST_METHOD").is_some();
    let names: &[&str] = match scheme {
        Scheme::Unix => &[],
        Scheme::Tcp => &["all_proxy", "ALL_PROXY"],
        Scheme::Ws if in_cgi => &["http_proxy", "all_proxy", "ALL_PROXY"],
        Scheme::Ws => &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
        Scheme::Tls | Scheme::Wss => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
    };
    let Some((name, value)) = names.iter().find_map(|name| variable(name).map(|value| (*name, value))) else {
        return Ok(None);
    };
    let exempt = variable("no_proxy").or_else(|| variable("NO_PROXY")).unwrap_or_default();
    if is_this_machine(host) || is_exempt(&exempt, host, port) {
        return Ok(None);
    }
    Proxy::parse(value.trim()).map(Some).map_err(|error| error.with_origin(name))
}

fn is_this_machine(host: &str) -> bool {
    host.parse::<IpAddr>().map_or_else(
        |_| host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case("localhost"),
        |address| address.to_canonical().is_loopback(),
    )
}

fn is_exempt(list: &str, host: &str, port: u16) -> bool {
    let entries = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
    let address = host.parse::<IpAddr>().ok();
    entries.into_iter().any(|entry| {
        let (entry, only_port) = split_port(entry);
        if only_port.is_some_and(|only| only != port) {
            return false;
        }
        match address {
            _ if entry == "*" => true,
            Some(address) => entry.parse::<Cidr>().is_ok_and(|range| range.contains(address)),
            None => is_below(host, entry),
        }
    })
}

/// `host:port`, `[::1]:port`, `host`, `[::1]` or `::1`; something else after a colon belongs to the host.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    };
    (host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port)
}

/// Whether `host` is `domain` or a name below it.
fn is_below(host: &str, domain: &str) -> bool {
    let domain = domain.strip_prefix('*').unwrap_or(domain);
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    let domain = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    !domain.is_empty()
        && host.strip_suffix(&domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
