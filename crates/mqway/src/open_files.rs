//! Room for many connections: each is an open file, and systems allow few unless asked.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for as many open files as the administrator permits; services often start with 1,024. Warns if that is not
/// enough for the number of `clients` that somebody counts on, each of which takes so many.
pub fn raise_limit(clients: Option<usize>, files_per_client: u64) {
    let Some(files) = raise() else { return };
    let room = files / files_per_client;
    if clients.is_some_and(|clients| room < clients as u64) {
        log::warn!("room for {room} clients at the most: the system allows {files} open files (ulimit -n)");
    }
}

/// The same for a program that needs `wanted` open files, and no more.
pub fn raise_for(wanted: u64) {
    if let Some(files) = raise().filter(|files| *files < wanted) {
        log::warn!("{wanted} open files are needed and the system allows {files}: raise `ulimit -n`");
    }
}

/// Raises the limit; `None` is: there is none.
fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            log::warn!("cannot ask for more open files: {error}");
            limit.current
        }
    }
}
