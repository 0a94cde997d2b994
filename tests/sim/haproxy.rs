//! HAProxy on one machine: starts in some milliseconds, answers, hangs, dies, does not start.

use vipd::haproxy::supervisor::Exit;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    Starting,
    Serving,
    Hung,
    /// Asked to stop, or killed; its exit is on its way.
    Ending,
}

#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub pid: u32,
    pub state: State,
    /// Its vipd is gone.
    pub orphan: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Haproxy {
    pub process: Option<Process>,
    /// How many faults keep it from starting.
    pub broken: u32,
    pub pids: u32,
    /// vipd's file that names it.
    pub remembered: Option<u32>,
    /// It has served nobody since; `None`: it serves.
    pub down_since: Option<u64>,
}

impl Haproxy {
    pub fn serves(&self) -> bool {
        matches!(self.process, Some(Process { state: State::Serving, .. }))
    }

    pub fn set(&mut self, now: u64, state: Option<State>) {
        match (state, &mut self.process) {
            (Some(s), Some(p)) => p.state = s,
            (None, _) => self.process = None,
            _ => {}
        }
        match (self.serves(), self.down_since) {
            (true, _) => self.down_since = None,
            (false, None) => self.down_since = Some(now),
            _ => {}
        }
    }
}

/// A process that has ended, for SIGCHLD.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub pid: u32,
    pub exit: Exit,
    pub orphan: bool,
}
