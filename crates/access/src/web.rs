//! Requests to web services: blocking, for threads of their own, and bounded in time and size whatever the server does.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;
use ureq::Agent;
use ureq::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::token::Token;

/// Bytes of header fields that an answer may have.
const MAX_HEADERS: usize = 16 * 1024;

/// Bytes of a connection's buffers, each way: answers are short.
const BUFFER: usize = 16 * 1024;

/// Connections that are kept between requests.
const IDLE_CONNECTIONS: usize = 32;

/// Header fields that each request has its own of.
const RESERVED: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING];

/// How a web service is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Reach {
    /// Where it is: `http` or `https`. User name and password in it are sent as `Authorization: Basic`.
    pub url: String,
    /// What a request may take altogether: name, connection, TLS, and the answer to its end.
    pub timeout: Duration,
    /// Authorities to trust in place of the system's, in PEM.
    pub ca: Option<Vec<u8>>,
    /// Header fields to send along, such as `Authorization`.
    pub headers: Vec<(String, Token)>,
}

impl Reach {
    /// By the system's authorities, within ten seconds.
    pub fn new(url: impl Into<String>) -> Reach {
        Reach { url: url.into(), timeout: Duration::from_secs(10), ca: None, headers: Vec::new() }
    }
}

/// Without the URL, which may hold secrets.
impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach")
            .field("timeout", &self.timeout)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// What a service cannot be reached with; one line for who has configured it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ReachError(String);

impl ReachError {
    pub(crate) fn new(text: impl Into<String>) -> ReachError {
        ReachError(text.into())
    }
}

/// Why there is no answer that could be used; without what was asked.
#[derive(Debug, Error)]
pub(crate) enum WebError {
    #[error("{0}")]
    Failed(String),
    #[error("it does not answer in time")]
    Late,
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("its answer is longer than {0} bytes")]
    TooLong(u64),
}

/// A web service, ready to be asked. Connections are kept between requests.
pub(crate) struct Web {
    agent: Agent,
    /// Keeps no connections.
    anew: Agent,
    url: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Web {
    pub fn new(reach: &Reach) -> Result<Web, ReachError> {
        let url: Uri =
            reach.url.parse().map_err(|_| ReachError("the URL of a web service is malformed".to_owned()))?;
        let secure = match (url.scheme_str(), url.host()) {
            (Some("https"), Some(_)) => true,
            (Some("http"), Some(_)) => false,
            _ => return Err(ReachError(format!("{}: a web service has an http or https URL", Shown(&url)))),
        };
        let mut headers = reach.headers.iter().map(field).collect::<Result<Vec<_>, _>>()?;
        let authorized = headers.iter().any(|(name, _)| name == AUTHORIZATION);
        headers.extend(basic(&url).filter(|_| !authorized));
        let tls = if secure { Some(tls(&url, reach.ca.as_deref())?) } else { None };
        let agent = |idle_connections| {
            let mut config = Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0) // What is configured is asked, and nobody whom it points to.
                .timeout_global(Some(reach.timeout))
                .max_response_header_size(MAX_HEADERS)
                .input_buffer_size(BUFFER)
                .output_buffer_size(BUFFER)
                .max_idle_connections(idle_connections)
                .max_idle_connections_per_host(idle_connections)
                .user_agent(concat!("mqway/", env!("CARGO_PKG_VERSION")))
                .accept("application/json");
            if let Some(tls) = &tls {
                config = config.tls_config(tls.clone());
            }
            if is_here(&url) {
                config = config.proxy(None); // Otherwise the environment may name one.
            }
            config.build().new_agent()
        };
        Ok(Web { agent: agent(IDLE_CONNECTIONS), anew: agent(0), url, headers })
    }

