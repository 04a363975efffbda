//! Hooks that answer later, never, or when nobody waits any more.

use std::thread;

use mqway_hooks::{Ticket, Unanswered};

use super::*;

/// Keeps the ticket of every question about what is called `ask…`.
#[derive(Default)]
struct Asks {
    tickets: Mutex<Vec<(String, Ticket)>>,
    asked: Mutex<usize>,
}

impl Asks {
    fn ask(&self, name: &str, later: Later<'_>) -> Verdict {
        *self.asked.lock().unwrap() += 1;
        if !name.contains("ask") {
            return answer(verdict(name));
        }
        let (ticket, waiting) = later.ticket();
        self.tickets.lock().unwrap().push((name.to_owned(), ticket));
        Verdict::Later(waiting)
    }

    #[track_caller]
    fn ticket(&self) -> Ticket {
        self.tickets.lock().unwrap().remove(0).1
    }

    fn open(&self) -> usize {
        self.tickets.lock().unwrap().len()
    }
}

impl Authenticate for Asks {
    fn name(&self) -> &str {
        "asks"
    }

    fn authenticate(&self, _: &mut Client, login: &mut Login<'_>, later: Later<'_>) -> Verdict {
        self.ask(&login.client_id, later)
    }
}

impl Authorize for Asks {
    fn name(&self) -> &str {
        "asks"
    }

    fn publish(&self, _: &mut Client, message: &Message<'_>, later: Later<'_>) -> Verdict {
        self.ask(message.topic(), later)
    }

    fn subscribe(&self, _: &mut Client, wanted: &mut Subscription<'_>, later: Later<'_>) -> Verdict {
        self.ask(wanted.filter.as_str(), later)
    }
}

fn asking() -> (Hooks, Arc<Asks>) {
    let (mut hooks, asks) = (Hooks::new(), Arc::new(Asks::default()));
    hooks.add_authenticate(asks.clone());
    hooks.add_authorize(asks.clone());
    (hooks, asks)
}

#[test]
fn a_client_waits_for_its_verdict_and_so_does_what_it_says_next() {
    for version in VERSIONS {
        let (hooks, asks) = asking();
        let mut rig = rig(3, hooks);
        let client = rig.client();
        let first = message(version, "first", Q0, 0, false);
        rig.sim.write(client, &[connect(version, "ask"), first.clone()].concat());
        rig.sim.run(SECOND);
        assert!(rig.sim.take_dialled(&target(1)).is_empty());
        let ticket = asks.ticket();
        // From another thread, as HTTP would.
        thread::spawn(move || {
            ticket.allow_with(|client, login| {
                client.groups.push("trusted".into());
                login.user_name = Some("known".into());
            });
        })
        .join()
        .unwrap();
        let upstream = rig.dialled(1);
        let mut expected = Connect::new(version, "ask");
        expected.user_name = Some("known");
        assert_eq!(rig.read(upstream), bytes(Packet::Connect(expected), version));
        rig.sim.write(upstream, &connack(version));
        assert_eq!(rig.read(upstream), first);
        assert_eq!(rig.sim.read(client), connack(version));
    }
}

#[test]
fn order_stays_while_a_hook_is_waited_for_and_others_go_on() {
    for seed in 0..20 {
        let (hooks, asks) = asking();
        let mut rig = rig(seed, hooks);
        let (slow, to_slow) = rig.session(Version::V5);
        let (quick, to_quick) = rig.session(Version::V5);
        let text: Vec<_> = ["a", "ask/1", "b", "ask/2", "c"]
            .map(|topic| message(Version::V5, topic, Q1, 1 + topic.len() as u16, false))
            .into();
        rig.sim.write(slow, &text.concat());
        assert_eq!(rig.read(to_slow), text[0]);
        // What comes the other way is not held up, nor is another client.
        rig.sim.write(to_slow, &text[0]);
        assert_eq!(rig.read(slow), text[0]);
        rig.sim.write(quick, &text[0]);
        assert_eq!(rig.read(to_quick), text[0]);
        assert_eq!(asks.open(), 1);
        asks.ticket().allow();
        assert_eq!(rig.read(to_slow), text[1..3].concat());
        asks.ticket().deny(Denial::not_authorized("no"));
        assert_eq!(rig.read(to_slow), text[4]);
        assert_eq!(rig.sim.read(slow), [0x40, 3, 0, 6, 0x87]);
    }
}

