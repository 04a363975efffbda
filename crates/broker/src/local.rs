//! Subscriptions of the program around the broker.

use std::collections::HashMap;

use mqway_codec::{SubscribeOptions, TopicFilter};
use mqway_engine::Io;
use mqway_routing::{RetainedCursor, Scan};

use crate::counters::Tally;
use crate::house::House;
use crate::mail::{LocalSubscription, Mail};
use crate::message::time_left;
use crate::retained::Retained;
use crate::sessions::subscription_size;
use crate::shared::{Agreed, SessionRef};

/// One worker's, by number.
#[derive(Default)]
pub(crate) struct Locals {
    by_number: HashMap<u64, SessionRef>,
}

impl Locals {
    /// Makes a subscription: a session without a connection, which nobody can connect to.
    pub fn subscribe(&mut self, io: &Io<Mail>, house: &mut House, subscription: LocalSubscription) {
        let LocalSubscription { number, filter, qos, to, done } = subscription;
        let Ok(filter) = TopicFilter::new(&filter) else { return };
        // U+0000 stands in no client identifier.
        let name = format!("\0{number}");
        let session = house.desk.sessions.insert(house.desk.worker, &name, 0);
        let Some(home) = house.desk.sessions.find(session) else { return };
        home.set_local(to.clone());
        home.add_filter(filter.as_str());
        Tally::more(&mut house.desk.tally.state_bytes, subscription_size(filter.as_str()).into());
        self.by_number.insert(number, session);
        Tally::more(&mut house.desk.tally.sessions, 1);
        let agreed = Agreed::new(SubscribeOptions::new(qos), qos, None, None);
        house.shared.index.subscribe(filter, session, agreed);
        let mut cursor = RetainedCursor::new(filter);
        while house.shared.retained.scan(&mut cursor, 1024, |_, Retained { message, .. }| {
            // What nobody is to get any more is retained until somebody looks. [MQTT-3.3.2-5]
            let expired = time_left(message.expires, io.now()).is_err();
            if !expired && to.try_send(message.clone()).is_err() {
                house.desk.tally.dropped_local += 1; // As it is dropped later, if the program is slow.
            }
        }) == Scan::More
        {}
        let _ = done.try_send(());
    }

    /// Removes one.
    pub fn unsubscribe(&mut self, io: &mut Io<Mail>, house: &mut House, number: u64) {
        if let Some(session) = self.by_number.remove(&number) {
            house.end_session(io, session, false);
        }
    }
}
