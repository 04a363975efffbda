//! Every phase, in its order; and a panic in each.

use mqway_hooks::{Event, Exchange, Method, Observe, Phase, Step};

use super::*;

/// Writes down each phase that it is called at, and panics at one of them.
#[derive(Default)]
struct Recorder {
    seen: Mutex<Vec<String>>,
    panics_at: Option<Phase>,
}

impl Recorder {
    fn note(&self, phase: Phase, what: &str) {
        self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(format!("{phase} {what}"));
        assert_ne!(self.panics_at, Some(phase), "on purpose");
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

impl Accept for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }
    fn accept(&self, listener: &str, _: &Facts) -> Result<(), Denial> {
        self.note(Phase::Accept, listener);
        Ok(())
    }
}

impl Authenticate for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }
    fn authenticate(&self, _: &mut Client, login: &mut Login<'_>, _: Later<'_>) -> Verdict {
        self.note(Phase::Authenticate, &login.client_id);
        Verdict::Pass
    }
}

struct Recorded(Arc<Recorder>);

impl Method for Recorded {
    fn name(&self) -> &str {
        "RECORDED"
    }
    fn begin(&self, _: &mut Client) -> Box<dyn Exchange> {
        Box::new(Recorded(self.0.clone()))
    }
}

impl Exchange for Recorded {
    fn take(&mut self, _: &mut Client, _: Option<&[u8]>) -> Step {
        self.0.note(Phase::Exchange, "");
        Step::Done(None)
    }
}

impl Authorize for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }
    fn phases(&self) -> Phases {
        Phases::ALL
    }
    fn publish(&self, _: &mut Client, message: &Message<'_>, _: Later<'_>) -> Verdict {
        self.note(Phase::Publish, message.topic());
        answer(verdict(message.topic()))
    }
    fn subscribe(&self, _: &mut Client, wanted: &mut Subscription<'_>, _: Later<'_>) -> Verdict {
        self.note(Phase::Subscribe, wanted.filter.as_str());
        answer(verdict(wanted.filter.as_str()))
    }
    fn unsubscribe(&self, _: &mut Client, filter: &Filter<'_>) -> Result<(), Denial> {
        self.note(Phase::Unsubscribe, filter.as_str());
        verdict(filter.as_str())
    }
    fn deliver(&self, _: &mut Client, message: &Message<'_>) -> Result<(), Denial> {
        self.note(Phase::Deliver, message.topic());
        verdict(message.topic())
    }
}

impl Observe for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }
    fn phases(&self) -> Phases {
        Phases::ALL
    }
    fn observe(&self, client_id: &str, _: Option<&mut Client>, event: &Event<'_>) {
        let what = match event {
            Event::Connected { session_present } => format!("{client_id} {session_present}"),
            Event::Subscribed { filter, qos } => format!("{filter} {}", *qos as u8),
            Event::Unsubscribed { filter } => (*filter).to_owned(),
            Event::Published(message) | Event::Delivered(message) => message.topic().to_owned(),
            Event::Acknowledged { topic, qos } => format!("{topic} {}", *qos as u8),
            Event::Dropped { topic, why } => format!("{topic} {why}"),
            Event::Disconnected { by, reason, .. } => format!("{by:?} {reason}"),
            _ => String::new(),
        };
        self.note(event.phase(), what.trim());
    }
}

fn recorded(panics_at: Option<Phase>) -> (Hooks, Arc<Recorder>) {
    let recorder = Arc::new(Recorder { panics_at, ..Recorder::default() });
    let mut hooks = Hooks::new();
    hooks.add_accept(recorder.clone());
    hooks.add_authenticate(recorder.clone());
    hooks.add_method(Arc::new(Recorded(recorder.clone())));
    hooks.add_authorize(recorder.clone());
    hooks.add_observe(recorder.clone());
    (hooks, recorder)
}

