//! Where to connect, and as whom: asked for anew before each attempt.

use std::sync::Arc;

use mqway_transport::tls::{self, ClientSetup, Identity, Pem};
use mqway_transport::tunnel::{Proxy, Tunnel, proxy_from_environment};
use mqway_transport::url::Scheme;
use mqway_transport::{ClientOptions, Url, websocket};

use crate::authentication::{Authentication, Method};
use crate::error::ConnectError;

/// A server, and what it wants to know.
///
/// ```
/// use mqway_client::Endpoint;
///
/// let endpoint = Endpoint::new("wss://broker.example.com/mqtt").user("me", "secret").header("X-Tenant", "seven");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    url: String,
    user: Option<String>,
    password: Option<Secret>,
    headers: Vec<(String, Secret)>,
    subprotocols: Option<Vec<String>>,
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Secret)>,
    insecure: bool,
    alpn: Vec<String>,
    server_name: Option<String>,
    proxy: Option<String>,
    authentication: Option<Method>,
    /// A server that was named by another, to be used in place of the URL's.
    elsewhere: Option<String>,
}

/// Bytes that no log shows.
#[derive(Clone, Default)]
struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl Endpoint {
    /// A server by its URL: `tcp://`, `tls://`, `ws://`, `wss://`, `unix://`, or `host:port` for TCP. Credentials in
    /// the URL are used.
    pub fn new(url: impl Into<String>) -> Endpoint {
        Endpoint { url: url.into(), ..Endpoint::default() }
    }

    /// User name and password, in place of those in the URL.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<Vec<u8>>) -> Endpoint {
        self.user = Some(name.into());
        self.password = Some(Secret(password.into()));
        self
    }

    /// The user name alone, in place of the URL's.
    ///
    /// ```
    /// use mqway_client::Endpoint;
    ///
    /// let endpoint = Endpoint::new("tcp://broker.example.com").user_name("kitchen");
    /// ```
    pub fn user_name(mut self, name: impl Into<String>) -> Endpoint {
        self.user = Some(name.into());
        self
    }

    /// The password alone, in place of the URL's.
    ///
    /// ```
    /// use mqway_client::Endpoint;
    ///
    /// let endpoint = Endpoint::new("tcp://kitchen@broker.example.com").password("pa55word");
    /// assert!(!format!("{endpoint:?}").contains("pa55word"));
    /// ```
    pub fn password(mut self, password: impl Into<Vec<u8>>) -> Endpoint {
        self.password = Some(Secret(password.into()));
        self
    }

    /// A header field of the WebSocket's HTTP request.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Endpoint {
        self.headers.push((name.into(), Secret(value.into().into_bytes())));
        self
    }

    /// The WebSocket subprotocols to offer, in place of `mqtt`; none at all is possible.
    ///
    /// ```
    /// use mqway_client::Endpoint;
    ///
    /// let old = Endpoint::new("ws://broker.example.com").subprotocols(["mqttv3.1"]);
    /// let none = Endpoint::new("ws://broker.example.com").subprotocols([""; 0]);
    /// ```
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Endpoint {
        self.subprotocols = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The certificates (PEM) of the authorities to trust, in place of the system's.
    ///
    /// ```no_run
    /// # fn example() -> std::io::Result<()> {
    /// use mqway_client::Endpoint;
    ///
    /// let endpoint = Endpoint::new("tls://broker.example.com").ca(std::fs::read("our-ca.pem")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Endpoint {
        self.ca = Some(pem.into());
        self
    }

    /// Our own certificate chain and its private key (both PEM), for servers that ask for one.
    ///
    /// ```no_run
    /// # fn example() -> std::io::Result<()> {
    /// use mqway_client::Endpoint;
    ///
    /// let endpoint = Endpoint::new("tls://broker.example.com")
    ///     .certificate(std::fs::read("client.pem")?, std::fs::read("client.key")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn certificate(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Endpoint {
        self.identity = Some((chain.into(), Secret(key.into())));
        self
    }

    /// Believes whoever answers to be the server. Whoever is in between can read and change everything.
    ///
    /// ```
    /// use mqway_client::Endpoint;
    ///
    /// let endpoint = Endpoint::new("tls://localhost").insecure();
    /// ```
    pub fn insecure(mut self) -> Endpoint {
        self.insecure = true;
        self
    }

    /// The application protocols (ALPN) to offer in the TLS handshake; by default none.
    ///
    /// ```
    /// use mqway_client::Endpoint;
    ///
    /// let endpoint = Endpoint::new("tls://broker.example.com:443").alpn(["x-amzn-mqtt-ca"]);
    /// ```
    pub fn alpn(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Endpoint {
        self.alpn = names.into_iter().map(Into::into).collect();
        self
    }

    /// The name that the server's certificate must bear, in place of the URL's host.
    ///
    /// ```
    /// use mqway_client::Endpoint;
    ///
    /// let endpoint = Endpoint::new("tls://192.0.2.7").server_name("broker.example.com");
    /// ```
    pub fn server_name(mut self, name: impl Into<String>) -> Endpoint {
        self.server_name = Some(name.into());
        self
    }

    /// A method of enhanced authentication (5.0).
    ///
    /// ```
    /// use mqway_client::{Authentication, Endpoint};
    ///
    /// fn with(method: impl Authentication + 'static) -> Endpoint {
    ///     Endpoint::new("tls://broker.example.com").authentication(method)
    /// }
    /// ```
    pub fn authentication(mut self, method: impl Authentication + 'static) -> Endpoint {
        self.authentication = Some(Method(Arc::new(method)));
        self
    }

    /// Goes through this proxy, `http://host:port` or `socks5://host:port`, whatever the environment says; `none`
    /// means straight.
    ///
    /// ```
    /// use mqway_client::Endpoint;
    ///
    /// let endpoint = Endpoint::new("wss://broker.example.com/mqtt").proxy("socks5://me:secret@proxy.example.com:1080");
    /// let straight = Endpoint::new("wss://broker.example.com/mqtt").proxy("none");
    /// ```
    pub fn proxy(mut self, url: impl Into<String>) -> Endpoint {
        self.proxy = Some(url.into());
        self
    }

    /// Another server by its reference, a URL or `host:port`, for which everything else holds too.
    pub(crate) fn elsewhere(mut self, reference: &str) -> Endpoint {
        self.elsewhere = Some(reference.to_owned());
        self
    }

    fn server(&self) -> Result<Url, ConnectError> {
        let options = |error| ConnectError::Options(format!("{error}"));
        let url = Url::parse_lenient(&self.url).map_err(options)?;
        let Some(reference) = &self.elsewhere else {
            return Ok(url);
        };
        // The user did not write it: whatever is wrong with it, the next attempt may go elsewhere.
        let unusable = |why: &dyn std::fmt::Display| ConnectError::Redirect(format!("{reference:?}: {why}"));
        let named = if reference.contains("://") {
            Url::parse(reference).map_err(|error| unusable(&error))?
        } else {
            let same = format!("{}://{reference}", url.scheme.name());
            Url { path: url.path.clone(), ..Url::parse(&same).map_err(|error| unusable(&error))? }
        };
        if named.scheme == Scheme::Unix || url.scheme.is_tls() && !named.scheme.is_tls() {
            return Err(unusable(&"credentials would go there unprotected"));
        }
        Ok(Url { user: url.user, password: url.password, ..named })
    }

    /// Puts together what connecting needs.
    pub(crate) fn reach(&self) -> Result<Reach, ConnectError> {
        let url = self.server()?;
        let proxy = self.find_proxy(&url)?;
        let tunnel = proxy.map(|proxy| Tunnel { proxy, host: url.host.clone(), port: url.port });
        let tls = if url.scheme.is_tls() { Some(self.tls(&url)?) } else { None };
        let websocket = match url.scheme.is_websocket() {
            true => Some(Arc::new(self.websocket(&url)?)),
            false => None,
        };
        let user = self.user.clone().or_else(|| url.user.clone());
        let password = match (&self.password, &url.password) {
            (Some(Secret(password)), _) => Some(password.clone()),
            (None, Some(password)) => Some(password.expose().to_vec()),
            (None, None) => None,
        };
        let authentication = self.authentication.as_ref().map(|Method(method)| Arc::clone(method));
        let options = Arc::new(ClientOptions { tunnel, tls, websocket });
        Ok(Reach { options, url, user, password, authentication })
    }

    fn find_proxy(&self, url: &Url) -> Result<Option<Proxy>, ConnectError> {
        let options = |error| ConnectError::Options(format!("{error}"));
        match self.proxy.as_deref() {
            Some("none") => Ok(None),
            Some(_) | None if url.scheme == Scheme::Unix => Ok(None),
            Some(text) => Proxy::parse(text).map(Some).map_err(options),
            None => {
                let variable = |name: &str| std::env::var(name).ok();
                proxy_from_environment(variable, url.scheme, &url.host, url.port).map_err(options)
            }
        }
    }

    fn tls(
        &self,
        url: &Url,
    ) -> Result<(Arc<rustls::ClientConfig>, rustls::pki_types::ServerName<'static>), ConnectError> {
        let options = |error: &dyn std::fmt::Display| ConnectError::Options(format!("{url}: {error}"));
        let needs_system = self.ca.is_none() && !self.insecure;
        let system = if needs_system { rustls_native_certs::load_native_certs().certs } else { Vec::new() };
        let identity = self.identity.as_ref().map(|(chain, Secret(key))| Identity {
            chain: Pem { name: "the client certificate", bytes: chain },
            key: Pem { name: "the client's private key", bytes: key },
        });
        let setup = ClientSetup {
            roots: &system,
            ca: self.ca.iter().map(|bytes| Pem { name: "the authorities to trust", bytes }).collect(),
            identity,
            alpn: self.alpn.iter().map(|name| name.clone().into_bytes()).collect(),
            insecure: self.insecure,
            ..ClientSetup::default()
        };
        let name = tls::server_name(self.server_name.as_deref().unwrap_or(&url.host))
            .map_err(|error| options(&error))?;
        Ok((setup.build().map_err(|error| options(&error))?, name))
    }

    fn websocket(&self, url: &Url) -> Result<websocket::ClientOptions, ConnectError> {
        let options = |error| ConnectError::Options(format!("{url}: {error}"));
        let mut websocket =
            websocket::ClientOptions::new(&url.host, url.port, url.scheme.is_tls(), &url.path)
                .map_err(options)?;
        if let Some(names) = &self.subprotocols {
            websocket = websocket.subprotocols(names).map_err(options)?;
        }
        for (name, Secret(value)) in &self.headers {
            websocket = websocket.header(name, &String::from_utf8_lossy(value)).map_err(options)?;
        }
        Ok(websocket)
    }
}

/// All that one attempt to connect needs.
pub(crate) struct Reach {
    pub url: Url,
    pub options: Arc<ClientOptions>,
    pub user: Option<String>,
    pub password: Option<Vec<u8>>,
    pub authentication: Option<Arc<dyn Authentication>>,
}
