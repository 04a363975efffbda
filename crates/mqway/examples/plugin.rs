//! mqway with a plugin of its own: a broker and a proxy that keep quiet hours, and a greeting for whoever comes.
//!
//! ```text
//! printf '[[listeners]]\nurl = "tcp://127.0.0.1:1883"\n[plugins.quiet]\ntopics = ["alarm"]\n' >quiet.toml
//! cargo run --example plugin -- broker --config quiet.toml
//! cargo run -- sub -t 'hello/#' -v       # in another terminal: hello/sub-… welcome
//! cargo run -- pub -t alarm -m ring -q 1 -V 5   # refused: quiet hours
//! ```

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use mqway::hooks::{
    Authorize, Client, Denial, Event, Later, Message, Observe, Phase, Phases, Server, Verdict,
};
use mqway::{Plugin, PluginError, Program, Setup};

/// The plugin, and its hooks: it is all of them.
#[derive(Clone, Default)]
struct Quiet {
    topics: Arc<OnceLock<Vec<String>>>,
    server: Arc<OnceLock<Arc<dyn Server>>>,
    kept_quiet: Arc<AtomicU64>,
}

impl Plugin for Quiet {
    fn name(&self) -> &str {
        "quiet"
    }

    fn load(&self, setup: &mut Setup<'_>) -> Result<(), PluginError> {
        let mut settings: toml::Table = setup.settings().parse()?;
        let topics = settings.remove("topics").ok_or("`topics` is missing: a list of names")?.try_into()?;
        self.topics.set(topics).map_err(|_| "loaded twice")?;
        setup.hooks().add_authorize(Arc::new(self.clone()));
        setup.hooks().add_observe(Arc::new(self.clone()));
        Ok(())
    }

    fn started(&self, server: Arc<dyn Server>) {
        let _ = self.server.set(server);
    }

    /// `kill -USR1` shows them: `"plugins":{"quiet":{"kept_quiet":1}}`.
    fn metrics(&self) -> Vec<(&'static str, u64)> {
        vec![("kept_quiet", self.kept_quiet.load(Ordering::Relaxed))]
    }
}

impl Authorize for Quiet {
    fn name(&self) -> &str {
        "quiet"
    }

    fn publish(&self, _: &mut Client, message: &Message<'_>, _: Later<'_>) -> Verdict {
        let quiet =
            self.topics.get().is_some_and(|topics| topics.iter().any(|topic| topic == message.topic()));
        if !quiet {
            return Verdict::Pass;
        }
        self.kept_quiet.fetch_add(1, Ordering::Relaxed);
        Verdict::Deny(Denial::not_authorized("[plugins.quiet] topics").say("quiet hours"))
    }
}

impl Observe for Quiet {
    fn name(&self) -> &str {
        "quiet"
    }

    fn phases(&self) -> Phases {
        Phases::of(&[Phase::Subscribed])
    }

    fn observe(&self, client_id: &str, _: Option<&mut Client>, event: &Event<'_>) {
        let Some(server) = self.server.get() else { return };
        if let Event::Subscribed { filter: "hello/#", .. } = event {
            let topic = format!("hello/{client_id}");
            let _ = server.publish(&mqway::codec::Publish::new(&topic, b"welcome"));
        }
    }
}

fn main() -> ExitCode {
    Program::new().plugin(|| Arc::new(Quiet::default())).run()
}
