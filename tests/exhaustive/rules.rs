//! What must hold in every state.
//!
//! - *Nothing answers on two nodes*, if the later one took over by its timer, or resumed, and had heard the
//!   last advert of the other one. What is excused: a hand-over (make before break), adverts that were lost
//!   or are under way, and a master that is preempted while it does not hear.
//! - *The lease* ends 6 ticks before the others' patience does, counted from the last advert that left; of
//!   one that hands over, a second from now.
//! - *The takeover*: nobody begins to advertise within N × I of an advert that it has to respect.
//! - *Letting go*: who is neither master nor handing over has no VIP when its turn ends, and does not answer.
//! - *Resuming*: who is started again while its lease runs, and has heard nobody, goes on as master.
//! - *At rest*: when nothing goes wrong any more, the better node is master, and nobody else answers.

use crate::model::{Advert, INTERVAL, State, TICK};
use std::time::Duration;
use vipd::base::time::Time;
use vipd::vrrp::machine::Why;

/// N × I.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known of one machine.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its adverts, and when the last one of a priority above 0 left.
    sent: u32,
    left: Option<Time>,
    /// The mastership that it belongs to.
    term: Option<Time>,
    /// The last advert that it has to respect: when it came, and its number.
    heard: Option<(Time, u32)>,
    /// How that was when it took over.
    took_over: Option<(Why, u32)>,
}

impl Facts {
    /// Another process, another priority, no link: what was heard does not bind.
    pub fn forget(&mut self) {
        self.heard = None;
    }
}

impl State {
    fn facts(&mut self, h: usize) -> &mut Facts {
        &mut std::rc::Rc::make_mut(&mut self.hosts[h]).facts
    }

    /// An advert has come.
    pub fn heard(&mut self, to: usize, a: &Advert) {
        let Some(node) = &self.hosts[to].node else { return };
        let r = &node.routers[0];
        let binds = (a.priority, a.from) >= (r.machine.params.priority, to);
        let now = self.now;
        let f = self.facts(to);
        if a.priority == 0 {
            f.heard = None;
        } else if binds {
            f.heard = Some((now, a.id));
        }
    }

    /// An advert leaves. Returns its number.
    pub fn advertises(&mut self, h: usize, priority: u8) -> u32 {
        let now = self.now;
        let Some(r) = self.hosts[h].node.as_ref().map(|n| &n.routers[0]) else { return 0 };
        let (since, why, master) = (r.since, r.why, r.is_master());
        let f = self.facts(h);
        f.sent += 1;
        let id = f.sent;
        if priority == 0 {
            return id;
        }
        let goes_on = f.term == Some(since) && f.left.is_some_and(|t| now < t + PATIENCE);
        let slept = master && f.term == Some(since) && !goes_on;
        let bound = f.heard.is_some_and(|(at, _)| at < now && now < at + PATIENCE);
        f.left = Some(now);
        if master && !goes_on {
            f.term = Some(since);
            f.took_over = Some((why, f.heard.map_or(0, |(_, id)| id)));
            if bound {
                self.fail(h, "takes over although it has heard the other one");
            }
            if slept {
                self.fail(h, "advertises although its lease has ended");
            }
        }
        id
    }

    /// Whether the lease ends before the others take over. `starts`: of a process that may resume by it.
    pub fn lease_ends_in_time(&mut self, h: usize, starts: bool) {
        let host = &self.hosts[h];
        let (Some(node), Some(end), Some(_)) = (&host.node, host.lease, host.vip) else { return };
        let r = &node.routers[0];
        let handing = r.hold.is_some() || r.machine.is_soliciting();
        let handing = handing.then(|| self.now + INTERVAL);
        let advert = host.facts.left.map(|t| t + PATIENCE - TICK * 6);
        let serves = r.is_master() || r.hold.is_some();
        // Worked out from the last advert, it may be a tick longer than by the kernel's clock.
        let slack = if starts { TICK } else { Duration::ZERO };
        if (serves || starts) && advert.max(handing).is_none_or(|bound| end > bound + slack) {
            self.fail(h, "has a lease that outlasts the patience of the other one");
        }
    }

    fn answers(&self, h: usize) -> bool {
        let host = &self.hosts[h];
        // 5 ticks late at the most.
        host.up && host.vip.is_some() && host.lease.is_some_and(|end| self.now < end + TICK * 5)
    }

    pub fn turn_ends(&mut self, h: usize) {
        let Some(r) = self.hosts[h].node.as_ref().map(|n| &n.routers[0]) else { return };
        if r.is_master() || r.hold.is_some() || r.may_resume {
            return;
        }
        if self.hosts[h].vip.is_some() {
            self.fail(h, "still has the VIP");
        }
        if self.hosts[h].lease.is_some_and(|end| self.now < end) {
            self.fail(h, "still answers for the VIP by its lease");
        }
    }

    pub fn nobody_answers_twice(&mut self) {
        if !self.answers(0) || !self.answers(1) {
            return;
        }
        for (h, y) in [(0, 1), (1, 0)] {
            let handing = |h: usize| {
                let node = self.hosts[h].node.as_ref();
                node.is_some_and(|n| n.routers[0].hold.is_some() || n.routers[0].machine.is_soliciting())
            };
            let (mine, theirs) = (&self.hosts[h].facts, &self.hosts[y].facts);
            let later = mine.term > theirs.term;
            let told = mine.took_over.is_some_and(|(why, id)| {
                id == theirs.sent && !matches!(why, Why::Preempted | Why::MasterLeft)
            });
            if later && told && !handing(h) && !handing(y) {
                self.fail(h, "took over although the other one answers, too");
            }
        }
    }

    /// Nothing goes wrong any more.
    pub fn at_rest(&mut self) {
        let rank = |h: usize| self.hosts[h].node.as_ref().map(|n| n.routers[0].machine.params.priority);
        let better = usize::from(rank(1) > rank(0));
        let masters = [self.is_master(0), self.is_master(1)];
        if !masters[better] || masters[1 - better] {
            self.fail(better, &format!("at rest: masters: {masters:?}"));
        }
        if !self.answers(better) || self.answers(1 - better) {
            self.fail(better, "at rest: not this one, or not only this one answers");
        }
    }
}
