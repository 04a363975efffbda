use super::*;
use crate::settings::{Listener as ListenerSettings, Upstream};

fn at(url: &str) -> Settings {
    let listener = ListenerSettings { url: Some(url.to_owned()), ..ListenerSettings::default() };
    Settings { listeners: vec![listener], ..Settings::default() }
}

fn refused(settings: &Settings) -> String {
    match wire(settings) {
        Ok(_) => panic!("{settings:?} is taken"),
        Err(failure) => failure.message,
    }
}

#[test]
fn a_listener_that_others_can_reach_must_ask_who_they_are() {
    for local in ["tcp://127.0.0.1:0", "ws://localhost:0", "tcp://[::1]:0", "unix:///run/mqtt"] {
        assert!(wire(&at(local)).is_ok(), "{local}");
    }
    for open in ["tcp://:1883", "ws://0.0.0.0:80", "tcp://[::]:1883", "tcp://192.168.0.1:1883"] {
        assert!(refused(&at(open)).contains("--allow-anonymous"), "{open}");
        let mut allowed = at(open);
        allowed.access.allow_anonymous = Some(true);
        assert!(wire(&allowed).is_ok(), "{open}");
    }
}

#[test]
fn settings_arrive_where_they_hold() {
    let mut settings = at("tcp://127.0.0.1:0");
    settings.limits.max_packet = Some(Bytes(1000));
    settings.access.max_waiting = NonZeroUsize::new(3);
    settings.broker = Broker {
        max_session_expiry: Some(Seconds(Duration::from_secs(60))),
        max_qos: Some(1),
        max_queued: Some(Bytes(7)),
        queue_full: Some(settings::QueueFull::DropOldest),
        sys_interval: Some(Seconds(Duration::ZERO)),
        ..Broker::default()
    };
    let config = wire(&settings).unwrap_or_else(|failure| panic!("{failure}")).config;
    assert_eq!((config.terms.maximum_packet, config.terms.session_expiry), (1000, 60));
    assert!(config.engine.limits.unread > 1000);
    assert_eq!(config.limits.hook_waiting, 3);
    assert_eq!((config.terms.maximum_qos, config.limits.queue_bytes), (QoS::AtLeastOnce, 7));
    assert_eq!((config.limits.queue_full, config.sys_interval), (QueueFull::DropOldest, None));
}

#[test]
fn what_is_the_proxy_s_is_refused() {
    let upstreams = Settings { upstreams: vec![Upstream::default()], ..at("tcp://127.0.0.1:0") };
    assert!(refused(&upstreams).contains("mqway proxy"));
    let mut limits = at("tcp://127.0.0.1:0");
    limits.limits.dial_timeout = Some(Seconds(Duration::from_secs(1)));
    assert!(refused(&limits).contains("dial_timeout"));
    let mut limits = at("tcp://127.0.0.1:0");
    limits.limits.max_packet = Some(Bytes(0));
    assert!(refused(&limits).contains("max_packet is 0"));
}
