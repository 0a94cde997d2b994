//! `auth_hmac`: adverts with an authentication trailer (draft-cassen-vrrp-auth-hmac), as keepalived 2.4.3
//! sends and checks them. The layout is `wire::auth_trailer`'s.
//!
//! Every trailer has a sequence, which is a time of the wall clock. A receiver keeps the highest one of each
//! sender, its mark, and takes no advert that is not above it. With a time window it takes no sequence that
//! is further from its own clock than that either; and it forgets a mark that is, so that a clock that was
//! wrong can be set right. Without one (`auth_hmac_anti_replay = monotonic`) clocks need not agree, and marks
//! last.
//!
//! keepalived forgets its marks when it ends or reads its configuration again. vipd keeps them over a reload,
//! and in a file over a restart: a line `ADDRESS SEQUENCE` for each sender, and `sent SEQUENCE`, above which
//! nothing was sent.

use crate::base::text::Write;
use crate::config::{Hmac as Config, HmacMode};
use crate::vrrp::packet::Discard;
use crate::wire::auth_trailer::{self, Pseudo, Sequence, Trailer};
use std::net::IpAddr;
use std::time::Duration;

/// Senders whose marks are kept, as many as there may be peers; the one heard longest ago is forgotten first.
const SENDERS: usize = 255;
/// A mark is written again when it is ahead of the file by this: 1/4 s.
const MARK_STEP: u64 = 1 << 30;
/// How far the file is ahead of what is sent: 4 s. A restart goes on behind what the file says, and what a
/// machine sends after it lost the file, with its clock, is refused for as long.
const SENT_STEP: u64 = 4 << 32;

/// The highest sequence of one sender.
#[derive(Clone, Copy, Debug)]
struct Mark {
    src: IpAddr,
    last: Sequence,
    /// The one in the file.
    saved: Option<Sequence>,
    /// Its clock was near the end of the window.
    near: bool,
}

/// How far the clock of a sender is ahead of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    /// The sender.
    pub src: IpAddr,
    /// Whole seconds; negative: it is behind.
    pub seconds: i32,
    /// Its adverts are refused for that.
    pub stale: bool,
}

/// The method of one virtual router, with what it remembers.
#[derive(Clone, Debug)]
pub struct Hmac {
    /// The keys and how they are used.
    pub cfg: Config,
    /// Of the authentic advert that was heard last.
    pub skew: Option<Skew>,
    /// The sequence that was sent last, or may have been before a restart.
    last: Option<Sequence>,
    /// What the file says of it.
    sent: Option<Sequence>,
    /// Of each sender, those heard last at the end.
    marks: Vec<Mark>,
}

impl Hmac {
    /// A new one, with nothing remembered.
    pub fn new(cfg: Config) -> Self {
        Hmac { cfg, skew: None, last: None, sent: None, marks: Vec::new() }
    }

    /// Whether its adverts have a trailer.
    pub fn signs(&self) -> bool {
        self.cfg.mode != HmacMode::ReceiveOnly
    }

    // ---- sending ----

    /// Call before an advert: the file must name a sequence above the advert's. Returns whether the file must
    /// be written. With a time window the clock is enough, so nothing is written.
    pub fn reserve(&mut self, wall: Duration) -> bool {
        let next = self.next(wall);
        let covered = self.sent.is_some_and(|s| s.is_after(next));
        if covered || !self.signs() || self.cfg.time_window.is_some() {
            return false;
        }
        self.sent = Some(Sequence(next.0.wrapping_add(SENT_STEP)));
        true
    }

    /// The sequence of an advert that is sent now: the clock, or the one after the last if the clock is
    /// behind that.
    fn next(&self, wall: Duration) -> Sequence {
        let clock = Sequence::at(wall);
        let Some(last) = self.last else { return clock };
        let ahead = last.seconds_ahead_of(clock);
        // The clock was set back so far that receivers would refuse what goes on above the last.
        let too_far = self.cfg.time_window.is_some_and(|w| i64::from(ahead) > i64::from(w));
        if too_far || clock.is_after(last) { clock } else { last.next() }
    }