    /// The body of what is there, at most `limit` bytes of it.
    pub fn fetch(&self, limit: u64) -> Result<Vec<u8>, WebError> {
        let mut request = self.agent.get(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match request.call().map_err(failed).and_then(|answer| read(answer, limit))? {
            (200, body) => Ok(body),
            (status, _) => Err(WebError::Status(status)),
        }
    }

    /// Sends JSON, and gives back status and body of the answer, at most `limit` bytes of it, within this time.
    pub fn post(&self, json: &[u8], limit: u64, time: Duration) -> Result<(u16, Vec<u8>), WebError> {
        self.send(&self.agent, json, time).map_err(failed).and_then(|answer| read(answer, limit))
    }

    /// The same for a question, which may be asked twice: the connection that was kept may have ended meanwhile, or hold
    /// what nobody asked for. Then it is asked once more, on a new one.
    pub fn ask(&self, json: &[u8], limit: u64, time: Duration) -> Result<(u16, Vec<u8>), WebError> {
        let begun = Instant::now();
        let answer = match self.send(&self.agent, json, time) {
            Err(error) if may_be_old(&error) && begun.elapsed() < time => {
                self.send(&self.anew, json, time.saturating_sub(begun.elapsed()))
            }
            answer => answer,
        };
        answer.map_err(failed).and_then(|answer| read(answer, limit))
    }

    fn send(&self, agent: &Agent, json: &[u8], time: Duration) -> Result<Response<ureq::Body>, ureq::Error> {
        let request = agent.post(&self.url).config().timeout_global(Some(time)).build();
        let mut request = request.content_type("application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.send(json)
    }

    /// Whether what is said could be read and changed on its way over a network.
    pub fn is_exposed(&self) -> bool {
        self.url.scheme_str() != Some("https") && !is_here(&self.url)
    }
}

/// Its URL as far as it may stand in a log.
impl fmt::Display for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(&self.url).fmt(f)
    }
}

/// A URL without user information, path and query, which may hold secrets: some webhooks are known by their path alone.
struct Shown<'a>(&'a Uri);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme_str().unwrap_or("?"), self.0.host().unwrap_or("?"))?;
        if let Some(port) = self.0.port_u16() {
            write!(f, ":{port}")?;
        }
        Ok(())
    }
}

/// Whether the server is on this machine.
fn is_here(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// `Authorization` from the user information of a URL, percent-decoded (RFC 7617).
fn basic(url: &Uri) -> Option<(HeaderName, HeaderValue)> {
    let (user, _) = url.authority()?.as_str().rsplit_once('@')?;
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let mut text: Vec<u8> = percent_decode_str(user).collect();
    text.push(b':');
    text.extend(percent_decode_str(password));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(text))).ok()?;
    value.set_sensitive(true);
    Some((AUTHORIZATION, value))
}

fn field((name, value): &(String, Token)) -> Result<(HeaderName, HeaderValue), ReachError> {
    let field: Result<HeaderName, _> = name.parse();
    match (field, HeaderValue::from_str(value.reveal())) {
        (Ok(name), Ok(mut value)) if !RESERVED.contains(&name) => {
            value.set_sensitive(true);
            Ok((name, value))
        }
        _ => Err(ReachError(format!("{name:?} is no header field that could be sent"))),
    }
}

fn tls(url: &Uri, ca: Option<&[u8]>) -> Result<TlsConfig, ReachError> {
    let trusted = match ca {
        Some(pem) => CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| ReachError(format!("{}: the authorities to trust are no PEM", Shown(url))))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    if trusted.is_empty() {
        return Err(ReachError(format!("{}: there is no certificate authority to trust", Shown(url))));
    }
    let trusted = trusted.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(trusted))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

/// Whether it may be for the age of a connection that a request has failed.
fn may_be_old(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        ureq::Error::Io(error) => {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        }
        ureq::Error::Protocol(_) => true,
        _ => false,
    }
}

fn failed(error: ureq::Error) -> WebError {
    match error {
        ureq::Error::Timeout(_) => WebError::Late,
        ureq::Error::HostNotFound => WebError::Failed("its name cannot be resolved".to_owned()),
        error => WebError::Failed(error.to_string()),
    }
}

