//! Prints the packets of a client's stream that comes on standard input, in whatever pieces it comes:
//!
//! ```sh
//! cargo run -p mqway-codec --example stream -- --demo | cargo run -p mqway-codec --example stream
//! ```
//!
//! This is the loop of anything that reads MQTT from a socket: one buffer, filled at its end and emptied from its start.

use std::error::Error;
use std::io::{self, Read, Write};

use mqway_codec::{
    Connect, Decoder, Packet, PacketId, PropertiesBuf, Property, Publish, QoS, Subscribe, SubscribeOptions,
    SubscriptionsBuf, TopicFilter, Version,
};

/// The largest packet to accept, in bytes. It bounds the buffer too.
const LIMIT: usize = 256 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--demo") {
        return Ok(io::stdout().write_all(&demo()?)?);
    }
    let mut decoder = Decoder::new(LIMIT);
    let mut buffer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let len = io::stdin().read(&mut piece)?;
        if len == 0 {
            break;
        }
        buffer.extend_from_slice(&piece[..len]);
        let mut taken = 0;
        // An error ends the connection; its reason code is what a DISCONNECT would say.
        while let Some((packet, consumed)) = decoder.next(&buffer[taken..])? {
            print(&packet);
            taken += consumed;
        }
        buffer.drain(..taken);
    }
    if !buffer.is_empty() {
        println!("{} bytes of a packet that did not end", buffer.len());
    }
    Ok(())
}

fn print(packet: &Packet<'_>) {
    match packet {
        Packet::Publish(publish) => {
            println!("PUBLISH {} (QoS {}): {} bytes", publish.topic, publish.qos, publish.payload.len());
            for (name, value) in publish.properties.user_properties() {
                println!("    {name}: {value}");
            }
        }
        Packet::Subscribe(subscribe) => {
            for wanted in subscribe.subscriptions.iter() {
                println!("SUBSCRIBE {} (QoS {})", wanted.filter, wanted.options.qos);
            }
        }
        other => println!("{other:?}"),
    }
}

/// What a small client might send.
fn demo() -> Result<Vec<u8>, Box<dyn Error>> {
    let mut stream = Vec::new();
    let mut send = |packet: Packet<'_>| packet.encode(Version::V5, &mut stream);

    send(Connect::new(Version::V5, "sensor-7").into())?;

    let mut wanted = SubscriptionsBuf::new();
    wanted.push(TopicFilter::new("sensors/+/state")?, SubscribeOptions::new(QoS::AtLeastOnce));
    send(Subscribe::new(PacketId::MIN, wanted.as_subscriptions()).into())?;

    let mut properties = PropertiesBuf::new();
    properties.push(Property::UserProperty("unit", "°C"))?;
    let mut publish = Publish::new("sensors/7/temperature", b"21.5");
    publish.properties = properties.as_properties();
    send(publish.into())?;

    send(Packet::Pingreq)?;
    Ok(stream)
}