#[test]
fn each_phase_is_seen_in_its_order() {
    for version in VERSIONS {
        let (hooks, recorder) = recorded(None);
        let mut rig = rig(1, hooks);
        let (client, upstream) = rig.session(version);
        let login =
            ["accept tcp://localhost:1883", "authenticate c", "connected c false", "session created "];
        // 3.1 has no word for it.
        let told = if version == Version::V3_1 { 3 } else { 4 };
        assert_eq!(recorder.seen(), login[..told]);

        rig.sim.write(client, &subscribe(version, 1, &["a/#"]));
        rig.sim.run(SECOND);
        assert_eq!(recorder.seen(), ["subscribe a/#"]);
        rig.sim.write(upstream, &suback(version, 1, &[1]));
        rig.sim.run(SECOND);
        assert_eq!(recorder.seen(), ["subscribed a/# 1"]);

        rig.sim.write(client, &message(version, "a/0", Q0, 0, false));
        rig.sim.run(SECOND);
        assert_eq!(recorder.seen(), ["publish a/0", "published a/0"]);
        rig.sim.write(client, &message(version, "a/1", Q1, 1, false));
        rig.sim.write(client, &message(version, "a/2", Q2, 2, false));
        rig.sim.run(SECOND);
        assert_eq!(recorder.seen(), ["publish a/1", "publish a/2"]);
        rig.sim.write(upstream, &[puback(version, 1), pubrec(version, 2)].concat());
        rig.sim.run(SECOND);
        assert_eq!(recorder.seen(), ["published a/1", "published a/2"]);
        rig.sim.write(client, &message(version, "deny/97", Q1, 3, false));
        rig.sim.run(SECOND);
        assert_eq!(recorder.seen(), ["publish deny/97", "dropped deny/97 Quota exceeded"]);

        rig.sim.write(upstream, &message(version, "a/0", Q0, 0, false));
        rig.sim.write(upstream, &message(version, "a/1", Q1, 1, false));
        rig.sim.write(upstream, &message(version, "deny/87", Q1, 2, false));
        rig.sim.run(SECOND);
        let expected = [
            "deliver a/0",
            "delivered a/0",
            "deliver a/1",
            "delivered a/1",
            "deliver deny/87",
            "dropped deny/87 Not authorized",
        ];
        assert_eq!(recorder.seen(), expected);
        rig.sim.write(client, &puback(version, 1));
        rig.sim.run(SECOND);
        assert_eq!(recorder.seen(), ["acknowledged a/1 1"]);

        rig.sim.write(client, &unsubscribe(version, 4, &["a/#"]));
        rig.sim.run(SECOND);
        assert_eq!(recorder.seen(), ["unsubscribe a/#"]);
        rig.sim.write(upstream, &unsuback(version, 4, &[0]));
        rig.sim.run(SECOND);
        assert_eq!(recorder.seen(), ["unsubscribed a/#"]);

        rig.sim.write(client, &disconnect(version));
        rig.sim.run(SECOND);
        rig.sim.end(upstream);
        rig.sim.run(SECOND);
        assert_eq!(recorder.seen(), ["disconnected Client Success"]);
        rig.sim.stop();
        assert_eq!(recorder.seen(), ["stop "]);
    }
}

#[test]
fn an_exchange_comes_with_connect() {
    let (hooks, recorder) = recorded(None);
    let mut rig = rig(1, hooks);
    let client = rig.client();
    rig.sim.write(client, &with_method());
    let upstream = rig.dialled(1);
    rig.sim.write(upstream, &connack(Version::V5));
    rig.sim.run(SECOND);
    let login = ["accept tcp://localhost:1883", "exchange ", "connected c false", "session created "];
    assert_eq!(recorder.seen(), login);
}

fn with_method() -> Vec<u8> {
    connect_with(&[Property::AuthenticationMethod("RECORDED")])
}

