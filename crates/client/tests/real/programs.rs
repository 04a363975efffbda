//! Real programs on the way to the broker: nginx as a strict front, tinyproxy and microsocks as ways out.

use std::net::TcpStream;
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use crate::SOON;
use crate::broker::{Mosquitto, free_port};
use crate::process::Program;

/// nginx in front of a mosquitto: `wss://`, for those who show a certificate, a header field and a query.
pub struct Nginx {
    _program: Program,
    _directory: TempDir,
    pub port: u16,
}

impl Nginx {
    /// `conditions` is what it asks of a request, in its own language.
    pub fn start(mosquitto: &Mosquitto, conditions: &str) -> Nginx {
        Nginx::at(free_port(), mosquitto, conditions)
    }

    pub fn at(port: u16, mosquitto: &Mosquitto, conditions: &str) -> Nginx {
        let directory = TempDir::with_prefix("mqway-nginx-").expect("a temporary directory");
        let text = nginx_configuration(mosquitto, directory.path(), port, conditions);
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, text).expect("the directory is ours");
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("nginx");
        command.arg("-c").arg(file).arg("-p").arg(directory.path()).arg("-e").arg("stderr").env("PATH", path);
        let program = Program::start(command);
        wait_for(port);
        Nginx { _program: program, _directory: directory, port }
    }
}

/// One process without a master, so that nothing of it outlives the test.
fn nginx_configuration(
    mosquitto: &Mosquitto,
    directory: &std::path::Path,
    port: u16,
    conditions: &str,
) -> String {
    let file = |name: &str| mosquitto.certificates.file(name).display().to_string();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {}/{name};\n", directory.display()))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nerror_log stderr;\n\
         events {{ worker_connections 64; }}\n\
         http {{\naccess_log off;\n{temporary}\
         server {{\nlisten 127.0.0.1:{port} ssl;\nssl_certificate {};\nssl_certificate_key {};\n\
         ssl_client_certificate {};\nssl_verify_client optional;\n\
         location /mqtt {{\n{conditions}\n\
         proxy_pass http://127.0.0.1:{};\nproxy_http_version 1.1;\n\
         proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection upgrade;\n}}\n}}\n}}\n",
        file("server.pem"),
        file("server.key"),
        file("ca.pem"),
        mosquitto.ws(),
        directory = directory.display(),
    )
}

/// A way out of a network: what it was asked for can be read in what it says.
pub struct Way {
    program: Program,
    pub port: u16,
    _directory: TempDir,
}

impl Way {
    /// tinyproxy, an HTTP proxy, with further lines of configuration.
    pub fn tinyproxy(further: &str) -> Way {
        let directory = TempDir::with_prefix("mqway-tinyproxy-").expect("a temporary directory");
        let port = free_port();
        let file = directory.path().join("tinyproxy.conf");
        let text = format!("Port {port}\nListen 127.0.0.1\nMaxClients 20\nLogLevel Connect\n{further}\n");
        std::fs::write(&file, text).expect("the directory is ours");
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(file);
        Way::start(command, port, directory)
    }

    /// microsocks, a SOCKS5 proxy, with further arguments.
    pub fn microsocks(further: &[&str]) -> Way {
        let directory = TempDir::with_prefix("mqway-microsocks-").expect("a temporary directory");
        let port = free_port();
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &port.to_string()]).args(further);
        Way::start(command, port, directory)
    }

    /// Whether it said, or says soon, that it goes to this port of this machine.
    pub fn went_to(&self, port: u16) -> bool {
        let target = format!(":{port}");
        let found = |lines: &[String]| {
            let goes = |line: &&String| line.contains("CONNECT") || line.contains("connected to");
            lines.iter().filter(goes).any(|line| line.contains(&target)).then_some(())
        };
        let (out, err) = (&self.program.stdout, &self.program.stderr);
        found(&out.all()).or_else(|| err.wait(SOON / 10, found)).is_some() || found(&out.all()).is_some()
    }

    fn start(command: Command, port: u16, directory: TempDir) -> Way {
        let program = Program::start(command);
        wait_for(port);
        Way { program, port, _directory: directory }
    }
}

fn wait_for(port: u16) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < SOON, "nothing listens on port {port}");
        std::thread::sleep(SOON / 1_000);
    }
}
