//! Another configuration of the supervisor. Times change in place. Another command line needs another HAProxy, for one
//! that reloads itself does so with the old one: it is checked first, started beside the one that runs and given its
//! listening sockets; that one is stopped softly when the new one answers, and stays if it does not.

use super::plain::Plain;
use super::reload::CHECK_LIMIT;
use super::{Action, Event, Probe, Reload, State, Supervisor};
use crate::base::exit::Exit;
use crate::base::time::Time;
use crate::config::{self, diff};

/// The HAProxy that runs while its successor is started.
#[derive(Clone, Debug)]
pub(super) struct Replaced {
    pid: u32,
    worker: u32,
    since: Time,
    cfg: config::Haproxy,
    plain: Plain,
}

impl Supervisor {
    /// It came by a reload: virtual routers that run wait for it as they wait for a restart.
    pub fn appeared(cfg: config::Haproxy, now: Time) -> Self {
        Supervisor { died_at: Some(now), ..Supervisor::new(cfg, now) }
    }

    /// Whether it is stopped for good, or about to.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// The configuration it runs with.
    pub fn cfg(&self) -> &config::Haproxy {
        &self.cfg
    }

    /// Takes another configuration up. `files`: HAProxy's own files have changed.
    pub fn reconfigure(
        &mut self,
        cfg: &config::Haproxy,
        files: bool,
        now: Time,
        out: &mut Vec<Action>,
        events: &mut Vec<Event>,
    ) {
        let old = &self.cfg;
        let same = diff::is_same_command(old, cfg);
        let command = config::Haproxy {
            binary: old.binary.clone(),
            config: old.config.clone(),
            args: old.args.clone(),
            ..cfg.clone()
        };
        self.cfg = command;
        if same && !files {
            return;
        }
        match self.state {
            State::Ready { .. } if same => self.reload(now, out, events),
            State::Ready { .. } if self.reload.is_none() => {
                self.next = Some(cfg.clone());
                self.reload = Some(Reload::Checking { until: now + CHECK_LIMIT });
                out.push(Action::CheckNext);
                events.push(Event::Checking);
            }
            State::Ready { .. } => events.push(Event::ReloadBusy),
            // What does not run, or not yet, is tried anew at once.
            State::Down { .. } | State::Starting { .. } if self.replaced.is_none() => {
                self.failures.clear();
                self.cfg = cfg.clone();
                if !same {
                    self.plain = Plain::default();
                    out.push(Action::TakeNext);
                }
                match &mut self.state {
                    State::Starting { killed: killed @ false, .. } => {
                        *killed = true;
                        out.extend([Action::CancelProbe, Action::Kill]);
                    }
                    State::Down { retry_at } => *retry_at = now,
                    _ => {}
                }
            }
            _ => events.push(Event::ReloadBusy),
        }
    }

    /// The new command line was accepted: from now on it is started.
    pub(super) fn replace(&mut self, next: config::Haproxy, now: Time, out: &mut Vec<Action>) {
        let State::Ready { pid, worker, since, probe, .. } = self.state else { return };
        if let Probe::Soliciting(_) = probe {
            out.push(Action::CancelProbe);
        }
        let cfg = std::mem::replace(&mut self.cfg, next);
        let plain = std::mem::take(&mut self.plain);
        self.replaced = Some(Replaced { pid, worker, since, cfg, plain });
        self.state = State::Down { retry_at: now };
        out.push(Action::Replace);
    }

    /// The new one is not to be had: the old one stays. Returns whether there is one.
    pub(super) fn restore(
        &mut self,
        exit: Option<Exit>,
        now: Time,
        out: &mut Vec<Action>,
        events: &mut Vec<Event>,
    ) -> bool {
        let Some(Replaced { pid, worker, since, cfg, plain }) = self.replaced.take() else { return false };
        (self.cfg, self.plain) = (cfg, plain);
        self.state = State::Ready { pid, worker, since, probe: Probe::At(now), misses: 0 };
        out.push(Action::Restore);
        events.push(Event::ReloadRefused { exit });
        true
    }

