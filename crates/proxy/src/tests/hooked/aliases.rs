//! Topic aliases: they end at the proxy, so that none is a way around a rule.

use std::num::{NonZeroU16, NonZeroU32};

use super::*;

fn with_aliases(most: u16) -> Vec<u8> {
    connect_with(&[Property::TopicAliasMaximum(most)])
}

fn aliased(topic: &str, alias: u16, qos: QoS, number: u16) -> Vec<u8> {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::UserProperty("k", "1")).unwrap();
    properties.push(Property::TopicAlias(NonZeroU16::new(alias).unwrap())).unwrap();
    properties.push(Property::UserProperty("k", "2")).unwrap();
    let mut publish = Publish { properties: properties.as_properties(), ..Publish::new(topic, b"x") };
    publish.qos = qos;
    publish.packet_id = (qos != Q0).then(|| id(number));
    bytes(Packet::Publish(publish), Version::V5)
}

/// The same message with its name and without an alias.
fn plain(topic: &str, qos: QoS, number: u16) -> Vec<u8> {
    let mut properties = PropertiesBuf::new();
    properties.extend([Property::UserProperty("k", "1"), Property::UserProperty("k", "2")]).unwrap();
    let mut publish = Publish { properties: properties.as_properties(), ..Publish::new(topic, b"x") };
    publish.qos = qos;
    publish.packet_id = (qos != Q0).then(|| id(number));
    bytes(Packet::Publish(publish), Version::V5)
}

/// A link whose client and upstream allow aliases up to these.
fn session(hooks: Hooks, client_s: u16, upstream_s: u16) -> (Rig, Remote, Remote) {
    let mut rig = rig(1, hooks);
    let client = rig.client();
    rig.sim.write(client, &with_aliases(client_s));
    let upstream = rig.dialled(1);
    assert_eq!(rig.read(upstream), with_aliases(client_s.min(16)));
    rig.sim.write(upstream, &connack_with(&[Property::TopicAliasMaximum(upstream_s)]));
    assert_eq!(rig.read(client), connack_with(&[Property::TopicAliasMaximum(upstream_s.min(16))]));
    (rig, client, upstream)
}

#[test]
fn both_sides_may_use_aliases_and_neither_sees_the_other_s() {
    let (mut rig, client, upstream) = session(rules().0, 100, 5);
    for (from, to) in [(client, upstream), (upstream, client)] {
        for (topic, server_s) in [("first", "first"), ("", "first"), ("second", "second"), ("", "second")] {
            rig.sim.write(from, &aliased(topic, 2, Q1, 4));
            assert_eq!(rig.read(to), plain(server_s, Q1, 4));
            rig.sim.write(to, &puback(Version::V5, 4));
            rig.read(from);
        }
    }
}

#[test]
fn an_alias_is_no_way_around_a_rule() {
    let (mut rig, client, upstream) = session(rules().0, 5, 5);
    for topic in ["deny/87", ""] {
        rig.sim.write(client, &aliased(topic, 1, Q1, 4));
        assert_eq!(rig.read(client), explained_for(4));
        assert_eq!(rig.sim.read(upstream), b"");
        // Nor the other way.
        rig.sim.write(upstream, &aliased(topic, 1, Q1, 4));
        assert_eq!(rig.read(upstream), puback(Version::V5, 4));
        assert_eq!(rig.sim.read(client), b"");
    }
    // The refused message has set the alias nevertheless: that is of the connection.
    rig.sim.write(client, &aliased("fine", 1, Q0, 0));
    rig.sim.write(client, &aliased("", 1, Q0, 0));
    assert_eq!(rig.read(upstream), plain("fine", Q0, 0).repeat(2));
}

fn explained_for(number: u8) -> Vec<u8> {
    [&[0x40, 14, 0, number, 0x87, 10, 0x1f, 0, 7][..], b"because"].concat()
}

#[test]
fn an_alias_is_moved_by_its_name() {
    let (mut rig, client, upstream) = session(mounted(), 5, 5);
    for topic in ["a", ""] {
        rig.sim.write(client, &aliased(topic, 3, Q0, 0));
        assert_eq!(rig.read(upstream), plain("home/a", Q0, 0));
    }
    for topic in ["home/a", ""] {
        rig.sim.write(upstream, &aliased(topic, 3, Q0, 0));
        assert_eq!(rig.read(client), plain("a", Q0, 0));
    }
}

#[test]
fn an_alias_that_is_not_allowed_or_stands_for_nothing_ends_the_connection() {
    for (topic, alias, code) in [("a", 6, 0x94), ("", 1, 0x82)] {
        let (mut rig, client, upstream) = session(rules().0, 5, 5);
        rig.sim.write(client, &aliased(topic, alias, Q0, 0)); // [MQTT-3.3.2-9]
        assert_eq!(rig.read(client), [0xe0, 1, code]);
        assert_eq!(rig.sim.read(upstream), b"");
        assert_eq!(rig.counters.snapshot().client_faults, 1);

        let (mut rig, client, upstream) = session(rules().0, 5, 5);
        rig.sim.write(upstream, &aliased(topic, alias, Q0, 0)); // [MQTT-3.3.2-11]
        assert_eq!(rig.read(client), [0xe0, 1, 0x80]);
        assert_eq!(rig.counters.snapshot().upstream_faults, 1);
    }
}

#[test]
fn who_limits_its_packets_is_sent_none_that_an_alias_has_kept_small() {
    let mut rig = rig(1, rules().0);
    let client = rig.client();
    let size = |bytes| Property::MaximumPacketSize(NonZeroU32::new(bytes).unwrap());
    rig.sim.write(client, &connect_with(&[Property::TopicAliasMaximum(9), size(500)]));
    let upstream = rig.dialled(1);
    assert_eq!(rig.read(upstream), connect_with(&[size(500)]));
    rig.sim.write(upstream, &connack_with(&[Property::TopicAliasMaximum(9), size(400)]));
    assert_eq!(rig.read(client), connack_with(&[size(400)]));
}
