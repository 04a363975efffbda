//! That a will is published once, when it must be, and never when it mustn't.

use super::delivery::Missing;
use super::history::{Connection, History, Leaving, NEVER, Time};
use super::presence::seconds;

/// `now` is when all wills have come that are to come.
pub fn check(history: &History, now: Time, missing: &mut Missing) {
    for (number, connection) in history.connections.iter().enumerate() {
        let Some(will) = connection.will else { continue };
        let seen = |one: &&super::history::Delivery| {
            one.actor == super::actor::WITNESS && one.message == Some(will) && !one.retain && !one.dup
        };
        let count = history.deliveries.iter().filter(seen).count();
        let name = || format!("the will of k{number}: {}", history.name(will));
        assert!(count <= 1, "{count} times {}", name());
        match is_due(history, number, connection, now) {
            Some(true) if count == 0 => {
                // The witness may just have been slow.
                let list =
                    if history.messages[will].qos == 0 { &mut missing.slow } else { &mut missing.other };
                list.push(format!("nobody published {}", name()));
            }
            Some(false) => assert_eq!(count, 0, "{}", name()), // [MQTT-3.1.2-10]
            _ => {}
        }
    }
}

/// Whether a will must be published; `None` if that cannot be told from outside. [MQTT-3.1.2-8]
fn is_due(history: &History, number: usize, connection: &Connection, now: Time) -> Option<bool> {
    if connection.accepted == NEVER || connection.ended_by == NEVER {
        return None;
    }
    match connection.leaving {
        Leaving::Read { with_will: false } => return Some(false), // [MQTT-3.1.2-10]
        Leaving::Written { .. } => return None,
        Leaving::No | Leaving::Read { with_will: true } => {}
    }
    let (least, most) = connection.stays();
    let least = seconds(least.min(connection.will_delay));
    let most = seconds(most.min(connection.will_delay));
    if most.is_zero() {
        return Some(true);
    }
    let due_by = connection.ended_by + most;
    // [MQTT-3.1.3-9]: a client that comes back in time keeps its will from being published.
    match history.later_connections(number).next() {
        None => (due_by < now).then_some(true),
        Some(next) if due_by < next.asked => Some(true),
        Some(next) if next.clean && next.accepted < NEVER => Some(true),
        Some(next) if !next.clean && next.accepted < connection.alive_until + least => Some(false),
        Some(_) => None,
    }
}
