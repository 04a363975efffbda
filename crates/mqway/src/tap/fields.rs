//! The fields of each packet, by the names of the specification.

use mqway_client::Incoming;
use mqway_codec::{
    Connack, Connect, ConnectReturnCode, Packet, PacketId, Properties, Property, PropertyId, Publish, QoS,
    ReasonCode, ReasonCodes, RetainHandling, Subscription, Version, Will,
};
use mqway_proxy::Seen;

use super::shown::{Field, Fields, Shown};

/// Everything in the packet. Passwords and authentication data only if `secrets` are asked for.
pub fn of<'a>(seen: &Seen<'a>, secrets: bool) -> Fields<'a> {
    match seen.packet {
        Packet::Connect(packet) => connect(packet, secrets),
        Packet::Connack(packet) => connack(packet, seen.version, secrets),
        Packet::Publish(packet) => publish(packet, seen.missing),
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            let mut fields = vec![id(ack.packet_id)];
            fields.extend(outcome(ack.reason, seen.version));
            with_properties(fields, &ack.properties, secrets)
        }
        Packet::Subscribe(packet) => {
            let subscriptions = packet.subscriptions.iter().map(|entry| Shown::Group(subscription(&entry)));
            let fields = vec![id(packet.packet_id), ("subscriptions", Shown::List(subscriptions.collect()))];
            with_properties(fields, &packet.properties, secrets)
        }
        Packet::Suback(packet) => {
            let fields = vec![id(packet.packet_id), codes(packet.codes, true)];
            with_properties(fields, &packet.properties, secrets)
        }
        Packet::Unsubscribe(packet) => {
            let filters = packet.filters.iter().map(|filter| Shown::Text(filter.as_str()));
            let fields = vec![id(packet.packet_id), ("filters", Shown::List(filters.collect()))];
            with_properties(fields, &packet.properties, secrets)
        }
        Packet::Unsuback(packet) => {
            let mut fields = vec![id(packet.packet_id)];
            if !packet.codes.is_empty() {
                fields.push(codes(packet.codes, false));
            }
            with_properties(fields, &packet.properties, secrets)
        }
        Packet::Pingreq | Packet::Pingresp => Vec::new(),
        Packet::Disconnect(packet) => {
            let reason = match packet.reason {
                ReasonCode::Success => "Normal disconnection".to_owned(),
                reason => reason.to_string(),
            };
            let code = ("code", Shown::Code(packet.reason.code(), reason));
            let fields = Some(code).filter(|_| seen.version == Version::V5).into_iter().collect();
            with_properties(fields, &packet.properties, secrets)
        }
        Packet::Auth(packet) => with_properties(
            outcome(packet.reason, seen.version).into_iter().collect(),
            &packet.properties,
            secrets,
        ),
    }
}

fn connect<'a>(connect: &Connect<'a>, secrets: bool) -> Fields<'a> {
    let mut fields = vec![
        ("version", Shown::Word(connect.version.to_string())),
        ("client_id", Shown::Text(connect.client_id)),
        ("clean_start", Shown::Flag(connect.clean_start)),
        ("keep_alive", Shown::Number(connect.keep_alive.into())),
    ];
    if connect.bridge {
        fields.push(("bridge", Shown::Flag(true)));
    }
    fields.extend(connect.user_name.map(|name| ("user_name", Shown::Text(name))));
    fields.extend(connect.password.map(|password| ("password", secret(password, secrets))));
    fields.extend(connect.will.as_ref().map(|message| ("will", Shown::Group(will(message, secrets)))));
    with_properties(fields, &connect.properties, secrets)
}

fn will<'a>(will: &Will<'a>, secrets: bool) -> Fields<'a> {
    let fields = vec![
        ("topic", Shown::Text(will.topic)),
        qos(will.qos),
        ("retain", Shown::Flag(will.retain)),
        ("payload", bytes(will.payload)),
    ];
    with_properties(fields, &will.properties, secrets)
}

