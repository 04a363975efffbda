//! The binary under test.

use super::certificates::Certificates;
use super::process::{Finished, Program, run};
use super::{SOON, address};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Runs `mqway` with arguments to its end.
pub fn mqway<A: AsRef<str>>(arguments: &[A], limit: Duration) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqway"));
    command.args(arguments.iter().map(AsRef::as_ref));
    run(command, b"", limit)
}

/// `mqway proxy` before it is started.
pub struct Proxy {
    subcommand: &'static str,
    listeners: Vec<String>,
    upstreams: Vec<String>,
    certificate: Option<[PathBuf; 3]>,
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    open_files: Option<u32>,
    ends_with_us: bool,
}

impl Proxy {
    pub fn new() -> Proxy {
        Proxy::of("proxy")
    }

    /// `mqway tap`, which is a proxy too.
    pub fn tap() -> Proxy {
        Proxy::of("tap")
    }

    /// `mqway broker`, which is started, watched and stopped like one.
    pub fn broker() -> Proxy {
        Proxy::of("broker")
    }

    fn of(subcommand: &'static str) -> Proxy {
        Proxy {
            subcommand,
            listeners: Vec::new(),
            upstreams: Vec::new(),
            certificate: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            open_files: None,
            ends_with_us: false,
        }
    }

    /// The usual one: a listener on a free port of `scheme`, and this upstream.
    pub fn between(scheme: &str, upstream: &str) -> Running {
        Proxy::new().listen(&format!("{scheme}://127.0.0.1:0")).upstream(upstream).start()
    }

    pub fn listen(mut self, url: &str) -> Proxy {
        self.listeners.push(url.to_owned());
        self.argument("--listen").argument(url)
    }

    pub fn upstream(mut self, url: &str) -> Proxy {
        self.upstreams.push(url.to_owned());
        self.argument("--upstream").argument(url)
    }

    pub fn argument(mut self, argument: impl Into<OsString>) -> Proxy {
        self.arguments.push(argument.into());
        self
    }

    pub fn arguments(self, arguments: &[&str]) -> Proxy {
        arguments.iter().fold(self, |proxy, argument| proxy.argument(argument))
    }

    /// A certificate for listeners with TLS, and trust in the authority of these certificates for upstreams with TLS.
    pub fn tls(mut self, certificates: &Certificates) -> Proxy {
        self.certificate =
            Some([certificates.file("server.pem"), certificates.file("server.key"), certificates.ca()]);
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Proxy {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// RLIMIT_NOFILE for it, soft and hard.
    pub fn open_files(mut self, limit: u32) -> Proxy {
        self.open_files = Some(limit);
        self
    }

    /// It ends when the test program does, even if the value that stands for it is in a static and never dropped: a
    /// shell waits for the end of its own input, and then stops it. Signals and figures are the shell's, not its.
    pub fn ending_with_us(mut self) -> Proxy {
        self.ends_with_us = true;
        self
    }

    fn command(&self) -> Command {
        let binary = env!("CARGO_BIN_EXE_mqway");
        let script = match (self.open_files, self.ends_with_us) {
            (None, false) => None,
            (Some(limit), _) => Some(format!("ulimit -n {limit}; exec \"$0\" \"$@\"")),
            (None, true) => Some("\"$0\" \"$@\" & read _; kill $!".to_owned()),
        };
        let mut command = match script {
            None => Command::new(binary),
            Some(script) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &script, binary]);
                shell
            }
        };
        command.arg(self.subcommand).args(&self.arguments);
        if let Some([certificate, key, authority]) = &self.certificate {
            if self.listeners.iter().any(|url| is_tls(url)) {
                command.arg("--cert").arg(certificate).arg("--key").arg(key);
            }
            if self.upstreams.iter().any(|url| is_tls(url)) {
                command.arg("--upstream-cafile").arg(authority);
            }
        }
        command.env_remove("http_proxy").env_remove("https_proxy").env_remove("all_proxy");
        command.env_remove("HTTP_PROXY").env_remove("HTTPS_PROXY").env_remove("ALL_PROXY");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it where it should end by itself.
    pub fn run(self) -> Finished {
        run(self.command(), b"", SOON)
    }

    /// Starts it and waits until it listens everywhere.
    pub fn start(self) -> Running {
        let expected = self.listeners.len();
        self.start_with(expected)
    }

    /// Starts it and waits until it listens at so many places, of which its configuration says where they are.
    pub fn start_with(self, expected: usize) -> Running {
        let program = Program::start(self.command());
        let listening = program.stderr.wait(SOON, |lines| {
            let urls: Vec<String> =
                lines.iter().filter_map(|l| l.strip_prefix("listening ")).map(str::to_owned).collect();
            (urls.len() == expected).then_some(urls)
        });
        let listening =
            listening.unwrap_or_else(|| panic!("no `listening URL` line for each of {:?}", self.listeners));
        Running { program, listening }
    }
}

/// True for the URL of a transport with TLS.
pub fn is_tls(url: &str) -> bool {
    ["mqtts:", "tls:", "wss:"].iter().any(|scheme| url.starts_with(scheme))
}

/// A proxy that listens.
pub struct Running {
    pub program: Program,
    listening: Vec<String>,
}

impl Running {
    /// The URL of the n-th listener, as printed, its port the real one.
    pub fn url(&self, listener: usize) -> &str {
        &self.listening[listener]
    }

    /// The address of the first listener.
    pub fn address(&self) -> SocketAddr {
        address(self.url(0))
    }

    /// Its counters, printed on SIGUSR1 as one line of JSON on stderr.
    pub fn counters(&self) -> serde_json::Value {
        let before = self.program.stderr.all().len();
        self.program.signal("USR1");
        let found =
            self.program.stderr.wait(SOON, |lines| lines.iter().skip(before).find_map(|l| counters_in(l)));
        found.expect("a line of JSON with the counters")
    }

    /// The counters that it printed at its end.
    pub fn last_counters(&self) -> Option<serde_json::Value> {
        self.program.stderr.all().iter().rev().find_map(|l| counters_in(l))
    }
}

fn counters_in(line: &str) -> Option<serde_json::Value> {
    serde_json::from_str(line).ok().filter(serde_json::Value::is_object)
}
