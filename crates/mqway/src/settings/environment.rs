//! Settings from the environment: `MQWAY__LIMITS__MAX_PACKET=1MiB`, `MQWAY__LISTENERS__0__URL=tcp://:1883`.
//!
//! A variable names the path of a key, with two underscores between its parts; entries of a list are counted from 0.
//! A list of words may be written with commas between them, or as in TOML.

use toml::{Table, Value};

use super::{Settings, known};
use crate::failure::Failure;

const PREFIX: &str = "MQWAY__";
const SEPARATOR: &str = "__";

/// Lays those of `variables` that are meant for us over what the file said.
pub fn overlay(
    mut table: Table,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Settings, Failure> {
    let mut ours: Vec<Variable> =
        variables.filter_map(|(name, value)| Variable::parse(name, value)).collect();
    // By number within a list, so that entry 10 comes after entry 9.
    ours.sort_by(|a, b| (&a.section, a.index, &a.key).cmp(&(&b.section, b.index, &b.key)));
    for variable in ours {
        variable
            .lay_over(&mut table)
            .map_err(|why| Failure::usage(format_args!("{}: {why}", variable.name)))?;
    }
    table.try_into().map_err(|error: toml::de::Error| Failure::usage(error.message()))
}

/// `MQWAY__SECTION__KEY` or `MQWAY__SECTION__INDEX__KEY`.
struct Variable {
    name: String,
    section: String,
    index: Option<usize>,
    key: String,
    value: String,
}

impl Variable {
    fn parse(name: String, value: String) -> Option<Variable> {
        let path = name.strip_prefix(PREFIX)?.to_lowercase();
        let (section, rest) = path.split_once(SEPARATOR).unwrap_or((&path, ""));
        let (index, key) = match rest.split_once(SEPARATOR) {
            Some((index, key)) if index.parse::<usize>().is_ok() => (index.parse().ok(), key),
            _ => (None, rest),
        };
        Some(Variable { section: section.to_owned(), index, key: key.to_owned(), value, name })
    }

    fn lay_over(&self, table: &mut Table) -> Result<(), String> {
        known::key_of("", &self.section)?;
        known::key_of(&self.section, &self.key)?;
        let value = self.readings().find(|value| self.alone(value).is_ok());
        let value = match value {
            Some(value) => value,
            None => return Err(self.why_not()),
        };
        let Some(index) = self.index else {
            let section = table.entry(&self.section).or_insert_with(|| Value::Table(Table::new()));
            return insert(section, &self.key, value);
        };
        let list = table.entry(&self.section).or_insert_with(|| Value::Array(Vec::new()));
        let list = list.as_array_mut().ok_or("this is no list, leave the number out")?;
        if index == list.len() {
            list.push(Value::Table(Table::new()));
        }
        let there = list.len();
        let entry = list.get_mut(index).ok_or_else(|| {
            format!("there are {there} {} so far, so the next is number {there}", self.section)
        })?;
        insert(entry, &self.key, value)
    }

    /// What the text may mean, the likeliest first: text, a value of TOML, a list of words.
    fn readings(&self) -> impl Iterator<Item = Value> {
        let text = Value::String(self.value.clone());
        let toml =
            format!("value = {}", self.value).parse().ok().and_then(|mut table: Table| table.remove("value"));
        let words = self.value.split(',').map(str::trim).filter(|word| !word.is_empty());
        let words = Value::Array(words.map(|word| Value::String(word.to_owned())).collect());
        [Some(text), toml, Some(words)].into_iter().flatten()
    }

    /// The settings if this variable with this value were all there is.
    fn alone(&self, value: &Value) -> Result<Settings, toml::de::Error> {
        let entry = Value::Table(Table::from_iter([(self.key.clone(), value.clone())]));
        let section = if self.index.is_some() { Value::Array(vec![entry]) } else { entry };
        Table::from_iter([(self.section.clone(), section)]).try_into()
    }

    fn why_not(&self) -> String {
        let listed = matches!(self.section.as_str(), "listeners" | "upstreams");
        if listed && self.index.is_none() {
            return format!("say which of them, as in {PREFIX}{}__0__…", self.section.to_uppercase());
        }
        let text = Value::String(self.value.clone());
        self.alone(&text).err().map_or_else(String::new, |error| error.message().to_owned())
    }
}

fn insert(table: &mut Value, key: &str, value: Value) -> Result<(), String> {
    let table = table.as_table_mut().ok_or("say which of them, with a number: __0__")?;
    table.insert(key.to_owned(), value);
    Ok(())
}