#[test]
fn filters_are_asked_for_one_after_the_other_and_once() {
    let (hooks, asks) = asking();
    let mut rig = rig(3, hooks);
    let (client, upstream) = rig.session(Version::V5);
    *asks.asked.lock().unwrap() = 0;
    rig.sim.write(client, &subscribe(Version::V5, 1, &["a", "ask/1", "deny/87", "ask/2"]));
    rig.sim.run(SECOND);
    assert_eq!(asks.open(), 1);
    asks.ticket().deny(Denial::new(ReasonCode::QuotaExceeded, "no"));
    rig.sim.run(SECOND);
    assert_eq!(rig.sim.read(upstream), b"");
    asks.ticket().pass();
    assert_eq!(rig.read(upstream), subscribe(Version::V5, 1, &["a", "ask/2"]));
    assert_eq!(*asks.asked.lock().unwrap(), 4);
    rig.sim.write(upstream, &suback(Version::V5, 1, &[1, 0]));
    assert_eq!(rig.read(client), suback(Version::V5, 1, &[1, 0x97, 0x87, 0]));
}

#[test]
fn a_hook_that_never_answers_is_not_waited_for_without_end() {
    for (unanswered, goes) in [(Unanswered::Deny, false), (Unanswered::Pass, true), (Unanswered::Allow, true)]
    {
        let (mut hooks, asks) = asking();
        hooks.unanswered = unanswered;
        let mut rig = rig(3, hooks);
        let client = rig.client();
        rig.sim.write(client, &connect(Version::V3_1_1, "ask"));
        rig.sim.run(6 * SECOND);
        assert_eq!(rig.counters.snapshot().hook_timeouts, 1);
        if !goes {
            assert_eq!(rig.sim.read(client), [0x20, 2, 0, 3]);
            rig.expect_all_gone();
            // Nobody waits any more.
            asks.ticket().allow();
            rig.sim.run(SECOND);
            continue;
        }
        let upstream = rig.dialled(1);
        rig.sim.write(upstream, &connack(Version::V3_1_1));
        rig.sim.run(SECOND);
        rig.sim.read(upstream);
        let packet = message(Version::V3_1_1, "ask", Q0, 0, false);
        rig.sim.write(client, &packet);
        rig.sim.run(4 * SECOND);
        assert_eq!(rig.sim.read(upstream), b"");
        rig.sim.run(2 * SECOND);
        assert_eq!(rig.sim.read(upstream), packet);
        // The answer of an earlier turn, and a ticket that is lost, change nothing.
        asks.ticket().deny(Denial::not_authorized("too late"));
        drop(asks.ticket());
        rig.sim.write(client, &message(Version::V3_1_1, "fine", Q0, 0, false));
        assert_eq!(rig.read(upstream), message(Version::V3_1_1, "fine", Q0, 0, false));
    }
}

#[test]
fn an_answer_to_a_client_that_has_gone_goes_nowhere() {
    for at in ["connect", "publish"] {
        let (hooks, asks) = asking();
        let mut rig = rig(3, hooks);
        let client = match at {
            "connect" => {
                let client = rig.client();
                rig.sim.write(client, &connect(Version::V5, "ask"));
                client
            }
            _ => {
                let (client, upstream) = rig.session(Version::V5);
                rig.sim.write(client, &message(Version::V5, "ask", Q1, 1, false));
                rig.sim.end(upstream);
                client
            }
        };
        rig.sim.run(SECOND);
        rig.sim.cut(client);
        rig.expect_all_gone();
        asks.ticket().allow();
        rig.sim.run(SECOND);
        // Its place is free, and the next one there hears nothing of it.
        let (client, upstream) = rig.session(Version::V5);
        rig.sim.run(SECOND);
        assert_eq!((rig.sim.read(client), rig.sim.read(upstream)), (vec![], vec![]));
    }
}

