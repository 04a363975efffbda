use serde_json::json;

use super::*;

fn packet() -> Fields<'static> {
    vec![
        ("topic", Shown::Text("a\u{1b}[2J\"b")),
        ("packet_id", Shown::Number(7)),
        ("dup", Shown::Flag(false)),
        ("retain", Shown::Flag(true)),
        ("code", Shown::Code(0x10, "No matching subscribers".to_owned())),
        ("password", Shown::Hidden(6)),
        ("codes", Shown::List(vec![Shown::Code(1, "Granted QoS 1".to_owned())])),
        ("properties", Shown::Group(vec![("user_properties", Shown::List(vec![Shown::Pair("k", "v")]))])),
        ("payload", Shown::Bytes { present: "grün".as_bytes(), all: 5 }),
    ]
}

#[test]
fn text_is_for_people_and_cannot_steer_their_terminal() {
    assert_eq!(
        text(&packet(), 100),
        "topic \"a\\u{1b}[2J\\\"b\", packet id 7, retain, 0x10 No matching subscribers, \
         password (6 bytes, hidden), codes [0x01 Granted QoS 1], \
         properties {user properties [\"k\"=\"v\"]}, payload (5 bytes) \"grün\""
    );
    assert_eq!(text(&[("properties", Shown::Group(Vec::new()))], 0), "");
}

#[test]
fn json_says_everything() {
    let object: Value = serde_json::from_str(&json(&packet(), usize::MAX)).unwrap();
    let expected = json!({
        "topic": "a\u{1b}[2J\"b",
        "packet_id": 7,
        "dup": false,
        "retain": true,
        "code": 16,
        "reason": "No matching subscribers",
        "password_hidden": 6,
        "codes": [{"code": 1, "reason": "Granted QoS 1"}],
        "properties": {"user_properties": [["k", "v"]]},
        "payload": "grün",
    });
    assert_eq!(object, expected);
    assert_eq!(json(&[], 0), "{}");
}

#[test]
fn payloads_are_cut_between_characters_and_told_to_be_cut() {
    let shown = |bytes: &'static [u8], most| {
        let fields = [("payload", Shown::Bytes { present: bytes, all: bytes.len() })];
        (text(&fields, most), json(&fields, most))
    };
    let (text, json) = shown("grün".as_bytes(), 3);
    assert_eq!(text, "payload (5 bytes) \"gr\"…");
    assert_eq!(json, r#"{"payload_missing":2,"payload_base64":"Z3LD"}"#);
    let (text, json) = shown(b"\xff\x00", 9);
    assert_eq!(text, "payload (2 bytes) 0xff00");
    assert_eq!(json, r#"{"payload_base64":"/wA="}"#);
    let (text, json) = shown(b"", 9);
    assert_eq!(text, "payload (0 bytes)");
    assert_eq!(json, r#"{"payload":""}"#);
    assert_eq!(shown(b"abc", 0).0, "payload (3 bytes)");
}
