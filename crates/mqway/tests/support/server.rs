//! A server that plays a script, for what no real one would do.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::SOON;
use super::packets::{self, Level};

/// Listens on a free port; each connection is played on a thread of its own until the script returns.
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    pub fn start(script: impl Fn(TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicUsize::new(0));
        let (stopped, count, script) = (Arc::clone(&stop), Arc::clone(&accepted), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.set_read_timeout(Some(SOON));
                let _ = stream.set_write_timeout(Some(SOON));
                let script = Arc::clone(&script);
                thread::spawn(move || script(stream));
            }
        });
        Server { address, stop, accepted }
    }

    /// Accepts and never says a word.
    pub fn silent() -> Server {
        Server::start(|stream| {
            thread::sleep(Duration::from_secs(60));
            drop(stream);
        })
    }

    /// Accepts every client, grants and acknowledges everything, answers pings, closes after DISCONNECT.
    pub fn broker() -> Server {
        Server::start(|mut stream| {
            let mut level = 0;
            while let Some(packet) = packets::read(&mut stream) {
                if packet[0] == 0x10 {
                    level = packets::level_of(&packet);
                }
                let Some(answer) = broker_answer(level, &packet) else { continue };
                if answer.is_empty() || stream.write_all(&answer).is_err() {
                    break;
                }
            }
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// How many connections it has seen.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// A broker that answers one kind of packet otherwise.
pub fn broker_but(kind: u8, answer: impl Fn(&mut TcpStream, u8, &[u8]) + Send + Sync + 'static) -> Server {
    Server::start(move |mut stream| {
        let mut level = 0;
        while let Some(packet) = packets::read(&mut stream) {
            if packet[0] == 0x10 {
                level = packets::level_of(&packet);
            }
            if packet[0] & 0xF0 == kind {
                answer(&mut stream, level, &packet);
            } else if let Some(answer) = broker_answer(level, &packet)
                && stream.write_all(&answer).is_err()
            {
                break;
            }
        }
    })
}

/// What an agreeable broker says to a packet; nothing at all means that it closes.
pub fn broker_answer(level: Level, packet: &[u8]) -> Option<Vec<u8>> {
    Some(match packet[0] & 0xF0 {
        0x10 => packets::connack(level),
        0x30 => match packet[0] >> 1 & 3 {
            0 => return None,
            1 => packets::acknowledgement(0x40, packets::publish_id(packet)),
            _ => packets::acknowledgement(0x50, packets::publish_id(packet)),
        },
        0x60 => packets::acknowledgement(0x70, packets::id(packet)),
        0x80 => {
            let mut body = packets::id(packet).to_be_bytes().to_vec();
            body.extend(if level == packets::V5 { vec![0, 0] } else { vec![0] });
            packets::packet(0x90, &body)
        }
        0xA0 => {
            let mut body = packets::id(packet).to_be_bytes().to_vec();
            body.extend(if level == packets::V5 { vec![0, 0] } else { vec![] });
            packets::packet(0xB0, &body)
        }
        0xC0 => packets::PINGRESP.to_vec(),
        0xE0 => Vec::new(),
        _ => return None,
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address); // wakes the listener
    }
}
