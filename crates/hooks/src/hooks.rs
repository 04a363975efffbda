//! Hooks in their order, and how what they say combines.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mqway_codec::{PropertyId, QoS, ReasonCode};

use crate::later::Said;
use crate::login::Changes;
use crate::memo::{Epoch, Stamp, Way};
use crate::{
    Accept, Admit, Answer, Answers, Authenticate, Authorize, Client, Denial, Event, Exchange, Filter, Known,
    Later, Login, Message, Method, Observe, Phase, Phases, Step, Subscription, Transform, Verdict, Waiting,
};

mod entry;

/// All hooks of a server, in the order in which they were added.
///
/// * **Who is asked:** the first [`Authenticate`] or [`Authorize`] hook that says allow or deny decides; if all pass, a
///   login is decided by [`Hooks::anonymous`], and anything else is allowed.
/// * **Who comes in:** a client shows who it is either to the [`Authenticate`] hooks or, if its CONNECT names one that is
///   known here, to a [`Method`]: never to both, so that a password file has no say about who has passed an enhanced
///   authentication. Whichever it was, and also if nobody knows the client, every [`Admit`] hook must agree.
/// * **What they see:** on the way to the server every [`Transform`] hook changes first, then it is judged; on the way
///   to a client it is judged first, and then changed by the same hooks in the opposite order. So whoever judges sees the
///   server's topics.
/// * **Panics:** a hook that panics is a no, and its connection ends.
#[derive(Clone, Default)]
pub struct Hooks {
    accept: Vec<Arc<dyn Accept>>,
    authenticate: Vec<Arc<dyn Authenticate>>,
    methods: Vec<Arc<dyn Method>>,
    admit: Vec<Arc<dyn Admit>>,
    authorize: Vec<Arc<dyn Authorize>>,
    transform: Vec<Arc<dyn Transform>>,
    observe: Vec<Arc<dyn Observe>>,
    wanted: Phases,
    /// Phases at which there is a hook that does not go by topics alone.
    particular: Phases,
    /// Tells these hooks from others.
    edition: u64,
    /// Whether a client may connect of whom no hook has an opinion.
    pub anonymous: bool,
    /// Whether such a client may bring a user name or a password, which then stands as it says: only where nobody is there
    /// to look at them.
    pub unproven_names: bool,
    /// What is said when a hook promised an answer and none came in time.
    pub unanswered: Unanswered,
}

/// What counts as the answer of a hook that gave none in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unanswered {
    /// No.
    #[default]
    Deny,
    /// It has no opinion.
    Pass,
    /// Yes.
    Allow,
}

/// What has become of something that was judged.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// It goes on.
    Go,
    /// It does not.
    Denied(Denial),
    /// A hook will answer in this turn: the packet is to be shown again then, and nothing of the connection before.
    Wait(u32),
}

/// How far one connection's packet is with being judged. Kept by the server while it waits for an answer.
#[derive(Default)]
pub struct Progress {
    /// What was decided of the packet's parts.
    decided: Vec<(Result<(), Denial>, Option<QoS>)>,
    /// The part that is next, since the packet was shown last.
    part: usize,
    /// The hook that is next for the part that is not decided.
    hook: usize,
    /// What is waited for, while an answer is.
    waiting: Option<Waiting>,
    answer: Option<Answer>,
    /// The most that is granted to the part that was decided or asked about last, if it is a subscription.
    granted: Option<QoS>,
    /// The same of the part that waits.
    granted_meanwhile: Option<QoS>,
    /// What was changed of a login so far.
    changes: Option<Box<Changes>>,
}

/// What happens where the protocol leaves a choice of how to refuse; for the configuration of servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// What happens to a PUBLISH that is not allowed.
    pub publish: RefusedPublish,
    /// What happens to a will that is not allowed.
    pub will: RefusedWill,
}

