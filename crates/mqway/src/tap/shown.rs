//! What there is to show of a packet, apart from how it is shown: as text for people, or as JSON.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A name in the spelling of JSON, and what it stands for.
pub type Field<'a> = (&'static str, Shown<'a>);

/// Fields in their order.
pub type Fields<'a> = Vec<Field<'a>>;

/// A value.
#[derive(Clone, Debug)]
pub enum Shown<'a> {
    /// Yes or no. Text has its name, or nothing.
    Flag(bool),
    Number(u64),
    /// The number of an outcome, and its name. Text shows both without the field's name, JSON as `code` and `reason`.
    Code(u8, String),
    /// Words of ours, which need no quotes.
    Word(String),
    /// Words of the peer.
    Text(&'a str),
    /// Bytes of the peer: text if they can be, and how many there are in all, here or not.
    Bytes {
        present: &'a [u8],
        all: usize,
    },
    /// So many bytes that nobody should see.
    Hidden(usize),
    List(Vec<Shown<'a>>),
    Group(Fields<'a>),
    /// A name and a value of the peer.
    Pair(&'a str, &'a str),
}

/// One line for people: what says nothing (a flag not set, an empty group) is left out.
pub fn text(fields: &[Field<'_>], most_bytes: usize) -> String {
    let mut out = String::new();
    write_fields(&mut out, fields, most_bytes);
    out
}

/// One JSON object, without a line end. Bytes that are no text become `name_base64`, bytes that are left out are
/// counted in `name_missing`.
pub fn json(fields: &[Field<'_>], most_bytes: usize) -> String {
    let mut out = String::from("{");
    for (name, value) in fields {
        json_field(&mut out, name, value, most_bytes);
    }
    out.push('}');
    out
}

fn write_fields(out: &mut String, fields: &[Field<'_>], most: usize) {
    let told = fields.iter().filter(|(_, value)| match value {
        Shown::Flag(set) => *set,
        Shown::Group(fields) => !fields.is_empty(),
        _ => true,
    });
    for (index, (name, value)) in told.enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        if !matches!(value, Shown::Code(..)) {
            out.extend(name.chars().map(|c| if c == '_' { ' ' } else { c }));
            out.push(' ');
        }
        match value {
            Shown::Flag(_) => drop(out.pop()),
            value => write_value(out, value, most),
        }
    }
}

fn write_value(out: &mut String, value: &Shown<'_>, most: usize) {
    // Writing to a String cannot fail.
    let _ = match value {
        Shown::Flag(set) => write!(out, "{set}"),
        Shown::Number(number) => write!(out, "{number}"),
        Shown::Code(code, name) => write!(out, "0x{code:02X} {name}"),
        Shown::Word(word) => write!(out, "{word}"),
        Shown::Text(text) => write!(out, "{text:?}"),
        Shown::Pair(name, value) => write!(out, "{name:?}={value:?}"),
        Shown::Hidden(bytes) => write!(out, "({bytes} bytes, hidden)"),
        Shown::Bytes { present, all } => {
            write_bytes(out, present, *all, most);
            Ok(())
        }
        Shown::List(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_value(out, value, most);
            }
            write!(out, "]")
        }
        Shown::Group(fields) => {
            out.push('{');
            write_fields(out, fields, most);
            write!(out, "}}")
        }
    };
}

/// `(5 bytes) "hello"`, or in hexadecimal if it is no text; with dots if there is more.
fn write_bytes(out: &mut String, present: &[u8], all: usize, most: usize) {
    let cut = &present[..present.len().min(most)];
    let more = if cut.len() < all { "…" } else { "" };
    let _ = write!(out, "({all} bytes)");
    if cut.is_empty() {
        return;
    }
    match as_text(cut, cut.len() < all) {
        Some(text) => {
            let _ = write!(out, " {text:?}{more}");
        }
        None => {
            out.push_str(" 0x");
            for byte in cut {
                let _ = write!(out, "{byte:02x}");
            }
            out.push_str(more);
        }
    }
}

/// The text that the bytes are; if they were cut, perhaps within a character, without that.
fn as_text(bytes: &[u8], was_cut: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if was_cut && error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

fn json_field(out: &mut String, name: &str, value: &Shown<'_>, most: usize) {
    let (name, value) = match value {
        Shown::Bytes { present, all } => {
            let cut = &present[..present.len().min(most)];
            if cut.len() < *all {
                json_pair(out, &format!("{name}_missing"), &(all - cut.len()).to_string());
            }
            match as_text(cut, cut.len() < *all) {
                // What a cut character leaves out would be lost: better all bytes, unread.
                Some(text) if text.len() == cut.len() => (name.to_owned(), Value::from(text)),
                _ => (format!("{name}_base64"), Value::from(STANDARD.encode(cut))),
            }
        }
        Shown::Hidden(bytes) => (format!("{name}_hidden"), Value::from(*bytes)),
        Shown::Code(code, reason) => {
            json_pair(out, name, &code.to_string());
            ("reason".to_owned(), Value::from(reason.as_str()))
        }
        value => return json_pair(out, name, &json_value(value, most)),
    };
    json_pair(out, &name, &value.to_string());
}

fn json_value(value: &Shown<'_>, most: usize) -> String {
    match value {
        Shown::Flag(set) => set.to_string(),
        Shown::Number(number) => number.to_string(),
        Shown::Word(word) => Value::from(word.as_str()).to_string(),
        Shown::Text(text) => Value::from(*text).to_string(),
        Shown::Pair(name, value) => Value::from(vec![*name, *value]).to_string(),
        Shown::List(values) => {
            let values: Vec<_> = values.iter().map(|value| json_value(value, most)).collect();
            format!("[{}]", values.join(","))
        }
        Shown::Group(fields) => json(fields, most),
        Shown::Code(code, reason) => {
            format!("{{\"code\":{code},\"reason\":{}}}", Value::from(reason.as_str()))
        }
        // Within a list there is no name to say more with.
        Shown::Bytes { present, .. } => Value::from(STANDARD.encode(present)).to_string(),
        Shown::Hidden(bytes) => bytes.to_string(),
    }
}

fn json_pair(out: &mut String, name: &str, value: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    let _ = write!(out, "{}:{value}", Value::from(name));
}

#[cfg(test)]
mod tests;
