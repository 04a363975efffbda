//! That messages come to those who are to get them, as often as they are to, and to nobody else.

use mqway_broker::Snapshot;

use super::history::{Calm, Delivery, History, Message, NEVER, Subscription};
use super::presence::seconds;

/// What a message may be missing for: the counters that name a policy allow for so many.
#[derive(Default, Debug)]
pub struct Missing {
    pub too_large: Vec<String>,
    pub expired: Vec<String>,
    pub slow: Vec<String>,
    /// What may be missing for more than one of these reasons.
    pub either: Vec<String>,
    pub other: Vec<String>,
}

pub fn check(history: &History, largest: &[usize], missing: &mut Missing) {
    for delivery in &history.deliveries {
        check_delivery(history, delivery);
    }
    for (number, message) in history.messages.iter().enumerate() {
        for (actor, largest) in largest.iter().enumerate() {
            check_count(history, number, message, actor);
            if !message.empty && !has_come(history, number, message, actor) {
                let line = format!("c{actor} never got {}", history.name(number));
                let too_large = message.len + MOST_BESIDE > *largest;
                let slow = message.qos == 0 || highest_sure(history, message, actor) == 0;
                let expires = message.expiry.is_some();
                if [expires, too_large, slow].into_iter().filter(|may_be| *may_be).count() > 1 {
                    missing.either.push(line);
                } else if too_large {
                    missing.too_large.push(line);
                } else if expires {
                    missing.expired.push(line);
                } else if slow {
                    missing.slow.push(line);
                } else {
                    missing.other.push(line);
                }
            }
        }
    }
}

/// Bytes of a PUBLISH beside its payload, here.
const MOST_BESIDE: usize = 64;

impl Missing {
    /// Panics if more is missing than the counters name.
    pub fn check(&self, counts: &Snapshot) {
        let full = counts.dropped_queue_full + counts.dropped_queue_bytes;
        let checks = [
            (&self.too_large, counts.dropped_too_large),
            (&self.expired, counts.dropped_expired),
            (&self.slow, counts.dropped_slow),
            (&self.other, 0),
        ];
        for (lines, counted) in checks {
            assert!(lines.len() as u64 <= counted + full, "{counted} + {full} dropped, but {lines:#?}");
        }
        let lines = checks.iter().map(|(lines, _)| lines.len()).sum::<usize>() + self.either.len();
        let counted = checks.iter().map(|(_, counted)| counted).sum::<u64>() + full;
        assert!(lines as u64 <= counted, "{counted} dropped, but {self:#?}");
    }
}

/// Nothing comes that was not published, or not subscribed to, or otherwise than agreed.
fn check_delivery(history: &History, delivery: &Delivery) {
    let Delivery { actor, at, topic, .. } = delivery;
    let Some(number) = delivery.message else {
        let cleared = |one: &Message| one.empty && one.topic == *topic && one.asked <= *at;
        assert!(history.messages.iter().any(cleared), "c{actor} got nothing on {topic}, which nobody sent");
        return;
    };
    let Some(message) = history.messages.get(number) else {
        panic!("c{actor} got what nobody published: m{number}")
    };
    let name = || format!("c{actor} at {at:?}: {}", history.name(number));
    assert_eq!(message.topic, *topic, "{}", name());
    assert!(message.asked < *at, "{}", name());
    let possible: Vec<_> = possible(history, message, *actor, *at).collect();
    assert!(!possible.is_empty(), "not subscribed: {}", name());
    let granted = possible.iter().map(|one| one.options.qos as u8).max().unwrap_or(0);
    assert!(delivery.qos <= granted.min(message.qos), "QoS too high: {}", name()); // [MQTT-3.8.4-8]
    let lowest = possible.iter().map(|one| one.options.qos as u8).min().unwrap_or(0);
    assert!(delivery.qos >= lowest.min(message.qos), "QoS too low: {}", name());
    check_retain_flag(history, delivery, message, &possible, &name);
    check_identifiers(delivery, message, &possible, &name);
    if let Some(expiry) = message.expiry {
        let connection = &history.connections[delivery.connection];
        let over = message.settled_by().checked_add(seconds(expiry));
        // [MQTT-3.3.2-5]: what expired before the client was there again is not sent for the first time.
        let too_late = over.is_some_and(|over| over < connection.asked);
        assert!(delivery.dup || !too_late, "expired: {}", name());
        // Clients before 5.0 cannot be told.
        if let Some(left) = delivery.expiry {
            let passed = at.saturating_sub(message.asked).as_secs() as u32;
            let least = if delivery.dup { 0 } else { expiry.saturating_sub(passed + 1) };
            assert!((least..=expiry).contains(&left), "{left} s left of {expiry}: {}", name()); // [MQTT-3.3.2-6]
        }
    }
}

