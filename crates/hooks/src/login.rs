//! What a client logs in with, and what authenticating hooks may change of it.

use std::borrow::Cow;
use std::fmt;

use mqway_codec::Connect;

use crate::Message;

/// A CONNECT that hooks judge and change.
#[derive(Clone)]
pub struct Login<'a> {
    /// The client identifier; empty to have one assigned.
    pub client_id: Cow<'a, str>,
    /// The user name.
    pub user_name: Option<Cow<'a, str>>,
    /// The password.
    pub password: Option<Cow<'a, [u8]>>,
    /// Seconds of keep alive; 0: none.
    pub keep_alive: u16,
    /// The will. It is judged as a message that the client publishes, once the client is authenticated.
    pub will: Option<Message<'a>>,
    connect: Connect<'a>,
}

impl<'a> Login<'a> {
    /// As the client wants it.
    pub fn new(connect: &Connect<'a>) -> Login<'a> {
        Login {
            client_id: Cow::Borrowed(connect.client_id),
            user_name: connect.user_name.map(Cow::Borrowed),
            password: connect.password.map(Cow::Borrowed),
            keep_alive: connect.keep_alive,
            will: connect.will.as_ref().map(Message::from_will),
            connect: *connect,
        }
    }

    /// The CONNECT as it came.
    pub fn sent(&self) -> &Connect<'a> {
        &self.connect
    }

    /// The CONNECT as hooks have left it.
    pub fn connect(&self) -> Connect<'_> {
        let mut connect = self.connect;
        connect.client_id = &self.client_id;
        connect.user_name = self.user_name.as_deref();
        connect.password = self.password.as_deref();
        connect.keep_alive = self.keep_alive;
        connect.will = self.will.as_ref().map(Message::as_will);
        connect
    }

    /// What hooks have changed, to be applied to the same CONNECT when it is read again.
    pub fn changes(&self) -> Changes {
        let connect = &self.connect;
        Changes {
            client_id: (*self.client_id != *connect.client_id).then(|| self.client_id.to_string()),
            user_name: (self.user_name.as_deref() != connect.user_name)
                .then(|| self.user_name.as_deref().map(str::to_owned)),
            password: (self.password.as_deref() != connect.password)
                .then(|| self.password.as_deref().map(<[u8]>::to_vec)),
            keep_alive: (self.keep_alive != connect.keep_alive).then_some(self.keep_alive),
            will: (self.will.as_ref().map(Message::as_will) != connect.will)
                .then(|| self.will.as_ref().map(Message::to_static)),
        }
    }

    /// Applies what was changed when this CONNECT was read before.
    pub fn apply(&mut self, changes: Changes) {
        let Changes { client_id, user_name, password, keep_alive, will } = changes;
        if let Some(client_id) = client_id {
            self.client_id = Cow::Owned(client_id);
        }
        if let Some(user_name) = user_name {
            self.user_name = user_name.map(Cow::Owned);
        }
        if let Some(password) = password {
            self.password = password.map(Cow::Owned);
        }
        if let Some(keep_alive) = keep_alive {
            self.keep_alive = keep_alive;
        }
        if let Some(will) = will {
            self.will = will;
        }
    }

    /// Whether hooks have changed anything.
    pub fn is_changed(&self) -> bool {
        self.connect() != self.connect
    }
}

/// What hooks have changed of a [`Login`].
#[derive(Clone)]
pub struct Changes {
    client_id: Option<String>,
    user_name: Option<Option<String>>,
    password: Option<Option<Vec<u8>>>,
    keep_alive: Option<u16>,
    will: Option<Option<Message<'static>>>,
}

/// Without the password.
impl fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("keep_alive", &self.keep_alive)
            .finish_non_exhaustive()
    }
}
