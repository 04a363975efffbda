//! Acknowledgements, as a client has to send them: in the order of the messages.

use super::*;

#[test]
fn an_upstream_is_acknowledged_in_the_order_of_its_messages() {
    for version in VERSIONS {
        let mut rig = rig(1, rules().0);
        let (client, upstream) = rig.session(version);
        let text = [
            message(version, "a", Q1, 1, false),
            message(version, "deny/87", Q1, 2, false),
            message(version, "b", Q2, 3, false),
            message(version, "deny/87", Q2, 4, false),
            message(version, "c", Q1, 5, false),
            message(version, "deny/87", Q1, 6, false),
        ];
        rig.sim.write(upstream, &text.concat());
        assert_eq!(rig.read(client), [&text[0][..], &text[2], &text[4]].concat());
        assert_eq!(rig.sim.read(upstream), b"");
        rig.sim.write(client, &puback(version, 1));
        // [MQTT-4.6.0-2]
        assert_eq!(rig.read(upstream), [puback(version, 1), puback(version, 2)].concat());
        rig.sim.write(client, &pubrec(version, 3));
        // [MQTT-4.6.0-3]
        assert_eq!(rig.read(upstream), [pubrec(version, 3), pubrec(version, 4)].concat());
        rig.sim.write(upstream, &[pubrel(version, 3), pubrel(version, 4)].concat());
        assert_eq!(rig.read(client), pubrel(version, 3));
        rig.sim.write(client, &[pubcomp(version, 3), puback(version, 5)].concat());
        let rest = [pubcomp(version, 4), pubcomp(version, 3), puback(version, 5), puback(version, 6)];
        assert_eq!(rig.read(upstream), rest.concat());
    }
}

#[test]
fn a_receive_window_does_not_leak() {
    // An upstream that may send two at a time, and of every three messages two are refused.
    let mut rig = rig(1, rules().0);
    let (client, upstream) = rig.session(Version::V5);
    let (mut sent, mut free) = (0, 2);
    let mut unread = [Vec::new(), Vec::new()];
    for _ in 0..200 {
        while free > 0 {
            let topic = if sent % 3 == 0 { "fine" } else { "deny/87" };
            let qos = if sent % 2 == 0 { Q1 } else { Q2 };
            rig.sim.write(upstream, &message(Version::V5, topic, qos, 1 + sent % 1_000, false));
            (sent, free) = (sent + 1, free - 1);
        }
        rig.sim.run(Duration::from_millis(20));
        play(&mut rig, client, &mut unread[0], &mut free);
        play(&mut rig, upstream, &mut unread[1], &mut free);
    }
    assert!(sent > 100, "{sent}");
}

/// Answers whatever has come, as either side does, and notes what a sender learns to be done.
fn play(rig: &mut Rig, remote: Remote, unread: &mut Vec<u8>, free: &mut u16) {
    unread.extend(rig.sim.read(remote));
    let got = std::mem::take(unread);
    let (mut decoder, mut rest) = (Decoder::with_version(Version::V5, LARGEST_PACKET), &got[..]);
    while let Some((packet, len)) = decoder.next(rest).unwrap() {
        rest = &rest[len..];
        let answer = match packet {
            Packet::Publish(publish) if publish.qos == Q1 => {
                Packet::Puback(Ack::new(publish.packet_id.unwrap()))
            }
            Packet::Publish(publish) => Packet::Pubrec(Ack::new(publish.packet_id.unwrap())),
            Packet::Pubrec(ack) => Packet::Pubrel(Ack::new(ack.packet_id)),
            Packet::Pubrel(ack) => Packet::Pubcomp(Ack::new(ack.packet_id)),
            _ => {
                *free += 1;
                continue;
            }
        };
        rig.sim.write(remote, &bytes(answer, Version::V5));
    }
    unread.extend(rest);
}
