//! The state machine of one virtual router (RFC 9568 §6.4, RFC 3768 §6.4), pure: `(now, input) -> actions`.
//!
//! Deadlines live inside the states, so a stale timer cannot exist. The machine knows nothing of addresses,
//! sockets or HAProxy: it says *advert*, *acquire*, *release*, and in which order.
//!
//! | state  | input                        | actions in order                         | next   |
//! |--------|------------------------------|------------------------------------------|--------|
//! | Init   | Start, owner                 | Advert(255) Acquire Entered              | Master |
//! | Init   | Start                        | Entered                                  | Backup |
//! | Init   | Resume                       | Advert Acquire Entered                   | Master |
//! | Backup | Leave, Fault                 | Entered                                  | Init   |
//! | Backup | Tick, down timer             | Advert Acquire Entered                   | Master |
//! | Backup | advert 0 of the master heard | Noted; down timer := skew (see `better_master`)  | Backup |
//! | Backup | advert >= own, or no preempt | down timer anew                          | Backup |
//! | Backup | lower advert, preempt        | down timer runs on (after preempt_delay) | Backup |
//! | Master | Tick, advert timer           | Advert                                   | Master |
//! | Master | advert 0                     | Advert, advert timer anew; bounded       | Master |
//! | Master | higher advert, or higher tie | Noted Release(AfterSuccessor) Entered    | Backup |
//! | Master | lower advert                 | Noted Advert Reannounce; bounded         | Master |
//! | Master | Leave                        | Release(AfterSuccessor) Advert(0) Entered| Init   |
//! | Master | Fault                        | Release(Now) Advert(0) Entered           | Init   |
//! | Master | Stall                        | Release(Now) Entered                     | Backup |
//! | Master | Yield                        | Release(AfterSuccessor) Entered          | Backup |
//! | Init   | Priority                     | -                                        | Init   |
//! | Backup | Priority                     | down timer moves by the skew's change    | Backup |
//! | Master | Priority                     | -; the next advert has it                | Master |
//! | Master | Resign                       | Offer Advert(0)                        | Soliciting |
//! | Soliciting | any advert above 0         | Release(AfterSuccessor) Entered Resigned | Backup |
//! | Soliciting | Tick, nobody came          | Keep Advert Resigned                     | Master |
//! | Soliciting | Tick, nobody came, forced  | Release(Now) Entered Resigned            | Backup |
//! | Soliciting | Leave, Fault, Stall, Yield | as a master, but no second Advert(0)     |        |
//!
//! *Soliciting* is a master that was told to resign: backups are silent, so whether there is one is found out
//! by priority 0. It keeps the addresses and answers nothing until somebody takes over. `resign` has what
//! comes of it.
//!
//! A lower advert is answered in both versions, as keepalived does: RFC 9568 asks for it, RFC 3768 is
//! silent, and the other master is gone the sooner.

mod learn;
mod resign;
mod retune;

use super::timers;
use crate::base::time::Time;
use crate::config::Version;
use crate::config::lease::Wait;
pub use learn::Told;
pub use resign::{Resigned, Soliciting};
pub use retune::Tuning;
use std::net::IpAddr;
use std::time::Duration;

/// What the machine is run with.
#[derive(Clone, Debug)]
pub struct Params {
    /// Protocol version.
    pub version: Version,
    /// Priority, 1 to 255; 255 is the owner.
    pub priority: u8,
    /// Own Advertisement_Interval.
    pub advert_int: Duration,
    /// Preempt_Mode.
    pub preempt: bool,
    /// How long a living lower-priority master is respected.
    pub preempt_delay: Duration,
    /// Adverts in the down timer; the RFCs' 3.
    pub down_timer_adverts: u32,
    /// Source address of our adverts: breaks ties.
    pub own: IpAddr,
    /// Origin of the node's advert grid.
    pub epoch: Time,
}

impl Params {
    /// What the backups of a master with these parameters count by.
    pub fn wait(&self) -> Wait {
        Wait::new(self.advert_int, self.down_timer_adverts)
    }

