//! How clients come in: from the accepted connection to a login that is judged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mqway_codec::ReasonCode;
use mqway_transport::facts::Facts;

use super::{Decision, Dialogue, Hooks, Outcome, Progress, RefusedWill, Unanswered, guard, judge, panicked};
use crate::later::Said;
use crate::{Answer, Answers, Client, Denial, Event, Later, Login, Method, Phase, Standing, Verdict};

/// Reasons that are given to who fails to show who it is.
const WRONG: [ReasonCode; 2] = [ReasonCode::BadUserNameOrPassword, ReasonCode::NotAuthorized];

impl Hooks {
    /// [`Phase::Accept`]. Observers are told of a no.
    ///
    /// # Errors
    /// The first no.
    pub fn accept(&self, listener: &str, facts: &Facts) -> Result<(), Denial> {
        let mut hooks = self.accept.iter();
        let judged = hooks.try_for_each(|hook| guard(hook.name(), || hook.accept(listener, facts)));
        if let Err(denial) = &judged
            && self.wants(Phase::Refused)
        {
            let mut client = Client::new(0, listener.into(), facts.clone());
            self.refused(&mut client, denial.reason, &denial.rule);
        }
        judged
    }

    /// [`Phase::Admit`], early: CONNECT has come, and says who the client wants to be.
    ///
    /// # Errors
    /// The first no.
    pub fn knock(&self, client: &mut Client) -> Result<(), Denial> {
        self.admit.iter().try_for_each(|hook| guard(hook.name(), || hook.knock(client)))
    }

    /// These hooks are new where a client is connected already: whether it may stay.
    ///
    /// # Errors
    /// The first no: its connection is to end.
    pub fn stay(&self, client: &mut Client) -> Result<(), Denial> {
        self.admit.iter().try_for_each(|hook| guard(hook.name(), || hook.stay(client)))
    }

    /// Tells observers that a client was not let in, by whoever is to judge that here.
    pub fn refused(&self, client: &mut Client, reason: ReasonCode, why: &str) {
        self.tell_refused(client, reason, client.standing == Standing::Claimed, why);
    }

    /// Tells observers that the server behind a proxy has not let a client in.
    pub fn refused_behind(&self, client: &mut Client, reason: ReasonCode, why: &str) {
        self.tell_refused(client, reason, true, why);
    }

    fn tell_refused(&self, client: &mut Client, reason: ReasonCode, claimed: bool, why: &str) {
        if !self.wants(Phase::Refused) {
            return;
        }
        let failed = claimed && WRONG.contains(&reason);
        let client_id = client.client_id.clone();
        // Its connection ends anyway, whoever panics.
        let _ = self.observe(&client_id, Some(client), &Event::Refused { reason, failed, why });
    }

    /// [`Phase::Authenticate`] and [`Phase::Admit`]; then whoever changes packets is asked if it can, and the will is judged
    /// as a message that the client publishes, and is left out, or the login refused, as `refused_will` says.
    pub fn login(
        &self,
        client: &mut Client,
        login: &mut Login<'_>,
        progress: &mut Progress,
        answers: &Arc<dyn Answers>,
        refused_will: RefusedWill,
    ) -> Outcome {
        progress.resume(login);
        let outcome = progress.part(|progress| self.authenticate(client, login, progress, answers));
        if outcome == Outcome::Go {
            client.follow(login);
        }
        self.let_in(client, login, progress, answers, refused_will, outcome)
    }

    /// The part of [`Hooks::login`] that is left where a [`Method`] has authenticated the client: whether it may come in,
    /// and what becomes of its will.
    pub fn login_authenticated(
        &self,
        client: &mut Client,
        login: &mut Login<'_>,
        progress: &mut Progress,
        answers: &Arc<dyn Answers>,
        refused_will: RefusedWill,
    ) -> Outcome {
        progress.resume(login);
        client.standing = Standing::Proven;
        self.let_in(client, login, progress, answers, refused_will, Outcome::Go)
    }

