//! A mosquitto of the test's own, which keeps its sessions when it is stopped.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Instant;

use mqway_client::Endpoint;
use tempfile::TempDir;

use crate::SOON;
use crate::process::Program;

pub struct Mosquitto {
    program: Program,
    directory: TempDir,
    pub port: u16,
}

impl Mosquitto {
    pub fn start() -> Mosquitto {
        let directory = TempDir::with_prefix("mqway-mosquitto-").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Where it may, it stays root: as another user it could not write its sessions here. With a bounded window it
        // would send new messages to a receiver that comes back ahead of those that wait for it.
        let text = format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\npersistence true\n\
             persistence_location {}/\nmax_queued_messages 0\nmax_inflight_messages 0\n",
            directory.path().display()
        );
        std::fs::write(directory.path().join("mosquitto.conf"), text).unwrap();
        let program = run(&directory, port);
        Mosquitto { program, directory, port }
    }

    /// It saves its sessions as it ends.
    pub fn restart(&mut self) {
        self.program.terminate();
        self.program = run(&self.directory, self.port);
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(format!("tcp://127.0.0.1:{}", self.port))
    }
}

fn run(directory: &TempDir, port: u16) -> Program {
    // Debian has it where the PATH of a user does not lead.
    let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(directory.path().join("mosquitto.conf")).env("PATH", path);
    let program = Program::start(command);
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < SOON, "mosquitto does not listen");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    program
}
