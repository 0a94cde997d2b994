//! When which mail is sent: few at once, a few times, and not too many in an hour.

use crate::base::time::{Time, earlier};
use crate::notify::notice::Notice;
use std::time::Duration;

/// Children at once.
const MAX_ACTIVE: usize = 3;
/// Mails that wait.
const MAX_WAITING: usize = 64;
/// Mails that go out at once after a quiet time, and how long it takes until one more may.
const BURST: u32 = 60;
const REFILL: Duration = Duration::from_secs(120);
/// Pauses before the further attempts.
const RETRIES: [Duration; 3] = [Duration::from_secs(15), Duration::from_secs(60), Duration::from_secs(300)];
/// What an attempt may take beside the connect.
pub const DIALOGUE: Duration = Duration::from_secs(60);
/// The child ends by itself; one that does not, because looking a name up takes for ever, is killed.
const GRACE: Duration = Duration::from_secs(5);

/// What the daemon is to do.
#[allow(missing_docs)] // the fields are named in the variants' comments
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Try to send mail number `id` about what happened that long ago, and say that `lost` ones were not
    /// sent: answered by `done`.
    Send { job: u64, id: u64, notice: Notice, age: Duration, lost: u32 },
    /// Kill it; its exit is answered by `done` all the same.
    Kill { job: u64 },
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server has it.
    Sent,
    /// It may be tried again.
    Later,
    /// It is of no use.
    Refused,
}

/// What becomes of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The server has it.
    Sent,
    /// It is tried again.
    Delayed(Duration),
    /// It is not.
    Lost,
    /// Too many: some are left out.
    TooMany,
}

#[derive(Clone, Debug)]
struct Mail {
    /// The same in all attempts.
    id: u64,
    notice: Notice,
    happened: Time,
    /// The next attempt.
    at: Time,
    failures: usize,
    lost: u32,
}

#[derive(Clone, Debug)]
struct Active {
    job: u64,
    mail: Mail,
    until: Time,
    killed: bool,
}

/// All mails of a node.
#[derive(Clone, Debug)]
pub struct Outbox {
    waiting: Vec<Mail>,
    active: Vec<Active>,
    /// Longest attempt.
    limit: Duration,
    tokens: u32,
    refill_at: Time,
    /// Left out since the last that was sent.
    lost: u32,
    last_job: u64,
    last_mail: u64,
}

impl Outbox {
    /// Nothing is sent yet.
    pub fn new(now: Time) -> Self {
        Outbox {
            waiting: Vec::new(),
            active: Vec::new(),
            limit: DIALOGUE + GRACE,
            tokens: BURST,
            refill_at: now + REFILL,
            lost: 0,
            last_job: 0,
            last_mail: 0,
        }
    }

    /// `smtp_connect_timeout`
    pub fn set_timeout(&mut self, connect: Duration) {
        self.limit = connect + DIALOGUE + GRACE;
    }

    /// A state change. Started by the next `tick`. Returns what is worth a line.
    pub fn notify(&mut self, notice: Notice, now: Time) -> Option<Delivery> {
        self.refill(now);
        self.last_mail += 1;
        let mail = Mail { id: self.last_mail, notice, happened: now, at: now, failures: 0, lost: 0 };
        // While too many wait, at least the last state of each is told.
        let same = |m: &&mut Mail| m.failures == 0 && m.notice.subject == mail.notice.subject;
        let older = self.waiting.iter_mut().find(same).filter(|_| self.tokens == 0);
        if let Some(older) = older {
            *older = mail;
        } else if self.waiting.len() < MAX_WAITING {
            self.waiting.push(mail);
            return None;
        }
        self.lost += 1;
        (self.lost == 1).then_some(Delivery::TooMany)
    }

    fn refill(&mut self, now: Time) {
        while self.tokens < BURST && now >= self.refill_at {
            self.tokens += 1;
            self.refill_at += REFILL;
        }
        if self.tokens == BURST {
            self.refill_at = now + REFILL;
        }
    }

