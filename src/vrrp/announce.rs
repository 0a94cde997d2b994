//! When a master announces its addresses (`garp_*`): a schedule as data, pure.
//!
//! A burst is `repeat` rounds, `garp_interval` apart; a round announces every address once. The first round
//! of a new master is not in here: each address is announced as soon as the kernel has it.

use crate::base::time::{Time, earlier};
use crate::config::Garp;
use std::time::Duration;

/// When a new master with a virtual MAC announces once more (with `use_vmac` a hand-over has no grace).
const SOON: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(100)];

/// The schedule of one virtual router.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Announcer {
    /// Next round of the running burst, and how many are left.
    round: Option<(Time, u32)>,
    /// Second burst: when, and of how many rounds.
    second: Option<(Time, u32)>,
    /// Next periodic burst.
    refresh: Option<Time>,
    /// When the last burst on account of somebody else's advert began.
    last_reannounce: Option<Time>,
    /// Further rounds of a new master with a virtual MAC.
    soon: [Option<Time>; 2],
    /// With the round that is due, whoever else has the addresses is asked to say so: the first one of the
    /// second burst, when the old master has left, and of each refresh.
    pub probes: bool,
}

impl Announcer {
    /// Became master: the first round goes out with the addresses, the rest is planned here.
    /// With `vmac` the switches have a port to learn, so it is repeated soon: the first round may have gone
    /// out beside the old master's last frames.
    pub fn start(&mut self, now: Time, garp: &Garp, vmac: bool) {
        *self = Announcer {
            round: later_rounds(now + garp.interval, garp.master_repeat.saturating_sub(1)),
            second: burst_at(now, garp.master_delay, garp.master_repeat),
            refresh: (!garp.master_refresh.is_zero()).then(|| now + garp.master_refresh),
            last_reannounce: None,
            soon: if vmac { SOON.map(|d| Some(now + d)) } else { [None; 2] },
            probes: false,
        };
    }

    /// Another schedule of a master: bursts that are under way or planned go on.
    pub fn retune(&mut self, now: Time, garp: &Garp) {
        self.refresh = (!garp.master_refresh.is_zero()).then(|| now + garp.master_refresh);
    }

    /// No longer master.
    pub fn stop(&mut self) {
        *self = Announcer::default();
    }

    /// Somebody else announced our addresses: a burst at once, and another after `garp_lower_prio_delay`.
    pub fn reannounce(&mut self, now: Time, garp: &Garp) {
        if garp.lower_prio_repeat == 0 {
            return;
        }
        // A burst that is under way does the same; under a stream of such adverts bursts do not pile up.
        let busy = self.last_reannounce.is_some_and(|t| now < t + garp.interval * garp.lower_prio_repeat);
        if !busy {
            self.round = later_rounds(now, garp.lower_prio_repeat);
            self.last_reannounce = Some(now);
        }
        if self.second.is_none() {
            self.second = burst_at(now, garp.lower_prio_delay, garp.lower_prio_repeat);
        }
    }

    /// The addresses have another MAC, or are behind another port of the switches: a burst at once.
    pub fn anew(&mut self, now: Time, garp: &Garp) {
        self.round = later_rounds(now, garp.master_repeat);
    }

    /// The next time a round is due.
    pub fn deadline(&self) -> Option<Time> {
        let round = self.round.map(|(t, _)| t);
        let [a, b] = self.soon;
        let round = earlier(round, earlier(a, b));
        earlier(round, earlier(self.second.map(|(t, _)| t), self.refresh))
    }

    /// Whether a round is due; plans the next.
    pub fn take_due(&mut self, now: Time, garp: &Garp) -> bool {
        let mut due = false;
        self.probes = false;
        for at in &mut self.soon {
            due |= at.take_if(|t| now >= *t).is_some();
        }
        if let Some((at, left)) = self.round.filter(|(at, _)| now >= *at) {
            due = true;
            // From the deadline, so rounds do not drift, but never a volley to catch up.
            let next = at + garp.interval;
            self.round =
                later_rounds(if next > now { next } else { now + garp.interval }, left.saturating_sub(1));
        }
        if let Some((_, rounds)) = self.second.filter(|(at, _)| now >= *at) {
            (due, self.probes) = (true, true);
            self.second = None;
            self.round = later_rounds(now + garp.interval, rounds.saturating_sub(1));
        }
        if let Some(at) = self.refresh.filter(|at| now >= *at) {
            (due, self.probes) = (true, true);
            let next = at + garp.master_refresh;
            self.refresh = Some(if next > now { next } else { now + garp.master_refresh });
            if self.round.is_none() {
                self.round = later_rounds(now + garp.interval, garp.master_refresh_repeat.saturating_sub(1));
            }
        }
        due
    }
}

