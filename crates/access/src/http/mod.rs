//! What a web service says of connections, publications and subscriptions. What is sent and answered stands in the
//! README of this crate.
//!
//! A question is a POST of one JSON object; an answer has status 200 and another. Everything else but 401 and 403, which
//! are refusals, is a failure, and the configured answer is given; after five failures in a row the service is left alone
//! for a second, then two, up to a minute.

mod answer;
mod cache;
mod circuit;
mod counters;
mod question;
mod service;

pub use answer::{Allowed, Answer, By, Refusal, Trouble, Verdict, WhenDown};
pub use counters::ServiceCounters;
pub use question::{Question, Who};
pub use service::{Service, ServiceSettings, Ticket};
