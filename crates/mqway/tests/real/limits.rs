//! The limits of the proxy, each with its flag.

use crate::support::mqway::{Proxy, Running};
use crate::support::packets::{self, V3_1_1, V5};
use crate::support::server::Server;
use crate::support::{SOON, dial_tcp, eventually, expect_close, read_to_close};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

fn limited(flags: &[&str]) -> (Running, Server) {
    let broker = Server::broker();
    let proxy =
        Proxy::new().listen("mqtt://127.0.0.1:0").upstream(&broker.url("mqtt")).arguments(flags).start();
    (proxy, broker)
}

fn enter(proxy: &Running, level: u8) -> TcpStream {
    let mut stream = dial_tcp(proxy.address());
    stream.write_all(&packets::connect(level, "c")).unwrap();
    assert_eq!(packets::read(&mut stream).expect("CONNACK")[0], 0x20);
    stream
}

/// True if a new connection is served.
fn is_served(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut answer = [0; 4];
    stream.write_all(&packets::connect(V3_1_1, "more")).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == [0x20, 2, 0, 0]
}

#[test]
fn one_connection_too_many_is_not_served_until_another_ends() {
    let (proxy, _broker) = limited(&["--max-connections", "2"]);
    let (one, _two) = (enter(&proxy, V3_1_1), enter(&proxy, V5));
    assert!(!is_served(proxy.address()));
    drop(one);
    assert!(eventually(SOON, || is_served(proxy.address())), "a place is free again");
}

#[test]
fn one_connection_too_many_of_an_address_is_not_served_until_another_ends() {
    let (proxy, _broker) = limited(&["--max-connections-per-address", "2"]);
    let (one, _two) = (enter(&proxy, V3_1_1), enter(&proxy, V5));
    assert!(!is_served(proxy.address()));
    drop(one);
    assert!(eventually(SOON, || is_served(proxy.address())), "a place is free again");
}

#[test]
fn clients_that_send_no_whole_connect_in_time_are_closed() {
    let (proxy, broker) = limited(&["--connect-timeout", "1"]);
    let begun = Instant::now();
    let mut silent = dial_tcp(proxy.address());
    let mut slow = dial_tcp(proxy.address());
    slow.write_all(&packets::connect(V3_1_1, "slow")[..5]).unwrap();
    expect_close(&mut silent);
    expect_close(&mut slow);
    assert!(begun.elapsed() >= Duration::from_millis(900), "after {:?}", begun.elapsed());
    assert!(begun.elapsed() < SOON, "after {:?}", begun.elapsed());
    assert_eq!(broker.accepted(), 0);
}

/// Who has connected in time may be silent as long as its keep alive allows.
#[test]
fn the_time_to_connect_does_not_bound_what_comes_after() {
    let (proxy, _broker) = limited(&["--connect-timeout", "1"]);
    let mut client = enter(&proxy, V3_1_1);
    std::thread::sleep(Duration::from_millis(2500));
    client.write_all(&packets::PINGREQ).unwrap();
    assert_eq!(packets::read(&mut client), Some(packets::PINGRESP.to_vec()));
}

#[test]
fn a_packet_a_byte_over_the_limit_is_answered_0x95_in_5_0_and_closed_in_3_1_1() {
    let (proxy, _broker) = limited(&["--max-packet", "1000"]);
    for level in [V3_1_1, V5] {
        let mut client = enter(&proxy, level);
        let room = 1000 - packets::publish(level, "t", 1, 1, &[0; 900]).len() + 900;
        client.write_all(&packets::publish(level, "t", 1, 1, &vec![0; room])).unwrap();
        assert_eq!(packets::read(&mut client).expect("1000 bytes are allowed")[0], 0x40);
        client.write_all(&packets::publish(level, "t", 1, 1, &vec![0; room + 1])).unwrap();
        let last = read_to_close(&mut client).unwrap();
        if level == V5 {
            assert_eq!((last[0], last[2]), (0xE0, 0x95), "DISCONNECT, packet too large: {last:02x?}");
        } else {
            assert!(last.is_empty(), "{last:02x?}");
        }
    }
}

#[test]
fn a_connect_over_the_limit_is_closed_and_no_upstream_dialled() {
    let (proxy, broker) = limited(&["--max-packet", "1000"]);
    let mut client = dial_tcp(proxy.address());
    client.write_all(&packets::connect(V3_1_1, &"x".repeat(2000))).unwrap();
    assert!(read_to_close(&mut client).unwrap().is_empty());
    assert_eq!(broker.accepted(), 0);
}

#[test]
fn bytes_over_the_limit_in_all_close_the_connection_that_adds_them_and_no_other() {
    let (proxy, _broker) = limited(&["--max-buffered", "64KiB"]);
    let (mut greedy, mut modest) = (enter(&proxy, V3_1_1), enter(&proxy, V5));
    // The start of a SUBSCRIBE of 500,000 bytes, which waits for its end. It may be closed while it is written.
    let _ = greedy.write_all(&[&[0x82, 0xA0, 0xC2, 0x1E][..], &[0; 200_000]].concat());
    assert!(read_to_close(&mut greedy).unwrap().is_empty());
    modest.write_all(&packets::PINGREQ).unwrap();
    assert_eq!(packets::read(&mut modest), Some(packets::PINGRESP.to_vec()));
}
