//! Handing over on command.

use crate::base::time::Time;
use crate::node::Node;
use crate::vrrp::machine::Input;
use crate::vrrp::timers;
use std::time::Duration;

/// How late the advert of the slowest backup may be, including the network.
const MARGIN: Duration = Duration::from_millis(250);

impl Node {
    /// `vipd resign`: of one virtual router, of a group, or of all. Of a group all resign. Returns those that
    /// were told to; `Event::Resigned` says what became of each. `None`: nothing has that name.
    pub fn resign(
        &mut self,
        name: Option<&str>,
        no_preempt_for: Duration,
        force: bool,
        now: Time,
    ) -> Option<Vec<usize>> {
        let here = self.which(&|i| !self.routers[i].retired);
        let all = match name {
            None => here,
            Some(name) => match here.into_iter().find(|i| self.routers[*i].cfg.name == name) {
                Some(i) => self.group_or_self(i),
                None => self.groups.iter().find(|g| g.name == name)?.members.clone(),
            },
        };
        let wait = |i: usize| self.resign_wait(&self.group_or_self(i));
        let waits: Vec<Duration> = all.iter().map(|i| wait(*i)).collect();
        for (i, wait) in all.iter().zip(waits) {
            self.step(*i, now, Input::Resign { wait, no_preempt_for, force });
        }
        Some(all)
    }

    /// How long to wait for a successor: the skew time of a backup of priority 1. Members of a group wait
    /// alike.
    pub(crate) fn resign_wait(&self, all: &[usize]) -> Duration {
        let skew = |i: &usize| {
            let p = &self.routers[*i].machine.params;
            timers::skew(p.version, 1, p.advert_int)
        };
        all.iter().map(skew).max().unwrap_or_default() + MARGIN
    }
}