    /// The old one ended while the new one is started. Returns whether it was that.
    pub(super) fn replaced_exited(
        &mut self,
        pid: u32,
        exit: Exit,
        now: Time,
        events: &mut Vec<Event>,
    ) -> bool {
        if self.replaced.take_if(|r| r.pid == pid).is_none() {
            return false;
        }
        (self.died_at, self.last_exit, self.remains) = (Some(now), Some(exit), true);
        self.restarts += 1;
        events.push(Event::Died { exit });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema;
    use crate::haproxy::show_info::Info;
    use crate::haproxy::supervisor::Health;
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);
    const PROBE: Action = Action::Probe { direct: false };

    fn cfg(more: &str) -> config::Haproxy {
        let text = format!("[haproxy]\nkeep_listeners = no\ncheck_interval = 3600\n{more}\n");
        schema::parse(&text).ok().and_then(|(c, _)| c.haproxy).unwrap_or_else(|| panic!("{more}"))
    }

    struct World {
        h: Supervisor,
        now: Time,
        events: Vec<Event>,
    }

    impl World {
        fn ready() -> World {
            let now = Time::from_nanos(7_000_000_000);
            let mut w = World { h: Supervisor::new(cfg(""), now), now, events: vec![] };
            assert_eq!(w.tick(), [Action::Spawn { bare: false }]);
            w.start(11, 12);
            w
        }

        fn step(
            &mut self,
            f: impl FnOnce(&mut Supervisor, Time, &mut Vec<Action>, &mut Vec<Event>),
        ) -> Vec<Action> {
            let mut out = Vec::new();
            f(&mut self.h, self.now, &mut out, &mut self.events);
            out
        }

        fn tick(&mut self) -> Vec<Action> {
            self.step(|h, now, out, ev| h.tick(now, out, ev))
        }

        fn start(&mut self, pid: u32, worker: u32) -> Vec<Action> {
            self.step(|h, now, _, ev| h.spawned(pid, now, ev));
            self.now += 5 * MS;
            assert_eq!(self.tick(), [PROBE]);
            let info = Info { version: "2.6".into(), pid: worker };
            self.step(|h, now, out, ev| h.answered(pid, info, now, out, ev))
        }

        fn reconfigure(&mut self, more: &str, files: bool) -> Vec<Action> {
            let cfg = cfg(more);
            self.step(|h, now, out, ev| h.reconfigure(&cfg, files, now, out, ev))
        }

        fn checked(&mut self, exit: Exit) -> Vec<Action> {
            self.step(|h, now, out, ev| h.checked(exit, now, out, ev))
        }

        fn exited(&mut self, pid: u32, exit: Exit) -> Vec<Action> {
            self.step(|h, now, out, ev| assert!(h.exited(pid, exit, now, out, ev)))
        }
    }

    #[test]
    fn times_change_in_place_and_other_files_are_a_reload() {
        let mut w = World::ready();
        assert_eq!(w.reconfigure("restart_grace = 7", false), []);
        assert_eq!(w.h.cfg().restart_grace, Duration::from_secs(7));
        assert_eq!(w.reconfigure("", true), [Action::Check]);
        assert_eq!(w.checked(Exit::Code(0)), [Action::Reload]);
    }

    #[test]
    fn another_command_line_is_started_beside_the_old_one() {
        let mut w = World::ready();
        assert_eq!(w.reconfigure("args = -n 7\nstop_timeout = 9", false), [Action::CheckNext]);
        assert_eq!(w.h.cfg().args, Vec::<String>::new(), "not yet");
        assert_eq!(w.h.stop_timeout(), Duration::from_secs(9));
        assert_eq!(w.checked(Exit::Code(0)), [Action::CancelProbe, Action::Replace][1..]);
        assert!(w.h.is_reloading());
        assert_eq!(w.tick(), [Action::Spawn { bare: false }]);
        assert_eq!(w.h.health(w.now), Health::Well, "the old one serves");
        assert_eq!(w.start(21, 22), [Action::RetireOrphan]);
        assert!(!w.h.is_reloading());
        assert_eq!(w.h.cfg().args.len(), 2);
        assert_eq!(w.h.restarts, 0);
        assert_eq!(w.reconfigure("args = -n 7", false), []);
    }

