use std::time::Duration;

use mqway_codec::{
    Ack, Disconnect, PropertiesBuf, ReasonCodesBuf, Suback, Subscribe, SubscribeOptions, SubscriptionsBuf,
    TopicFilter, Unsuback,
};
use mqway_proxy::{Direction, LinkId};

use super::*;
use crate::tap::shown;

fn text_of(version: Version, packet: &Packet<'_>, secrets: bool) -> String {
    let seen = Seen {
        link: LinkId { worker: 0, number: 1 },
        at: Duration::ZERO,
        direction: Direction::ToUpstream,
        version,
        packet,
        len: 0,
        missing: 0,
    };
    shown::text(&of(&seen, secrets), 100)
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

#[test]
fn passwords_are_hidden_unless_asked_for() {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::AuthenticationMethod("PLAIN")).unwrap();
    properties.push(Property::AuthenticationData(b"hunter2")).unwrap();
    let mut connect = Connect::new(Version::V5, "c");
    connect.user_name = Some("u");
    connect.password = Some(b"hunter2");
    connect.properties = properties.as_properties();
    let told = text_of(Version::V5, &Packet::Connect(connect), false);
    assert_eq!(
        told,
        "version 5.0, client id \"c\", clean start, keep alive 60, user name \"u\", password (7 bytes, hidden), \
         properties {authentication method \"PLAIN\", authentication data (7 bytes, hidden)}"
    );
    assert_eq!(text_of(Version::V5, &Packet::Connect(connect), true).matches("hunter2").count(), 2);
}

#[test]
fn outcomes_are_told_where_the_version_has_them() {
    let puback = Packet::Puback(Ack::new(id(7)));
    assert_eq!(text_of(Version::V3_1_1, &puback, false), "packet id 7");
    assert_eq!(text_of(Version::V5, &puback, false), "packet id 7, 0x00 Success");
    let goodbye = Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION));
    assert_eq!(text_of(Version::V3_1_1, &goodbye, false), "");
    assert_eq!(text_of(Version::V5, &goodbye, false), "0x00 Normal disconnection");
    let connack = Packet::Connack(Connack::new(false, ReasonCode::NotAuthorized));
    assert_eq!(text_of(Version::V3_1_1, &connack, false), "0x05 Not authorized");
    assert_eq!(text_of(Version::V5, &connack, false), "0x87 Not authorized");
    let codes = ReasonCodesBuf::from_iter([ReasonCode::Success, ReasonCode::UnspecifiedError]);
    let suback = Packet::Suback(Suback::new(id(1), codes.as_codes()));
    assert_eq!(
        text_of(Version::V3_1_1, &suback, false),
        "packet id 1, codes [0x00 Granted QoS 0, 0x80 Unspecified error]"
    );
    let unsuback = Packet::Unsuback(Unsuback::new(id(1), ReasonCodes::EMPTY));
    assert_eq!(text_of(Version::V3_1_1, &unsuback, false), "packet id 1");
}

#[test]
fn repeated_properties_are_gathered_in_their_order() {
    let mut properties = PropertiesBuf::new();
    for property in [
        Property::UserProperty("b", "1"),
        Property::TopicAlias(3.try_into().unwrap()),
        Property::UserProperty("a", "2"),
    ] {
        properties.push(property).unwrap();
    }
    let publish = Publish { properties: properties.as_properties(), ..Publish::new("t", b"x") };
    assert_eq!(
        text_of(Version::V5, &Packet::Publish(publish), false),
        "topic \"t\", qos 0, properties {user properties [\"b\"=\"1\", \"a\"=\"2\"], topic alias 3}, payload (1 bytes) \"x\""
    );
}

#[test]
fn subscriptions_are_told_with_their_options() {
    let mut subscriptions = SubscriptionsBuf::new();
    let filter = |text| TopicFilter::new(text).unwrap();
    subscriptions.push(filter("a/#"), SubscribeOptions::new(QoS::AtLeastOnce));
    let picky =
        SubscribeOptions { no_local: true, retain_handling: RetainHandling::DoNotSend, ..Default::default() };
    subscriptions.push(filter("b"), picky);
    let subscribe = Packet::Subscribe(Subscribe::new(id(2), subscriptions.as_subscriptions()));
    assert_eq!(
        text_of(Version::V5, &subscribe, false),
        "packet id 2, subscriptions [{filter \"a/#\", qos 1}, {filter \"b\", qos 0, no local, retain handling 2}]"
    );
}
