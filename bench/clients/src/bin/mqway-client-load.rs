//! mqway-client.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::error::Error;

use mqway_bench_clients::{Measure, QUEUE, TOPIC, Task};
use mqway_client::{Client, ConnectionEvent, Endpoint, Message, Options, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let task = Task::from_arguments()?;
    let qos = QoS::from_u8(task.qos).ok_or("QoS 0, 1 or 2")?;
    let endpoint = Endpoint::new(format!("tcp://127.0.0.1:{}", task.port));
    let client = Client::start(endpoint, Options { queue: QUEUE, ..Options::default() });
    // On the runtime's own queue, where most programs do their work.
    let work = async move {
        let done = if task.publishes {
            publish(&client, &task, qos).await
        } else {
            receive(&client, &task, qos).await
        };
        done.map_err(|error| error.to_string())
    };
    Ok(tokio::spawn(work).await??)
}

/// Each message's acknowledgement is awaited, while up to [`QUEUE`] others are on their way.
async fn publish(client: &Client, task: &Task, qos: QoS) -> Result<(), Box<dyn Error>> {
    let mut events = client.events();
    while !matches!(events.next().await, Some(ConnectionEvent::Connected { .. }) | None) {}
    let measure = Measure::start();
    let payload = vec![b'x'; task.size];
    let mut deliveries = VecDeque::new();
    for _ in 0..task.count {
        if deliveries.len() == QUEUE
            && let Some(delivery) = deliveries.pop_front()
        {
            delivered(delivery).await?;
        }
        let message = Message { qos, ..Message::new(TOPIC, payload.clone()) };
        deliveries.push_back(client.enqueue(message).await?);
    }
    for delivery in deliveries {
        delivered(delivery).await?;
    }
    client.disconnect().await;
    measure.finish(task.count);
    Ok(())
}

async fn delivered(delivery: mqway_client::Delivery) -> Result<(), Box<dyn Error>> {
    delivery.await?;
    Ok(())
}

async fn receive(client: &Client, task: &Task, qos: QoS) -> Result<(), Box<dyn Error>> {
    let mut messages = client.subscribe(TOPIC, qos).await?;
    let measure = Measure::start();
    for _ in 0..task.count {
        messages.next().await.ok_or("the client has ended")?;
    }
    measure.finish(task.count);
    Ok(())
}