    /// Whether a master with these parameters gives way to `m`.
    pub fn outranked_by(&self, m: Master) -> bool {
        m.priority > self.priority || (m.priority == self.priority && m.src > self.own)
    }
}

/// A state, its deadlines inside.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Not taking part.
    Init,
    /// Listening to a master.
    Backup {
        /// When the master counts as dead.
        down_at: Time,
        /// The interval that is counted by: learned in v3 (see `learn`), our own in v2.
        interval: Duration,
        /// Who sent the advert that was accepted last, and the interval in it.
        told: Option<Told>,
        /// End of `preempt_delay`, once a lower-priority master was heard.
        preempt_at: Option<Time>,
        /// The master whose advert was accepted last.
        master: Option<Master>,
        /// The master of lower priority that was heard last, while it is being preempted.
        lower: Option<Master>,
    },
    /// Advertising.
    Master {
        /// When the next advert is due.
        advert_at: Time,
        /// The last time another's advert was answered.
        answered: Option<Time>,
    },
    /// Master, told to resign; nobody has come yet.
    Soliciting(Soliciting),
}

/// A master that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Master {
    /// Source address of its adverts.
    pub src: IpAddr,
    /// Its priority.
    pub priority: u8,
}

/// The name of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `State::Init`
    Init,
    /// `State::Backup`
    Backup,
    /// `State::Master`
    Master,
}

/// What can happen to a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Input {
    /// Take part from now on.
    Start,
    /// Take part as the master that this node was an instant ago (its leases still run).
    Resume,
    /// Hand over and stop taking part.
    Leave,
    /// Cannot serve: let go first, then tell.
    Fault,
    /// Woken after the backups' down timer: somebody else may be master since.
    Stall,
    /// Another member of the sync group was outranked.
    Yield,
    /// An advert that passed the receive ladder.
    Advert {
        /// Its source.
        src: IpAddr,
        /// Its priority, 0 included.
        priority: u8,
        /// Its interval.
        interval: Duration,
    },
    /// Tracking has changed the priority, 1 to 254; never an owner's.
    Priority(u8),
    /// Hand over on command.
    Resign {
        /// How long to wait for a successor.
        wait: Duration,
        /// How long not to preempt, from now.
        no_preempt_for: Duration,
        /// Give the addresses up even if nobody comes.
        force: bool,
    },
    /// Time has passed.
    Tick,
}

/// Why a state was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Started, or recovered from a fault.
    Started,
    /// We own the addresses.
    Owner,
    /// Our lease was still running.
    Resumed,
    /// The master fell silent.
    MasterDown,
    /// The master sent priority 0.
    MasterLeft,
    /// Nobody has been heard since the start.
    NoMaster,
    /// A master of lower priority was preempted.
    Preempted,
    /// A higher priority was heard, or the same from a higher address.
    Outranked(Master),
    /// This process did not run for longer than the backups wait.
    Stalled,
    /// Another member of the sync group was outranked.
    Group,
    /// Told to resign.
    Resigned,
    /// Asked to leave.
    Left,
    /// A fault.
    Faulted,
}

/// How addresses are let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// At once.
    Now,
    /// Once the successor has announced them (make before break).
    AfterSuccessor,
}

/// Something heard that is worth a word and changes no state by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// As master: a higher advert.
    HigherAdvert(Master),
    /// As master: a lower advert.
    LowerAdvert(Master),
    /// As backup: the master gave up.
    MasterGone(Master),
    /// As backup: priority 0 from somebody who is not the master that was heard; ignored.
    StrangerGone(IpAddr),
    /// As the owner: somebody else claims to be the owner (RFC 9568 erratum 8298).
    SecondOwner(Master),
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// Send an advert with this priority.
    Advert(u8),
    /// Add the addresses and announce them.
    Acquire,
    /// Let the addresses go.
    Release(Release),
    /// Keep the addresses without adverts: somebody else is asked to take them.
    Offer,
    /// Nobody did: they are ours by adverts again.
    Keep,
    /// What became of `Resign`.
    Resigned(Resigned),
    /// Announce again: somebody else announced the addresses.
    Reannounce,
    /// A state was entered.
    Entered(Kind, Why),
    /// Heard.
    Noted(Note),
}