/// What happens to a PUBLISH that is not allowed, where the protocol has no answer that says so: with QoS 0, and
/// before 5.0 with any QoS. 3.1.1: [MQTT-3.3.5-2]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefusedPublish {
    /// It is dropped; with QoS 1 and 2 it is acknowledged nevertheless.
    #[default]
    Drop,
    /// The connection ends, in 5.0 by DISCONNECT with the reason.
    Close,
}

/// What is done with a will that its client may not publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefusedWill {
    /// The client is refused.
    #[default]
    Refuse,
    /// The client is accepted without.
    LeaveOut,
}

/// An enhanced authentication under way, by one of the [`Hooks`].
pub struct Dialogue {
    method: Arc<dyn Method>,
    exchange: Box<dyn Exchange>,
}

impl Dialogue {
    /// The client's next data: of CONNECT or of AUTH.
    pub fn take(&mut self, client: &mut Client, data: Option<&[u8]>) -> Step {
        client.revision = client.revision.wrapping_add(1);
        let step = catch_unwind(AssertUnwindSafe(|| self.exchange.take(client, data)));
        step.unwrap_or_else(|_| Step::Deny(panicked(self.method.name())))
    }
}

impl Progress {
    /// The answer of a turn has come. Whether it was waited for: then the packet is to be shown again.
    pub fn answered(&mut self, turn: u32, answer: Answer) -> bool {
        let awaited = self.awaits() == Some(turn);
        if awaited {
            self.waiting = None;
            self.answer = Some(answer);
        }
        awaited
    }

    /// The turn that is waited for.
    pub fn awaits(&self) -> Option<u32> {
        self.waiting.as_ref().map(|waiting| waiting.turn)
    }

    /// The packet is shown, or shown again.
    pub fn begin(&mut self) {
        self.part = 0;
    }

    /// The packet is done with.
    pub fn end(&mut self) {
        *self = Progress::default();
    }

    /// A CONNECT is shown, or shown again: then with what was changed of it before.
    fn resume(&mut self, login: &mut Login<'_>) {
        self.begin();
        if let Some(changes) = self.changes.take() {
            login.apply(*changes);
        }
    }

    /// Decides the next part, unless that was done when the packet was shown before.
    fn part(&mut self, decide: impl FnOnce(&mut Progress) -> Outcome) -> Outcome {
        let at = self.part;
        self.part += 1;
        if let Some((decided, granted)) = self.decided.get(at) {
            self.granted = *granted;
            return outcome(decided.clone());
        }
        self.granted = self.granted_meanwhile.take();
        let outcome = decide(self);
        let decided = match &outcome {
            Outcome::Go => Ok(()),
            Outcome::Denied(denial) => Err(denial.clone()),
            Outcome::Wait(_) => {
                self.granted_meanwhile = self.granted;
                return outcome;
            }
        };
        self.decided.push((decided, self.granted));
        outcome
    }

    /// Hooks are others now: what was half asked is asked anew.
    pub fn start_over(&mut self) {
        let waits = self.waiting.take().is_some() || self.answer.take().is_some();
        if waits {
            self.hook = 0;
            self.granted_meanwhile = None;
        }
    }
}

/// The names, by purpose and in order.
impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        list.entries(self.accept.iter().map(|hook| hook.name()));
        list.entries(self.authenticate.iter().map(|hook| hook.name()));
        list.entries(self.methods.iter().map(|method| method.name()));
        list.entries(self.admit.iter().map(|hook| hook.name()));
        list.entries(self.authorize.iter().map(|hook| hook.name()));
        list.entries(self.transform.iter().map(|hook| hook.name()));
        list.entries(self.observe.iter().map(|hook| hook.name())).finish()
    }
}

impl Hooks {
    /// None: everything passes, and nothing costs anything.
    pub fn new() -> Hooks {
        Hooks { anonymous: true, unproven_names: true, ..Hooks::default() }
    }

    /// Adds a hook behind those that are there.
    pub fn add_accept(&mut self, hook: Arc<dyn Accept>) {
        self.wanted = self.wanted.and(Phases::of(&[Phase::Accept]));
        self.accept.push(hook);
    }