    /// Starts what may start, and kills what takes too long.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Action>) {
        for a in self.active.iter_mut().filter(|a| now >= a.until && !a.killed) {
            a.killed = true;
            out.push(Action::Kill { job: a.job });
        }
        self.refill(now);
        while self.active.len() < MAX_ACTIVE {
            let tokens = self.tokens;
            let may = |m: &Mail| now >= m.at && (m.failures > 0 || tokens > 0);
            let Some(i) = self.waiting.iter().position(may) else { break };
            let mut mail = self.waiting.remove(i);
            if mail.failures == 0 {
                self.tokens -= 1;
                mail.lost = std::mem::take(&mut self.lost);
            }
            self.last_job += 1;
            let (job, notice, lost) = (self.last_job, mail.notice.clone(), mail.lost);
            out.push(Action::Send { job, id: mail.id, notice, age: now.since(mail.happened), lost });
            self.active.push(Active { job, mail, until: now + self.limit, killed: false });
        }
    }

    /// An attempt ended.
    pub fn done(&mut self, job: u64, outcome: Outcome, now: Time) -> Option<(Notice, Delivery)> {
        let i = self.active.iter().position(|a| a.job == job)?;
        let mut mail = self.active.remove(i).mail;
        let notice = mail.notice.clone();
        let said = match (outcome, RETRIES.get(mail.failures)) {
            (Outcome::Sent, _) => Delivery::Sent,
            (Outcome::Later, Some(&pause)) if self.waiting.len() < MAX_WAITING => {
                mail.failures += 1;
                mail.at = now + pause;
                self.waiting.push(mail);
                Delivery::Delayed(pause)
            }
            _ => Delivery::Lost,
        };
        Some((notice, said))
    }

    /// The earliest time at which `tick` has something to do.
    pub fn deadline(&self) -> Option<Time> {
        let kill = self.active.iter().filter(|a| !a.killed).map(|a| a.until);
        let free = self.active.len() < MAX_ACTIVE;
        let start = self.waiting.iter().filter(|_| free).map(|m| match m.failures {
            0 if self.tokens == 0 => m.at.max(self.refill_at),
            _ => m.at,
        });
        kill.chain(start).fold(None, |at, t| earlier(at, Some(t)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::notice::Reason;
    use crate::notify::notice::State;
    use crate::notify::notice::Subject;

    fn at(s: u64) -> Time {
        Time::from_nanos((1000 + s) * 1_000_000_000)
    }

    fn notice(name: &str, state: State) -> Notice {
        Notice { subject: Subject::Router(name.into()), state, priority: 100, reason: Reason::None }
    }

    fn outbox() -> Outbox {
        let mut o = Outbox::new(at(0));
        o.set_timeout(Duration::from_secs(30));
        o
    }

    fn tick(o: &mut Outbox, s: u64) -> Vec<Action> {
        let mut out = Vec::new();
        o.tick(at(s), &mut out);
        out
    }

    fn send(job: u64, id: u64, name: &str, state: State, age: u64, lost: u32) -> Action {
        Action::Send { job, id, notice: notice(name, state), age: Duration::from_secs(age), lost }
    }

    #[test]
    fn one_is_sent_at_once_and_again_if_that_fails() {
        let mut o = outbox();
        assert_eq!((o.notify(notice("a", State::Master), at(1)), o.deadline()), (None, Some(at(1))));
        assert_eq!(tick(&mut o, 1), [send(1, 1, "a", State::Master, 0, 0)]);
        assert_eq!((tick(&mut o, 2), o.deadline()), (vec![], Some(at(96))));
        let mut now = 2;
        for (job, pause) in [(1, 15), (2, 60), (3, 300)] {
            let said = Delivery::Delayed(Duration::from_secs(pause));
            assert_eq!(o.done(job, Outcome::Later, at(now)), Some((notice("a", State::Master), said)));
            assert_eq!((tick(&mut o, now + pause - 1), o.deadline()), (vec![], Some(at(now + pause))));
            now += pause;
            assert_eq!(tick(&mut o, now), [send(job + 1, 1, "a", State::Master, now - 1, 0)]);
        }
        assert_eq!(o.done(4, Outcome::Later, at(now)), Some((notice("a", State::Master), Delivery::Lost)));
        assert_eq!((o.deadline(), o.done(4, Outcome::Sent, at(now))), (None, None));
    }

    #[test]
    fn a_refusal_is_final() {
        let mut o = outbox();
        o.notify(notice("a", State::Fault), at(0));
        tick(&mut o, 0);
        assert_eq!(o.done(1, Outcome::Refused, at(0)).map(|(_, said)| said), Some(Delivery::Lost));
        o.notify(notice("a", State::Master), at(0));
        tick(&mut o, 0);
        assert_eq!(o.done(2, Outcome::Sent, at(0)).map(|(_, said)| said), Some(Delivery::Sent));
    }

    #[test]
    fn few_at_once_and_one_that_hangs_is_killed() {
        let mut o = outbox();
        for name in ["a", "b", "c", "d"] {
            o.notify(notice(name, State::Master), at(0));
        }
        assert_eq!(tick(&mut o, 0).len(), 3);
        assert_eq!((tick(&mut o, 94), o.deadline()), (vec![], Some(at(95))));
        let killed: Vec<Action> = (1..4).map(|job| Action::Kill { job }).collect();
        assert_eq!(tick(&mut o, 95), killed);
        assert_eq!((tick(&mut o, 96), o.deadline()), (vec![], None));
        o.done(2, Outcome::Later, at(96));
        assert_eq!(tick(&mut o, 96), [send(4, 4, "d", State::Master, 96, 0)]);
    }

    #[test]
    fn too_many_are_left_out_but_not_the_last_of_anybody() {
        let mut o = outbox();
        let mut sent = 0;
        for i in 0..1000 {
            let state = if i % 2 == 0 { State::Master } else { State::Backup };
            let said = o.notify(notice("a", state), at(0));
            assert_eq!(said, (i == BURST as usize + 1).then_some(Delivery::TooMany), "mail {i}");
            for a in tick(&mut o, 0) {
                let Action::Send { job, .. } = a else { panic!("{a:?}") };
                o.done(job, Outcome::Sent, at(0));
                sent += 1;
            }
        }
        assert_eq!((sent, o.deadline()), (BURST, Some(at(120))));
        // 1000 - 60 - this one.
        assert_eq!(tick(&mut o, 120), [send(61, 1000, "a", State::Backup, 120, 939)]);
        o.done(61, Outcome::Sent, at(120));
        o.notify(notice("a", State::Master), at(121));
        assert_eq!((tick(&mut o, 239), o.deadline()), (vec![], Some(at(240))));
        assert_eq!(tick(&mut o, 240), [send(62, 1001, "a", State::Master, 119, 0)]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut o = outbox();
        for i in 0..1000 {
            o.notify(notice(&i.to_string(), State::Master), at(0));
        }
        assert_eq!((o.waiting.len(), o.lost), (MAX_WAITING, 1000 - 64));
        tick(&mut o, 0);
        o.notify(notice("x", State::Master), at(0));
        assert_eq!((o.active.len(), o.waiting.len()), (MAX_ACTIVE, MAX_WAITING - MAX_ACTIVE + 1));
        // No room to try again.
        while o.waiting.len() < MAX_WAITING {
            o.notify(notice("y", State::Master), at(0));
        }
        assert_eq!(o.done(1, Outcome::Later, at(0)).map(|(_, said)| said), Some(Delivery::Lost));
    }
}