/// One virtual router's state machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Parameters; the node keeps `own` up to date.
    pub params: Params,
    state: State,
    /// Resigned: does not preempt until then.
    no_preempt_until: Option<Time>,
    /// As master, after a change of the interval: what the backups wait until they have heard of it.
    promised: Option<Wait>,
    /// When this was last master because somebody sent priority 0.
    last_priority_zero_takeover: Option<Time>,
    /// As backup: a master that a lower one was accepted after, and when it counts as dead.
    better_master: Option<(Master, Time)>,
}

impl Machine {
    /// A machine in `Init`.
    pub fn new(params: Params) -> Self {
        Machine {
            params,
            state: State::Init,
            no_preempt_until: None,
            promised: None,
            last_priority_zero_takeover: None,
            better_master: None,
        }
    }

    /// The state with its deadlines.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state's name.
    pub fn kind(&self) -> Kind {
        match self.state {
            State::Init => Kind::Init,
            State::Backup { .. } => Kind::Backup,
            State::Master { .. } | State::Soliciting(_) => Kind::Master,
        }
    }

    /// When `Tick` is due.
    pub fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Init => None,
            State::Backup { down_at, .. } => Some(down_at),
            State::Master { advert_at, .. } => Some(advert_at),
            State::Soliciting(s) => Some(s.until),
        }
    }

    /// What every backup waits at the least: N × I of the adverts that it heard last.
    pub fn min_down_interval(&self) -> Duration {
        self.promised.unwrap_or(self.params.wait()).min_down_interval
    }

    /// What a lease may count by: the shorter one of what the backups wait now and what they are about to be
    /// told.
    pub fn lease_wait(&self) -> Wait {
        let own = self.params.wait();
        self.promised.filter(|p| p.min_down_interval < own.min_down_interval).unwrap_or(own)
    }

    /// One step.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Action>) {
        match (&self.state, input) {
            (_, Input::Priority(priority)) => self.set_priority(now, priority),
            (_, Input::Resign { wait, no_preempt_for, force }) => {
                self.resign(now, wait, no_preempt_for, force, out)
            }
            (State::Soliciting(s), input) => self.step_soliciting(now, *s, input, out),
            (State::Init, Input::Start) if self.params.priority == 255 => self.lead(now, Why::Owner, out),
            (State::Init, Input::Start) => self.follow(now, None, Why::Started, out),
            (State::Init, Input::Resume) => self.lead(now, Why::Resumed, out),
            (State::Init, _) => {}

            (State::Backup { .. }, Input::Leave) => self.rest(Why::Left, out),
            (State::Backup { .. }, Input::Fault) => self.rest(Why::Faulted, out),
            (State::Backup { down_at, .. }, Input::Tick) if now >= *down_at => {
                let why = self.takeover_reason();
                self.lead(now, why, out);
            }
            (State::Backup { .. }, Input::Advert { src, priority, interval }) => {
                self.backup_hears(now, Master { src, priority }, interval, out);
            }
            (State::Backup { .. }, _) => {}

            (State::Master { .. }, Input::Leave) => {
                // Priority 0 last: after it the others hardly wait, so the leases are short by then.
                out.extend([Action::Release(Release::AfterSuccessor), Action::Advert(0)]);
                self.rest(Why::Left, out);
            }
            (State::Master { .. }, Input::Fault) => {
                out.extend([Action::Release(Release::Now), Action::Advert(0)]);
                self.rest(Why::Faulted, out);
            }
            (State::Master { .. }, Input::Stall) => {
                self.give_up(now, Release::Now, Why::Stalled, out);
            }
            (State::Master { .. }, Input::Yield) => {
                self.give_up(now, Release::AfterSuccessor, Why::Group, out);
            }
            (State::Master { advert_at, .. }, Input::Tick) if now >= *advert_at => {
                out.push(Action::Advert(self.params.priority));
                self.rearm(now);
            }
            (State::Master { .. }, Input::Advert { src, priority, interval }) => {
                self.master_hears(now, Master { src, priority }, interval, out);
            }
            (State::Master { .. }, _) => {}
        }
    }

    fn lead(&mut self, now: Time, why: Why, out: &mut Vec<Action>) {
        // The advert goes first: the old master must let go before we answer for its addresses.
        out.extend([
            Action::Advert(self.params.priority),
            Action::Acquire,
            Action::Entered(Kind::Master, why),
        ]);
        let advert_at = timers::next_on_grid(now, self.params.epoch, self.params.advert_int);
        self.state = State::Master { advert_at, answered: None };
        self.no_preempt_until = None;
        if why == Why::MasterLeft {
            self.last_priority_zero_takeover = Some(now);
        }
    }

    /// A master becomes backup without having heard another one.
    fn give_up(&mut self, now: Time, how: Release, why: Why, out: &mut Vec<Action>) {
        out.push(Action::Release(how));
        self.follow(now, None, why, out);
    }

    /// Becomes backup, of that master with that interval if one was heard.
    fn follow(&mut self, now: Time, heard: Option<(Master, Duration)>, why: Why, out: &mut Vec<Action>) {
        (self.promised, self.better_master) = (None, None);
        out.push(Action::Entered(Kind::Backup, why));
        let told = heard.map(|(m, interval)| Told { src: m.src, interval });
        let interval = self.learned(None, told);
        let down_at = now + self.down_interval(interval);
        let master = heard.map(|(m, _)| m);
        self.state = State::Backup { down_at, interval, told, preempt_at: None, master, lower: None };
    }

    /// A master that has become weaker sends no advert for it, as in keepalived: a backup's down timer runs
    /// from the last advert that it accepted, so it would not preempt the sooner.
    fn set_priority(&mut self, now: Time, priority: u8) {
        let old = std::mem::replace(&mut self.params.priority, priority);
        let p = &self.params;
        let State::Backup { down_at, interval, preempt_at, master, lower, .. } = &mut self.state else {
            return;
        };
        let skew = |priority| timers::skew(p.version, priority, *interval);
        *down_at = *down_at + skew(priority) - skew(old);
        if let Some(outranks) = lower.take_if(|m| m.priority >= priority) {
            // It was being preempted, and is followed now.
            (*master, *preempt_at) = (Some(outranks), None);
            *down_at = now + timers::down_interval(p.version, priority, *interval, p.down_timer_adverts);
        }
    }

    fn rest(&mut self, why: Why, out: &mut Vec<Action>) {
        self.promised = None;
        out.push(Action::Entered(Kind::Init, why));
        self.state = State::Init;
    }

    fn rearm(&mut self, now: Time) {
        let next = timers::next_on_grid(now, self.params.epoch, self.params.advert_int);
        if let State::Master { advert_at, .. } = &mut self.state {
            *advert_at = next;
        }
    }

    fn down_interval(&self, interval: Duration) -> Duration {
        let p = &self.params;
        timers::down_interval(p.version, p.priority, interval, p.down_timer_adverts)
    }

    fn takeover_reason(&self) -> Why {
        match self.state {
            // A preempted master's adverts do not move the down timer, so it is still talking.
            State::Backup { lower: Some(m), .. } if m.priority != 0 => Why::Preempted,
            State::Backup { master: None, lower: None, .. } => Why::NoMaster,
            State::Backup { master: Some(m), .. } if m.priority != 0 => Why::MasterDown,
            _ => Why::MasterLeft,
        }
    }

    fn backup_hears(&mut self, now: Time, heard: Master, heard_interval: Duration, out: &mut Vec<Action>) {
        let mut p = self.params.clone();
        p.preempt &= self.no_preempt_for(now).is_none();
        let new = Told { src: heard.src, interval: heard_interval };
        let State::Backup { interval, told, .. } = self.state else { return };
        let learned = self.learned(told.map(|t| (interval, t)), Some(new));
        let next_down = self.down_interval(learned);
        // Once in N × I: who sends a higher advert and priority 0 in turn must not make a master, with all
        // that it has to announce, of every two packets. The timer does not need it.
        let hurries = self.last_priority_zero_takeover.is_none_or(|t| now >= t + self.min_down_interval());
        let State::Backup { down_at, interval, told, preempt_at, master, lower } = &mut self.state else {
            return;
        };
        if heard.priority == 0 {
            self.better_master = self.better_master.filter(|(m, _)| m.src != heard.src);
            // Only the master that was heard can resign; anybody else's priority 0 is a forgery or noise.
            // Where all that was heard is a master about to be preempted, that one may; but there may be
            // another master, to be respected, who is heard within an interval: this node has just begun to
            // listen.
            let unheard = if master.is_none() { *interval } else { Duration::ZERO };
            match master.as_mut().or(lower.as_mut()) {
                Some(m) if m.src == heard.src => {
                    let skew = timers::skew(p.version, p.priority, *interval) + unheard;
                    if m.priority != 0 {
                        out.push(Action::Noted(Note::MasterGone(*m)));
                    }
                    if hurries {
                        let alive = self.better_master.map_or(now, |(_, until)| until);
                        *down_at = (*down_at).min(alive.max(now + skew));
                    }
                    m.priority = 0;
                    if master.is_some() {
                        lower.take_if(|m| m.src == heard.src); // nobody is preempted any more
                    }
                }
                _ => out.push(Action::Noted(Note::StrangerGone(heard.src))),
            }
            return;
        }
        let outranks = heard.priority >= p.priority;
        if p.preempt && !outranks {
            let ends = *preempt_at.get_or_insert(now + p.preempt_delay);
            if now >= ends {
                *lower = Some(heard);
                return; // discarded: the down timer runs on
            }
        } else {
            *preempt_at = None;
        }
        // A lower master that is accepted, during preempt_delay or without preempt, may only be deaf to a
        // better one, which is master still when the lower one leaves.
        let gives_way = |m: Master| m.src == heard.src || (m.priority, m.src) < (heard.priority, heard.src);
        self.better_master = match *master {
            Some(m) if m.priority != 0 && !gives_way(m) => Some((m, *down_at)),
            _ => self.better_master.filter(|(m, _)| !gives_way(*m)),
        };
        (*master, *lower) = (Some(heard), None);
        (*interval, *told) = (learned, Some(new));
        *down_at = now + next_down;
    }

    fn master_hears(&mut self, now: Time, heard: Master, interval: Duration, out: &mut Vec<Action>) {
        let p = &self.params;
        if heard.priority == 255 && p.priority == 255 {
            out.push(Action::Noted(Note::SecondOwner(heard)));
        }
        if p.outranked_by(heard) {
            out.push(Action::Noted(Note::HigherAdvert(heard)));
            out.push(Action::Release(Release::AfterSuccessor));
            self.follow(now, Some((heard, interval)), Why::Outranked(heard), out);
            return;
        }
        if heard.priority != 0 {
            out.push(Action::Noted(Note::LowerAdvert(heard)));
        }
        if !self.may_answer(now) {
            return;
        }
        out.push(Action::Advert(self.params.priority));
        if heard.priority == 0 {
            self.rearm(now);
        } else {
            out.push(Action::Reannounce);
        }
    }

    /// At most one answer per max(I/4, 10 ms): nothing a packet holds may be amplified.
    fn may_answer(&mut self, now: Time) -> bool {
        let gap = (self.params.advert_int / 4).max(Duration::from_millis(10));
        let State::Master { answered, .. } = &mut self.state else { return false };
        if answered.is_some_and(|t| now < t + gap) {
            return false;
        }
        *answered = Some(now);
        true
    }
}

#[cfg(test)]
mod tests;
