//! HAProxy on one machine: starts in some milliseconds, answers, hangs, dies, does not start.

use crate::mutant::Mutant;
use crate::plan::{MS, US};
use crate::shell::{Proc, Signal};
use crate::world::{Ev, World};
use vipd::base::exit::Exit;
use vipd::haproxy::supervisor::{self, Input};

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
    /// It has been hung, or dead or starting, since; `None`: it serves.
    pub down_since: Option<u64>,
}

impl Haproxy {
    pub fn serves(&self) -> bool {
        matches!(self.process, Some(Process { state: State::Serving, .. }))
    }

    pub fn set(&mut self, now: u64, state: Option<State>) {
        let hung = |p: &Option<Process>| p.is_some_and(|x| x.state == State::Hung);
        let was = hung(&self.process);
        match (state, &mut self.process) {
            (Some(s), Some(p)) => p.state = s,
            (None, _) => self.process = None,
            _ => {}
        }
        match (self.serves(), self.down_since) {
            (true, _) => self.down_since = None,
            (false, None) => self.down_since = Some(now),
            (false, _) if was && !hung(&self.process) => self.down_since = Some(now),
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

impl World {
    /// `Service::carry_out`
    pub fn service(&mut self, h: usize, p: &mut Proc, t: u64, action: supervisor::Action) {
        use supervisor::Action;
        let now = self.clock(h, t);
        self.say(h, || format!("HAProxy: {action:?}"));
        let hap = &mut self.hosts[h].haproxy;
        let ends = match (action, hap.process.map(|x| x.state)) {
            (Action::Spawn { .. }, _) => {
                if hap.broken > 0 && self.rng.chance(500) {
                    return p.node.supervise(now, Input::SpawnFailed { errno: libc::ENOENT });
                }
                hap.pids += 1;
                let pid = hap.pids;
                let broken = hap.broken > 0;
                hap.process = Some(Process { pid, state: State::Starting, orphan: false });
                hap.remembered = Some(pid);
                hap.set(t, Some(State::Starting));
                p.node.supervise(now, Input::Spawned { pid });
                let takes = self.rng.range(15 * MS, 90 * MS);
                let ended = Ended { pid, exit: Exit::Code(1), orphan: false };
                self.at(t + takes, if broken { Ev::Ended { h, e: ended } } else { Ev::Serves { h, pid } });
                return;
            }
            // It has a master, and never answers for itself.
            (Action::Probe { direct: true }, _) => {
                return p.node.supervise(now, Input::ProbeFailed);
            }
            (Action::Probe { .. }, state) => {
                let pid = hap.process.map_or(hap.pids, |x| x.pid);
                let lies = self.mutant == Mutant::HaproxyLies;
                self.probes += 1;
                let n = self.probes;
                match state {
                    _ if lies => {}
                    Some(State::Serving | State::Hung) => {}
                    _ => return p.node.supervise(now, Input::ProbeFailed),
                }
                p.probe = Some((n, None));
                let takes = self.rng.range(200 * US, 2 * MS);
                if state == Some(State::Serving) || lies {
                    self.at(t + takes, Ev::Answer { h, n, pid });
                }
                return;
            }
            (Action::CancelProbe, _) => {
                p.probe = None;
                return;
            }
            (Action::SoftStop { .. }, Some(State::Serving)) => {
                Some((self.rng.range(5 * MS, 1500 * MS), Exit::Code(0)))
            }
            (Action::Terminate { .. }, Some(State::Serving | State::Starting)) => {
                Some((20 * MS, Exit::Signal(15)))
            }
            (Action::Kill { .. }, Some(_)) => Some((MS, Exit::Signal(9))),
            _ => None,
        };
        if let (Some((after, exit)), Some(x)) = (ends, self.hosts[h].haproxy.process) {
            self.hosts[h].haproxy.set(t, Some(State::Ending));
            self.at(t + after, Ev::Ended { h, e: Ended { pid: x.pid, exit, orphan: x.orphan } });
        }
    }

    pub fn orphan_haproxy(&mut self, h: usize) {
        if let Some(x) = &mut self.hosts[h].haproxy.process {
            x.orphan = true;
        }
    }

    pub fn ended(&mut self, h: usize, mut e: Ended) {
        let Some(x) = self.hosts[h].haproxy.process.filter(|x| x.pid == e.pid) else { return };
        e.orphan = x.orphan;
        self.say(h, || format!("HAProxy {} has ended: {:?}", e.pid, e.exit));
        self.hosts[h].haproxy.set(self.now, None);
        if let Some(p) = &mut self.hosts[h].proc {
            match e.orphan {
                true => p.pidfd = Some(Ended { exit: Exit::Unknown, ..e }),
                false => p.signals.push_back(Signal::Child(e)),
            }
            self.nudge(h);
        }
    }

    pub fn kill_haproxy(&mut self, h: usize) {
        if let Some(x) = self.hosts[h].haproxy.process {
            self.ended(h, Ended { pid: x.pid, exit: Exit::Signal(11), orphan: x.orphan });
        }
    }
}
