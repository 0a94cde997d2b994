//! The rules of a sync group, pure: its virtual routers are master together or not at all.
//!
//! - A group becomes master when the down timers of *all* its members have run out: each would be master by
//!   itself. So a living master that outranks it on one LAN keeps it away from all of them, and where two
//!   nodes outrank each other (A on LAN 1, B on LAN 2) the one that is master stays it: nothing ever moves
//!   back and forth.
//! - A master whose one member is outranked, stalls, faults or leaves does the same with all of them.
//! - Two such groups can be master at once (a healed partition, two starts in one instant). The first advert
//!   ends it, but where adverts cross, both give way. `Rivalry` sees to it that one stays, or comes back
//!   first.

use super::machine::{Input, Kind, State as Vrrp};
use crate::base::time::{Time, earlier};
use std::time::Duration;

/// Once one member's successor was heard, those of the others must follow: they move in one go.
const FOLLOW: Duration = Duration::from_millis(250);

/// The state of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Some member does not take part yet, or any more, without a fault.
    Init,
    /// Some member is in FAULT, so none takes part.
    Fault,
    /// None is master.
    Backup,
    /// All are.
    Master,
}

impl State {
    /// The state of a group with these members: their states, and whether they are in FAULT. While they
    /// change in turn it is still, or already, the lesser one.
    pub fn of(members: impl Iterator<Item = (Kind, bool)>) -> Self {
        let state = |(kind, fault)| match kind {
            _ if fault => State::Fault,
            Kind::Init => State::Init,
            Kind::Backup => State::Backup,
            Kind::Master => State::Master,
        };
        let lesser = |a, b| match (a, b) {
            (State::Fault, _) | (_, State::Fault) => State::Fault,
            (State::Init, _) | (_, State::Init) => State::Init,
            (State::Backup, _) | (_, State::Backup) => State::Backup,
            (State::Master, State::Master) => State::Master,
        };
        members.map(state).reduce(lesser).unwrap_or(State::Init)
    }
}

/// When the down timers of all have run out; `None` if somebody does not take part.
pub fn takeover_at<'a>(members: impl Iterator<Item = &'a Vrrp>) -> Option<Time> {
    let mut at = None;
    for m in members {
        match m {
            Vrrp::Init => return None,
            Vrrp::Backup { down_at, .. } => at = at.max(Some(*down_at)),
            Vrrp::Master { .. } | Vrrp::Soliciting(_) => {}
        }
    }
    at
}

/// What happens to the other masters of a group when `input` made one of them give up.
pub fn passed_on(input: Input) -> Input {
    match input {
        Input::Leave | Input::Fault | Input::Stall => input,
        _ => Input::Yield,
    }
}

/// When those that wait for their successors let go, together: `each` says when it would by itself, if it
/// heard of its own. `None`: nobody did.
pub fn release_at(each: impl Iterator<Item = Option<Time>>) -> Option<Time> {
    let (mut first, mut last, mut overdue) = (None, None, false);
    for t in each {
        overdue |= t.is_none();
        first = earlier(first, t);
        last = last.max(t);
    }
    let latest = first? + FOLLOW;
    last.filter(|t| !overdue && *t < latest).or(Some(latest))
}

/// What keeps two groups that outrank each other on different LANs from giving way to each other at once,
/// again and again. Both nodes agree on one member, the leader, and whoever outranks the other there has the
/// say.
#[derive(Clone, Debug, Default)]
pub struct Rivalry {
    /// As master: when a rival was first told, on the leader's LAN, to give way.
    told: Option<Time>,
    /// When this group gave way, and whether the rival outranks its leader.
    gave_way: Option<(Time, bool)>,
}

impl Rivalry {
    /// A master heard a rival: whether it stays one although that outranks it. Not on the leader's LAN, and
    /// only for half an interval after the rival was told there: if it goes on it has not heard that.
    pub fn stays(
        &mut self,
        now: Time,
        leader: bool,
        outranked: bool,
        interval: Duration,
        min_down_interval: Duration,
    ) -> bool {
        if leader && !outranked {
            self.told = self.told.filter(|t| now.since(*t) < min_down_interval).or(Some(now));
        }
        !leader && outranked && self.told.is_some_and(|t| now.since(t) < interval / 2)
    }

    /// The group gives way because a member is outranked.
    pub fn gives_way(&mut self, now: Time, leader: bool) {
        self.gave_way = Some((now, leader));
    }

    /// The group became master.
    pub fn takes_over(&mut self) {
        self.gave_way = None;
    }

