//! §3.12 PINGREQ, §3.13 PINGRESP.

use mqway_codec::Packet;

use crate::{ALL, accept};

#[test]
fn they_are_two_bytes() {
    for version in ALL {
        assert_eq!(accept(version, b"\xC0\x00"), Packet::Pingreq);
        assert_eq!(accept(version, b"\xD0\x00"), Packet::Pingresp);
    }
}
