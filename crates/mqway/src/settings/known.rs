//! Which keys exist, and which of them was probably meant.

use serde::de::{self, Deserialize, Deserializer, Visitor};
use toml::de::{DeTable, DeValue};

use super::{
    Access, Bans, Broker, Jwt, Limits, Listener, Log, Rates, Settings, Topics, Upstream, WebService, Webhooks,
};

/// A key that does not exist.
#[derive(Debug)]
pub struct Unknown {
    /// Where it stands in the file, in bytes.
    pub offset: usize,
    /// What is wrong, and how to mend it.
    pub message: String,
}

/// Names that are alike at least this much (1 is equal) are offered as what was meant.
const ALIKE: f64 = 0.7;

/// Checks the names of all keys in the file. Values are left to serde.
pub fn check(table: &DeTable<'_>) -> Result<(), Unknown> {
    for (section, value) in table {
        let offset = section.span().start;
        key_of("", section.get_ref()).map_err(|message| Unknown { offset, message })?;
        match value.get_ref() {
            // The names of profiles are the user's, those of plugins are in the program; what stands in them is looked
            // at by who knows it.
            DeValue::Table(_) if matches!(&**section.get_ref(), "profiles" | "plugins") => {}
            DeValue::Table(table) => check_section(section.get_ref(), table)?,
            DeValue::Array(entries) => {
                for entry in entries.iter() {
                    if let DeValue::Table(table) = entry.get_ref() {
                        check_section(section.get_ref(), table)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_section(section: &str, table: &DeTable<'_>) -> Result<(), Unknown> {
    for key in table.keys() {
        let offset = key.span().start;
        key_of(section, key.get_ref()).map_err(|message| Unknown { offset, message })?;
    }
    Ok(())
}

/// Whether `key` exists in `section`; the top level is the section without a name.
pub fn key_of(section: &str, key: &str) -> Result<(), String> {
    let known = keys_of(section);
    if known.contains(&key) {
        return Ok(());
    }
    let (what, whole) =
        if section.is_empty() { ("section", key.to_owned()) } else { ("key", format!("{section}.{key}")) };
    Err(match nearest(key, known) {
        Some(meant) => format!("there is no {what} `{whole}`; did you mean `{meant}`?"),
        None => format!("there is no {what} `{whole}`; there are {}", known.join(", ")),
    })
}

/// The keys that exist in `section`, in the order of their struct.
pub fn keys_of(section: &str) -> &'static [&'static str] {
    match section {
        "" => fields::<Settings>(),
        "listeners" => fields::<Listener>(),
        "upstreams" => fields::<Upstream>(),
        "access" => fields::<Access>(),
        "jwt" => fields::<Jwt>(),
        "topics" => fields::<Topics>(),
        "web_service" => fields::<WebService>(),
        "webhooks" => fields::<Webhooks>(),
        "bans" => fields::<Bans>(),
        "rates" => fields::<Rates>(),
        "broker" => fields::<Broker>(),
        "limits" => fields::<Limits>(),
        "log" => fields::<Log>(),
        _ => &[],
    }
}

/// The name that was probably meant.
pub fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let alike =
        |name: &str| strsim::jaro_winkler(key, name).max(strsim::normalized_damerau_levenshtein(key, name));
    known
        .iter()
        .map(|name| (alike(name), *name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// The names of a struct's fields, as its `Deserialize` tells them.
fn fields<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The probe answers every type with an error; what it was asked for on the way is the result.
    let _ = T::deserialize(Probe(&mut names));
    names
}

struct Probe<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("only looking"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
