//! A relay that writes down every byte of both directions.

use super::dial_tcp;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Bytes of one connection so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    pub to_server: Vec<u8>,
    pub to_client: Vec<u8>,
}

/// Listens, and relays each connection to a target. Its threads end with the connections; the listener's with the test.
pub struct Recorder {
    address: SocketAddr,
    conversations: Arc<Mutex<Vec<Arc<Mutex<Conversation>>>>>,
    /// Directions that have not ended.
    open: Arc<AtomicUsize>,
}

impl Recorder {
    pub fn start(target: SocketAddr) -> Recorder {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let conversations = Arc::new(Mutex::new(Vec::new()));
        let open = Arc::new(AtomicUsize::new(0));
        let (all, open_too) = (Arc::clone(&conversations), Arc::clone(&open));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let conversation = Arc::new(Mutex::new(Conversation::default()));
                all.lock().unwrap().push(Arc::clone(&conversation));
                relay(client, dial_tcp(target), &conversation, &open_too);
            }
        });
        Recorder { address, conversations, open }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether nobody will say anything more.
    pub fn all_have_ended(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    /// Copies of all conversations, in the order that they began.
    pub fn conversations(&self) -> Vec<Conversation> {
        self.conversations.lock().unwrap().iter().map(|c| c.lock().unwrap().clone()).collect()
    }
}

fn relay(
    client: TcpStream,
    server: TcpStream,
    conversation: &Arc<Mutex<Conversation>>,
    open: &Arc<AtomicUsize>,
) {
    let _ = client.set_nodelay(true);
    let _ = server.set_read_timeout(None);
    let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { return };
    let (there, back) = (Arc::clone(conversation), Arc::clone(conversation));
    open.fetch_add(2, Ordering::Relaxed);
    let (open_there, open_back) = (Arc::clone(open), Arc::clone(open));
    thread::spawn(move || {
        copy(client, server, |bytes| there.lock().unwrap().to_server.extend(bytes));
        open_there.fetch_sub(1, Ordering::Relaxed);
    });
    thread::spawn(move || {
        copy(server_too, client_too, |bytes| back.lock().unwrap().to_client.extend(bytes));
        open_back.fetch_sub(1, Ordering::Relaxed);
    });
}

fn copy(mut from: TcpStream, mut to: TcpStream, note: impl Fn(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        note(&buffer[..n]);
        if to.write_all(&buffer[..n]).is_err() {
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
