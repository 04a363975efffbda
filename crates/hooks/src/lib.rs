//! Hooks: where a program, or a few lines of configuration, decide who may connect to an MQTT server and what may flow.
//! A broker and a proxy call the same ones.
//!
//! A hook implements the traits it has a use for: [`Accept`], [`Authenticate`], [`Method`], [`Admit`], [`Authorize`],
//! [`Transform`], [`Observe`]. [`Hooks`] has them in order and says how their verdicts combine. A hook that must ask
//! somebody else answers [`Later`]. A [`Plugin`] is a named set of hooks with settings of its own.
//!
//! ```
//! use std::sync::Arc;
//! use mqway_hooks::{Authorize, Client, Denial, Hooks, Later, Message, Verdict};
//!
//! /// Nobody but its owner publishes below `devices/NAME`.
//! struct Owners;
//!
//! impl Authorize for Owners {
//!     fn name(&self) -> &str {
//!         "owners"
//!     }
//!
//!     fn publish(&self, client: &mut Client, message: &Message<'_>, _: Later<'_>) -> Verdict {
//!         let device = message.topic().strip_prefix("devices/").and_then(|rest| rest.split('/').next());
//!         match device {
//!             Some(device) if *device != *client.client_id => {
//!                 Verdict::Deny(Denial::not_authorized("owners: another's device"))
//!             }
//!             _ => Verdict::Pass,
//!         }
//!     }
//! }
//!
//! let mut hooks = Hooks::new();
//! hooks.add_authorize(Arc::new(Owners));
//! ```
//!
//! # Phases
//!
//! See [`Phase`]; each is the one of a row that users of earlier systems know by the names on the left.
//!
//! | earlier name | phase |
//! |---|---|
//! | OnAccept | [`Accept`](Phase::Accept) |
//! | AuthConnect, OnConnect, OnBasicAuth | [`Authenticate`](Phase::Authenticate) |
//! | OnEnhancedAuth, OnReAuth | [`Exchange`](Phase::Exchange) |
//! | | [`Admit`](Phase::Admit), [`Refused`](Phase::Refused) |
//! | Connect, OnConnected | [`Connected`](Phase::Connected) |
//! | OnSessionCreated, OnSessionResumed, OnSessionTerminated | [`SessionCreated`](Phase::SessionCreated), [`SessionResumed`](Phase::SessionResumed), [`SessionTerminated`](Phase::SessionTerminated) |
//! | AuthSubscribe, OnSubscribe | [`Subscribe`](Phase::Subscribe) |
//! | Subscribe, OnSubscribed | [`Subscribed`](Phase::Subscribed) |
//! | OnUnsubscribe; Unsubscribe, OnUnsubscribed | [`Unsubscribe`](Phase::Unsubscribe); [`Unsubscribed`](Phase::Unsubscribed) |
//! | AuthPublish, OnMsgArrived | [`Publish`](Phase::Publish) |
//! | Publish | [`Published`](Phase::Published) |
//! | OnDeliver | [`Deliver`](Phase::Deliver) |
//! | OnDelivered, OnAcked | [`Delivered`](Phase::Delivered), [`Acknowledged`](Phase::Acknowledged) |
//! | OnMsgDropped | [`Dropped`](Phase::Dropped) |
//! | OnWillPublish, OnWillPublished | [`Will`](Phase::Will), [`WillPublished`](Phase::WillPublished) |
//! | Disconnect, OnClose, OnClosed | [`Disconnected`](Phase::Disconnected) |
//! | OnStop | [`Stop`](Phase::Stop) |
//!
//! A proxy has no sessions, and no wills to publish: hooks hear from it what the upstream's CONNACK says of a session, and
//! nothing of [`SessionTerminated`](Phase::SessionTerminated), [`Will`](Phase::Will) and
//! [`WillPublished`](Phase::WillPublished). The example `recorder` of the package `mqway` tells of every phase as it comes.

#![forbid(unsafe_code)]

mod allowance;
mod client;
mod event;
mod gates;
mod hook;
mod hooks;
mod later;
mod login;
mod memo;
mod message;
mod phase;
mod plugin;
mod rehearsal;
mod subscription;
#[cfg(test)]
mod tests;
mod verdict;

pub use allowance::{Allowance, Held};
pub use client::{Client, Standing};
pub use event::{By, Event};
pub use gates::Gates;
pub use hook::{Accept, Admit, Authenticate, Authorize, Exchange, Method, Observe, Step, Transform};
pub use hooks::{Dialogue, Hooks, Outcome, Progress, Refusals, RefusedPublish, RefusedWill, Unanswered};
pub use later::{Answer, Answers, Later, Ticket, Waiting};
pub use login::{Changes, Login};
pub use memo::{Epoch, Known};
pub use message::Message;
pub use mqway_transport::facts;
pub use phase::{Phase, Phases};
pub use plugin::{Plugin, PluginError, Server, SessionInfo, Setup};
pub use rehearsal::Rehearsal;
pub use subscription::{Filter, Subscription};
pub use verdict::{Denial, Verdict};
