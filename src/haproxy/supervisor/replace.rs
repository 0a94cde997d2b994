//! Another configuration of the supervisor. Times change in place. A new command line needs a new HAProxy,
//! since a reload keeps the old one. The new HAProxy is checked, started beside the running one and given its
//! listening sockets. The running one is stopped softly when the new one answers; otherwise it stays.

use super::copy::Copy;
use super::plain::Plain;
use super::{Action, Event, Probe, State, Supervisor};
use crate::base::exit::Exit;
use crate::base::time::Time;
use crate::config::{self, diff};

/// The HAProxy that runs while its successor is started.
#[derive(Clone, Debug)]
pub(super) struct Replaced {
    pub(super) pid: u32,
    worker: u32,
    since: Time,
    cfg: config::Haproxy,
    plain: Plain,
    copy: Copy,
}

impl Supervisor {
    /// It came by a reload: virtual routers that run wait for it as they wait for a restart.
    pub fn appeared(cfg: config::Haproxy, now: Time) -> Self {
        let mut new = Supervisor::new(cfg, now);
        new.died_at = Some(now);
        new
    }

    /// Takes another configuration up. `files`: HAProxy's own files have changed.
    pub(super) fn reconfigure(&mut self, cfg: &config::Haproxy, files: bool, now: Time) {
        let old = &self.cfg;
        let same = diff::is_same_command(old, cfg);
        let mut command = cfg.clone();
        command.binary.clone_from(&old.binary);
        command.config.clone_from(&old.config);
        command.args.clone_from(&old.args);
        self.cfg = command;
        if same && !files {
            return;
        }
        match self.state {
            State::Ready { .. } if same => self.start_reload(now),
            State::Ready { .. } if self.reload.is_none() => self.check(Some(Box::new(cfg.clone())), now),
            State::Down { .. } | State::Starting { .. } | State::Killed { .. } if self.replaced.is_none() => {
                self.try_anew(cfg, same, now);
            }
            _ => self.out.emit(Event::ReloadBusy),
        }
    }

    /// What does not run, or not yet, is tried anew at once.
    fn try_anew(&mut self, cfg: &config::Haproxy, same: bool, now: Time) {
        self.failures.clear();
        self.cfg = cfg.clone();
        if !same {
            (self.plain, self.copy) = Default::default();
            self.out.act(Action::TakeNext);
        }
        match &mut self.state {
            State::Starting { pid, since, .. } => {
                let (pid, since) = (*pid, *since);
                self.state = State::Killed { pid, since };
                self.out.act(Action::CancelProbe);
                self.out.act(Action::Kill { pid });
            }
            State::Down { retry_at } => *retry_at = now,
            _ => {}
        }
    }

    /// The new command line was accepted: from now on it is started.
    pub(super) fn replace(&mut self, next: config::Haproxy, now: Time) {
        let State::Ready { pid, worker, since, probe, .. } = self.state else { return };
        if let Probe::Asked(_) = probe {
            self.out.act(Action::CancelProbe);
        }
        let cfg = std::mem::replace(&mut self.cfg, next);
        let (plain, copy) = (std::mem::take(&mut self.plain), std::mem::take(&mut self.copy));
        self.replaced = Some(Replaced { pid, worker, since, cfg, plain, copy });
        self.state = State::Down { retry_at: now };
        self.out.act(Action::Replace);
    }

    /// The new one is not to be had: the old one stays. Returns whether there is one.
    pub(super) fn restore(&mut self, exit: Option<Exit>, reason: Option<String>, now: Time) -> bool {
        let Some(Replaced { pid, worker, since, cfg, plain, copy }) = self.replaced.take() else {
            return false;
        };
        (self.cfg, self.plain, self.copy) = (cfg, plain, copy);
        self.state = State::Ready { pid, worker, since, probe: Probe::At(now) };
        self.out.act(Action::Restore);
        self.out.emit(Event::ReloadRefused { exit, reason });
        true
    }

    /// The old one ended while the new one is started. Returns whether it was that.
    pub(super) fn replaced_exited(&mut self, pid: u32, exit: Exit, now: Time) -> bool {
        if self.replaced.take_if(|r| r.pid == pid).is_none() {
            return false;
        }
        (self.died_at, self.last_exit, self.remains) = (Some(now), Some(exit), true);
        self.restarts += 1;
        self.out.emit(Event::Died { exit });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MS, SPAWN, World, cfg};
    use super::super::{Health, Input};
    use super::*;
    use std::time::Duration;

    const RARELY: &str = "keep_listeners = no\ncheck_interval = 3600";

    impl World {
        fn reconfigure(&mut self, more: &str, files: bool) -> Vec<Action> {
            let cfg = Box::new(cfg(&format!("{RARELY}\n{more}")));
            self.step(Input::Reconfigure { cfg, files })
        }
    }

