//! AUTH and enhanced authentication (5.0 §3.15, §4.12), of which the broker knows no method yet.

use crate::fields::{Hello, code_of, property, text};
use crate::stage::everywhere;
use crate::support::packets::{V3_1_1, V5, packet};

#[test]
fn a_method_that_is_not_known_is_refused() {
    everywhere(|stage| {
        let method = text(property::AUTHENTICATION_METHOD, "SCRAM-SHA-1");
        let data = text(property::AUTHENTICATION_DATA, "client first");
        for properties in [method.clone(), [method, data].concat()] {
            let hello = Hello { properties, ..Hello::new(V5, &stage.id("auth")) };
            let (client, connack) = stage.greet(V5, &hello.bytes());
            assert_eq!(code_of(&connack), 0x8C); // [MQTT-4.12.0-1], [MQTT-3.1.4-2]
            client.expect_end(); // [MQTT-4.12.0-4]
        }
    });
}

#[test]
fn a_client_that_named_no_method_may_not_send_auth() {
    everywhere(|stage| {
        let method = text(property::AUTHENTICATION_METHOD, "x");
        let again = [&[0x19, method.len() as u8][..], &method].concat();
        for (reason, bytes) in [
            (0x82, packet(0xF0, &again)), // [MQTT-4.12.0-7], [MQTT-4.12.1-2]
            (0x82, packet(0xF0, &[])),
            (0x81, packet(0xF1, &again)), // [MQTT-3.15.1-1]
            (0x82, packet(0xF0, &[&[0x01], &again[1..]].concat())), // [MQTT-3.15.2-1]
        ] {
            let mut client = stage.client(V5, "auth");
            client.send(&bytes);
            client.expect_fault(reason);
        }
        let mut client = stage.client(V3_1_1, "auth");
        client.send([0xF0, 0]);
        client.expect_end();
    });
}
