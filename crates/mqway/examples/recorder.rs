//! mqway with a plugin that tells of every phase at which hooks are asked or told: a line on stdout for each.
//!
//! ```text
//! printf '[plugins.recorder]\n' >recorder.toml
//! cargo run --example recorder -- broker --config recorder.toml --listen tcp://127.0.0.1:1883   # or proxy ... --upstream ...
//! cargo run -- pub -t hello -m world -q 1 -i me        # in another terminal; then the first one says
//! # accept tcp://127.0.0.1:1883
//! # me: authenticate
//! # me: admit
//! # me: connected
//! # me: session created
//! # me: publish hello ...
//! ```

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Arc;

use mqway::hooks::facts::Facts;
use mqway::hooks::{
    Accept, Admit, Authenticate, Authorize, Client, Denial, Event, Exchange, Filter, Later, Login, Message,
    Method, Observe, Phase, Phases, Step, Subscription, Transform, Verdict,
};
use mqway::{Plugin, PluginError, Program, Setup};

/// Has no opinion, ever. A line is written at once, while the worker waits: a plugin that is more than an example would
/// leave that to a thread.
struct Recorder;

fn record(client_id: &str, phase: Phase, about: impl Display) {
    println!("{}", format!("{client_id}: {phase} {about}").trim_start_matches(": ").trim_end());
}

impl Plugin for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn load(&self, setup: &mut Setup<'_>) -> Result<(), PluginError> {
        let hooks = setup.hooks();
        hooks.add_accept(Arc::new(Recorder));
        hooks.add_authenticate(Arc::new(Recorder));
        hooks.add_method(Arc::new(Recorder));
        hooks.add_admit(Arc::new(Recorder));
        hooks.add_authorize(Arc::new(Recorder));
        hooks.add_transform(Arc::new(Recorder));
        hooks.add_observe(Arc::new(Recorder));
        Ok(())
    }
}

impl Accept for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn accept(&self, listener: &str, _: &Facts) -> Result<(), Denial> {
        record("", Phase::Accept, listener);
        Ok(())
    }
}

impl Authenticate for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn authenticate(&self, client: &mut Client, _: &mut Login<'_>, _: Later<'_>) -> Verdict {
        record(&client.client_id, Phase::Authenticate, "");
        Verdict::Pass
    }
}

/// A method of enhanced authentication that asks once, and is content with any answer.
impl Method for Recorder {
    fn name(&self) -> &str {
        "RECORDED"
    }

    fn begin(&self, _: &mut Client) -> Box<dyn Exchange> {
        Box::new(Asked(false))
    }
}

struct Asked(bool);

impl Exchange for Asked {
    fn take(&mut self, client: &mut Client, data: Option<&[u8]>) -> Step {
        record(&client.client_id, Phase::Exchange, data.unwrap_or_default().escape_ascii());
        match std::mem::replace(&mut self.0, true) {
            false => Step::Continue(b"and?".to_vec()),
            true => Step::Done(None),
        }
    }
}

impl Admit for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn admit(&self, client: &mut Client, _: Later<'_>) -> Verdict {
        record(&client.client_id, Phase::Admit, "");
        Verdict::Pass
    }
}

impl Authorize for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn phases(&self) -> Phases {
        Phases::ALL
    }

    fn publish(&self, client: &mut Client, message: &Message<'_>, _: Later<'_>) -> Verdict {
        record(&client.client_id, Phase::Publish, message.topic());
        Verdict::Pass
    }

    fn subscribe(&self, client: &mut Client, wanted: &mut Subscription<'_>, _: Later<'_>) -> Verdict {
        record(&client.client_id, Phase::Subscribe, wanted.filter.as_str());
        Verdict::Pass
    }

    fn unsubscribe(&self, client: &mut Client, filter: &Filter<'_>) -> Result<(), Denial> {
        record(&client.client_id, Phase::Unsubscribe, filter.as_str());
        Ok(())
    }

    fn deliver(&self, client: &mut Client, message: &Message<'_>) -> Result<(), Denial> {
        record(&client.client_id, Phase::Deliver, message.topic());
        Ok(())
    }
}

impl Transform for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn phases(&self) -> Phases {
        Phases::of(&[Phase::Will])
    }

    fn will(&self, client_id: &str, message: &mut Message<'_>) -> Result<(), Denial> {
        record(client_id, Phase::Will, message.topic());
        Ok(())
    }
}

impl Observe for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn phases(&self) -> Phases {
        Phases::ALL
    }

    fn observe(&self, client_id: &str, _: Option<&mut Client>, event: &Event<'_>) {
        let about = match event {
            Event::Subscribed { filter, .. } | Event::Unsubscribed { filter } => (*filter).to_owned(),
            Event::Published(message) | Event::Delivered(message) | Event::WillPublished(message) => {
                message.topic().to_owned()
            }
            Event::Acknowledged { topic, .. } => (*topic).to_owned(),
            Event::Dropped { topic, why } => format!("{topic}, {why}"),
            Event::Disconnected { by, .. } => format!("by {by:?}"),
            _ => String::new(),
        };
        record(client_id, event.phase(), about);
    }
}

fn main() -> ExitCode {
    Program::new().plugin(|| Arc::new(Recorder)).run()
}
