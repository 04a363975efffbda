//! A message as mosquitto_sub's `%j` and `%J` have it.

use std::fmt::Write;

use jiff::Zoned;
use mqway_client::{Incoming, Property};
use serde_json::Value;

/// How the payload stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// As a string.
    Quoted,
    /// As the JSON that it is.
    Raw,
}

/// One object; `None` if the payload should be JSON and isn't.
pub fn object(message: &Incoming, time: &Zoned, payload: Payload, pretty: bool) -> Option<String> {
    let payload = match payload {
        _ if message.payload.is_empty() => "null".to_owned(),
        Payload::Raw => compact(&message.payload)?,
        Payload::Quoted => quoted(&String::from_utf8_lossy(&message.payload)),
    };
    let mut object = Object::begin(pretty, 1);
    // What the manual of mosquitto_sub shows. Its version 2.0.11 has a Z before the offset, which no reader expects.
    object.pair("tst", &quoted(&time.strftime("%Y-%m-%dT%H:%M:%S.%6f%z").to_string()));
    object.pair("topic", &quoted(&message.topic));
    object.pair("qos", &(message.qos as u8).to_string());
    object.pair("retain", &u8::from(message.retain).to_string());
    object.pair("payloadlen", &message.payload.len().to_string());
    if let Some(id) = message.packet_id {
        object.pair("mid", &id.value().to_string());
    }
    if !message.properties.as_properties().is_empty() {
        object.pair("properties", &properties(message, pretty));
    }
    object.pair("payload", &payload);
    Some(object.end())
}

fn properties(message: &Incoming, pretty: bool) -> String {
    let all = message.properties.as_properties();
    let mut object = Object::begin(pretty, 2);
    let mut users_are_there = false;
    for property in all {
        let (name, value) = match property {
            Property::PayloadFormatIndicator(format) => {
                ("payload-format-indicator", (format as u8).to_string())
            }
            Property::MessageExpiryInterval(seconds) => ("message-expiry-interval", seconds.to_string()),
            Property::ContentType(text) => ("content-type", quoted(text)),
            Property::ResponseTopic(text) => ("response-topic", quoted(text)),
            Property::CorrelationData(data) => ("correlation-data", quoted(&String::from_utf8_lossy(data))),
            Property::SubscriptionIdentifier(id) => ("subscription-identifier", id.value().to_string()),
            Property::TopicAlias(alias) => ("topic-alias", alias.to_string()),
            // All stand where the first one does.
            Property::UserProperty(..) if users_are_there => continue,
            Property::UserProperty(..) => {
                users_are_there = true;
                let mut users = Object::begin(pretty, 3);
                for (name, value) in all.user_properties() {
                    users.pair(name, &quoted(value));
                }
                ("user-properties", users.end())
            }
            _ => continue,
        };
        object.pair(name, &value);
    }
    object.end()
}

/// An object being written, spread over lines as mosquitto's or not.
struct Object {
    out: String,
    pretty: bool,
    depth: usize,
}

impl Object {
    fn begin(pretty: bool, depth: usize) -> Object {
        Object { out: "{".to_owned(), pretty, depth }
    }

    fn pair(&mut self, name: &str, value: &str) {
        if self.out.len() > 1 {
            self.out.push(',');
        }
        self.break_line(self.depth);
        // Writing to a String cannot fail.
        let _ = write!(self.out, "{}:{}{value}", quoted(name), if self.pretty { "\t" } else { "" });
    }

    fn end(mut self) -> String {
        self.break_line(self.depth.saturating_sub(1));
        self.out.push('}');
        self.out
    }

    fn break_line(&mut self, depth: usize) {
        if self.pretty {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n('\t', depth));
        }
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The same JSON in one line and without blanks between its parts, numbers and order untouched; `None` if it is none.
fn compact(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if in_string || !c.is_ascii_whitespace() {
            out.push(c);
        }
        in_string ^= c == '"' && !escaped;
        escaped = in_string && c == '\\' && !escaped;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_what_it_is_on_one_line() {
        assert_eq!(
            compact(b" {\"b\" : [1.50, 2 ],\n\"a\\\" \" : null}").unwrap(),
            r#"{"b":[1.50,2],"a\" ":null}"#
        );
        assert_eq!(compact(br#""a \\""#).unwrap(), r#""a \\""#);
        assert_eq!(compact(br#"["\\", "b c"]"#).unwrap(), r#"["\\","b c"]"#);
        for none in [&b""[..], b"one", b"{} x", b"\"\xff\""] {
            assert_eq!(compact(none), None);
        }
    }
}
