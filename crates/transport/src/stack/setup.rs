//! The handshakes of a [`Stack`], one after the other.

use std::sync::Arc;

use super::{ClientOptions, Gate, ServerOptions, Stack, Stage};
use crate::error::{Blame, Error, ErrorKind};
use crate::facts::Facts;
use crate::forwarded;
use crate::proxy_protocol::{self, Header};
use crate::tls::Layer;
use crate::tunnel::{self, TunnelError};
use crate::websocket::{ClientHandshake, Connection, HandshakeError, Refused, ServerHandshake};

/// What the handshakes need. There is one as long as they last.
#[derive(Debug)]
pub(super) struct Setup {
    options: Options,
    current: Handshake,
}

#[derive(Clone, Debug)]
enum Options {
    Server(Arc<ServerOptions>),
    Client(Arc<ClientOptions>),
}

/// The handshake that runs, if it is one with a state of its own.
#[derive(Debug)]
enum Handshake {
    ProxyProtocol(proxy_protocol::Parser),
    Tunnel(tunnel::Handshake),
    /// rustls has its state.
    Tls,
    HttpServer(ServerHandshake),
    HttpClient(ClientHandshake),
}

impl Setup {
    /// Last words to a client that was too slow.
    pub(super) fn say_timed_out(&self, plain: &mut Vec<u8>) {
        if let Handshake::HttpServer(handshake) = &self.current {
            handshake.timed_out(plain);
        }
    }

    /// What there is to say about a peer that closes now, if more than the stage.
    pub(super) fn closed_early(&self) -> Option<String> {
        match &self.current {
            Handshake::HttpClient(handshake) => Some(handshake.closed().to_string()),
            _ => None,
        }
    }
}

impl Stack {
    pub(super) fn start_server(&mut self, options: &Arc<ServerOptions>) {
        let options_held = Options::Server(options.clone());
        if options.proxy_protocol {
            let parser = proxy_protocol::Parser::default();
            self.enter(Stage::ProxyProtocol, options_held, Handshake::ProxyProtocol(parser));
        } else if options.tls.is_some() {
            // rustls begins with the client's first bytes: until then a connection costs next to nothing.
            self.enter(Stage::Tls, options_held, Handshake::Tls);
        } else {
            self.start_http_server(options);
        }
    }

    pub(super) fn start_client(
        &mut self,
        options: &Arc<ClientOptions>,
        plain: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let Some(tunnel) = &options.tunnel else { return self.start_client_tls(options, plain) };
        self.stage = Stage::Tunnel;
        let handshake = tunnel::Handshake::start(tunnel, plain).map_err(|error| self.tunnel_error(&error))?;
        self.enter(Stage::Tunnel, Options::Client(options.clone()), Handshake::Tunnel(handshake));
        Ok(())
    }

    /// Takes the bytes of the handshakes below TLS from the front of `input`; tells how many.
    pub(super) fn feed_outer_handshake(&mut self, input: &[u8], plain: &mut Vec<u8>) -> Result<usize, Error> {
        let Some(setup) = &mut self.setup else { return Ok(0) };
        match (&mut setup.current, &setup.options) {
            (Handshake::ProxyProtocol(parser), Options::Server(options)) => {
                let options = options.clone();
                let (used, header) = parser.feed(input).map_err(|malformed| {
                    self.error(Blame::Peer, ErrorKind::ProxyProtocol, format!("PROXY protocol: {malformed}"))
                })?;
                if let Some(header) = header {
                    self.believe(header);
                    self.after_proxy_protocol(&options);
                }
                self.begin_server_tls(input.len() > used)?;
                Ok(used)
            }
            (Handshake::Tunnel(handshake), Options::Client(options)) => {
                let options = options.clone();
                let (used, open) = handshake.feed(input, plain).map_err(|error| self.tunnel_error(&error))?;
                if open {
                    self.start_client_tls(&options, plain)?;
                }
                Ok(used)
            }
            _ => self.begin_server_tls(!input.is_empty()).map(|()| 0),
        }
    }

    fn believe(&mut self, header: Header) {
        if let Header::Proxied { source, .. } = header {
            self.facts_mut().peer = Some(source);
        }
    }

    fn after_proxy_protocol(&mut self, options: &Arc<ServerOptions>) {
        match options.tls {
            Some(_) => self.enter(Stage::Tls, Options::Server(options.clone()), Handshake::Tls),
            None => self.start_http_server(options),
        }
    }

    /// Makes the TLS layer of the server side once there are bytes for it.
    fn begin_server_tls(&mut self, bytes_there: bool) -> Result<(), Error> {
        if self.stage != Stage::Tls || self.tls.is_some() || !bytes_there {
            return Ok(());
        }
        if let Some(Setup { options: Options::Server(options), .. }) = self.setup.as_deref()
            && let Some(config) = &options.tls
        {
            let layer = Layer::server(config.clone()).map_err(|error| self.tls_error(&error))?;
            self.tls = Some(Box::new(layer));
        }
        Ok(())
    }

