//! Programs that are told of state changes (`notify`), pure: one at a time for each virtual router and group,
//! in order; the newest state wins. What is told is a [`Notice`], which mails carry, too.
//!
//! A subject that changes while its hooks run gets the newest state next, and what lies between is left out:
//! a script that is slow is never behind, and the last that it hears is true.

use super::notice::{Notice, Subject};
use crate::base::time::{Time, earlier};
use crate::check::Failure;
use std::time::Duration;

/// How long one run may take; then its process group is killed.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Hooks that run at once, of all subjects: 250 virtual routers may change together.
const MAX_RUNNING: usize = 8;

/// Whose command it is, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The virtual router's for this state alone, `notify_master` and the like.
    State,
    /// The virtual router's `notify`.
    Own,
    /// That of `[global]`.
    Global,
}

/// Which commands a virtual router has for a notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// One for this state alone.
    pub state: bool,
    /// `notify`
    pub all: bool,
}

impl Own {
    /// Whether it has any.
    pub fn any(self) -> bool {
        self.state || self.all
    }
}

/// What has still to be told of a notice.
#[derive(Clone, Copy, Debug)]
struct Left {
    own: Own,
    global: bool,
}

impl Left {
    /// Takes the next one.
    fn take(&mut self) -> Option<Whose> {
        let (left, whose) = match self {
            Left { own: Own { state: left @ true, .. }, .. } => (left, Whose::State),
            Left { own: Own { all: left @ true, .. }, .. } => (left, Whose::Own),
            Left { global: left @ true, .. } => (left, Whose::Global),
            _ => return None,
        };
        *left = false;
        Some(whose)
    }

    fn any(self) -> bool {
        self.own.any() || self.global
    }
}

/// What the daemon is to do.
#[allow(missing_docs)] // the fields are named in the variants' comments
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a command: answered by `done`, at once or when it was reaped.
    Start { job: u64, notice: Notice, whose: Whose },
    /// Kill its process group; its exit is answered by `done` all the same.
    Kill { job: u64 },
}

#[derive(Clone, Debug)]
struct Queue {
    subject: Subject,
    /// Next, with the commands that it is still to be told to.
    next: Option<(Notice, Left)>,
    running: Option<Running>,
}

#[derive(Clone, Debug)]
struct Running {
    job: u64,
    notice: Notice,
    until: Time,
    killed: bool,
}

/// All hooks of a node.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// Whether `[global]` has a command.
    pub global: bool,
    /// Those with something to run or running, the longest waiting first.
    queues: Vec<Queue>,
    last_job: u64,
}

impl Hooks {
    /// A state change; `own`: the commands that its virtual router has. Started by the next `tick`.
    pub fn notify(&mut self, notice: Notice, own: Own) {
        let left = Left { own, global: self.global };
        if !left.any() {
            return;
        }
        if let Some(q) = self.queues.iter_mut().find(|q| q.subject == notice.subject) {
            q.next = Some((notice, left));
        } else {
            let subject = notice.subject.clone();
            self.queues.push(Queue { subject, next: Some((notice, left)), running: None });
        }
    }

