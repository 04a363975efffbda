use super::*;

const PROXY: &str = "10.0.0.1:5000";

fn seen(fields: &[(&str, &str)]) -> Option<String> {
    from(PROXY, fields)
}

fn from(peer: &str, fields: &[(&str, &str)]) -> Option<String> {
    let trusted = "10.0.0.0/8 2001:db8:ffff::/48".parse().unwrap();
    let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
    client_address(fields, peer.parse().unwrap(), &trusted).map(|address| address.to_string())
}

#[test]
fn only_a_listed_peer_is_believed() {
    let fields = [("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.1")];
    assert_eq!(from("192.0.2.9:1", &fields), None);
    assert_eq!(from("10.1.2.3:1", &fields).as_deref(), Some("192.0.2.1:0"));
    assert_eq!(from("[::ffff:10.1.2.3]:1", &fields).as_deref(), Some("192.0.2.1:0"));
}

#[test]
fn the_nearest_address_that_is_not_listed_is_the_client() {
    for (chain, client) in [
        ("192.0.2.1", "192.0.2.1:0"),
        ("6.6.6.6, 192.0.2.1", "192.0.2.1:0"),
        ("6.6.6.6, 192.0.2.1, 10.0.0.7,10.0.0.8", "192.0.2.1:0"),
        ("10.0.0.9, 10.0.0.8", "10.0.0.9:0"),
        ("nonsense, 192.0.2.1", "192.0.2.1:0"),
        ("192.0.2.1:4711", "192.0.2.1:4711"),
        ("2001:db8::1", "[2001:db8::1]:0"),
        ("[2001:db8::1]:4711", "[2001:db8::1]:4711"),
        ("[2001:db8::1]", "[2001:db8::1]:0"),
        (" , 192.0.2.1 ,", "192.0.2.1:0"),
    ] {
        assert_eq!(seen(&[("x-forwarded-for", chain)]).as_deref(), Some(client), "{chain}");
    }
    let two = [("X-Forwarded-For", "6.6.6.6"), ("Host", "h"), ("X-Forwarded-For", "192.0.2.1")];
    assert_eq!(seen(&two).as_deref(), Some("192.0.2.1:0"));
}

#[test]
fn a_hidden_hop_ends_what_can_be_known() {
    assert_eq!(seen(&[("x-forwarded-for", "6.6.6.6, unknown, 10.0.0.8")]), None);
    assert_eq!(seen(&[("x-forwarded-for", "unknown")]), None);
    assert_eq!(seen(&[("x-forwarded-for", "")]), None);
    assert_eq!(seen(&[("forwarded", "for=6.6.6.6, for=_hidden")]), None);
    assert_eq!(seen(&[("forwarded", "for=6.6.6.6, by=10.0.0.1")]), None);
    assert_eq!(seen(&[]), None);
}

#[test]
fn forwarded_is_read_by_its_grammar() {
    // RFC 7239 §4, §6, §7.1
    for (value, client) in [
        ("for=192.0.2.43", "192.0.2.43:0"),
        ("For=\"[2001:db8:cafe::17]:4711\"", "[2001:db8:cafe::17]:4711"),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60:0"),
        ("by=203.0.113.43 ; for=192.0.2.60", "192.0.2.60:0"),
        ("for=6.6.6.6, for=198.51.100.17", "198.51.100.17:0"),
        ("for=\"192.0.2.43:_port\"", "192.0.2.43:0"),
        ("for=192.0.2.43:80", "192.0.2.43:80"),
        ("host=\"a,b;for=6.6.6.6\\\"\";for=192.0.2.43", "192.0.2.43:0"),
        ("for=192.0.2.43, for=\"[2001:db8:ffff::1]\"", "192.0.2.43:0"),
        (",for=192.0.2.43,", "192.0.2.43:0"),
    ] {
        assert_eq!(seen(&[("Forwarded", value)]).as_deref(), Some(client), "{value}");
    }
    for value in [
        "for=",
        "for",
        "for=192.0.2.43;for=192.0.2.44",
        "for=\"192.0.2.43",
        "for=\"192.0.2.43\\",
        "for=192.0.2.43 for=1.1.1.1",
        "=1",
        "for=192.0.2.43\"",
        "for=\"[::1\"",
        "for=192.0.2.43:99999",
    ] {
        assert_eq!(seen(&[("Forwarded", value)]), None, "{value}");
    }
}

#[test]
fn a_proxy_that_writes_one_field_does_not_vouch_for_the_other() {
    assert_eq!(seen(&[("Forwarded", "for=6.6.6.6"), ("X-Forwarded-For", "192.0.2.1")]), None);
    let agreed = [("Forwarded", "for=192.0.2.1"), ("X-Forwarded-For", "6.6.6.6, 192.0.2.1")];
    assert_eq!(seen(&agreed).as_deref(), Some("192.0.2.1:0"));
}

proptest::proptest! {
    #[test]
    fn no_value_panics(a in "[a-z=\",;:\\\\\\[\\] 0-9.fFoOrR]{0,40}", b in "\\PC{0,30}") {
        for value in [&a, &b] {
            let _ = seen(&[("forwarded", value.as_str())]);
            let _ = seen(&[("x-forwarded-for", value.as_str())]);
        }
    }
}
