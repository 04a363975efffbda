//! What a broker says of its limits, and holds to (5.0 §3.2.2.3), and a client's Maximum Packet Size.

use crate::fields::{
    Hello, LastWill, Publish, code_of, disconnect, four, properties_of, property, suback, subscribe,
    unsubscribe, value,
};
use crate::stage::{at_the_narrow_one, everywhere};
use crate::support::packets::{LEVELS, V3_1, V3_1_1, V5};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn connack_tells_them() {
    at_the_narrow_one(|stage| {
        let properties = four(property::SESSION_EXPIRY, 1_000);
        let hello = Hello { properties, ..Hello::new(V5, &stage.id("x")) };
        let (client, connack) = stage.greet(V5, &hello.bytes());
        let told = properties_of(&connack);
        let expected: [(u8, &[u8]); 8] = [
            (property::SESSION_EXPIRY, &[0, 0, 0, 3]),
            (property::SERVER_KEEP_ALIVE, &[0, 2]),
            (property::RECEIVE_MAXIMUM, &[0, 3]),
            (property::MAXIMUM_PACKET_SIZE, &[0, 0, 4, 0]),
            (property::TOPIC_ALIAS_MAXIMUM, &[0, 2]),
            (property::MAXIMUM_QOS, &[1]), // [MQTT-3.2.2-9]
            (property::RETAIN_AVAILABLE, &[0]),
            (property::SHARES_AVAILABLE, &[0]),
        ];
        for (id, expected) in expected {
            assert_eq!(value(&told, id), Some(expected), "property {id:02x}");
        }
        for id in [property::WILDCARDS_AVAILABLE, property::IDENTIFIERS_AVAILABLE] {
            assert_eq!(value(&told, id), None, "as it is assumed to be");
        }
        client.leave();
    });
}

#[test]
fn what_is_not_offered_is_refused() {
    at_the_narrow_one(|stage| {
        let topic = stage.topic("a");
        let will = |qos, retain| LastWill { topic: topic.clone(), qos, retain, ..LastWill::default() };
        for (will, code) in [(will(2, false), 0x9B), (will(0, true), 0x9A)] {
            for level in LEVELS {
                let hello = Hello { will: Some(will.clone()), ..Hello::new(level, &stage.id("w")) };
                if level == V5 {
                    let (client, connack) = stage.greet(level, &hello.bytes());
                    assert_eq!(code_of(&connack), code); // [MQTT-3.2.2-12], [MQTT-3.2.2-13]
                    client.expect_end();
                } else {
                    let mut client = stage.open(level);
                    client.send(hello.bytes());
                    client.expect_end(); // 3.1.1: [MQTT-3.2.2-6]
                }
            }
        }
        for level in LEVELS {
            let mut client = stage.client(level, "p");
            client.send(Publish::new(&topic, "x").qos(2, 1).bytes(level));
            client.expect_fault(0x9B); // [MQTT-3.2.2-11]
            let mut client = stage.client(level, "p");
            client.send(Publish::new(&topic, "x").retained().bytes(level));
            client.expect_fault(0x9A); // [MQTT-3.2.2-14]
        }
        for level in [V3_1_1, V5] {
            let mut client = stage.client(level, "s");
            let deep = stage.topic("a/b/c/d");
            let filters = [("$share/g/a", 1), (&*topic, 2), (&*deep, 0)];
            client.send(subscribe(level, 1, &filters, &[]));
            // [MQTT-3.2.2-10]: subscriptions of any QoS are taken. 3.1.1: [MQTT-3.9.3-2]
            client.expect(suback(level, 1, if level == V5 { &[0x9E, 2, 0x8F] } else { &[0x80, 2, 0x80] }));
            let three: Vec<_> = (0..3).map(|i| stage.topic(&i.to_string())).collect();
            let three: Vec<_> = three.iter().map(|filter| (&**filter, 0)).collect();
            client.send(subscribe(level, 2, &three, &[]));
            client.expect(suback(level, 2, &[0, 0, if level == V5 { 0x97 } else { 0x80 }]));
            client.send(subscribe(level, 3, &[(&topic, 1)], &[]));
            client.expect(suback(level, 3, &[1])); // one that is there does not count again
        }
        // 3.1 §3.9 has no code for it. 3.1.1: [MQTT-4.8.0-2]
        let mut client = stage.client(V3_1, "s");
        client.send(subscribe(V3_1, 1, &[(&topic, 0), ("$share/g/a", 1)], &[]));
        client.expect_end();
    });
}

