//! A web server for tests, as bad as one can be.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// What it was asked.
pub struct Request {
    pub head: String,
    pub body: String,
}

/// What it does then.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers with this status and body.
    Json(u16, String),
    /// Sends elsewhere.
    Redirect(String),
    /// Sends a body that has no end.
    Endless,
    /// Sends header fields that have no end.
    EndlessHead,
    /// Sends one header field that has no end.
    EndlessLine,
    /// Sends a byte now and then.
    Drip,
    /// Says nothing, and keeps the connection.
    Silence,
    /// Speaks another protocol.
    Nonsense,
    /// Closes the connection.
    Close,
}

/// Stops when it is dropped.
pub struct FakeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    requests: AtomicUsize,
}

impl FakeServer {
    pub fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> FakeServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (shared, reply) = (Arc::new(Shared::default()), Arc::new(reply));
        let accepting = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (reply, shared) = (reply.clone(), accepting.clone());
                thread::spawn(move || serve(&stream, &*reply, &shared));
            }
        });
        FakeServer { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}/path", self.address)
    }

    /// How many requests have come.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // Wakes the thread that accepts.
    }
}

fn serve(stream: &TcpStream, reply: &dyn Fn(&Request) -> Reply, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while !shared.stopped.load(Ordering::SeqCst) {
        let Some(request) = read(&mut reader) else { return };
        shared.requests.fetch_add(1, Ordering::SeqCst);
        if answer(stream, &reply(&request), shared).is_none() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
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
    Some(Request { head, body: String::from_utf8(body).unwrap() })
}

/// `None` if the connection is done for.
fn answer(mut stream: &TcpStream, reply: &Reply, shared: &Shared) -> Option<()> {
    let running = || !shared.stopped.load(Ordering::SeqCst);
    match reply {
        Reply::Json(status, body) => {
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()
        }
        Reply::Redirect(to) => {
            write!(stream, "HTTP/1.1 302 X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").ok()
        }
        Reply::Endless => {
            write!(stream, "HTTP/1.1 200 X\r\nContent-Length: 1073741824\r\n\r\n").ok()?;
            while running() {
                stream.write_all(&[b' '; 16 * 1024]).ok()?;
            }
            None
        }
        Reply::EndlessHead | Reply::EndlessLine => {
            let more: &[u8] = if matches!(reply, Reply::EndlessHead) { b"X: y\r\n" } else { b"xxxxxx" };
            write!(stream, "HTTP/1.1 200 X\r\nX-").ok()?;
            while running() {
                stream.write_all(&more.repeat(1_000)).ok()?;
            }
            None
        }
        Reply::Drip => {
            write!(stream, "HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n").ok()?;
            while running() {
                stream.write_all(b" ").ok()?;
                thread::sleep(Duration::from_millis(20));
            }
            None
        }
        Reply::Silence => {
            while running() {
                thread::sleep(Duration::from_millis(20));
            }
            None
        }
        Reply::Nonsense => {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n");
            None
        }
        Reply::Close => None,
    }
}
