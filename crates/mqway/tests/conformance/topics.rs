//! Topic names and filters (5.0 §4.7).

use crate::fields::Publish;
use crate::stage::everywhere;
use crate::support::packets::{LEVELS, V3_1_1, V5};

#[test]
fn filters_match_as_the_specification_says() {
    // Filter, and names that match or do not; all below a level of this scenario's own.
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("a/b/#", &["a/b", "a/b/", "a/b/c", "a/b/c/d", "a/b//"], &["a", "a/bc", "a/c"]), // [MQTT-4.7.1-1]
        ("a/+", &["a/b", "a/"], &["a", "a/b/c", "a//"]),                                 // [MQTT-4.7.1-2]
        ("+/+", &["a/b", "/b", "a/", "/"], &["a", "a/b/c", "//"]),
        ("a/+/c", &["a/b/c", "a//c"], &["a/c", "a/b/b/c"]),
        ("+/b/#", &["a/b", "a/b/c/d", "/b"], &["b", "a/c/b"]),
        ("+", &["a", "", "$x"], &["/", "a/b"]),
        ("a//b", &["a//b"], &["a/b", "a/x/b"]),
        ("A", &["A"], &["a"]),
        ("a b/ ", &["a b/ "], &["a b/", "ab/ "]),
        ("é", &["é"], &["e\u{301}", "É"]), // [MQTT-4.7.3-4]: nothing is normalised
    ];
    everywhere(|stage| {
        for level in LEVELS {
            for (filter, matching, others) in cases {
                let mut client = stage.client(level, "x");
                client.subscribe(&stage.topic(filter), 0);
                client.subscribe(&stage.topic("end/end"), 0);
                for name in matching.iter().chain(*others) {
                    client.send(Publish::new(&stage.topic(name), "x").bytes(level));
                }
                client.send(Publish::new(&stage.topic("end/end"), "end").bytes(level));
                for name in *matching {
                    let got = client.message();
                    assert_eq!(got.topic, stage.topic(name), "{filter}"); // [MQTT-3.3.2-3]
                }
                if *filter == "+/+" {
                    client.expect_message("end");
                } else {
                    let got = client.message();
                    assert_eq!(got.text(), "end", "{filter} and {}", got.topic);
                }
            }
        }
    });
}

#[test]
fn wildcards_in_front_leave_out_names_with_a_dollar() {
    everywhere(|stage| {
        for level in [V3_1_1, V5] {
            let name = format!("${}", stage.topic("a"));
            let mut publisher = stage.client(level, "p");
            publisher.say(&Publish::new(&name, "kept").retained().qos(1, 1));
            let mut exact = stage.client(level, "exact");
            exact.subscribe(&name.replace("/a", "/+"), 0);
            exact.expect_message("kept");
            let mut client = stage.client(level, "s");
            client.subscribe(&stage.topic("end"), 0);
            client.subscribe(&format!("+/{level}{}", stage.topic("a")), 0);
            let name = format!("$/{level}{}", stage.topic("a"));
            publisher.say(&Publish::new(&name, "x").qos(1, 1));
            publisher.say(&Publish::new(&name[1..], "without").qos(1, 1));
            let got = client.message();
            assert_eq!(got.text(), "without"); // [MQTT-4.7.2-1]; 3.1.1: [MQTT-4.7.2-1]
            publisher.say(&Publish::new(&format!("${}", stage.topic("a")), "").retained().qos(1, 1));
        }
    });
}

#[test]
fn names_may_have_any_length() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.client(level, "x");
            let own = stage.topic("");
            let longest = format!("{own}{}", "x".repeat(65_535 - own.len()));
            client.subscribe(&longest, 1);
            client.send(Publish::new(&longest, "x").bytes(level));
            assert_eq!(client.message().topic, longest); // [MQTT-4.7.3-3]
        }
    });
}

#[test]
fn clients_do_not_write_below_sys() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.client(level, "x");
            let publish = Publish::new("$SYS/broker/uptime", "for ever").qos(1, 1);
            client.send(publish.bytes(level));
            // 3.1.1: [MQTT-3.3.5-2]: it is acknowledged as any other.
            let refused = crate::client::refusal(0x40, 1, 0x87);
            client.expect(if level == V5 {
                refused
            } else {
                crate::support::packets::acknowledgement(0x40, 1)
            });
            client.ping();
        }
    });
}
