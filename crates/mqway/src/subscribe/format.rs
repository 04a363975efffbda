//! mosquitto_sub's `-F`: text with `%` for what a message has, `@` for the time, `\` for characters.

use std::fmt::Write;

use jiff::Zoned;
use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};
use mqway_client::Incoming;

use super::json::{self, Payload};
use super::print::now;
use crate::logging::say;

/// The widest field that a format may ask for; nobody means more, and it would be memory for each message.
const WIDEST: usize = 65_535;

/// What strftime knows after `@`; mosquitto leaves it to the system's, and this is what GNU's has. What it doesn't
/// know stands for itself, with a percent sign.
const TIMES: &str = "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ";

/// A format, understood.
#[derive(Debug)]
pub struct Template {
    pieces: Vec<Piece>,
    pretty: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Field(What, Layout),
    /// One letter for strftime.
    Time(char),
    Nanoseconds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    TopicAlias,
    ContentType,
    CorrelationData,
    ExpiryInterval,
    FormatIndicator,
    IsoTime,
    Json(Payload),
    Length,
    PacketId,
    Payload,
    UserProperties,
    Qos,
    ResponseTopic,
    Retain,
    SubscriptionIdentifier,
    Topic,
    UnixTime,
    Hexadecimal { upper: bool },
}

/// What stands between `%` and the letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Layout {
    left: bool,
    zeros: bool,
    width: usize,
    most: Option<usize>,
}

impl Template {
    /// Understands a format; `pretty` is for the JSON in it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(format: &str, pretty: bool) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut text = Vec::new();
        let mut rest = format.chars().peekable();
        while let Some(c) = rest.next() {
            let piece = match c {
                '%' => match field(&mut rest)? {
                    Some((what, layout)) => Piece::Field(what, layout),
                    None => {
                        text.push(b'%');
                        continue;
                    }
                },
                '@' => match rest.next().ok_or("it ends with a lone @; write @@")? {
                    mark @ ('@' | '%') => {
                        text.push(mark as u8);
                        continue;
                    }
                    'N' => Piece::Nanoseconds,
                    letter if TIMES.contains(letter) => Piece::Time(letter),
                    other => {
                        text.extend(format!("%{other}").bytes());
                        continue;
                    }
                },
                '\\' => {
                    text.push(escaped(rest.next().ok_or("it ends with a lone \\; write \\\\")?)?);
                    continue;
                }
                c => {
                    text.extend(c.encode_utf8(&mut [0; 4]).bytes());
                    continue;
                }
            };
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(piece);
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Template { pieces, pretty })
    }

    /// Appends a message.
    pub fn write(&self, message: &Incoming, out: &mut Vec<u8>) {
        // Every piece tells the same time, and asking for it costs more than the rest.
        let mut time = None;
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Field(what, layout) => self.field(*what, *layout, message, &mut time, out),
                Piece::Time(letter) => out.extend(strftime(*letter, time.get_or_insert_with(now)).bytes()),
                Piece::Nanoseconds => {
                    let nanoseconds = time.get_or_insert_with(now).subsec_nanosecond();
                    out.extend(format!("{nanoseconds:09}").bytes());
                }
            }
        }
    }

    fn field(
        &self,
        what: What,
        layout: Layout,
        message: &Incoming,
        time: &mut Option<Zoned>,
        out: &mut Vec<u8>,
    ) {
        let properties = message.properties.as_properties();
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        match what {
            What::Topic => layout.text(&message.topic, out),
            What::ContentType => layout.text(properties.content_type().unwrap_or_default(), out),
            What::ResponseTopic => layout.text(properties.response_topic().unwrap_or_default(), out),
            What::IsoTime => {
                let time = time.get_or_insert_with(now).strftime("%Y-%m-%dT%H:%M:%S%z").to_string();
                layout.text(&time, out);
            }
            What::Payload => layout.bytes(&message.payload, out),
            What::Hexadecimal { upper } => layout.bytes(hexadecimal(&message.payload, upper).as_bytes(), out),
            What::Length => layout.bytes(message.payload.len().to_string().as_bytes(), out),
            What::PacketId => {
                let id = message.packet_id.map_or(0, |id| id.value());
                layout.bytes(id.to_string().as_bytes(), out);
            }
            What::TopicAlias => {
                layout
                    .bytes(number(properties.topic_alias().map(|alias| alias.get().into())).as_bytes(), out);
            }
            What::ExpiryInterval => {
                layout.bytes(number(properties.message_expiry_interval().map(u64::from)).as_bytes(), out);
            }
            What::FormatIndicator => {
                let indicator = properties.payload_format_indicator().map(|format| format as u64);
                layout.bytes(number(indicator).as_bytes(), out);
            }
            What::SubscriptionIdentifier => {
                let id = properties.subscription_identifiers().next().map(|id| id.value().into());
                layout.bytes(number(id).as_bytes(), out);
            }
            What::Qos => out.push(b'0' + message.qos as u8),
            What::Retain => out.push(b'0' + u8::from(message.retain)),
            What::CorrelationData => out.extend(properties.correlation_data().unwrap_or_default()),
            What::UserProperties => {
                let pairs: Vec<_> =
                    properties.user_properties().map(|(name, value)| format!("{name}:{value}")).collect();
                out.extend(pairs.join(" ").bytes());
            }
            What::UnixTime => {
                let time = time.get_or_insert_with(now).timestamp();
                out.extend(format!("{}.{:09}", time.as_second(), time.subsec_nanosecond()).bytes());
            }
            What::Json(payload) => {
                match json::object(message, time.get_or_insert_with(now), payload, self.pretty) {
                    Some(object) => out.extend(object.bytes()),
                    None => {
                        say(format_args!("mqway: the message on topic {} is no valid JSON", message.topic))
                    }
                }
            }
        }
    }
}

