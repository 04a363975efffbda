//! Packets of any values, right or wrong, made from bytes.

use std::num::{NonZeroU16, NonZeroU32};

use mqway_codec::{
    Ack, Auth, Connack, Connect, Disconnect, Packet, PayloadFormat, Properties, PropertiesBuf, Property,
    PropertyId, Publish, ReasonCodesBuf, RetainHandling, Suback, Subscribe, SubscribeOptions, SubscriptionId,
    SubscriptionsBuf, TopicFilter, TopicFiltersBuf, Unsuback, Unsubscribe, Version, Will,
};

use super::source::Source;

/// Calls `then` with one packet.
pub fn with_packet(source: &mut Source<'_>, version: Version, then: impl FnOnce(Packet<'_>)) {
    let kind = source.below(15);
    let properties = properties(source);
    let properties = properties.as_properties();
    match kind {
        0 => with_connect(source, version, properties, |connect| then(connect.into())),
        1 => {
            let mut connack = Connack::new(source.flag(), source.reason());
            connack.properties = properties;
            then(connack.into());
        }
        2 => {
            let topic = source.topic();
            let mut publish = Publish::new(&topic, b"");
            publish.qos = source.qos();
            publish.dup = source.flag();
            publish.retain = source.flag();
            publish.packet_id = source.flag().then(|| source.packet_id());
            publish.properties = properties;
            publish.payload = source.rest();
            then(publish.into());
        }
        3..=6 => {
            let mut ack = Ack::with_reason(source.packet_id(), source.reason());
            ack.properties = properties;
            then([Packet::Puback, Packet::Pubrec, Packet::Pubrel, Packet::Pubcomp][kind - 3](ack));
        }
        7 => {
            let subscriptions = subscriptions(source, version);
            let mut subscribe = Subscribe::new(source.packet_id(), subscriptions.as_subscriptions());
            subscribe.properties = properties;
            then(subscribe.into());
        }
        8 => {
            let codes: ReasonCodesBuf = (0..source.below(6)).map(|_| source.reason()).collect();
            let mut suback = Suback::new(source.packet_id(), codes.as_codes());
            suback.properties = properties;
            then(suback.into());
        }
        9 => {
            let filters = filters(source, version);
            let mut unsubscribe = Unsubscribe::new(source.packet_id(), filters.as_filters());
            unsubscribe.properties = properties;
            then(unsubscribe.into());
        }
        10 => {
            let codes: ReasonCodesBuf = (0..source.below(6)).map(|_| source.reason()).collect();
            let mut unsuback = Unsuback::new(source.packet_id(), codes.as_codes());
            unsuback.properties = properties;
            then(unsuback.into());
        }
        11 => then(Packet::Pingreq),
        12 => then(Packet::Pingresp),
        13 => {
            let mut disconnect = Disconnect::new(source.reason());
            disconnect.properties = properties;
            then(disconnect.into());
        }
        _ => then(Auth::new(source.reason(), properties).into()),
    }
}

fn with_connect(
    source: &mut Source<'_>,
    version: Version,
    connect_properties: Properties<'_>,
    then: impl FnOnce(Connect<'_>),
) {
    let client_id = source.text();
    let user_name = source.flag().then(|| source.text());
    let will_topic = source.topic();
    let will_properties = properties(source);
    let mut connect = Connect::new(version, &client_id);
    connect.bridge = source.flag();
    connect.clean_start = source.flag();
    connect.keep_alive = source.u16();
    connect.properties = connect_properties;
    if source.flag() {
        let mut will = Will::new(&will_topic, source.binary());
        will.qos = source.qos();
        will.retain = source.flag();
        will.properties = will_properties.as_properties();
        connect.will = Some(will);
    }
    connect.user_name = user_name.as_deref();
    connect.password = source.flag().then(|| source.binary());
    then(connect);
}

fn filter_text(source: &mut Source<'_>, version: Version, then: impl FnOnce(TopicFilter<'_>)) {
    let version = if source.below(8) == 0 { source.version() } else { version };
    let text = source.text();
    if let Ok(filter) = TopicFilter::for_version(version, &text) {
        then(filter);
    }
}

