//! What is known of a connection.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{Connect, SubscribeOptions, Version};
use mqway_transport::facts::Facts;

use crate::memo::Memo;
use crate::{Hooks, Login};

/// A connection as hooks see it, from its first byte to its end: who it is, how it came, and what hooks keep of it.
///
/// It exists only where hooks are registered.
pub struct Client {
    /// Names the connection among those of one worker; never reused.
    pub number: u64,
    /// The URL of the listener that accepted it, as configured.
    pub listener: Arc<str>,
    /// What TLS, the WebSocket upgrade and a PROXY header told, the verified address of the peer among it.
    pub facts: Facts,
    /// The version of its CONNECT.
    pub version: Version,
    /// The client identifier; empty until CONNECT has come, and as long as none is assigned.
    pub client_id: Arc<str>,
    /// The user name: the client's, or the one that an authenticating hook has put in its place.
    pub user_name: Option<Arc<str>>,
    /// Groups that an authenticating hook has found it in.
    pub groups: Vec<Arc<str>>,
    /// What else is known of it by name, such as the claims of a token.
    pub claims: Vec<(Arc<str>, Arc<str>)>,
    /// What the server subscribes it to as soon as it is accepted, by filters as the server knows them, unless its session
    /// has that already. No hook is asked for these; their messages are judged as any other.
    pub subscriptions: Vec<(Box<str>, SubscribeOptions)>,
    /// How long its authentication holds, from when it was given; at its end the connection ends, unless the client
    /// has authenticated again. `None`: as long as the connection.
    pub lifetime: Option<Duration>,
    /// How it came to be known who it is.
    pub(crate) standing: Standing,
    /// How long nothing more is to be read of it: see [`Client::slow_down`].
    rest: Duration,
    /// Turns in which a hook was given a ticket.
    pub(crate) turn: u32,
    /// How often it was said who the client is.
    pub(crate) revision: u32,
    /// What hooks have let pass lately.
    pub(crate) memo: Memo,
    data: Vec<(TypeId, Box<dyn Any + Send>)>,
}

/// How it came to be known who a client is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It is only known who it claims to be.
    #[default]
    Claimed,
    /// No hook knew it, and whoever is unknown is let in, by the names that it claims.
    Anonymous,
    /// A hook or a method of enhanced authentication has vouched for it.
    Proven,
}

impl Client {
    /// A connection whose CONNECT is to come.
    pub fn new(number: u64, listener: Arc<str>, facts: Facts) -> Client {
        Client {
            number,
            listener,
            facts,
            version: Version::V5,
            client_id: Arc::from(""),
            user_name: None,
            groups: Vec::new(),
            claims: Vec::new(),
            subscriptions: Vec::new(),
            lifetime: None,
            standing: Standing::Claimed,
            rest: Duration::ZERO,
            turn: 0,
            revision: 0,
            memo: Memo::default(),
            data: Vec::new(),
        }
    }

    /// Its CONNECT has come, and says who it is.
    pub fn greet(&mut self, connect: &Connect<'_>) {
        self.version = connect.version;
        self.client_id = connect.client_id.into();
        self.user_name = connect.user_name.map(Arc::from);
    }

    /// What a server knows of a client that it has let in while there were no hooks.
    pub fn introduce(&mut self, version: Version, client_id: &str, user_name: Option<&str>) {
        self.version = version;
        self.client_id = client_id.into();
        self.user_name = user_name.map(Arc::from);
        self.standing = Standing::Anonymous;
    }

    /// How it came to be known who it is.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Other hooks are in charge now. Where they find out who clients are, a user name counts no more that nobody has
    /// vouched for.
    pub fn meet(&mut self, hooks: &Hooks) {
        if hooks.vouch() && self.standing == Standing::Anonymous {
            self.user_name = None;
            self.revision = self.revision.wrapping_add(1);
        }
    }

    /// Has nothing more read of this connection for so long, once the packet that is being judged is done with; of
    /// several wishes the longest counts. For hooks that judge a PUBLISH or a SUBSCRIBE.
    pub fn slow_down(&mut self, time: Duration) {
        self.rest = self.rest.max(time);
    }

