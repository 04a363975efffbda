//! Every way to a server: schemes, certificates, header fields and query, proxies.

use std::path::Path;
use std::sync::Arc;

use mqway_client::{Backoff, Client, ConnectError, ConnectionEvent, Endpoint, Message, Options, QoS};
use tokio::time::timeout;

use crate::SOON;
use crate::broker::Mosquitto;
use crate::programs::{Nginx, Way};

/// What nginx asks for before it lets anybody through.
const STRICT: &str = r#"if ($ssl_client_verify != "SUCCESS") { return 401; }
    if ($http_x_tenant != "seven") { return 403; }
    if ($arg_token != "a%20b") { return 404; }
    if ($http_sec_websocket_protocol != "mqtt") { return 406; }"#;

/// A message goes there and comes back.
async fn round_trip(endpoint: Endpoint) {
    let client = Client::start(endpoint, Options::default());
    let back = async {
        let mut subscription = client.subscribe("there/#", QoS::AtLeastOnce).await.unwrap();
        let message = Message { qos: QoS::ExactlyOnce, ..Message::new("there/back", "hello") };
        client.publish(message).await.unwrap();
        subscription.next().await.unwrap()
    };
    let back = timeout(SOON, back).await.expect("a connection");
    assert_eq!(&*back.payload, b"hello");
    client.disconnect().await;
}

