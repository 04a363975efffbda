//! Answers that come later, from another thread.

use std::fmt;
use std::sync::{Arc, Weak};

use mqway_codec::QoS;

use crate::{Client, Denial, Login};

/// Takes answers to the worker that waits for them. Servers implement it; hooks only see [`Later`].
pub trait Answers: Send + Sync {
    /// An answer has come for the connection of this number, in its turn of that number. Must not block.
    fn answer(&self, client: u64, turn: u32, answer: Answer);
}

/// A hook's chance to answer later.
///
/// ```
/// use mqway_hooks::{Authorize, Client, Denial, Later, Message, Verdict};
///
/// struct Ask;
///
/// impl Authorize for Ask {
///     fn name(&self) -> &str {
///         "ask"
///     }
///
///     fn publish(&self, _: &mut Client, message: &Message<'_>, later: Later<'_>) -> Verdict {
///         let topic = message.topic().to_owned();
///         let (ticket, waiting) = later.ticket();
///         std::thread::spawn(move || match topic.starts_with("public/") {
///             true => ticket.allow(),
///             false => ticket.deny(Denial::not_authorized("not public")),
///         });
///         Verdict::Later(waiting)
///     }
/// }
/// ```
pub struct Later<'a> {
    pub(crate) to: &'a Arc<dyn Answers>,
    pub(crate) client: u64,
    pub(crate) turn: u32,
}

impl Later<'_> {
    /// A ticket to answer with, and what to return meanwhile. Until the answer comes nothing else of this connection is
    /// looked at, so that order stays; others are not held up.
    pub fn ticket(self) -> (Ticket, Waiting) {
        let Later { to, client, turn } = self;
        let awaited = Arc::default();
        let ticket = Ticket { to: Some(to.clone()), client, turn, awaited: Arc::downgrade(&awaited) };
        (ticket, Waiting { turn, _awaited: awaited })
    }
}

/// Says that a hook will answer later. Only [`Later::ticket`] makes it.
#[derive(Debug)]
pub struct Waiting {
    pub(crate) turn: u32,
    /// Kept by who waits, as long as it does.
    pub(crate) _awaited: Arc<()>,
}

/// Answers one question, from any thread, once. One that is dropped without an answer says that there will be none.
/// After the time limit, or the end of the connection, an answer changes nothing.
pub struct Ticket {
    to: Option<Arc<dyn Answers>>,
    client: u64,
    turn: u32,
    awaited: Weak<()>,
}

/// What a [`Ticket`] was answered with.
pub struct Answer(pub(crate) Said);

/// A change of what a client logs in with.
pub(crate) type Change = Box<dyn FnOnce(&mut Client, &mut Login<'_>) + Send>;

pub(crate) enum Said {
    Pass,
    /// And a subscription is granted no more than this. Where something else was asked, it means no more than pass.
    PassWithin(QoS),
    Allow,
    /// And this changes what the client logs in with. Where something else was asked, it means no more than allow.
    AllowWith(Change),
    Deny(Denial),
    /// The ticket was lost, or time is up.
    Nothing,
}

impl Answer {
    /// What a server takes for an answer when the time for it is up.
    pub fn none() -> Answer {
        Answer(Said::Nothing)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Said::Pass | Said::PassWithin(_) => "pass",
            Said::Allow | Said::AllowWith(_) => "allow",
            Said::Deny(_) => "deny",
            Said::Nothing => "nothing",
        })
    }
}

impl Ticket {
    /// Whether anybody still waits for the answer: if not, what it would cost can be saved.
    pub fn is_awaited(&self) -> bool {
        self.awaited.strong_count() > 0
    }

    /// No opinion: the next hook is asked.
    pub fn pass(self) {
        self.answer(Said::Pass);
    }

    /// No opinion, but that the subscription is granted with no more than this QoS. For subscriptions.
    pub fn pass_within(self, most: QoS) {
        self.answer(Said::PassWithin(most));
    }

    /// Yes.
    pub fn allow(self) {
        self.answer(Said::Allow);
    }

    /// Yes, and this is to change of the client, or of what it logs in with. For authentication.
    pub fn allow_with(self, change: impl FnOnce(&mut Client, &mut Login<'_>) + Send + 'static) {
        self.answer(Said::AllowWith(Box::new(change)));
    }

    /// No.
    pub fn deny(self, denial: Denial) {
        self.answer(Said::Deny(denial));
    }

    fn answer(mut self, said: Said) {
        if let Some(to) = self.to.take() {
            to.answer(self.client, self.turn, Answer(said));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            to.answer(self.client, self.turn, Answer::none());
        }
    }
}
