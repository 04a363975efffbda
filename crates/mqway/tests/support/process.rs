//! A program that a test runs: its output collected, its end certain.

use super::SOON;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A running program. Dropping it kills it, and shows what it said if the test is failing.
pub struct Program {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    pub stdout: Lines,
    pub stderr: Lines,
}

impl Program {
    pub fn start(mut command: Command) -> Program {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: {e} (tests/setup installs what the tests need)"));
        let stdin = child.stdin.take();
        let stdout = Lines::collect(child.stdout.take().expect("piped above"));
        let stderr = Lines::collect(child.stderr.take().expect("piped above"));
        Program { name, child, stdin, stdout, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        writeln!(stdin, "{line}").unwrap_or_else(|e| panic!("{}: {e}", self.name));
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().expect("kill runs");
        assert!(status.success(), "kill -s {name} {}: {status}", self.name);
    }

    /// Waits for the end; `None` if it is still running after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return Some(status);
            }
            if Instant::now() >= end {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM, then the exit status; panics if that takes longer than `SOON`.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait(SOON).unwrap_or_else(|| panic!("{} still runs after SIGTERM", self.name))
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Resident memory that is the program's own (not file-backed), in bytes.
    pub fn resident(&self) -> u64 {
        resident(self.pid()).expect("it runs")
    }

    /// Open file descriptors.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs").count()
    }

    /// Threads, but for those that the allocator begins when it sees fit to give memory back.
    pub fn threads(&self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs");
        let names = tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("comm")));
        names.filter(|name| name.as_ref().is_ok_and(|name| !name.starts_with("jemalloc"))).count()
    }

    /// Processor time used so far, all threads.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("never empty").split_whitespace().collect();
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10) // USER_HZ is 100 everywhere that Linux runs
    }
}

/// Resident memory of a process that is its own (not file-backed), in bytes; `None` if there is no such process.
pub fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") * 1024)
}

impl Drop for Program {
    fn drop(&mut self) {
        let ended = self.child.try_wait();
        self.kill();
        if thread::panicking() {
            eprintln!("--- {} ({ended:?}) said:", self.name);
            for line in self.stdout.all().iter().chain(&self.stderr.all()) {
                eprintln!("    {line}");
            }
        }
    }
}

/// The lines that a program has written to one of its outputs.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Collected>, Condvar)>);

#[derive(Default)]
struct Collected {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn collect(output: impl Read + Send + 'static) -> Lines {
        let lines = Lines(Arc::default());
        let ours = lines.clone();
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                ours.push(text);
            }
            ours.0.0.lock().unwrap().ended = true;
            ours.0.1.notify_all();
        });
        lines
    }

    pub fn push(&self, line: String) {
        self.0.0.lock().unwrap().lines.push(line);
        self.0.1.notify_all();
    }

    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// Waits until `find` makes something of all lines so far; `None` when the time is up or the program ended.
    pub fn wait<T>(&self, limit: Duration, mut find: impl FnMut(&[String]) -> Option<T>) -> Option<T> {
        let end = Instant::now() + limit;
        let mut collected = self.0.0.lock().unwrap();
        loop {
            if let Some(found) = find(&collected.lines) {
                return Some(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if collected.ended || left.is_zero() {
                return None;
            }
            collected = self.0.1.wait_timeout(collected, left).unwrap().0;
        }
    }

    /// Waits for a line that contains `text`.
    pub fn contain(&self, text: &str) -> bool {
        self.wait(SOON, |lines| lines.iter().any(|l| l.contains(text)).then_some(())).is_some()
    }
}

/// How a program that ran to its end fared.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

/// Runs a program to its end; panics, with what it said, if that takes longer than `limit`.
pub fn run(mut command: Command, input: &[u8], limit: Duration) -> Finished {
    let name = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{name}: {e} (tests/setup installs what the tests need)"));
    let mut stdin = child.stdin.take().expect("piped above");
    let input = input.to_vec();
    let feeding = thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let stdout = gather(child.stdout.take().expect("piped above"));
    let stderr = gather(child.stderr.take().expect("piped above"));
    let end = Instant::now() + limit;
    let status = loop {
        match child.try_wait().expect("our own child") {
            Some(status) => break Some(status),
            None if Instant::now() >= end => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            None => thread::sleep(Duration::from_millis(2)),
        }
    };
    feeding.join().expect("it does not panic");
    let stdout = stdout.join().expect("it does not panic");
    let stderr = String::from_utf8_lossy(&stderr.join().expect("it does not panic")).into_owned();
    let Some(status) = status else {
        panic!("{name} took longer than {limit:?}; stdout {} bytes, stderr:\n{stderr}", stdout.len());
    };
    Finished { code: status.code(), stdout, stderr }
}

fn gather(mut output: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = output.read_to_end(&mut bytes);
        bytes
    })
}
