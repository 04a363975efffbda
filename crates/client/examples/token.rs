//! Connects with a token that expires: it is read anew before each attempt, from a file that somebody else keeps fresh.
//! An HTTP request to an identity provider would stand in the same place.
//!
//! ```sh
//! cargo run --example token -- wss://broker.example.com/mqtt /run/secrets/token
//! ```

use std::time::Duration;

use mqway_client::{Client, Endpoint, Message, Options, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: token URL FILE".into());
    };
    let provider = move |failures| {
        let (url, file) = (url.clone(), file.clone());
        async move {
            if failures > 0 {
                eprintln!("reading the token again");
            }
            // Without a token the server refuses, and this is asked again a little later.
            let token = std::fs::read_to_string(&file).unwrap_or_default();
            Endpoint::new(url).header("Authorization", format!("Bearer {}", token.trim()))
        }
    };
    let client = Client::start_with(provider, Options::default());
    let mut events = client.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            eprintln!("{event}");
        }
    });

    let mut echoes = client.subscribe("echo", QoS::AtLeastOnce).await?;
    let mut every = tokio::time::interval(Duration::from_millis(200));
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            _ = every.tick() => client.enqueue(Message::new("echo", "still here")).await.map(drop)?,
            Some(echo) = echoes.next() => println!("{}", String::from_utf8_lossy(&echo.payload)),
            _ = &mut interrupted => break,
        }
    }
    client.disconnect().await;
    Ok(())
}
