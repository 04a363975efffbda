//! Subscriptions that a client has without asking.

use super::*;

/// Has every client subscribed to `news`.
struct News;

impl Transform for News {
    fn name(&self) -> &str {
        "news"
    }

    fn phases(&self) -> Phases {
        Phases::of(&[mqway_hooks::Phase::Authenticate])
    }

    fn admit(&self, client: &mut Client, _: &Login<'_>) -> Result<(), Denial> {
        client.subscriptions.push(("news".into(), SubscribeOptions::new(Q1)));
        Ok(())
    }
}

const OURS: u16 = u16::MAX;

fn hooks() -> Hooks {
    let mut hooks = Hooks::new();
    hooks.add_transform(Arc::new(News));
    hooks
}

/// A client that has said `early` behind its CONNECT, and its upstream, which has not answered yet.
fn connecting(rig: &mut Rig, version: Version, early: &[u8]) -> (Remote, Remote) {
    let client = rig.client();
    rig.sim.write(client, &[&connect(version, "c"), early].concat());
    let upstream = rig.dialled(1);
    assert_eq!(rig.read(upstream), connect(version, "c"));
    (client, upstream)
}

#[test]
fn they_are_made_before_anything_of_the_client_passes_so_that_no_identifier_is_used_twice() {
    for version in VERSIONS {
        let mut rig = rig(1, hooks());
        let own = subscribe(version, OURS, &["mine"]);
        let (client, upstream) = connecting(&mut rig, version, &own);
        rig.sim.write(upstream, &connack(version));
        assert_eq!(rig.read(client), connack(version));
        assert_eq!(rig.read(upstream), subscribe(version, OURS, &["news"]));
        // Messages may come before the answer does.
        rig.sim
            .write(upstream, &[message(version, "news", Q0, 1, false), suback(version, OURS, &[1])].concat());
        assert_eq!(rig.read(client), message(version, "news", Q0, 1, false));
        assert_eq!(rig.read(upstream), own);
        rig.sim.write(upstream, &suback(version, OURS, &[1]));
        assert_eq!(rig.read(client), suback(version, OURS, &[1]));
    }
}

#[test]
fn a_session_that_goes_on_has_them() {
    for version in [Version::V3_1_1, Version::V5] {
        let mut rig = rig(1, hooks());
        let (client, upstream) = connecting(&mut rig, version, &message(version, "a", Q1, OURS, true));
        let resumed = bytes(Packet::Connack(Connack::new(true, ReasonCode::Success)), version);
        rig.sim.write(upstream, &resumed);
        assert_eq!(rig.read(client), resumed);
        assert_eq!(rig.read(upstream), message(version, "a", Q1, OURS, true));
    }
}

#[test]
fn an_upstream_that_refuses_them_is_no_reason_to_end() {
    for version in [Version::V3_1_1, Version::V5] {
        let mut rig = rig(1, hooks());
        let (client, upstream) = connecting(&mut rig, version, b"");
        let refused = if version == Version::V5 { 0x87 } else { 0x80 };
        rig.sim.write(upstream, &[connack(version), suback(version, OURS, &[refused])].concat());
        assert_eq!(rig.read(client), connack(version));
        rig.sim.write(client, &publish(version, b"goes on"));
        let all = rig.read(upstream);
        assert!(all.ends_with(&publish(version, b"goes on")));
    }
}

#[test]
fn a_client_that_leaves_meanwhile_has_said_all_that_it_said() {
    for version in VERSIONS {
        let mut rig = rig(1, hooks());
        let last = [publish(version, b"last"), disconnect(version)].concat();
        let (client, upstream) = connecting(&mut rig, version, b"");
        rig.sim.write(upstream, &connack(version));
        rig.sim.run(SECOND);
        rig.sim.write(client, &last);
        rig.sim.end(client);
        assert_eq!(rig.read(upstream), subscribe(version, OURS, &["news"]));
        rig.sim.write(upstream, &suback(version, OURS, &[1]));
        assert_eq!(rig.read(upstream), last);
        rig.sim.end(upstream);
        rig.expect_all_gone();
    }
}

#[test]
fn an_upstream_that_does_not_answer_is_given_up() {
    let mut rig = rig(1, hooks());
    let (client, upstream) = connecting(&mut rig, Version::V5, b"");
    rig.sim.write(upstream, &connack(Version::V5));
    rig.sim.run(31 * SECOND);
    assert!(rig.sim.read(client).starts_with(&connack(Version::V5)));
    assert!(rig.sim.is_ended(client));
    assert_eq!(rig.counters.snapshot().upstream_faults, 1);
    rig.expect_all_gone();
}
