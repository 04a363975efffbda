//! That one member of a group gets each message, and that what it leaves goes to another.

use std::collections::BTreeSet;

use super::delivery::Missing;
use super::history::{Delivery, History, Message, NEVER, Subscription};

pub fn check(history: &History, missing: &mut Missing) {
    let shared = history.subscriptions.iter().filter(|one| one.share().is_some());
    let groups: BTreeSet<&str> = shared.map(|one| &*one.filter).collect();
    for filter in groups {
        let members: Vec<_> = history.subscriptions.iter().filter(|one| one.filter == filter).collect();
        for (number, message) in history.messages.iter().enumerate() {
            if members.first().is_some_and(|one| one.matches(&message.topic)) {
                check_message(history, &members, number, message, missing);
            }
        }
    }
}

fn check_message(
    history: &History,
    members: &[&Subscription],
    number: usize,
    message: &Message,
    missing: &mut Missing,
) {
    let identifier = members[0].identifier.expect("groups are known by theirs");
    let came: Vec<&Delivery> = history
        .deliveries
        .iter()
        .filter(|one| one.message == Some(number) && one.identifiers.contains(&identifier))
        .collect();
    // What a member had not acknowledged when its session ended goes on, though it may have had it.
    let ends = members
        .iter()
        .filter(|one| one.may_be(message.asked, NEVER) && ends_after(history, one, message))
        .count();
    let counted = came.iter().filter(|one| !one.dup || one.qos == 2).count();
    let redelivered = if message.qos == 1 || came.iter().any(|one| one.qos < 2) { ends } else { 0 };
    let most = message.copies().saturating_add(redelivered);
    assert!(
        counted <= most,
        "{} got {counted} times by members of {}, at most {most}",
        history.name(number),
        members[0].filter
    ); // 5.0 §4.8.2
    let by = message.taken_by();
    let Some(last) = history.calms.last().filter(|calm| calm.at >= by) else { return };
    let is_here = |one: &Subscription| last.connected[one.actor].is_some_and(|(life, _)| life == one.life);
    let anybody = members.iter().any(|one| one.is_sure(message.asked, by));
    let all_here =
        ends == 0 && members.iter().filter(|one| one.may_be(message.asked, NEVER)).all(|one| is_here(one));
    // 5.0 §4.8.2: whoever stays gets what others leave, but for what they had with QoS 2. [MQTT-4.8.2-5]
    let stays =
        message.qos == 1 && members.iter().any(|one| one.is_sure(message.asked, last.at) && is_here(one));
    let possible = members.iter().filter(|one| one.may_be(message.asked, by));
    let lasting =
        possible.map(|one| one.options.qos as u8).min().is_some_and(|lowest| message.qos.min(lowest) > 0);
    if lasting && came.is_empty() && (anybody && all_here || stays) {
        let line = format!("no member of {} got {}", members[0].filter, history.name(number));
        match message.expiry {
            Some(_) => missing.expired.push(line),
            None => missing.other.push(line),
        }
    }
}

/// Whether the life of a member's session has, or may have, ended behind a message.
fn ends_after(history: &History, member: &Subscription, message: &Message) -> bool {
    history.connections.iter().any(|one| {
        one.actor == member.actor
            && one.accepted < NEVER
            && one.life > member.life
            && one.accepted > message.asked
    })
}
