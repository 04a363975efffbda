//! That messages of one publisher, topic and QoS come in the order in which they were published.

use std::collections::{HashMap, HashSet};

use super::history::History;

/// [MQTT-4.6.0-5], [MQTT-4.6.0-6]
pub fn check(history: &History) {
    let mut last = HashMap::new();
    let mut seen = HashSet::new();
    for delivery in &history.deliveries {
        let Some(number) = delivery.message else { continue };
        let message = &history.messages[number];
        let first = seen.insert((delivery.actor, delivery.life, number));
        // One that was sent again may be new to a client that was not yet subscribed when it was sent first. One of a
        // group may have gone to another member before. A will comes when it comes.
        let by_chance = message.copies() > 1 || delivery.topic.starts_with("s/") || message.will_of.is_some();
        // What is retained comes again behind what was not retained after it.
        if !first || by_chance || delivery.retain {
            continue;
        }
        let stream =
            (delivery.actor, delivery.life, message.publisher, &delivery.topic, message.qos, delivery.qos);
        if let Some(before) = last.insert(stream, number) {
            assert!(
                before < number,
                "c{} got {} behind {}",
                delivery.actor,
                history.name(number),
                history.name(before)
            );
        }
    }
}