fn filters(source: &mut Source<'_>, version: Version) -> TopicFiltersBuf {
    let mut filters = TopicFiltersBuf::new();
    for _ in 0..source.below(4) {
        filter_text(source, version, |filter| filters.push(filter));
    }
    filters
}

fn subscriptions(source: &mut Source<'_>, version: Version) -> SubscriptionsBuf {
    let mut subscriptions = SubscriptionsBuf::new();
    for _ in 0..source.below(4) {
        let mut options = SubscribeOptions::new(source.qos());
        if version == Version::V5 || source.below(8) == 0 {
            options.no_local = source.flag();
            options.retain_as_published = source.flag();
            options.retain_handling =
                [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend][source.below(3)];
        }
        filter_text(source, version, |filter| subscriptions.push(filter, options));
    }
    subscriptions
}

fn properties(source: &mut Source<'_>) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    for _ in 0..source.below(5) {
        let before = properties.clone();
        let (text, value) = (source.text(), source.text());
        if properties.push(property(source, &text, &value)).is_err() {
            assert_eq!(properties, before, "what is refused leaves no trace");
        }
    }
    properties
}

fn property<'t, 's: 't>(source: &mut Source<'s>, text: &'t str, value: &'t str) -> Property<'t> {
    match PropertyId::ALL[source.below(PropertyId::ALL.len())] {
        PropertyId::PayloadFormatIndicator => Property::PayloadFormatIndicator(match source.flag() {
            false => PayloadFormat::Unspecified,
            true => PayloadFormat::Utf8,
        }),
        PropertyId::MessageExpiryInterval => Property::MessageExpiryInterval(source.u32()),
        PropertyId::ContentType => Property::ContentType(text),
        PropertyId::ResponseTopic => Property::ResponseTopic(text),
        PropertyId::CorrelationData => Property::CorrelationData(source.binary()),
        PropertyId::SubscriptionIdentifier => Property::SubscriptionIdentifier(
            SubscriptionId::new(source.u32()).unwrap_or(SubscriptionId::new(1).unwrap()),
        ),
        PropertyId::SessionExpiryInterval => Property::SessionExpiryInterval(source.u32()),
        PropertyId::AssignedClientIdentifier => Property::AssignedClientIdentifier(text),
        PropertyId::ServerKeepAlive => Property::ServerKeepAlive(source.u16()),
        PropertyId::AuthenticationMethod => Property::AuthenticationMethod(text),
        PropertyId::AuthenticationData => Property::AuthenticationData(source.binary()),
        PropertyId::RequestProblemInformation => Property::RequestProblemInformation(source.flag()),
        PropertyId::WillDelayInterval => Property::WillDelayInterval(source.u32()),
        PropertyId::RequestResponseInformation => Property::RequestResponseInformation(source.flag()),
        PropertyId::ResponseInformation => Property::ResponseInformation(text),
        PropertyId::ServerReference => Property::ServerReference(text),
        PropertyId::ReasonString => Property::ReasonString(text),
        PropertyId::ReceiveMaximum => {
            Property::ReceiveMaximum(NonZeroU16::new(source.u16()).unwrap_or(NonZeroU16::MIN))
        }
        PropertyId::TopicAliasMaximum => Property::TopicAliasMaximum(source.u16()),
        PropertyId::TopicAlias => {
            Property::TopicAlias(NonZeroU16::new(source.u16()).unwrap_or(NonZeroU16::MIN))
        }
        PropertyId::MaximumQos => Property::MaximumQos(source.qos()),
        PropertyId::RetainAvailable => Property::RetainAvailable(source.flag()),
        PropertyId::UserProperty => Property::UserProperty(text, value),
        PropertyId::MaximumPacketSize => {
            Property::MaximumPacketSize(NonZeroU32::new(source.u32()).unwrap_or(NonZeroU32::MIN))
        }
        PropertyId::WildcardSubscriptionAvailable => Property::WildcardSubscriptionAvailable(source.flag()),
        PropertyId::SubscriptionIdentifierAvailable => {
            Property::SubscriptionIdentifierAvailable(source.flag())
        }
        PropertyId::SharedSubscriptionAvailable => Property::SharedSubscriptionAvailable(source.flag()),
    }
}