    #[test]
    fn times_change_in_place_and_other_files_are_a_reload() {
        let mut w = World::ready(RARELY).0;
        assert_eq!(w.reconfigure("restart_grace = 7", false), []);
        assert_eq!(w.h.cfg().restart_grace, Some(Duration::from_secs(7)));
        assert_eq!(w.reconfigure("", true), [Action::Check]);
        assert_eq!(w.checked(0), [Action::Reload { pid: 11 }]);
    }

    #[test]
    fn another_command_line_is_started_beside_the_old_one() {
        let mut w = World::ready(RARELY).0;
        assert_eq!(w.reconfigure("args = -n 7\nstop_timeout = 9", false), [Action::CheckNext]);
        assert_eq!(w.h.cfg().args, Vec::<String>::new(), "not yet");
        assert_eq!(w.h.stop_timeout(), Duration::from_secs(9));
        assert_eq!(w.checked(0), [Action::CancelProbe, Action::Replace][1..]);
        assert!(w.h.is_reloading());
        assert_eq!(w.tick(), [SPAWN]);
        assert_eq!(w.h.health(w.now), Health::Well, "the old one serves");
        assert_eq!(w.start(21, 22), [Action::SoftStop { pid: 11 }]);
        assert!(!w.h.is_reloading());
        assert_eq!(w.h.cfg().args.len(), 2);
        assert_eq!(w.h.restarts, 0);
        assert_eq!(w.reconfigure("args = -n 7", false), []);
    }

    #[test]
    fn a_refused_one_changes_nothing_and_is_tried_again_by_the_next_reload() {
        let mut w = World::ready(RARELY).0;
        w.reconfigure("args = -n 7", false);
        assert_eq!(w.checked(1), []);
        assert!(matches!(w.events.last(), Some(Event::ReloadRefused { .. })));
        assert_eq!(w.reconfigure("args = -n 7", false), [Action::CheckNext]);
        // A reload by the signal in between would check the wrong one.
        assert_eq!(w.step(Input::Reload), []);
        w.now += Duration::from_secs(31);
        assert_eq!(w.tick(), [Action::CancelCheck, Action::Check], "remembered");
        assert_eq!(w.checked(0), [Action::Reload { pid: 11 }], "not the other command line");
    }

    #[test]
    fn the_old_one_stays_if_the_new_one_does_not_start() {
        for how in 0..3 {
            let mut w = World::ready(RARELY).0;
            w.reconfigure("args = -n 7", false);
            w.checked(0);
            assert_eq!(w.tick(), [SPAWN]);
            let out = match how {
                0 => w.step(Input::SpawnFailed { errno: 2 }),
                1 => {
                    w.spawned(21);
                    w.exited(21, Exit::Code(1))
                }
                _ => {
                    w.spawned(21);
                    w.now += Duration::from_secs(5);
                    assert!(w.tick().contains(&Action::Kill { pid: 21 }));
                    assert_eq!(w.h.health(w.now), Health::Well);
                    w.exited(21, Exit::Signal(9))
                }
            };
            assert!(out.contains(&Action::Restore), "{how}: {out:?}");
            assert!(matches!(w.h.state(), State::Ready { pid: 11, worker: 12, .. }), "{how}");
            assert_eq!((w.h.health(w.now), w.h.cfg().args.len()), (Health::Well, 0), "{how}");
            assert_eq!(w.reconfigure("args = -n 7", false), [Action::CheckNext], "{how}");
        }
    }

    #[test]
    fn the_old_one_dies_meanwhile() {
        let mut w = World::ready(RARELY).0;
        w.reconfigure("args = -n 7", false);
        w.checked(0);
        w.tick();
        w.spawned(21);
        assert_eq!(w.exited(11, Exit::Signal(9)), []);
        assert!(matches!(w.h.health(w.now), Health::Recovering { .. }), "as any that died");
        w.wait(5 * MS);
        assert_eq!(w.answer(21, 22), []);
        assert_eq!(w.h.health(w.now), Health::Well);
    }

    #[test]
    fn what_does_not_run_is_tried_anew_at_once() {
        let mut w = World::ready(RARELY).0;
        w.exited(11, Exit::Signal(9));
        w.tick();
        w.step(Input::SpawnFailed { errno: 2 });
        assert_eq!(w.tick(), [], "it waits");
        assert_eq!(w.reconfigure("args = -n 7", false), [Action::TakeNext]);
        assert_eq!(w.tick(), [SPAWN]);
        w.spawned(21);
        assert_eq!(
            w.reconfigure("args = -n 8", true),
            [Action::TakeNext, Action::CancelProbe, Action::Kill { pid: 21 }]
        );
        w.exited(21, Exit::Signal(9));
        w.now += 250 * MS;
        assert_eq!(w.tick(), [SPAWN]);
    }

    #[test]
    fn a_stop_ends_both() {
        let mut w = World::ready(RARELY).0;
        w.reconfigure("args = -n 7", false);
        w.checked(0);
        w.tick();
        w.spawned(21);
        let out = w.stop(8000 * MS);
        assert_eq!(out, [Action::SoftStop { pid: 11 }, Action::CancelProbe, Action::SoftStop { pid: 21 }]);
    }
}
