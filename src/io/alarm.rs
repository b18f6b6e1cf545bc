//! A wait that is exact to some microseconds, for what must happen at a moment and not merely by then.
//!
//! The timer wheel is coarse, and so is the wait for events, in milliseconds; that is right for deadlines. An
//! alarm is a timer of the kernel (timerfd) that the reactor watches like a socket: one system call each
//! time it is set.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use super::clock::Moment;
use super::error::Result;
use super::reactor::{Direction, Reactor};

/// One timer of the kernel.
pub struct Alarm {
    fd: OwnedFd,
    key: usize,
    reactor: Rc<Reactor>,
    /// What the kernel's clock said when the core's clock stood at 0.
    zero: Duration,
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Alarm({:?})", self.fd)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.reactor.forget(self.key);
    }
}

impl Alarm {
    /// An alarm that is not set. Fails if the kernel gives no descriptor.
    pub fn new(reactor: &Rc<Reactor>) -> io::Result<Alarm> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let key = reactor.watch(&fd)?;
        let now = clock_gettime(ClockId::Monotonic);
        let elapsed = Duration::from_micros(reactor.clock().tick().0);
        let zero = Duration::try_from(now).map_err(io::Error::other)?.saturating_sub(elapsed);
        Ok(Alarm { fd, key, reactor: Rc::clone(reactor), zero })
    }

    /// Waits until `moment` has come; not at all if it has. Fails only after an abort, or if the kernel
    /// refuses the timer. One wait at a time.
    pub async fn until(&self, moment: Moment) -> Result<()> {
        let due = self.zero + Duration::from_micros(moment.0);
        let it_value = Timespec::try_from(due).map_err(|_| Errno::INVAL)?;
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: once, it_value };
        // An event of an earlier setting may still be on its way: then it is set again.
        while self.reactor.clock().now() < moment {
            self.reactor.clear(self.key, Direction::Read, true);
            timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &setting)?;
            poll_fn(|cx| self.reactor.poll_ready(self.key, Direction::Read, cx)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::cores::Core;
    use super::*;
    use crate::io::Error;

    #[test]
    fn an_alarm_rings_at_its_moment_and_not_before() {
        let core = Core::new(0, 0, 0).unwrap();
        let (inner, late) = (Rc::clone(&core), Rc::new(Cell::new([u64::MAX; 3])));
        let told = Rc::clone(&late);
        let waits = core.spawn(async move {
            let alarm = Alarm::new(&inner.reactor).unwrap();
            let mut late = [0; 3];
            for (late, wait) in late.iter_mut().zip([0, 700, 3_300]) {
                let moment = inner.reactor.clock().now() + Duration::from_micros(wait);
                alarm.until(moment).await.unwrap();
                *late = inner.reactor.clock().now().0.checked_sub(moment.0).unwrap();
            }
            told.set(late);
        });
        core.run(&flume::bounded::<()>(1).1, |()| {}).unwrap();
        drop(waits);
        // How late it may be is up to a busy machine; never, would be a defect.
        assert_ne!(late.get(), [u64::MAX; 3]);
    }

    #[test]
    fn an_abort_ends_the_wait() {
        let core = Core::new(0, 0, 0).unwrap();
        let (waiting, aborting) = (Rc::clone(&core), Rc::clone(&core));
        let waits = core.spawn(async move {
            let alarm = Alarm::new(&waiting.reactor).unwrap();
            let error = alarm.until(Moment(u64::MAX / 4)).await.unwrap_err();
            assert_eq!(error, Error::Aborted);
        });
        let aborts = core.spawn(async move { aborting.reactor.abort() });
        core.run(&flume::bounded::<()>(1).1, |()| {}).unwrap();
        assert!(waits.is_finished() && aborts.is_finished());
    }
}
