use mqway_codec::{QoS, SubscribeOptions, TopicFilter, TopicName};
use proptest::prelude::*;

use super::*;

fn view(mount: Option<&str>, rules: &[&str]) -> View {
    let section = Section {
        mount: mount.map(|mount| Mount::parse(mount).unwrap()),
        rules: Some(RuleSet::parse(rules).unwrap()),
        ..Section::default()
    };
    Views::new(vec![section]).of(&alice()).unwrap()
}

fn alice() -> Subject<'static> {
    Subject { user: Some("alice"), client_id: "c1", transport: "tcp", ..Subject::default() }
}

#[test]
fn a_mount_point_is_in_front_of_everything() {
    let view = view(Some("tenants/%u/"), &[]);
    assert_eq!(view.to_server("a/b").unwrap(), "tenants/alice/a/b");
    assert_eq!(view.to_client("tenants/alice/a/b").unwrap(), "a/b");
    assert_eq!(view.to_server("/").unwrap(), "tenants/alice//");
    assert_eq!(view.filter("#").unwrap(), "tenants/alice/#");
    assert_eq!(view.filter("+/b").unwrap(), "tenants/alice/+/b");
    for other in ["tenants/bob/a", "tenants/alice", "tenants/alicea/b", "a", "$SYS/x"] {
        assert_eq!(view.to_client(other), Err(Outside::Mount), "{other}");
    }
    assert_eq!(view.to_client("tenants/alice/"), Err(Outside::NoTopic));
    for own in ["$SYS/x", "$share/g/a", "$"] {
        assert_eq!(view.to_server(own), Err(Outside::Dollar), "{own}");
        assert_eq!(view.to_client(&format!("tenants/alice/{own}")), Err(Outside::Dollar), "{own}");
    }
    assert_eq!(view.filter("$SYS/#"), Err(Outside::Dollar));
}

#[test]
fn rules_give_other_names() {
    let view =
        view(None, &["a/+x/b -> c/{x}/d", "old/# -> new/#", "of/+/+ -> by/{2}/{1}", "me/# -> users/%u/#"]);
    for (client, server) in [
        ("a/1/b", "c/1/d"),
        ("a//b", "c//d"),
        ("old", "new"),
        ("old/", "new/"),
        ("old/x/y", "new/x/y"),
        ("of/x/y", "by/y/x"),
        ("me/x", "users/alice/x"),
        ("users/bob/x", "users/bob/x"),
        ("other", "other"),
        ("$SYS/x", "$SYS/x"),
    ] {
        assert_eq!(view.to_server(client).unwrap(), server);
        assert_eq!(view.to_client(server).unwrap(), client);
    }
    for (client, server) in
        [("a/+/b", "c/+/d"), ("old/#", "new/#"), ("old/+/#", "new/+/#"), ("other/#", "other/#")]
    {
        assert_eq!(view.filter(client).unwrap(), server);
    }
    for taken in ["c/1/d", "new", "new/x", "users/alice/x"] {
        assert_eq!(view.to_server(taken), Err(Outside::Taken), "{taken}");
    }
    for taken in ["a/1/b", "old", "old/x", "me"] {
        assert_eq!(view.to_client(taken), Err(Outside::Taken), "{taken}");
    }
    // In front, a `$` means something else than behind.
    let lifted = super::tests::view(None, &["of/+x -> {x}/by"]);
    assert_eq!(lifted.to_server("of/x").unwrap(), "x/by");
    assert_eq!(lifted.to_server("of/$SYS"), Err(Outside::Dollar));
    assert_eq!(lifted.to_client("of/$SYS"), Err(Outside::Taken));
    assert_eq!(lifted.filter("of/+").unwrap(), "+/by");
    assert_eq!(lifted.filter("of/$SYS"), Err(Outside::Dollar));
    // It would find `a/1/b` of the server, for which the client has no name, and not `c/1/d`, which is that to it.
    assert_eq!(view.filter("+/1/b"), Err(Outside::Partly));
    assert_eq!(view.filter("new/#"), Err(Outside::Taken));
}

