//! From the start of a process, or its adoption, to its first answer.

use super::{Action, Event, Probe, State, Supervisor};
use crate::base::time::Time;
use crate::haproxy::show_info::Info;
use std::time::Duration;

/// Pause between two probes while HAProxy starts.
pub(super) const PROBE_PAUSE: Duration = Duration::from_millis(5);
/// How long one probe may take while HAProxy starts: as long as the start has taken so far, within these. A
/// master of 3.1 and later takes questions before its worker can answer, and may forget them.
const PROBE_TIMEOUT_MIN: Duration = Duration::from_millis(20);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// An adopted HAProxy must answer within this, or it is replaced.
const ADOPTION_TIMEOUT: Duration = Duration::from_millis(200);
/// Why a configuration is refused in which nothing listens.
const NO_LISTENER: &str = "it has no `bind`";
/// After a start that took too long the next one gets so many times as long, up to this.
const START_FACTOR: u32 = 3;
const START_MAX: Duration = Duration::from_secs(600);

impl Supervisor {
    /// A HAProxy of an earlier vipd runs with our command line.
    pub(super) fn adopt(&mut self, pid: u32, copy: bool, now: Time) {
        self.copy.used = copy;
        self.state = State::Starting { pid, since: now, probe: Probe::At(now), adopted: true };
        self.out.emit(Event::Adopted { pid });
    }

    pub(super) fn spawned(&mut self, pid: u32, now: Time) {
        self.plain.started(pid);
        self.state = State::Starting { pid, since: now, probe: Probe::At(now + PROBE_PAUSE), adopted: false };
        self.out.emit(Event::Started { pid });
    }

    pub(super) fn spawn_failed(&mut self, errno: i32, now: Time) {
        if self.restore(None, None, now) {
            return;
        }
        let retry = self.back_off(now);
        self.out.emit(Event::SpawnFailed { errno, retry });
    }

    /// There is no listener in the configuration: a file that a power cut left empty, say. A HAProxy that
    /// serves nobody is not ready, and one that serves goes on with what it has.
    pub(super) fn no_listener(&mut self, now: Time) {
        if !self.unusable(NO_LISTENER, now)
            && let State::Down { .. } = self.state
        {
            let died = self.died_at;
            let retry = self.back_off(now);
            self.out.emit(Event::NoListener { retry });
            self.died_at = died;
            self.use_copy();
        }
    }

    pub(super) fn start_limit(&self) -> Duration {
        if self.is_adopting() { ADOPTION_TIMEOUT } else { self.next_start_limit() }
    }

    /// `start_timeout`, or more if earlier starts took longer: a HAProxy that waits for a name server or
    /// reads large files becomes ready, unless it is killed first.
    fn next_start_limit(&self) -> Duration {
        let base = self.cfg.start_timeout;
        let grown = base.max(self.start_took.unwrap_or_default() * START_FACTOR)
            * START_FACTOR.saturating_pow(self.timeouts);
        grown.min(START_MAX.max(base))
    }

    pub(super) fn tick_starting(&mut self, now: Time) {
        let limit = self.start_limit();
        let State::Starting { pid, since, probe, adopted } = &mut self.state else { return };
        let age = now.since(*since);
        match *probe {
            _ if age >= limit => {
                let (pid, since, adopted) = (*pid, *since, *adopted);
                self.start_timed_out(pid, since, adopted, limit);
            }
            Probe::At(t) if now >= t => {
                let limit = match adopted {
                    true => PROBE_TIMEOUT,
                    false => age.clamp(PROBE_TIMEOUT_MIN, PROBE_TIMEOUT),
                };
                *probe = Probe::Asked(now + limit);
                self.out.act(Action::Probe { direct: self.plain.ask_directly(age, *adopted) });
            }
            Probe::Asked(t) if now >= t => {
                *probe = Probe::At(now + PROBE_PAUSE);
                self.out.act(Action::CancelProbe);
            }
            _ => {}
        }
    }

    fn start_timed_out(&mut self, pid: u32, since: Time, adopted: bool, limit: Duration) {
        self.state = State::Killed { pid, since };
        if !adopted {
            self.timeouts = (self.timeouts + 1).min(16);
        }
        self.out.emit(Event::StartTimeout { limit, next: self.next_start_limit() });
        self.out.act(Action::CancelProbe);
        self.out.act(Action::Kill { pid });
    }

    /// The first answer, if it comes from the process that was started.
    pub(super) fn answered_start(&mut self, pid: u32, info: Info, now: Time) {
        let State::Starting { pid: ours, since, .. } = self.state else { return };
        if pid != ours {
            return self.probe_failed(now); // the socket of an earlier HAProxy
        }
        let after = now.since(since);
        if !self.is_adopting() {
            // What was once slow may have become fast.
            self.start_took = Some(after.max(self.start_took.unwrap_or_default() / 2));
            self.timeouts = 0;
        }
        self.state = State::Ready { pid, worker: info.pid, since: now, probe: Probe::At(now) };
        self.first_check(now);
        self.died_at = None;
        self.version.clone_from(&info.version);
        self.out.emit(Event::Ready { pid, worker: info.pid, version: info.version, after });
        if self.plain.answered(pid == info.pid) {
            self.out.emit(Event::Plain);
        }
        if self.copy.used {
            self.out.emit(Event::Copy);
        }
        self.retire_others(now);
    }
}
