//! A program with a broker inside: clients talk to each other and to it, and only it says what is set.
//!
//! `cargo run --release -p mqway-broker --example embedded -- 1883`, then in other terminals
//! `mosquitto_sub -t 'thermostat/#' -v` and `mosquitto_pub -t thermostat/wanted -m 21.5`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use mqway_broker::hooks::{Authorize, Client, Denial, Later, Message as Judged, Verdict};
use mqway_broker::{Broker, Message};
use mqway_codec::QoS;

/// No client sets the thermostat: it says what is wanted.
struct HandsOff;

impl Authorize for HandsOff {
    fn name(&self) -> &str {
        "hands off"
    }

    fn publish(&self, _: &mut Client, message: &Judged<'_>, _: Later<'_>) -> Verdict {
        match message.topic() {
            "thermostat/set" => Verdict::Deny(Denial::not_authorized("hands off").say("say what is wanted")),
            _ => Verdict::Pass,
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).map_or(Ok(1883), |port| port.parse())?;
    let broker = Broker::builder()
        .listen_tcp("127.0.0.1", port)
        .configure(|config| {
            config.limits.queue_messages = 1_000;
            config.hooks.add_authorize(Arc::new(HandsOff));
        })
        .start()?;
    println!("clients may come to {}", broker.addresses()[0]);

    let wanted = broker.subscribe("thermostat/wanted", 100)?;
    loop {
        let Ok(message) = wanted.recv_timeout(Duration::from_secs(3600)) else { continue };
        let text = String::from_utf8_lossy(&message.payload);
        println!("somebody wants {text} degrees");
        let mut answer = Message::new("thermostat/set", text.as_bytes());
        answer.qos = QoS::AtLeastOnce;
        answer.retain = true;
        broker.publish(answer)?;
    }
}
