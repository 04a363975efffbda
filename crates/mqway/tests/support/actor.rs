//! Client libraries that do what a test tells them, step by step: paho in Python, MQTT.js in Node and in a page of a
//! browser. What they do and see is in `tests/clients/act_paho.py` and `act.js`.

use super::certificates::Certificates;
use super::process::{Lines, Program};
use super::{SOON, real, root};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// One of them, with any number of clients.
pub struct Actor {
    program: Program,
    events: Lines,
    /// For a page; others read stdin.
    commands: Option<Sender<String>>,
    stage: Option<Arc<Stage>>,
    /// The browser's profile.
    _profile: Option<TempDir>,
}

impl Actor {
    pub fn paho() -> Actor {
        let mut command = Command::new(real().join("venv/bin/python"));
        command.arg("-u").arg(root().join("tests/clients/act_paho.py"));
        Actor::on_stdin(command)
    }

    pub fn mqttjs() -> Actor {
        let mut command = Command::new("node");
        command.arg(root().join("tests/clients/act.js"));
        command.env("MQTTJS", real().join("node/node_modules/mqtt"));
        Actor::on_stdin(command)
    }

    fn on_stdin(command: Command) -> Actor {
        let program = Program::start(command);
        Actor { events: program.stdout.clone(), program, commands: None, stage: None, _profile: None }
    }

    /// A page with MQTT.js in a headless Chromium.
    pub fn page() -> Actor {
        let (to_page, commands) = channel();
        let events = Lines::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let url = format!("{origin}/");
        let commands = Mutex::new(commands);
        let stage = Arc::new(Stage { origin, events: events.clone(), commands, behind: Mutex::default() });
        let serving = Arc::clone(&stage);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let stage = Arc::clone(&serving);
                thread::spawn(move || stage.greet(stream));
            }
        });
        let profile = TempDir::with_prefix("mqway-chromium-").unwrap();
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.arg("--ignore-certificate-errors"); // authorities of tests are nobody's
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg(url);
        for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        let program = Program::start(command);
        let (commands, stage) = (Some(to_page), Some(stage));
        let mut page = Actor { program, events, commands, stage, _profile: Some(profile) };
        page.expect(|event| event["is"] == "ready", "the page is loaded");
        page
    }

    /// The origin of a page.
    pub fn origin(&self) -> &str {
        &self.stage.as_ref().expect("a page").origin
    }

    /// Has WebSockets of a page to its own origin served by the listener at this address, as behind a reverse proxy.
    pub fn put_behind(&self, listener: SocketAddr) {
        *self.stage.as_ref().expect("a page").behind.lock().unwrap() = Some(listener);
    }

    /// Moves a page to https, where its origin is another, and cookies may be secure. Its clients are gone with the old one.
    pub fn move_to_https(&mut self, certificates: &Certificates) -> String {
        let chain = CertificateDer::pem_file_iter(certificates.file("server.pem")).unwrap();
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(certificates.file("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let origin = format!("https://{}", listener.local_addr().unwrap());
        let stage = Arc::clone(self.stage.as_ref().expect("a page"));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (stage, config) = (Arc::clone(&stage), Arc::clone(&config));
                thread::spawn(move || {
                    let connection = ServerConnection::new(config).unwrap();
                    stage.serve(&mut BufReader::new(StreamOwned::new(connection, stream)));
                });
            }
        });
        self.act("go", "page", json!({ "url": format!("{origin}/") }));
        self.expect(|event| event["is"] == "ready" && event["origin"] == *origin, "the page has moved");
        origin
    }

    /// Has a client do something: `connect`, `subscribe`, `publish`, `cut` or `end`; a page, too, sets a `cookie`.
    pub fn act(&mut self, act: &str, name: &str, mut with: Value) {
        with["act"] = act.into();
        with["name"] = name.into();
        match &self.commands {
            Some(page) => page.send(with.to_string()).unwrap(),
            None => self.program.write_line(&with.to_string()),
        }
    }

    /// Connects a client. Whether its session was there.
    pub fn connect(&mut self, name: &str, url: &str, version: &str, clean: bool, will: Value) -> bool {
        let before = self.seen(name, "connected").len();
        self.act("connect", name, json!({ "url": url, "version": version, "clean": clean, "will": will }));
        self.wait_for(name, "connected", before + 1)[before]["present"] == true
    }

    /// Subscribes a client, which must be granted just that QoS.
    pub fn subscribe(&mut self, name: &str, filter: &str, qos: u8) {
        let before = self.seen(name, "subscribed").len();
        self.act("subscribe", name, json!({ "filter": filter, "qos": qos }));
        let granted = &self.wait_for(name, "subscribed", before + 1)[before];
        assert_eq!(granted["qos"], qos, "{name} at {filter}: {granted}");
    }

    /// Publishes, and waits until that is acknowledged.
    pub fn publish(&mut self, name: &str, topic: &str, payload: &str, qos: u8, retain: bool) {
        let before = self.seen(name, "published").len();
        let message = json!({ "topic": topic, "payload": payload, "qos": qos, "retain": retain });
        self.act("publish", name, message);
        self.wait_for(name, "published", before + 1);
    }

    pub fn end(&mut self, name: &str) {
        let before = self.seen(name, "ended").len();
        self.act("end", name, json!({}));
        self.wait_for(name, "ended", before + 1);
    }

    /// What a client has seen so far of one kind.
    pub fn seen(&self, name: &str, kind: &str) -> Vec<Value> {
        of_kind(&self.events.all(), name, kind)
    }

    /// Waits for so many events of one kind.
    pub fn wait_for(&mut self, name: &str, kind: &str, count: usize) -> Vec<Value> {
        let events = self.events.wait(SOON * 3, |lines| {
            let events = of_kind(lines, name, kind);
            (events.len() >= count).then_some(events)
        });
        events.unwrap_or_else(|| panic!("{name}: {count} times {kind}: {:#?}", self.events.all()))
    }

    /// The messages that a client has, once they are so many: topic, payload, QoS, and whether they were retained.
    pub fn messages(&mut self, name: &str, count: usize) -> Vec<(String, String, u64, bool)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let messages = self.wait_for(name, "message", count);
        let message =
            |m: &Value| (text(&m["topic"]), text(&m["payload"]), m["qos"].as_u64(), m["retain"] == true);
        let read =
            |(topic, payload, qos, retain): (_, _, Option<u64>, _)| (topic, payload, qos.unwrap(), retain);
        messages.iter().map(message).map(read).collect()
    }

    fn expect(&mut self, is: impl Fn(&Value) -> bool, what: &str) {
        let found = self.events.wait(SOON * 3, |lines| lines.iter().filter_map(|l| event(l)).find(|e| is(e)));
        assert!(found.is_some(), "{what}: {:#?} {:#?}", self.events.all(), self.program.stderr.all());
    }
}

