//! The JSON Schema of configuration files: made of what the settings accept, and of what the explained files say.

use serde_json::{Map, Value, json};

use crate::settings::{BROKER_FILE, PROXY_FILE, accepts, keys_of};

/// Sections that are lists of tables.
const LISTS: [&str; 3] = ["listeners", "upstreams", "topics"];

/// The schema as text.
pub fn schema() -> String {
    let sections = keys_of("").iter().map(|section| ((*section).to_owned(), section_schema(section)));
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mqway",
        "description": "Settings of mqway broker, mqway proxy and the profiles of client commands",
        "type": "object",
        "additionalProperties": false,
        "properties": sections.collect::<Map<_, _>>(),
    });
    format!("{schema:#}\n")
}

fn section_schema(section: &str) -> Value {
    if matches!(section, "profiles" | "plugins") {
        return json!({ "type": "object", "additionalProperties": { "type": "object" } });
    }
    let keys = keys_of(section).iter().map(|key| ((*key).to_owned(), key_schema(section, key)));
    let table = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": keys.collect::<Map<_, _>>(),
    });
    if LISTS.contains(&section) { json!({ "type": "array", "items": table }) } else { table }
}

/// Which types of values a key takes is found out by trying.
fn key_schema(section: &str, key: &str) -> Value {
    let takes = |value: toml::Value| accepts(section, LISTS.contains(&section), key, value);
    let mut schema = Map::new();
    let types: Vec<_> = [
        ("boolean", takes(true.into()).is_ok()),
        ("integer", takes(1.into()).is_ok()),
        ("number", takes(1.5.into()).is_ok()),
        ("string", takes("1".into()).is_ok() || takes("text".into()).is_ok()),
        ("array", takes(toml::Value::Array(vec!["text".into()])).is_ok()),
    ]
    .into_iter()
    .filter_map(|(name, taken)| taken.then_some(Value::from(name)))
    .collect();
    match (types.as_slice(), takes("text".into())) {
        // The words that are taken stand in the message, in backticks, behind the one that isn't.
        ([], Err(message)) => {
            let words: Vec<_> = message.split('`').skip(1).step_by(2).skip(1).map(Value::from).collect();
            schema.insert("enum".to_owned(), words.into());
        }
        ([one], _) => {
            schema.insert("type".to_owned(), one.clone());
        }
        (many, _) => {
            schema.insert("type".to_owned(), many.into());
        }
    }
    if types.contains(&Value::from("array")) {
        schema.insert("items".to_owned(), json!({ "type": "string" }));
    }
    if let Some(words) = explanation(BROKER_FILE, section, key).or(explanation(PROXY_FILE, section, key)) {
        schema.insert("description".to_owned(), words.into());
    }
    schema.into()
}

/// The comment above a key, or above the keys that it stands with.
fn explanation(file: &str, section: &str, key: &str) -> Option<String> {
    let (mut within, mut comment, mut behind_key) = (false, Vec::new(), false);
    for line in file.lines() {
        if line.starts_with('[') {
            within = line.trim_matches(['[', ']']) == section;
            // What stands above a section is for its first key, unless that has words of its own.
            behind_key = true;
            continue;
        }
        let text = line.trim_start_matches("# ");
        match text.split_once(" = ").filter(|(name, _)| !name.contains(' ')) {
            Some((name, _)) if within && name == key => return Some(comment.join(" ")),
            Some(_) => behind_key = true,
            None if line.is_empty() => comment.clear(),
            None => {
                if std::mem::take(&mut behind_key) {
                    comment.clear();
                }
                comment.push(text);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_type_and_words() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        for section in keys_of("").iter().filter(|section| !["profiles", "plugins"].contains(section)) {
            let table = &schema["properties"][section];
            let keys =
                if LISTS.contains(section) { &table["items"]["properties"] } else { &table["properties"] };
            for (key, of) in keys.as_object().unwrap() {
                assert!(of.get("type").or(of.get("enum")).is_some(), "{section}.{key}: {of}");
                assert!(of["description"].as_str().is_some_and(|words| !words.is_empty()), "{section}.{key}");
            }
        }
        let broker = &schema["properties"]["broker"]["properties"];
        assert_eq!(broker["queue_full"]["enum"], json!(["drop-newest", "drop-oldest"]));
        assert_eq!(
            schema["properties"]["limits"]["properties"]["max_packet"]["type"],
            json!(["integer", "string"])
        );
    }
}
