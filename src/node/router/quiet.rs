//! Limits of a virtual router's log lines.

use crate::base::time::Time;
use crate::vrrp::machine::Note;
use crate::vrrp::packet::Discard;
use std::time::Duration;

/// One log line per reason, until an accepted advert and a while have passed.
#[derive(Clone, Debug, Default)]
pub struct Quiet {
    /// When each was said last; there is room from the first on.
    last: Option<Box<[Option<Time>; SLOTS]>>,
    accepted: Option<Time>,
}

/// Slot of `Quiet` for oddities of accepted adverts.
pub const ODD: usize = Discard::ALL.len();
/// The first slot of those for what a machine noted.
const NOTES: usize = ODD + 1;
const SLOTS: usize = NOTES + 4;

const QUIET: Duration = Duration::from_secs(10);

impl Quiet {
    /// An advert was accepted: only that resets the limits, so a forger cannot.
    pub fn accept(&mut self, now: Time) {
        self.accepted = Some(now);
    }

    /// Whether to say what a machine noted. With the right password it can be made to note 100,000 things a
    /// second.
    pub fn may_note(&mut self, note: &Note, now: Time) -> bool {
        let slot = match note {
            Note::HigherAdvert(_) => return true, // it is backup then
            Note::LowerAdvert(_) => 0,
            Note::MasterGone(_) => 1,
            Note::StrangerGone(_) => 2,
            Note::SecondOwner(_) => 3,
        };
        self.may_say(NOTES + slot, now)
    }

    /// Whether to say it.
    pub fn may_say(&mut self, slot: usize, now: Time) -> bool {
        let accepted = self.accepted;
        let all = self.last.get_or_insert_with(|| Box::new([None; SLOTS]));
        let Some(last) = all.get_mut(slot) else { return false };
        let say = last.is_none_or(|t| now.since(t) >= QUIET && accepted.is_some_and(|a| a > t));
        if say {
            *last = Some(now);
        }
        say
    }
}