#[test]
fn a_filter_for_all_that_rules_take_and_make_stays_as_it_is() {
    let view = view(None, &["old/# -> new/#"]);
    assert_eq!(view.filter("#").unwrap(), "#");
    assert_eq!(view.filter("+/x").unwrap(), "+/x");
    // A group would lose what lies below `old` at the server.
    assert_eq!(view.shared_filter("#"), Err(Outside::Partly));
    assert_eq!(view.shared_filter("old/#").unwrap(), "new/#");
    assert_eq!(view.shared_filter("other/#").unwrap(), "other/#");
    let swapped = super::tests::view(None, &["a/# -> b/#", "b/# -> a/#"]);
    assert_eq!(swapped.shared_filter("#").unwrap(), "#");
    assert_eq!(swapped.filter("a/x").unwrap(), "b/x");
    let beside = super::tests::view(None, &["a/+x/b -> a/{x}/c"]);
    assert_eq!(beside.filter("a/5/+").unwrap(), "a/5/+");
    assert_eq!(beside.filter("a/#").unwrap(), "a/#");
}

#[test]
fn rules_lie_below_the_mount_point() {
    let view = view(Some("t/%c/"), &["news/# -> n/#", "$SYS/# -> sys/#", "up/# -> $up/#"]);
    assert_eq!(view.to_server("news/x").unwrap(), "t/c1/n/x");
    assert_eq!(view.to_client("t/c1/n/x").unwrap(), "news/x");
    assert_eq!(view.to_server("$SYS/x").unwrap(), "t/c1/sys/x");
    assert_eq!(view.filter("$SYS/#").unwrap(), "t/c1/sys/#");
    assert_eq!(view.to_server("up/x"), Err(Outside::Dollar));
}

#[test]
fn rules_that_are_no_bijection_are_refused_in_one_line() {
    for (rules, expected) in [
        (
            &["a/+x -> b/c"][..],
            "the rule \"a/+x -> b/c\" leaves {x} out on the right, so that topics become the same",
        ),
        (&["a -> b/{x}"], "the rule \"a -> b/{x}\" has {x} on the right, but no +x on the left"),
        (&["a/+x -> {x}/{x}"], "the rule \"a/+x -> {x}/{x}\" has {x} twice"),
        (&["a/# -> b"], "the rule \"a/# -> b\" has a # on one side only"),
        (&["# -> a/#"], "the rule \"# -> a/#\" is for every topic; a mount point goes in front of all"),
        (
            &["a/+x -> b/c{x}"],
            "the rule \"a/+x -> b/c{x}\" has \"c{x}\", where {name} has to be a whole level",
        ),
        (
            &["a/+ -> b/+"],
            "the rule \"a/+ -> b/+\" has \"+\" on the right, where a level of the left is {name}",
        ),
        (&["a"], "the rule \"a\" has to be one topic, ->, and another, such as \"a/+x/b -> c/{x}/d\""),
        (&["a/#/b -> c"], "the rule \"a/#/b -> c\" "),
        (&["%x/a -> c"], "the rule \"%x/a -> c\" "),
        (
            &["a/+x/b -> {x}/1", "a/5/# -> 5/#"],
            "the rules \"a/+x/b -> {x}/1\" and \"a/5/# -> 5/#\" are for the same topics, such as \"a/5/b\"",
        ),
        (
            &["a/# -> c/#", "b/+ -> c/{1}"],
            "the rules \"a/# -> c/#\" and \"b/+ -> c/{1}\" make the same topics, such as \"c/x\"",
        ),
        (
            &["me -> users/%u", "bob -> users/bob"],
            "the rules \"me -> users/%u\" and \"bob -> users/bob\" make the same topics, such as \"users/bob\"",
        ),
    ] {
        let error = RuleSet::parse(rules).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains('\n'));
    }
    let many = vec!["a -> a"; rule::MAX_RULES + 1];
    assert!(RuleSet::parse(&many).is_err());
    let deep = format!("{} -> a", "a/".repeat(MAX_LEVELS) + "a");
    assert!(RuleSet::parse(&[deep]).is_err());
    for mount in ["tenants", "/", "a/+/", "a/#", "", "$SYS/x/", "$share/g/", "%x/"] {
        assert!(Mount::parse(mount).is_err(), "{mount}");
    }
}

