//! A hook that thinks for a while about much of what it is asked, and then agrees, and that slows clients down.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqway_broker::hooks::{
    Authorize, Client, Hooks, Later, Message, Subscription, Ticket, Unanswered, Verdict,
};
use mqway_engine::sim::Random;

/// The hook, and what it has not made up its mind about.
pub struct Thoughts(Mutex<(Random, Vec<Ticket>)>);

impl Thoughts {
    pub fn of_seed(seed: u64) -> Arc<Thoughts> {
        Arc::new(Thoughts(Mutex::new((Random::new(seed), Vec::new()))))
    }

    /// It as the only one. Where it thinks for too long, it is taken to agree.
    pub fn hooks(self: &Arc<Thoughts>) -> Hooks {
        let mut hooks = Hooks::new();
        hooks.add_authorize(self.clone());
        hooks.unanswered = Unanswered::Allow;
        hooks
    }

    /// Comes to the end of some thoughts.
    pub fn go_on(&self) {
        let mut thoughts = self.0.lock().unwrap();
        let (random, open) = &mut *thoughts;
        let mut done = Vec::new();
        let mut at = 0;
        while at < open.len() {
            match random.below(3) {
                0 => done.push(open.swap_remove(at)),
                _ => at += 1,
            }
        }
        drop(thoughts);
        done.into_iter().for_each(Ticket::allow);
    }

    /// Whether nothing is left to think about.
    pub fn is_idle(&self) -> bool {
        self.0.lock().unwrap().1.is_empty()
    }

    fn think(&self, client: &mut Client, later: Later<'_>) -> Verdict {
        let mut thoughts = self.0.lock().unwrap();
        let (random, open) = &mut *thoughts;
        if random.below(4) == 0 {
            client.slow_down(Duration::from_millis(random.below(20) as u64));
        }
        if random.below(2) == 0 {
            return Verdict::Pass;
        }
        let (ticket, waiting) = later.ticket();
        open.push(ticket);
        Verdict::Later(waiting)
    }
}

impl Authorize for Thoughts {
    fn name(&self) -> &str {
        "thoughts"
    }

    fn publish(&self, client: &mut Client, message: &Message<'_>, later: Later<'_>) -> Verdict {
        // A client that leaves while its login waits might come back before, and be put out by its own shadow.
        if message.is_will() { Verdict::Allow } else { self.think(client, later) }
    }

    fn subscribe(&self, client: &mut Client, _: &mut Subscription<'_>, later: Later<'_>) -> Verdict {
        self.think(client, later)
    }
}
