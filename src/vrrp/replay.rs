//! Sequence numbers of the authentication header: none is accepted twice, and ours is above every other.
//!
//! keepalived has one counter for what it sends and what it hears: an advert must exceed it, and raises it.
//! So whoever advertises must be above everything that a peer may have heard, and that is what [`Replay`]
//! counts; but what it *accepts* is judged by sender, as two masters that were apart have two counters.
//!
//! keepalived forgets its counter when it ends, and begins at 1. It listens first, so it takes up the counter
//! of the living master; where there is none, its low numbers are refused here until our own advert, at the
//! end of the down timer at the latest, has told it the counter: it answers above that. The alternative, to
//! believe low numbers after a silence, is what somebody who replays a dead master's adverts hopes for.
//!
//! vipd keeps a file under /run/vipd: a mark, above which nothing was ever sent, and what each sender sent,
//! not more than [`STEP`] ago. Without one, what every sender sends first is believed. The mark alone would
//! not do: it is ahead of everything, so a backup that was started twice would refuse the living master.

use crate::base::text::Write;
use std::net::IpAddr;

/// The mark is ahead of the counter by so much when it is written: one write for about a thousand adverts.
pub const STEP: u32 = 1024;
/// It is written again when it is ahead by less than this: more than one turn of the loop sends.
const RESERVE: u32 = 16;
/// Senders that are remembered; a virtual router has two or three.
const SENDERS: usize = 16;
/// The end of the range, behind which a sender goes on with small numbers.
const END: u32 = u32::MAX - 0xffff;
/// The small numbers that are believed then.
const BEGIN: u32 = 0x1_0000;

/// The counter of one virtual router and the highest number of each sender.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// The highest number that was sent or heard.
    counter: u32,
    /// What is reserved in the file.
    mark: Option<u32>,
    /// What a sender that is not in `senders` must exceed.
    floor: u32,
    /// The senders, those heard last at the end.
    senders: Vec<Sender>,
}

#[derive(Clone, Copy, Debug)]
struct Sender {
    src: IpAddr,
    /// Its highest number.
    last: u32,
    /// The one in the file; 0: none.
    saved: u32,
}

impl Replay {
    /// After a restart: from what [`Replay::render`] wrote, if that is what it is.
    pub fn parse(content: &str) -> Option<Self> {
        let mut lines = content.strip_suffix('\n')?.split('\n');
        let mark = lines.next()?.parse().ok()?;
        let mut r = Replay { counter: mark, mark: Some(mark), ..Replay::default() };
        for line in lines.take(SENDERS) {
            let (src, last) = line.split_once(' ')?;
            r.accept(src.parse().ok()?, last.parse().ok()?);
        }
        r.senders.iter_mut().for_each(|s| s.saved = s.last);
        Some(r)
    }

    /// The file: the mark, then a line for each sender.
    pub fn render(&self) -> String {
        let mut text = format!("{}\n", self.mark.unwrap_or(self.counter));
        for s in &self.senders {
            writeln!(text, "{} {}", s.src, s.last);
        }
        text
    }

    /// Whether there was a file, or is one now.
    pub fn has_mark(&self) -> bool {
        self.mark.is_some()
    }

    /// Whether `seq` is above everything that `src` has sent. Changes nothing.
    pub fn is_new(&self, src: IpAddr, seq: u32) -> bool {
        let last = self.senders.iter().find(|s| s.src == src).map_or(self.floor, |s| s.last);
        is_newer(seq, last)
    }

    /// An authentic packet that [`Replay::is_new`] let pass. Returns whether the file is to be written.
    pub fn accept(&mut self, src: IpAddr, seq: u32) -> bool {
        if !self.is_new(src, seq) {
            return false;
        }
        let mut saved = 0;
        match self.senders.iter().position(|s| s.src == src) {
            Some(i) => saved = self.senders.remove(i).saved,
            // Whoever comes back after being forgotten must be above what it sent before.
            None if self.senders.len() >= SENDERS => self.floor = self.floor.max(self.senders.remove(0).last),
            None => {}
        }
        let save = saved == 0 || seq.wrapping_sub(saved) >= STEP;
        self.senders.push(Sender { src, last: seq, saved: if save { seq } else { saved } });
        if is_newer(seq, self.counter) {
            self.counter = seq;
        }
        save
    }

