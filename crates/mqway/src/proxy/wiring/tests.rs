use std::time::Duration;

use super::*;
use crate::settings::{Listener as ListenerSettings, Upstream as UpstreamSettings};

fn on(url: &str) -> ListenerSettings {
    ListenerSettings { url: Some(url.to_owned()), ..ListenerSettings::default() }
}

fn with(listener: ListenerSettings) -> Settings {
    let upstream =
        UpstreamSettings { url: Some("tcp://127.0.0.1".to_owned()), ..UpstreamSettings::default() };
    Settings { listeners: vec![listener], upstreams: vec![upstream], ..Settings::default() }
}

fn refused(settings: &Settings) -> String {
    match wire(settings) {
        Ok(_) => panic!("{settings:?} is taken"),
        Err(failure) => failure.message,
    }
}

#[test]
fn websocket_is_served_at_the_path_of_the_url_unless_paths_are_listed() {
    let paths = |listener: ListenerSettings| {
        let wired = wire(&with(listener)).unwrap_or_else(|failure| panic!("{failure}"));
        wired.config.listeners[0].options.websocket.as_ref().unwrap().paths.clone()
    };
    assert_eq!(paths(on("ws://:0")), ["/mqtt"]);
    assert_eq!(paths(on("ws://:0/other")), ["/other"]);
    let listed = Some(vec!["/a".to_owned(), "/b".to_owned()]);
    assert_eq!(paths(ListenerSettings { paths: listed, ..on("ws://:0/other") }), ["/a", "/b"]);
}

#[test]
fn limits_arrive_where_they_hold() {
    let seconds = |seconds| Some(crate::quantity::Seconds(Duration::from_secs(seconds)));
    let bytes = |bytes| Some(crate::quantity::Bytes(bytes));
    let limits = Limits {
        max_connections: Some(1),
        max_connections_per_address: Some(2),
        connect_timeout: seconds(3),
        dial_timeout: seconds(4),
        connack_timeout: seconds(5),
        max_packet: bytes(6),
        max_buffered: bytes(7),
        max_buffered_per_connection: bytes(800),
        workers: NonZeroUsize::new(9),
        grace: seconds(10),
    };
    let Wired { config, grace, .. } =
        wire(&Settings { limits, ..with(on("tcp://:0")) }).unwrap_or_else(|f| panic!("{f}"));
    let engine = &config.engine.limits;
    assert_eq!((engine.connections, engine.connections_per_address, engine.buffered), (1, 2, 7));
    assert_eq!((engine.high_water, engine.low_water, config.engine.workers), (800, 200, 9));
    assert_eq!(engine.handshake_time, Duration::from_secs(3));
    assert_eq!(config.limits.connect_time, Duration::from_secs(3));
    assert_eq!(config.limits.dial_time, Duration::from_secs(4));
    assert_eq!(config.limits.connack_time, Duration::from_secs(5));
    assert_eq!((config.limits.packet, grace), (6, Duration::from_secs(10)));
}

#[test]
fn a_limit_that_lets_nobody_through_is_refused() {
    for key in [
        "max_connections",
        "max_connections_per_address",
        "connect_timeout",
        "dial_timeout",
        "connack_timeout",
        "max_packet",
        "max_buffered",
        "max_buffered_per_connection",
    ] {
        let limits: Limits = toml::from_str(&format!("{key} = 0")).unwrap();
        let told = refused(&Settings { limits, ..with(on("tcp://:0")) });
        assert!(told.starts_with(&format!("{key} is 0")), "{told}");
    }
    let limits: Limits = toml::from_str("grace = 0").unwrap();
    assert!(wire(&Settings { limits, ..with(on("tcp://:0")) }).is_ok());
}

#[test]
fn settings_that_would_silently_do_nothing_are_refused() {
    let ca = || Some("ca.pem".into());
    let told = refused(&with(ListenerSettings { client_ca: ca(), ..on("tcp://:0") }));
    assert!(told.contains("client_ca but no TLS"), "{told}");
    let told = refused(&with(ListenerSettings { client_crl: ca(), ..on("tcp://:0") }));
    assert!(told.contains("client_crl but no TLS"), "{told}");
    let origins = Some(vec!["null".to_owned()]);
    let told = refused(&with(ListenerSettings { origins, ..on("tcp://:0") }));
    assert!(told.contains("origins but no WebSocket"), "{told}");
}

#[test]
fn what_cannot_be_meant_is_told_with_how_to_mend_it() {
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    for (listener, expected) in [
        (ListenerSettings::default(), "a listener has no url; say where it is"),
        (on("tls://:0"), "needs a certificate and its private key; name their files with --cert and --key"),
        (on("gopher://:0"), "unknown scheme"),
        (ListenerSettings { origins: words(&["https://*"]), ..on("ws://:0") }, "is no origin"),
        (ListenerSettings { paths: words(&["mqtt"]), ..on("ws://:0") }, "begin it with a slash"),
        (ListenerSettings { trust_forwarded: words(&["10.0.0.0/33"]), ..on("ws://:0") }, "bad address range"),
    ] {
        let told = refused(&with(listener));
        assert!(told.contains(expected), "{told}");
    }
    let settings = Settings { listeners: Vec::new(), ..with(on("tcp://:0")) };
    assert!(refused(&settings).starts_with("nowhere to listen"));
    let settings = Settings { upstreams: Vec::new(), ..with(on("tcp://:0")) };
    assert!(refused(&settings).starts_with("no server to bring clients to"));
}

#[test]
fn each_worker_has_its_part_of_who_may_wait() {
    let mut settings = with(on("tcp://:0"));
    settings.access.max_waiting = NonZeroUsize::new(9);
    for (workers, each) in [(1, 9), (4, 3), (20, 1)] {
        settings.limits.workers = NonZeroUsize::new(workers);
        let wired = wire(&settings).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(wired.config.limits.waiting, each, "{workers}");
    }
}
