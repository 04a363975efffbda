//! A client of the library as the commands use it: connected as long as its user wants, and stopped by a signal.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mqway_client::{Client, ConnectError, ConnectionEvent, Endpoint, Events, Options};
use mqway_session::client::Fault;
use mqway_transport::Stage;
use mqway_transport::Url;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::client_flags::Retry;
use crate::failure::{Failure, Status};

/// The time for DISCONNECT, and for what still waits for an acknowledgement then.
pub const GOODBYE: Duration = Duration::from_secs(3);

/// Runs a command to its end.
///
/// # Errors
/// As it ends, or if the system has no room for it.
pub fn run<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::other)?;
    let done = runtime.block_on(command);
    // A name server that does not answer, or a pipe that nobody reads, holds a thread, but not the process.
    runtime.shutdown_background();
    done
}

/// A client, and what happens to its connection.
pub struct Online {
    /// The client.
    pub client: Client,
    events: Events,
    server: Url,
    policy: Policy,
    was_connected: bool,
    is_connected: bool,
}

/// When a failure to connect is not the end.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Before the first connection.
    pub initial: bool,
    /// After it.
    pub later: bool,
}

impl Policy {
    /// What the user wants, or what mosquitto's tools do: those that go on and on come back once they were connected.
    pub fn new(retry: Option<Retry>, goes_on: bool) -> Policy {
        match retry {
            None => Policy { initial: false, later: goes_on },
            Some(Retry::Never) => Policy { initial: false, later: false },
            Some(Retry::Initial) => Policy { initial: true, later: false },
            Some(Retry::Always) => Policy { initial: true, later: true },
        }
    }
}

impl Online {
    /// Begins to connect, on the runtime that this is called in.
    pub fn start(server: Url, endpoint: Endpoint, options: Options, policy: Policy) -> Online {
        let client = Client::start(endpoint, Options { shutdown_time: GOODBYE, ..options });
        let events = client.events();
        Online { client, events, server, policy, was_connected: false, is_connected: false }
    }

    /// Waits for the first connection.
    ///
    /// # Errors
    /// If there is none, and the policy wants no further attempt.
    pub async fn connected(&mut self) -> Result<(), Failure> {
        while !self.is_connected {
            self.next_event().await?;
        }
        Ok(())
    }

    /// Resolves once there is no connection and the policy wants no further attempt. What resolves first may be
    /// dropped and asked for again.
    pub async fn over(&mut self) -> Failure {
        loop {
            if let Err(failure) = self.next_event().await {
                return failure;
            }
        }
    }

    /// Says goodbye, if there is somebody to say it to.
    pub async fn leave(self) {
        if self.is_connected {
            self.client.disconnect().await;
        }
    }

    async fn next_event(&mut self) -> Result<(), Failure> {
        match self.events.next().await {
            Some(ConnectionEvent::Connected { session_present, .. }) => {
                log::debug!("connected to {}, session present: {session_present}", self.server);
                self.was_connected = true;
                self.is_connected = true;
                Ok(())
            }
            Some(ConnectionEvent::Lost { error, retry_in }) => {
                let failure = self.failure(&error);
                self.is_connected = false;
                let again = if self.was_connected { self.policy.later } else { self.policy.initial };
                match retry_in.filter(|_| again) {
                    None => Err(failure),
                    Some(wait) => {
                        log::warn!("{failure}; trying again in {:.1} s", wait.as_secs_f64());
                        Ok(())
                    }
                }
            }
            Some(ConnectionEvent::Skipped { topic, size, .. }) => {
                log::warn!(
                    "a message of {size} bytes on {topic:?} was skipped: it is larger than was asked for"
                );
                Ok(())
            }
            Some(_) => Ok(()),
            None => Err(Failure::other("the client has ended")),
        }
    }

    fn failure(&self, error: &ConnectError) -> Failure {
        Failure::new(status(error, self.is_connected), format_args!("{}: {error}", self.server))
    }
}

/// The exit status for the end of a connection, or for none.
fn status(error: &ConnectError, was_connected: bool) -> Status {
    match error {
        ConnectError::Options(_) | ConnectError::Encode(_) => Status::Usage,
        ConnectError::Refused(_) => Status::Refused,
        ConnectError::Fault(Fault::NoAnswer) => Status::Lost,
        ConnectError::Fault(_) => Status::Other,
        _ if was_connected => Status::Lost,
        ConnectError::TimedOut => Status::TimedOut,
        ConnectError::Network(_) => Status::Network,
        ConnectError::LostDuring(Stage::Tls, _) => Status::Tls,
        ConnectError::LostDuring(Stage::Http, _) => Status::WebSocket,
        ConnectError::LostDuring(..) => Status::Network,
        ConnectError::Transport(error) => Status::of_layers(error),
        ConnectError::Closed | ConnectError::Broken(_) | ConnectError::Disconnected(_) => Status::Lost,
        _ => Status::Other,
    }
}

/// SIGINT and SIGTERM. The first ends the command well, the second at once, whatever it is waiting for.
pub struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// Catches them from now on.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn catch() -> Result<Interrupt, Failure> {
        let why = |error| Failure::other(format_args!("cannot catch signals: {error}"));
        let impatient = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // 128 and the signal's number: what a shell reports of a process that was killed by it.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&impatient)).map_err(why)?;
        }
        for signal in [SIGTERM, SIGINT] {
            flag::register(signal, Arc::clone(&impatient)).map_err(why)?;
        }
        Ok(Interrupt {
            interrupt: signal(SignalKind::interrupt()).map_err(why)?,
            terminate: signal(SignalKind::terminate()).map_err(why)?,
        })
    }

    /// Waits for one, and names it.
    pub async fn caught(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// Waits for `time`; for ever if there is none.
pub async fn passed(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_command_whose_time_was_up_waited_for_a_thread_that_was_stuck() {
        let begun = Instant::now();
        let done = run(async {
            // As looking up a name is, for one.
            let (started, starts) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(move || {
                let _ = started.send(());
                std::thread::sleep(Duration::from_secs(30));
            });
            starts.await.map_err(Failure::other)
        });
        assert!(done.is_ok() && begun.elapsed() < Duration::from_secs(20));
    }
}
