//! That a new subscriber gets what was retained last, and nothing else.

use super::delivery::{Missing, calm_after};
use super::history::{Delivery, History, Message, NEVER, Subscription, Time};
use super::presence::seconds;

pub fn check(history: &History, missing: &mut Missing) {
    for delivery in history.deliveries.iter().filter(|one| one.retain) {
        check_replayed(history, delivery);
    }
    for (number, subscription) in history.subscriptions.iter().enumerate() {
        check_subscription(history, number, subscription, missing);
    }
}

/// What comes because it was retained, was retained at some moment since it was asked for.
fn check_replayed(history: &History, delivery: &Delivery) {
    let Some(number) = delivery.message else { return };
    let topic = &delivery.topic;
    let message = &history.messages[number];
    let matching: Vec<_> = history
        .subscriptions
        .iter()
        .filter(|one| one.actor == delivery.actor && one.asked <= delivery.at && one.matches(topic))
        .collect();
    // [MQTT-3.8.3-3]: what is one's own does not come back when it is retained, either. What a subscription has asked for
    // comes as the one that has taken its place wants it.
    let wanted = matching.iter().any(|one| !one.leaves_out(message));
    let live = matching
        .iter()
        .any(|one| one.options.retain_as_published && one.gone >= message.asked && !one.leaves_out(message));
    let asked_for = matching
        .iter()
        .any(|one| one.wants_retained() && may_be_retained(history, number, one.asked, delivery.at));
    let fair = wanted && (live || asked_for);
    // [MQTT-3.3.1-5], [MQTT-3.3.1-7]
    assert!(fair, "c{} at {:?}: not retained: {}", delivery.actor, delivery.at, history.name(number));
}

/// What certainly was retained, came. [MQTT-3.3.1-6], [MQTT-3.3.1-9], [MQTT-3.3.1-10]
fn check_subscription(history: &History, number: usize, one: &Subscription, missing: &mut Missing) {
    let known = |other: &Subscription| {
        other.actor == one.actor && other.filter == one.filter && other.gone > one.asked
    };
    let sent = match one.options.retain_handling {
        mqway_codec::RetainHandling::Send => true,
        mqway_codec::RetainHandling::SendIfNew => !history.subscriptions[..number].iter().any(known),
        mqway_codec::RetainHandling::DoNotSend => false,
    };
    if !sent || one.share().is_some() || one.sure_from == NEVER {
        return;
    }
    let Some(calm) = calm_after(history, one.actor, one.life, one.sure_from, None) else { return };
    if one.sure_until < calm.at {
        return; // What had not come by then need not come any more.
    }
    let same_connection =
        calm.connected[one.actor].is_some_and(|(_, connection)| connection == one.connection);
    for topic in super::schedule::RETAINED_TOPICS.into_iter().filter(|topic| one.matches(topic)) {
        let Some(lowest) = certainly_there(history, one, topic, calm.at) else { continue };
        let keeps = same_connection || lowest.min(one.options.qos as u8) > 0;
        let came = history.deliveries.iter().any(|delivery| {
            delivery.actor == one.actor
                && delivery.topic == topic
                && (one.asked..=calm.at).contains(&delivery.at)
        });
        if keeps && !came {
            let there: Vec<_> = of_topic(history, topic)
                .filter(|(message, _)| may_be_retained(history, *message, one.asked, calm.at))
                .map(|(message, _)| history.name(message))
                .collect();
            let line = format!("s{number} of c{} at {:?} brought nothing of {there:?}", one.actor, one.asked);
            missing.other.push(line);
        }
    }
}

/// Whether a message may have been the one retained at some moment between these.
fn may_be_retained(history: &History, number: usize, from: Time, until: Time) -> bool {
    let message = &history.messages[number];
    let end = message.expiry.and_then(|expiry| message.settled_by().checked_add(seconds(expiry)));
    may_be_last(history, number, from, until) && end.is_none_or(|end| end > from)
}

/// Whether no message was certainly retained in the place of this one, expired or not.
fn may_be_last(history: &History, number: usize, from: Time, until: Time) -> bool {
    let message = &history.messages[number];
    let settled = message.settled_by();
    message.retain
        && message.asked <= until
        && !of_topic(history, &message.topic)
            .any(|(_, other)| other.asked >= settled && other.settled_by() <= from)
}

/// The lowest QoS of what was retained for a subscription on a topic all the time until then, if certainly something
/// was.
fn certainly_there(history: &History, asking: &Subscription, topic: &str, until: Time) -> Option<u8> {
    let from = asking.asked;
    of_topic(history, topic).find(|(_, one)| one.settled_by() <= from)?;
    let mut lowest = 2;
    for (number, one) in of_topic(history, topic) {
        if !may_be_last(history, number, from, until) {
            continue;
        }
        let may_expire = one.expiry.is_some_and(|expiry| one.asked + seconds(expiry) <= until);
        if one.empty || may_expire || one.len > super::schedule::SMALL || asking.leaves_out(one) {
            return None;
        }
        lowest = lowest.min(one.qos);
    }
    Some(lowest)
}

fn of_topic<'a>(history: &'a History, topic: &'a str) -> impl Iterator<Item = (usize, &'a Message)> {
    history.messages.iter().enumerate().filter(move |(_, one)| one.retain && one.topic == topic)
}
