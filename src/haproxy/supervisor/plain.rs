//! A HAProxy without a master process, the fallback: one that refuses `-W` and `-S` is started without them, and
//! one that takes them but has no master (a wrapper may strip them) is known by answering for itself, with the pid
//! that was started, on vipd's own stats socket. It is watched, held over a crash and stopped as any other, but it
//! cannot be reloaded: USR2 would end it.

use super::{Event, State, Supervisor};
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
    told: bool,
}

impl Plain {
    /// A process was started.
    pub(super) fn started(&mut self) {
        (self.plain, self.asked) = (self.bare, false);
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
        self.plain = itself;
        let news = itself && !self.told;
        self.told = itself;
        news
    }
}

impl Supervisor {
    /// It printed its usage: it does not know an option. Next time without (or again with) master mode, which are
    /// the only ones of ours that are not as old as HAProxy itself.
    pub fn usage_printed(&mut self) {
        if matches!(self.state, State::Starting { .. } | State::Down { .. }) {
            self.plain.bare = !self.plain.bare;
        }
    }

    /// A reload is not possible: nobody would carry it out.
    pub(super) fn cannot_reload(&self, events: &mut Vec<Event>) -> bool {
        if self.plain.plain {
            events.push(Event::ReloadPlain);
        }
        self.plain.plain
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Action, Exit};
    use super::*;
    use crate::base::time::Time;
    use crate::config::schema;
    use crate::haproxy::show_info::Info;

    pub(in super::super) const MS: Duration = Duration::from_millis(1);

    /// A supervisor and its time.
    pub(in super::super) struct World {
        pub(in super::super) h: Supervisor,
        pub(in super::super) now: Time,
        pub(in super::super) events: Vec<Event>,
    }

    impl World {
        fn new() -> World {
            let cfg = schema::parse("[haproxy]\nkeep_listeners = no\n").ok().and_then(|(c, _)| c.haproxy);
            let now = Time::from_nanos(7_000_000_000);
            World { h: Supervisor::new(cfg.unwrap_or_else(|| panic!()), now), now, events: vec![] }
        }

        /// Started as `pid`, and answering as `worker`.
        pub(in super::super) fn ready(pid: u32, worker: u32) -> World {
            let mut w = World::new();
            assert_eq!(w.due(), [Action::Spawn { bare: false }]);
            w.step(|h, now, _, ev| h.spawned(pid, now, ev));
            w.due();
            w.answer(pid, worker);
            w
        }

        pub(in super::super) fn step(
            &mut self,
            f: impl FnOnce(&mut Supervisor, Time, &mut Vec<Action>, &mut Vec<Event>),
        ) -> Vec<Action> {
            let mut out = Vec::new();
            f(&mut self.h, self.now, &mut out, &mut self.events);
            out
        }

        /// What its next deadline leads to.
        pub(in super::super) fn due(&mut self) -> Vec<Action> {
            self.now = self.h.deadline(self.now).unwrap_or_else(|| panic!("no deadline")).max(self.now);
            self.step(|h, now, out, ev| h.tick(now, out, ev))
        }

        fn answer(&mut self, pid: u32, worker: u32) -> Vec<Action> {
            let info = Info { version: "2.6".into(), pid: worker };
            self.step(|h, now, out, ev| h.answered(pid, info, now, out, ev))
        }

        /// Questions that nobody answers, until one goes to the process itself; how long that took.
        fn until_direct(&mut self) -> Duration {
            let start = self.now;
            loop {
                let out = self.due();
                if out.contains(&Action::Probe { direct: true }) {
                    return self.now.since(start);
                }
                assert!(!out.contains(&Action::Kill), "never asked");
                self.step(|h, now, out, ev| h.probe_failed(now, out, ev));
            }
        }
    }

    #[test]
    fn one_whose_master_does_not_answer_is_asked_itself() {
        let mut w = World::new();
        w.due();
        w.step(|h, now, _, ev| h.spawned(11, now, ev));
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
        assert_eq!(w.step(|h, now, out, ev| h.reload(now, out, ev)), [], "USR2 would end it");
        assert_eq!(w.events.last(), Some(&Event::ReloadPlain));
        // The next one is given the chance to have a master, and the news is told once.
        w.step(|h, now, out, ev| assert!(h.exited(11, Exit::Signal(9), now, out, ev)));
        assert_eq!(w.due(), [Action::Spawn { bare: false }]);
        w.step(|h, now, _, ev| h.spawned(21, now, ev));
        assert_eq!(w.due(), [Action::Probe { direct: false }]);
        w.step(|h, now, out, ev| h.probe_failed(now, out, ev));
        w.until_direct();
        w.answer(21, 21);
        assert_eq!(w.events.iter().filter(|e| **e == Event::Plain).count(), 1);
    }

    #[test]
    fn one_that_refuses_master_mode_is_started_without() {
        let mut w = World::new();
        for bare in [false, true] {
            assert_eq!(w.due(), [Action::Spawn { bare }]);
            w.step(|h, now, _, ev| h.spawned(11, now, ev));
            w.h.usage_printed();
            w.step(|h, now, out, ev| assert!(h.exited(11, Exit::Code(1), now, out, ev)));
        }
        assert_eq!(w.due(), [Action::Spawn { bare: false }], "that was not the reason");
        w.step(|h, now, _, ev| h.spawned(12, now, ev));
        w.step(|h, now, out, ev| assert!(h.exited(12, Exit::Code(1), now, out, ev)));
        w.h.usage_printed(); // its last words come after its end
        assert_eq!(w.due(), [Action::Spawn { bare: true }]);
        w.step(|h, now, _, ev| h.spawned(13, now, ev));
        assert_eq!(w.due(), [Action::Probe { direct: true }], "there is no master to be asked");
        w.answer(13, 13);
        assert_eq!(w.events.last(), Some(&Event::Plain));
        w.h.usage_printed();
        w.step(|h, now, out, ev| assert!(h.exited(13, Exit::Signal(9), now, out, ev)));
        assert_eq!(w.due(), [Action::Spawn { bare: true }], "said by somebody else");
    }

    #[test]
    fn one_that_dies_too_often_is_started_less_and_less() {
        let mut w = World::ready(11, 12);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            w.now += Duration::from_secs(1);
            w.step(|h, now, out, ev| assert!(h.exited(11, Exit::Signal(9), now, out, ev)));
            let died = w.now;
            assert_eq!(w.due(), [Action::Spawn { bare: false }]);
            pauses.push(w.now.since(died).as_millis());
            w.step(|h, now, _, ev| h.spawned(11, now, ev));
            w.due();
            w.answer(11, 12);
        }
        assert_eq!(pauses, [0, 0, 0, 250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    }

    #[test]
    fn what_is_left_of_one_that_died_is_killed_when_the_next_one_is_well() {
        let mut w = World::ready(11, 12);
        w.step(|h, now, out, ev| assert!(h.exited(11, Exit::Signal(9), now, out, ev)));
        w.step(|h, now, _, ev| h.spawned(21, now, ev));
        w.due();
        assert_eq!(w.answer(21, 22), [], "it may still finish what is in flight");
        w.due();
        assert_eq!(w.answer(21, 22), [Action::KillRemains]);
        w.due();
        assert_eq!(w.answer(21, 22), []);
    }

    #[test]
    fn one_that_is_adopted_is_asked_in_both_ways_at_once() {
        let mut w = World::new();
        w.step(|h, now, _, ev| h.adopt(11, now, ev));
        assert!(w.until_direct() < 20 * MS);
        w.answer(11, 11);
        assert!(matches!(w.h.state(), State::Ready { .. }));
    }
}
