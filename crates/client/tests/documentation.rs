//! Every public item of this crate is shown in an example that is compiled, and run where no server is needed: a type in
//! its own documentation, a function in its own or its type's.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::HashMap;
use std::path::Path;

/// An item with its documentation.
struct Item {
    place: String,
    name: String,
    /// The type whose function it is.
    owner: Option<String>,
    documentation: String,
}

impl Item {
    fn examples(&self) -> Vec<&str> {
        self.documentation.split("```").skip(1).step_by(2).collect()
    }
}

#[test]
fn every_public_item_is_shown_in_an_example() {
    let exported = exported();
    let items: Vec<_> = sources().iter().flat_map(|(file, text)| items(file, text)).collect();
    let named = |item: &&Item| exported.contains(item.owner.as_ref().unwrap_or(&item.name));
    let public: Vec<_> = items.iter().filter(named).collect();
    assert!(
        public.len() > 40,
        "found only {} public items: has the layout of the sources changed?",
        public.len()
    );

    let mut of_types: HashMap<&str, Vec<&str>> = HashMap::new();
    for item in public.iter().filter(|item| item.owner.is_none()) {
        of_types.entry(&item.name).or_default().extend(item.examples());
    }
    let is_shown = |item: &Item| {
        let call = format!("{}(", item.name);
        let of_type = item.owner.as_deref().and_then(|owner| of_types.get(owner));
        !item.examples().is_empty()
            || of_type.is_some_and(|examples| examples.iter().any(|example| example.contains(&call)))
    };
    let bare: Vec<_> = public
        .iter()
        .filter(|item| !is_shown(item))
        .map(|item| format!("{}: {} has no example", item.place, item.name))
        .collect();
    assert!(bare.is_empty(), "\n{}\n", bare.join("\n"));
}

fn sources() -> Vec<(String, String)> {
    sources_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

fn sources_below(root: &Path) -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root.parent().unwrap()).unwrap().display().to_string();
                sources.push((name, std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    sources
}

#[test]
fn every_type_of_other_crates_that_this_one_hands_on_is_shown_there() {
    let mut bare = Vec::new();
    for (package, name) in handed_on() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&package).join("src");
        let all = sources_below(&source);
        let found = all.iter().flat_map(|(file, text)| items(file, text)).find(|item| item.name == name);
        if found.is_none_or(|item| item.examples().is_empty()) {
            bare.push(format!("crates/{package}: {name} has no example"));
        }
    }
    assert!(bare.is_empty(), "\n{}\n", bare.join("\n"));
}

/// Crate and name of what lib.rs takes from other crates of ours, by the name that it has there.
fn handed_on() -> Vec<(String, String)> {
    let library = include_str!("../src/lib.rs");
    let mut names = Vec::new();
    for statement in library.split("\npub use mqway_").skip(1) {
        let statement = statement.split(';').next().unwrap();
        let package = statement.split("::").next().unwrap();
        let list = statement.rsplit("::").next().unwrap();
        for name in list.trim_matches(['{', '}']).split(',') {
            let name = name.trim().trim_end_matches('}').split(" as ").next().unwrap().trim();
            if !name.is_empty() {
                names.push((package.to_owned(), name.to_owned()));
            }
        }
    }
    assert!(names.len() > 10, "found only {names:?}");
    names
}

/// The names that lib.rs defines, or takes out of its modules.
fn exported() -> Vec<String> {
    let library = include_str!("../src/lib.rs");
    let mut names: Vec<_> = items("src/lib.rs", library)
        .into_iter()
        .filter(|item| item.owner.is_none())
        .map(|item| item.name)
        .collect();
    for statement in library.split("\npub use ").skip(1) {
        let statement = statement.split(';').next().unwrap();
        if !statement.starts_with("mqway_") {
            let words = statement.split(|c: char| !c.is_alphanumeric() && c != '_');
            names.extend(words.filter(|word| word.starts_with(char::is_uppercase)).map(str::to_owned));
        }
    }
    names
}

/// The public items of a file, as rustfmt lays them out. Functions of traits are shown with their trait.
fn items(file: &str, text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut documentation = String::new();
    let mut owner = None;
    for (index, line) in text.lines().enumerate() {
        if line == "#[cfg(test)]" {
            break;
        }
        if let Some(block) = line.strip_prefix("impl") {
            owner = owner_of(block);
        } else if line == "}" {
            owner = None;
        }
        let line = line.trim_start();
        if let Some(text) = line.strip_prefix("///") {
            documentation.push_str(text);
            documentation.push('\n');
        } else if !line.starts_with("#[") {
            let documentation = std::mem::take(&mut documentation);
            if let Some(name) = public_name(line) {
                let place = format!("crates/client/{file}:{}", index + 1);
                items.push(Item { place, name, owner: owner.clone(), documentation });
            }
        }
    }
    items
}

/// The type of `impl Type {` or `impl<T> Type<T> {`; none for a trait's.
fn owner_of(block: &str) -> Option<String> {
    let block = if block.starts_with('<') { block.split_once('>')?.1 } else { block };
    let name = block.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (!block.contains(" for ")).then(|| name.to_owned())
}

fn public_name(line: &str) -> Option<String> {
    let rest = line.strip_prefix("pub ")?;
    let mut words = rest.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod"];
    let modifiers = ["async", "const", "unsafe"];
    let mut kind = words.next()?;
    let mut name = words.next()?;
    while modifiers.contains(&kind) && kinds.contains(&name) {
        (kind, name) = (name, words.next()?);
    }
    kinds.contains(&kind).then(|| name.to_owned())
}
