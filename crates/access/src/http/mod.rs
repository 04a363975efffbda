//! Authentication and authorisation by a web service.
//!
//! A question is a POST of one JSON object; an answer has status 200 and another. Questions have these members, all of
//! them always, `null` where nothing is known:
//!
//! | `question` | members besides |
//! |---|---|
//! | `connect` | `client_id`, `user_name`, `address`, `transport`, `version`, `password` or, if it is no text, `password_base64`, `certificate` (SHA-256 in hexadecimal) |
//! | `publish` | `client_id`, `user_name`, `address`, `transport`, `topic`, `qos`, `retain` |
//! | `subscribe` | `client_id`, `user_name`, `address`, `transport`, `filter`, `qos` |
//!
//! Answers have `result`, which is `allow`, `deny` or `ignore` (somebody else decides), and may have
//!
//! | member | with | means |
//! |---|---|---|
//! | `reason` | `deny` | a sentence for the log, and for the client where it may be told |
//! | `user_name`, `client_id` | `connect`, `allow` | who it is; what the client said if absent |
//! | `groups`, `publish`, `subscribe` | `connect`, `allow` | groups it belongs to; topic filters of all that it may do |
//! | `expires_at` | `connect`, `allow` | when the connection ends, in seconds since 1970 |
//! | `qos` | `subscribe`, `allow` | the highest quality of service |
//! | `cache` | any | for how many seconds the answer holds; 0: ask again |
//!
//! Status 401 or 403 is `deny`, whatever the body. Everything else is a failure, and the configured answer is given;
//! after five failures in a row the service is left alone for a second, then two, up to a minute.

mod answer;
mod cache;
mod circuit;
mod question;
mod service;

pub use answer::{Allowed, Answer, By, Trouble, Verdict, WhenDown};
pub use question::{Question, Who};
pub use service::{Service, ServiceCounters, ServiceSettings, Ticket};
