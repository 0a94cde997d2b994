//! Sequence numbers of the authentication header: none is accepted twice, and ours is above every other.
//!
//! keepalived has one counter for what it sends and what it hears: an advert must exceed it, and raises it. So
//! whoever advertises must be above everything that a peer may have heard, and that is what [`Replay`] counts;
//! but what it *accepts* is judged by sender, as two masters that were apart have two counters.
//!
//! keepalived forgets its counter when it ends, and begins at 1. It listens first, so it takes up the counter of
//! the living master; where there is none, its low numbers are refused here until our own advert, at the
//! end of the down timer at the latest, has told it the counter: it answers above that. The alternative, to believe low
//! numbers after a silence, is what somebody who replays a dead master's adverts hopes for.
//!
//! vipd keeps a mark under /run/vipd: nothing above it was ever sent, and what was heard before was above it by no
//! more than [`STEP`]. Without one, what every sender sends first is believed.

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
    /// What was written last.
    mark: Option<u32>,
    /// What a sender that is not in `senders` must exceed.
    floor: u32,
    /// The senders, those heard last at the end.
    senders: Vec<(IpAddr, u32)>,
}

impl Replay {
    /// After a restart: above everything that was sent before `mark` was written, and a step after.
    pub fn restored(mark: u32) -> Self {
        Replay { counter: mark, mark: Some(mark), floor: mark.saturating_sub(STEP), senders: Vec::new() }
    }

    /// Whether there was a mark, or has been one since.
    pub fn has_mark(&self) -> bool {
        self.mark.is_some()
    }

    /// Whether `seq` is above everything that `src` has sent. Changes nothing.
    pub fn is_new(&self, src: IpAddr, seq: u32) -> bool {
        let last = self.senders.iter().find(|(s, _)| *s == src).map_or(self.floor, |(_, last)| *last);
        is_newer(seq, last)
    }

    /// An authentic packet that [`Replay::is_new`] let pass.
    pub fn accept(&mut self, src: IpAddr, seq: u32) {
        if !self.is_new(src, seq) {
            return;
        }
        self.senders.retain(|(s, _)| *s != src);
        if self.senders.len() >= SENDERS {
            let (_, last) = self.senders.remove(0);
            // Whoever comes back after being forgotten must be above what it sent before.
            self.floor = self.floor.max(last);
        }
        self.senders.push((src, seq));
        if is_newer(seq, self.counter) {
            self.counter = seq;
        }
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

    /// The mark to be written before the next advert goes out, if the last one is not ahead enough.
    pub fn reserve(&mut self) -> Option<u32> {
        let ahead = self.mark.map(|m| m.wrapping_sub(self.counter));
        if ahead.is_some_and(|a| (RESERVE..=STEP).contains(&a)) {
            return None;
        }
        self.mark = Some(self.counter.wrapping_add(STEP));
        self.mark
    }
}

/// At 2^32 keepalived gives up for good; vipd goes on with 1. That is 136 years at one advert a second.
fn is_newer(seq: u32, last: u32) -> bool {
    seq > last || (last > END && seq < BEGIN && seq > 0)
}

/// The content of the file that holds the mark.
pub fn render_mark(mark: u32) -> String {
    format!("{mark}\n")
}

/// The mark of such a file, if that is what it is.
pub fn parse_mark(content: &str) -> Option<u32> {
    content.strip_suffix('\n')?.parse().ok()
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

    #[test]
    fn a_restart_goes_on_above_all_that_was_sent_and_hears_the_living_master() {
        let mut r = Replay::default();
        assert!(!r.has_mark());
        let mut file = None;
        let mut sent = 0;
        for _ in 0..5000 {
            file = r.reserve().or(file);
            sent = r.take_next();
            assert!(sent <= file.unwrap(), "{sent} goes out below the mark");
            r.accept(peer(1), sent + 1);
            assert!(file.unwrap() <= sent + 1 + STEP);
        }
        let mut again = Replay::restored(parse_mark(&render_mark(file.unwrap())).unwrap());
        assert!(again.has_mark());
        assert!(again.is_new(peer(1), sent + 2), "the master that went on is believed");
        assert!(again.is_new(peer(2), sent));
        assert!(!again.is_new(peer(1), sent - STEP), "what is old is not");
        let mark = again.reserve().unwrap();
        let next = again.take_next();
        assert!(next > sent + 1 && next <= mark);
        assert_eq!(again.reserve(), None);
    }

    #[test]
    fn few_writes() {
        let mut r = Replay::default();
        let writes = (0..10_240).filter(|_| {
            let write = r.reserve().is_some();
            r.take_next();
            write
        });
        assert!((10..=11).contains(&writes.count()));
        // A jump, up or (at the wrap) down, is written at once.
        r.accept(peer(1), 1 << 30);
        assert_eq!(r.reserve(), Some((1 << 30) + STEP));
    }

    #[test]
    fn the_end_of_the_range() {
        let mut r = Replay::restored(u32::MAX - 1);
        assert_eq!([r.take_next(), r.take_next(), r.take_next()], [u32::MAX, 1, 2]);
        let mut peer_of_it = Replay::default();
        peer_of_it.accept(peer(1), u32::MAX);
        assert!(!peer_of_it.is_new(peer(1), 0));
        assert!(!peer_of_it.is_new(peer(1), BEGIN), "only a little behind the end");
        assert!(peer_of_it.is_new(peer(1), 1));
        peer_of_it.accept(peer(1), 1);
        assert!(!peer_of_it.is_new(peer(1), 1));
        assert_eq!(peer_of_it.take_next(), 2);
        assert!(!Replay::restored(1 << 31).is_new(peer(1), 1), "no wrap in the middle");
        // The mark wraps with it.
        let mut r = Replay::restored(u32::MAX - 5);
        for _ in 0..40 {
            let mark = r.reserve();
            let next = r.take_next();
            assert!(mark.is_none_or(|m| m.wrapping_sub(next) <= STEP));
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
        for text in ["", "\n", "12", "-1\n", "4294967296\n", "1 \n", "x\n"] {
            assert_eq!(parse_mark(text), None, "{text:?}");
        }
        assert_eq!(parse_mark("4294967295\n"), Some(u32::MAX));
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