    /// Starts what may start, and kills what takes too long.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Action>) {
        let mut running = 0;
        for r in self.queues.iter_mut().filter_map(|q| q.running.as_mut()) {
            running += 1;
            if now >= r.until && !r.killed {
                r.killed = true;
                out.push(Action::Kill { job: r.job });
            }
        }
        for q in self.queues.iter_mut().filter(|q| q.running.is_none()) {
            if running == MAX_RUNNING {
                break;
            }
            let Some((notice, mut left)) = q.next.take() else { continue };
            let Some(whose) = left.take() else { continue };
            if left.any() {
                q.next = Some((notice.clone(), left));
            }
            self.last_job += 1;
            let job = self.last_job;
            q.running = Some(Running { job, notice: notice.clone(), until: now + TIMEOUT, killed: false });
            running += 1;
            out.push(Action::Start { job, notice, whose });
        }
    }

    /// A run ended: what is worth a line, with the notice that it was told.
    pub fn done(&mut self, job: u64, result: Result<(), Failure>) -> Option<(Notice, Failure)> {
        let is_it = |q: &Queue| q.running.as_ref().is_some_and(|r| r.job == job);
        let i = self.queues.iter().position(is_it)?;
        let running = self.queues.get_mut(i)?.running.take()?;
        // To the end: others wait longer.
        let queue = self.queues.remove(i);
        if queue.next.is_some() {
            self.queues.push(queue);
        }
        let failure = result.err()?;
        Some((running.notice, if running.killed { Failure::TimedOut } else { failure }))
    }

    /// No time is left: what runs is killed, and nothing more is started.
    pub fn abandon(&mut self, out: &mut Vec<Action>) {
        self.queues.retain_mut(|q| {
            q.next = None;
            if let Some(r) = q.running.as_mut().filter(|r| !r.killed) {
                r.killed = true;
                out.push(Action::Kill { job: r.job });
            }
            q.running.is_some()
        });
    }

    /// Whether all have been told.
    pub fn is_idle(&self) -> bool {
        self.queues.is_empty()
    }

    /// The earliest time at which `tick` has something to do.
    pub fn deadline(&self) -> Option<Time> {
        let running = self.queues.iter().filter_map(|q| q.running.as_ref());
        running.filter(|r| !r.killed).fold(None, |at, r| earlier(at, Some(r.until)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::exit::Exit;
    use crate::notify::notice::{Reason, State};
    use proptest::prelude::*;

    const OWN: Own = Own { state: false, all: true };

    fn notice(name: &str, state: State) -> Notice {
        Notice { subject: Subject::Router(name.into()), state, priority: 100, reason: Reason::None }
    }

    fn hooks(global: bool) -> Hooks {
        Hooks { global, ..Hooks::default() }
    }

    fn tick(h: &mut Hooks, at: u64) -> Vec<Action> {
        let mut out = Vec::new();
        h.tick(Time::from_nanos(at * 1_000_000_000), &mut out);
        out
    }

    fn start(job: u64, name: &str, state: State, whose: Whose) -> Action {
        Action::Start { job, notice: notice(name, state), whose }
    }

    #[test]
    fn the_own_one_comes_first_and_the_global_one_when_it_is_done() {
        let mut h = hooks(true);
        h.notify(notice("a", State::Backup), OWN);
        assert_eq!(tick(&mut h, 0), [start(1, "a", State::Backup, Whose::Own)]);
        assert_eq!(tick(&mut h, 1), []);
        assert_eq!(h.done(1, Ok(())), None);
        assert_eq!(tick(&mut h, 1), [start(2, "a", State::Backup, Whose::Global)]);
        let failed = Failure::Exit(Exit::Code(3));
        assert_eq!(h.done(2, Err(failed)), Some((notice("a", State::Backup), failed)));
        assert!(h.is_idle() && h.deadline().is_none());
        assert_eq!(h.done(2, Ok(())), None);
    }

    #[test]
    fn the_one_for_this_state_comes_before_the_others() {
        let mut h = hooks(true);
        h.notify(notice("a", State::Master), Own { state: true, all: true });
        for (job, whose) in [(1, Whose::State), (2, Whose::Own), (3, Whose::Global)] {
            assert_eq!(tick(&mut h, 0), [start(job, "a", State::Master, whose)]);
            assert_eq!(tick(&mut h, 0), []);
            h.done(job, Ok(()));
        }
        assert!(h.is_idle());
        // What is left of an old state is not told once there is a new one.
        h.notify(notice("a", State::Master), Own { state: true, all: true });
        tick(&mut h, 0);
        h.notify(notice("a", State::Fault), OWN);
        h.done(4, Ok(()));
        assert_eq!(tick(&mut h, 0), [start(5, "a", State::Fault, Whose::Own)]);
    }

    #[test]
    fn without_a_command_nothing_runs() {
        let mut h = hooks(false);
        h.notify(notice("a", State::Master), Own::default());
        assert!(h.is_idle());
        h.notify(notice("a", State::Master), OWN);
        assert_eq!(tick(&mut h, 0), [start(1, "a", State::Master, Whose::Own)]);
        h.done(1, Ok(()));
        assert!(h.is_idle());
    }

    #[test]
    fn the_newest_state_wins() {
        let mut h = hooks(true);
        h.notify(notice("a", State::Backup), OWN);
        tick(&mut h, 0);
        h.notify(notice("a", State::Master), OWN);
        h.notify(notice("a", State::Fault), OWN);
        assert_eq!(tick(&mut h, 1), [], "one at a time");
        h.done(1, Ok(()));
        // Not the global command with BACKUP: that is over.
        assert_eq!(tick(&mut h, 1), [start(2, "a", State::Fault, Whose::Own)]);
        h.done(2, Ok(()));
        assert_eq!(tick(&mut h, 1), [start(3, "a", State::Fault, Whose::Global)]);
    }

    #[test]
    fn one_that_hangs_is_killed_once_and_stops_nobody_else() {
        let mut h = hooks(false);
        h.notify(notice("a", State::Master), OWN);
        h.notify(notice("b", State::Master), OWN);
        assert_eq!(tick(&mut h, 0).len(), 2);
        h.notify(notice("a", State::Stop), OWN);
        assert_eq!(h.done(2, Ok(())), None);
        assert_eq!(h.deadline(), Some(Time::from_nanos(30_000_000_000)));
        assert_eq!(tick(&mut h, 29), []);
        assert_eq!(tick(&mut h, 30), [Action::Kill { job: 1 }]);
        assert_eq!((tick(&mut h, 31), h.deadline()), (vec![], None));
        let killed = h.done(1, Err(Failure::Exit(Exit::Signal(9))));
        assert_eq!(killed, Some((notice("a", State::Master), Failure::TimedOut)));
        assert_eq!(tick(&mut h, 31), [start(3, "a", State::Stop, Whose::Own)]);
    }

    #[test]
    fn few_run_at_once_and_who_waited_longest_is_next() {
        let mut h = hooks(true);
        for i in 0..20 {
            h.notify(notice(&format!("{i}"), State::Master), OWN);
        }
        assert_eq!(tick(&mut h, 0).len(), MAX_RUNNING);
        h.done(3, Ok(()));
        assert_eq!(tick(&mut h, 0), [start(9, "8", State::Master, Whose::Own)]);
        let mut started = 9;
        let mut ended: Vec<u64> = vec![3];
        while let Some(job) = (1..=started).find(|job| !ended.contains(job)) {
            h.done(job, Ok(()));
            ended.push(job);
            started += tick(&mut h, 0).len() as u64;
        }
        assert_eq!((started, h.is_idle()), (40, true));
    }

    #[test]
    fn a_stop_that_waits_no_longer() {
        let mut h = hooks(true);
        h.notify(notice("a", State::Stop), OWN);
        h.notify(notice("b", State::Stop), Own::default());
        tick(&mut h, 0);
        h.notify(notice("c", State::Stop), Own::default());
        let mut out = Vec::new();
        h.abandon(&mut out);
        assert_eq!(out, [Action::Kill { job: 1 }, Action::Kill { job: 2 }]);
        h.abandon(&mut out);
        assert_eq!((out.len(), tick(&mut h, 1), h.is_idle()), (2, vec![], false));
        h.done(1, Err(Failure::Exit(Exit::Signal(9))));
        h.done(2, Err(Failure::Exit(Exit::Signal(9))));
        assert!(h.is_idle());
    }

    proptest! {
        /// Whatever happens: one at a time for each subject, few in all, and the last state is the last that
        /// is told.
        #[test]
        fn order_and_bounds(steps in proptest::collection::vec((0u8..4, 0u8..12, 0u8..4), 1..300)) {
            let mut h = hooks(true);
            let mut running: Vec<(u64, Subject)> = Vec::new();
            let mut newest: Vec<(Subject, State)> = Vec::new();
            let mut told: Vec<(Subject, State, Whose)> = Vec::new();
            let states = [State::Master, State::Backup, State::Fault, State::Stop];
            let act = |h: &mut Hooks, running: &mut Vec<(u64, Subject)>, told: &mut Vec<_>| {
                for a in tick(h, 0) {
                    let Action::Start { job, notice, whose } = a else { panic!("too long") };
                    assert!(running.iter().all(|(_, s)| *s != notice.subject));
                    running.push((job, notice.subject.clone()));
                    told.push((notice.subject, notice.state, whose));
                    assert!(running.len() <= MAX_RUNNING);
                }
            };
            for (what, who, state) in steps {
                if what == 0 && !running.is_empty() {
                    let (job, _) = running.remove(usize::from(who) % running.len());
                    h.done(job, Ok(()));
                } else {
                    let n = notice(&who.to_string(), states[usize::from(state)]);
                    newest.retain(|(s, _)| *s != n.subject);
                    newest.push((n.subject.clone(), n.state));
                    h.notify(n, Own { state: who % 3 == 0, all: who % 2 == 0 });
                }
                act(&mut h, &mut running, &mut told);
            }
            while let Some((job, _)) = running.pop() {
                h.done(job, Ok(()));
                act(&mut h, &mut running, &mut told);
            }
            prop_assert!(h.is_idle());
            for (s, state) in newest {
                let last = told.iter().rev().find(|(t, ..)| *t == s);
                prop_assert_eq!(last, Some(&(s, state, Whose::Global)));
            }
        }
    }
}