#[test]
fn a_packet_that_is_too_large_ends_the_connection() {
    at_the_narrow_one(|stage| {
        for level in LEVELS {
            let topic = stage.topic("a");
            let overhead = Publish::new(&topic, "").bytes(level).len() + 1; // the length takes two bytes then
            let publish = |size: usize| {
                let payload = vec![b'x'; size - overhead];
                Publish { payload, ..Publish::new(&topic, "") }.bytes(level)
            };
            assert_eq!(publish(1_024).len(), 1_024);
            let mut client = stage.client(level, "p");
            client.subscribe(&topic, 0);
            client.send(publish(1_024));
            assert_eq!(client.next().len(), 1_024);
            client.send(publish(1_025));
            client.expect_fault(0x95);
            // It is told from the header alone; a proxy waits for more.
            if stage.through_proxy() {
                continue;
            }
            let mut client = stage.client(level, "p");
            client.send([0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
            client.expect_fault(0x95);
        }
    });
}

#[test]
fn a_client_gets_no_packet_above_its_maximum() {
    everywhere(|stage| {
        let properties = four(property::MAXIMUM_PACKET_SIZE, 60);
        let hello = Hello { properties, ..Hello::new(V5, &stage.id("s")) };
        let mut client = stage.client_with(V5, hello.bytes());
        client.subscribe(&stage.topic("a"), 2);
        let mut publisher = stage.client(V5, "p");
        let topic = stage.topic("a");
        for (number, qos) in (1..).zip([0, 1, 2, 1]) {
            let overhead = Publish::new(&topic, "").qos(qos, 1).bytes(V5).len();
            let fits = "f".repeat(60 - overhead);
            let id = if qos > 0 { number } else { 0 };
            publisher.say(&Publish::new(&topic, &format!("{fits}x")).qos(qos, id));
            publisher.say(&Publish::new(&topic, &fits).qos(qos, id));
            let publish = client.message(); // [MQTT-3.1.2-24], [MQTT-3.1.2-25]
            assert_eq!((publish.text(), publish.bytes(V5).len()), (&*fits, 60));
        }
        // [MQTT-3.14.2-3]: words that would be too long are left out.
        client.send([0xC1, 0]);
        client.expect_fault(0x81);
    });
}

#[test]
fn nor_an_answer_above_it() {
    everywhere(|stage| {
        let hello = |role: &str, maximum| {
            let properties = four(property::MAXIMUM_PACKET_SIZE, maximum);
            Hello { properties, ..Hello::new(V5, &stage.id(role)) }.bytes()
        };
        for maximum in 1..40 {
            let mut client = stage.open(V5);
            client.send(hello("small", maximum));
            let Some(connack) = client.last() else { continue };
            assert!(connack.len() <= maximum as usize, "{connack:02x?}"); // [MQTT-3.1.2-24]
            if code_of(&connack) == 0 {
                client.leave();
            } else {
                assert_eq!(code_of(&connack), 0x95);
                client.expect_end();
            }
        }
        let filters: Vec<_> = (0..50).map(|number| stage.topic(&number.to_string())).collect();
        let options: Vec<_> = filters.iter().map(|filter| (&**filter, 0)).collect();
        let names: Vec<_> = filters.iter().map(|filter| &**filter).collect();
        for (count, fits) in [(35, true), (36, false)] {
            for packet in [subscribe(V5, 1, &options[..count], &[]), unsubscribe(V5, 1, &names[..count])] {
                let mut client = stage.client_with(V5, hello("few", 40));
                client.send(&packet);
                if fits {
                    assert_eq!(client.next().len(), 40);
                } else {
                    client.expect_fault(0x95); // [MQTT-3.1.2-24]
                }
            }
        }
    });
}

#[test]
fn the_server_s_keep_alive_holds() {
    at_the_narrow_one(|stage| {
        let begun = Instant::now();
        let asked = [0, 600].map(|keep_alive| {
            let role = format!("k{keep_alive}");
            let hello = Hello { keep_alive, ..Hello::new(V5, &stage.id(&role)) };
            stage.client_with(V5, hello.bytes())
        });
        let mut older = stage
            .client_with(V3_1_1, Hello { keep_alive: 600, ..Hello::new(V3_1_1, &stage.id("old")) }.bytes());
        for client in asked {
            client.expect_fault(0x8D); // [MQTT-3.2.2-21]
        }
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(6), "{took:?}");
        older.ping(); // it cannot be told
        let (_, connack) =
            stage.greet(V5, &Hello { keep_alive: 1, ..Hello::new(V5, &stage.id("less")) }.bytes());
        assert_eq!(value(&properties_of(&connack), property::SERVER_KEEP_ALIVE), None); // [MQTT-3.2.2-22]
    });
}

#[test]
fn the_longest_session_expiry_holds() {
    at_the_narrow_one(|stage| {
        let hello = |role: &str| Hello::staying(V5, &stage.id(role));
        stage.client_with(V5, hello("a").bytes()).vanish();
        let mut client = stage.client_with(V5, hello("b").bytes());
        client.send(disconnect(0, &four(property::SESSION_EXPIRY, 10_000)));
        client.expect_end();
        stage.client_with(V3_1_1, Hello::staying(V3_1_1, &stage.id("c")).bytes()).leave();
        sleep(Duration::from_millis(4_500));
        for (level, role) in [(V5, "a"), (V5, "b"), (V3_1_1, "c")] {
            let (_, connack) = stage.greet(level, &Hello::staying(level, &stage.id(role)).bytes());
            assert!(!crate::fields::session_present(&connack), "{role}"); // [MQTT-4.1.0-2]
        }
    });
}

#[test]
fn a_queue_keeps_what_it_can() {
    at_the_narrow_one(|stage| {
        let hello = Hello::staying(V5, &stage.id("s")).bytes();
        let mut client = stage.client_with(V5, hello.clone());
        client.subscribe(&stage.topic("a"), 1);
        client.vanish();
        let mut publisher = stage.client(V5, "p");
        for number in 1..=8 {
            publisher.say(&Publish::new(&stage.topic("a"), &number.to_string()).qos(1, number));
        }
        let mut client = stage.client_with(V5, hello);
        for number in 1..=5 {
            client.expect_message(&number.to_string());
        }
        client.ping();
    });
}
