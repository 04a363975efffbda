//! A timer finer than the system's wait for events, where that counts in milliseconds.
//!
//! On Linux `epoll_wait` rounds up to the next millisecond. That is fine for deadlines, and far too coarse for whoever
//! has something to do twenty thousand times a second. kqueue counts in nanoseconds anyway.

#[cfg(target_os = "linux")]
pub(crate) use linux::Alarm;
#[cfg(not(target_os = "linux"))]
pub(crate) use none::Alarm;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    /// A `timerfd` among the events. It is never read: setting it again takes its event back.
    pub(crate) struct Alarm {
        timer: OwnedFd,
        set_for: Option<Duration>,
    }

    impl Alarm {
        /// Makes one, whose event has that token.
        pub fn new(registry: &Registry, token: Token) -> io::Result<Alarm> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Alarm { timer, set_for: None })
        }

        /// Has the event come at `at`, which is `wait` from now. False if it cannot.
        pub fn set(&mut self, at: Duration, wait: Duration) -> bool {
            if self.set_for == Some(at) {
                return true;
            }
            // Zero would turn it off.
            let it_value =
                Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().max(1).into() };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            let done = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).is_ok();
            self.set_for = done.then_some(at);
            done
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod none {
    use std::io;
    use std::time::Duration;

    use mio::{Registry, Token};

    /// There is no need for one.
    pub(crate) struct Alarm;

    impl Alarm {
        pub fn new(_: &Registry, _: Token) -> io::Result<Alarm> {
            Ok(Alarm)
        }

        pub fn set(&mut self, _: Duration, _: Duration) -> bool {
            false
        }
    }
}
