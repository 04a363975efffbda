//! The server's side of a connection and of a session, without I/O.
//!
//! A connection begins with CONNECT. [`Hello::read`] says what it asks for and is granted, or why not;
//! [`Hello::connack`] is the answer, [`Hello::receiver`] and [`Hello::sender`] the two halves of what dies with the
//! connection. What outlives it is the [`Session`], which [`Session::connected`] is given the sender and keeps what is
//! under way in both directions, the will, and when it ends.
//!
//! From then on each packet goes to [`Receiver::take`], which does all that the specification leaves no choice about,
//! and gives back as an [`Event`] what the server has to decide.

mod answer;
mod auth;
mod fault;
mod hello;
mod receiver;
mod sender;
mod session;
mod terms;
mod will;

pub use answer::{Refusal, acknowledge, answer_to_faulty, explain, farewell, suback, unsuback};
pub use auth::{Exchange, Turn};
pub use fault::Fault;
pub use hello::{Granted, Hello};
pub use receiver::{Acknowledged, Event, Incoming, Receiver};
pub use sender::{Copy, NotSent, Sender};
pub use session::{Due, Session};
pub use terms::Terms;
pub use will::Will;

/// A session expiry interval that never passes. [5.0 §3.1.2.11.2]
pub const NEVER: u32 = u32::MAX;
