//! Prints every message that matches a filter, until Ctrl-C.
//!
//! ```sh
//! cargo run --example subscribe -- tcp://localhost:1883 'sensors/#'
//! ```

use mqway_client::{Client, Endpoint, Options, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "tcp://localhost:1883".to_owned());
    let filter = arguments.next().unwrap_or_else(|| "sensors/#".to_owned());

    let client = Client::start(Endpoint::new(url), Options::default());
    let mut events = client.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            eprintln!("{event}");
        }
    });

    // It is made again after each reconnect where the server has forgotten it.
    let mut messages = client.subscribe(&filter, QoS::AtLeastOnce).await?;
    eprintln!("subscribed to {filter}");
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => println!("{}: {}", message.topic, String::from_utf8_lossy(&message.payload)),
                None => break,
            },
            _ = &mut interrupted => break,
        }
    }
    client.disconnect().await;
    Ok(())
}
