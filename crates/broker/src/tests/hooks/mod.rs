//! Hooks: that each is called where it is to be, and that what it says counts.

mod by_topic;
mod enhanced;
mod entry;
mod login;
mod owners;
mod phases;
mod refusals;
mod script;
mod waiting;
