//! The counters as one line of JSON.

use std::sync::Arc;

use mqway_codec::PacketType;
use mqway_proxy::{Direction, Proxy, Snapshot};
use serde_json::{Map, Value, json};

use crate::access::Guards;
use crate::logging::say;

/// What a proxy counts; readable also after its end.
pub struct Counted {
    proxy: Arc<mqway_proxy::Counters>,
    engine: Arc<mqway_engine::Counters>,
}

impl Counted {
    /// The counters of `proxy` and of the engine below it.
    pub fn of(proxy: &Proxy) -> Counted {
        Counted { proxy: proxy.counters(), engine: proxy.engine_counters() }
    }

    /// Prints them all on stderr, as they are now.
    pub fn print(&self, guards: &Guards) {
        log::logger().flush();
        let mut all = json(&self.proxy.snapshot(), &self.engine.snapshot());
        all.extend(guards.counters());
        say(Value::Object(all));
    }
}

fn json(passed: &Snapshot, engine: &mqway_engine::Snapshot) -> Map<String, Value> {
    let mut object: Map<String, Value> = numbers(passed.each());
    let packets = json!({
        "to_upstream": packets(passed, Direction::ToUpstream),
        "to_client": packets(passed, Direction::ToClient),
    });
    object.insert("packets".to_owned(), packets);
    let refusals: Map<_, _> =
        passed.refusals().map(|(reason, count)| (reason.name().to_owned(), count.into())).collect();
    object.insert("refusals".to_owned(), refusals.into());
    object.insert("engine".to_owned(), numbers(engine.each()).into());
    object
}

fn numbers(counters: impl Iterator<Item = (&'static str, u64)>) -> Map<String, Value> {
    counters.map(|(name, count)| (name.to_owned(), count.into())).collect()
}

fn packets(passed: &Snapshot, direction: Direction) -> Map<String, Value> {
    let types = (1..=15).filter_map(PacketType::from_u8);
    let counts = types.map(|packet_type| (packet_type, passed.passed(direction, packet_type)));
    counts.filter(|(_, count)| *count > 0).map(|(of, count)| (of.to_string(), count.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_explained_in_the_paper_on_limits() {
        let paper = include_str!("../../../../LIMITS.md");
        let (passed, engine) = (Snapshot::default(), mqway_engine::Snapshot::default());
        for (name, _) in passed.each().chain(engine.each()) {
            assert!(paper.contains(&format!("`{name}`")), "LIMITS.md does not explain {name}");
        }
    }
}
