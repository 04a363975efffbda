//! What hooks change of a login, and for how long it holds.

use std::sync::Arc;
use std::time::Duration;

use mqway_codec::{Connect, QoS, ReasonCode, Version};
use mqway_hooks::{Authenticate, Client, Hooks, Later, Login, Observe, Phase, Phases, Verdict};
use mqway_session::client::{Event, Options};

use crate::Config;
use crate::tests::world::*;

/// Names who has no name, has them all say something every 20 seconds, and lets them in for 30.
struct Registrar;

impl Authenticate for Registrar {
    fn name(&self) -> &str {
        "registrar"
    }

    fn authenticate(&self, client: &mut Client, login: &mut Login<'_>, _: Later<'_>) -> Verdict {
        if login.client_id.is_empty() {
            login.client_id = "guest".into();
        }
        login.user_name = Some("known".into());
        login.keep_alive = 20;
        client.lifetime = Some(Duration::from_secs(30));
        Verdict::Allow
    }
}

impl Observe for Registrar {
    fn name(&self) -> &str {
        "registrar"
    }

    fn phases(&self) -> Phases {
        Phases::of(&[Phase::Connected])
    }

    fn observe(&self, client_id: &str, client: Option<&mut Client>, _: &mqway_hooks::Event<'_>) {
        let client = client.unwrap();
        assert_eq!((&*client.client_id, client.user_name.as_deref()), (client_id, Some("known")));
    }
}

fn world(workers: usize) -> World {
    let mut hooks = Hooks::new();
    hooks.add_authenticate(Arc::new(Registrar));
    hooks.add_observe(Arc::new(Registrar));
    World::new(1, workers, Config { hooks, ..Config::default() })
}

#[test]
fn a_client_of_5_is_told_what_it_is_to_use_and_an_older_one_keeps_what_it_wants() {
    for workers in [1, 3] {
        let mut world = world(workers);
        let client = world.add(Options::new(Version::V5));
        world.connect(client, &Connect::new(Version::V5, ""));
        world.settle();
        let Some(Event::Connected { properties, .. }) = world.clients[client].events.first() else {
            panic!()
        };
        let told = properties.as_properties();
        // [MQTT-3.2.2-16], [MQTT-3.2.2-21]
        assert_eq!((told.assigned_client_identifier(), told.server_keep_alive()), (Some("guest"), Some(20)));
        // Whoever comes by the same name takes its place.
        let again = world.connected(Version::V5, "guest");
        assert!(world.clients[client].remote.is_none() && world.clients[again].remote.is_some());
        // An older one may be silent for 90 seconds, if only it were let in for so long.
        let older = world.connected(Version::V3_1_1, "older");
        world.sim.run(Duration::from_secs(29));
        assert_eq!(world.counts().keep_alive_timeouts, 0);
        assert!(world.clients[older].client.is_connected());
    }
}

#[test]
fn a_login_holds_for_as_long_as_hooks_say_in_every_version() {
    for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
        let mut world = world(2);
        let client = world.connected(version, "x");
        for _ in 0..2 {
            world.run(Duration::from_secs(14));
            world.publish(client, message("a", "", QoS::AtMostOnce));
            assert!(world.clients[client].client.is_connected());
        }
        world.run(Duration::from_secs(2));
        assert!(world.clients[client].remote.is_none());
        assert_eq!(world.counts().authentications_expired, 1);
        let told = world.clients[client].events.iter().any(
            |event| matches!(event, Event::Disconnected(notice) if notice.reason == ReasonCode::MaximumConnectTime),
        );
        assert_eq!(told, version == Version::V5);
    }
}
