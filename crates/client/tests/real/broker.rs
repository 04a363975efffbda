//! A mosquitto of the test's own, with a listener of each kind.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::SOON;
use crate::certificates::Certificates;
use crate::process::Program;

/// How often other ports are tried when somebody else took one first.
const ATTEMPTS: usize = 5;

pub struct Mosquitto {
    _program: Program,
    pub certificates: Certificates,
    ports: [u16; 5],
    directory: TempDir,
}

impl Mosquitto {
    pub fn start() -> Mosquitto {
        for _ in 0..ATTEMPTS {
            if let Some(mosquitto) = Mosquitto::attempt() {
                return mosquitto;
            }
        }
        panic!("mosquitto did not start in {ATTEMPTS} attempts");
    }

    pub fn tcp(&self) -> u16 {
        self.ports[0]
    }

    pub fn tls(&self) -> u16 {
        self.ports[1]
    }

    /// A listener that wants the client's certificate.
    pub fn mutual_tls(&self) -> u16 {
        self.ports[2]
    }

    pub fn ws(&self) -> u16 {
        self.ports[3]
    }

    pub fn wss(&self) -> u16 {
        self.ports[4]
    }

    pub fn unix(&self) -> PathBuf {
        self.directory.path().join("mqtt.sock")
    }

    fn attempt() -> Option<Mosquitto> {
        let certificates = Certificates::new();
        let directory = TempDir::with_prefix("mqway-mosquitto-").expect("a temporary directory");
        let ports = std::array::from_fn(|_| free_port());
        let text = configuration(&directory, &certificates, ports);
        std::fs::write(directory.path().join("mosquitto.conf"), text).expect("the directory is ours");
        let program = run(&directory)?;
        Some(Mosquitto { _program: program, certificates, ports, directory })
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn configuration(directory: &TempDir, certificates: &Certificates, ports: [u16; 5]) -> String {
    let [tcp, tls, mutual_tls, ws, wss] = ports;
    let directory = directory.path().display();
    let server = format!(
        "certfile {}\nkeyfile {}",
        certificates.file("server.pem").display(),
        certificates.file("server.key").display()
    );
    let mutual = format!("{server}\nrequire_certificate true\ncafile {}", certificates.ca().display());
    // With a bounded window, a mosquitto 2.0 sends what is published while a receiver comes back ahead of what it has
    // queued for it: the order would be a test of mosquitto.
    // Where it may, it stays root: as another user it could not write its sessions here.
    let mut text = String::from(
        "user root\nallow_anonymous true\nset_tcp_nodelay true\nlog_dest stderr\nmax_queued_messages 0\n\
         max_inflight_messages 0\n",
    );
    for (port, kind) in [
        (tcp, ""),
        (tls, &server),
        (mutual_tls, &mutual),
        (ws, "protocol websockets"),
        (wss, &format!("protocol websockets\n{server}")),
    ] {
        let _ = writeln!(text, "listener {port} 127.0.0.1\n{kind}");
    }
    let _ = writeln!(text, "listener 0 {directory}/mqtt.sock");
    text
}

fn run(directory: &TempDir) -> Option<Program> {
    // Debian has it where the PATH of a user does not lead.
    let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(directory.path().join("mosquitto.conf")).env("PATH", path);
    let program = Program::start(command);
    let running =
        program.stderr.wait(SOON, |lines| lines.iter().any(|line| line.contains(" running")).then_some(()));
    running.map(|()| program)
}
