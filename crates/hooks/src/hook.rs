//! The traits of hooks, by purpose. A hook implements those that it has a use for.
//!
//! All of them are called on the worker that owns the connection, and must not block: what takes longer than some
//! microseconds answers [`Later`]. One hook serves all workers at once.

use mqway_transport::facts::Facts;

use crate::{Client, Denial, Event, Filter, Later, Login, Message, Phase, Phases, Subscription, Verdict};

/// Judges connections before they have said anything of MQTT.
pub trait Accept: Send + Sync {
    /// Its name in logs and metrics.
    fn name(&self) -> &str;

    /// [`Phase::Accept`]: whether to serve a connection of which this is known. Over WebSocket a no is an HTTP status:
    /// 401 for [`BadUserNameOrPassword`](mqway_codec::ReasonCode::BadUserNameOrPassword), else 403.
    ///
    /// # Errors
    /// A no.
    fn accept(&self, listener: &str, facts: &Facts) -> Result<(), Denial>;
}

/// Judges who a client is. Of a client that shows it by a [`Method`] it is not asked.
pub trait Authenticate: Send + Sync {
    /// Its name in logs and metrics.
    fn name(&self) -> &str;

    /// [`Phase::Authenticate`]: whether this client may connect. May change what it logs in with, and say in `client`
    /// who it is.
    fn authenticate(&self, client: &mut Client, login: &mut Login<'_>, later: Later<'_>) -> Verdict;
}

/// Judges whether a client may come in, whoever vouches for it: a ban, a rate.
///
/// It is asked about every client, also about those that a [`Method`] has authenticated or that nobody knows, and each
/// hook must agree.
pub trait Admit: Send + Sync {
    /// Its name in logs and metrics.
    fn name(&self) -> &str;

    /// [`Phase::Admit`], early: CONNECT has come, and nobody has looked into whether the client is who it claims to be.
    /// A no spares that work.
    ///
    /// # Errors
    /// A no.
    fn knock(&self, _client: &mut Client) -> Result<(), Denial> {
        Ok(())
    }

    /// [`Phase::Admit`]: whether this client may come in, now that it is settled who it is. A yes means no more than
    /// no opinion. Its client identifier is empty if the server is to assign one.
    fn admit(&self, _client: &mut Client, _later: Later<'_>) -> Verdict {
        Verdict::Pass
    }

    /// This hook is new where a client is connected already, as after a reload: whether it may stay.
    ///
    /// # Errors
    /// A no, by which its connection ends.
    fn stay(&self, _client: &mut Client) -> Result<(), Denial> {
        Ok(())
    }
}

/// A method of enhanced authentication (5.0 §4.12).
pub trait Method: Send + Sync {
    /// The authentication method's name, as CONNECT has it.
    fn name(&self) -> &str;

    /// [`Phase::Exchange`]: begins, with CONNECT or, once more, with AUTH 0x19.
    fn begin(&self, client: &mut Client) -> Box<dyn Exchange>;
}

/// One enhanced authentication under way.
pub trait Exchange: Send {
    /// The client's next data: of CONNECT or of AUTH.
    fn take(&mut self, client: &mut Client, data: Option<&[u8]>) -> Step;
}

/// What follows in an [`Exchange`].
#[derive(Debug)]
pub enum Step {
    /// AUTH 0x18 with these data.
    Continue(Vec<u8>),
    /// The client is authenticated; data for CONNACK or AUTH 0x00, if there is something left to say.
    Done(Option<Vec<u8>>),
    /// It is not.
    Deny(Denial),
}

/// Judges what a client may do. A topic or filter is the server's, after every [`Transform`].
pub trait Authorize: Send + Sync {
    /// Its name in logs and metrics.
    fn name(&self) -> &str;

    /// The phases at which it is to be asked.
    fn phases(&self) -> Phases {
        Phases::of(&[Phase::Publish, Phase::Subscribe])
    }