#[test]
fn a_client_that_ends_while_it_waits_has_what_it_sent_passed_on_first() {
    let (hooks, asks) = asking();
    let mut rig = rig(3, hooks);
    let (client, upstream) = rig.session(Version::V5);
    let last = [message(Version::V5, "ask", Q0, 0, false), disconnect(Version::V5)].concat();
    rig.sim.write(client, &last);
    rig.sim.end(client);
    rig.sim.run(SECOND);
    assert_eq!(rig.sim.read(upstream), b"");
    asks.ticket().allow();
    assert_eq!(rig.read(upstream), last);
    assert_eq!(rig.counters.snapshot().client_disconnects, 1);
}

#[test]
fn no_more_wait_than_may() {
    let (hooks, asks) = asking();
    let limits = Limits { waiting: 2, ..Limits::default() };
    let mut rig = rig_of(3, &Config { limits, ..config(hooks) });
    let clients: Vec<_> = (0..10).map(|_| rig.client()).collect();
    clients.iter().for_each(|client| rig.sim.write(*client, &connect(Version::V5, "ask")));
    rig.sim.run(SECOND);
    // Two of each worker wait.
    assert_eq!(rig.counters.snapshot().hook_overloads, 6);
    let refused = clients.iter().filter(|client| !rig.sim.read(**client).is_empty()).count();
    assert_eq!(refused, 6);
    while asks.open() > 0 {
        asks.ticket().allow();
    }
    rig.sim.run(SECOND);
    assert_eq!(rig.sim.take_dialled(&target(1)).len(), 4);
    // The room is free again.
    let client = rig.client();
    rig.sim.write(client, &connect(Version::V5, "ask"));
    rig.sim.run(SECOND);
    assert_eq!(asks.open(), 1);
}

#[test]
fn other_hooks_are_asked_anew_and_no_connection_is_lost() {
    let (hooks, asks) = asking();
    let mut rig = rig(3, hooks);
    let (client, upstream) = rig.session(Version::V5);
    let packet = message(Version::V5, "ask", Q1, 1, false);
    rig.sim.write(client, &packet);
    let fresh = rig.client();
    rig.sim.write(fresh, &connect(Version::V5, "ask"));
    rig.sim.run(SECOND);
    assert_eq!(asks.open(), 2);
    let (hooks, others) = asking();
    let hooks = Arc::new(hooks);
    (0..2).for_each(|worker| rig.sim.post(worker, Mail::Hooks(hooks.clone())));
    rig.sim.run(SECOND);
    assert_eq!(others.open(), 2);
    // Those before are not listened to.
    asks.ticket().allow();
    asks.ticket().allow();
    assert_eq!(rig.read(upstream), b"");
    others.ticket().allow();
    others.ticket().allow();
    assert_eq!(rig.read(upstream), packet);
    assert_eq!(rig.sim.take_dialled(&target(1)).len(), 1);
    // And without hooks at all everything goes.
    let none = Arc::new(Hooks::new());
    (0..2).for_each(|worker| rig.sim.post(worker, Mail::Hooks(none.clone())));
    rig.sim.write(client, &message(Version::V5, "deny/87", Q1, 2, false));
    assert_eq!(rig.read(upstream), message(Version::V5, "deny/87", Q1, 2, false));
}

#[test]
fn a_client_that_waits_and_says_much_is_left_alone() {
    let (hooks, asks) = asking();
    let mut rig = rig(3, hooks);
    let client = rig.client();
    rig.sim.write(client, &connect(Version::V5, "ask"));
    let much = message(Version::V5, "fine", Q0, 0, false).repeat(200_000);
    rig.sim.write(client, &much);
    rig.sim.run(4 * SECOND);
    assert!(rig.sim.counters().snapshot().buffered < 1_000_000);
    asks.ticket().allow();
    let upstream = rig.dialled(1);
    rig.sim.write(upstream, &connack(Version::V5));
    rig.sim.run(SECOND);
    rig.sim.write(client, &message(Version::V5, "ask/1", Q0, 0, false));
    rig.sim.write(client, &much);
    rig.sim.run(4 * SECOND);
    assert!(rig.sim.counters().snapshot().buffered < 1_000_000);
    asks.ticket().allow();
    rig.sim.run(20 * SECOND);
    let all = rig.sim.read(upstream).len();
    let others = connect(Version::V5, "ask").len() + message(Version::V5, "ask/1", Q0, 0, false).len();
    assert_eq!(all, 2 * much.len() + others);
}
