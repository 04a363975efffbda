//! Topics by a plain reading of 5.0 §4.7 and §4.8.2: lists of levels, and no care for speed.

/// Share name and filter, if it is a shared subscription's.
pub fn share(filter: &str) -> Option<(&str, &str)> {
    filter.strip_prefix("$share/")?.split_once('/')
}

pub fn matches(filter: &str, topic: &str) -> bool {
    let filter = share(filter).map_or(filter, |(_, filter)| filter);
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    let hidden = topic[0].starts_with('$') && ["+", "#"].contains(&filter[0]);
    !hidden && levels_match(&filter, &topic)
}

fn levels_match(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => levels_match(filter, topic),
        ([wanted, filter @ ..], [present, topic @ ..]) => wanted == present && levels_match(filter, topic),
        _ => false,
    }
}