impl Layout {
    /// Text, cut to the highest width and filled up with blanks to the lowest, in characters as `printf` has bytes.
    fn text(self, text: &str, out: &mut Vec<u8>) {
        let cut =
            text.char_indices().nth(self.most.unwrap_or(usize::MAX)).map_or(text, |(end, _)| &text[..end]);
        let blanks = self.width.saturating_sub(cut.chars().count());
        Layout { zeros: false, ..self }.filled(cut.as_bytes(), blanks, out);
    }

    /// Numbers and bytes, filled up with blanks or zeros.
    fn bytes(self, bytes: &[u8], out: &mut Vec<u8>) {
        self.filled(bytes, self.width.saturating_sub(bytes.len()), out);
    }

    fn filled(self, bytes: &[u8], missing: usize, out: &mut Vec<u8>) {
        let filling = std::iter::repeat_n(if self.zeros && !self.left { b'0' } else { b' ' }, missing);
        if self.left {
            out.extend_from_slice(bytes);
            out.extend(filling);
        } else {
            out.extend(filling);
            out.extend_from_slice(bytes);
        }
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// What follows a percent sign; `None` for one that stands for itself.
fn field(rest: &mut Chars<'_>) -> Result<Option<(What, Layout)>, String> {
    let left = rest.next_if_eq(&'-').is_some();
    let zeros = rest.next_if_eq(&'0').is_some();
    let width = digits(rest)?;
    let most = match rest.next_if_eq(&'.') {
        Some(_) => Some(digits(rest)?),
        None => None,
    };
    let letter = rest.next().ok_or("it ends within a % sequence; write a percent sign as %%")?;
    let what = match letter {
        '%' => return Ok(None),
        'A' => What::TopicAlias,
        'C' => What::ContentType,
        'D' => What::CorrelationData,
        'E' => What::ExpiryInterval,
        'F' => What::FormatIndicator,
        'I' => What::IsoTime,
        'j' => What::Json(Payload::Quoted),
        'J' => What::Json(Payload::Raw),
        'l' => What::Length,
        'm' => What::PacketId,
        'p' => What::Payload,
        'P' => What::UserProperties,
        'q' => What::Qos,
        'R' => What::ResponseTopic,
        'r' => What::Retain,
        'S' => What::SubscriptionIdentifier,
        't' => What::Topic,
        'U' => What::UnixTime,
        'x' => What::Hexadecimal { upper: false },
        'X' => What::Hexadecimal { upper: true },
        other => return Err(format!("there is no %{other}; write a percent sign as %%")),
    };
    Ok(Some((what, Layout { left, zeros, width, most })))
}

fn digits(rest: &mut Chars<'_>) -> Result<usize, String> {
    let mut number = 0;
    while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
        rest.next();
        number = number * 10 + digit as usize;
        if number > WIDEST {
            return Err(format!("no field is wider than {WIDEST}"));
        }
    }
    Ok(number)
}

fn escaped(letter: char) -> Result<u8, String> {
    Ok(match letter {
        '\\' => b'\\',
        '0' => 0,
        'a' => 0x07,
        'e' => 0x1B,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0B,
        other => return Err(format!("there is no \\{other}; write a backslash as \\\\")),
    })
}

fn hexadecimal(bytes: &[u8], upper: bool) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = if upper { write!(text, "{byte:02X}") } else { write!(text, "{byte:02x}") };
    }
    text
}

fn strftime(letter: char, time: &Zoned) -> String {
    let config = Config::new().custom(PosixCustom::new()).lenient(true);
    BrokenDownTime::from(time).to_string_with_config(&config, format!("%{letter}")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
