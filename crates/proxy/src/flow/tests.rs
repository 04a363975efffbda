use super::*;

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn answer(packet_type: PacketType, number: u16) -> Answer {
    Answer::new(packet_type, id(number), ReasonCode::Success)
}

fn acknowledged(flow: &mut Flow, packet_type: PacketType, number: u16) -> Fate {
    flow.acknowledged(packet_type, id(number), ReasonCode::Success).fate
}

const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

#[test]
fn what_goes_on_is_acknowledged_by_its_receiver() {
    let mut flow = Flow::default();
    assert_eq!(flow.goes(id(1), (Q1, Q1), 7, None).0, None);
    assert_eq!(flow.goes(id(2), (Q2, Q2), 8, None).0, None);
    assert_eq!(flow.again(id(1), Q1, true, 7), Some(Again::Goes));
    assert_eq!(acknowledged(&mut flow, PacketType::Puback, 1), Fate::Pass);
    assert_eq!(acknowledged(&mut flow, PacketType::Pubrec, 2), Fate::Pass);
    assert_eq!(flow.released(id(2)), None);
    assert_eq!(acknowledged(&mut flow, PacketType::Pubcomp, 2), Fate::Pass);
    assert!(flow.is_idle());
    assert_eq!(flow.again(id(1), Q1, true, 7), None);
}

#[test]
fn another_message_does_not_profit_from_what_was_decided_of_the_first() {
    let mut flow = Flow::default();
    flow.goes(id(1), (Q1, Q1), 7, None);
    assert_eq!(flow.again(id(1), Q1, true, 8), None);
    flow.stays(id(2), Q1, 9, ReasonCode::NotAuthorized);
    assert_eq!(flow.again(id(2), Q1, true, 10), None);
    // The same one, sent as a new one, is asked for anew.
    assert_eq!(flow.again(id(2), Q1, false, 9), None);
}

#[test]
fn a_refused_message_that_comes_again_gets_the_same_answer() {
    let mut flow = Flow::default();
    let refused = flow.stays(id(1), Q1, 7, ReasonCode::QuotaExceeded);
    assert_eq!(refused.unwrap().reason, ReasonCode::QuotaExceeded);
    assert_eq!(flow.again(id(1), Q1, true, 7), Some(Again::Answered(refused)));
    for number in 2..=(SETTLED + 1) as u16 {
        flow.stays(id(number), Q1, 7, ReasonCode::QuotaExceeded);
    }
    assert_eq!(flow.again(id(1), Q1, true, 7), None, "forgotten");
}

#[test]
fn qos_2_is_played_whole() {
    let mut flow = Flow::default();
    assert_eq!(flow.stays(id(1), Q2, 7, ReasonCode::Success), Some(answer(PacketType::Pubrec, 1)));
    for dup in [true, false] {
        // [MQTT-4.3.3-10]
        let again = flow.again(id(1), Q2, dup, 99);
        assert_eq!(again, Some(Again::Answered(Some(answer(PacketType::Pubrec, 1)))));
    }
    for stray in [PacketType::Pubrec, PacketType::Pubcomp, PacketType::Puback] {
        assert_eq!(acknowledged(&mut flow, stray, 1), Fate::Swallow);
    }
    assert_eq!(flow.released(id(1)), Some(answer(PacketType::Pubcomp, 1)));
    assert!(flow.is_idle());
    assert_eq!(flow.released(id(1)), None, "not ours any more");
}

#[test]
fn a_message_that_goes_on_with_less_is_still_answered_as_it_came() {
    let mut flow = Flow::default();
    assert_eq!(flow.goes(id(1), (Q1, QoS::AtMostOnce), 7, None).0, Some(answer(PacketType::Puback, 1)));
    assert_eq!(flow.goes(id(2), (Q2, Q1), 7, None).0, None);
    let pubrec = answer(PacketType::Pubrec, 2);
    assert_eq!(acknowledged(&mut flow, PacketType::Puback, 2), Fate::Instead(pubrec));
    assert_eq!(flow.released(id(2)), Some(answer(PacketType::Pubcomp, 2)));
    assert!(flow.is_idle());
}

