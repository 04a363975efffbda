//! Publishes a few readings, and knows of each that the server has it.
//!
//! ```sh
//! cargo run --example publish -- tcp://localhost:1883
//! ```

use std::time::Duration;

use mqway_client::{Client, Endpoint, Message, Options, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "tcp://localhost:1883".to_owned());
    let client = Client::start(Endpoint::new(url), Options::default());

    // Says why there is no connection, if there is none.
    let mut events = client.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            eprintln!("{event}");
        }
    });

    for reading in ["20.1", "20.4", "20.2"] {
        let message = Message { qos: QoS::AtLeastOnce, ..Message::new("sensors/kitchen", reading) };
        // Resolves when the server has acknowledged it, through any number of reconnects.
        client.publish(message).await?;
        println!("the server has {reading}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // Says goodbye; what was published before is delivered before.
    client.disconnect().await;
    Ok(())
}
