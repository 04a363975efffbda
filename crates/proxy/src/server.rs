//! What plugins may do to a proxy.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use mqway_codec::{Publish, ReasonCode, TopicFilter};
use mqway_engine::{Io, Poster};
use mqway_hooks::{PluginError, Server, SessionInfo};

use crate::Observer;
use crate::core::{Mail, ProxyCore};

/// How long the workers are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked of a worker; it drops the sender when it has answered.
pub(crate) enum Question {
    /// Who is connected?
    Clients(Sender<SessionInfo>),
    /// End the connections of this client identifier.
    End(Box<str>, Sender<()>),
}

/// A proxy in the hands of a plugin.
pub(crate) struct Handle(pub Poster<Mail>);

impl Handle {
    /// Asks all workers, and gives what they answer until all have.
    fn ask<T>(&self, question: impl Fn(Sender<T>) -> Question) -> Receiver<T> {
        let (to, answers) = channel();
        for worker in 0..self.0.workers() {
            if self.0.post(worker, Mail::Question(question(to.clone()))).is_err() {
                log::error!("worker {worker} is too busy to answer a plugin");
            }
        }
        answers
    }
}

impl Server for Handle {
    fn publish(&self, _: &Publish<'_>) -> Result<(), PluginError> {
        Err("a proxy publishes nothing of its own".into())
    }

    fn subscribe(
        &self,
        _: TopicFilter<'_>,
        _: Box<dyn FnMut(&Publish<'_>) -> bool + Send>,
    ) -> Result<(), PluginError> {
        Err("a proxy has no messages of its own".into())
    }

    /// The connections that came while there were hooks: of others nothing is known.
    fn sessions(&self) -> Vec<SessionInfo> {
        let answers = self.ask(Question::Clients);
        std::iter::from_fn(|| answers.recv_timeout(PATIENCE).ok()).collect()
    }

    fn end_session(&self, client_id: &str) -> bool {
        self.ask(|to| Question::End(client_id.into(), to)).recv_timeout(PATIENCE).is_ok()
    }
}

impl<O: Observer> ProxyCore<O> {
    pub(crate) fn answer(&mut self, io: &mut Io<Mail>, question: Question) {
        // Whoever asked may have lost patience.
        match question {
            Question::Clients(to) => {
                for key in self.links.keys() {
                    if let Some(client_id) = self.client_of(key) {
                        let (connected, subscriptions, queued) = (true, 0, 0);
                        let _ = to.send(SessionInfo { client_id, connected, subscriptions, queued });
                    }
                }
            }
            Question::End(client_id, to) => {
                for key in self.links.keys() {
                    if self.client_of(key).as_deref() == Some(&*client_id) {
                        self.deny(io, key, ReasonCode::AdministrativeAction, "ended by a plugin");
                        let _ = to.send(());
                    }
                }
            }
        }
    }
}