    fn start_client_tls(&mut self, options: &Arc<ClientOptions>, plain: &mut Vec<u8>) -> Result<(), Error> {
        let Some((config, name)) = &options.tls else { return self.start_http_client(options, plain) };
        self.enter(Stage::Tls, Options::Client(options.clone()), Handshake::Tls);
        let layer = Layer::client(config.clone(), name.clone()).map_err(|error| self.tls_error(&error))?;
        self.tls = Some(Box::new(layer));
        Ok(())
    }

    /// The TLS handshake is over.
    pub(super) fn tls_opened(&mut self, plain: &mut Vec<u8>) -> Result<(), Error> {
        let facts = self.tls.as_ref().map(|tls| tls.facts());
        self.facts_mut().tls = facts;
        match self.setup.as_ref().map(|setup| setup.options.clone()) {
            Some(Options::Server(options)) => self.start_http_server(&options),
            Some(Options::Client(options)) => self.start_http_client(&options, plain)?,
            None => {}
        }
        Ok(())
    }

    fn start_http_server(&mut self, options: &Arc<ServerOptions>) {
        match &options.websocket {
            Some(websocket) => {
                let handshake = ServerHandshake::new(websocket.clone());
                self.enter(Stage::Http, Options::Server(options.clone()), Handshake::HttpServer(handshake));
            }
            None => self.open(),
        }
    }

    fn start_http_client(&mut self, options: &Arc<ClientOptions>, plain: &mut Vec<u8>) -> Result<(), Error> {
        let Some(websocket) = &options.websocket else {
            self.open();
            return Ok(());
        };
        self.stage = Stage::Http;
        let handshake =
            ClientHandshake::start(websocket.clone(), plain).map_err(|error| self.http_error(&error))?;
        self.enter(Stage::Http, Options::Client(options.clone()), Handshake::HttpClient(handshake));
        Ok(())
    }

    /// Takes the bytes of the WebSocket handshake from the front of `input`; tells how many.
    pub(super) fn feed_http(&mut self, input: &[u8], plain: &mut Vec<u8>) -> Result<usize, Error> {
        let Some(setup) = &mut self.setup else { return Ok(0) };
        match (&mut setup.current, &setup.options) {
            (Handshake::HttpServer(handshake), Options::Server(options)) => {
                let options = options.clone();
                let unanswered = plain.len();
                let accepted = handshake.feed(input, plain).map_err(|refused| self.refused(&refused))?;
                let Some(accepted) = accepted else { return Ok(input.len()) };
                self.facts_mut().http = Some(accepted.facts);
                self.believe_forwarders(&options);
                if let (Some(Gate(judge)), Some(facts)) = (&options.gate, &self.facts)
                    && let Err(refused) = judge(facts)
                {
                    plain.truncate(unanswered);
                    refused.write(plain);
                    return Err(self.refused(&refused));
                }
                self.http_opened(accepted.connection);
                Ok(accepted.consumed)
            }
            (Handshake::HttpClient(handshake), _) => {
                let connected = handshake.feed(input).map_err(|error| self.http_error(&error))?;
                let Some(connected) = connected else { return Ok(input.len()) };
                self.facts_mut().http = Some(connected.facts);
                self.http_opened(connected.connection);
                Ok(connected.consumed)
            }
            _ => Ok(0),
        }
    }

    fn http_opened(&mut self, connection: Connection) {
        self.websocket = Some(Box::new(connection));
        self.open();
    }

    /// Replaces the peer's address by the one in the header fields, as far as they can be believed.
    fn believe_forwarders(&mut self, options: &ServerOptions) {
        let Some(facts) = &mut self.facts else { return };
        let (Some(peer), Some(http)) = (facts.peer, &facts.http) else { return };
        let fields = http.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        if let Some(client) = forwarded::client_address(fields, peer, &options.trusted_forwarders) {
            facts.peer = Some(client);
        }
    }

    fn enter(&mut self, stage: Stage, options: Options, current: Handshake) {
        self.stage = stage;
        self.setup = Some(Box::new(Setup { options, current }));
    }

    fn open(&mut self) {
        self.stage = Stage::Open;
        self.setup = None;
    }

    fn facts_mut(&mut self) -> &mut Facts {
        self.facts.get_or_insert_default()
    }

    fn tunnel_error(&self, error: &TunnelError) -> Error {
        let blame = match error {
            TunnelError::Unaskable(_) => Blame::Local,
            TunnelError::Refused(_) | TunnelError::Nonsense(_) => Blame::Peer,
        };
        self.error(blame, ErrorKind::Tunnel, error.to_string())
    }

    fn refused(&self, refused: &Refused) -> Error {
        self.error(Blame::Peer, ErrorKind::Handshake, format!("WebSocket: {refused}"))
    }

    fn http_error(&self, error: &HandshakeError) -> Error {
        let blame = match error {
            HandshakeError::NoRandomness => Blame::Local,
            _ => Blame::Peer,
        };
        self.error(blame, ErrorKind::Handshake, error.to_string())
    }
}
