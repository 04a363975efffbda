//! Whether a session is there, and whether CONNACK tells the truth about it.

use std::time::Duration;

use super::history::{Connection, History, NEVER, Time};

/// CONNACK has come. Gives the life that the session now has, which is another one if it is a new session.
pub fn accepted(history: &mut History, number: usize, life: usize, present: bool, now: Time) -> usize {
    let actor = history.connections[number].actor;
    let earlier: Vec<&Connection> =
        history.connections[..number].iter().filter(|one| one.actor == actor).collect();
    let known = known(&earlier, &history.connections[number], now);
    let since = earlier.iter().rfind(|one| one.accepted < NEVER).map_or(now, |last| last.alive_until);
    let unanswered = earlier.last().is_some_and(|last| last.accepted == NEVER);
    history.note(now, || format!("c{actor} is accepted on k{number}, session present {present}"));
    if let Some(known) = known {
        // [MQTT-3.2.2-2], [MQTT-3.2.2-3]
        assert_eq!(present, known, "session present for c{actor} on k{number}");
    }
    for earlier in history.connections[..number].iter_mut().filter(|one| one.actor == actor) {
        earlier.ended_by = earlier.ended_by.min(now);
    }
    let connection = &mut history.connections[number];
    connection.accepted = now;
    connection.life = life;
    if present && (known.is_some() || !unanswered) {
        return life;
    }
    connection.life = life + 1;
    for subscription in history.subscriptions.iter_mut().filter(|one| one.actor == actor) {
        subscription.sure_until = subscription.sure_until.min(since);
        if !present {
            subscription.gone = subscription.gone.min(now);
        }
    }
    if present {
        // It may be another session than the client thinks: one that a CONNECT has made whose answer was lost.
        let open = |one: &&mut super::history::Message| one.publisher == actor && one.done == NEVER;
        history.messages.iter_mut().filter(open).for_each(|one| one.doubtful = true);
    }
    life + 1
}

/// Whether a session must be there; `None` if that cannot be told from outside.
fn known(earlier: &[&Connection], new: &Connection, now: Time) -> Option<bool> {
    if new.clean || earlier.is_empty() {
        return Some(false); // [MQTT-3.1.2-4], [MQTT-3.1.2-6]
    }
    let answered = earlier.iter().rposition(|one| one.accepted < NEVER);
    let since = &earlier[answered.unwrap_or(0)..];
    let stays = |one: &&&Connection| one.alive_until + seconds(one.stays().0) > now;
    if answered.is_some() && since.iter().filter(stays).count() == since.len() {
        return Some(true); // [MQTT-3.1.2-5]
    }
    match since {
        [last] if answered.is_some() => {
            let most = last.stays().1;
            let over =
                most == 0 || last.ended_by.checked_add(seconds(most)).is_some_and(|end| end <= new.asked);
            over.then_some(false) // [MQTT-3.1.2-23]
        }
        _ => None,
    }
}

pub fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}
