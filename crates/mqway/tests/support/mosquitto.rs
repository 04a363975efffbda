//! A mosquitto of our own, with a listener of each kind.

use super::certificates::Certificates;
use super::process::Program;
use super::{Kind, SOON, dial_tcp, free_port, packets};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use tempfile::TempDir;

/// How often another port is tried when somebody else took it first.
const ATTEMPTS: usize = 5;

pub struct Mosquitto {
    pub program: Program,
    pub certificates: Certificates,
    ports: [u16; 4],
    directory: TempDir,
}

impl Mosquitto {
    pub fn start() -> Mosquitto {
        Mosquitto::with("")
    }

    /// Starts it with further lines of configuration, which apply to all listeners.
    pub fn with(configuration: &str) -> Mosquitto {
        for _ in 0..ATTEMPTS {
            if let Some(mosquitto) = Mosquitto::attempt(configuration) {
                return mosquitto;
            }
        }
        panic!("mosquitto did not start in {ATTEMPTS} attempts");
    }

    fn attempt(configuration: &str) -> Option<Mosquitto> {
        let certificates = Certificates::new();
        let directory = TempDir::with_prefix("mqway-mosquitto-").expect("a temporary directory");
        let ports = [free_port(), free_port(), free_port(), free_port()];
        let tls = format!(
            "certfile {}\nkeyfile {}\n",
            certificates.file("server.pem").display(),
            certificates.file("server.key").display()
        );
        let mut text =
            String::from("user root\nallow_anonymous true\nset_tcp_nodelay true\nlog_dest stderr\n");
        text.push_str("log_type all\nmax_queued_messages 0\n");
        text.push_str(configuration);
        let _ = write!(text, "\nlistener {} 127.0.0.1\n", ports[0]);
        let _ = write!(text, "listener {} 127.0.0.1\n{tls}", ports[1]);
        let _ = write!(text, "listener {} 127.0.0.1\nprotocol websockets\n", ports[2]);
        let _ = write!(text, "listener {} 127.0.0.1\nprotocol websockets\n{tls}", ports[3]);
        let _ = writeln!(text, "listener 0 {}", directory.path().join("mqtt.sock").display());
        let file = directory.path().join("mosquitto.conf");
        std::fs::write(&file, text).expect("the directory is ours");

        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&file).env("PATH", path);
        let program = Program::start(command);
        let running =
            program.stderr.wait(SOON, |lines| lines.iter().any(|l| l.contains(" running")).then_some(()));
        running.map(|()| Mosquitto { program, certificates, ports, directory })
    }

    pub fn url(&self, kind: Kind) -> String {
        let [tcp, tls, ws, wss] = self.ports;
        match kind {
            Kind::Tcp => format!("mqtt://127.0.0.1:{tcp}"),
            Kind::Tls => format!("mqtts://127.0.0.1:{tls}"),
            Kind::Ws => format!("ws://127.0.0.1:{ws}/mqtt"),
            Kind::Wss => format!("wss://127.0.0.1:{wss}/mqtt"),
            Kind::Unix => format!("unix://{}", self.directory.path().join("mqtt.sock").display()),
        }
    }

    pub fn tcp(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[0]))
    }

    pub fn ws(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[2]))
    }

    /// Debian's mosquitto sends 4 KiB of a large message over WebSocket each time that its loop turns, which an
    /// idle one does every 100 ms. While the returned value lives, a client pings it so that the loop turns on.
    pub fn keep_awake(&self) -> Awake {
        let stop = Arc::new(AtomicBool::new(false));
        let (address, seen) = (self.tcp(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut stream = dial_tcp(address);
            let _ = stream.write_all(&packets::connect(packets::V3_1_1, "awake"));
            let mut answer = [0; 64];
            // A read that takes too long is no reason to let it fall asleep; only the end of the connection is.
            while !seen.load(Ordering::Relaxed) && !matches!(stream.read(&mut answer), Ok(0)) {
                if stream.write_all(&packets::PINGREQ).is_err() {
                    break;
                }
            }
        });
        Awake { stop, thread: Some(thread) }
    }
}

pub struct Awake {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
