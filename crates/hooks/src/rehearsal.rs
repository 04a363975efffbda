//! Hooks without a server, for their tests.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use mqway_codec::{Connect, QoS, SubscribeOptions, TopicFilter};

use crate::{
    Answer, Answers, Client, Denial, Hooks, Login, Message, Outcome, Progress, RefusedWill, Subscription,
};

/// How long an answer that comes later is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection that is served by nothing but hooks: for their tests. It waits for answers that come later.
///
/// ```
/// use mqway_codec::{Connect, Version};
/// use mqway_hooks::{Client, Hooks, Rehearsal};
///
/// let mut rehearsal = Rehearsal::new(Hooks::new());
/// rehearsal.login(&Connect::new(Version::V5, "device"))?;
/// assert_eq!(&*rehearsal.client.client_id, "device");
/// # Ok::<(), mqway_hooks::Denial>(())
/// ```
pub struct Rehearsal {
    /// The connection as hooks see it.
    pub client: Client,
    /// The hooks.
    pub hooks: Hooks,
    answers: Arc<dyn Answers>,
    post: Receiver<(u32, Answer)>,
}

struct Post(Sender<(u32, Answer)>);

impl Answers for Post {
    fn answer(&self, _: u64, turn: u32, answer: Answer) {
        let _ = self.0.send((turn, answer));
    }
}

impl Rehearsal {
    /// A TCP connection of which nothing is known.
    pub fn new(hooks: Hooks) -> Rehearsal {
        let (to, post) = channel();
        let client = Client::new(1, "mqtt://127.0.0.1:1883".into(), Default::default());
        Rehearsal { client, hooks, answers: Arc::new(Post(to)), post }
    }

    /// Logs in; the client identifier and the will that the server would go by.
    ///
    /// # Errors
    /// The no.
    pub fn login(&mut self, connect: &Connect<'_>) -> Result<Option<Message<'static>>, Denial> {
        self.client.greet(connect);
        self.hooks.knock(&mut self.client)?;
        let mut progress = Progress::default();
        loop {
            let mut login = Login::new(connect);
            let Rehearsal { client, hooks, answers, .. } = self;
            let outcome = hooks.login(client, &mut login, &mut progress, answers, RefusedWill::Refuse);
            if self.settled(outcome, &mut progress)? {
                self.client.client_id = (*login.client_id).into();
                return Ok(login.will.as_ref().map(Message::to_static));
            }
        }
    }

    /// Publishes; the message as the server would take it.
    ///
    /// # Errors
    /// The no.
    pub fn publish<'a>(&mut self, message: &Message<'a>) -> Result<Message<'a>, Denial> {
        let mut progress = Progress::default();
        loop {
            let mut shown = message.clone();
            let Rehearsal { client, hooks, answers, .. } = self;
            let outcome = hooks.publish(client, &mut shown, &mut progress, answers);
            if self.settled(outcome, &mut progress)? {
                return Ok(shown);
            }
        }
    }

    /// Subscribes; the filter and the QoS as the server would take them.
    ///
    /// # Errors
    /// The no.
    pub fn subscribe(&mut self, filter: TopicFilter<'_>, qos: QoS) -> Result<(String, QoS), Denial> {
        let mut progress = Progress::default();
        loop {
            progress.begin();
            let mut shown = Subscription::new(filter, SubscribeOptions::new(qos));
            let Rehearsal { client, hooks, answers, .. } = self;
            let outcome = hooks.subscribe(client, &mut shown, &mut progress, answers);
            if self.settled(outcome, &mut progress)? {
                return Ok((shown.filter.as_str().to_owned(), shown.options().qos));
            }
        }
    }

    /// Delivers a message; as the client would get it.
    ///
    /// # Errors
    /// The no.
    pub fn deliver<'a>(&mut self, message: &Message<'a>) -> Result<Message<'a>, Denial> {
        let mut shown = message.clone();
        self.hooks.deliver(&mut self.client, &mut shown)?;
        Ok(shown)
    }

    /// Whether it is decided; waits for the answer if not.
    fn settled(&mut self, outcome: Outcome, progress: &mut Progress) -> Result<bool, Denial> {
        match outcome {
            Outcome::Go => Ok(true),
            Outcome::Denied(denial) => Err(denial),
            Outcome::Wait(awaited) => {
                let (turn, answer) =
                    self.post.recv_timeout(PATIENCE).unwrap_or_else(|_| (awaited, Answer::none()));
                progress.answered(turn, answer);
                Ok(false)
            }
        }
    }
}
