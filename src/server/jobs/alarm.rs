//! The one timer: sleeps until a time of the wall clock, and wakes too when that clock is set, so that neither a step nor a
//! suspended machine makes a run early, late or lost.

use std::io;

use jiff::Timestamp;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::net::unix::pipe::Receiver;

/// A timer of the wall clock: a descriptor that is read like a pipe.
#[derive(Debug)]
pub(super) struct Alarm(Receiver);

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self(Receiver::from_owned_fd_unchecked(fd)?))
    }

    /// Returns at `time`, or earlier when the clock is set. May be dropped while it waits.
    pub(super) async fn until(&self, time: Timestamp) -> io::Result<()> {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        // A time of zero would disarm it; what is long past rings at once all the same.
        let seconds = time.as_second().max(1);
        let value = Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanosecond().max(0).into() };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(&self.0, flags, &Itimerspec { it_interval: zero, it_value: value })?;
        loop {
            self.0.readable().await?;
            match self.0.try_read(&mut [0; 8]) {
                Ok(_) => return Ok(()),
                // The clock was set: whoever waits looks at it anew.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::CANCELED.raw_os_error()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_rings_at_its_time_and_can_be_set_anew() {
        let alarm = Alarm::new().unwrap();
        for _ in 0..2 {
            let far = alarm.until(Timestamp::now() + Duration::from_secs(1000));
            assert!(tokio::time::timeout(Duration::from_millis(20), far).await.is_err());
            let time = Timestamp::now() + Duration::from_millis(50);
            alarm.until(time).await.unwrap();
            assert!(Timestamp::now() >= time);
            alarm.until(Timestamp::now() - Duration::from_secs(5)).await.unwrap();
        }
    }
}