#[test]
fn a_client_whose_name_cannot_be_put_in_is_not_served() {
    let mount =
        |text| Views::new(vec![Section { mount: Some(Mount::parse(text).unwrap()), ..Section::default() }]);
    for name in ["", "+", "#", "a/b", "a+", "a\0", "../#"] {
        let subject = Subject { user: Some(name), ..alice() };
        let unfit = mount("tenants/%u/").of(&subject).unwrap_err();
        assert_eq!(unfit, Unfit("tenants/%u/".to_owned()), "{name}");
        let rules = Some(RuleSet::parse(&["me/# -> u/%u/#"]).unwrap());
        let views = Views::new(vec![Section { rules, ..Section::default() }]);
        assert!(views.of(&subject).is_err(), "{name}");
    }
    assert!(mount("tenants/%u/").of(&Subject { user: None, ..alice() }).is_err());
    assert!(mount("%u/").of(&Subject { user: Some("$SYS"), ..alice() }).is_err());
    let claims = ["a", "b"].map(|value| ("site".to_owned(), value.to_owned()));
    let site = mount("%{claim:site}/");
    assert!(site.of(&Subject { claims: &claims, ..alice() }).is_err(), "which of the two?");
    let one = site.of(&Subject { claims: &claims[..1], ..alice() }).unwrap();
    assert_eq!(one.to_server("x").unwrap(), "a/x");
}

#[test]
fn a_name_that_looks_like_a_capture_is_none() {
    let rules = RuleSet::parse(&["a/+x -> %u/{x}"]).unwrap();
    let views = Views::new(vec![Section { rules: Some(rules), ..Section::default() }]);
    let view = views.of(&Subject { user: Some("{x}"), ..alice() }).unwrap();
    assert_eq!(view.to_server("a/b").unwrap(), "{x}/b");
    assert_eq!(view.to_client("{x}/b").unwrap(), "a/b");
    assert_eq!(view.to_client("y/b").unwrap(), "y/b");
}

#[test]
fn the_first_section_that_is_for_a_client_gives_each_of_its_settings() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let options = SubscribeOptions::new(QoS::AtLeastOnce);
    let automatic = |filter| vec![Automatic::parse(filter, options).unwrap()];
    let views = Views::new(vec![
        Section {
            who: Who::everybody().users(&names(&["bob", "carol*"])),
            mount: Some(Mount::parse("b/").unwrap()),
            ..Section::default()
        },
        Section {
            who: Who::everybody().transports(&names(&["tcp"])).anonymous(false),
            rules: Some(RuleSet::parse(&["x -> y"]).unwrap()),
            subscriptions: automatic("cmd/%c/#"),
            ..Section::default()
        },
        Section {
            mount: Some(Mount::parse("all/").unwrap()),
            subscriptions: automatic("x"),
            ..Section::default()
        },
    ]);
    let made = |subject: &Subject<'_>| {
        let view = views.of(subject).unwrap();
        let filters = views.subscriptions(subject, &view).into_iter().map(|one| one.unwrap().0);
        (view.to_server("x").unwrap(), filters.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(made(&alice()), ("all/y".to_owned(), "all/cmd/c1/# all/y".to_owned()));
    let carol = Subject { user: Some("caroline"), transport: "ws", ..alice() };
    assert_eq!(made(&carol), ("b/x".to_owned(), "b/x".to_owned()));
    let nobody = Subject { user: None, ..alice() };
    assert_eq!(made(&nobody), ("all/x".to_owned(), "all/x".to_owned()));
    assert!(Automatic::parse("$share/g/x", options).is_err());
    assert!(Who::everybody().addresses(&names(&["nowhere"])).is_err());
}

#[test]
fn nothing_becomes_longer_than_a_topic_can_be() {
    let view = view(Some("tenants/%u/"), &["s/# -> longer/#"]);
    let fits = "x".repeat(MAX_TOPIC - "tenants/alice/".len());
    assert_eq!(view.to_server(&fits).unwrap().len(), MAX_TOPIC);
    assert_eq!(view.to_server(&format!("{fits}x")), Err(Outside::NoTopic));
    assert_eq!(view.filter(&format!("{fits}x")), Err(Outside::NoTopic));
    let back = super::tests::view(None, &["longer/# -> s/#"]);
    let topic = format!("s/{}", "x".repeat(MAX_TOPIC - 2));
    assert_eq!(back.to_client(&topic), Err(Outside::NoTopic));
}

/// All topics of one to three levels out of a few.
fn topics() -> Vec<String> {
    let levels = ["a", "b", "$b", "", "z"];
    let mut longest: Vec<String> = levels.map(str::to_owned).to_vec();
    let mut all = longest.clone();
    for _ in 0..2 {
        longest = longest.iter().flat_map(|topic| levels.map(|level| format!("{topic}/{level}"))).collect();
        all.extend_from_slice(&longest);
    }
    all.retain(|topic| !topic.is_empty());
    all
}