    /// Appends the trailer of the message that begins at `start` of `out`. `again`: another copy of the
    /// advert that was signed last.
    pub fn sign(&mut self, out: &mut Vec<u8>, start: usize, pseudo: &Pseudo, again: bool, wall: Duration) {
        let seq = self.last.filter(|_| again).unwrap_or_else(|| self.next(wall));
        self.last = Some(seq);
        // The configuration has it: `config::schema`.
        if let Some(key) = self.cfg.key(self.cfg.active) {
            auth_trailer::append(out, start, key.id, key.octets(), pseudo, seq);
        }
    }

    // ---- receiving ----

    /// Whether a message without a trailer is accepted.
    pub fn unsigned(&self) -> Result<(), Discard> {
        if self.cfg.mode == HmacMode::Enforce { Err(Discard::HmacMissing) } else { Ok(()) }
    }

    /// Checks a trailer, first failure first, and moves the mark of the sender if it is right. Returns the
    /// seconds that the sender's clock is ahead once when that becomes more than half of the window, else 0.
    pub fn verify(
        &mut self,
        t: &Trailer,
        pseudo: &Pseudo,
        message: &[u8],
        wall: Duration,
    ) -> Result<i32, Discard> {
        if !t.is_well_formed() {
            return Err(Discard::HmacMalformed);
        }
        let (clock, seq, window) = (Sequence::at(wall), t.sequence(), self.cfg.time_window);
        let seconds = seq.seconds_ahead_of(clock);
        let beyond = |seconds: i32| window.is_some_and(|w| seconds.unsigned_abs() > w);
        let key = self.cfg.key(t.key_id());
        let genuine = key.is_some_and(|key| t.verify(key.octets(), pseudo, message));
        let skew = Skew { src: pseudo.src, seconds, stale: beyond(seconds) };
        if genuine {
            self.skew = Some(skew);
        }
        if skew.stale {
            return Err(Discard::HmacStale);
        }
        if key.is_none() {
            return Err(Discard::HmacUnknownKey);
        }
        if !genuine {
            return Err(Discard::HmacInvalid);
        }
        let mark = self.marks.iter().find(|m| m.src == pseudo.src).map(|m| m.last);
        let mark = mark.filter(|m| !beyond(m.seconds_ahead_of(clock)));
        if mark.is_some_and(|m| !seq.is_after(m)) {
            return Err(Discard::HmacReplay);
        }
        let mut mark = self.take_mark(pseudo.src);
        mark.last = seq;
        let was_near = mark.near;
        // Not told again before it is well within.
        let limit = |w: u32| if was_near { w / 4 } else { w / 2 };
        mark.near = window.is_some_and(|w| seconds.unsigned_abs() > limit(w));
        self.marks.push(mark);
        Ok(if mark.near && !was_near { seconds } else { 0 })
    }

    /// The mark of a sender, to be put back at the end of all.
    fn take_mark(&mut self, src: IpAddr) -> Mark {
        if let Some(i) = self.marks.iter().position(|m| m.src == src) {
            return self.marks.remove(i);
        }
        if self.marks.len() >= SENDERS {
            self.marks.remove(0);
        }
        Mark { src, last: Sequence(0), saved: None, near: false }
    }

    // ---- the file ----

    /// Whether a mark is so far ahead of the file that the file must be written. It then counts as written.
    /// `resigns`: the last advert had priority 0, which must not hurry anybody a second time.
    pub fn must_save(&mut self, resigns: bool) -> bool {
        let ahead = |m: &Mark| m.saved.is_none_or(|s| m.last.0.wrapping_sub(s.0) >= MARK_STEP);
        // Only the one that was heard last can be.
        if !resigns && !self.marks.last().is_some_and(ahead) {
            return false;
        }
        self.marks.iter_mut().for_each(|m| m.saved = Some(m.last));
        true
    }

