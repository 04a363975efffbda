//! Threads for what takes too long for a worker, such as hashing a password.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Something to do on another thread.
pub type Job = Box<dyn FnOnce() + Send>;

/// A few threads and a bounded queue before them. They end with it, once what waits is done.
pub struct Pool {
    jobs: SyncSender<Job>,
}

impl Pool {
    /// As many threads, and as many jobs that may wait for them. The threads are named `name`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(name: &str, threads: usize, most_waiting: usize) -> std::io::Result<Pool> {
        let (jobs, queue) = sync_channel(most_waiting);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads.max(1) {
            let queue = queue.clone();
            thread::Builder::new().name(name.to_owned()).spawn(move || work(&queue))?;
        }
        Ok(Pool { jobs })
    }

    /// Has something done, as soon as a thread is free.
    ///
    /// # Errors
    /// If as many jobs wait as may; the job is given back.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
        })
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        // One waits for the next job, the others for the lock.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            log::error!("a job of {:?} panicked", thread::current().name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn what_is_too_much_is_given_back_and_a_panic_stops_nobody() {
        let pool = Pool::start("test", 1, 1).unwrap();
        let (gate, closed) = sync_channel::<()>(0);
        let (done, results) = channel();
        let report = done.clone();
        pool.submit(Box::new(move || {
            closed.recv().unwrap();
            report.send(1).unwrap();
            panic!("on purpose");
        }))
        .ok()
        .unwrap();
        // The first is taken off the queue at some time; then one more may wait.
        let mut waiting: Job = Box::new(move || done.send(2).unwrap());
        while let Err(back) = pool.submit(waiting) {
            waiting = back;
            thread::yield_now();
        }
        assert!(pool.submit(Box::new(|| ())).is_err());
        gate.send(()).unwrap();
        assert_eq!([results.recv().unwrap(), results.recv().unwrap()], [1, 2]);
    }
}
