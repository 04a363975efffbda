//! Nanoseconds a packet, ours and those of `mqttbytes` 0.6, the codec that rumqtt's client and broker grew from.
//!
//! `cargo bench -p mqway-codec [-- PART OF A NAME…]`. Decoding is from a stream of 1,000 packets in memory. The peer's
//! packets own their strings and share their payload, ours borrow both; ours are checked by the specification, the
//! peer's hardly.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mqway_codec::{Decoder, Packet, Publish, Version, decode};

/// Packets in the stream that is decoded, and encodings between two looks at the clock.
const COUNT: usize = 1_000;
/// How long each row is measured.
const ROW: Duration = Duration::from_millis(400);

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!("{:<34} {:>6} {:>8} {:>10}", "ns a packet", "bytes", "mqway", "mqttbytes");
    for (name, version, bytes) in packets() {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| name.contains(wanted.as_str())) {
            continue;
        }
        let packet = decode(version, &bytes).expect("is valid");
        let decoding = (ours_decoding(version, &bytes), peers_decoding(version, &bytes));
        row(&format!("decode {name}"), bytes.len(), decoding);
        let encoding = (ours_encoding(version, &packet), peers_encoding(version, &bytes));
        row(&format!("encode {name}"), bytes.len(), encoding);
    }
}

fn row(name: &str, len: usize, (ours, peers): (f64, f64)) {
    println!("{name:<34} {len:>6} {ours:>8.1} {peers:>10.1}");
}

/// Packets that both codecs take.
fn packets() -> Vec<(&'static str, Version, Vec<u8>)> {
    let publish = |version, payload: usize| {
        let mut bytes = Vec::new();
        let payload = vec![b'x'; payload];
        Publish::new("sensors/cellar/7/temp", &payload).encode(version, &mut bytes).expect("is valid");
        bytes
    };
    let subscribe = b"\x82\x38\x00\x01\x02\x0B\x07\x00\x0Fsensors/+/state\x01\x00\x10sensors/cellar/#\x02\
                      \x00\x0Balarms/7/on\x00";
    let connect = b"\x10\x58\x00\x04MQTT\x05\xC2\x00\x3C\x2B\x11\x00\x00\x0E\x10\x21\x00\x14\x27\x00\x01\x00\x00\
                    \x22\x00\x0A\x17\x01\x26\x00\x06region\x00\x07eu-west\x26\x00\x01v\x00\x01\x33\x00\x08sensor-7\
                    \x00\x06device\x00\x0Ecorrect horse.";
    vec![
        ("PUBLISH 64 bytes, 3.1.1", Version::V3_1_1, publish(Version::V3_1_1, 64)),
        ("PUBLISH 64 bytes, 5.0", Version::V5, publish(Version::V5, 64)),
        ("PUBLISH 4 KiB, 5.0", Version::V5, publish(Version::V5, 4_096)),
        ("CONNECT with properties, 5.0", Version::V5, connect.to_vec()),
        ("SUBSCRIBE to three, 5.0", Version::V5, subscribe.to_vec()),
        ("PUBACK, 5.0", Version::V5, b"\x40\x02\x00\x0A".to_vec()),
    ]
}

/// The least time that one of the rounds took, over its packets. `round` times itself, to leave its preparations out.
fn measure(mut round: impl FnMut() -> Duration) -> f64 {
    let start = Instant::now();
    let mut least = Duration::MAX;
    while start.elapsed() < ROW {
        least = least.min(round());
    }
    least.as_nanos() as f64 / COUNT as f64
}

fn ours_decoding(version: Version, bytes: &[u8]) -> f64 {
    let stream = bytes.repeat(COUNT);
    let is_connect = bytes[0] >> 4 == 1;
    measure(|| {
        let mut decoder = Decoder::with_version(version, 1 << 20);
        let mut rest = &stream[..];
        let start = Instant::now();
        while !rest.is_empty() {
            if is_connect {
                decoder = Decoder::new(1 << 20); // A stream has but one.
            }
            let (packet, consumed) = decoder.next(black_box(rest)).expect("is valid").expect("is whole");
            black_box(&packet);
            rest = &rest[consumed..];
        }
        start.elapsed()
    })
}

fn peers_decoding(version: Version, bytes: &[u8]) -> f64 {
    let stream = bytes.repeat(COUNT);
    measure(|| {
        let mut rest = BytesMut::from(&stream[..]);
        let start = Instant::now();
        while !rest.is_empty() {
            match version {
                Version::V5 => _ = black_box(&mqttbytes::v5::read(&mut rest, 1 << 20).expect("is valid")),
                _ => _ = black_box(&mqttbytes::v4::read(&mut rest, 1 << 20).expect("is valid")),
            }
        }
        start.elapsed()
    })
}

fn ours_encoding(version: Version, packet: &Packet<'_>) -> f64 {
    let mut out = Vec::new();
    measure(|| {
        out.clear();
        let start = Instant::now();
        for _ in 0..COUNT {
            black_box(packet).encode(version, &mut out).expect("is valid");
        }
        black_box(&out);
        start.elapsed()
    })
}

fn peers_encoding(version: Version, bytes: &[u8]) -> f64 {
    let mut out = BytesMut::new();
    let mut stream = BytesMut::from(bytes);
    let mut write: Box<dyn FnMut(&mut BytesMut)> = match version {
        Version::V5 => {
            use mqttbytes::v5::Packet;
            match mqttbytes::v5::read(&mut stream, 1 << 20).expect("is valid") {
                Packet::Publish(packet) => Box::new(move |out| _ = black_box(packet.write(out))),
                Packet::Connect(packet) => Box::new(move |out| _ = black_box(packet.write(out))),
                Packet::Subscribe(packet) => Box::new(move |out| _ = black_box(packet.write(out))),
                Packet::PubAck(packet) => Box::new(move |out| _ = black_box(packet.write(out))),
                other => unreachable!("{other:?} is not measured"),
            }
        }
        _ => match mqttbytes::v4::read(&mut stream, 1 << 20).expect("is valid") {
            mqttbytes::v4::Packet::Publish(packet) => Box::new(move |out| _ = black_box(packet.write(out))),
            other => unreachable!("{other:?} is not measured"),
        },
    };
    measure(|| {
        out.clear();
        let start = Instant::now();
        for _ in 0..COUNT {
            write(&mut out);
        }
        black_box(&out);
        start.elapsed()
    })
}
