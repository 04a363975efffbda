//! §4.7 Topic names and topic filters, §4.8.2 Shared subscriptions.

use mqway_codec::{MAX_TOPIC_LEN, TopicError, TopicFilter, TopicName, Version};

fn matches(filter: &str, topic: &str) -> bool {
    TopicFilter::new(filter).unwrap().matches(TopicName::new(topic).unwrap())
}

#[test]
fn examples_of_the_specification_match() {
    for (filter, topic) in [
        // §4.7.1.2
        ("sport/tennis/player1/#", "sport/tennis/player1"),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
        ("sport/#", "sport"),
        ("#", "a"),
        ("#", "/"),
        ("sport/tennis/#", "sport/tennis/"),
        // §4.7.1.3
        ("sport/tennis/+", "sport/tennis/player1"),
        ("sport/tennis/+", "sport/tennis/player2"),
        ("sport/+", "sport/"),
        ("+/+", "/finance"),
        ("/+", "/finance"),
        ("+", "a"),
        ("+/tennis/#", "a/tennis"),
        ("sport/+/player1", "sport/tennis/player1"),
        // §4.7.2
        ("$SYS/#", "$SYS/broker"),
        ("$SYS/#", "$SYS"),
        ("$SYS/monitor/+", "$SYS/monitor/Clients"),
        // §4.7.3
        ("ACCOUNTS", "ACCOUNTS"),
        ("Accounts payable", "Accounts payable"),
        ("/finance", "/finance"),
        ("a/$b/+", "a/$b/c"),
        ("+/$b", "a/$b"),
        ("+/+/#", "a/b"),
    ] {
        assert!(matches(filter, topic), "{filter} matches {topic}");
    }
}

#[test]
fn counterexamples_do_not_match() {
    for (filter, topic) in [
        ("sport/tennis/+", "sport/tennis/player1/ranking"),
        ("sport/+", "sport"),
        ("+", "/finance"),
        ("sport/#", "sports"),
        ("sport/#", "Sport"),
        ("sport/tennis/player1/#", "sport/tennis/player10"),
        ("#", "$SYS"),
        ("#", "$SYS/broker"),
        ("+/monitor/Clients", "$SYS/monitor/Clients"),
        ("+", "$SYS"),
        ("+/#", "$SYS/x"),
        ("/finance", "finance"),
        ("finance", "/finance"),
        ("ACCOUNTS", "Accounts"), // §4.7.3: case sensitive
        ("a", "a/"),
        ("a/", "a"),
        ("a/b", "a"),
        ("\u{E9}", "e\u{301}"), // [MQTT-4.7.3-4]: no normalisation
    ] {
        assert!(!matches(filter, topic), "{filter} does not match {topic}");
    }
}

#[test]
fn names_are_judged() {
    // [MQTT-4.7.0-1], [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT-4.7.3-3]
    for (name, problem) in [
        ("", TopicError::Empty),
        ("a/#", TopicError::WildcardInName),
        ("a+", TopicError::WildcardInName),
        ("a\0", TopicError::NulCharacter),
    ] {
        assert_eq!(TopicName::new(name), Err(problem), "{name:?}");
    }
    assert!(TopicName::new(&"t".repeat(MAX_TOPIC_LEN)).is_ok());
    assert_eq!(TopicName::new(&"t".repeat(MAX_TOPIC_LEN + 1)), Err(TopicError::TooLong));
    for name in ["/", "//", " ", "$", "$share/x", "日本/語"] {
        assert_eq!(TopicName::new(name).map(TopicName::as_str), Ok(name));
    }
}

#[test]
fn filters_are_judged() {
    // [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT-4.7.3-3]
    for (filter, problem) in [
        ("", TopicError::Empty),
        ("sport/tennis#", TopicError::MultiLevelWildcard),
        ("sport/tennis/#/ranking", TopicError::MultiLevelWildcard),
        ("##", TopicError::MultiLevelWildcard),
        ("#/", TopicError::MultiLevelWildcard),
        ("sport+", TopicError::SingleLevelWildcard),
        ("+sport", TopicError::SingleLevelWildcard),
        ("++", TopicError::SingleLevelWildcard),
        ("a/+#", TopicError::SingleLevelWildcard),
        ("a/#+", TopicError::MultiLevelWildcard),
        ("a\0", TopicError::NulCharacter),
    ] {
        assert_eq!(TopicFilter::new(filter), Err(problem), "{filter:?}");
    }
    assert_eq!(TopicFilter::new(&"t".repeat(MAX_TOPIC_LEN + 1)), Err(TopicError::TooLong));
    for filter in ["#", "+", "/+", "+/", "//#", "+/+/#", "a/+/b", "$SYS/#"] {
        assert_eq!(TopicFilter::new(filter).map(TopicFilter::as_str), Ok(filter));
    }
    assert!(TopicFilter::new("a/+").unwrap().has_wildcard());
    assert!(!TopicFilter::new("a/b").unwrap().has_wildcard());
    assert_eq!(TopicFilter::new("a//b").unwrap().levels().collect::<Vec<_>>(), ["a", "", "b"]);
}

#[test]
fn shares_are_taken_apart() {
    // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
    let share = |text| {
        let filter = TopicFilter::for_version(Version::V3_1_1, text).unwrap();
        filter.share().map(|(name, filter)| (name, filter.as_str()))
    };
    assert_eq!(share("$share/consumer1/sport/tennis/+"), Some(("consumer1", "sport/tennis/+")));
    assert_eq!(share("$share/consumer1//finance"), Some(("consumer1", "/finance")));
    assert_eq!(share("$share/g/#"), Some(("g", "#")));
    for text in
        ["$share", "$share/", "$share/g", "$share/g/", "$share//t", "$share/+/t", "$Share/g/t", "share/g/t"]
    {
        assert_eq!(share(text), None, "{text}");
    }
}

#[test]
fn shares_match_by_their_filter() {
    assert!(matches("$share/g/a/+", "a/b"));
    assert!(matches("$share/g/$SYS/#", "$SYS/x"));
    assert!(!matches("$share/g/#", "$SYS/x")); // [MQTT-4.7.2-1]
    assert!(!matches("$share/g/a", "$share/g/a"));
}
