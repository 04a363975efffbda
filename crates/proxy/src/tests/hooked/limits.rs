//! What the two sides take, and what hooks make of it.

use std::num::{NonZeroU16, NonZeroU32};

use super::*;

fn size(bytes: u32) -> Property<'static> {
    Property::MaximumPacketSize(NonZeroU32::new(bytes).unwrap())
}

#[test]
fn what_is_announced_is_the_minimum_of_both_legs() {
    let receive = Property::ReceiveMaximum(NonZeroU16::new(7).unwrap());
    let qos = Property::MaximumQos(Q1);
    for (theirs, announced) in [(None, 5_000), (Some(9_000), 5_000), (Some(4_000), 4_000)] {
        let limits = Limits { packet: 5_000, ..Limits::default() };
        let mut rig = rig_of(1, &Config { limits, ..config(rules().0) });
        let client = rig.client();
        let mut properties = vec![receive];
        properties.extend(theirs.map(size));
        rig.sim.write(client, &connect_with(&properties));
        let upstream = rig.dialled(1);
        assert_eq!(rig.read(upstream), connect_with(&[receive, size(announced)]));
        let mut properties = vec![receive, qos];
        properties.extend(theirs.map(size));
        rig.sim.write(upstream, &connack_with(&properties));
        assert_eq!(rig.read(client), connack_with(&[receive, qos, size(announced)]));
    }
}

#[test]
fn a_message_that_hooks_make_too_large_is_refused() {
    for version in VERSIONS {
        let limits = Limits { packet: 1_000, ..Limits::default() };
        let mut rig = rig_of(1, &Config { limits, ..config(mounted()) });
        let client = rig.client();
        rig.sim.write(client, &connect(version, "c"));
        let upstream = rig.dialled(1);
        rig.sim.write(upstream, &connack(version));
        rig.sim.run(SECOND);
        rig.sim.read(client);
        rig.sim.read(upstream);
        rig.sim.write(client, &message(version, "change/grow", Q1, 1, false));
        let refused = if version == Version::V5 { vec![0x40, 3, 0, 1, 0x97] } else { puback(version, 1) };
        assert_eq!(rig.read(client), refused);
        assert_eq!(rig.sim.read(upstream), b"");
        rig.sim.write(upstream, &message(version, "home/change/grow", Q1, 1, false));
        assert_eq!(rig.read(upstream), puback(version, 1)); // [MQTT-3.1.2-25]
        assert_eq!(rig.sim.read(client), b"");
        assert_eq!(rig.counters.snapshot().messages_grown_too_large, 2);
    }
}

#[test]
fn the_limits_of_both_sides_hold_for_what_hooks_make() {
    let mut rig = rig(1, mounted());
    let client = rig.client();
    rig.sim.write(client, &connect_with(&[size(1_500)]));
    let upstream = rig.dialled(1);
    rig.sim.write(upstream, &connack_with(&[size(1_600)]));
    rig.sim.run(SECOND);
    rig.sim.read(client);
    rig.sim.read(upstream);
    rig.sim.write(client, &message(Version::V5, "change/grow", Q2, 1, false));
    assert_eq!(rig.read(client), [0x50, 3, 0, 1, 0x97]);
    rig.sim.write(upstream, &message(Version::V5, "home/change/grow", Q2, 1, false));
    assert_eq!(rig.read(upstream), pubrec(Version::V5, 1));
    rig.sim.write(upstream, &pubrel(Version::V5, 1));
    assert_eq!(rig.read(upstream), pubcomp(Version::V5, 1));
    assert_eq!((rig.sim.read(client), rig.sim.read(upstream)), (vec![], vec![]));
}

#[test]
fn a_judged_message_is_whole_and_what_cannot_be_is_refused() {
    let mut rig = rig(1, rules().0);
    let (client, upstream) = rig.session(Version::V5);
    let large = publish(Version::V5, &vec![7; 900_000]);
    rig.sim.write(client, &large);
    rig.sim.run(10 * SECOND);
    assert!(rig.sim.read(upstream) == large);
    assert_eq!(rig.counters.snapshot().packets_passed_in_pieces, 0);
    rig.sim.write(client, &publish(Version::V5, &vec![7; 1_100_000]));
    rig.sim.run(10 * SECOND);
    assert_eq!(rig.sim.read(client), [0xe0, 1, 0x95]);
    assert_eq!(rig.sim.read(upstream), b"");
}

