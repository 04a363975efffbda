//! The broker under the engine's simulator, with the client of the session crate at the far ends.

mod behaviour;
mod hooks;
mod limits;
mod noise;
mod patience;
mod retained;
mod statements;
mod storm;
mod world;
