//! rumqttc.
#![forbid(unsafe_code)]

use std::error::Error;

use mqway_bench_clients::{IN_FLIGHT, Measure, QUEUE, TOPIC, Task};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let task = Task::from_arguments()?;
    let qos = rumqttc::qos(task.qos).map_err(|_| "QoS 0, 1 or 2")?;
    let mut options = MqttOptions::new("rumqttc", "127.0.0.1", task.port);
    options.set_inflight(IN_FLIGHT);
    let (client, events) = AsyncClient::new(options, QUEUE);
    // On the runtime's own queue, where most programs do their work.
    let work = async move {
        let done = match task.publishes {
            true => publish(client, events, &task, qos).await,
            false => receive(client, events, &task, qos).await,
        };
        done.map_err(|error| error.to_string())
    };
    Ok(tokio::spawn(work).await??)
}

/// The acknowledgements are counted as they come; which message they are of the library does not tell.
async fn publish(
    client: AsyncClient,
    mut events: EventLoop,
    task: &Task,
    qos: QoS,
) -> Result<(), Box<dyn Error>> {
    while !matches!(events.poll().await?, Event::Incoming(Packet::ConnAck(_))) {}
    let measure = Measure::start();
    let (count, size) = (task.count, task.size);
    let publisher = tokio::spawn(async move {
        let payload = vec![b'x'; size];
        for _ in 0..count {
            client.publish(TOPIC, qos, false, payload.clone()).await?;
        }
        Ok::<_, rumqttc::ClientError>(client)
    });
    let mut done = 0;
    while done < count {
        done += u64::from(match events.poll().await? {
            Event::Outgoing(Outgoing::Publish(_)) => qos == QoS::AtMostOnce,
            Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => true,
            _ => false,
        });
    }
    publisher.await??.disconnect().await?;
    while !matches!(events.poll().await, Ok(Event::Outgoing(Outgoing::Disconnect)) | Err(_)) {}
    measure.finish(count);
    Ok(())
}

async fn receive(
    client: AsyncClient,
    mut events: EventLoop,
    task: &Task,
    qos: QoS,
) -> Result<(), Box<dyn Error>> {
    client.subscribe(TOPIC, qos).await?;
    while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
    let measure = Measure::start();
    let mut received = 0;
    while received < task.count {
        received += u64::from(matches!(events.poll().await?, Event::Incoming(Packet::Publish(_))));
    }
    measure.finish(received);
    Ok(())
}