#[test]
fn a_receiver_that_refuses_ends_the_exchange() {
    let mut flow = Flow::default();
    flow.goes(id(1), (Q2, Q2), 7, None);
    flow.acknowledged(PacketType::Pubrec, id(1), ReasonCode::QuotaExceeded);
    assert!(flow.is_idle());
    flow.goes(id(1), (Q2, Q1), 7, None);
    let concluded = flow.acknowledged(PacketType::Puback, id(1), ReasonCode::NotAuthorized);
    let Fate::Instead(answer) = concluded.fate else { panic!() };
    assert_eq!((answer.packet_type, answer.reason), (PacketType::Pubrec, ReasonCode::NotAuthorized));
    assert!(flow.is_idle());
}

#[test]
fn towards_an_upstream_answers_wait_for_their_turn() {
    let mut flow = Flow::in_order();
    // Nothing is before it.
    assert!(flow.stays(id(1), Q1, 7, ReasonCode::Success).is_some());
    flow.goes(id(2), (Q1, Q1), 7, None);
    flow.goes(id(3), (Q1, Q1), 7, None);
    assert_eq!(flow.stays(id(4), Q1, 7, ReasonCode::Success), None);
    // Another kind has an order of its own.
    assert!(flow.stays(id(5), Q2, 7, ReasonCode::Success).is_some());
    assert_eq!(flow.turns_behind(PacketType::Puback, id(2)), []);
    assert_eq!(flow.turns_behind(PacketType::Puback, id(3)), [answer(PacketType::Puback, 4)]);
    // [MQTT-4.6.0-3]
    flow.goes(id(6), (Q2, Q2), 7, None);
    assert_eq!(flow.stays(id(7), Q2, 7, ReasonCode::Success), None);
    assert_eq!(flow.again(id(7), Q2, true, 7), Some(Again::Answered(None)));
    assert_eq!(flow.turns_behind(PacketType::Pubrec, id(6)), [answer(PacketType::Pubrec, 7)]);
}

#[test]
fn an_acknowledgement_of_what_had_the_identifier_before_holds_nobody_up() {
    for stray in [PacketType::Pubrec, PacketType::Pubcomp] {
        let mut flow = Flow::in_order();
        // Before, it was that of a message of QoS 2, which was repeated and is over.
        flow.goes(id(1), (Q1, Q1), 7, None);
        assert_eq!(flow.stays(id(2), Q1, 8, ReasonCode::Success), None);
        assert_eq!(acknowledged(&mut flow, stray, 1), Fate::Pass);
        assert_eq!(acknowledged(&mut flow, PacketType::Puback, 1), Fate::Pass);
        assert!(!flow.is_idle(), "somebody waits for their turn");
        assert_eq!(flow.turns_behind(PacketType::Puback, id(1)), [answer(PacketType::Puback, 2)]);
        assert!(flow.is_idle());
    }
}

#[test]
fn what_is_kept_for_observers_is_bounded() {
    let mut flow = Flow::default();
    let large = vec![0; KEPT - 10];
    let story = |payload: &[u8]| {
        let message = Message::new(mqway_codec::TopicName::new("a").unwrap(), payload);
        Some(Story::Published(Box::new(message.to_static())))
    };
    assert!(flow.goes(id(1), (Q1, Q1), 7, story(&large)).1);
    assert!(!flow.goes(id(2), (Q1, Q1), 7, story(&large)).1);
    assert!(flow.acknowledged(PacketType::Puback, id(1), ReasonCode::Success).story.is_some());
    assert!(flow.goes(id(3), (Q1, Q1), 7, story(&large)).1);
    assert!(flow.acknowledged(PacketType::Puback, id(2), ReasonCode::Success).story.is_none());
}
