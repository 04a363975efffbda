//! Does what it is asked to, and loses no order: neither when the network goes, nor when the program is stopped and
//! started again. Two programs can ask and answer each other like this:
//!
//! ```sh
//! cargo run --example worker -- tcp://localhost:1883
//! mqway rr tcp://localhost:1883 -t orders/1 -m 'two coffees'
//! ```

use std::time::Duration;

use mqway_client::{Client, Endpoint, Incoming, Options, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "tcp://localhost:1883".to_owned());
    let options = Options {
        // By this name, and for this time, the server keeps what comes while the program is away.
        client_id: "worker".to_owned(),
        session_expiry: Some(Duration::from_secs(24 * 60 * 60)),
        // An order counts as received once it is carried out.
        manual_acknowledgement: true,
        // No more than this many at once.
        receive_maximum: 10,
        ..Options::default()
    };
    let client = Client::start(Endpoint::new(url), options);
    let mut events = client.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            eprintln!("{event}");
        }
    });

    let mut orders = client.subscribe("orders/+", QoS::AtLeastOnce).await?;
    eprintln!("waiting for orders");
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            order = orders.next() => match order {
                Some(order) => carry_out(&client, order).await?,
                None => break,
            },
            _ = &mut interrupted => break,
        }
    }
    // The end of the program, not of the subscription: that would end if `orders` were dropped first.
    client.disconnect().await;
    Ok(())
}

async fn carry_out(client: &Client, order: Incoming) -> Result<(), Box<dyn std::error::Error>> {
    let what = String::from_utf8_lossy(&order.payload).into_owned();
    println!("{}: {what}", order.topic);
    // Whoever made it a request gets a response.
    if let Some(response) = order.response(format!("{what}: done")) {
        client.publish(response).await?;
    }
    if let Some(token) = order.token {
        client.acknowledge(token);
    }
    Ok(())
}
