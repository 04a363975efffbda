//! A small web server with a JSON Web Key Set, as bad as one can be.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What it answers with.
#[derive(Clone)]
pub enum Answer {
    /// This status and body.
    Body(u16, String),
    /// Nothing, and the connection stays.
    Silence,
    /// A body that never ends.
    Endless,
    /// The end of the connection.
    Close,
}

impl Answer {
    pub fn keys<'a>(keys: impl IntoIterator<Item = &'a Value>) -> Answer {
        Answer::Body(200, json!({ "keys": keys.into_iter().collect::<Vec<_>>() }).to_string())
    }
}

/// Stops when it is dropped.
pub struct KeyServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Mutex<Answer>,
    requests: AtomicUsize,
    stopped: AtomicBool,
}

impl KeyServer {
    pub fn start(answer: Answer) -> KeyServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared { answer: Mutex::new(answer), requests: 0.into(), stopped: false.into() };
        let shared = Arc::new(shared);
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(stream));
            }
        });
        KeyServer { address, shared }
    }

    /// Where its keys are; a part of that is nobody else's business.
    pub fn url(&self) -> String {
        format!("http://{}/keys?pass=hidden-pass", self.address)
    }

    pub fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    /// How many requests have come.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes the thread that accepts
    }
}

impl Shared {
    /// Answers one request.
    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while !line.trim().is_empty() || line.is_empty() {
            line.clear();
            if !matches!(reader.read_line(&mut line), Ok(1..)) {
                return;
            }
        }
        self.requests.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().unwrap().clone();
        match answer {
            Answer::Body(status, body) => {
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                     Connection: close\r\n\r\n"
                );
                let _ = stream.write_all((head + &body).as_bytes());
            }
            Answer::Silence => {
                while !self.stopped.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(50));
                }
            }
            Answer::Endless => {
                let _ = stream.write_all(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n");
                let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
                while stream.write_all(chunk.as_bytes()).is_ok() && !self.stopped.load(Ordering::SeqCst) {}
            }
            Answer::Close => {}
        }
    }
}
