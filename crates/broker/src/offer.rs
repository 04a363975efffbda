//! Deliveries and wills before hooks, and what is told of messages.

use mqway_codec::{PropertiesBuf, PropertyId, Publish};
use mqway_engine::{ConnId, Io};
use mqway_hooks::{Event, Known, Message, Phase};
use mqway_session::server::{Sender, Will};

use crate::guest::{Guest, Hooked, Testator};
use crate::house::House;
use crate::mail::Mail;
use crate::sessions::Home;
use crate::writer::{Letter, Unwritten, Writer};

impl Hooked {
    /// Writes a message for its receiver, if hooks let it, and as they have changed it; tells observers that it was
    /// sent. Its QoS stays, since it was agreed, and may have taken a place in the receiver's window.
    ///
    /// # Errors
    /// If it was not written, because of hooks or for whatever else.
    #[expect(clippy::too_many_arguments, reason = "those of Writer::write, and whom it is for")]
    #[inline]
    pub fn write(
        &mut self,
        client_id: &str,
        guest: &mut Guest,
        writer: &mut Writer,
        io: &mut Io<Mail>,
        conn: ConnId,
        sender: &mut Sender,
        letter: &Letter<'_>,
    ) -> Result<usize, Unwritten> {
        let known =
            match self.wants(Phase::Delivered) || letter.properties.contains(PropertyId::ResponseTopic) {
                true => None,
                false => self.hooks.known_deliver(&guest.client, letter.topic),
            };
        match known {
            Some(Known::Same) => writer.write(io, conn, sender, letter),
            Some(Known::As(topic)) => {
                let renamed = Letter { serial: 0, raw: None, topic, ..*letter };
                writer.write(io, conn, sender, &renamed)
            }
            None => self.ask_and_write(client_id, guest, writer, io, conn, sender, letter),
        }
    }

    /// Whether messages to this topic go to a receiver as they are, without a hook being asked or told. They have no
    /// properties.
    pub fn passes_to(&self, guest: &Guest, topic: &str) -> bool {
        let known = || self.hooks.known_deliver(&guest.client, topic) == Some(Known::Same);
        !self.wants(Phase::Delivered) && (!self.wants(Phase::Deliver) || known())
    }

    #[expect(clippy::too_many_arguments, reason = "as there")]
    fn ask_and_write(
        &mut self,
        client_id: &str,
        guest: &mut Guest,
        writer: &mut Writer,
        io: &mut Io<Mail>,
        conn: ConnId,
        sender: &mut Sender,
        letter: &Letter<'_>,
    ) -> Result<usize, Unwritten> {
        let (judged, told) = (self.wants(Phase::Deliver), self.wants(Phase::Delivered));
        if !judged && !told {
            return writer.write(io, conn, sender, letter);
        }
        let mut publish = Publish::new(letter.topic, letter.payload);
        publish.properties = letter.properties;
        (publish.qos, publish.retain, publish.dup) = (letter.qos, letter.retain, letter.dup);
        let mut message = Message::from_publish(&publish, letter.topic);
        if judged && let Err(denial) = self.hooks.deliver(&mut guest.client, &mut message) {
            // Not for all to see: it may happen with each message, and is nothing that the client has done.
            log::debug!("{}: PUBLISH of {:?} not delivered: {denial}", guest.client, letter.topic);
            let reason = denial.reason;
            if denial.ends {
                self.condemned.push((conn, denial));
            }
            return Err(Unwritten::Denied(reason));
        }
        let written = if message.is_changed() {
            let kept = without(&message, &OWN);
            let changed = Letter {
                serial: 0,
                raw: None,
                topic: message.topic(),
                payload: message.payload(),
                blob: None,
                properties: kept.as_properties(),
                retain: message.retain(),
                ..*letter
            };
            writer.write(io, conn, sender, &changed)?
        } else {
            writer.write(io, conn, sender, letter)?
        };
        if told
            && let Err(denial) =
                self.hooks.observe(client_id, Some(&mut guest.client), &Event::Delivered(&message))
        {
            self.condemned.push((conn, denial));
        }
        Ok(written)
    }
}

/// Properties that are the writer's to give.
const OWN: [PropertyId; 3] =
    [PropertyId::MessageExpiryInterval, PropertyId::TopicAlias, PropertyId::SubscriptionIdentifier];

/// The properties of a message that hooks have changed, but for these.
pub(crate) fn without(message: &Message<'_>, left_out: &[PropertyId]) -> PropertiesBuf {
    let mut kept = PropertiesBuf::new();
    // They stood together before.
    let _ = kept.extend(message.properties().iter().filter(|property| !left_out.contains(&property.id())));
    kept
}

/// Tells observers, if there are any, that a message for a session, or from it, was dropped; `why` is the counter's name.
#[inline]
pub(crate) fn tell_dropped(
    hooked: &mut Option<Box<Hooked>>,
    home: &mut Home,
    topic: &str,
    why: &'static str,
) {
    if let Some(hooked) = hooked.as_mut().filter(|hooked| hooked.wants(Phase::Dropped)) {
        hooked.tell(home, &Event::Dropped { topic, why });
    }
}

impl House {
    /// A will as hooks have changed it, if they let it be published at all. `testator` has left it, as far as hooks know
    /// of it.
    pub(crate) fn judge_will(
        &mut self,
        io: &Io<Mail>,
        client_id: &str,
        testator: Option<Box<Testator>>,
        will: Will,
    ) -> Option<Will> {
        let Some(hooked) = &self.desk.hooked else { return Some(will) };
        let shown = mqway_codec::Will {
            topic: &will.topic,
            payload: &will.payload,
            qos: will.qos,
            retain: will.retain,
            properties: will.properties.as_properties(),
        };
        let mut message = Message::from_will(&shown);
        let still = testator.map_or(Ok(()), |mut testator| {
            let client = &mut testator.client;
            match testator.judged == Some(hooked.hooks.epoch(client)) {
                true => Ok(()),
                false => hooked.hooks.will_still(client, &message, hooked.answers(io)),
            }
        });
        match still.and_then(|()| hooked.hooks.will(client_id, &mut message)) {
            Ok(()) if message.is_changed() => {
                let mut changed = Will::of(&message.as_will());
                changed.retain &= self.shared.terms.retain;
                Some(changed)
            }
            Ok(()) => Some(will),
            Err(denial) => {
                log::info!("{client_id:?}: its will to {:?} is not published: {denial}", will.topic);
                self.desk.tally.wills_denied += 1;
                self.shared.counters.refuse(denial.reason);
                self.tell_of(client_id, &Event::Dropped { topic: &will.topic, why: "wills_denied" });
                None
            }
        }
    }

    /// Tells observers of a client that has no connection any more: who panics then has nothing to end.
    pub(crate) fn tell_of(&self, client_id: &str, event: &Event<'_>) {
        if let Some(hooked) = self.desk.hooked.as_ref().filter(|hooked| hooked.wants(event.phase())) {
            let _ = hooked.hooks.observe(client_id, None, event);
        }
    }
}