#[test]
fn who_ended_a_connection_is_told() {
    type End = fn(&mut Rig, Remote, Remote);
    let cases: [(&str, End); 5] = [
        ("Network Unspecified error", |rig, client, _| rig.sim.end(client)),
        ("Network Unspecified error", |rig, client, _| rig.sim.cut(client)),
        ("Server Unspecified error", |rig, _, upstream| rig.sim.end(upstream)),
        ("Server Protocol Error", |rig, client, _| rig.sim.write(client, &connect(Version::V5, "c"))),
        ("Server Server shutting down", |rig, _, _| rig.sim.stop()),
    ];
    for (expected, end) in cases {
        let (hooks, recorder) = recorded(None);
        let mut rig = rig(1, hooks);
        let (client, upstream) = rig.session(Version::V5);
        recorder.seen();
        end(&mut rig, client, upstream);
        rig.sim.run(10 * SECOND);
        assert_eq!(recorder.seen()[0], format!("disconnected {expected}"));
    }
}

#[test]
fn a_panic_ends_its_own_link_only() {
    use Phase::*;
    for phase in [
        Accept,
        Authenticate,
        Exchange,
        Connected,
        Subscribe,
        Subscribed,
        Publish,
        Published,
        Deliver,
        Delivered,
        Acknowledged,
        Dropped,
        Unsubscribe,
        Unsubscribed,
        Disconnected,
        Stop,
    ] {
        let (hooks, recorder) = recorded(Some(phase));
        // Another one, from before the hook that panics.
        let mut rig = rig(1, Hooks::new());
        let (other, to_other) = rig.session(Version::V5);
        let hooks = Arc::new(hooks);
        (0..2).for_each(|worker| rig.sim.post(worker, Mail::Hooks(hooks.clone())));

        let client = rig.client();
        rig.sim.write(client, &if phase == Exchange { with_method() } else { connect(Version::V5, "c") });
        rig.sim.run(SECOND);
        let upstream = rig.sim.take_dialled(&target(1)).pop();
        if let Some(upstream) = upstream {
            rig.sim.write(upstream, &connack(Version::V5));
            for (from, packet) in [
                (client, subscribe(Version::V5, 1, &["a"])),
                (upstream, suback(Version::V5, 1, &[1])),
                (client, message(Version::V5, "a", Q1, 1, false)),
                (upstream, puback(Version::V5, 1)),
                (upstream, message(Version::V5, "a", Q1, 1, false)),
                (client, puback(Version::V5, 1)),
                (client, message(Version::V5, "deny/87", Q1, 1, false)),
                (client, unsubscribe(Version::V5, 2, &["a"])),
                (upstream, unsuback(Version::V5, 2, &[0])),
            ] {
                rig.sim.run(SECOND);
                rig.sim.write(from, &packet);
            }
        }
        rig.sim.run(SECOND);
        let said = rig.sim.read(client);
        let ended = rig.sim.is_ended(client);
        assert_eq!(ended, !matches!(phase, Disconnected | Stop), "{phase}");
        match phase {
            Authenticate | Exchange => assert_eq!(said[3], 0x83, "{said:x?}"),
            Accept => assert_eq!(said, b""),
            Disconnected | Stop => {}
            // [MQTT-3.14.0-1]: no DISCONNECT before CONNACK.
            Connected => assert_eq!(said, [0x20, 3, 0, 0x83, 0]),
            _ => assert!(said.ends_with(&[0xe0, 1, 0x83]), "{phase}: {said:x?}"),
        }
        let ping = bytes(Packet::Pingreq, Version::V5);
        rig.sim.write(other, &ping);
        assert_eq!(rig.read(to_other), ping, "the other link lives");
        rig.sim.end(client);
        rig.sim.stop();
        rig.sim.run(10 * SECOND);
        assert!(recorder.seen().iter().any(|seen| seen.starts_with(phase.name())), "{phase}");
        rig.expect_all_gone();
    }
}
