//! A web service that a test plays: what it was sent, in order, and an answer to each.

use super::Stream;
use super::certificates::Certificates;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What it does with a request.
pub enum Reply {
    /// Answers with this status and JSON, and keeps the connection.
    Json(u16, Value),
    /// Sends these bytes, and closes.
    Bytes(Vec<u8>),
    /// Sends the first, and then the second for as long as anybody listens.
    Endless(&'static [u8], &'static [u8]),
}

/// Status 200, with this.
pub fn says(json: Value) -> Reply {
    Reply::Json(200, json)
}

/// Listens on a free port until it is dropped; each connection has a thread.
pub struct WebService {
    scheme: &'static str,
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    stop: AtomicBool,
    heads: Mutex<Vec<String>>,
    bodies: Mutex<Vec<Value>>,
}

impl WebService {
    /// `answer` is given the JSON of each request. It may take its time, which holds up nobody else.
    pub fn start(answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> WebService {
        WebService::with("http", |stream| Box::new(stream), answer)
    }

    /// One with TLS.
    pub fn secure(
        certificates: &Certificates,
        answer: impl Fn(&Value) -> Reply + Send + Sync + 'static,
    ) -> WebService {
        let chain = CertificateDer::pem_file_iter(certificates.file("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(certificates.file("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        let config = Arc::new(config);
        let wrap = move |stream| -> Box<dyn Stream> {
            Box::new(StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream))
        };
        WebService::with("https", wrap, answer)
    }

    fn with(
        scheme: &'static str,
        wrap: impl Fn(TcpStream) -> Box<dyn Stream> + Send + 'static,
        answer: impl Fn(&Value) -> Reply + Send + Sync + 'static,
    ) -> WebService {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Shared { stop: AtomicBool::new(false), heads: Mutex::default(), bodies: Mutex::default() };
        let (shared, answer) = (Arc::new(shared), Arc::new(answer));
        let service = WebService { scheme, address, shared: shared.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stop.load(Ordering::Relaxed) {
                    break;
                }
                let mut stream = wrap(stream);
                let (answer, shared) = (answer.clone(), shared.clone());
                thread::spawn(move || while serve(&mut *stream, &*answer, &shared).is_some() {});
            }
        });
        service
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// What it was sent so far.
    pub fn asked(&self) -> Vec<Value> {
        self.shared.bodies.lock().unwrap().clone()
    }

    /// How many requests have come.
    pub fn count(&self) -> usize {
        self.shared.bodies.lock().unwrap().len()
    }

    /// The request lines and header fields so far.
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap().clone()
    }
}

impl Drop for WebService {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address); // wakes the listener
    }
}

/// One request and its answer; `None` at the end of the connection.
fn serve(stream: &mut dyn Stream, answer: &dyn Fn(&Value) -> Reply, shared: &Shared) -> Option<()> {
    let (head, body) = request(&mut BufReader::new(&mut *stream))?;
    if shared.stop.load(Ordering::Relaxed) {
        return None;
    }
    let body: Value = serde_json::from_slice(&body).expect("JSON is what is sent");
    shared.heads.lock().unwrap().push(head);
    shared.bodies.lock().unwrap().push(body.clone());
    match answer(&body) {
        Reply::Json(status, json) => {
            let json = json.to_string();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", json.len());
            stream.write_all(&[head.as_bytes(), json.as_bytes()].concat()).ok()
        }
        Reply::Bytes(bytes) => {
            let _ = stream.write_all(&bytes);
            None
        }
        Reply::Endless(first, more) => {
            let more = more.repeat(64 * 1024 / more.len());
            stream.write_all(first).ok()?;
            while !shared.stop.load(Ordering::Relaxed) {
                stream.write_all(&more).ok()?;
            }
            None
        }
    }
}

/// Clients send one request after the other, so that nothing of the next can be in the buffer.
fn request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}