    #[test]
    fn a_refused_one_changes_nothing_and_is_tried_again_by_the_next_reload() {
        let mut w = World::ready();
        w.reconfigure("args = -n 7", false);
        assert_eq!(w.checked(Exit::Code(1)), []);
        assert!(matches!(w.events.last(), Some(Event::ReloadRefused { .. })));
        assert_eq!(w.reconfigure("args = -n 7", false), [Action::CheckNext]);
        // A reload by the signal in between would check the wrong one.
        assert_eq!(w.step(|h, now, out, ev| h.reload(now, out, ev)), []);
        w.now += Duration::from_secs(31);
        assert_eq!(w.tick(), [Action::CancelCheck, PROBE][..1]);
        assert_eq!(w.step(|h, now, out, ev| h.reload(now, out, ev)), [Action::Check]);
        assert_eq!(w.checked(Exit::Code(0)), [Action::Reload], "not the other command line");
    }

    #[test]
    fn the_old_one_stays_if_the_new_one_does_not_start() {
        for how in 0..3 {
            let mut w = World::ready();
            w.reconfigure("args = -n 7", false);
            w.checked(Exit::Code(0));
            assert_eq!(w.tick(), [Action::Spawn { bare: false }]);
            let out = match how {
                0 => w.step(|h, now, out, ev| h.spawn_failed(2, now, out, ev)),
                1 => {
                    w.step(|h, now, _, ev| h.spawned(21, now, ev));
                    w.exited(21, Exit::Code(1))
                }
                _ => {
                    w.step(|h, now, _, ev| h.spawned(21, now, ev));
                    w.now += Duration::from_secs(5);
                    assert!(w.tick().contains(&Action::Kill));
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
        let mut w = World::ready();
        w.reconfigure("args = -n 7", false);
        w.checked(Exit::Code(0));
        w.tick();
        w.step(|h, now, _, ev| h.spawned(21, now, ev));
        assert_eq!(w.exited(11, Exit::Signal(9)), []);
        assert!(matches!(w.h.health(w.now), Health::Recovering { .. }), "as any that died");
        w.now += 5 * MS;
        w.tick();
        let info = Info { version: "2.6".into(), pid: 22 };
        assert_eq!(w.step(|h, now, out, ev| h.answered(21, info, now, out, ev)), []);
        assert_eq!(w.h.health(w.now), Health::Well);
    }

    #[test]
    fn what_does_not_run_is_tried_anew_at_once() {
        let mut w = World::ready();
        w.exited(11, Exit::Signal(9));
        w.tick();
        w.step(|h, now, out, ev| h.spawn_failed(2, now, out, ev));
        assert_eq!(w.tick(), [], "it waits");
        assert_eq!(w.reconfigure("args = -n 7", false), [Action::TakeNext]);
        assert_eq!(w.tick(), [Action::Spawn { bare: false }]);
        w.step(|h, now, _, ev| h.spawned(21, now, ev));
        assert_eq!(w.reconfigure("args = -n 8", true), [Action::TakeNext, Action::CancelProbe, Action::Kill]);
        w.exited(21, Exit::Signal(9));
        w.now += 250 * MS;
        assert_eq!(w.tick(), [Action::Spawn { bare: false }]);
    }

    #[test]
    fn a_stop_ends_both() {
        let mut w = World::ready();
        w.reconfigure("args = -n 7", false);
        w.checked(Exit::Code(0));
        w.tick();
        w.step(|h, now, _, ev| h.spawned(21, now, ev));
        let out = w.step(|h, now, out, ev| assert!(h.stop(now, now + 8000 * MS, out, ev)));
        assert_eq!(out, [Action::RetireOrphan, Action::CancelProbe, Action::SoftStop]);
    }
}
