use proptest::prelude::*;

use super::*;

fn ours(text: &str) -> Acl {
    Acl::parse("acl.toml", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn mosquitto(text: &str) -> Acl {
    Acl::parse_mosquitto("aclfile", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn client<'a>(user: &'a str, client_id: &'a str) -> Subject<'a> {
    Subject { user: Some(user), client_id, ..Subject::default() }
}

fn topic(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

fn publishes(acl: &Acl, subject: &Subject<'_>, name: &str) -> bool {
    let mut rights = acl.rights(subject);
    let allowed = rights.may_publish(topic(name));
    assert_eq!(rights.may_publish(topic(name)), allowed, "remembered");
    let explained = rights.explain(Request::Publish(topic(name))).grant;
    assert_eq!(explained, if allowed { Grant::Wholly } else { Grant::Refused });
    allowed
}

fn receives(acl: &Acl, subject: &Subject<'_>, name: &str) -> bool {
    let mut rights = acl.rights(subject);
    let allowed = rights.may_receive(topic(name));
    assert_eq!(rights.may_receive(topic(name)), allowed, "remembered");
    let explained = rights.explain(Request::Receive(topic(name))).grant;
    assert_eq!(explained, if allowed { Grant::Wholly } else { Grant::Refused });
    allowed
}

#[test]
fn the_first_rule_that_is_for_it_decides() {
    let acl = ours(
        r#"
        [[rules]]
        deny = "publish"
        topics = ["a/secret/#"]
        [[rules]]
        allow = ["publish", "receive"]
        topics = ["a/#", "b"]
        [[rules]]
        allow = "publish"
        topics = "a/secret/not"
        "#,
    );
    let anyone = client("x", "y");
    for (name, publish, receive) in [
        ("a", true, true),
        ("a/b", true, true),
        ("a/secret", false, true),
        ("a/secret/not", false, true),
        ("b", true, true),
        ("b/c", false, false),
        ("$SYS/x", false, false),
    ] {
        assert_eq!(publishes(&acl, &anyone, name), publish, "{name}");
        assert_eq!(receives(&acl, &anyone, name), receive, "{name}");
    }
}

#[test]
fn what_no_rule_is_for_is_up_to_the_default() {
    let anyone = Subject::default();
    for (text, allowed) in [("", false), ("default = 'deny'", false), ("default = 'allow'", true)] {
        let acl = ours(text);
        assert_eq!(publishes(&acl, &anyone, "a"), allowed);
        assert_eq!(receives(&acl, &anyone, "$SYS/a"), allowed);
        let grant = acl.rights(&anyone).may_subscribe(filter("#"));
        assert_eq!(grant, if allowed { Grant::Wholly } else { Grant::Refused });
    }
}

#[test]
fn wildcards_pass_dollar_topics_by_and_rules_without_topics_do_not() {
    let wildcard = ours("rules = [{ allow = 'all', topics = ['#', '+/+'] }]");
    let named = ours("rules = [{ allow = 'all', topics = ['$SYS/#'] }]");
    let every = ours("rules = [{ allow = 'all' }]");
    let anyone = Subject::default();
    for (acl, plain, dollar) in [(wildcard, true, false), (named, false, true), (every, true, true)] {
        assert_eq!(publishes(&acl, &anyone, "a/b"), plain);
        assert_eq!(publishes(&acl, &anyone, "$SYS/b"), dollar);
        let rights = acl.rights(&anyone);
        assert_eq!(rights.may_subscribe(filter("+/b")) == Grant::Wholly, plain);
        assert_eq!(rights.may_subscribe(filter("$SYS/+")) == Grant::Wholly, dollar);
    }
}

#[test]
fn each_condition_holds_for_whom_it_says() {
    let groups = ["staff".to_owned()];
    let claims = [("role", "reader"), ("role", "admin-eu")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    let subject = Subject {
        groups: &groups,
        listener: "inside",
        transport: "wss",
        address: Some("10.1.2.3".parse().unwrap()),
        claims: &claims,
        ..client("alice", "dev-1")
    };
    let anonymous = Subject { user: None, address: None, ..subject };
    for (condition, holds, holds_anonymous) in [
        ("", true, true),
        ("users = 'alice'", true, false),
        ("users = ['bob', 'al*']", true, false),
        ("users = 'bob'", false, false),
        ("users = []", false, false),
        ("users = '*'", true, false),
        ("anonymous = true", false, true),
        ("anonymous = false", true, false),
        ("clients = 'dev-*'", true, true),
        ("clients = 'dev'", false, false),
        ("groups = 'staff'", true, true),
        ("groups = ['listed']", true, false),
        ("groups = 'other'", false, false),
        ("listeners = ['outside', 'inside']", true, true),
        ("listeners = 'outside'", false, false),
        ("transports = 'wss'", true, true),
        ("transports = 'tcp'", false, false),
        ("addresses = ['192.0.2.0/24', '10.0.0.0/8']", true, false),
        ("addresses = '::ffff:10.1.2.3'", true, false),
        ("addresses = '10.0.0.0/16'", false, false),
        ("claims = { role = 'admin-*' }", true, true),
        ("claims = { role = 'admin-*', site = 'x' }", false, false),
        ("users = 'alice'\nclients = 'dev-1'\ntransports = 'wss'", true, false),
        ("users = 'alice'\nclients = 'dev-2'", false, false),
    ] {
        let acl = ours(&format!(
            "[groups]\nlisted = ['alice', 'bob']\nother = 'bob'\n[[rules]]\nallow = 'publish'\n{condition}"
        ));
        assert_eq!(publishes(&acl, &subject, "a"), holds, "{condition}");
        assert_eq!(publishes(&acl, &anonymous, "a"), holds_anonymous, "anonymous: {condition}");
    }
}

#[test]
fn placeholders_are_the_clients_own() {
    let acl = ours(
        r#"
        [[rules]]
        deny = "all"
        topics = ["dev/%c/locked/#"]
        [[rules]]
        allow = "all"
        topics = ["dev/%c/#", "home/%u/+", "tenant/%{claim:tenant}/#"]
        "#,
    );
    let claims = [("tenant".to_owned(), "t1".to_owned())];
    let subject = Subject { claims: &claims, ..client("alice", "c1") };
    for (name, allowed) in [
        ("dev/c1", true),
        ("dev/c1/x", true),
        ("dev/c1/locked/x", false),
        ("dev/c2/x", false),
        ("home/alice/x", true),
        ("home/alice", false),
        ("tenant/t1/x", true),
        ("tenant/t2/x", false),
    ] {
        assert_eq!(publishes(&acl, &subject, name), allowed, "{name}");
    }
    for hostile in ["+", "#", "c1/x", "c\0"] {
        let subject = Subject { claims: &[], ..client("alice", hostile) };
        for name in ["dev/c1/x", "dev/c1/x/x", "dev/x", "dev"] {
            assert!(!publishes(&acl, &subject, name), "{hostile:?} to {name}");
        }
        let rights = acl.rights(&subject);
        assert_eq!(rights.may_subscribe(filter("dev/+/#")), Grant::Refused);
        let explanation = rights.explain(Request::Subscribe(filter("dev/+/#")));
        assert_eq!(explanation.passed_over.map(|rule| rule.line), Some(6));
    }
}

/// Rules that the table of subscriptions is about.
const SUBSCRIPTIONS: &str = r#"
    [[rules]]
    allow = "read"
    topics = ["open/#", "one/+/x"]
    [[rules]]
    deny = "read"
    topics = ["house/cellar/#"]
    [[rules]]
    deny = "subscribe"
    topics = ["house/+/all"]
    [[rules]]
    allow = "read"
    topics = ["house/#"]
    [[rules]]
    allow = "subscribe"
    topics = ["later/#"]
    [[rules]]
    allow = "receive"
    topics = ["later/today/#"]
"#;

#[test]
fn subscriptions_are_judged_by_all_that_they_may_bring() {
    let acl = ours(SUBSCRIPTIONS);
    let rights = acl.rights(&Subject::default());
    for (text, grant) in [
        ("open/#", Grant::Wholly),
        ("open", Grant::Wholly),
        ("open/+/deep/#", Grant::Wholly),
        ("$share/group/open/#", Grant::Wholly),
        ("one/+/x", Grant::Wholly),
        ("one/a/x", Grant::Wholly),
        ("one/#", Grant::Refused),
        ("one/+/+", Grant::Refused),
        ("#", Grant::Refused),
        ("+", Grant::Refused),
        ("$share/group/#", Grant::Refused),
        ("house/roof/+/x", Grant::Wholly),
        ("house/roof/+", Grant::Refused),
        ("house/cellar/#", Grant::Refused),
        ("house/cellar/wine", Grant::Refused),
        ("$share/g/house/cellar/wine", Grant::Refused),
        ("house/+/wine/#", Grant::Partly),
        ("house/+/all", Grant::Refused),
        ("house/roof/all", Grant::Refused),
        ("house/#", Grant::Refused),
        ("later/today/x", Grant::Wholly),
        ("later/#", Grant::Partly),
        ("later/tomorrow", Grant::Partly),
        ("$SYS/#", Grant::Refused),
    ] {
        assert_eq!(rights.may_subscribe(filter(text)), grant, "{text}");
        assert_eq!(rights.explain(Request::Subscribe(filter(text))).grant, grant, "{text}");
    }
    let explanation = rights.explain(Request::Subscribe(filter("house/+/wine/#"))).to_string();
    assert_eq!(
        explanation,
        "allowed by acl.toml:12: allow read of house/#; messages are judged one by one, since some may be denied \
         by acl.toml:6: deny read of house/cellar/#"
    );
}

#[test]
fn answers_name_the_line() {
    let text = "default = 'deny'\n\n[[rules]] # first\ntopics = ['a/%u']\nusers = 'alice'\n\
                addresses = ['10.0.0.0/8']\nallow = ['publish', 'read']\n";
    let acl = ours(text);
    let address = Some("10.0.0.1".parse().unwrap());
    let rights = acl.rights(&Subject { address, ..client("alice", "c") });
    let explain = |request| rights.explain(request).to_string();
    assert_eq!(
        explain(Request::Publish(topic("a/alice"))),
        "allowed by acl.toml:7: allow all of a/%u, users alice, addresses 10.0.0.0/8"
    );
    assert_eq!(
        explain(Request::Receive(topic("b"))),
        "denied by the default of acl.toml, as no rule is for it"
    );
    let rights = mosquitto("user alice\ntopic  read  a b/#\n").rights(&client("alice", "c"));
    let explain = |request| rights.explain(request).to_string();
    assert_eq!(
        explain(Request::Receive(topic("a b/c"))),
        "allowed by aclfile:2: topic read a b/# (of user \"alice\")"
    );
    assert!(explain(Request::Publish(topic("$SYS/x"))).starts_with("denied by what mosquitto's files"));
    assert!(explain(Request::Subscribe(filter("#"))).starts_with("allowed by what mosquitto's files"));
}

#[test]
fn filters_that_came_with_an_identity_are_rules() {
    let filters = ["a/#", "b/%u", "c+", "$share/g/d", ""].map(str::to_owned);
    let acl = Acl::of_identity("token", Some(&filters), None);
    let alice = client("alice", "c");
    for (name, publish) in [("a/x", true), ("b/%u", true), ("b/alice", false), ("c", false), ("d", false)] {
        assert_eq!(publishes(&acl, &alice, name), publish, "{name}");
        assert!(receives(&acl, &alice, name));
    }
    let nothing = Acl::of_identity("token", None, Some(&[]));
    assert!(publishes(&nothing, &alice, "$SYS/x") && !receives(&nothing, &alice, "a"));
    let explanation = acl.rights(&alice).explain(Request::Publish(topic("a/x"))).to_string();
    assert_eq!(explanation, "allowed by token:1: allow publish of the filters given");
}

#[test]
fn mistakes_in_our_files_are_told_with_their_line() {
    for (text, line, what) in [
        ("default = 'no'", 1, "unknown variant"),
        ("\nrule = []", 2, "unknown field `rule`"),
        ("[[rules]]\n\nallow = 'all'\ntopic = 'a'", 4, "unknown field `topic`"),
        ("[[rules]]\ntopics = 'a'", 2, "needs `allow` or `deny`"),
        ("[[rules]]\nallow = 'all'\ndeny = 'all'", 2, "either `allow` or `deny`"),
        ("[[rules]]\nallow = []", 2, "an empty list neither"),
        ("[[rules]]\nallow = ['read',\n'write']", 2, "\"write\" is none of publish"),
        ("[[rules]]\nallow = 1", 2, "a string or a list of strings"),
        ("[[rules]]\nallow = 'all'\ntopics = []", 3, "an empty list is for no topic"),
        ("[[rules]]\nallow = 'all'\ntopics = ['a', 'b#']", 3, "the topic \"b#\" has a #"),
        ("[[rules]]\nallow = 'all'\ntopics = '%u+'", 3, "has a +"),
        ("[[rules]]\nallow = 'all'\ntopics = ''", 3, "is empty"),
        ("[[rules]]\nallow = 'all'\ntopics = '%x'", 3, "a % is followed by"),
        ("[[rules]]\nallow = 'all'\ntopics = '$share/g/a'", 3, "leave $share/NAME/ out"),
        ("[[rules]]\nallow = 'all'\naddresses = '10.0.0.1/8'", 3, "bad address range"),
        ("[[rules]]\nallow = 'all'\n= 1", 3, ""),
    ] {
        let error = Acl::parse("x", text).unwrap_err();
        assert!(error.line == line && error.what.contains(what), "{text:?}: {error}");
    }
    let deep = format!("rules = [{{ allow = 'all', topics = '{}' }}]", "a/".repeat(MAX_LEVELS));
    assert!(Acl::parse("x", &deep).unwrap_err().what.contains("levels"));
    assert!(Acl::parse("x", &" ".repeat(MAX_FILE + 1)).is_err());
}

#[test]
fn mistakes_in_files_of_mosquitto_are_told_with_their_line() {
    for (text, line, what) in [
        ("topic", 1, "is empty"),
        ("# x\n\ntopic write", 0, ""),
        ("user", 1, "the name of the user is missing"),
        ("user  \t ", 1, "the name of the user is missing"),
        ("user a\ntopic rw a", 2, "expected read, write"),
        ("topic a b", 1, "expected read, write"),
        ("topic read a#", 1, "has a #"),
        ("topics read a", 1, "expected `user`"),
        (" # not a comment", 1, "expected `user`"),
        ("\ttopic a", 1, "expected `user`"),
        ("pattern read a+", 1, "has a +"),
    ] {
        match Acl::parse_mosquitto("x", text) {
            Ok(_) => assert_eq!(line, 0, "{text:?}"),
            Err(error) => assert!(error.line == line && error.what.contains(what), "{text:?}: {error}"),
        }
    }
    let many = "topic a\n".repeat(MAX_RULES + 1);
    assert_eq!(Acl::parse_mosquitto("x", &many).unwrap_err().line, MAX_RULES + 1);
}

#[test]
fn files_of_mosquitto_mean_what_they_mean_there() {
    // The same is asked of a real mosquitto in the tests of the binary; this is what those cannot show.
    let acl = mosquitto(
        "topic read open\r\nuser alice\ntopic readwrite a/#\ntopic deny a/b\ntopic write only\n\
         pattern deny a/c\npattern readwrite of/%u/%c\npattern write x%cx\n",
    );
    let alice = client("alice", "c");
    for (subject, name, publish, receive) in [
        (alice, "a/x", true, true),
        (alice, "a/b", false, false),
        (alice, "a/c", true, true),
        (alice, "only", true, false),
        (alice, "open", false, false),
        (alice, "of/alice/c", true, true),
        (alice, "xcx", true, false),
        (client("bob", "c"), "a/x", false, false),
        (client("bob", "c"), "of/bob/c", true, true),
        (client("b/b", "c"), "of/b/b/c", false, false),
        (client("+", "c"), "xcx", false, false),
        (Subject { user: None, ..alice }, "open", false, true),
        (Subject { user: None, ..alice }, "xcx", true, false),
        (Subject { user: None, ..alice }, "of//c", false, false),
    ] {
        assert_eq!(publishes(&acl, &subject, name), publish, "{:?} publishes {name}", subject.user);
        assert_eq!(receives(&acl, &subject, name), receive, "{:?} receives {name}", subject.user);
    }
    let rights = acl.rights(&alice);
    assert_eq!(rights.may_subscribe(filter("a/x/#")), Grant::Wholly);
    assert_eq!(rights.may_subscribe(filter("a/#")), Grant::Partly);
    assert_eq!(rights.may_subscribe(filter("nothing/of/mine")), Grant::Partly);
}

#[test]
fn clients_with_the_same_rules_share_them() {
    let rules: String =
        (0..50).map(|n| format!("[[rules]]\nallow = 'read'\ntopics = 's/{n}'\ngroups = 'g'\n")).collect();
    let acl = ours(&format!("[groups]\ng = ['a', 'b']\n{rules}"));
    let (a, b) = (acl.rights(&client("a", "1")), acl.rights(&client("b", "2")));
    assert!(Arc::ptr_eq(a.shared.as_ref().unwrap(), b.shared.as_ref().unwrap()));
    assert!(acl.rights(&client("c", "3")).shared.is_none());
    assert!(size_of::<Rights>() <= 48);
    drop((a, b));
    assert_eq!(acl.rights(&client("a", "1")).may_subscribe(filter("s/7")), Grant::Wholly);
}

#[test]
fn sets_of_rules_that_are_kept_are_bounded() {
    let users = MAX_SETS + 10;
    let rules: String =
        (0..users).map(|n| format!("[[rules]]\nallow = 'read'\ntopics = 's'\nusers = 'u{n}'\n")).collect();
    let acl = ours(&rules);
    let names: Vec<String> = (0..users).map(|n| format!("u{n}")).collect();
    let mut rights: Vec<Rights> = names.iter().map(|name| acl.rights(&client(name, "c"))).collect();
    assert!(rights.iter_mut().all(|rights| rights.may_receive(topic("s"))));
    assert_eq!(acl.0.sets.lock().unwrap().len(), MAX_SETS);
    drop(rights);
    drop(acl.rights(&client("u1033", "c")));
    assert_eq!(acl.0.sets.lock().unwrap().len(), 1, "those that nobody uses any more have gone");
}

/// Topics of one to three levels out of what the filters below use, and something else.
fn topics() -> Vec<String> {
    let letters = ["a", "b", "$c", "z"];
    let mut all: Vec<String> = letters.map(str::to_owned).to_vec();
    for a in letters {
        for b in letters {
            all.push(format!("{a}/{b}"));
            all.extend(letters.map(|c| format!("{a}/{b}/{c}")));
        }
    }
    all
}

const FILTER: &str = "(a|b|\\$c|\\+)(/(a|b|\\+)){0,1}(/#)?|#";

proptest! {
    #[test]
    fn what_is_granted_wholly_may_all_be_received(
        rules in proptest::collection::vec((FILTER, any::<bool>(), 0..5_usize), 0..12),
        asked in proptest::collection::vec(FILTER, 8),
        default in any::<bool>(),
    ) {
        let actions = ["publish", "receive", "subscribe", "read", "all"];
        let mut text = format!("default = '{}'\n", if default { "allow" } else { "deny" });
        for (filter, allow, action) in &rules {
            let effect = if *allow { "allow" } else { "deny" };
            text += &format!("[[rules]]\n{effect} = '{}'\ntopics = '{filter}'\n", actions[*action]);
        }
        let mut rights = ours(&text).rights(&Subject::default());
        for asked in asked {
            let grant = rights.may_subscribe(filter(&asked));
            let shared = format!("$share/g/{asked}");
            prop_assert_eq!(rights.may_subscribe(filter(&shared)), grant);
            if grant == Grant::Wholly {
                for name in topics().iter().map(|name| topic(name)).filter(|name| filter(&asked).matches(*name)) {
                    prop_assert!(rights.may_receive(name), "{} brings {}\n{}", asked, name, text);
                }
            }
        }
    }

    #[test]
    fn tree_memory_and_one_by_one_agree(
        rules in proptest::collection::vec((FILTER, any::<bool>(), any::<bool>()), 0..30),
        order in proptest::collection::vec(0..84_usize, 200),
    ) {
        let text: String = rules.iter().map(|(filter, allow, mine)| {
            let who = if *mine { "users = 'alice'\n" } else { "" };
            format!("[[rules]]\n{} = 'all'\ntopics = '{filter}'\n{who}", if *allow { "allow" } else { "deny" })
        }).collect();
        let mut rights = ours(&text).rights(&client("alice", "c"));
        let topics = topics();
        for index in order {
            let name = topic(&topics[index]);
            let first = rules.iter().find(|(rule, ..)| filter(rule).matches(name));
            let expected = first.is_some_and(|(_, allow, _)| *allow);
            prop_assert_eq!(rights.may_publish(name), expected, "{}", name);
            prop_assert_eq!(rights.may_receive(name), expected, "{}", name);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(user|topic|pattern|deny|read|[ %uc$/+#a\r\n\t\\PC]){0,60}") {
        let subject = client("a+", "%u");
        if let Ok(acl) = Acl::parse_mosquitto("x", &text) {
            let _ = publishes(&acl, &subject, "a/b");
        }
        let _ = Acl::parse("x", &text);
        let _ = Acl::parse("x", &format!("[[rules]]\nallow = 'all'\ntopics = '''{text}'''"));
    }

    #[test]
    fn no_name_gets_further_than_a_plain_one(user in "[a/+#$\0]{0,4}", client_id in "[b/+#$\0]{0,4}") {
        let acl = ours("rules = [{ allow = 'all', topics = ['u/%u/#', '%c/x', '%u', '%u%c/#'] }]");
        let mut rights = acl.rights(&client(&user, &client_id));
        let mut plain = acl.rights(&client("other", "someone"));
        for name in ["u", "u/", "u/a", "u/z/x", "$SYS/x", "$/x", "z", "z/x", "$z", "a/a/a/a", "/"] {
            let own: Vec<String> = vec![
                format!("u/{user}"), format!("{client_id}/x"), user.clone(), format!("{user}{client_id}"),
            ];
            let is_own = own.iter().any(|own| name == own || name.starts_with(&format!("{own}/")));
            prop_assert!(is_own || rights.may_publish(topic(name)) == plain.may_publish(topic(name)), "{}", name);
        }
        if user.contains(['/', '+', '#']) {
            prop_assert!(!rights.may_publish(topic("u/a/x")));
        }
    }
}
