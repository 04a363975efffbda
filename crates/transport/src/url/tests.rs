use super::*;

fn shown(text: &str) -> String {
    Url::parse(text).unwrap().to_string()
}

#[test]
fn each_scheme_has_its_default_port_and_path() {
    for (text, expected) in [
        ("mqtt://broker", "tcp://broker:1883"),
        ("tcp://broker", "tcp://broker:1883"),
        ("mqtts://broker", "tls://broker:8883"),
        ("tls://broker", "tls://broker:8883"),
        ("ws://broker", "ws://broker:80/mqtt"),
        ("wss://broker", "wss://broker:443/mqtt"),
        ("WSS://Broker:8443", "wss://broker:8443/mqtt"),
        ("ws://broker/", "ws://broker:80/"),
        ("ws://broker/a/b?x=1&y", "ws://broker:80/a/b?x=1&y"),
        ("ws://broker?x=1", "ws://broker:80/mqtt?x=1"),
        ("tcp://broker:", "tcp://broker:1883"),
        ("tcp://broker/", "tcp://broker:1883"),
        ("tcp://[2001:DB8::1]:2", "tcp://[2001:db8::1]:2"),
        ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1"),
        ("unix:///run/m%20q.sock", "unix:///run/m q.sock"),
        ("unix:/run/mq.sock", "unix:///run/mq.sock"),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn without_a_scheme_tcp_is_meant_where_that_is_allowed() {
    for (text, expected) in [
        ("broker", "tcp://broker:1883"),
        ("broker:1", "tcp://broker:1"),
        ("[::1]:1", "tcp://[::1]:1"),
        ("u:p@broker", "tcp://broker:1883"),
        ("ws://broker", "ws://broker:80/mqtt"),
    ] {
        assert_eq!(Url::parse_lenient(text).unwrap().to_string(), expected);
    }
    assert!(Url::parse("broker:1883").unwrap_err().to_string().contains("no scheme"));
}

#[test]
fn a_listener_may_leave_host_and_port_open() {
    for (text, host, port) in [
        ("tcp://:1883", "", 1883),
        ("tcp://[::]:0", "::", 0),
        ("ws://", "", 80),
        ("tls://127.0.0.1:0", "127.0.0.1", 0),
    ] {
        let url = Url::parse_listener(text).unwrap();
        assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
    }
    assert!(Url::parse("tcp://:1883").unwrap_err().to_string().contains("no host"));
    assert!(Url::parse("tcp://h:0").unwrap_err().to_string().contains("port 0"));
    assert!(Url::parse_listener("tcp://u:p@h").unwrap_err().to_string().contains("takes no user"));
}

#[test]
fn credentials_are_decoded_and_never_shown() {
    let url = Url::parse("wss://us%40er:p%3Aa%2fss%FF@host/mqtt").unwrap();
    assert_eq!(url.user.as_deref(), Some("us@er"));
    assert_eq!(url.password.as_ref().unwrap().expose(), b"p:a/ss\xff");
    for shown in [url.to_string(), format!("{url:?}").replace("us@er", "")] {
        assert!(!shown.contains("ss") || !shown.contains("p:a"), "{shown}");
    }
    assert_eq!(url.to_string(), "wss://host:443/mqtt");
    let url = Url::parse("tcp://user@host").unwrap();
    assert_eq!((url.user.as_deref(), url.password), (Some("user"), None));
    let url = Url::parse("tcp://user:@host").unwrap();
    assert_eq!(url.password.unwrap().expose(), b"");
    let url = Url::parse("tcp://user:p@ss@host").unwrap();
    assert_eq!(url.password.unwrap().expose(), b"p@ss");
}

#[test]
fn errors_leave_credentials_out() {
    for text in [
        "foo://user:secret@host",
        "tcp://user:secret@host:x",
        "tcp://user:sec/ret@host",
        "user:secret@ho st",
        "user:sec://ret@host",
        "tcp://user:x@sec/ret@host",
    ] {
        let error = Url::parse(text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("sec") && !shown.contains("ret@") && !shown.contains("user:"), "{shown}");
    }
}

#[test]
fn errors_say_what_is_wrong_and_how_to_mend_it() {
    for (text, why) in [
        ("http://h", "did you mean ws://?"),
        ("https://h", "did you mean wss://?"),
        ("ssl://h", "did you mean tls://?"),
        ("foo://h", "use tcp, tls, ws, wss or unix"),
        ("tcp://h:65536", "not a number from 0 to 65535"),
        ("tcp://h:+1", "not a number from 0 to 65535"),
        ("tcp://::1:1883", "needs brackets"),
        ("tcp://[::1", "closing ]"),
        ("tcp://[::1]1883", "after ]"),
        ("tcp://[host]:1", "not an IPv6 address"),
        ("tcp://h/path", "has no path"),
        ("ws://h/a#b", "no fragment"),
        ("ws://h/a%2", "%25"),
        ("ws://h/ä", "percent-encode"),
        ("tcp://hö", "xn--"),
        ("tcp://h st", "percent-encode it or leave it out"),
        ("tcp://a%b@h", "%25"),
        ("tcp://300.1.1.1", "not an IPv4 address"),
        ("tcp://ho$t", "cannot stand in a host name"),
        ("unix://relative", "absolute path"),
        ("unix:///a%00", "zero byte"),
    ] {
        let error = Url::parse(text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
        assert!(!error.contains('\n'));
    }
    let long = format!("unix:///{}", "x".repeat(MAX_UNIX_PATH));
    assert!(Url::parse(&long).unwrap_err().to_string().contains("shorten it"));
    assert!(
        Url::parse(&format!("ws://h/{}", "x".repeat(MAX_URL))).unwrap_err().to_string().contains("longer")
    );
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = (Url::parse(&text), Url::parse_lenient(&text), Url::parse_listener(&text));
    }

    #[test]
    fn what_is_shown_reads_back(text in "(tcp|tls|ws|wss)://([a-z]{1,5}(:[a-z%4]{0,5})?@)?[a-z0-9.\\[\\]:]{1,9}(/[a-z?]{0,5})?") {
        if let Ok(url) = Url::parse(&text) {
            let again = Url::parse(&url.to_string()).unwrap();
            proptest::prop_assert_eq!(&again, &Url { user: None, password: None, ..url });
        }
    }
}