fn check_retain_flag(
    history: &History,
    delivery: &Delivery,
    message: &Message,
    possible: &[&Subscription],
    name: &impl Fn() -> String,
) {
    let keeps = |one: &&&Subscription| one.options.retain_as_published;
    if delivery.retain {
        // [MQTT-3.3.1-12]; what a subscription has asked for may come when another has long taken its place.
        let asked_for_it = |one: &Subscription| {
            one.actor == delivery.actor
                && one.asked <= delivery.at
                && one.wants_retained()
                && one.matches(&message.topic)
        };
        let fair = message.retain
            && (possible.iter().any(|one| one.options.retain_as_published)
                || history.subscriptions.iter().any(asked_for_it));
        assert!(fair, "retain flag: {}", name());
    } else if message.retain {
        // [MQTT-3.3.1-13]
        assert!(possible.iter().filter(keeps).count() < possible.len(), "no retain flag: {}", name());
    }
}

/// [MQTT-3.3.4-3], [MQTT-3.3.4-4], [MQTT-3.3.4-5]
fn check_identifiers(
    delivery: &Delivery,
    message: &Message,
    possible: &[&Subscription],
    name: &impl Fn() -> String,
) {
    for identifier in &delivery.identifiers {
        let known = possible.iter().any(|one| one.identifier == Some(*identifier));
        assert!(known, "subscription identifier {identifier}: {}", name());
    }
    // A retained message comes for one subscription alone, and so does one of a group.
    if message.retain || possible.iter().any(|one| one.share().is_some()) {
        return;
    }
    for one in possible.iter().filter(|one| one.is_sure(message.asked, message.settled_by())) {
        if let Some(identifier) = one.identifier {
            assert!(
                delivery.identifiers.contains(&identifier),
                "without identifier {identifier}: {}",
                name()
            );
        }
    }
}

/// It comes no more often than it may.
fn check_count(history: &History, number: usize, message: &Message, actor: usize) {
    let of_it: Vec<_> = history
        .deliveries
        .iter()
        .filter(|one| {
            one.actor == actor && one.message == Some(number) && one.identifiers.iter().all(|id| *id < 100)
        })
        .collect();
    let Some(last) = of_it.last() else { return };
    let copies = message.copies();
    let mut most = copies;
    if message.retain {
        // Each subscription may have brought it once more.
        let asked = |one: &&Subscription| {
            one.actor == actor && one.asked <= last.at && one.wants_retained() && one.matches(&message.topic)
        };
        most += history.subscriptions.iter().filter(asked).count();
    }
    let counted = |one: &&&Delivery| !one.dup || one.qos == 2;
    let count = of_it.iter().filter(counted).count();
    // 5.0 §4.3.3: exactly once.
    assert!(count <= most, "c{actor} got {count} times, at most {most}: {}", history.name(number));
    for again in of_it.iter().filter(|one| one.dup) {
        // [MQTT-3.3.1-1]: before the first connection of a session nothing can have been sent. One that was never
        // answered may have been the first.
        let before = history.connections[..again.connection].iter().rfind(|one| one.actor == actor);
        let fair = before.is_some_and(|before| before.life == again.life || before.accepted == NEVER);
        assert!(fair, "DUP on the first connection: {}", history.name(number));
    }
}

/// Whether a message has come, or need not have. 5.0 §4.3.2, §4.3.3
fn has_come(history: &History, number: usize, message: &Message, actor: usize) -> bool {
    let by = message.taken_by();
    for one in sure(history, message, actor) {
        let qos = message.qos.min(one.options.qos as u8);
        let Some(calm) = calm_after(history, actor, one.life, by, (qos == 0).then_some(message)) else {
            continue;
        };
        let came = history.deliveries.iter().any(|delivery| {
            delivery.actor == actor && delivery.message == Some(number) && delivery.at <= calm.at
        });
        if !came {
            return false;
        }
    }
    true
}

/// A calm moment behind `by` at which a client was connected, with its session in this life. If `on_one_connection`, then
/// on one that was there before that message.
pub fn calm_after<'a>(
    history: &'a History,
    actor: usize,
    life: usize,
    by: super::history::Time,
    on_one_connection: Option<&Message>,
) -> Option<&'a Calm> {
    history.calms.iter().find(|calm| {
        let Some(Some((calm_life, connection))) = calm.connected.get(actor) else { return false };
        calm.at >= by
            && *calm_life == life
            && on_one_connection
                .is_none_or(|message| history.connections[*connection].accepted <= message.asked)
    })
}

/// Subscriptions for which a message must come.
fn sure<'a>(
    history: &'a History,
    message: &'a Message,
    actor: usize,
) -> impl Iterator<Item = &'a Subscription> {
    history.subscriptions.iter().filter(move |one| {
        one.actor == actor
            && one.share().is_none()
            && one.matches(&message.topic)
            && one.is_sure(message.asked, message.taken_by())
            && !one.leaves_out(message)
    })
}

/// Subscriptions for which a message may have come until then.
fn possible<'a>(
    history: &'a History,
    message: &'a Message,
    actor: usize,
    until: super::history::Time,
) -> impl Iterator<Item = &'a Subscription> {
    history.subscriptions.iter().filter(move |one| {
        one.actor == actor
            && one.matches(&message.topic)
            && one.may_be(message.asked, until)
            && !one.leaves_out(message)
    })
}

/// The highest QoS of the subscriptions that were there when a message came, so that it was sent with no lower one.
fn highest_sure(history: &History, message: &Message, actor: usize) -> u8 {
    sure(history, message, actor).map(|one| one.options.qos as u8).max().unwrap_or(0)
}