    /// The content of the file.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Some(sent) = self.sent {
            writeln!(text, "sent {}", sent.0);
        }
        for m in &self.marks {
            writeln!(text, "{} {}", m.src, m.last.0);
        }
        text
    }

    /// Takes up what [`Hmac::render`] wrote, if that is what it is.
    pub fn restore(&mut self, content: &str) -> Option<()> {
        let (mut sent, mut marks) = (None, Vec::new());
        for line in content.strip_suffix('\n')?.split('\n').take(SENDERS + 1) {
            let (of, seq) = line.split_once(' ')?;
            let last = Sequence(seq.parse().ok()?);
            match of {
                "sent" => sent = Some(last),
                src => marks.push(Mark { src: src.parse().ok()?, last, saved: Some(last), near: false }),
            }
        }
        (self.last, self.sent, self.marks) = (sent, sent, marks);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Key;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn state(time_window: Option<u32>, mode: HmacMode) -> Hmac {
        let keys = vec![Key::new(1, &[7; 32]).unwrap()];
        Hmac::new(Config { keys, active: 1, time_window, mode })
    }

    fn peer(n: u8) -> IpAddr {
        [10, 9, 0, n].into()
    }

    fn pseudo(src: IpAddr) -> Pseudo {
        Pseudo { version: 3, vrid: 1, src }
    }

    /// An advert of this sender, heard: whether it was taken.
    fn hear(h: &mut Hmac, src: IpAddr, seq: Sequence, wall: Duration) -> Result<i32, Discard> {
        let mut bytes = vec![1, 2, 3, 4, 5, 6, 7, 8];
        let key = *h.cfg.key(1).unwrap().octets();
        auth_trailer::append(&mut bytes, 0, 1, &key, &pseudo(src), seq);
        h.verify(&Trailer::parse(&bytes[8..]).unwrap(), &pseudo(src), &bytes[..8], wall)
    }

    fn sent(h: &mut Hmac, wall: Duration) -> Sequence {
        let mut out = Vec::new();
        h.sign(&mut out, 0, &pseudo(peer(1)), false, wall);
        Trailer::parse(&out).unwrap().sequence()
    }

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn what_is_sent_follows_the_clock_and_never_repeats() {
        for window in [Some(5), None] {
            let mut h = state(window, HmacMode::Enforce);
            let first = sent(&mut h, NOW);
            assert_eq!(first, Sequence::at(NOW));
            assert_eq!(sent(&mut h, NOW), first.next(), "the clock stands still");
            assert_eq!(sent(&mut h, NOW + secs(1)), Sequence::at(NOW + secs(1)));
            // Set back within the window: on above the last one.
            let last = sent(&mut h, NOW + secs(5));
            assert_eq!(sent(&mut h, NOW), last.next());
            // Further: receivers would refuse that for its distance.
            let last = sent(&mut h, NOW + secs(6));
            let next = sent(&mut h, NOW);
            assert_eq!(next, if window.is_some() { Sequence::at(NOW) } else { last.next() });
        }
    }

    #[test]
    fn all_copies_of_an_advert_are_the_same() {
        let mut h = state(Some(5), HmacMode::Enforce);
        let (mut one, mut two) = (Vec::new(), Vec::new());
        h.sign(&mut one, 0, &pseudo(peer(1)), false, NOW);
        h.sign(&mut two, 0, &pseudo(peer(1)), true, NOW + secs(1));
        assert_eq!(one, two);
    }

    #[test]
    fn a_clock_that_was_wrong_can_be_set_right() {
        let mut h = state(Some(5), HmacMode::Enforce);
        let future = NOW + secs(100_000);
        assert_eq!(hear(&mut h, peer(1), Sequence::at(future), future), Ok(0));
        // Both are set back: the mark is forgotten, and what is heard now is new.
        assert_eq!(hear(&mut h, peer(1), Sequence::at(NOW), NOW), Ok(0));
        assert_eq!(hear(&mut h, peer(1), Sequence::at(NOW), NOW), Err(Discard::HmacReplay));
        // By less than the window: nothing is taken until the clock is where it was.
        assert_eq!(
            hear(&mut h, peer(1), Sequence::at(NOW - secs(3)), NOW - secs(3)),
            Err(Discard::HmacReplay)
        );
        assert_eq!(hear(&mut h, peer(1), Sequence::at(NOW + secs(1)), NOW + secs(1)), Ok(0));
        let mut h = state(None, HmacMode::Enforce);
        assert_eq!(hear(&mut h, peer(1), Sequence::at(future), future), Ok(0));
        assert_eq!(hear(&mut h, peer(1), Sequence::at(NOW), NOW), Err(Discard::HmacReplay), "for ever");
    }

    #[test]
    fn senders_are_bounded() {
        let mut h = state(None, HmacMode::Enforce);
        for n in 0..600u16 {
            let [a, b] = n.to_be_bytes();
            assert_eq!(hear(&mut h, [10, 9, a, b].into(), Sequence(5 << 32), NOW), Ok(0));
        }
        assert_eq!(h.marks.len(), SENDERS);
        assert_eq!(hear(&mut h, [10, 9, 2, 87].into(), Sequence(5 << 32), NOW), Err(Discard::HmacReplay));
    }

    fn restarted(h: &Hmac) -> Hmac {
        let mut again = Hmac::new(h.cfg.clone());
        again.restore(&h.render()).unwrap();
        again
    }

    /// Adverts a second apart are written one by one, so none is taken again after a crash.
    #[test]
    fn marks_outlive_a_restart() {
        for window in [Some(5), None] {
            let mut h = state(window, HmacMode::Enforce);
            let mut file = None;
            for n in 0..4 {
                let at = NOW + secs(n);
                assert_eq!(hear(&mut h, peer(1), Sequence::at(at), at), Ok(0));
                assert!(h.must_save(false), "before it is acted upon");
                assert!(!h.must_save(false));
                assert!(h.must_save(true), "priority 0 is always written");
                file = Some(h.render());
            }
            let mut again = Hmac::new(h.cfg.clone());
            again.restore(&file.unwrap()).unwrap();
            let at = NOW + secs(4);
            for n in 0..4 {
                let old = hear(&mut again, peer(1), Sequence::at(NOW + secs(n)), at);
                assert_eq!(old, Err(Discard::HmacReplay), "{n}");
            }
            assert_eq!(hear(&mut again, peer(1), Sequence::at(at), at), Ok(0));
            assert_eq!(hear(&mut again, peer(2), Sequence::at(at), at), Ok(0), "somebody else");
        }
    }

    #[test]
    fn few_writes() {
        let mut h = state(Some(5), HmacMode::Enforce);
        let mut writes = 0;
        for ms in (0..10_000).step_by(10) {
            let at = NOW + Duration::from_millis(ms);
            assert_eq!(hear(&mut h, peer(1), Sequence::at(at), at), Ok(0));
            writes += u32::from(h.must_save(false));
        }
        assert!((38..=42).contains(&writes), "{writes}");
        // What is sent matters to the file only without a clock.
        assert!(!h.reserve(NOW));
        let mut h = state(None, HmacMode::Enforce);
        let writes = (0..40).filter(|n| {
            let at = NOW + secs(*n);
            let write = h.reserve(at);
            sent(&mut h, at);
            write
        });
        assert!((10..=11).contains(&writes.count()));
        assert!(!state(None, HmacMode::ReceiveOnly).reserve(NOW), "nothing is signed");
    }

    /// Whatever the clock shows after a restart.
    #[test]
    fn without_a_clock_nothing_is_sent_twice_over_restarts() {
        let mut h = state(None, HmacMode::Enforce);
        let mut last = None;
        for (restart, clock) in [NOW, NOW - secs(3600), NOW, secs(0), NOW + secs(7)].into_iter().enumerate() {
            for n in 0..100 {
                h.reserve(clock + secs(n));
                let seq = sent(&mut h, clock + secs(n));
                assert!(last.is_none_or(|l| seq.is_after(l)), "{restart}");
                last = Some(seq);
            }
            h = restarted(&h);
        }
    }

    #[test]
    fn files_that_are_none() {
        let h = state(None, HmacMode::Enforce);
        for text in ["", "\n", "x\n", "sent\n", "sent x\n", "sent -1\n", "10.9.0.1 7", "10.9.0 7\n", "a 7\n"]
        {
            assert!(Hmac::new(h.cfg.clone()).restore(text).is_none(), "{text:?}");
        }
        let many: String = (0..999).map(|n| format!("10.9.{}.{} 7\n", n / 256, n % 256)).collect();
        let mut one = Hmac::new(h.cfg.clone());
        assert!(one.restore(&many).is_some());
        assert!(one.marks.len() <= SENDERS + 1);
        assert_eq!(restarted(&one).render(), one.render());
    }
}
