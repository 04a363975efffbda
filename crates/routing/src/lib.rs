#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cache;
mod key;
mod retained;
mod route;
mod subscriptions;
mod table;

pub use cache::{CacheCounters, Hint, RouteCache};
pub use retained::{RetainedCursor, RetainedIndex, Scan};
pub use route::{Route, Share, ShareId, Target};
pub use subscriptions::{Listed, ListingCursor, Stamp, SubscriptionIndex};
pub use table::Table;
