//! Share-nothing workers that move bytes between sockets and an I/O-free core.
//!
//! A [`Core`] holds all of a program's protocol state and knows no socket, clock or thread. The engine calls it
//! with what happened ([`Core::opened`], [`Core::data`], [`Core::ended`], [`Core::closed`], [`Core::timer`],
//! [`Core::mail`]) and hands it an [`Io`], on which the core says what is to be done: send, pause, finish,
//! close, dial, set a timer, write to another worker. Everything a core sends during a tick is gathered per
//! connection and written once, when the tick ends.
//!
//! Two shells drive the same core. [`Engine`] runs one per worker thread on real sockets (mio, edge triggered);
//! [`sim::Sim`] runs any number of them in memory, with a virtual clock and a seed.
//!
//! ```
//! use mqway_engine::{Bind, CloseCode, Config, ConnId, Core, Engine, Io, Listener, Origin, Why};
//!
//! /// Sends back whatever comes.
//! struct Echo;
//!
//! impl Core for Echo {
//!     type Mail = ();
//!     fn opened(&mut self, _: &mut Io<()>, _: ConnId, _: Origin) {}
//!     fn data(&mut self, io: &mut Io<()>, conn: ConnId, bytes: &mut [u8]) -> usize {
//!         io.send(conn, bytes);
//!         bytes.len()
//!     }
//!     fn ended(&mut self, io: &mut Io<()>, conn: ConnId) {
//!         io.finish(conn, CloseCode::NORMAL);
//!     }
//!     fn closed(&mut self, _: &mut Io<()>, _: ConnId, _: &Why) {}
//! }
//!
//! let listener = Listener::new(Bind::tcp("127.0.0.1", 0));
//! let engine = Engine::start(Config::default(), vec![listener], |_worker| Echo).unwrap();
//! println!("echoing at {}", engine.addresses()[0]);
//! engine.stop(std::time::Duration::from_secs(1));
//! engine.join();
//! ```

#![forbid(unsafe_code)]

mod admission;
mod alarm;
mod blob;
mod buffers;
mod conn;
mod core;
mod counters;
mod dial;
mod driver;
mod engine;
mod io;
mod listener;
mod mailbox;
mod resolver;
pub mod sim;
mod slots;
mod socket;
mod table;
mod timers;
mod waiting;
mod worker;

pub use crate::core::{ConnId, Core, Origin, Why};
pub use blob::Blob;
pub use counters::{Counters, Snapshot};
pub use dial::{Dial, Target};
pub use engine::{Config, Engine, Limits, Poster, StartError};
pub use io::Io;
pub use listener::{Bind, Bound, Listener, ListenerId};
pub use mqway_transport::websocket::CloseCode;
pub use slots::Slots;
