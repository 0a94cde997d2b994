//! `realtime_priority`: taken up, given back, and given up for a while by a vipd that uses the CPU without a
//! pause.

use crate::base::log;
use crate::base::time::Time;
use crate::report::words;
use crate::sys::schedule;
use std::time::Duration;

/// How long vipd goes without realtime priority after it used the CPU without a pause.
const STEP_DOWN: Duration = Duration::from_secs(10);

/// The priority and when it is taken up again.
#[derive(Debug)]
pub(super) struct Realtime {
    /// 1 to 99; 0: none.
    priority: u8,
    resume_at: Option<Time>,
}

impl Realtime {
    /// Not taken up yet.
    pub(super) fn new(priority: u8) -> Self {
        Realtime { priority, resume_at: None }
    }

    /// When `tick` has something to do.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.resume_at
    }

    /// Takes it up again when the pause is over.
    pub(super) fn tick(&mut self, now: Time) {
        if self.resume_at.is_some_and(|t| now >= t) {
            self.take();
        }
    }

    /// Takes it up.
    pub(super) fn take(&mut self) {
        self.resume_at = None;
        if self.priority == 0 {
            return;
        }
        if let Err(e) = schedule::realtime(self.priority) {
            log::warn!("realtime_priority: {} (CAP_SYS_NICE is missing)", words::errno(e as i32));
        }
    }

    /// Another configuration.
    pub(super) fn reconfigure(&mut self, priority: u8) {
        if priority != self.priority {
            self.priority = priority;
            let _ = schedule::normal();
            self.take();
        }
    }

    /// The kernel has taken it away after half a second without a pause: for a while HAProxy and others come
    /// first.
    pub(super) fn stepped_down(&mut self, now: Time) {
        self.resume_at = Some(now + STEP_DOWN);
        log::warn!("busy without a pause: no realtime priority for {} s", STEP_DOWN.as_secs());
    }
}