fn event(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}

fn of_kind(lines: &[String], name: &str, kind: &str) -> Vec<Value> {
    lines.iter().filter_map(|line| event(line)).filter(|e| e["name"] == name && e["is"] == kind).collect()
}

/// What a page is served: itself, commands, and an ear for its events.
struct Stage {
    origin: String,
    events: Lines,
    commands: Mutex<Receiver<String>>,
    /// Where WebSockets go.
    behind: Mutex<Option<SocketAddr>>,
}

impl Stage {
    /// Answers one request, or passes a WebSocket on to where it goes.
    fn greet(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        if let Some(head) = self.serve(&mut reader) {
            let behind = self.behind.lock().unwrap().expect("nobody is behind this page");
            relay(reader.into_inner(), behind, &head);
        }
    }

    /// Answers one request of HTTP; the head of one that is to become a WebSocket.
    fn serve<S: Read + Write>(&self, reader: &mut BufReader<S>) -> Option<String> {
        let (mut head, mut length, mut upgrades) = (String::new(), 0, false);
        while !head.ends_with("\r\n\r\n") {
            let begun = head.len();
            if !matches!(reader.read_line(&mut head), Ok(1..)) {
                return None;
            }
            let lower = head[begun..].to_ascii_lowercase();
            upgrades |= lower.trim() == "upgrade: websocket";
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        if upgrades {
            return Some(head);
        }
        let request = head.lines().next().unwrap_or_default().to_owned();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (kind, answer) = self.answer(&request, body);
        let status = if kind.is_empty() { "204 No Content" } else { "200 OK" };
        let length = answer.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let stream = reader.get_mut();
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&answer));
        let _ = stream.flush();
        None
    }

    /// The type of the answer, which is empty if there is none, and the answer.
    fn answer(&self, request: &str, body: Vec<u8>) -> (&'static str, Vec<u8>) {
        let clients = root().join("tests/clients");
        match request.split(' ').nth(1).unwrap_or_default() {
            "/" => ("text/html", fs::read(clients.join("page.html")).unwrap()),
            "/act.js" => ("text/javascript", fs::read(clients.join("act.js")).unwrap()),
            "/mqtt.js" => {
                let bundle = real().join("node/node_modules/mqtt/dist/mqtt.min.js");
                ("text/javascript", fs::read(bundle).unwrap())
            }
            "/next" => match self.commands.lock().unwrap().recv_timeout(Duration::from_secs(20)) {
                Ok(command) => ("application/json", command.into_bytes()),
                Err(_) => ("", Vec::new()),
            },
            _ => {
                self.events.push(String::from_utf8(body).unwrap());
                ("", Vec::new())
            }
        }
    }
}

/// Passes everything on between a page and a server, beginning with a request.
fn relay(mut page: TcpStream, server: SocketAddr, request: &str) {
    let mut server = super::dial_tcp(server);
    server.set_read_timeout(None).unwrap();
    server.write_all(request.as_bytes()).unwrap();
    let (mut from_page, mut to_server) = (page.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_page, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut server, &mut page);
    let _ = page.shutdown(Shutdown::Both);
}