fn connack<'a>(connack: &Connack<'a>, version: Version, secrets: bool) -> Fields<'a> {
    let mut fields = vec![("session_present", Shown::Flag(connack.session_present))];
    match ConnectReturnCode::from_reason(connack.reason).filter(|_| version != Version::V5) {
        Some(code) => {
            fields.push(("code", Shown::Code(code as u8, code.to_string())));
        }
        None => fields.extend(outcome(connack.reason, Version::V5)),
    }
    with_properties(fields, &connack.properties, secrets)
}

fn publish<'a>(publish: &Publish<'a>, missing: usize) -> Fields<'a> {
    let mut fields = vec![("topic", Shown::Text(publish.topic)), qos(publish.qos)];
    fields.extend(publish.packet_id.map(id));
    fields.push(("dup", Shown::Flag(publish.dup)));
    fields.push(("retain", Shown::Flag(publish.retain)));
    let all = publish.payload.len().saturating_add(missing);
    let mut fields = with_properties(fields, &publish.properties, false);
    fields.push(("payload", Shown::Bytes { present: publish.payload, all }));
    fields
}

/// A message as a client has it, and when it came.
pub fn message<'a>(message: &'a Incoming, time: &'a str) -> Fields<'a> {
    let mut fields =
        vec![("time", Shown::Text(time)), ("topic", Shown::Text(&message.topic)), qos(message.qos)];
    fields.extend(message.packet_id.map(id));
    fields.push(("dup", Shown::Flag(message.dup)));
    fields.push(("retain", Shown::Flag(message.retain)));
    let mut fields = with_properties(fields, &message.properties.as_properties(), false);
    fields.push(("payload", bytes(&message.payload)));
    fields
}

fn subscription<'a>(subscription: &Subscription<'a>) -> Fields<'a> {
    let options = subscription.options;
    let mut fields = vec![("filter", Shown::Text(subscription.filter.as_str())), qos(options.qos)];
    if options.no_local {
        fields.push(("no_local", Shown::Flag(true)));
    }
    if options.retain_as_published {
        fields.push(("retain_as_published", Shown::Flag(true)));
    }
    if options.retain_handling != RetainHandling::default() {
        fields.push(("retain_handling", Shown::Number(options.retain_handling as u64)));
    }
    fields
}

/// A reason code with its name; before 5.0 there is none in these packets.
fn outcome(reason: ReasonCode, version: Version) -> Option<Field<'static>> {
    (version == Version::V5).then(|| ("code", Shown::Code(reason.code(), reason.to_string())))
}

fn codes(codes: ReasonCodes<'_>, granted: bool) -> Field<'static> {
    let name = |code: ReasonCode| match code {
        ReasonCode::Success if granted => "Granted QoS 0".to_owned(),
        code => code.to_string(),
    };
    let shown = codes.iter().map(|code| Shown::Code(code.code(), name(code)));
    ("codes", Shown::List(shown.collect()))
}

fn with_properties<'a>(mut fields: Fields<'a>, properties: &Properties<'a>, secrets: bool) -> Fields<'a> {
    if properties.is_empty() {
        return fields;
    }
    let mut group: Fields<'a> = Vec::new();
    for property in *properties {
        match property {
            // These may stand there more than once, and keep their order.
            Property::UserProperty(name, value) => {
                gather(&mut group, "user_properties", Shown::Pair(name, value))
            }
            Property::SubscriptionIdentifier(id) => {
                gather(&mut group, "subscription_identifiers", Shown::Number(id.value().into()));
            }
            property => group.push((name(property.id()), value(property, secrets))),
        }
    }
    fields.push(("properties", Shown::Group(group)));
    fields
}

fn gather<'a>(group: &mut Fields<'a>, name: &'static str, value: Shown<'a>) {
    match group.iter_mut().find(|(found, _)| *found == name) {
        Some((_, Shown::List(values))) => values.push(value),
        _ => group.push((name, Shown::List(vec![value]))),
    }
}

