//! A network of the test's own, between a client and a server: it carries, delays, falls silent, and cuts.

use std::time::Duration;

use mqway_client::Endpoint;
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
}

impl Link {
    pub async fn to(server: u16) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (weather, seen) = watch::channel(Weather::Fine);
        tokio::spawn(accept(listener, server, seen));
        Link { weather, port }
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(format!("tcp://127.0.0.1:{}", self.port))
    }

    pub fn becomes(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn accept(listener: TcpListener, server: u16, mut weather: watch::Receiver<Weather>) {
    // Until the link's owner is gone.
    while weather.has_changed().is_ok() {
        let Ok(client) = carried(&mut weather, listener.accept()).await else { continue };
        let (client, _) = client.unwrap();
        let server = TcpStream::connect(("127.0.0.1", server));
        if let Ok(server) = server.await {
            tokio::spawn(connection(client, server, weather.clone()));
        }
    }
}

async fn connection(client: TcpStream, server: TcpStream, weather: watch::Receiver<Weather>) {
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // The first end of either direction ends both.
    tokio::select! {
        () = pump(from_client, to_server, weather.clone()) => {}
        () = pump(from_server, to_client, weather.clone()) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>) {
    let mut piece = [0; PIECE];
    while let Ok(Ok(len @ 1..)) = carried(&mut weather, from.read(&mut piece)).await {
        let seen = *weather.borrow();
        if let Weather::Slow(time) = seen {
            tokio::time::sleep(time).await;
        }
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