    /// Whether what it says of messages depends on nothing but their topics, and on what is known of the client: then it
    /// need not be asked about each one to a topic that it has passed. It is again when it is found out anew who the client
    /// is, or when hooks are replaced.
    fn by_topic(&self) -> bool {
        false
    }

    /// [`Phase::Publish`]: whether the client may publish this; its will, at CONNECT, too.
    fn publish(&self, _client: &mut Client, _message: &Message<'_>, _later: Later<'_>) -> Verdict {
        Verdict::Pass
    }

    /// [`Phase::Subscribe`]: whether the client may have this subscription, which may be granted with a lower QoS.
    fn subscribe(&self, _client: &mut Client, _: &mut Subscription<'_>, _later: Later<'_>) -> Verdict {
        Verdict::Pass
    }

    /// [`Phase::Unsubscribe`]: whether the client may end this subscription.
    ///
    /// # Errors
    /// A no.
    fn unsubscribe(&self, _client: &mut Client, _filter: &Filter<'_>) -> Result<(), Denial> {
        Ok(())
    }

    /// [`Phase::Deliver`]: whether the client may get this message.
    ///
    /// # Errors
    /// A no: it is dropped, for this client.
    fn deliver(&self, _client: &mut Client, _message: &Message<'_>) -> Result<(), Denial> {
        Ok(())
    }
}

/// Changes what flows. Given the same it does the same: a packet that waits for a verdict is shown again.
pub trait Transform: Send + Sync {
    /// Its name in logs and metrics.
    fn name(&self) -> &str;

    /// The phases at which it is to be called.
    fn phases(&self) -> Phases {
        Phases::ALL
    }

    /// Whether what it makes of messages is another topic, if anything, and depends on nothing but their topics, and on what
    /// is known of the client: see [`Authorize::by_topic`]. It may do more to those that have a response topic.
    fn by_topic(&self) -> bool {
        false
    }

    /// [`Phase::Authenticate`], once it is known who the client is, and before its will is shown: whether its packets can be
    /// changed as they have to be. May note what the client is to be subscribed to.
    ///
    /// # Errors
    /// If they cannot: it may not connect.
    fn admit(&self, _client: &mut Client, _login: &Login<'_>) -> Result<(), Denial> {
        Ok(())
    }

    /// [`Phase::Publish`]: a message from the client; its will, at CONNECT, too.
    ///
    /// # Errors
    /// If it is not to go on.
    fn publish(&self, _client: &mut Client, _message: &mut Message<'_>) -> Result<(), Denial> {
        Ok(())
    }

    /// [`Phase::Subscribe`].
    ///
    /// # Errors
    /// If there is to be no such subscription.
    fn subscribe(&self, _client: &mut Client, _: &mut Subscription<'_>) -> Result<(), Denial> {
        Ok(())
    }

    /// [`Phase::Unsubscribe`].
    ///
    /// # Errors
    /// If the subscription is to stay.
    fn unsubscribe(&self, _client: &mut Client, _filter: &mut Filter<'_>) -> Result<(), Denial> {
        Ok(())
    }

    /// [`Phase::Deliver`]: a message to the client.
    ///
    /// # Errors
    /// If it is not to get it.
    fn deliver(&self, _client: &mut Client, _message: &mut Message<'_>) -> Result<(), Denial> {
        Ok(())
    }

    /// [`Phase::Will`]: a will is about to be published; its client may long be gone.
    ///
    /// # Errors
    /// If it is not to be published.
    fn will(&self, _client_id: &str, _message: &mut Message<'_>) -> Result<(), Denial> {
        Ok(())
    }
}

/// Is told what has happened.
pub trait Observe: Send + Sync {
    /// Its name in logs and metrics.
    fn name(&self) -> &str;

    /// The phases of which it wants to be told. Those of every message cost something for every message.
    fn phases(&self) -> Phases;

    /// Something has happened to the client of this identifier, or to all; `client` is its connection, if it has one.
    fn observe(&self, client_id: &str, client: Option<&mut Client>, event: &Event<'_>);
}
