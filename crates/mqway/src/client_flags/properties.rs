//! `-D COMMAND NAME VALUE…`: properties of the packets that a client sends, as mosquitto's tools take them.

use std::num::{NonZeroU16, NonZeroU32};
use std::str::FromStr;

use mqway_client::{PropertiesBuf, Property};
use mqway_codec::{PacketType, PayloadFormat, PropertyId, SubscriptionId};

use crate::failure::Failure;

/// Stands between the words of one `-D`, where it came as arguments of their own: no text of MQTT contains it.
pub const SEPARATOR: char = '\u{1f}';

/// The packets that properties can be given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Connect,
    Publish,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Will,
}

const PLACES: [(&str, Place, PacketType); 6] = [
    ("connect", Place::Connect, PacketType::Connect),
    ("publish", Place::Publish, PacketType::Publish),
    ("subscribe", Place::Subscribe, PacketType::Subscribe),
    ("unsubscribe", Place::Unsubscribe, PacketType::Unsubscribe),
    ("disconnect", Place::Disconnect, PacketType::Disconnect),
    ("will", Place::Will, PacketType::Connect),
];

/// Packets that mosquitto's tools take properties for, and never send with any.
const IDLE_PLACES: [&str; 5] = ["puback", "pubrec", "pubrel", "pubcomp", "auth"];

/// Properties by packet.
#[derive(Clone, Debug, Default)]
pub struct Properties {
    of: [PropertiesBuf; PLACES.len()],
}

impl Properties {
    /// Reads what the flags say, each `COMMAND NAME VALUE`, or with two values for a user property.
    pub fn parse(flags: &[String]) -> Result<Properties, Failure> {
        let mut properties = Properties::default();
        for flag in flags {
            let shown = flag.replace(SEPARATOR, " ");
            let wrong = |why: &str| Failure::usage(format_args!("-D {shown}: {why}"));
            let mut words = words(flag);
            let command = words.next().unwrap_or_default().to_lowercase();
            let name = words.next().unwrap_or_default().to_lowercase();
            if IDLE_PLACES.contains(&command.as_str()) {
                continue;
            }
            let Some((index, (_, place, packet))) =
                PLACES.iter().enumerate().find(|(_, (word, ..))| *word == command)
            else {
                return Err(wrong(
                    "there is no such command; write connect, publish, subscribe, unsubscribe, disconnect or will",
                ));
            };
            let id = PropertyId::ALL.iter().copied().find(|id| spelled(*id) == name);
            let id = id.ok_or_else(|| wrong("there is no such property"))?;
            let allowed = match place {
                Place::Will => id.is_allowed_in_will(),
                _ => id.is_allowed_in(*packet),
            };
            if !allowed {
                return Err(wrong(&format!("{command} has no {name}")));
            }
            let mut next = || words.next().ok_or_else(|| wrong("the value is missing"));
            let value = next()?;
            let second = if id == PropertyId::UserProperty { next()? } else { String::new() };
            let property = property(id, &value, &second).map_err(|why| wrong(&why))?;
            // Aliases are the library's own affair: it uses them wherever the server allows.
            if id != PropertyId::TopicAlias
                && let Some(buffer) = properties.of.get_mut(index)
            {
                buffer.push(property).map_err(|error| wrong(&error.to_string()))?;
            }
        }
        Ok(properties)
    }

    /// Those of one packet.
    pub fn of(&self, place: Place) -> &PropertiesBuf {
        const NONE: &PropertiesBuf = &PropertiesBuf::new();
        let index = PLACES.iter().position(|(_, other, _)| *other == place);
        index.and_then(|index| self.of.get(index)).unwrap_or(NONE)
    }
}

/// A CONNECT's properties but for the session expiry, which is an option of its own.
pub fn without_session_expiry(connect: &PropertiesBuf) -> PropertiesBuf {
    let mut rest = PropertiesBuf::new();
    for property in connect.as_properties().iter() {
        if property.id() != PropertyId::SessionExpiryInterval {
            // It was in such a list before.
            let _ = rest.push(property);
        }
    }
    rest
}