fn value(property: Property<'_>, secrets: bool) -> Shown<'_> {
    match property {
        Property::PayloadFormatIndicator(format) => Shown::Number(format as u64),
        Property::CorrelationData(data) => bytes(data),
        Property::AuthenticationData(data) => secret(data, secrets),
        Property::ContentType(text)
        | Property::ResponseTopic(text)
        | Property::AssignedClientIdentifier(text)
        | Property::AuthenticationMethod(text)
        | Property::ResponseInformation(text)
        | Property::ServerReference(text)
        | Property::ReasonString(text) => Shown::Text(text),
        Property::MessageExpiryInterval(number)
        | Property::SessionExpiryInterval(number)
        | Property::WillDelayInterval(number) => Shown::Number(number.into()),
        Property::MaximumPacketSize(number) => Shown::Number(number.get().into()),
        Property::ServerKeepAlive(number) | Property::TopicAliasMaximum(number) => {
            Shown::Number(number.into())
        }
        Property::ReceiveMaximum(number) | Property::TopicAlias(number) => Shown::Number(number.get().into()),
        Property::MaximumQos(qos) => Shown::Number(qos as u64),
        // A flag would vanish from the text when it is not set, and here that says something.
        Property::RequestProblemInformation(set)
        | Property::RequestResponseInformation(set)
        | Property::RetainAvailable(set)
        | Property::WildcardSubscriptionAvailable(set)
        | Property::SubscriptionIdentifierAvailable(set)
        | Property::SharedSubscriptionAvailable(set) => Shown::Number(set.into()),
        Property::SubscriptionIdentifier(id) => Shown::Number(id.value().into()),
        Property::UserProperty(name, value) => Shown::Pair(name, value),
    }
}

const fn name(id: PropertyId) -> &'static str {
    match id {
        PropertyId::PayloadFormatIndicator => "payload_format_indicator",
        PropertyId::MessageExpiryInterval => "message_expiry_interval",
        PropertyId::ContentType => "content_type",
        PropertyId::ResponseTopic => "response_topic",
        PropertyId::CorrelationData => "correlation_data",
        PropertyId::SubscriptionIdentifier => "subscription_identifier",
        PropertyId::SessionExpiryInterval => "session_expiry_interval",
        PropertyId::AssignedClientIdentifier => "assigned_client_identifier",
        PropertyId::ServerKeepAlive => "server_keep_alive",
        PropertyId::AuthenticationMethod => "authentication_method",
        PropertyId::AuthenticationData => "authentication_data",
        PropertyId::RequestProblemInformation => "request_problem_information",
        PropertyId::WillDelayInterval => "will_delay_interval",
        PropertyId::RequestResponseInformation => "request_response_information",
        PropertyId::ResponseInformation => "response_information",
        PropertyId::ServerReference => "server_reference",
        PropertyId::ReasonString => "reason_string",
        PropertyId::ReceiveMaximum => "receive_maximum",
        PropertyId::TopicAliasMaximum => "topic_alias_maximum",
        PropertyId::TopicAlias => "topic_alias",
        PropertyId::MaximumQos => "maximum_qos",
        PropertyId::RetainAvailable => "retain_available",
        PropertyId::UserProperty => "user_property",
        PropertyId::MaximumPacketSize => "maximum_packet_size",
        PropertyId::WildcardSubscriptionAvailable => "wildcard_subscription_available",
        PropertyId::SubscriptionIdentifierAvailable => "subscription_identifier_available",
        PropertyId::SharedSubscriptionAvailable => "shared_subscription_available",
    }
}

fn id(packet_id: PacketId) -> Field<'static> {
    ("packet_id", Shown::Number(packet_id.value().into()))
}

fn qos(qos: QoS) -> Field<'static> {
    ("qos", Shown::Number(qos as u64))
}

fn bytes(bytes: &[u8]) -> Shown<'_> {
    Shown::Bytes { present: bytes, all: bytes.len() }
}

fn secret(secret: &[u8], secrets: bool) -> Shown<'_> {
    if secrets { bytes(secret) } else { Shown::Hidden(secret.len()) }
}

#[cfg(test)]
mod tests;
