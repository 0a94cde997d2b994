//! A HAProxy without a master process, the fallback: one that refuses `-W` and `-S` is started without them,
//! and one that takes them but has no master (a wrapper may strip them) is known by answering for itself,
//! with the pid that was started, on vipd's own stats socket. It is watched, held over a crash and stopped as
//! any other, but it cannot be reloaded: USR2 would end it.

use super::Supervisor;
use std::time::Duration;

/// A master that does not answer for so long may not be there.
const NO_MASTER: Duration = Duration::from_secs(1);

/// What is known of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plain {
    /// It refuses master mode, and is started without.
    pub(super) bare: bool,
    /// The one that runs has no master.
    pub(super) plain: bool,
    /// The last question of a start went to the process itself.
    asked: bool,
    /// The last process that was started, until it has answered.
    starting: Option<u32>,
    told: bool,
}

impl Plain {
    /// A process was started.
    pub(super) fn started(&mut self, pid: u32) {
        (self.plain, self.asked, self.starting) = (self.bare, false, Some(pid));
    }

    /// While it starts: whom to ask next. In doubt the two in turn, the master first.
    pub(super) fn ask_directly(&mut self, age: Duration, adopting: bool) -> bool {
        let in_doubt = adopting || age >= NO_MASTER;
        let direct = self.plain || (in_doubt && !self.asked);
        self.asked = direct;
        direct
    }

    /// It answers; `itself`: the very process that was started. Returns whether that is news.
    pub(super) fn answered(&mut self, itself: bool) -> bool {
        (self.plain, self.starting) = (itself, None);
        let news = itself && !self.told;
        self.told = itself;
        news
    }
}

impl Supervisor {
    /// Process `pid` printed its usage, so it does not know an option. Only the options of master mode are
    /// newer than HAProxy itself: the next start is without them (or with them again). The usage may arrive
    /// after the process has ended.
    pub(super) fn usage_printed(&mut self, pid: u32) {
        if self.plain.starting == Some(pid) {
            self.plain.starting = None;
            self.plain.bare = !self.plain.bare;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MS, PROBE, SPAWN, World};
    use super::super::{Action, Event, Input, State};
    use super::*;
    use crate::base::exit::Exit;

    const OFTEN: &str = "keep_listeners = no";

    impl World {
        /// Questions that nobody answers, until one goes to the process itself; how long that took.
        fn until_direct(&mut self) -> Duration {
            let start = self.now;
            loop {
                let out = self.due();
                if out.contains(&Action::Probe { direct: true }) {
                    return self.now.since(start);
                }
                assert!(!out.contains(&Action::Kill { pid: 11 }), "never asked");
                self.step(Input::ProbeFailed);
            }
        }
    }

    #[test]
    fn one_whose_master_does_not_answer_is_asked_itself() {
        let mut w = World::new(OFTEN);
        w.due();
        w.spawned(11);
        let after = w.until_direct();
        assert!((NO_MASTER..NO_MASTER + 50 * MS).contains(&after), "{after:?}");
        // A worker of somebody else's that has the socket.
        w.answer(99, 99);
        assert!(matches!(w.h.state(), State::Starting { .. }));
        w.until_direct();
        w.answer(11, 11);
        assert!(matches!(w.h.state(), State::Ready { worker: 11, .. }));
        assert_eq!(w.events.last(), Some(&Event::Plain));
        assert_eq!(w.due(), [Action::Probe { direct: true }]);
        assert_eq!(w.step(Input::Reload), [], "USR2 would end it");
        assert_eq!(w.events.last(), Some(&Event::ReloadPlain));
        // The next one is given the chance to have a master, and the news is told once.
        w.exited(11, Exit::Signal(9));
        assert_eq!(w.due(), [SPAWN]);
        w.spawned(21);
        assert_eq!(w.due(), [PROBE]);
        w.step(Input::ProbeFailed);
        w.until_direct();
        w.answer(21, 21);
        assert_eq!(w.events.iter().filter(|e| **e == Event::Plain).count(), 1);
    }

    #[test]
    fn one_that_refuses_master_mode_is_started_without() {
        let mut w = World::new(OFTEN);
        for bare in [false, true] {
            assert_eq!(w.due(), [Action::Spawn { bare, copy: false }]);
            w.spawned(11);
            w.step(Input::UsagePrinted { pid: 11 });
            w.exited(11, Exit::Code(1));
        }
        assert_eq!(w.due(), [SPAWN], "that was not the reason");
        w.spawned(12);
        w.exited(12, Exit::Code(1));
        w.step(Input::UsagePrinted { pid: 12 }); // its last words come after its end
        assert_eq!(w.due(), [Action::Spawn { bare: true, copy: false }]);
        w.spawned(13);
        assert_eq!(w.due(), [Action::Probe { direct: true }], "there is no master to be asked");
        w.answer(13, 13);
        assert_eq!(w.events.last(), Some(&Event::Plain));
        w.step(Input::UsagePrinted { pid: 13 });
        w.exited(13, Exit::Signal(9));
        assert_eq!(w.due(), [Action::Spawn { bare: true, copy: false }], "said by somebody else");
    }

    #[test]
    fn one_that_dies_too_often_is_started_less_and_less() {
        let mut w = World::ready(OFTEN).0;
        let mut pauses = Vec::new();
        for _ in 0..16 {
            w.now += Duration::from_secs(1);
            w.exited(11, Exit::Signal(9));
            let died = w.now;
            assert_eq!(w.due(), [SPAWN]);
            pauses.push(w.now.since(died).as_millis());
            w.spawned(11);
            w.due();
            w.answer(11, 12);
        }
        let (at_once, later) = pauses.split_at(7);
        assert_eq!(at_once, [0; 7]);
        assert_eq!(later, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    }

    #[test]
    fn what_is_left_of_one_that_died_is_killed_when_the_next_one_is_well() {
        let mut w = World::ready(OFTEN).0;
        w.exited(11, Exit::Signal(9));
        w.spawned(21);
        w.due();
        assert_eq!(w.answer(21, 22), [], "it may still finish what is in flight");
        w.due();
        assert_eq!(w.answer(21, 22), [Action::KillRemains]);
        w.due();
        assert_eq!(w.answer(21, 22), []);
    }

    #[test]
    fn one_that_is_adopted_is_asked_in_both_ways_at_once() {
        let mut w = World::new(OFTEN);
        w.step(Input::Adopted { pid: 11, copy: false });
        assert!(w.until_direct() < 20 * MS);
        w.answer(11, 11);
        assert!(matches!(w.h.state(), State::Ready { .. }));
    }
}