    /// The number of our next advert; never 0. All copies of one advert have the same.
    pub fn take_next(&mut self) -> u32 {
        self.counter = self.counter.checked_add(1).unwrap_or(1);
        self.counter
    }

    /// The number that was sent or heard last.
    pub fn last(&self) -> u32 {
        self.counter
    }

    /// Before an advert: sees to it that the mark is ahead of it. Returns whether the file is to be written.
    pub fn reserve(&mut self) -> bool {
        let ahead = self.mark.map(|m| m.wrapping_sub(self.counter));
        if ahead.is_some_and(|a| (RESERVE..=STEP).contains(&a)) {
            return false;
        }
        self.mark = Some(self.counter.wrapping_add(STEP));
        true
    }
}

/// At 2^32 keepalived gives up for good; vipd goes on with 1. That is 136 years at one advert a second.
fn is_newer(seq: u32, last: u32) -> bool {
    seq > last || (last > END && seq < BEGIN && seq > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(n: u8) -> IpAddr {
        [10, 9, 0, n].into()
    }

    #[test]
    fn nothing_is_accepted_twice_and_each_sender_has_its_own_window() {
        let mut r = Replay::default();
        assert!(!r.is_new(peer(1), 0), "nobody sends 0");
        r.accept(peer(1), 7);
        for seq in 0..=7 {
            assert!(!r.is_new(peer(1), seq));
        }
        assert!(r.is_new(peer(1), 8));
        assert!(r.is_new(peer(2), 5), "another sender, another counter");
        r.accept(peer(2), 5);
        assert!(!r.is_new(peer(2), 5));
        assert_eq!(r.take_next(), 8, "above everything heard");
    }

    #[test]
    fn a_replayed_packet_changes_nothing() {
        let mut r = Replay::default();
        r.accept(peer(1), 100);
        r.accept(peer(1), 100);
        r.accept(peer(1), 3);
        assert!(!r.is_new(peer(1), 100));
        assert!(r.is_new(peer(1), 101));
        assert_eq!(r.take_next(), 101);
    }

    /// keepalived as master is at 9000 and hears us at 3: it refuses. We hear it, and are above it.
    #[test]
    fn the_counter_follows_a_peer_that_is_ahead() {
        let mut r = Replay::default();
        assert_eq!([r.take_next(), r.take_next()], [1, 2]);
        r.accept(peer(1), 9000);
        assert_eq!(r.take_next(), 9001);
        r.accept(peer(1), 9002);
        assert_eq!(r.take_next(), 9003);
    }

    /// A restart: what was written, read.
    fn restarted(r: &Replay) -> Replay {
        Replay::parse(&r.render()).unwrap()
    }

    #[test]
    fn a_restart_goes_on_above_all_that_was_sent_and_hears_the_living_master() {
        let mut r = Replay::default();
        assert!(!r.has_mark());
        let mut file = None;
        let mut sent = 0;
        for _ in 0..5000 {
            if r.reserve() {
                file = Some(r.clone());
            }
            sent = r.take_next();
            assert!(sent <= file.as_ref().unwrap().mark.unwrap(), "{sent} goes out below the mark");
            if r.accept(peer(1), sent + 1) {
                file = Some(r.clone());
            }
        }
        let file = file.unwrap();
        let mut again = restarted(&file);
        assert!(again.has_mark());
        assert!(again.is_new(peer(1), sent + 2), "the master that went on is believed");
        assert!(!again.is_new(peer(1), sent - STEP), "what is old is not");
        assert!(again.reserve());
        let next = again.take_next();
        assert!(next > sent + 1 && next <= again.mark.unwrap());
        assert!(!again.reserve());
    }

    /// The mark jumps with each restart, but not what is asked of a sender.
    #[test]
    fn a_backup_that_is_restarted_again_and_again_hears_its_master() {
        let mut r = Replay::default();
        r.reserve();
        r.take_next();
        for seq in 2..50 {
            assert!(r.is_new(peer(1), seq));
            r.accept(peer(1), seq);
            // It would send now, and is killed before it does.
            r.reserve();
            r = restarted(&r);
            assert!(r.last() > seq);
        }
    }

    /// Heard only, for long: the file follows, and so does the number that would be sent.
    #[test]
    fn the_file_of_a_backup_follows_its_master() {
        let mut r = Replay::default();
        assert!(r.accept(peer(1), 1), "a new sender is written at once");
        let mut file = r.clone();
        for seq in 2..10_000 {
            if r.accept(peer(1), seq) {
                file = r.clone();
            }
        }
        let mut again = restarted(&file);
        assert!(!again.is_new(peer(1), 10_000 - 2 * STEP));
        assert!(again.is_new(peer(1), 10_000));
        assert!(again.is_new(peer(2), 1), "somebody else may begin");
        assert!(again.take_next() > 10_000 - 2 * STEP);
    }

    #[test]
    fn few_writes() {
        let mut r = Replay::default();
        let writes = (0..10_240).filter(|_| {
            let write = r.reserve();
            r.take_next();
            write
        });
        assert!((10..=11).contains(&writes.count()));
        let heard = (1..=10_240).filter(|n| r.accept(peer(1), *n)).count();
        assert!((10..=11).contains(&heard));
        // A jump, up or (at the wrap) down, is written at once.
        assert!(r.accept(peer(1), 1 << 30));
        assert!(r.reserve());
        assert_eq!(r.mark, Some((1 << 30) + STEP));
    }

    #[test]
    fn the_end_of_the_range() {
        let at = |mark: u32| Replay::parse(&format!("{mark}\n")).unwrap();
        let mut r = at(u32::MAX - 1);
        assert_eq!([r.take_next(), r.take_next(), r.take_next()], [u32::MAX, 1, 2]);
        let mut peer_of_it = Replay::default();
        peer_of_it.accept(peer(1), u32::MAX);
        assert!(!peer_of_it.is_new(peer(1), 0));
        assert!(!peer_of_it.is_new(peer(1), BEGIN), "only a little behind the end");
        assert!(peer_of_it.is_new(peer(1), 1));
        peer_of_it.accept(peer(1), 1);
        assert!(!peer_of_it.is_new(peer(1), 1));
        assert_eq!(peer_of_it.take_next(), 2);
        let mut middle = Replay::default();
        middle.accept(peer(1), 1 << 31);
        assert!(!middle.is_new(peer(1), 1), "no wrap in the middle");
        // The mark wraps with it.
        let mut r = at(u32::MAX - 5);
        for _ in 0..40 {
            r.reserve();
            let next = r.take_next();
            assert!(r.mark.unwrap().wrapping_sub(next) <= STEP);
        }
    }

    #[test]
    fn senders_are_bounded_and_forgetting_one_opens_nothing() {
        let mut r = Replay::default();
        for n in 1..=200 {
            r.accept(peer(n), 1000 + u32::from(n));
        }
        assert_eq!(r.senders.len(), SENDERS);
        assert!(!r.is_new(peer(1), 1001), "forgotten, but still refused");
        assert!(!r.is_new(peer(200), 1200));
    }

    #[test]
    fn files_that_are_none() {
        for text in [
            "",
            "\n",
            "12",
            "-1\n",
            "4294967296\n",
            "1 \n",
            "x\n",
            "1\n\n",
            "1\n10.9.0.1\n",
            "1\n10.9.0.1 x\n",
        ] {
            assert!(Replay::parse(text).is_none(), "{text:?}");
        }
        assert_eq!(Replay::parse("4294967295\n").unwrap().last(), u32::MAX);
        let many: String = (0..99).map(|n| format!("10.9.0.{n} 7\n")).collect();
        assert_eq!(Replay::parse(&format!("1\n{many}")).unwrap().senders.len(), SENDERS);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Whatever comes, in any order: no number of any sender passes twice.
        #[test]
        fn no_number_passes_twice(all in prop::collection::vec((0u8..40, 0u32..50), 0..400)) {
            let mut r = Replay::default();
            let mut seen = std::collections::HashSet::new();
            for (n, seq) in all {
                if r.is_new(peer(n), seq) {
                    prop_assert!(seen.insert((n, seq)));
                    r.accept(peer(n), seq);
                    let mut next = r.clone();
                    prop_assert!(next.take_next() > seq);
                }
            }
        }
    }
}
