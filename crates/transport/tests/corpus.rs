//! Replays the corpus of each fuzz target, which holds what fuzzing found worth keeping.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod checks;

use std::fs;
use std::path::{Path, PathBuf};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

#[test]
fn every_input_of_the_corpus_passes() {
    for (target, check) in checks::TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(corpus(target)).unwrap() {
            check(&fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{target} has no corpus");
    }
}

#[test]
#[ignore = "writes into fuzz/corpus"]
fn seed_the_corpus() {
    let seeds: &[(&str, &[&[u8]])] = &[
        (
            "transport_url",
            &[
                b"wss://us%40er:pa%2Fss@broker.example:8443/mqtt?x=1",
                b"mqtts://[2001:db8::1]:8883",
                b"unix:///run/mq%20way.sock",
                b"tcp://:0",
                b"socks5h://u:p@proxy:1080/",
                b"10.0.0.0/8, ::1 192.0.2.0/24",
            ],
        ),
        (
            "transport_proxy_protocol",
            &[
                b"\x05PROXY TCP4 192.0.2.1 192.0.2.2 40000 1883\r\n\x10",
                b"\x05PROXY TCP6 ::1 2001:db8::2 40000 1883\r\n",
                b"\x07PROXY UNKNOWN what ever\r\n",
                b"\x03\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x01\xc0\0\x02\x02\x9c\x40\x07\x5btlvs\x10",
                b"\x03\r\n\r\n\0\r\nQUIT\n\x20\0\0\0\x10",
            ],
        ),
        (
            "transport_forwarded",
            &[
                b"\x1dfor=\"[2001:db8::1]:_p\";by=_x, for=10.0.0.1;proto=https",
                b"\x0c6.6.6.6, ::1,192.0.2.1:80, unknown",
                b"\x10host=\"a\\\"b\";FOR=1.2.3.4",
            ],
        ),
        (
            "transport_tunnel",
            &[
                b"\x00HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nVia: x\r\n\r\nserver",
                b"\x08HTTP/1.0 407 No\r\nProxy-Authenticate: Basic\r\n\r\n",
                b"\x05\x05\x02\x01\0\x05\0\0\x03\x01x\0\0server",
                b"\x07\x05\0\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ],
        ),
        (
            "transport_stack",
            &[
                b"\0\x02\x05\x09\x16\x03\x01",
                b"\x01\x02\x05\x09\x16\x03\x01",
                b"\x02\x02\x01\x09\x05\0\0\x01\0\0\0\0\0\0HTTP/1.1 101 X\r\n",
                b"\x03\x01\x20\x09\0\0",
                b"\x04\x01\x20\x09\0\0",
                b"\x05\x02\x05\x09Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x82\x80\0\0\0\0",
                b"\x06\x02\x05\x09Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
                b"\x07\x02\x05\x09\x89\x81\0\0\0\0x\x02\x81\0\0\0\0x\x80\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8",
                b"\x08\x02\x05\x09\x89\x01x\x02\x01x\x80\0\x88\x02\x03\xe8",
                b"\x09\x02\x05\x0912345678901234567890123456789012",
                b"\x0a\x02\x05\x09\x15\x03\x03\0\x02\x01\0",
                b"\x0b\x02\x05\x09\x10\x0c\0\x04MQTT",
            ],
        ),
    ];
    for (target, inputs) in seeds {
        fs::create_dir_all(corpus(target)).unwrap();
        for (index, input) in inputs.iter().enumerate() {
            fs::write(corpus(target).join(format!("seed-{index}")), input).unwrap();
        }
    }
}
