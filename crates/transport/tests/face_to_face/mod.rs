//! Two stacks connected in memory, with what may stand between them, and an authority that signs certificates.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use mqway_transport::facts::Facts;
use mqway_transport::tls::{ClientSetup, Identity, Pem, ServerSetup, server_name};
use mqway_transport::tunnel::{Proxy, ProxyKind, Tunnel};
use mqway_transport::{ClientOptions, Error, ServerOptions, Stack, Stage, websocket};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::UnixTime;

/// One end, with everything it was told and wants to tell.
pub struct Side {
    pub stack: Stack,
    pub data: Vec<u8>,
    pub opened: bool,
    pub ended: bool,
    pub error: Option<Error>,
    pub plain: Vec<u8>,
    pub wire: Vec<u8>,
    pub facts: Option<Box<Facts>>,
}

impl Side {
    pub fn server(options: &ServerOptions) -> Side {
        let peer = "10.0.0.9:5000".parse().unwrap();
        Side::new(Stack::server(&Arc::new(options.clone()), Some(peer)), Vec::new())
    }

    pub fn client(options: &ClientOptions) -> Side {
        let mut plain = Vec::new();
        let stack = Stack::client(&Arc::new(options.clone()), &mut plain).unwrap();
        Side::new(stack, plain)
    }

    fn new(stack: Stack, plain: Vec<u8>) -> Side {
        let opened = stack.stage() == Stage::Open;
        let mut side = Side {
            stack,
            data: Vec::new(),
            opened,
            ended: false,
            error: None,
            plain,
            wire: Vec::new(),
            facts: None,
        };
        side.flush();
        side
    }

    /// What a shell does at the end of a tick.
    pub fn flush(&mut self) {
        if !self.stack.must_seal() {
            self.wire.append(&mut self.plain);
        } else if let Err(error) = self.stack.seal(&mut self.plain, &mut self.wire) {
            self.error.get_or_insert(error);
        }
    }

    /// What a shell does with bytes it has read.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.error.is_some() {
            return;
        }
        let mut input = bytes.to_vec();
        let front = input.as_ptr().addr();
        let mut scratch = b"left from another connection".to_vec();
        match self.stack.receive(&mut input, &mut scratch, &mut self.plain) {
            Ok(received) => {
                if !self.stack.must_seal() && !received.data.is_empty() {
                    assert_eq!(received.data.as_ptr().addr() - front, received.offset);
                }
                assert!(!self.ended || received.data.is_empty(), "data after the end");
                self.data.extend_from_slice(received.data);
                assert!(!(self.opened && received.opened), "opened once");
                self.opened |= received.opened;
                self.ended |= received.ended;
                self.error = received.failed;
            }
            Err(error) => self.error = Some(error),
        }
        if self.opened && self.facts.is_none() {
            self.facts = self.stack.take_facts();
        }
        self.flush();
    }

    pub fn send(&mut self, packet: &[u8]) {
        self.stack.send(packet, &mut self.plain);
        self.flush();
    }

    pub fn close(&mut self) {
        self.stack.close(websocket::CloseCode::NORMAL, &mut self.plain);
        self.flush();
    }

    pub fn error(&self) -> String {
        self.error.as_ref().map_or_else(String::new, ToString::to_string)
    }
}

/// Carries bytes between a client and a server, in pieces of the sizes in `sizes`, over and over, until silence.
pub fn exchange(client: &mut Side, server: &mut Side, between: &mut Between, sizes: &[usize]) {
    let mut sizes = sizes.iter().copied().cycle();
    loop {
        let to_server = std::mem::take(&mut client.wire);
        let mut to_client = Vec::new();
        let to_server = between.pass(to_server, &mut to_client);
        to_client.append(&mut server.wire);
        if to_server.is_empty() && to_client.is_empty() {
            return;
        }
        feed(server, &to_server, &mut sizes);
        feed(client, &to_client, &mut sizes);
    }
}

fn feed(side: &mut Side, mut bytes: &[u8], sizes: &mut impl Iterator<Item = usize>) {
    while !bytes.is_empty() {
        let size = sizes.next().unwrap().clamp(1, bytes.len());
        let (piece, rest) = bytes.split_at(size);
        side.receive(piece);
        bytes = rest;
    }
}

/// What is on the way: a proxy that is asked for a tunnel, a load balancer that says who connects.
#[derive(Default)]
pub struct Between {
    /// Answers to give, each with what must be asked before.
    pub script: Vec<(Vec<u8>, Vec<u8>)>,
    pub asked: Vec<u8>,
    /// Sent to the server before anything else.
    pub preface: Vec<u8>,
}