#[test]
fn what_nobody_judges_passes_in_pieces_and_answers_wait_behind_it() {
    struct Senders;
    impl Authorize for Senders {
        fn name(&self) -> &str {
            "senders"
        }
        fn publish(&self, _: &mut Client, message: &Message<'_>, _: Later<'_>) -> Verdict {
            answer(verdict(message.topic()))
        }
    }
    let mut hooks = Hooks::new();
    hooks.add_authorize(Arc::new(Senders));
    let mut rig = rig(1, hooks);
    let (client, upstream) = rig.session(Version::V5);
    let large = publish(Version::V5, &vec![7; 3_000_000]);
    rig.sim.write(upstream, &large[..1_000_000]);
    rig.sim.run(SECOND);
    rig.sim.write(client, &message(Version::V5, "deny/87", Q1, 7, false));
    rig.sim.run(SECOND);
    rig.sim.write(upstream, &large[1_000_000..]);
    rig.sim.run(10 * SECOND);
    assert!(rig.sim.read(client) == [large, explained(0x40, 0x87)].concat());
    assert_eq!(rig.counters.snapshot().packets_passed_in_pieces, 1);
}

#[test]
fn more_filters_than_hooks_are_asked_for_are_refused() {
    let (hooks, rules) = rules();
    let mut rig = rig(1, hooks);
    let (client, upstream) = rig.session(Version::V5);
    rules.asked();
    rig.sim.write(client, &subscribe(Version::V5, 1, &["a"; 5_000]));
    rig.sim.run(5 * SECOND);
    assert_eq!(rules.asked().len(), 4_096);
    assert_eq!(rig.sim.read(upstream), subscribe(Version::V5, 1, &["a"; 4_096]));
    rig.sim.write(upstream, &suback(Version::V5, 1, &[0; 4_096]));
    let codes = [vec![0; 4_096], vec![0x97; 904]].concat();
    rig.sim.run(5 * SECOND);
    assert_eq!(rig.sim.read(client), suback(Version::V5, 1, &codes));
}

#[test]
fn an_answer_with_the_wrong_number_of_codes_ends_the_connection() {
    let mut rig = rig(1, rules().0);
    let (client, upstream) = rig.session(Version::V5);
    rig.sim.write(client, &subscribe(Version::V5, 1, &["a", "deny/87"]));
    rig.sim.run(SECOND);
    rig.sim.write(upstream, &suback(Version::V5, 1, &[0, 0]));
    assert_eq!(rig.read(client), [0xe0, 1, 0x80]);
    assert_eq!(rig.counters.snapshot().upstream_faults, 1);
}

#[test]
fn a_client_that_wants_no_problem_information_gets_codes_only() {
    let mut rig = rig(1, rules().0);
    let client = rig.client();
    rig.sim.write(client, &connect_with(&[Property::RequestProblemInformation(false)]));
    let upstream = rig.dialled(1);
    rig.sim.write(upstream, &connack(Version::V5));
    rig.read(client);
    rig.sim.write(client, &message(Version::V5, "deny/87", Q1, 1, false));
    assert_eq!(rig.read(client), [0x40, 3, 0, 1, 0x87]); // [MQTT-3.1.2-29]
}

#[test]
fn a_client_that_takes_little_is_told_less_or_that_it_cannot_be_told() {
    let mut rig = rig(1, rules().0);
    let client = rig.client();
    rig.sim.write(client, &connect_with(&[size(10)]));
    let upstream = rig.dialled(1);
    rig.sim.write(upstream, &connack(Version::V5));
    rig.read(client);
    rig.sim.write(client, &message(Version::V5, "deny/87", Q1, 1, false));
    assert_eq!(rig.read(client), [0x40, 3, 0, 1, 0x87]); // [MQTT-3.4.2-2]
    rig.sim.write(client, &message(Version::V5, "deny/87", Q2, 2, false));
    assert_eq!(rig.read(client), [0x50, 3, 0, 2, 0x87]); // [MQTT-3.5.2-2]
    rig.sim.write(client, &subscribe(Version::V5, 3, &["deny/87"; 20]));
    assert_eq!(rig.read(client), [0xe0, 1, 0x95]); // [MQTT-3.1.2-24]
}
