//! Topics by a plain reading of 5.0 §4.7 and §4.8.2: lists of levels, and no care for speed.

use mqway_codec::Version;

pub fn is_name(text: &str) -> bool {
    (1..=65_535).contains(&text.len()) && !text.contains(['+', '#', '\0'])
}

pub fn is_filter(version: Version, text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    let last = levels.len() - 1;
    let level_is_valid = |(index, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => index == last,
        level => !level.contains(['+', '#', '\0']),
    };
    let valid = (1..=65_535).contains(&text.len()) && levels.iter().enumerate().all(level_is_valid);
    valid && (version != Version::V5 || levels.len() == 1 || levels[0] != "$share" || share(text).is_some())
}

/// The filter behind `$share/name/`.
fn share(text: &str) -> Option<&str> {
    let levels: Vec<&str> = text.splitn(3, '/').collect();
    match levels[..] {
        ["$share", name, filter] if !["", "+", "#"].contains(&name) && !filter.is_empty() => Some(filter),
        _ => None,
    }
}

pub fn matches(filter: &str, name: &str) -> bool {
    let filter = share(filter).unwrap_or(filter);
    let filter: Vec<&str> = filter.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    let hidden = name[0].starts_with('$') && ["+", "#"].contains(&filter[0]);
    !hidden && levels_match(&filter, &name)
}

fn levels_match(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        (["#"], _) => true,
        ([], []) => true,
        (["+", filter @ ..], [_, name @ ..]) => levels_match(filter, name),
        ([wanted, filter @ ..], [present, name @ ..]) => wanted == present && levels_match(filter, name),
        _ => false,
    }
}
