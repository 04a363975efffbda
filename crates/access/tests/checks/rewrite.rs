//! Topics known by other names.

use mqway_access::acl::Subject;
use mqway_access::rewrite::{Mount, RuleSet, Section, Views};
use mqway_codec::{TopicFilter, TopicName};

/// The most lines of an input that are looked at: each is held against each.
const MOST: usize = 32;

/// A mount point in the first line, rules up to an empty line, and topics and filters behind it: whatever the rules are,
/// what they do is one to one, and a filter finds what the client's filter matches.
pub fn rewrite(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.lines();
    let mount = lines.next().unwrap_or_default();
    let rules: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).take(MOST).collect();
    let texts: Vec<&str> = lines.take(MOST).collect();
    let Ok(rules) = RuleSet::parse(&rules) else { return };
    let section = Section { mount: Mount::parse(mount).ok(), rules: Some(rules), ..Section::default() };
    let subject = Subject { user: Some("ann"), client_id: "c1", ..Subject::default() };
    let Ok(view) = Views::new(vec![section]).of(&subject) else { return };
    let topics: Vec<_> = texts.iter().filter(|text| TopicName::new(text).is_ok()).collect();
    let mut known = Vec::new();
    for topic in topics {
        if let Ok(server) = view.to_server(topic) {
            assert!(TopicName::new(&server).is_ok(), "{topic} is {server}");
            assert_eq!(view.to_client(&server).as_deref(), Ok(*topic), "by way of {server}");
            known.push((*topic, server));
        }
        if let Ok(own) = view.to_client(topic) {
            assert_eq!(view.to_server(&own).as_deref(), Ok(*topic), "by way of {own}");
        }
    }
    for filter in texts.iter().filter_map(|text| TopicFilter::new(text).ok()) {
        if filter.share().is_some() {
            continue;
        }
        let Ok(found) = view.filter(filter.as_str()) else { continue };
        let found = TopicFilter::new(&found).expect("a filter");
        for (own, server) in &known {
            let matches =
                |filter: TopicFilter<'_>, topic| filter.matches(TopicName::new(topic).expect("a topic"));
            assert_eq!(
                matches(filter, own),
                matches(found, server),
                "{filter:?} and {own}: {found:?} and {server}"
            );
        }
    }
}