/// Why there is no connection.
async fn refusal(endpoint: Endpoint) -> Arc<ConnectError> {
    let backoff = Backoff { first: 10 * SOON, ..Backoff::default() };
    let client = Client::start(endpoint, Options { backoff, ..Options::default() });
    let mut events = client.events();
    match timeout(SOON, events.next()).await.unwrap().unwrap() {
        ConnectionEvent::Lost { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

async fn refusal_says(endpoint: Endpoint, expected: &str) {
    let error = refusal(endpoint).await;
    assert!(error.to_string().contains(expected), "{error} does not say {expected:?}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn every_scheme() {
    let mosquitto = Mosquitto::start();
    let ca = read(mosquitto.certificates.ca());
    for url in [
        format!("tcp://127.0.0.1:{}", mosquitto.tcp()),
        format!("mqtt://localhost:{}", mosquitto.tcp()),
        format!("127.0.0.1:{}", mosquitto.tcp()),
        format!("tls://127.0.0.1:{}", mosquitto.tls()),
        format!("mqtts://localhost:{}", mosquitto.tls()),
        format!("ws://127.0.0.1:{}", mosquitto.ws()),
        format!("ws://127.0.0.1:{}/mqtt?a=b", mosquitto.ws()),
        format!("wss://localhost:{}/mqtt", mosquitto.wss()),
        format!("unix://{}", mosquitto.unix().display()),
    ] {
        round_trip(Endpoint::new(url).ca(ca.clone())).await;
    }
}

#[tokio::test]
async fn a_strict_front_is_given_certificate_header_field_query_and_subprotocol() {
    let mosquitto = Mosquitto::start();
    let nginx = Nginx::start(&mosquitto, STRICT);
    let certificates = &mosquitto.certificates;
    let url = format!("wss://localhost:{}/mqtt?token=a%20b&other=1", nginx.port);
    let own = |name| read(certificates.file(name));
    let bare = Endpoint::new(&url).ca(own("ca.pem"));
    let shown = |endpoint: Endpoint| endpoint.certificate(own("client.pem"), own("client.key"));

    round_trip(shown(bare.clone()).header("X-Tenant", "seven")).await;

    refusal_says(bare.clone().header("X-Tenant", "seven"), "401").await;
    let stranger = bare.clone().certificate(own("stranger.pem"), own("stranger.key"));
    refusal_says(stranger.header("X-Tenant", "seven"), "400").await;
    refusal_says(shown(bare.clone()), "403").await;
    refusal_says(shown(bare.clone()).header("X-Tenant", "eight"), "403").await;
    let no_query = Endpoint::new(format!("wss://localhost:{}/mqtt", nginx.port)).ca(own("ca.pem"));
    refusal_says(shown(no_query).header("X-Tenant", "seven"), "404").await;
    let none: [&str; 0] = [];
    refusal_says(shown(bare).header("X-Tenant", "seven").subprotocols(none), "406").await;
}

#[tokio::test]
async fn a_server_is_believed_by_its_authority_and_its_name() {
    let mosquitto = Mosquitto::start();
    let own = |name| read(mosquitto.certificates.file(name));
    for (scheme, port) in [("tls", mosquitto.tls()), ("wss", mosquitto.wss())] {
        let url = format!("{scheme}://localhost:{port}");
        // The system's authorities do not know it, and neither does somebody else's.
        refusal_says(Endpoint::new(&url), "certificate").await;
        let error = refusal(Endpoint::new(&url).ca(own("other-ca.pem"))).await;
        assert!(matches!(*error, ConnectError::Transport(_)) && !error.is_final(), "{error:?}");
        refusal_says(Endpoint::new(&url).ca(own("other-ca.pem")), "certificate").await;
        // 0.0.0.0 leads to this machine, and is not in the certificate.
        let misnamed = Endpoint::new(format!("{scheme}://0.0.0.0:{port}"));
        refusal_says(misnamed.clone().ca(own("ca.pem")), "0.0.0.0").await;
        round_trip(misnamed.insecure()).await;
        let both = [own("other-ca.pem"), own("ca.pem")].concat();
        round_trip(Endpoint::new(&url).ca(both)).await;
    }
    let nothing = refusal(Endpoint::new("tls://localhost:1").ca("no certificate")).await;
    assert!(nothing.is_final(), "{nothing}");
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_it() {
    let mosquitto = Mosquitto::start();
    let own = |name| read(mosquitto.certificates.file(name));
    let bare = Endpoint::new(format!("tls://localhost:{}", mosquitto.mutual_tls())).ca(own("ca.pem"));
    round_trip(bare.clone().certificate(own("client.pem"), own("client.key"))).await;
    refusal_says(bare.clone(), "certificate").await;
    let stranger = bare.clone().certificate(own("stranger.pem"), own("stranger.key"));
    refusal_says(stranger, "ertificate").await;
    let mismatched = refusal(bare.certificate(own("client.pem"), own("stranger.key"))).await;
    assert!(mismatched.is_final(), "{mismatched}");
}

#[tokio::test]
async fn through_an_http_proxy() {
    let mosquitto = Mosquitto::start();
    let own = |name| read(mosquitto.certificates.file(name));
    let open = Way::tinyproxy("");
    for (scheme, port) in
        [("tcp", mosquitto.tcp()), ("tls", mosquitto.tls()), ("ws", mosquitto.ws()), ("wss", mosquitto.wss())]
    {
        let endpoint = Endpoint::new(format!("{scheme}://localhost:{port}")).ca(own("ca.pem"));
        round_trip(endpoint.proxy(format!("http://127.0.0.1:{}", open.port))).await;
        assert!(open.went_to(port), "{scheme}");
    }

    let straight = Endpoint::new(format!("tcp://localhost:{}", mosquitto.tcp()));
    let locked = Way::tinyproxy("BasicAuth me s3cret");
    let through = |user: &str| straight.clone().proxy(format!("http://{user}127.0.0.1:{}", locked.port));
    round_trip(through("me:s3cret@")).await;
    refusal_says(through(""), "wants a user name and a password (HTTP 407)").await;
    let wrong = refusal(through("me:wr0ng@")).await;
    // tinyproxy says 401 to a wrong password, where others say 407.
    assert!(
        wrong.to_string().contains("(HTTP 40") && !format!("{wrong}{wrong:?}").contains("wr0ng"),
        "{wrong}"
    );

    let narrow = Way::tinyproxy("ConnectPort 1");
    refusal_says(straight.clone().proxy(format!("http://127.0.0.1:{}", narrow.port)), "403").await;
    // The name is the proxy's to resolve, and its failure is told as such.
    let nowhere = Endpoint::new("tcp://broker.invalid:1883").proxy(format!("http://127.0.0.1:{}", open.port));
    refusal_says(nowhere, "the proxy refused a tunnel to broker.invalid:1883 (HTTP 500)").await;
}

#[tokio::test]
async fn through_a_socks5_proxy() {
    let mosquitto = Mosquitto::start();
    let own = |name| read(mosquitto.certificates.file(name));
    let open = Way::microsocks(&[]);
    for (scheme, port) in
        [("tcp", mosquitto.tcp()), ("tls", mosquitto.tls()), ("ws", mosquitto.ws()), ("wss", mosquitto.wss())]
    {
        for host in ["localhost", "127.0.0.1"] {
            let endpoint = Endpoint::new(format!("{scheme}://{host}:{port}")).ca(own("ca.pem"));
            round_trip(endpoint.proxy(format!("socks5://127.0.0.1:{}", open.port))).await;
        }
        assert!(open.went_to(port), "{scheme}");
    }

    let straight = Endpoint::new(format!("tcp://localhost:{}", mosquitto.tcp()));
    let locked = Way::microsocks(&["-u", "me", "-P", "s3cret"]);
    let through = |user: &str| straight.clone().proxy(format!("socks5://{user}127.0.0.1:{}", locked.port));
    round_trip(through("me:s3cret@")).await;
    refusal_says(through(""), "the SOCKS proxy wants a user name and a password").await;
    let wrong = refusal(through("me:wr0ng@")).await;
    assert!(!format!("{wrong}{wrong:?}").contains("wr0ng"), "{wrong}");

    let nowhere =
        Endpoint::new("tcp://broker.invalid:1883").proxy(format!("socks5://127.0.0.1:{}", open.port));
    refusal_says(nowhere, "the SOCKS proxy did not connect to broker.invalid:1883").await;
}

#[tokio::test]
async fn what_cannot_be_reached_is_named() {
    let error = refusal(Endpoint::new("tcp://broker.invalid")).await;
    assert!(matches!(*error, ConnectError::Network(_)) && !error.is_final(), "{error}");
    refusal_says(Endpoint::new("tcp://127.0.0.1:1"), "refused").await;
    refusal_says(Endpoint::new("unix:///nowhere/mqtt.sock"), "No such file").await;
    // TLS to a server of plain MQTT, and plain MQTT to a server of HTTP.
    let mosquitto = Mosquitto::start();
    let error = refusal(Endpoint::new(format!("tls://localhost:{}", mosquitto.tcp()))).await;
    assert!(error.to_string().contains("TLS"), "{error}");
    let error = refusal(Endpoint::new(format!("ws://localhost:{}", mosquitto.tcp()))).await;
    assert!(error.to_string().contains("WebSocket"), "{error}");
}
