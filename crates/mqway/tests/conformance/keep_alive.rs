//! PINGREQ, and how long a client may be silent (5.0 §3.1.2.10, §3.12).

use crate::client::Client;
use crate::fields::{Hello, Publish};
use crate::stage::everywhere;
use crate::support::packets::{LEVELS, PINGREQ, V5, packet};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn each_ping_is_answered() {
    everywhere(|stage| {
        for level in LEVELS {
            let mut client = stage.client(level, "ping");
            client.send(PINGREQ.repeat(50));
            (0..50).for_each(|_| client.expect([0xD0, 0])); // [MQTT-3.12.4-1]; 3.1.1: [MQTT-3.12.4-1]
            for wrong in [packet(0xC1, &[]), packet(0xC0, &[0]), packet(0xD0, &[])] {
                let mut client = stage.client(level, "ping");
                let reason = if wrong[0] == 0xD0 { 0x82 } else { 0x81 };
                client.send(&wrong);
                client.expect_fault(reason);
            }
        }
    });
}

#[test]
fn silence_ends_a_connection_after_one_and_a_half_keep_alives() {
    everywhere(|stage| {
        // At the same time, for each takes a while.
        let begun = Instant::now();
        let silent: Vec<Client> = LEVELS
            .iter()
            .map(|&level| {
                let hello = Hello { keep_alive: 1, ..Hello::new(level, &stage.id(&format!("k{level}"))) };
                stage.client_with(level, hello.bytes())
            })
            .collect();
        for client in silent {
            client.expect_fault(0x8D); // [MQTT-3.1.2-22]; 3.1.1: [MQTT-3.1.2-24]
        }
        let took = begun.elapsed();
        assert!(took >= SECOND * 3 / 2 && took < SECOND * 4, "{took:?}");
    });
}

#[test]
fn any_packet_shows_that_a_client_lives_and_what_it_receives_does_not() {
    everywhere(|stage| {
        let hello = |role: &str| Hello { keep_alive: 1, ..Hello::new(V5, &stage.id(role)) }.bytes();
        let (mut busy, mut listener) =
            (stage.client_with(V5, hello("busy")), stage.client_with(V5, hello("deaf")));
        listener.subscribe(&stage.topic("a"), 0);
        let begun = Instant::now();
        while begun.elapsed() < SECOND * 3 {
            busy.send(Publish::new(&stage.topic("a"), "x").bytes(V5));
            sleep(SECOND / 4);
        }
        busy.ping();
        loop {
            let packet = listener.next();
            if packet[0] == 0xE0 {
                assert_eq!(packet[2], 0x8D);
                break;
            }
        }
        listener.expect_end();
    });
}

#[test]
fn without_a_keep_alive_a_client_may_be_silent() {
    everywhere(|stage| {
        let quiet = LEVELS.map(|level| {
            let hello = Hello { keep_alive: 0, ..Hello::new(level, &stage.id(&format!("z{level}"))) };
            stage.client_with(level, hello.bytes())
        });
        sleep(SECOND * 7 / 2); // longer than the time for CONNECT, too
        for mut client in quiet {
            client.ping();
        }
    });
}
