//! Another master with our VRID, as a master hears it, pure: split brain, and for how long.
//!
//! A single advert is none: one may be under way when the mastership changes. Two within N × I are.

use super::packet::Discard;
use crate::base::time::Time;
use std::net::IpAddr;
use std::time::Duration;

/// One that advertises although we are master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other {
    /// Source of its adverts.
    pub src: IpAddr,
    /// What it says its priority is, 1 to 255.
    pub priority: u8,
    /// Why its adverts are refused; `None`: they are not.
    pub refused: Option<Discard>,
}

/// What a virtual router knows of foreign masters.
#[derive(Clone, Debug, Default)]
pub struct Foreign {
    /// The last one that was heard, however long ago.
    pub last: Option<Other>,
    /// For how long, from its first to its last advert; all periods together.
    pub total: Duration,
    period: Option<Period>,
    /// The last advert of a second master, unless it is over.
    contested: Option<Time>,
}

#[derive(Clone, Debug)]
struct Period {
    since: Time,
    heard: Time,
    /// When it counts as gone.
    until: Time,
    /// More than one advert.
    told: bool,
    /// Of more than one source.
    several: bool,
}

impl Foreign {
    /// An advert of another master; `min_down_interval` is N × I. Whether a period of two masters begins with
    /// it.
    pub fn heard(&mut self, now: Time, min_down_interval: Duration, other: Other) -> bool {
        let before = self.last.replace(other);
        let until = now + min_down_interval;
        let Some(p) = &mut self.period else {
            self.period = Some(Period { since: now, heard: now, until, told: false, several: false });
            return false;
        };
        p.several |= before.is_some_and(|b| b.src != other.src);
        self.total += now.since(p.heard);
        (p.heard, p.until) = (now, until);
        self.contested = Some(now);
        !std::mem::replace(&mut p.told, true)
    }

    /// The other master, while there are two.
    pub fn present(&self) -> Option<Other> {
        self.last.filter(|_| self.period.as_ref().is_some_and(|p| p.told))
    }

    /// Whether it is over when `src` gives way: no other source advertised in this period.
    pub fn is_alone(&self, src: IpAddr) -> bool {
        self.last.is_some_and(|last| last.src == src) && self.period.as_ref().is_none_or(|p| !p.several)
    }

    /// When it counts as gone.
    pub fn deadline(&self) -> Option<Time> {
        self.period.as_ref().map(|p| p.until)
    }

    /// When a second master was heard last, unless one of the two has given way since.
    pub fn contested(&self) -> Option<Time> {
        self.contested
    }

    /// It has been silent for long enough, or one of the two has given way: then it is `over`. Who the other
    /// was, and how long there were two, if a period of two masters ends with it.
    pub fn end(&mut self, over: bool) -> Option<(Other, Duration)> {
        if over {
            self.contested = None;
        }
        let other = self.present();
        let p = self.period.take()?;
        Some((other?, p.heard.since(p.since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: Other =
        Other { src: IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 30, 117)), priority: 90, refused: None };

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn one_advert_is_no_second_master() {
        let mut f = Foreign::default();
        assert!(!f.heard(at(0), Duration::from_secs(3), OTHER));
        assert_eq!((f.present(), f.deadline()), (None, Some(at(3000))));
        assert_eq!(f.end(false), None);
        assert_eq!((f.deadline(), f.total), (None, Duration::ZERO));
        assert_eq!(f.last, Some(OTHER));
    }

    #[test]
    fn of_two_that_advertise_one_that_gives_way_ends_nothing() {
        let (mut f, wait) = (Foreign::default(), Duration::from_secs(3));
        f.heard(at(0), wait, OTHER);
        assert!(f.is_alone(OTHER.src));
        f.heard(at(1000), wait, Other { src: IpAddr::from([192, 168, 30, 10]), ..OTHER });
        f.heard(at(2000), wait, OTHER);
        assert!(!f.is_alone(OTHER.src));
        f.end(false);
        f.heard(at(60_000), wait, OTHER);
        assert!(f.is_alone(OTHER.src), "another period");
    }

    #[test]
    fn the_time_between_adverts_counts_and_the_silence_between_periods_does_not() {
        let (mut f, min_down_interval) = (Foreign::default(), Duration::from_secs(3));
        let told: Vec<bool> = (0..5).map(|i| f.heard(at(i * 1000), min_down_interval, OTHER)).collect();
        assert_eq!(told, [false, true, false, false, false]);
        assert_eq!(f.present(), Some(OTHER));
        assert_eq!(f.deadline(), Some(at(7000)));
        assert_eq!(f.end(false), Some((OTHER, Duration::from_secs(4))));
        assert_eq!((f.present(), f.end(false)), (None, None));
        assert!(!f.heard(at(60_000), min_down_interval, OTHER));
        assert!(f.heard(at(61_500), min_down_interval, OTHER));
        assert_eq!(f.total, Duration::from_millis(5500));
    }
}