/// A rule, with its captures in any order on the right.
fn rule() -> impl Strategy<Value = String> {
    let text = || prop_oneof![Just("a"), Just("b"), Just("$b"), Just("")];
    let left = prop::collection::vec((text(), any::<bool>()), 1..3);
    let right = prop::collection::vec(text(), 0..2);
    (left, right, any::<bool>(), any::<u8>()).prop_map(|(left, right, open, order)| {
        let mut captures = 0;
        let mut from: Vec<String> = Vec::new();
        let mut to: Vec<String> = right.into_iter().map(str::to_owned).collect();
        for (text, captured) in left {
            if captured {
                captures += 1;
                from.push("+".to_owned());
                to.insert(usize::from(order) % (to.len() + 1), format!("{{{captures}}}"));
            } else {
                from.push(text.to_owned());
            }
        }
        let tail = if open { "/#" } else { "" };
        format!("{}{tail} -> {}{tail}", from.join("/"), to.join("/"))
    })
}

fn filter() -> impl Strategy<Value = String> {
    "(a|b|\\$b|\\+|)(/(a|b|\\+|)){0,2}(/#)?|#".prop_filter("not empty", |filter| !filter.is_empty())
}

fn any_view() -> impl Strategy<Value = View> {
    let mount = prop::option::of(prop_oneof![Just("t/%u/"), Just("a/"), Just("/b/")]);
    (mount, prop::collection::vec(rule(), 0..4)).prop_filter_map("rules that collide", |(mount, texts)| {
        // As many of them as there can be together.
        let mut rules: Vec<String> = Vec::new();
        for text in texts {
            rules.push(text);
            if RuleSet::parse(&rules).is_err() {
                rules.pop();
            }
        }
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        Some(view(mount, &rules))
    })
}

fn matches(filter: &str, topic: &str) -> bool {
    TopicFilter::new(filter).unwrap().matches(TopicName::new(topic).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_a_client_knows_and_what_it_can_reach_are_one_to_one(view in any_view()) {
        for topic in topics() {
            if let Ok(known) = view.to_server(&topic) {
                prop_assert_eq!(view.to_client(&known), Ok(topic.clone()), "{} is {}", topic, known);
            }
            for server in [topic.clone(), format!("{}{topic}", view.prefix)] {
                if let Ok(own) = view.to_client(&server) {
                    prop_assert_eq!(view.to_server(&own), Ok(server.clone()), "{} is {}", server, own);
                }
            }
        }
    }

    #[test]
    fn a_filter_finds_what_the_client_s_filter_matches(
        view in any_view(),
        filters in prop::collection::vec(filter(), 20),
    ) {
        for filter in filters {
            let (one, shared) = (view.filter(&filter), view.shared_filter(&filter));
            prop_assert!(shared.is_err() || shared == one, "a group's filter is another one");
            let Ok(found) = one else { continue };
            for topic in topics() {
                if let Ok(known) = view.to_server(&topic) {
                    prop_assert_eq!(matches(&filter, &topic), matches(&found, &known), "{} for {}: {} for {}", filter, topic, found, known);
                }
            }
        }
    }

    #[test]
    fn a_group_misses_nothing(rules in prop::collection::vec(rule(), 0..4), filters in prop::collection::vec(filter(), 20)) {
        // Levels that change places with the first must not begin with `$`, and may lie at the server all the same.
        let Ok(rules) = RuleSet::parse(&rules) else { return Ok(()) };
        let view = Views::new(vec![Section { rules: Some(rules), ..Section::default() }]).of(&alice()).unwrap();
        for filter in filters {
            let Ok(found) = view.shared_filter(&filter) else { continue };
            for topic in topics().iter().filter(|topic| !topic.contains('$') && matches(&found, topic)) {
                let own = view.to_client(topic);
                prop_assert!(own.is_ok() || own == Err(Outside::NoTopic), "{} finds {}: {:?}", found, topic, own);
            }
        }
    }

    #[test]
    fn no_text_makes_a_rule_that_panics(texts in prop::collection::vec("[ab+#{}x/$%u> -]{0,20}|.*", 0..4), topic in ".{0,20}") {
        if let Ok(rules) = RuleSet::parse(&texts) {
            let view = Views::new(vec![Section { rules: Some(rules), ..Section::default() }]).of(&alice());
            if let Ok(view) = view {
                let _ = (view.to_server(&topic), view.to_client(&topic), view.filter(&topic));
            }
        }
    }
}
