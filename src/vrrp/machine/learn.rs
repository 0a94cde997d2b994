//! The interval that a backup learns from a master's adverts (RFC 9568 §6.4.2, Active_Adver_Interval), within
//! bounds.
//!
//! The RFC has every single advert change it at once. One forged frame could then make a backup wait for two
//! minutes (40.95 s × 3), or take over within 30 ms (0.01 s × 3). So a longer interval counts up to a
//! multiple of our own, and a shorter one from the second advert in a row that the same master sends with it.

use super::Machine;
use crate::config::Version;
use std::net::IpAddr;
use std::time::Duration;

/// A longer interval counts as at most so many times our own,
const LONGEST: u32 = 2;
/// or as this, whichever is more: the default interval.
const AT_LEAST: Duration = Duration::from_secs(1);

/// What an accepted advert said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its source.
    pub src: IpAddr,
    /// The interval in it.
    pub interval: Duration,
}

impl Machine {
    /// The interval to count by, after an advert that said `new`. `last`: the interval counted by so far, and
    /// what the advert before it said.
    pub(super) fn learned(&self, last: Option<(Duration, Told)>, new: Option<Told>) -> Duration {
        let own = self.params.advert_int;
        let Some(new) = new.filter(|_| self.params.version == Version::V3) else { return own };
        let counted = last.map_or(own, |(interval, _)| interval);
        if new.interval >= counted {
            return new.interval.min((own * LONGEST).max(AT_LEAST));
        }
        match last {
            Some((_, told)) if told.src == new.src => new.interval.max(told.interval).min(counted),
            _ => counted,
        }
    }
}