impl Between {
    pub fn nothing() -> Between {
        Between::default()
    }

    fn pass(&mut self, mut bytes: Vec<u8>, answers: &mut Vec<u8>) -> Vec<u8> {
        self.asked.append(&mut bytes);
        while let Some((question, answer)) = self.script.first() {
            if self.asked.len() < question.len() {
                return Vec::new();
            }
            assert_eq!(
                self.asked[..question.len()].escape_ascii().to_string(),
                question.escape_ascii().to_string()
            );
            self.asked.drain(..question.len());
            answers.extend(answer);
            self.script.remove(0);
        }
        let mut through = std::mem::take(&mut self.asked);
        if !through.is_empty() && !self.preface.is_empty() {
            through.splice(0..0, self.preface.drain(..));
        }
        through
    }
}

pub fn http_tunnel(options: &mut ClientOptions, between: &mut Between) {
    options.tunnel = Some(tunnel(ProxyKind::HttpConnect));
    let question = "CONNECT broker.test:8883 HTTP/1.1\r\nHost: broker.test:8883\r\n\
                    Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n";
    between.script = vec![(question.into(), b"HTTP/1.1 200 OK\r\nVia: proxy\r\n\r\n".to_vec())];
}

pub fn socks_tunnel(options: &mut ClientOptions, between: &mut Between) {
    options.tunnel = Some(tunnel(ProxyKind::Socks5));
    between.script = vec![
        (b"\x05\x02\x00\x02".to_vec(), b"\x05\x02".to_vec()),
        (b"\x01\x04user\x04pass".to_vec(), b"\x01\x00".to_vec()),
        (
            b"\x05\x01\x00\x03\x0bbroker.test\x22\xb3".to_vec(),
            b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec(),
        ),
    ];
}

fn tunnel(kind: ProxyKind) -> Tunnel {
    let credentials = Some(("user".to_owned(), mqway_transport::url::Secret::new("pass")));
    let proxy = Proxy { kind, host: "proxy.test".into(), port: 3128, credentials };
    Tunnel { proxy, host: "broker.test".into(), port: 8883 }
}

/// A certificate authority.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub struct Signed {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    pub fn sign(&self, name: &str) -> Signed {
        self.sign_with(name, |_| {})
    }

    pub fn sign_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.serial_number = Some(7u64.into());
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// A revocation list that names these serial numbers.
    pub fn revoke(&self, serials: &[u64], next_update: i32) -> String {
        let revoked = |serial: &u64| rcgen::RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: rcgen::date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 1, 1),
            next_update: rcgen::date_time_ymd(next_update, 1, 1),
            crl_number: 1u64.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    pub fn ca(&self) -> Vec<Pem<'_>> {
        vec![pem("ca.pem", &self.pem)]
    }
}

impl Signed {
    pub fn identity(&self) -> Identity<'_> {
        Identity { chain: pem("cert.pem", &self.chain), key: pem("key.pem", &self.key) }
    }

    /// A listener with this certificate, on a day in June 2030.
    pub fn server(&self) -> ServerSetup<'_> {
        ServerSetup { clock: Some(Arc::new(June2030)), ..ServerSetup::new(self.identity()) }
    }
}

pub fn pem<'a>(name: &'a str, text: &'a str) -> Pem<'a> {
    Pem { name, bytes: text.as_bytes() }
}

/// A client that trusts this authority, on a day in June 2030.
pub fn trusting(authority: &Authority) -> ClientSetup<'_> {
    ClientSetup { ca: authority.ca(), clock: Some(Arc::new(June2030)), ..ClientSetup::default() }
}

#[derive(Debug)]
pub struct June2030;

impl rustls::time_provider::TimeProvider for June2030 {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(1_906_500_000)))
    }
}

/// TLS options of both sides, for `broker.test`.
pub fn with_tls(server: &ServerSetup<'_>, client: &ClientSetup<'_>) -> (ServerOptions, ClientOptions) {
    let server = ServerOptions { tls: Some(server.build().unwrap()), ..ServerOptions::default() };
    let name = server_name("broker.test").unwrap();
    let client = ClientOptions { tls: Some((client.build().unwrap(), name)), ..ClientOptions::default() };
    (server, client)
}

/// Adds WebSocket to both sides.
pub fn with_websocket(server: &mut ServerOptions, client: &mut ClientOptions) {
    let secure = client.tls.is_some();
    let options = websocket::ClientOptions::new("broker.test", 8883, secure, "/mqtt?token=x").unwrap();
    client.websocket = Some(Arc::new(options));
    server.websocket = Some(Arc::new(websocket::ServerOptions::default()));
}
