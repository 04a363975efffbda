use mqway_client::{PropertiesBuf, Property, QoS};
use mqway_codec::{PacketId, PayloadFormat};

use super::*;

fn message() -> Incoming {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::ContentType("text/plain")).unwrap();
    properties.push(Property::PayloadFormatIndicator(PayloadFormat::Utf8)).unwrap();
    properties.push(Property::MessageExpiryInterval(72)).unwrap();
    properties.push(Property::CorrelationData(b"c\xff")).unwrap();
    properties.push(Property::UserProperty("k", "v")).unwrap();
    properties.push(Property::UserProperty("k2", "v2")).unwrap();
    Incoming {
        topic: "r/1".into(),
        payload: b"one"[..].into(),
        qos: QoS::AtLeastOnce,
        packet_id: PacketId::new(7),
        retain: true,
        dup: false,
        properties,
        token: None,
    }
}

fn printed(format: &str) -> String {
    let mut out = Vec::new();
    Template::parse(format, false).unwrap().write(&message(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn each_letter_has_its_value() {
    assert_eq!(printed("%t|%p|%q|%r|%l|%m|%x|%X|%%"), "r/1|one|1|1|3|7|6f6e65|6F6E65|%");
    assert_eq!(printed("%A|%C|%D|%E|%F|%P|%R|%S"), "|text/plain|c\u{fffd}|72|1|k:v k2:v2||");
    assert_eq!(printed(r"\\\0\a\e\n\r\t\v@@"), "\\\0\x07\x1b\n\r\t\x0b@");
    assert_eq!(printed("plain ü"), "plain ü");
}

#[test]
fn widths_fill_up_and_cut_off() {
    assert_eq!(printed("[%10t][%-10t][%.2t][%5.2t][%05.2t]"), "[       r/1][r/1       ][r/][   r/][   r/]");
    assert_eq!(printed("[%05l][%5l][%-5l][%-05l][%.1l]"), "[00003][    3][3    ][3    ][3]");
    assert_eq!(
        printed("[%8x][%08X][%10p][%010p][%-5p]"),
        "[  6f6e65][006F6E65][       one][0000000one][one  ]"
    );
    assert_eq!(printed("[%5A][%05S][%5R][%3q][%3r][%5P]"), "[     ][00000][     ][1][1][k:v k2:v2]");
    assert_eq!(printed("%5%|%.5%|%.0t|%00t"), "%|%||r/1");
}

#[test]
fn what_is_no_format_is_told() {
    for (format, told) in [
        ("%", "ends within"),
        ("%10", "ends within"),
        ("%z", "no %z"),
        ("%0-5l", "no %-"),
        ("@", "lone @"),
        ("\\", "lone \\"),
        ("\\q", "no \\q"),
        ("%99999t", "wider than"),
    ] {
        let why = Template::parse(format, false).unwrap_err();
        assert!(why.contains(told), "{format}: {why}");
    }
}

#[test]
fn the_time_is_told_in_the_words_of_strftime() {
    let time: Zoned = "2026-11-20T14:05:02.5[UTC]".parse().unwrap();
    for (letter, expected) in [
        ('a', "Fri"),
        ('A', "Friday"),
        ('b', "Nov"),
        ('c', "Fri Nov 20 14:05:02 2026"),
        ('C', "20"),
        ('d', "20"),
        ('D', "11/20/26"),
        ('F', "2026-11-20"),
        ('g', "26"),
        ('G', "2026"),
        ('I', "02"),
        ('j', "324"),
        ('k', "14"),
        ('l', " 2"),
        ('n', "\n"),
        ('p', "PM"),
        ('P', "pm"),
        ('r', "02:05:02 PM"),
        ('R', "14:05"),
        ('s', "1795183502"),
        ('t', "\t"),
        ('T', "14:05:02"),
        ('u', "5"),
        ('U', "46"),
        ('V', "47"),
        ('w', "5"),
        ('W', "46"),
        ('x', "11/20/26"),
        ('X', "14:05:02"),
        ('y', "26"),
        ('z', "+0000"),
        ('Z', "UTC"),
    ] {
        assert_eq!(strftime(letter, &time), expected, "@{letter}");
    }
    assert_eq!(printed("@q@E@%"), "%q%E%");
}

#[test]
fn json_has_what_mosquitto_has_in_its_order() {
    let time: Zoned = "2026-11-20T14:05:02.5+01:00[Europe/Berlin]".parse().unwrap();
    let object = json::object(&message(), &time, Payload::Quoted, false).unwrap();
    assert_eq!(
        object,
        "{\"tst\":\"2026-11-20T14:05:02.500000+0100\",\"topic\":\"r/1\",\"qos\":1,\"retain\":1,\"payloadlen\":3,\"mid\":7,\
         \"properties\":{\"content-type\":\"text/plain\",\"payload-format-indicator\":1,\"message-expiry-interval\":72,\
         \"correlation-data\":\"c\u{fffd}\",\"user-properties\":{\"k\":\"v\",\"k2\":\"v2\"}},\"payload\":\"one\"}"
    );
    assert_eq!(json::object(&message(), &time, Payload::Raw, false), None);
    let pretty = json::object(&message(), &time, Payload::Quoted, true).unwrap();
    assert!(pretty.contains("\n\t\"properties\":\t{\n\t\t\"content-type\":\t\"text/plain\",\n"), "{pretty}");
    assert!(pretty.contains("\n\t\t\"user-properties\":\t{\n\t\t\t\"k\":\t\"v\",\n"), "{pretty}");
    assert!(pretty.ends_with("\n\t\"payload\":\t\"one\"\n}"), "{pretty}");
}
