//! New parameters for a machine that runs: a reload moves nobody's mastership.

use super::{Action, Machine, State};
use crate::base::time::Time;
use crate::config::Version;
use crate::vrrp::timers;
use std::time::Duration;

/// What a reload may change of a running machine. Its priority comes by `Input::Priority`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// See `Params`.
    pub advert_int: Duration,
    /// See `Params`.
    pub down_timer_adverts: u32,
    /// See `Params`.
    pub preempt: bool,
    /// See `Params`.
    pub preempt_delay: Duration,
}

impl Machine {
    /// Takes other parameters up; not while it solicits.
    ///
    /// A master tells of another interval at once, as the next advert may be later than the backups wait,
    /// which count by the old one. A backup's down timer only ever becomes longer here: in version 2 the
    /// other node's adverts are refused until it has the same interval, and that is what the time is for.
    pub fn retune(&mut self, now: Time, t: Tuning, out: &mut Vec<Action>) {
        let old = (self.params.advert_int, self.params.down_timer_adverts);
        let wait = self.promised.unwrap_or(self.params.wait());
        let p = &mut self.params;
        (p.advert_int, p.down_timer_adverts) = (t.advert_int, t.down_timer_adverts);
        (p.preempt, p.preempt_delay) = (t.preempt, t.preempt_delay);
        let (version, advert_int) = (p.version, t.advert_int);
        if let State::Backup { interval, told, .. } = self.state
            && told.is_none_or(|t| version == Version::V2 || t.interval != interval)
        {
            // What was bounded by our own interval has another bound now.
            let learned = self.learned(None, told);
            if let State::Backup { interval, .. } = &mut self.state {
                *interval = learned;
            }
        }
        if !t.preempt {
            self.follow_lower(now);
        }
        if old == (t.advert_int, t.down_timer_adverts) {
            return;
        }
        let interval = match &self.state {
            State::Backup { interval, .. } => *interval,
            _ => advert_int,
        };
        let down = now + self.down_interval(interval);
        let next = timers::next_on_grid(now, self.params.epoch, advert_int);
        match &mut self.state {
            State::Init | State::Soliciting(_) => {}
            State::Backup { down_at, .. } => *down_at = (*down_at).max(down),
            // Once more before the old interval is over: one lost advert must not cost the mastership.
            State::Master { advert_at, .. } => {
                *advert_at = next.min(now + old.0);
                self.promised = Some(wait);
                out.push(Action::Advert(self.params.priority));
            }
        }
    }

    /// An advert went out: backups wait by our interval from now on. Returns whether that is new.
    pub fn advertised(&mut self) -> bool {
        self.promised.take().is_some()
    }
}