    /// For servers: how long nothing more is to be read, if hooks have wished so since this was last asked.
    #[inline]
    pub fn take_rest(&mut self) -> Option<Duration> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_zero()).then_some(rest)
    }

    /// Takes over who a hook says that it is, instead of what its CONNECT says.
    pub(crate) fn follow(&mut self, login: &Login<'_>) {
        self.revision = self.revision.wrapping_add(1);
        let sent = login.sent();
        if login.client_id != sent.client_id {
            self.client_id = (&*login.client_id).into();
        }
        if login.user_name.as_deref() != sent.user_name {
            self.user_name = login.user_name.as_deref().map(Arc::from);
        }
    }

    /// Changes whenever it has been found out anew who the client is: what a hook has derived of that is to be derived
    /// again.
    #[inline]
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// What a claim says.
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }

    /// Its transport: `tcp`, `tls`, `ws` or `wss`; `unix` where there is no address.
    pub fn transport(&self) -> &'static str {
        match (&self.facts.http, &self.facts.tls, &self.facts.peer) {
            (Some(_), Some(_), _) => "wss",
            (Some(_), None, _) => "ws",
            (None, Some(_), _) => "tls",
            (None, None, Some(_)) => "tcp",
            (None, None, None) => "unix",
        }
    }

    /// What a hook keeps of this connection, by its type.
    pub fn data<T: Any + Send>(&mut self) -> Option<&mut T> {
        let (_, data) = self.data.iter_mut().find(|(id, _)| *id == TypeId::of::<T>())?;
        data.downcast_mut()
    }

    /// Keeps something of this connection; returns what was kept under the same type.
    pub fn keep<T: Any + Send>(&mut self, data: T) -> Option<Box<T>> {
        let before = self.forget::<T>();
        self.data.push((TypeId::of::<T>(), Box::new(data)));
        before
    }

    /// Lets go of what was kept under a type.
    pub fn forget<T: Any + Send>(&mut self) -> Option<Box<T>> {
        let at = self.data.iter().position(|(id, _)| *id == TypeId::of::<T>())?;
        self.data.swap_remove(at).1.downcast().ok()
    }

    /// Takes what a hook keeps out, so that it and the client can be used side by side; give it back with
    /// [`Client::put_back`].
    pub fn take_or_default<T: Any + Send + Default>(&mut self) -> Box<T> {
        self.forget().unwrap_or_default()
    }

    /// Gives back what was taken.
    pub fn put_back<T: Any + Send>(&mut self, data: Box<T>) {
        self.data.push((TypeId::of::<T>(), data));
    }
}

/// A user name as it may stand in a log: some clients put a token there, whether it is looked for or not.
fn shown(name: &str) -> &str {
    // The header of a token is a JSON object in base64url, and three parts have two points (RFC 7515 §7.1).
    let is_token = name.starts_with("eyJ") && name.bytes().filter(|&byte| byte == b'.').count() >= 2;
    if is_token { "***" } else { name }
}

/// Who it is, for the log. Credentials are not among it.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name.as_deref().map(shown))
            .field("listener", &self.listener)
            .field("peer", &self.facts.peer)
            .finish_non_exhaustive()
    }
}

/// `"id" (user "name") from 192.0.2.1:1234`.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.client_id {
            "" => f.write_str("a client")?,
            id => write!(f, "{id:?}")?,
        }
        if let Some(name) = &self.user_name {
            write!(f, " (user {:?})", shown(name))?;
        }
        match self.facts.peer {
            Some(peer) => write!(f, " from {peer}"),
            None => write!(f, " at {}", self.listener),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_the_place_of_a_user_name_stays_out_of_logs() {
        let mut client = Client::new(1, "mqtt://:1883".into(), Facts::default());
        client.client_id = "c".into();
        for (name, expected) in [
            ("ann", "\"c\" (user \"ann\") at mqtt://:1883"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2ln", "\"c\" (user \"***\") at mqtt://:1883"),
        ] {
            client.user_name = Some(name.into());
            assert_eq!(client.to_string(), expected);
            assert_eq!(format!("{client:?}").contains(name), name == "ann");
        }
    }

    #[test]
    fn each_hook_keeps_its_own() {
        let mut client = Client::new(1, "mqtt://:1883".into(), Facts::default());
        assert!(client.keep(7u32).is_none());
        assert!(client.keep("text").is_none());
        *client.data::<u32>().unwrap() += 1;
        assert_eq!(client.keep(9u32), Some(Box::new(8)));
        assert_eq!(client.data::<&str>(), Some(&mut "text"));
        assert_eq!(client.forget::<u32>(), Some(Box::new(9)));
        assert_eq!(client.data::<u32>(), None);
    }
}
