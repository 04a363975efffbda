//! Storms over the broker. After each: a witness has missed nothing and has not waited absurdly, descriptors, threads
//! and memory are back where they were, the counters name what was dropped, and the log is no flood.
//!
//! Each prints its figures; `cargo test --release -p mqway --test real storms -- --ignored --nocapture` shows them.

mod retained;
mod scene;
mod stuck;
mod uninvited;
pub mod witness;

use crate::support::packets::{self, Connect, V3_1_1, V5};
use crate::support::{SOON, dial_tcp, long};
use scene::{MIB, Scene, broker, together};
use std::collections::HashSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A session expiry interval of a minute, as a property.
const A_MINUTE: [u8; 5] = [0x11, 0, 0, 0, 60];

/// DISCONNECT that ends the session at once.
const FOR_GOOD: [u8; 9] = [0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0];

/// A connection with CONNACK received; 5.0 goes on with its session, and keeps it for a minute.
fn enter(broker: SocketAddr, level: u8, name: &str) -> TcpStream {
    let mut stream = dial_tcp(broker);
    stream.set_read_timeout(Some(SOON * 6)).unwrap();
    let properties: &[u8] = if level == V5 { &A_MINUTE } else { &[] };
    let connect = Connect { level, client_id: name, clean: level != V5, properties, ..Connect::default() };
    stream.write_all(&connect.bytes()).unwrap();
    let connack = packets::read(&mut stream).expect("CONNACK");
    assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:02x?}");
    stream
}

fn subscribe(stream: &mut TcpStream, level: u8, filter: &str, qos: u8) {
    stream.write_all(&packets::subscribe(level, 1, filter, qos)).unwrap();
    let suback = packets::read(stream).expect("SUBACK");
    assert_eq!((suback[0], suback.last()), (0x90, Some(&qos)), "{suback:02x?}");
}

/// Bytes that may be left of so many clients: their places in tables, which are kept for those who come next.
fn places(clients: usize) -> u64 {
    2 * MIB + clients as u64 * 1024
}

#[test]
#[ignore = "long: fifteen thousand connections, twice"]
fn everybody_comes_and_subscribes_and_then_all_come_again() {
    let count = long(15_000, 3_000);
    let scene = Scene::begin("a crowd that comes twice", broker());
    let guest = |i: usize| {
        let mut stream = enter(scene.address(i), V5, &format!("guest{i}"));
        subscribe(&mut stream, V5, "crowd/all", 0);
        subscribe(&mut stream, V5, &format!("crowd/{i}/#"), 1);
        stream
    };
    let begun = Instant::now();
    let crowd = together(count, guest);
    let first = begun.elapsed();
    drop(crowd);
    let begun = Instant::now();
    let crowd = together(count, guest);
    let second = begun.elapsed();

    // All of them hear what is for all, and then go for good.
    let mut speaker = enter(scene.address(0), V3_1_1, "speaker");
    speaker.write_all(&packets::publish(V3_1_1, "crowd/all", 0, 0, b"hear")).unwrap();
    let deaf = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for part in crowd.chunks(count.div_ceil(8)) {
            let deaf = &deaf;
            scope.spawn(move || {
                for mut stream in part {
                    let heard = packets::read(&mut stream).is_some_and(|packet| packet.ends_with(b"hear"));
                    deaf.fetch_add(u64::from(!heard), Ordering::Relaxed);
                    stream.write_all(&FOR_GOOD).unwrap();
                }
            });
        }
    });
    drop((crowd, speaker));
    assert_eq!(deaf.into_inner(), 0, "some have not heard");
    let after = scene.end(places(count));
    println!("    {count} connections, 2 subscriptions each: {first:.1?} and {second:.1?}");
    assert_eq!(after.count("sessions"), 0);
    assert!(after.count("connects") >= 2 * count as u64);
}