/// The words of one flag: separated, or in one text (from the environment or a profile), where only the value, and of
/// a user property only the second one, may have blanks in it.
fn words(flag: &str) -> impl Iterator<Item = String> {
    if flag.contains(SEPARATOR) {
        return flag.split(SEPARATOR).map(str::to_owned).collect::<Vec<_>>().into_iter();
    }
    let is_pair =
        flag.split_whitespace().nth(1).is_some_and(|name| name.eq_ignore_ascii_case("user-property"));
    let parts = if is_pair { 4 } else { 3 };
    flag.trim().splitn(parts, ' ').map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// How many words belong to the property that begins with these two: COMMAND NAME.
pub fn word_count(name: &str) -> usize {
    if name.eq_ignore_ascii_case("user-property") { 4 } else { 3 }
}

/// The specification's name, as mosquitto spells it.
fn spelled(id: PropertyId) -> String {
    id.name().to_lowercase().replace(' ', "-")
}

fn property<'a>(id: PropertyId, value: &'a str, second: &'a str) -> Result<Property<'a>, String> {
    fn number<T: FromStr>(text: &str) -> Result<T, String> {
        text.parse().map_err(|_| format!("{text:?} is no number that it can have"))
    }
    let flag = || match value {
        "0" | "false" => Ok(false),
        "1" | "true" => Ok(true),
        _ => Err("its value is 0 or 1".to_owned()),
    };
    Ok(match id {
        PropertyId::PayloadFormatIndicator => Property::PayloadFormatIndicator(match flag()? {
            false => PayloadFormat::Unspecified,
            true => PayloadFormat::Utf8,
        }),
        PropertyId::MessageExpiryInterval => Property::MessageExpiryInterval(number(value)?),
        PropertyId::ContentType => Property::ContentType(value),
        PropertyId::ResponseTopic => Property::ResponseTopic(value),
        PropertyId::CorrelationData => Property::CorrelationData(value.as_bytes()),
        PropertyId::SubscriptionIdentifier => Property::SubscriptionIdentifier(
            SubscriptionId::new(number(value)?).ok_or("its value is 1 to 268435455")?,
        ),
        PropertyId::SessionExpiryInterval => Property::SessionExpiryInterval(number(value)?),
        PropertyId::AuthenticationMethod => Property::AuthenticationMethod(value),
        PropertyId::AuthenticationData => Property::AuthenticationData(value.as_bytes()),
        PropertyId::RequestProblemInformation => Property::RequestProblemInformation(flag()?),
        PropertyId::WillDelayInterval => Property::WillDelayInterval(number(value)?),
        PropertyId::RequestResponseInformation => Property::RequestResponseInformation(flag()?),
        PropertyId::ReceiveMaximum => Property::ReceiveMaximum(number::<NonZeroU16>(value)?),
        PropertyId::TopicAliasMaximum => Property::TopicAliasMaximum(number(value)?),
        PropertyId::TopicAlias => Property::TopicAlias(number::<NonZeroU16>(value)?),
        PropertyId::UserProperty => Property::UserProperty(value, second),
        PropertyId::MaximumPacketSize => Property::MaximumPacketSize(number::<NonZeroU32>(value)?),
        _ => return Err("only a server says that".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flag: &str) -> Result<Properties, String> {
        Properties::parse(&[flag.to_owned()]).map_err(|failure| failure.message)
    }

    #[test]
    fn words_come_separated_or_in_one_text() {
        for flag in ["publish\u{1f}user-property\u{1f}a\u{1f}b c", "PUBLISH User-Property a b c"] {
            let properties = parse(flag).unwrap();
            let pairs: Vec<_> = properties.of(Place::Publish).as_properties().user_properties().collect();
            assert_eq!(pairs, [("a", "b c")]);
        }
        let properties = parse("will content-type text/plain; charset=utf-8").unwrap();
        assert_eq!(
            properties.of(Place::Will).as_properties().content_type(),
            Some("text/plain; charset=utf-8")
        );
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        for (flag, told) in [
            ("nope content-type x", "no such command"),
            ("publish colour x", "no such property"),
            ("publish will-delay-interval 3", "publish has no will-delay-interval"),
            ("publish content-type", "the value is missing"),
            ("publish topic-alias 0", "no number"),
            ("connect request-problem-information 2", "0 or 1"),
            ("publish response-topic a/#", "-D publish response-topic a/#: "),
        ] {
            assert!(parse(flag).unwrap_err().contains(told), "{flag}: {:?}", parse(flag).unwrap_err());
        }
        let twice = ["will content-type a".to_owned(), "will content-type b".to_owned()];
        assert!(Properties::parse(&twice).is_err());
    }

    #[test]
    fn what_the_library_does_itself_is_taken_and_left_to_it() {
        assert!(parse("publish topic-alias 5").unwrap().of(Place::Publish).as_properties().is_empty());
        assert!(parse("puback user-property a b").is_ok());
        let connect = parse("connect session-expiry-interval 5").unwrap().of(Place::Connect).clone();
        assert!(without_session_expiry(&connect).as_properties().is_empty());
    }
}