    /// A member that is not master heard an advert. If that outranks it and is none of those that crossed
    /// ours, somebody is master. A lower one says nothing yet: keepalived's on the other LANs may be a
    /// millisecond behind.
    pub fn heard(&mut self, now: Time, leader: bool, outranked: bool, interval: Duration) {
        match &mut self.gave_way {
            Some((at, lost)) if now.since(*at) < interval / 4 => *lost |= leader && outranked,
            _ if outranked => self.gave_way = None,
            _ => {}
        }
    }

    /// How much longer than its down timers the group waits. After both gave way in silence, both timers
    /// began at once. `range` is the largest skew time: with that much more nobody meets a peer that does not
    /// know this rule (keepalived), and with twice that the loser does not meet the winner, whatever their
    /// priorities are.
    pub fn wait(&self, range: Duration) -> Duration {
        match self.gave_way {
            None => Duration::ZERO,
            Some((_, false)) => range,
            Some((_, true)) => range * 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    const I: Duration = Duration::from_secs(1);

    #[test]
    fn the_state_is_that_of_the_least_member() {
        use Kind::{Backup, Init, Master};
        for (members, state) in [
            ([(Master, false), (Master, false)], State::Master),
            ([(Master, false), (Backup, false)], State::Backup),
            ([(Init, false), (Backup, false)], State::Init),
            ([(Init, false), (Init, true)], State::Fault),
            ([(Init, true), (Master, false)], State::Fault),
        ] {
            assert_eq!(State::of(members.into_iter()), state, "{members:?}");
        }
    }

    #[test]
    fn the_last_down_timer_counts_and_who_does_not_take_part_prevents_it() {
        let backup = |t| Vrrp::Backup {
            down_at: at(t),
            interval: I,
            told: None,
            preempt_at: None,
            master: None,
            lower: None,
        };
        let master = Vrrp::Master { advert_at: at(9), answered: None };
        assert_eq!(takeover_at([backup(3), backup(5), backup(4)].iter()), Some(at(5)));
        assert_eq!(takeover_at([backup(3), Vrrp::Init].iter()), None);
        assert_eq!(takeover_at([master, backup(3)].iter()), Some(at(3)));
    }

    #[test]
    fn all_let_go_together_when_the_last_successor_came_or_is_overdue() {
        let at_ = |each: &[Option<Time>]| release_at(each.iter().copied());
        assert_eq!(at_(&[None, None]), None);
        assert_eq!(at_(&[Some(at(100))]), Some(at(100)));
        assert_eq!(at_(&[Some(at(100)), Some(at(150)), Some(at(90))]), Some(at(150)));
        assert_eq!(at_(&[Some(at(100)), None]), Some(at(350)));
        assert_eq!(at_(&[Some(at(100)), Some(at(900))]), Some(at(350)));
    }

    #[test]
    fn who_leads_stays_for_half_an_interval_and_not_for_ever() {
        let mut r = Rivalry::default();
        assert!(!r.stays(at(0), false, true, I, 3 * I), "the other LAN came first");
        assert!(!r.stays(at(0), true, false, I, 3 * I));
        assert!(r.stays(at(1), false, true, I, 3 * I));
        assert!(!r.stays(at(1), true, true, I, 3 * I), "outranked where it counts");
        // It was told once and goes on: it does not hear us.
        assert!(!r.stays(at(1000), true, false, I, 3 * I));
        assert!(!r.stays(at(1001), false, true, I, 3 * I));
        // Another rival, later.
        assert!(!r.stays(at(5000), true, false, I, 3 * I));
        assert!(r.stays(at(5001), false, true, I, 3 * I));
    }

    #[test]
    fn after_both_gave_way_the_leader_comes_first_and_after_an_election_nobody_waits() {
        let (mut winner, mut loser, mut preempted) =
            (Rivalry::default(), Rivalry::default(), Rivalry::default());
        winner.gives_way(at(0), false);
        winner.heard(at(1), true, false, I);
        loser.gives_way(at(0), false);
        loser.heard(at(1), true, true, I);
        assert_eq!((winner.wait(I), loser.wait(I)), (I, 2 * I));
        preempted.gives_way(at(0), true);
        assert_eq!(preempted.wait(I), 2 * I);
        preempted.heard(at(900), true, false, I);
        assert_eq!(preempted.wait(I), 2 * I);
        preempted.heard(at(900), false, true, I);
        assert_eq!(preempted.wait(I), Duration::ZERO);
    }
}
