//! The last good copy of HAProxy's configuration: a start whose configuration HAProxy refuses, or that has no
//! listener, is tried again with what it was ready with last. Such a HAProxy is better than none, but every
//! other node is preferred to it. It takes its own files as soon as they change and are accepted: a reload
//! would read the copy again, so another one is started in its place.

use super::{Action, State, Supervisor};
use crate::base::exit::Exit;

/// What is known of the copy.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copy {
    /// The process that runs, or the next one, is started with it.
    pub(super) used: bool,
    /// A start failed: `haproxy -c` says whether that is due to the configuration.
    in_doubt: bool,
}

impl Supervisor {
    /// Whether HAProxy runs with the last good copy of its configuration, or is to be started so.
    pub fn is_copy(&self) -> bool {
        self.copy.used
    }

    /// Whether other nodes are preferred, even as long as it serves.
    pub fn is_last_choice(&self) -> bool {
        self.crash_loop || self.copy.used
    }

    pub(super) fn spawn(&mut self) {
        self.out.act(Action::Spawn { bare: self.plain.bare, copy: self.copy.used });
    }

    /// A start ended by itself: that may be for its configuration, or for a port that is taken, say.
    pub(super) fn start_refused(&mut self, exit: Exit) {
        let doubt = matches!(exit, Exit::Code(_)) && !self.copy.used;
        self.copy = Copy { used: false, in_doubt: doubt };
        if doubt {
            self.out.act(Action::Check);
        }
    }

    /// `haproxy -c` has ended, after a start that failed.
    pub(super) fn checked_start(&mut self, exit: Exit) {
        if std::mem::take(&mut self.copy.in_doubt) && matches!(exit, Exit::Code(code) if code != 0) {
            self.use_copy();
        }
    }

    /// The configuration is refused: at once with the copy, if there is one.
    pub(super) fn use_copy(&mut self) {
        if matches!(self.state, State::Down { .. }) && self.replaced.is_none() && !self.leaving {
            self.copy.used = true;
            self.spawn();
        }
    }

    /// There is none: the next start is due as it was.
    pub(super) fn no_copy(&mut self) {
        self.copy.used = false;
        if let State::Down { .. } = self.state {
            self.died_at = None;
        }
    }

    pub(super) fn look_at_files(&mut self) {
        if self.copy.used && self.reload.is_none() {
            self.out.act(Action::LookAtFiles);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MS, PROBE, SPAWN, World};
    use super::super::{Event, Health, Input};
    use super::*;

    const CFG: &str = "keep_listeners = no";
    const COPY: Action = Action::Spawn { bare: false, copy: true };

    /// Its configuration is refused, and it runs with the copy.
    fn refused() -> World {
        let mut w = World::new(CFG);
        assert_eq!(w.tick(), [SPAWN]);
        w.spawned(11);
        assert_eq!(w.exited(11, Exit::Code(1)), [Action::CancelProbe, Action::Check]);
        assert_eq!(w.checked(1), [COPY], "at once");
        w.start(21, 22);
        w
    }

    #[test]
    fn a_refused_configuration_is_replaced_by_the_copy() {
        let mut w = refused();
        assert_eq!(w.events.last(), Some(&Event::Copy));
        assert_eq!(w.h.health(w.now), Health::Shaky);
        assert_eq!(w.due(), [PROBE, Action::LookAtFiles]);
        assert_eq!(w.step(Input::Reload), [Action::CheckNext]);
        assert_eq!(w.checked(1), []);
        assert!(w.h.is_copy());
        assert_eq!(w.step(Input::Reload), [Action::CheckNext]);
        assert_eq!(w.checked(0), [Action::CancelProbe, Action::Replace]);
        assert_eq!(w.tick(), [SPAWN], "with its own files");
        assert_eq!(w.start(31, 32), [Action::SoftStop { pid: 21 }]);
        assert_eq!(w.h.health(w.now), Health::Well);
    }

    #[test]
    fn one_that_runs_with_the_copy_stays_if_its_files_do_not_do() {
        let mut w = refused();
        w.step(Input::Reload);
        w.checked(0);
        assert_eq!(w.tick(), [SPAWN]);
        assert_eq!(w.step(Input::NoListener), [Action::Restore]);
        assert!(w.h.is_copy());
        assert_eq!(w.h.health(w.now), Health::Shaky);
    }

    #[test]
    fn a_copy_that_dies_is_started_again_and_one_that_does_not_start_is_given_up() {
        let mut w = refused();
        w.exited(21, Exit::Signal(9));
        assert_eq!(w.tick(), [COPY]);
        w.spawned(31);
        assert_eq!(w.exited(31, Exit::Code(1)).last(), Some(&Action::CancelProbe));
        assert_eq!(w.due(), [SPAWN]);
    }

    #[test]
    fn without_a_listener_a_master_waits_for_the_copy_and_without_a_copy_it_does_not() {
        for there in [true, false] {
            let (mut w, _) = World::ready(CFG);
            w.exited(11, Exit::Signal(9));
            assert_eq!(w.tick(), [SPAWN]);
            assert_eq!(w.step(Input::NoListener), [COPY]);
            assert!(matches!(w.h.health(w.now), Health::Recovering { .. }));
            if there {
                w.spawned(21);
                continue;
            }
            assert_eq!(w.step(Input::NoCopy), []);
            assert_eq!(w.h.health(w.now), Health::Unwell);
            w.now += 250 * MS;
            assert_eq!(w.tick(), [SPAWN]);
        }
    }

    #[test]
    fn a_start_that_fails_for_another_reason_keeps_its_configuration() {
        let mut w = World::new(CFG);
        w.tick();
        w.spawned(11);
        w.exited(11, Exit::Code(1));
        assert_eq!(w.checked(0), []);
        assert_eq!(w.due(), [SPAWN]);
        w.spawned(12);
        assert_eq!(w.checked(1), [], "too late");
        assert_eq!(w.exited(12, Exit::Signal(11)).last(), Some(&Action::CancelProbe), "nor does a signal");
    }
}