    /// Adds a hook behind those that are there.
    pub fn add_authenticate(&mut self, hook: Arc<dyn Authenticate>) {
        self.wanted = self.wanted.and(Phases::of(&[Phase::Authenticate]));
        self.authenticate.push(hook);
    }

    /// Adds a method of enhanced authentication, in the place of one with the same name.
    pub fn add_method(&mut self, method: Arc<dyn Method>) {
        self.wanted = self.wanted.and(Phases::of(&[Phase::Exchange]));
        self.methods.retain(|known| known.name() != method.name());
        self.methods.push(method);
    }

    /// Adds a hook behind those that are there.
    pub fn add_admit(&mut self, hook: Arc<dyn Admit>) {
        self.wanted = self.wanted.and(Phases::of(&[Phase::Admit]));
        self.admit.push(hook);
    }

    /// Adds a hook behind those that are there.
    pub fn add_authorize(&mut self, hook: Arc<dyn Authorize>) {
        const JUDGED: Phases =
            Phases::of(&[Phase::Publish, Phase::Subscribe, Phase::Unsubscribe, Phase::Deliver]);
        self.wanted = self.wanted.and(hook.phases().within(JUDGED));
        self.change(hook.phases(), hook.by_topic());
        self.authorize.push(hook);
    }

    /// Adds a hook behind those that are there.
    pub fn add_transform(&mut self, hook: Arc<dyn Transform>) {
        const CHANGED: Phases = Phases::of(&[
            Phase::Authenticate,
            Phase::Publish,
            Phase::Subscribe,
            Phase::Unsubscribe,
            Phase::Deliver,
            Phase::Will,
        ]);
        self.wanted = self.wanted.and(hook.phases().within(CHANGED));
        self.change(hook.phases(), hook.by_topic());
        self.transform.push(hook);
    }

    /// Adds a hook behind those that are there.
    pub fn add_observe(&mut self, hook: Arc<dyn Observe>) {
        const ASKED: Phases = Phases::of(&[
            Phase::Accept,
            Phase::Authenticate,
            Phase::Exchange,
            Phase::Admit,
            Phase::Publish,
            Phase::Subscribe,
            Phase::Unsubscribe,
            Phase::Deliver,
            Phase::Will,
        ]);
        self.wanted = self.wanted.and(hook.phases().without(ASKED));
        self.change(Phases::NONE, true);
        self.observe.push(hook);
    }

    /// The names of the hooks and methods that may let a client in.
    pub fn authenticators(&self) -> impl Iterator<Item = &str> {
        let methods = self.methods.iter().map(|method| method.name());
        self.authenticate.iter().map(|hook| hook.name()).chain(methods)
    }

    /// There is another hook, which goes by topics alone or not.
    fn change(&mut self, at: Phases, by_topic: bool) {
        static EDITIONS: AtomicU64 = AtomicU64::new(1);
        self.edition = EDITIONS.fetch_add(1, Ordering::Relaxed);
        if !by_topic {
            self.particular = self.particular.and(at);
        }
    }

    /// Whether any hook is called at this phase. Ask before putting together what it would be given.
    #[inline]
    pub fn wants(&self, phase: Phase) -> bool {
        self.wanted.contains(phase)
    }

    /// Whether there is none at all, so that nothing needs to be known of a connection.
    pub fn is_empty(&self) -> bool {
        self.wanted == Phases::NONE && self.anonymous
    }

    /// Whether any hook or method finds out who clients are, so that a name which nobody has checked counts for nothing.
    pub fn vouch(&self) -> bool {
        self.authenticators().next().is_some()
    }

