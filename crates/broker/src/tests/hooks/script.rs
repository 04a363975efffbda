//! A hook that does at every phase what a test has told it, and remembers what it was asked and told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use mqway_hooks::{
    Accept, Authenticate, Authorize, Client, Denial, Event, Filter, Hooks, Later, Login, Message, Observe,
    Phase, Phases, Subscription, Ticket, Transform, Verdict,
};
use mqway_transport::facts::Facts;

use crate::Config;

/// What it does when it is asked.
#[derive(Clone)]
pub enum Does {
    /// Denies, for this reason.
    Deny(Denial),
    /// Will answer later: the ticket is kept.
    Waits,
    /// Panics.
    Panics,
}

/// The hook.
pub struct Script {
    phases: Phases,
    /// By phase and by what it is asked about: a topic, a filter, a client identifier.
    does: Mutex<HashMap<(Phase, String), Does>>,
    log: Mutex<Vec<String>>,
    tickets: Mutex<Vec<Ticket>>,
}

impl Script {
    /// One that is called at these phases.
    pub fn at(phases: &[Phase]) -> Arc<Script> {
        Arc::new(Script {
            phases: Phases::of(phases),
            does: Mutex::default(),
            log: Mutex::default(),
            tickets: Mutex::default(),
        })
    }

    /// What it is to do when it is asked about this.
    pub fn when(self: &Arc<Script>, phase: Phase, about: &str, does: Does) -> Arc<Script> {
        self.does.lock().unwrap().insert((phase, about.to_owned()), does);
        self.clone()
    }

    /// What it was asked and told since this was last called.
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    /// The oldest ticket that it has not answered with.
    pub fn ticket(&self) -> Ticket {
        self.tickets.lock().unwrap().remove(0)
    }

    /// How many tickets it has.
    pub fn tickets(&self) -> usize {
        self.tickets.lock().unwrap().len()
    }

    /// Hooks with this one only, at its phases.
    pub fn hooks(self: &Arc<Script>) -> Hooks {
        let mut hooks = Hooks::new();
        if self.phases.contains(Phase::Accept) {
            hooks.add_accept(self.clone());
        }
        if self.phases.contains(Phase::Authenticate) {
            hooks.add_authenticate(self.clone());
        }
        hooks.add_authorize(self.clone());
        if self.phases.contains(Phase::Will) {
            hooks.add_transform(self.clone());
        }
        hooks.add_observe(self.clone());
        hooks
    }

    /// A configuration with this hook.
    pub fn config(self: &Arc<Script>) -> Config {
        Config { hooks: self.hooks(), ..Config::default() }
    }

    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    fn asked(&self, phase: Phase, about: &str) -> Option<Does> {
        self.note(format!("{phase} {about}").trim_end().to_owned());
        let does = self.does.lock().unwrap().get(&(phase, about.to_owned())).cloned();
        if let Some(Does::Panics) = does {
            panic!("on purpose");
        }
        does
    }

    fn verdict(&self, phase: Phase, about: &str, later: Later<'_>) -> Verdict {
        match self.asked(phase, about) {
            None => Verdict::Pass,
            Some(Does::Panics) => Verdict::Allow,
            Some(Does::Deny(denial)) => Verdict::Deny(denial),
            Some(Does::Waits) => {
                let (ticket, waiting) = later.ticket();
                self.tickets.lock().unwrap().push(ticket);
                Verdict::Later(waiting)
            }
        }
    }

    fn judge(&self, phase: Phase, about: &str) -> Result<(), Denial> {
        match self.asked(phase, about) {
            Some(Does::Deny(denial)) => Err(denial),
            _ => Ok(()),
        }
    }
}

impl Accept for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn accept(&self, listener: &str, _: &Facts) -> Result<(), Denial> {
        self.judge(Phase::Accept, listener)
    }
}

impl Authenticate for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn authenticate(&self, _: &mut Client, login: &mut Login<'_>, later: Later<'_>) -> Verdict {
        self.verdict(Phase::Authenticate, &login.client_id, later)
    }
}

impl Authorize for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn phases(&self) -> Phases {
        self.phases
    }

    fn publish(&self, _: &mut Client, message: &Message<'_>, later: Later<'_>) -> Verdict {
        self.verdict(Phase::Publish, message.topic(), later)
    }

    fn subscribe(&self, _: &mut Client, wanted: &mut Subscription<'_>, later: Later<'_>) -> Verdict {
        self.verdict(Phase::Subscribe, wanted.filter.as_str(), later)
    }

    fn unsubscribe(&self, _: &mut Client, filter: &Filter<'_>) -> Result<(), Denial> {
        self.judge(Phase::Unsubscribe, filter.as_str())
    }

    fn deliver(&self, _: &mut Client, message: &Message<'_>) -> Result<(), Denial> {
        self.judge(Phase::Deliver, message.topic())
    }
}

impl Transform for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn phases(&self) -> Phases {
        Phases::of(&[Phase::Will])
    }

    fn will(&self, _: &str, message: &mut Message<'_>) -> Result<(), Denial> {
        self.judge(Phase::Will, message.topic())
    }
}

impl Observe for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn phases(&self) -> Phases {
        self.phases
    }

    fn observe(&self, client_id: &str, client: Option<&mut Client>, event: &Event<'_>) {
        let phase = event.phase();
        let what = match event {
            Event::Subscribed { filter, qos } => format!("{filter} {qos}"),
            Event::Unsubscribed { filter } => (*filter).to_owned(),
            Event::Published(message) | Event::Delivered(message) | Event::WillPublished(message) => {
                message.topic().to_owned()
            }
            Event::Acknowledged { topic, qos } => format!("{topic} {qos}"),
            Event::Dropped { topic, why } => format!("{topic} {why}"),
            Event::Refused { failed, .. } => failed.to_string(),
            Event::Disconnected { by, reason, .. } => format!("{by:?} {:#04x}", reason.code()),
            Event::SessionTerminated { expired } => format!("expired {expired}"),
            _ => String::new(),
        };
        let known = if client.is_some() { "" } else { " (away)" };
        self.note(format!("{client_id}: {phase} {what}{known}").replace("  ", " ").trim_end().to_owned());
        let does = self.does.lock().unwrap().get(&(phase, client_id.to_owned())).cloned();
        if let Some(Does::Panics) = does {
            panic!("on purpose");
        }
    }
}