fn read(mut answer: Response<ureq::Body>, limit: u64) -> Result<(u16, Vec<u8>), WebError> {
    let status = answer.status().as_u16();
    // The library takes a body that reaches its limit for one that exceeds it.
    let body = answer.body_mut().with_config().limit(limit.saturating_add(1)).read_to_vec();
    match body {
        Ok(body) => Ok((status, body)),
        Err(ureq::Error::BodyExceedsLimit(_)) => Err(WebError::TooLong(limit)),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::fake_server::{FakeServer, Reply};

    const LIMIT: u64 = 1_000;

    /// Long enough for a machine that is busy.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn web(server: &FakeServer) -> Web {
        Web::new(&Reach { timeout: PATIENCE, ..Reach::new(server.url()) }).unwrap()
    }

    #[test]
    fn what_is_too_long_is_not_read_on() {
        for reply in [Reply::Endless, Reply::Json(200, "x".repeat(1_001))] {
            let server = FakeServer::start(move |_| reply.clone());
            let error = web(&server).fetch(LIMIT).unwrap_err();
            assert_eq!(error.to_string(), "its answer is longer than 1000 bytes");
            assert!(matches!(web(&server).post(b"{}", LIMIT, PATIENCE), Err(WebError::TooLong(LIMIT))));
        }
        let server = FakeServer::start(|_| Reply::Json(200, "x".repeat(1_000)));
        assert_eq!(web(&server).fetch(LIMIT).unwrap().len(), 1_000);
    }

    #[test]
    fn a_server_that_takes_its_time_is_given_up() {
        for reply in [Reply::Silence, Reply::Drip] {
            let server = FakeServer::start(move |_| reply.clone());
            let short = Duration::from_millis(300);
            let reach = Reach { timeout: short, ..Reach::new(server.url()) };
            let error = Web::new(&reach).unwrap().fetch(LIMIT).unwrap_err();
            assert_eq!(error.to_string(), "it does not answer in time");
            let error = web(&server).post(b"{}", LIMIT, short).unwrap_err();
            assert!(matches!(error, WebError::Late), "{error}");
        }
    }

    #[test]
    fn a_question_is_asked_once_more_where_its_connection_has_ended() {
        let requests = AtomicUsize::new(0);
        let server = FakeServer::start(move |_| match requests.fetch_add(1, Ordering::SeqCst) {
            1 => Reply::Close,
            _ => Reply::Json(200, "{}".to_owned()),
        });
        let web = web(&server);
        for asked in [1, 3, 4] {
            assert_eq!(web.ask(b"{}", LIMIT, PATIENCE).unwrap(), (200, b"{}".to_vec()));
            assert_eq!(server.requests(), asked);
        }
    }

    #[test]
    fn header_fields_have_an_end() {
        for reply in [Reply::EndlessHead, Reply::EndlessLine] {
            let server = FakeServer::start(move |_| reply.clone());
            assert!(matches!(web(&server).post(b"{}", LIMIT, PATIENCE), Err(WebError::Failed(_))));
        }
    }

    #[test]
    fn no_redirection_is_followed() {
        let server = FakeServer::start(|_| Reply::Redirect("/elsewhere".to_owned()));
        let error = web(&server).fetch(LIMIT).unwrap_err();
        assert_eq!(error.to_string(), "it answers with status 302");
        assert_eq!(server.requests(), 1);
    }

    #[test]
    fn nonsense_and_silence_are_errors() {
        for reply in [Reply::Nonsense, Reply::Close] {
            let server = FakeServer::start(move |_| reply.clone());
            assert!(matches!(web(&server).fetch(LIMIT), Err(WebError::Failed(_))));
        }
        let down = FakeServer::start(|_| Reply::Close);
        let url = down.url();
        drop(down);
        assert!(matches!(Web::new(&Reach::new(url)).unwrap().fetch(LIMIT), Err(WebError::Failed(_))));
    }

    #[test]
    fn header_fields_go_along_and_stay_out_of_sight() {
        let server = FakeServer::start(|request| Reply::Json(200, request.head.clone()));
        let headers = vec![("X-Key".to_owned(), Token::new("hidden"))];
        let url = server.url().replace("//", "//ann:s%3Acret@");
        let reach = Reach { headers, ..Reach::new(format!("{url}/hook?secret=1")) };
        assert!(!format!("{reach:?}").contains("hidden") && !format!("{reach:?}").contains("cret"));
        let web = Web::new(&reach).unwrap();
        assert_eq!(web.to_string(), server.url().trim_end_matches("/path"));
        let head = String::from_utf8(web.fetch(LIMIT).unwrap()).unwrap();
        assert!(head.starts_with("GET /path/hook?secret=1 "), "{head}");
        assert!(head.to_ascii_lowercase().contains("x-key: hidden"), "{head}");
        let basic = format!("Basic {}", STANDARD.encode("ann:s:cret"));
        assert!(head.contains(&basic), "{head}");
    }

    #[test]
    fn what_cannot_be_asked_is_refused_in_words() {
        let error = |reach: Reach| Web::new(&reach).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error(Reach::new("ftp://host/x")).contains("has an http or https URL"));
        assert!(error(Reach::new("http://user:pass word@host")).contains("malformed"));
        assert!(!error(Reach::new("ftp://user:pass@host/x?y")).contains("pass"));
        let ca = Reach { ca: Some(b"nothing".to_vec()), ..Reach::new("https://host/") };
        assert!(error(ca).contains("no certificate authority to trust"));
        for name in ["X Y", "content-length"] {
            let headers = vec![(name.to_owned(), Token::new("1"))];
            assert!(error(Reach { headers, ..Reach::new("http://host/") }).contains("no header field"));
        }
        let exposed = |url: &str| Web::new(&Reach::new(url)).unwrap().is_exposed();
        assert!(exposed("http://10.0.0.1/") && !exposed("http://[::1]:8/") && !exposed("http://127.0.0.1/"));
    }
}