    /// What [`Hooks::publish`] would make of a message without a response topic, if it let one to the same topic pass before
    /// and goes by topics alone: then it is not to be asked.
    #[inline]
    pub fn known_publish<'c>(&self, client: &'c Client, topic: &str) -> Option<Known<'c>> {
        client.memo.recall(self.edition, client.revision, &client.client_id, topic, Way::ToServer)
    }

    /// The same of [`Hooks::deliver`].
    #[inline]
    pub fn known_deliver<'c>(&self, client: &'c Client, topic: &str) -> Option<Known<'c>> {
        client.memo.recall(self.edition, client.revision, &client.client_id, topic, Way::ToClient)
    }

    /// What holds now: that something is known needs not be looked up again as long as this is the same.
    #[inline]
    pub fn epoch(&self, client: &Client) -> Epoch {
        Epoch { edition: self.edition, revision: client.revision }
    }

    /// What is remembered of a message, if it counts for it.
    fn known<'c>(&self, client: &'c Client, way: Way, message: &Message<'_>) -> Option<Known<'c>> {
        if message.is_changed() || message.properties().contains(PropertyId::ResponseTopic) {
            return None;
        }
        client.memo.recall(self.edition, client.revision, &client.client_id, message.topic(), way)
    }

    /// Remembers what has become of a message that came with topic `sent`.
    fn remember(&self, client: &mut Client, way: Way, sent: Option<&str>, message: &Message<'_>) {
        let phase = if way == Way::ToServer { Phase::Publish } else { Phase::Deliver };
        let Some(sent) = sent.filter(|_| !self.particular.contains(phase)) else { return };
        if !message.properties().contains(PropertyId::ResponseTopic) {
            let (edition, revision) = (self.edition, client.revision);
            let stamp = Stamp { edition, revision, client_id: Some(client.client_id.clone()) };
            let becomes = message.is_changed().then(|| message.topic());
            client.memo.remember(stamp, sent, way, becomes);
        }
    }

    /// [`Phase::Publish`]: changes a message from a client, and judges it.
    pub fn publish(
        &self,
        client: &mut Client,
        message: &mut Message<'_>,
        progress: &mut Progress,
        answers: &Arc<dyn Answers>,
    ) -> Outcome {
        let sent = message.sent_topic();
        if let Some(known) = self.known(client, Way::ToServer, message)
            && message.rename(known).is_ok()
        {
            return Outcome::Go;
        }
        let outcome = match self.change_publish(client, message) {
            Outcome::Go => self.judge_publish(client, message, progress, answers),
            denied => return denied,
        };
        if outcome == Outcome::Go {
            self.remember(client, Way::ToServer, sent, message);
        }
        outcome
    }

    /// Changes a message from a client as it did before: one that was judged, and that its sender has sent again.
    ///
    /// # Errors
    /// The first no.
    pub fn publish_again(&self, client: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        self.changers(Phase::Publish, |hook| hook.publish(client, message))
    }

    fn change_publish(&self, client: &mut Client, message: &mut Message<'_>) -> Outcome {
        outcome(self.publish_again(client, message))
    }

    fn judge_publish(
        &self,
        client: &mut Client,
        message: &Message<'_>,
        progress: &mut Progress,
        answers: &Arc<dyn Answers>,
    ) -> Outcome {
        let ask = |hook: usize, client: &mut Client, (): &mut (), later: Later<'_>| {
            let hook = self.authorize.get(hook)?;
            if !hook.phases().contains(Phase::Publish) {
                return Some(Ok(Verdict::Pass));
            }
            Some(judge(hook.name(), || hook.publish(client, message, later)))
        };
        self.decide(client, &mut (), progress, answers, ask).or_go()
    }

    /// [`Phase::Subscribe`]: changes the next subscription of a SUBSCRIBE, and judges it. [`Progress::begin`] comes
    /// before the first.
    pub fn subscribe(
        &self,
        client: &mut Client,
        subscription: &mut Subscription<'_>,
        progress: &mut Progress,
        answers: &Arc<dyn Answers>,
    ) -> Outcome {
        if let Err(denial) = self.changers(Phase::Subscribe, |hook| hook.subscribe(client, subscription)) {
            return Outcome::Denied(denial);
        }
        let outcome = progress.part(|progress| {
            if let Some(Answer(Said::PassWithin(most))) = progress.answer {
                subscription.lower_qos(most);
            }
            let ask = |hook: usize, client: &mut Client, wanted: &mut Subscription<'_>, later: Later<'_>| {
                let hook = self.authorize.get(hook)?;
                if !hook.phases().contains(Phase::Subscribe) {
                    return Some(Ok(Verdict::Pass));
                }
                Some(judge(hook.name(), || hook.subscribe(client, wanted, later)))
            };
            let outcome = self.decide(client, subscription, progress, answers, ask).or_go();
            // A hook that lowered it and then waited is not asked again.
            let qos = subscription.options().qos;
            progress.granted = Some(progress.granted.map_or(qos, |granted| granted.min(qos)));
            outcome
        });
        if let Some(granted) = progress.granted {
            subscription.lower_qos(granted);
        }
        outcome
    }

    /// [`Phase::Unsubscribe`].
    ///
    /// # Errors
    /// The first no.
    pub fn unsubscribe(&self, client: &mut Client, filter: &mut Filter<'_>) -> Result<(), Denial> {
        self.changers(Phase::Unsubscribe, |hook| hook.unsubscribe(client, filter))?;
        self.judges(Phase::Unsubscribe, |hook| hook.unsubscribe(client, filter))
    }

    /// [`Phase::Deliver`]: judges a message to a client, and changes it.
    ///
    /// # Errors
    /// The first no.
    pub fn deliver(&self, client: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        let sent = message.sent_topic();
        if let Some(known) = self.known(client, Way::ToClient, message)
            && message.rename(known).is_ok()
        {
            return Ok(());
        }
        self.judges(Phase::Deliver, |hook| hook.deliver(client, message))?;
        self.deliver_again(client, message)?;
        self.remember(client, Way::ToClient, sent, message);
        Ok(())
    }

    /// Changes a message to a client as it did before: one that was judged, and that was sent again.
    ///
    /// # Errors
    /// The first no.
    pub fn deliver_again(&self, client: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        let hooks = self.transform.iter().rev().filter(|hook| hook.phases().contains(Phase::Deliver));
        hooks.into_iter().try_for_each(|hook| guard(hook.name(), || hook.deliver(client, message)))
    }

    /// [`Phase::Will`].
    ///
    /// # Errors
    /// The first no.
    pub fn will(&self, client_id: &str, message: &mut Message<'_>) -> Result<(), Denial> {
        self.changers(Phase::Will, |hook| hook.will(client_id, message))
    }

    /// Judges a will anew that was judged when its client logged in: what it may do can be less now. `message` is what
    /// hooks have made of it. One that would only answer later has no opinion now.
    ///
    /// # Errors
    /// The first no.
    pub fn will_still(
        &self,
        client: &mut Client,
        message: &Message<'_>,
        answers: &Arc<dyn Answers>,
    ) -> Result<(), Denial> {
        for hook in self.authorize.iter().filter(|hook| hook.phases().contains(Phase::Publish)) {
            client.turn = client.turn.wrapping_add(1);
            let later = Later { to: answers, client: client.number, turn: client.turn };
            match judge(hook.name(), || hook.publish(client, message, later))? {
                Verdict::Pass | Verdict::Later(_) => {}
                Verdict::Allow => return Ok(()),
                Verdict::Deny(denial) => return Err(denial),
            }
        }
        Ok(())
    }

    /// Tells the observers.
    ///
    /// # Errors
    /// If one of them panicked: the connection is to end.
    pub fn observe(
        &self,
        client_id: &str,
        mut client: Option<&mut Client>,
        event: &Event<'_>,
    ) -> Result<(), Denial> {
        let phase = event.phase();
        let mut told = Ok(());
        for hook in self.observe.iter().filter(|hook| hook.phases().contains(phase)) {
            let one = guard(hook.name(), || {
                hook.observe(client_id, client.as_deref_mut(), event);
                Ok(())
            });
            told = told.and(one);
        }
        told
    }

    fn changers(
        &self,
        phase: Phase,
        mut change: impl FnMut(&dyn Transform) -> Result<(), Denial>,
    ) -> Result<(), Denial> {
        let mut hooks = self.transform.iter().filter(|hook| hook.phases().contains(phase));
        hooks.try_for_each(|hook| guard(hook.name(), || change(&**hook)))
    }

    fn judges(
        &self,
        phase: Phase,
        mut judge: impl FnMut(&dyn Authorize) -> Result<(), Denial>,
    ) -> Result<(), Denial> {
        let mut hooks = self.authorize.iter().filter(|hook| hook.phases().contains(phase));
        hooks.try_for_each(|hook| guard(hook.name(), || judge(&**hook)))
    }

    /// Asks hook after hook, from the one that `progress` stands at, until one decides or wants to wait.
    fn decide<S>(
        &self,
        client: &mut Client,
        subject: &mut S,
        progress: &mut Progress,
        answers: &Arc<dyn Answers>,
        mut ask: impl FnMut(usize, &mut Client, &mut S, Later<'_>) -> Option<Result<Verdict, Denial>>,
    ) -> Decision {
        if let Some(turn) = progress.awaits() {
            return Decision::Outcome(Outcome::Wait(turn));
        }
        let mut hook = std::mem::take(&mut progress.hook);
        if let Some(Answer(said)) = progress.answer.take() {
            match said {
                Said::Allow => return Decision::Outcome(Outcome::Go),
                Said::AllowWith(change) => return Decision::AllowWith(change),
                Said::Deny(denial) => return Decision::Outcome(Outcome::Denied(denial)),
                Said::Pass | Said::PassWithin(_) => {}
                Said::Nothing => match self.unanswered {
                    Unanswered::Pass => {}
                    Unanswered::Allow => return Decision::Outcome(Outcome::Go),
                    Unanswered::Deny => {
                        let denial = Denial::new(ReasonCode::ServerBusy, "a hook gave no answer in time");
                        return Decision::Outcome(Outcome::Denied(denial));
                    }
                },
            }
            hook += 1;
        }
        loop {
            client.turn = client.turn.wrapping_add(1);
            let later = Later { to: answers, client: client.number, turn: client.turn };
            match ask(hook, client, subject, later) {
                None => return Decision::Nobody,
                Some(Ok(Verdict::Pass)) => hook += 1,
                Some(Ok(Verdict::Allow)) => return Decision::Outcome(Outcome::Go),
                Some(Ok(Verdict::Deny(denial)) | Err(denial)) => {
                    return Decision::Outcome(Outcome::Denied(denial));
                }
                Some(Ok(Verdict::Later(waiting))) => {
                    progress.hook = hook;
                    let turn = waiting.turn;
                    progress.waiting = Some(waiting);
                    return Decision::Outcome(Outcome::Wait(turn));
                }
            }
        }
    }
}

enum Decision {
    Outcome(Outcome),
    AllowWith(crate::later::Change),
    /// Every hook has passed.
    Nobody,
}

impl Decision {
    fn or_go(self) -> Outcome {
        match self {
            Decision::Outcome(outcome) => outcome,
            Decision::AllowWith(_) | Decision::Nobody => Outcome::Go,
        }
    }
}

fn outcome(result: Result<(), Denial>) -> Outcome {
    match result {
        Ok(()) => Outcome::Go,
        Err(denial) => Outcome::Denied(denial),
    }
}

/// Calls a hook; a panic of it is a no that ends the connection.
fn guard(name: &str, call: impl FnOnce() -> Result<(), Denial>) -> Result<(), Denial> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(panicked(name)))
}

fn judge(name: &str, call: impl FnOnce() -> Verdict) -> Result<Verdict, Denial> {
    // Whatever the hook was at with a client does not outlive it, since its connection ends.
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| panicked(name))
}

#[cold]
fn panicked(name: &str) -> Denial {
    log::error!("the hook {name:?} panicked; the connection that it was called for ends");
    Denial::new(ReasonCode::ImplementationSpecificError, format!("the hook {name:?} panicked")).and_end()
}