#[test]
fn a_client_that_comes_from_fifty_places_is_served_at_one() {
    const PLACES: usize = 50;
    let during = long(Duration::from_secs(10), Duration::from_secs(2));
    let scene = Scene::begin("one client from fifty places", broker());
    let end = Instant::now() + during;
    let visits = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for place in 0..PLACES {
            let (scene, visits) = (&scene, &visits);
            scope.spawn(move || {
                while Instant::now() < end {
                    let mut stream = enter(scene.address(place), V5, "everywhere");
                    visits.fetch_add(1, Ordering::Relaxed);
                    stream.write_all(&packets::subscribe(V5, 1, "everywhere", 1)).unwrap();
                    // SUBACK, then DISCONNECT 0x8E at the next visit, unless that came before.
                    while let Some(packet) = packets::read(&mut stream) {
                        if packet[0] == 0xE0 {
                            assert_eq!(packet[2], 0x8E);
                        }
                    }
                    if Instant::now() >= end {
                        return;
                    }
                }
            });
        }
        // The last one to come would wait for the next.
        std::thread::sleep(during);
        while visits.load(Ordering::Relaxed) == 0 {}
        std::thread::sleep(Duration::from_millis(500));
        enter(scene.address(0), V5, "everywhere").write_all(&FOR_GOOD).unwrap();
    });
    let after = scene.end(2 * MIB);
    let (visits, takeovers) = (visits.into_inner(), after.count("takeovers"));
    println!("    {visits} visits, {takeovers} takeovers");
    assert!(takeovers >= visits / 2 && after.count("sessions") == 0);
}

#[test]
#[ignore = "long: ten thousand wills"]
fn wills_of_all_who_are_cut_off_at_once_are_published() {
    let count = long(10_000, 2_000);
    let scene = Scene::begin("wills of all at once", broker());
    let mut heir = enter(scene.address(0), V3_1_1, "heir");
    subscribe(&mut heir, V3_1_1, "wills/#", 1);
    let crowd = together(count, |i| {
        let (name, topic) = (format!("mortal{i}"), format!("wills/{i}"));
        let mut stream = dial_tcp(scene.address(i));
        stream.set_read_timeout(Some(SOON * 3)).unwrap();
        let will = Some((topic.as_str(), b"gone".as_slice()));
        stream.write_all(&Connect { client_id: &name, will, ..Connect::default() }.bytes()).unwrap();
        assert_eq!(packets::read(&mut stream).unwrap(), packets::connack(V3_1_1));
        stream
    });
    let begun = Instant::now();
    drop(crowd);
    let mut wills = HashSet::new();
    while wills.len() < count {
        let packet = packets::read(&mut heir).expect("a will");
        heir.write_all(&packets::acknowledgement(0x40, packets::publish_id(&packet))).unwrap();
        assert!(wills.insert(packet), "a will came twice");
    }
    let took = begun.elapsed();
    drop(heir);
    let after = scene.end(places(count));
    println!("    {count} wills in {took:.1?}");
    assert_eq!(after.count("wills"), count as u64);
}

#[test]
#[ignore = "long: two packets of 256 MiB"]
fn a_packet_of_256_mib_passes_where_it_may_and_is_refused_elsewhere() {
    const LARGEST: usize = 268_435_455;
    let topic = "large";
    let size = long(LARGEST, 32 * MIB as usize);
    let payload = vec![0x5A; size - 2 - topic.len()];
    let packet = packets::publish(V3_1_1, topic, 0, 0, &payload);
    assert!(size < LARGEST || packet.len() == 268_435_460);

    let large = broker().arguments(&["--max-packet", "268435460"]);
    let scene = Scene::begin("a packet of 256 MiB", large);
    let mut receiver = enter(scene.address(0), V3_1_1, "receiver");
    subscribe(&mut receiver, V3_1_1, topic, 1);
    let mut publisher = enter(scene.address(1), V3_1_1, "publisher");
    let begun = Instant::now();
    let received = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| packets::read(&mut receiver).expect("it arrives"));
        publisher.set_write_timeout(None).unwrap();
        publisher.write_all(&packet).unwrap();
        receiver.join().unwrap()
    });
    println!("    {} bytes through in {:.1?}", packet.len(), begun.elapsed());
    assert!(received == packet, "it came as it was");
    drop((receiver, publisher));
    scene.end(4 * MIB);

    let scene = Scene::begin("a packet of 256 MiB where 16 are the most", broker());
    let mut publisher = enter(scene.address(1), V5, "publisher");
    publisher.set_write_timeout(Some(SOON)).unwrap();
    let _ = publisher.write_all(&packet); // It is cut off within.
    let _ = publisher.shutdown(std::net::Shutdown::Write);
    let words = crate::support::read_to_close(&mut publisher);
    // Where what we still send meets a closed socket, the last word may be lost on the way.
    assert!(words.is_ok_and(|words| words.is_empty() || words[2] == 0x95));
    drop(publisher);
    enter(scene.address(1), V5, "publisher").write_all(&FOR_GOOD).unwrap();
    let after = scene.end(2 * MIB);
    assert!(after.count("client_faults") == 1 && after.peak < 8 * MIB, "{after:?}");
    assert!(after.says("is over the limit of 16777216"), "{:?}", after.log);
}
