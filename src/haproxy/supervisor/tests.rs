//! One supervisor and its time, for the tests of all its parts.

use super::{Action, Event, Input, Supervisor};
use crate::base::exit::Exit;
use crate::base::time::Time;
use crate::config::{self, schema};
use crate::haproxy::show_info::Info;
use std::time::Duration;

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const PROBE: Action = Action::Probe { direct: false };
pub(super) const SPAWN: Action = Action::Spawn { bare: false, copy: false };

/// A configuration with these lines.
pub(super) fn cfg(more: &str) -> config::Haproxy {
    let (c, _) = schema::parse(&format!("[haproxy]\n{more}\n")).unwrap_or_else(|e| panic!("{more}: {e:?}"));
    c.haproxy.unwrap_or_else(|| panic!("{more}"))
}

/// A supervisor and its time.
pub(super) struct World {
    pub(super) h: Supervisor,
    pub(super) now: Time,
    pub(super) events: Vec<Event>,
}

impl World {
    pub(super) fn new(more: &str) -> World {
        let now = Time::from_nanos(7_000_000_000);
        World { h: Supervisor::new(cfg(more), now), now, events: vec![] }
    }

    /// Started as 11, and answering as worker 12.
    pub(super) fn ready(more: &str) -> (World, Vec<Action>) {
        let mut w = World::new(more);
        assert_eq!(w.tick(), [SPAWN]);
        let out = w.start(11, 12);
        (w, out)
    }

    /// What an input leads to.
    pub(super) fn step(&mut self, input: Input) -> Vec<Action> {
        self.h.step(self.now, input);
        self.events.extend(std::iter::from_fn(|| self.h.next_event()));
        std::iter::from_fn(|| self.h.next_action()).collect()
    }

    pub(super) fn tick(&mut self) -> Vec<Action> {
        self.step(Input::Tick)
    }

    pub(super) fn wait(&mut self, d: Duration) -> Vec<Action> {
        self.now += d;
        self.tick()
    }

    /// What its next deadline leads to.
    pub(super) fn due(&mut self) -> Vec<Action> {
        self.now = self.h.deadline(self.now).unwrap_or_else(|| panic!("no deadline")).max(self.now);
        self.tick()
    }

    pub(super) fn spawned(&mut self, pid: u32) -> Vec<Action> {
        self.step(Input::Spawned { pid })
    }

    pub(super) fn answer(&mut self, pid: u32, worker: u32) -> Vec<Action> {
        let info = Info { version: "2.6".into(), pid: worker };
        self.step(Input::Answered { pid, info })
    }

    /// Started, asked and answering.
    pub(super) fn start(&mut self, pid: u32, worker: u32) -> Vec<Action> {
        self.spawned(pid);
        assert_eq!(self.wait(5 * MS), [PROBE]);
        self.answer(pid, worker)
    }

    pub(super) fn exited(&mut self, pid: u32, exit: Exit) -> Vec<Action> {
        self.step(Input::Exited { pid, exit })
    }

    pub(super) fn checked(&mut self, code: i32) -> Vec<Action> {
        self.step(Input::Checked { exit: Exit::Code(code) })
    }

    pub(super) fn stop(&mut self, within: Duration) -> Vec<Action> {
        self.step(Input::Stop { end: self.now + within })
    }
}
