//! How fast clients and addresses may be: in the broker, and in the proxy before a mosquitto.

use crate::bans::{both, called, code, enter, from};
use crate::support::mqway::Running;
use crate::support::packets::{self, Connect, Level, V3_1_1, V5};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// CONNACK and PUBACK of 5.0.
const LET_IN: u8 = 0;
const NO_SUBSCRIBERS: u8 = 0x10;
const QUOTA_EXCEEDED: u8 = 0x97;
const MESSAGE_RATE_TOO_HIGH: u8 = 0x96;
const CONNECTION_RATE_EXCEEDED: u8 = 0x9F;

fn connected(server: &Running, address: &str, level: Level, id: &str) -> TcpStream {
    let (code, stream) = enter(from(server, 0, address), &called(level, id).bytes()).expect("CONNACK");
    assert_eq!(code, LET_IN);
    stream
}

/// The reason in the answer to a message of QoS 1; none where there is none to be had.
fn publish(stream: &mut TcpStream, level: Level) -> Option<u8> {
    stream.write_all(&packets::publish(level, "fast", 1, 7, b"x")).unwrap();
    let answer = packets::read(stream)?;
    match answer[0] {
        // Whether somebody has subscribed does not matter here.
        0x40 => Some(answer.get(4).copied().filter(|reason| *reason != NO_SUBSCRIBERS).unwrap_or(0)),
        0xE0 => Some(answer[2]),
        other => panic!("a packet that begins with {other:#x}"),
    }
}

#[test]
fn an_address_that_connects_too_fast_is_refused_for_now() {
    both(&|_| "[rates]\naddress_connects = '2/h'\n".to_owned(), |server, _| {
        for level in [V5, V3_1_1] {
            assert_eq!(code(server, "203.0.113.7", &called(level, "c")), Some(LET_IN));
        }
        assert_eq!(code(server, "203.0.113.7", &called(V5, "c")), Some(CONNECTION_RATE_EXCEEDED));
        assert_eq!(code(server, "203.0.113.7", &called(V3_1_1, "c")), Some(3), "server unavailable");
        assert_eq!(code(server, "203.0.113.8", &called(V5, "c")), Some(LET_IN));
        for _ in 0..5 {
            assert_eq!(code(server, "127.0.0.1", &called(V5, "c")), Some(LET_IN), "spared");
        }
        server.program.signal("HUP");
        assert!(server.program.stderr.contain("reloaded"), "{:?}", server.program.stderr.all());
        assert_eq!(code(server, "203.0.113.7", &called(V5, "c")), Some(CONNECTION_RATE_EXCEEDED));
    });
}

#[test]
fn what_is_published_too_fast_is_refused() {
    const SETTINGS: &str = "[rates]\nmessages = '3/h'\naddress_messages = '5/h'\nexcess = 'refuse'\n";
    both(&|_| SETTINGS.to_owned(), |server, _| {
        let mut one = connected(server, "203.0.113.7", V5, "one");
        for expected in [0, 0, 0, QUOTA_EXCEEDED, QUOTA_EXCEEDED] {
            assert_eq!(publish(&mut one, V5), Some(expected));
        }
        // Of the same address, and of 3.1.1, where it is dropped without a word.
        let mut two = connected(server, "203.0.113.7", V3_1_1, "two");
        for _ in 0..4 {
            assert_eq!(publish(&mut two, V3_1_1), Some(0));
        }
        let counters = server.counters();
        assert_eq!(counters["publishes_denied"], 4, "{counters}");
        assert_eq!(counters["refusals"]["Quota exceeded"], 4, "{counters}");
    });
}

#[test]
fn who_publishes_too_fast_is_closed_where_the_settings_say_so() {
    both(&|_| "[rates]\nbytes = '100/h'\nexcess = 'close'\n".to_owned(), |server, _| {
        for (level, last) in [(V5, Some(MESSAGE_RATE_TOO_HIGH)), (V3_1_1, None)] {
            let mut client = connected(server, "203.0.113.7", level, "c");
            let said = (0..30)
                .map(|_| publish(&mut client, level))
                .find(|code| code.is_none_or(|code| code >= 0x80));
            assert_eq!(said, Some(last));
            assert_eq!(packets::read(&mut client), None);
        }
    });
}

#[test]
fn who_publishes_a_little_too_fast_is_slowed_down_and_loses_nothing() {
    both(&|_| "[rates]\nmessages = '5/s'\n".to_owned(), |server, _| {
        for level in [V5, V3_1_1] {
            let mut client = connected(server, "203.0.113.7", level, "c");
            let began = Instant::now();
            let all: Vec<u8> = (1..=15).flat_map(|id| packets::publish(level, "slow", 1, id, b"x")).collect();
            client.write_all(&all).unwrap();
            for id in 1..=15 {
                let answer = packets::read(&mut client).expect("PUBACK");
                assert_eq!((answer[0], packets::id(&answer)), (0x40, id));
                assert!(answer.get(4).is_none_or(|reason| *reason < 0x80), "{answer:x?}");
            }
            // Five at once, the others at their rate; the last need not be waited for.
            assert!(began.elapsed() >= Duration::from_millis(1_700), "{:?}", began.elapsed());
        }
        assert!(server.counters()["hook_delays"].as_u64() >= Some(10));
    });
}

/// A connection that is slowed down loses neither its keep alive nor its place.
#[test]
fn who_is_slowed_down_may_still_leave() {
    both(&|_| "[rates]\nmessages = '1/s'\n".to_owned(), |server, _| {
        let connect = Connect { keep_alive: 2, ..called(V5, "c") };
        let (code, mut client) = enter(from(server, 0, "203.0.113.7"), &connect.bytes()).expect("CONNACK");
        assert_eq!(code, LET_IN);
        for id in 1..=3 {
            client.write_all(&packets::publish(V5, "slow", 1, id, b"x")).unwrap();
        }
        for _ in 1..=3 {
            assert_eq!(packets::read(&mut client).expect("PUBACK")[0], 0x40);
        }
        client.write_all(&packets::DISCONNECT).unwrap();
        assert_eq!(packets::read(&mut client), None);
        let left = if server.counters()["connected"].is_u64() { "connected" } else { "clients" };
        assert!(crate::support::eventually(crate::support::SOON, || server.counters()[left] == 0));
    });
}
