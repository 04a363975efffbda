//! SUBSCRIBE and UNSUBSCRIBE: waiting, sent, answered.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use mqway_codec::{
    Packet, PacketId, PropertiesBuf, Property, QoS, ReasonCode, Subscribe, SubscribeOptions, SubscriptionId,
    SubscriptionsBuf, TopicFilter, TopicFiltersBuf, Unsubscribe, Version,
};

use super::{Client, Event, Fault, Ticket};

/// What to receive, and how.
///
/// ```
/// use mqway_codec::{QoS, SubscribeOptions, SubscriptionId};
/// use mqway_session::client::Subscription;
///
/// let of_others = SubscribeOptions { no_local: true, ..SubscribeOptions::new(QoS::AtLeastOnce) };
/// let subscription =
///     Subscription { options: of_others, identifier: SubscriptionId::new(7), ..Subscription::new("chat/#", QoS::AtMostOnce) };
/// # assert_eq!(subscription.options.qos, QoS::AtLeastOnce);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The topic filter.
    pub filter: Box<str>,
    /// QoS and the options of 5.0.
    pub options: SubscribeOptions,
    /// The number that 5.0 puts into each message for it. All subscriptions of one request have the first one's.
    pub identifier: Option<SubscriptionId>,
}

impl Subscription {
    /// To receive what matches `filter`, at this QoS at the most; nothing else special.
    pub fn new(filter: impl Into<Box<str>>, qos: QoS) -> Subscription {
        let options = SubscribeOptions::new(qos);
        Subscription { filter: filter.into(), options, identifier: None }
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To receive.
    Subscribe(Vec<Subscription>),
    /// To receive no more.
    Unsubscribe(Vec<Box<str>>),
}

impl Client {
    /// Sends the requests that wait.
    pub(super) fn send_requests(&mut self, now: Duration) {
        while let Some((ticket, request)) = self.waiting.pop_front() {
            if !self.send_request(now, Some(ticket), request) {
                self.events.push_back(Event::Unsent { ticket });
            }
        }
    }

    /// The server has no session of ours: asks again for everything that no waiting request asks for anyway.
    pub(super) fn subscribe_again(&mut self, now: Duration) {
        let asked = |filter: &str| {
            self.waiting.iter().any(|(_, request)| match request {
                Request::Subscribe(subscriptions) => subscriptions.iter().any(|one| &*one.filter == filter),
                Request::Unsubscribe(_) => false,
            })
        };
        let again: Vec<_> = self.subscriptions.values().filter(|one| !asked(&one.filter)).cloned().collect();
        // One each, so that each has its own identifier and one that is refused does not stand for others.
        for subscription in again {
            self.send_request(now, None, Request::Subscribe(alloc::vec![subscription]));
        }
    }

    /// The answer to a request.
    pub(super) fn answered(
        &mut self,
        id: PacketId,
        codes: Vec<ReasonCode>,
        properties: PropertiesBuf,
        packet: &Packet<'_>,
    ) -> Result<(), Fault> {
        let unknown = Fault::UnknownId(packet.packet_type());
        let (_, request) = self.asked.get(&id).ok_or(unknown)?;
        if !is_answer(self.options.version, request, packet, codes.len()) {
            return Err(Fault::NoAnswerTo(packet.packet_type()));
        }
        self.outbound.release(id).map_err(|_| unknown)?;
        let (ticket, request) = self.asked.remove(&id).ok_or(unknown)?;
        self.conclude(ticket, &request, codes, properties);
        Ok(())
    }

    /// A request has its answer.
    fn conclude(
        &mut self,
        ticket: Option<Ticket>,
        request: &Request,
        codes: Vec<ReasonCode>,
        properties: PropertiesBuf,
    ) {
        if let Request::Subscribe(subscriptions) = request {
            // What the server refused would be refused again.
            let refused = subscriptions.iter().zip(&codes).filter(|(_, code)| code.is_error());
            for (Subscription { filter, .. }, reason) in refused {
                self.subscriptions.remove(filter);
                if ticket.is_none() {
                    let (filter, reason) = (filter.clone(), *reason);
                    self.events.push_back(Event::SubscriptionLost { filter, reason });
                }
            }
        }
        self.events.extend(ticket.map(|ticket| Event::Answered { ticket, codes, properties }));
    }

    /// The connection is gone, and with it the answers: what somebody waits for is asked for again with the next one,
    /// before what came later.
    pub(super) fn ask_again(&mut self) {
        let asked = core::mem::take(&mut self.asked).into_values();
        let mut again: Vec<_> = asked.filter_map(|(ticket, request)| Some((ticket?, request))).collect();
        // Tickets are given in order, and identifiers begin again after the last.
        again.sort_by_key(|(ticket, _)| *ticket);
        for request in again.into_iter().rev() {
            self.waiting.push_front(request);
        }
    }

    fn send_request(&mut self, now: Duration, ticket: Option<Ticket>, request: Request) -> bool {
        if let Some(codes) = self.refused_request(&request) {
            self.conclude(ticket, &request, codes, PropertiesBuf::new());
            return true;
        }
        let Some(id) = self.outbound.reserve() else {
            return false;
        };
        if self.write_request(now, id, &request).is_none() {
            // It was reserved above.
            let _ = self.outbound.release(id);
            return false;
        }
        self.asked.insert(id, (ticket, request));
        true
    }

    /// The answer to a request that the server does not take, as it would give it if it did not end the connection.
    fn refused_request(&self, request: &Request) -> Option<Vec<ReasonCode>> {
        let live = self.live.as_ref()?;
        let Request::Subscribe(subscriptions) = request else {
            return None;
        };
        let version = self.options.version;
        let code = subscriptions.iter().find_map(|one| live.limits.refuse_subscription(version, one))?;
        Some(alloc::vec![code; subscriptions.len()])
    }

    fn write_request(&mut self, now: Duration, id: PacketId, request: &Request) -> Option<()> {
        let version = self.options.version;
        match request {
            Request::Subscribe(subscriptions) => {
                let mut list = SubscriptionsBuf::new();
                for one in subscriptions {
                    list.push(TopicFilter::for_version(version, &one.filter).ok()?, one.options);
                }
                let mut properties = self.options.subscribe_properties.clone();
                if let Some(identifier) = subscriptions.first().and_then(|first| first.identifier) {
                    properties.push(Property::SubscriptionIdentifier(identifier)).ok()?;
                }
                let mut subscribe = Subscribe::new(id, list.as_subscriptions());
                subscribe.properties = properties.as_properties();
                self.try_write(now, &Packet::Subscribe(subscribe))
            }
            Request::Unsubscribe(filters) => {
                let mut list = TopicFiltersBuf::new();
                for filter in filters {
                    list.push(TopicFilter::for_version(version, filter).ok()?);
                }
                let properties = self.options.unsubscribe_properties.clone();
                let mut unsubscribe = Unsubscribe::new(id, list.as_filters());
                unsubscribe.properties = properties.as_properties();
                self.try_write(now, &Packet::Unsubscribe(unsubscribe))
            }
        }
    }
}

/// Whether a packet with so many codes answers a request.
fn is_answer(version: Version, request: &Request, packet: &Packet<'_>, codes: usize) -> bool {
    match (request, packet) {
        (Request::Subscribe(subscriptions), Packet::Suback(_)) => codes == subscriptions.len(),
        // Before 5.0 there are no codes.
        (Request::Unsubscribe(filters), Packet::Unsuback(_)) => {
            version != Version::V5 || codes == filters.len()
        }
        _ => false,
    }
}
