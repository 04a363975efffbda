use std::borrow::Cow;
use std::sync::Arc;

use mqway_codec::{PropertiesBuf, Property, PropertyId, ReasonCode};
use mqway_hooks::{Client, Denial, Filter, Login, Message, Phase, Phases, Subscription, Transform};

use super::with_subject;
use crate::rewrite::{Outside, View, Views};

/// Rewrites topics: see [`crate::rewrite`]. A client is refused for which that cannot be done, and what it is to be
/// subscribed to is noted as it logs in.
///
/// What a connection has begun with it keeps, also where there are other views then: topics do not change their names
/// under a client's feet. One that had begun before there were any gets its view with the next packet.
///
/// * **PUBLISH and will** to a topic without a counterpart are refused (0x90), and so are those whose response topic has
///   none.
/// * **SUBSCRIBE and UNSUBSCRIBE** likewise (0x8F); the group of a shared subscription stays as it is.
/// * **Deliveries** of topics that the client has no name for are dropped. A response topic that it could not use is left
///   out.
pub struct Topics {
    views: Arc<Views>,
}

/// What is kept of a client.
struct Kept(Result<View, Denial>);

impl Topics {
    /// By these views.
    pub fn new(views: Arc<Views>) -> Topics {
        Topics { views }
    }

    /// The topics as the client knows them; `None` if that is as the server does.
    ///
    /// # Errors
    /// If it cannot be served: the connection ends.
    #[inline]
    fn view<'c>(&self, client: &'c mut Client) -> Result<Option<&'c View>, Denial> {
        if client.data::<Kept>().is_none() {
            let view = self.look_up(client);
            client.keep(Kept(view));
        }
        match &client.data::<Kept>().expect("it was kept just now").0 {
            Ok(view) => Ok((!view.is_plain()).then_some(view)),
            Err(denial) => Err(denial.clone().and_end()),
        }
    }

    #[cold]
    fn look_up(&self, client: &Client) -> Result<View, Denial> {
        with_subject(client, |subject| self.views.of(subject))
            .map_err(|unfit| Denial::not_authorized(format!("topics: {unfit}")))
    }

    /// Notes what the client is to be subscribed to.
    fn subscribe_unasked(&self, client: &mut Client, view: &View) {
        let wanted = with_subject(client, |subject| self.views.subscriptions(subject, view));
        for one in wanted {
            match one {
                Ok((filter, options)) => client.subscriptions.push((filter.into(), options)),
                Err((filter, why)) => log::warn!("{client}: not subscribed to {filter:?}: {why}"),
            }
        }
    }
}

impl Transform for Topics {
    fn name(&self) -> &str {
        "topics"
    }

    fn phases(&self) -> Phases {
        Phases::of(&[
            Phase::Authenticate,
            Phase::Publish,
            Phase::Subscribe,
            Phase::Unsubscribe,
            Phase::Deliver,
        ])
    }

    fn by_topic(&self) -> bool {
        true
    }

    fn admit(&self, client: &mut Client, _: &Login<'_>) -> Result<(), Denial> {
        let view = self.look_up(client)?;
        self.subscribe_unasked(client, &view);
        client.keep(Kept(Ok(view)));
        Ok(())
    }

    fn publish(&self, client: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        let Some(view) = self.view(client)? else { return Ok(()) };
        let topic = view.to_server(message.topic()).map_err(|why| no_topic(why, message.topic()))?;
        if let Some(response) = message.properties().response_topic() {
            let response = view.to_server(response).map_err(|why| no_topic(why, response))?;
            set_response_topic(message, Some(&response))?;
        }
        rename(message, topic)
    }

    fn subscribe(&self, client: &mut Client, wanted: &mut Subscription<'_>) -> Result<(), Denial> {
        self.unsubscribe(client, &mut wanted.filter)
    }

    fn unsubscribe(&self, client: &mut Client, filter: &mut Filter<'_>) -> Result<(), Denial> {
        let Some(view) = self.view(client)? else { return Ok(()) };
        let known = match filter.group() {
            Some(_) => view.shared_filter(filter.matched()),
            None => view.filter(filter.matched()),
        };
        let known = known.map_err(|why| no_filter(why, filter.as_str()))?;
        if known == filter.matched() {
            return Ok(()); // So that the packet stays as it is.
        }
        filter.set_matched(&known).map_err(|_| no_filter(Outside::NoTopic, filter.as_str()))
    }

    fn deliver(&self, client: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        let Some(view) = self.view(client)? else { return Ok(()) };
        let topic = view.to_client(message.topic()).map_err(unknown)?;
        if let Some(response) = message.properties().response_topic() {
            let response = view.to_client(response).ok();
            set_response_topic(message, response.as_deref())?;
        }
        rename(message, topic)
    }
}

/// Gives a message another topic, if it is another one.
fn rename(message: &mut Message<'_>, topic: String) -> Result<(), Denial> {
    if topic == message.topic() {
        return Ok(());
    }
    message.set_topic(topic).map_err(|_| unknown(Outside::NoTopic))
}

/// Puts another response topic in the place of the one that a message has, or none.
fn set_response_topic(message: &mut Message<'_>, response: Option<&str>) -> Result<(), Denial> {
    let mut changed = PropertiesBuf::new();
    for property in message.properties().iter() {
        let property = match property.id() {
            PropertyId::ResponseTopic => response.map(Property::ResponseTopic),
            _ => Some(property),
        };
        if let Some(property) = property {
            changed.push(property).map_err(|_| no_topic(Outside::NoTopic, response.unwrap_or_default()))?;
        }
    }
    message.set_properties(changed);
    Ok(())
}

#[cold]
fn no_topic(why: Outside, topic: &str) -> Denial {
    Denial::new(ReasonCode::TopicNameInvalid, format!("topics: {topic:?}: {why}")).say(said(why))
}

#[cold]
fn no_filter(why: Outside, filter: &str) -> Denial {
    Denial::new(ReasonCode::TopicFilterInvalid, format!("topics: {filter:?}: {why}")).say(said(why))
}

/// A message that the client has no name for. It may happen with every one, so nothing is put together here.
fn unknown(why: Outside) -> Denial {
    Denial::not_authorized(said(why))
}

fn said(why: Outside) -> Cow<'static, str> {
    Cow::Borrowed(why.text())
}
