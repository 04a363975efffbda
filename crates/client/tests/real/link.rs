//! A network of the test's own, between a client and a server: it carries, delays, falls silent, and cuts.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqway_client::Endpoint;
use mqway_codec::{Decoder, Packet, PacketId, QoS, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that are carried at once: so few that packets are cut in the middle.
const PIECE: usize = 301;

/// What becomes of bytes on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// They are carried.
    Fine,
    /// They are carried, each piece after this time.
    Slow(Duration),
    /// They are kept, and no connection is accepted: nobody hears of anything, not even of an end.
    Silent,
    /// They are thrown away with their connections, and so is every new one.
    Cut,
}

/// A link to one port of this machine.
pub struct Link {
    weather: watch::Sender<Weather>,
    port: u16,
    server: Arc<Mutex<Server>>,
}

/// What the server has sent of messages of QoS 2, over all connections of one client.
#[derive(Default)]
struct Server {
    /// The message of each identifier, and whether it was released since.
    sent: HashMap<PacketId, (String, Vec<u8>, bool)>,
    /// Topic and payload of those that were published once more although they had been released.
    begun_again: HashSet<(String, Vec<u8>)>,
}

impl Server {
    fn sends(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Publish(publish) if publish.qos == QoS::ExactlyOnce => {
                let Some(id) = publish.packet_id else { return };
                let (topic, payload) = (publish.topic.to_owned(), publish.payload.to_vec());
                let same = |(before, bytes, released): &(String, Vec<u8>, bool)| {
                    *released && *before == topic && *bytes == payload
                };
                if publish.dup && self.sent.get(&id).is_some_and(same) {
                    self.begun_again.insert((topic.clone(), payload.clone()));
                }
                self.sent.insert(id, (topic, payload, false));
            }
            Packet::Pubrel(pubrel) => {
                if let Some((_, _, released)) = self.sent.get_mut(&pubrel.packet_id) {
                    *released = true;
                }
            }
            _ => {}
        }
    }
}

impl Link {
    pub async fn to(server: u16) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (weather, seen) = watch::channel(Weather::Fine);
        let shared = Arc::<Mutex<Server>>::default();
        tokio::spawn(accept(listener, server, seen, shared.clone()));
        Link { weather, port, server: shared }
    }

    /// Whether the server has published this message once more after its PUBREL had gone over the link, which it must not,
    /// [MQTT-4.3.3-6], and mosquitto 2.0.11 does where a connection is cut while it repeats what the one before owed: the
    /// client then cannot know it from a new one.
    pub fn has_begun_again(&self, topic: &str, payload: &[u8]) -> bool {
        self.server.lock().unwrap().begun_again.contains(&(topic.to_owned(), payload.to_vec()))
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(format!("tcp://127.0.0.1:{}", self.port))
    }

    pub fn becomes(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn accept(
    listener: TcpListener,
    server: u16,
    mut weather: watch::Receiver<Weather>,
    watched: Arc<Mutex<Server>>,
) {
    // Until the link's owner is gone.
    while weather.has_changed().is_ok() {
        let Ok(client) = carried(&mut weather, listener.accept()).await else { continue };
        let (client, _) = client.unwrap();
        let server = TcpStream::connect(("127.0.0.1", server));
        if let Ok(server) = server.await {
            tokio::spawn(connection(client, server, weather.clone(), watched.clone()));
        }
    }
}

async fn connection(
    client: TcpStream,
    server: TcpStream,
    weather: watch::Receiver<Weather>,
    watched: Arc<Mutex<Server>>,
) {
    // All clients of these tests speak 5.0.
    let decoder = Decoder::with_version(Version::V5, usize::MAX);
    let mut unread = Vec::new();
    let watch = move |piece: &[u8]| {
        unread.extend_from_slice(piece);
        let mut at = 0;
        let mut server = watched.lock().unwrap();
        while let Ok(Some((packet, len))) = decoder.clone().next(&unread[at..]) {
            server.sends(&packet);
            at += len;
        }
        unread.drain(..at);
    };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // The first end of either direction ends both.
    tokio::select! {
        () = pump(from_client, to_server, weather.clone(), |_| ()) => {}
        () = pump(from_server, to_client, weather.clone(), watch) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    mut watch: impl FnMut(&[u8]),
) {
    let mut piece = [0; PIECE];
    while let Ok(Ok(len @ 1..)) = carried(&mut weather, from.read(&mut piece)).await {
        let seen = *weather.borrow();
        if let Weather::Slow(time) = seen {
            tokio::time::sleep(time).await;
        }
        watch(&piece[..len]);
        if !matches!(carried(&mut weather, to.write_all(&piece[..len])).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// What `work` gives, as soon as the weather lets it through; `Err` where it is cut off.
async fn carried<T>(weather: &mut watch::Receiver<Weather>, work: impl Future<Output = T>) -> Result<T, ()> {
    let cut = |weather: &Weather| *weather == Weather::Cut;
    let mut watched = weather.clone();
    let done = tokio::select! {
        done = work => done,
        _ = watched.wait_for(cut) => return Err(()),
    };
    let now = weather.wait_for(|weather| *weather != Weather::Silent).await.map_err(drop)?;
    if cut(&now) { Err(()) } else { Ok(done) }
}