    /// Judges whether a client may come in that is authenticated, if that is the outcome so far, and with what will.
    fn let_in(
        &self,
        client: &mut Client,
        login: &mut Login<'_>,
        progress: &mut Progress,
        answers: &Arc<dyn Answers>,
        refused_will: RefusedWill,
        mut outcome: Outcome,
    ) -> Outcome {
        if outcome == Outcome::Go {
            outcome = progress.part(|progress| self.admitted(client, progress, answers));
        }
        if outcome == Outcome::Go {
            outcome = self.changeable(client, login);
        }
        if outcome == Outcome::Go
            && let Some(wanted) = login.will.take()
        {
            let mut will = wanted.clone();
            outcome = self.change_publish(client, &mut will);
            if outcome == Outcome::Go {
                outcome = progress.part(|progress| self.judge_publish(client, &will, progress, answers));
            }
            match (&outcome, refused_will) {
                (Outcome::Denied(denial), RefusedWill::LeaveOut) if !denial.ends => {
                    log::info!("{client}: its will is left out: {denial}");
                    outcome = Outcome::Go;
                }
                (Outcome::Denied(_), _) => {}
                // It is changed anew when it is shown again.
                (Outcome::Wait(_), _) => login.will = Some(wanted),
                (Outcome::Go, _) => login.will = Some(will),
            }
        }
        if let Outcome::Wait(_) = outcome {
            progress.changes = Some(Box::new(login.changes()));
        }
        outcome
    }

    fn authenticate(
        &self,
        client: &mut Client,
        login: &mut Login<'_>,
        progress: &mut Progress,
        answers: &Arc<dyn Answers>,
    ) -> Outcome {
        let ask = |hook: usize, client: &mut Client, login: &mut Login<'_>, later: Later<'_>| {
            let hook = self.authenticate.get(hook)?;
            Some(judge(hook.name(), || hook.authenticate(client, login, later)))
        };
        match self.decide(client, login, progress, answers, ask) {
            Decision::Outcome(outcome) => {
                if outcome == Outcome::Go {
                    client.standing = Standing::Proven;
                }
                outcome
            }
            Decision::AllowWith(change) => {
                client.standing = Standing::Proven;
                super::outcome(guard("that answered later", || {
                    change(client, login);
                    Ok(())
                }))
            }
            Decision::Nobody => {
                let says_who = login.user_name.is_some() || login.password.is_some();
                let reason = match says_who {
                    _ if self.anonymous && (self.unproven_names || !says_who) => {
                        client.standing = Standing::Anonymous;
                        return Outcome::Go;
                    }
                    true => ReasonCode::BadUserNameOrPassword,
                    false => ReasonCode::NotAuthorized,
                };
                Outcome::Denied(Denial::new(reason, "no hook knows this client"))
            }
        }
    }

    /// Whether the packets of a client that is authenticated can be changed as they have to be.
    fn changeable(&self, client: &mut Client, login: &Login<'_>) -> Outcome {
        client.subscriptions.clear(); // It may be shown again.
        super::outcome(self.changers(Phase::Authenticate, |hook| hook.admit(client, login)))
    }

    /// Asks every [`Admit`] hook whether it agrees.
    fn admitted(&self, client: &mut Client, progress: &mut Progress, answers: &Arc<dyn Answers>) -> Outcome {
        let ask = |hook: usize, client: &mut Client, (): &mut (), later: Later<'_>| {
            let hook = self.admit.get(hook)?;
            Some(match judge(hook.name(), || hook.admit(client, later)) {
                Ok(Verdict::Allow) => Ok(Verdict::Pass),
                other => other,
            })
        };
        let yes = match &progress.answer {
            Some(Answer(Said::Allow | Said::AllowWith(_))) => true,
            Some(Answer(Said::Nothing)) => self.unanswered == Unanswered::Allow,
            _ => false,
        };
        if yes {
            progress.answer = Some(Answer(Said::Pass)); // The others are asked, too.
        }
        self.decide(client, &mut (), progress, answers, ask).or_go()
    }

    /// The method of enhanced authentication of this name.
    pub fn method(&self, name: &str) -> Option<&Arc<dyn Method>> {
        self.methods.iter().find(|method| method.name() == name)
    }

    /// [`Phase::Exchange`]: begins an enhanced authentication, by the method of this name. `None` if there is none such.
    ///
    /// # Errors
    /// If the method panicked: the connection is to end.
    pub fn begin(&self, client: &mut Client, method: &str) -> Option<Result<Dialogue, Denial>> {
        let method = self.method(method)?;
        let begun = catch_unwind(AssertUnwindSafe(|| method.begin(client)));
        let begun = begun.map(|exchange| Dialogue { method: method.clone(), exchange });
        Some(begun.map_err(|_| panicked(method.name())))
    }
}
