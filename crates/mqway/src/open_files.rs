//! Room for many connections: each is an open file, and systems allow few unless asked.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for as many open files as the administrator permits; services often start with 1,024.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => log::debug!("up to {:?} open files", limit.maximum),
        Err(error) => log::warn!("no more than {:?} open files, and so connections: {error}", limit.current),
    }
}