fn later_rounds(at: Time, rounds: u32) -> Option<(Time, u32)> {
    (rounds > 0).then_some((at, rounds))
}

fn burst_at(now: Time, delay: Duration, rounds: u32) -> Option<(Time, u32)> {
    (!delay.is_zero() && rounds > 0).then(|| (now + delay, rounds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn garp() -> Garp {
        Garp {
            master_delay: Duration::from_secs(5),
            master_repeat: 5,
            master_refresh: Duration::from_secs(60),
            master_refresh_repeat: 1,
            lower_prio_delay: Duration::from_secs(5),
            lower_prio_repeat: 5,
            interval: Duration::from_millis(100),
        }
    }

    /// Runs the schedule to `until` and returns the rounds' times in milliseconds.
    fn rounds(a: &mut Announcer, g: &Garp, until: u64) -> Vec<u64> {
        let mut at = Vec::new();
        while let Some(t) = a.deadline().filter(|t| t.as_nanos() <= until * 1_000_000) {
            if a.take_due(t, g) {
                at.push(t.as_nanos() / 1_000_000);
            }
        }
        at
    }

    #[test]
    fn a_new_master_announces_five_times_twice_and_then_each_minute() {
        let (mut a, g) = (Announcer::default(), garp());
        a.start(Time::ZERO, &g, false);
        assert_eq!(
            rounds(&mut a, &g, 200_000),
            [100, 200, 300, 400, 5000, 5100, 5200, 5300, 5400, 60_000, 120_000, 180_000]
        );
        a.stop();
        assert_eq!(a.deadline(), None);
    }

    #[test]
    fn a_virtual_mac_is_announced_again_soon() {
        let (mut a, mut g) = (Announcer::default(), garp());
        (g.master_delay, g.master_refresh, g.master_repeat) = (Duration::ZERO, Duration::ZERO, 1);
        a.start(Time::ZERO, &g, true);
        assert_eq!(rounds(&mut a, &g, 10_000), [20, 100]);
        a.start(Time::ZERO, &garp(), true);
        assert_eq!(rounds(&mut a, &garp(), 1000), [20, 100, 200, 300, 400]);
    }

    #[test]
    fn zero_switches_the_second_burst_and_the_refresh_off() {
        let (mut a, mut g) = (Announcer::default(), garp());
        (g.master_delay, g.master_refresh, g.master_repeat) = (Duration::ZERO, Duration::ZERO, 1);
        a.start(Time::ZERO, &g, false);
        assert_eq!(a.deadline(), None);
    }

    #[test]
    fn a_stream_of_lower_adverts_does_not_pile_bursts_up() {
        let (mut a, mut g) = (Announcer::default(), garp());
        (g.master_delay, g.master_refresh, g.master_repeat) = (Duration::ZERO, Duration::ZERO, 1);
        a.start(Time::ZERO, &g, false);
        let mut sent = Vec::new();
        for ms in 0..10_000u64 {
            let now = Time::from_nanos(ms * 1_000_000);
            a.reannounce(now, &g);
            if a.take_due(now, &g) {
                sent.push(ms);
            }
        }
        assert_eq!(sent[..6], [0, 100, 200, 300, 400, 500]);
        assert!(sent.len() <= 102, "{} rounds in ten seconds", sent.len());
    }

    #[test]
    fn after_a_stall_one_round_goes_out_not_all_that_were_missed() {
        let (mut a, g) = (Announcer::default(), garp());
        a.start(Time::ZERO, &g, false);
        let late = Time::from_nanos(1_000_000_000);
        assert!(a.take_due(late, &g));
        assert_eq!(a.deadline(), Some(late + g.interval));
    }
}
