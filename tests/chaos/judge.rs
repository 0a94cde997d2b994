//! Which of two holders at one time is excused, and by what: the rules are in the module's documentation.

use super::act::{Done, Field, other};
use super::plan::{Edit, Kind};
use super::{NODES, ROUTERS};
use crate::lab::{Change, ms, secs};
use std::time::{Duration, Instant};

/// `handover_timeout` and what a request and its answer take.
const LEAVING: Duration = secs(6);
/// Until the old holder lets go: 5 ms after the announcement, 50 ms after the advert, and as much again.
const GRACE: Duration = ms(100);

/// Two nodes had one address.
#[derive(Clone, Debug)]
pub struct Overlap {
    /// Index in ROUTERS.
    pub router: usize,
    pub addr: String,
    /// Who had it before, and who came: indices in NODES.
    pub old: usize,
    pub new: usize,
    pub from: Instant,
    pub to: Instant,
}

/// A time in which nobody had it.
#[derive(Clone, Debug)]
pub struct Gap {
    pub router: usize,
    /// Who had it before.
    pub old: usize,
    pub from: Instant,
    pub to: Instant,
}

/// Both from the history of one address.
pub fn history(router: usize, addr: &str, changes: &[Change], end: Instant) -> (Vec<Overlap>, Vec<Gap>) {
    let (mut overlaps, mut gaps): (Vec<Overlap>, Vec<Gap>) = Default::default();
    let mut held: Vec<usize> = Vec::new();
    let mut free: Option<(usize, Instant)> = None;
    for c in changes {
        let Some(node) = NODES.iter().position(|n| *n == c.node) else { continue };
        if !c.held {
            held.retain(|n| *n != node);
            for o in overlaps.iter_mut().filter(|o| o.to == end && (o.old == node || o.new == node)) {
                o.to = c.at;
            }
            if held.is_empty() {
                free = Some((node, c.at));
            }
            continue;
        }
        if let Some((old, from)) = free.take() {
            gaps.push(Gap { router, old, from, to: c.at });
        }
        for old in &held {
            let addr = addr.to_owned();
            overlaps.push(Overlap { router, addr, old: *old, new: node, from: c.at, to: end });
        }
        held.push(node);
    }
    overlaps.retain(|o| o.to > o.from);
    (overlaps, gaps)
}

/// What was done, and where.
pub struct Judge<'a> {
    pub done: &'a [Done],
    pub field: &'a Field,
}

impl Judge<'_> {
    /// Its class and the fault that excuses it, or why nothing does.
    pub fn excuse(&self, o: &Overlap) -> Result<(&'static str, String), String> {
        let interval = ROUTERS[o.router].interval();
        let grace = self.field.bound(&[o.old, o.new], GRACE, o.from - ms(200), o.to);
        let mut why = Vec::new();
        if let Some(cause) = self.handed_over(o) {
            if o.to <= o.from + grace {
                let starved = o.to > o.from + GRACE;
                return Ok((
                    if starved { "planned hand-over, longer than 100 ms by J" } else { "planned hand-over" },
                    cause,
                ));
            }
            why.push(format!("{cause}, but for longer than {} ms", grace.as_millis()));
            if let Some((until, dumb)) = self.dumb(o.old, o.from, o.to, interval, grace)
                && o.to <= until
            {
                return Ok((
                    "hand-over, and the old master was killed or stopped in it",
                    format!("{cause} + {dumb}"),
                ));
            }
        }
        for p in self.partitions(o.old, o.new) {
            let heard = p.end + interval + grace;
            if o.from < p.begin || o.from > heard + 3 * interval {
                continue;
            }
            if o.to <= heard {
                return Ok(("partition", p.fault.to_string()));
            }
            for node in [o.old, o.new] {
                if let Some((until, dumb)) = self.dumb(node, p.begin, heard, interval, grace + interval)
                    && o.to <= until
                {
                    return Ok((
                        "partition, and one was killed or stopped in it",
                        format!("{} + {dumb}", p.fault),
                    ));
                }
            }
            why.push(format!("it lasted too long for {}", p.fault));
        }
        // It was not awake any more to see that its cable is cut: its last advert may have gone nowhere.
        for cut in self.done.iter().filter(|d| d.fault.node == o.old && is_link(&d.fault.kind)) {
            if let Some((until, dumb)) = self.dumb(o.old, cut.begin, cut.hit + grace, interval, grace)
                && o.from >= cut.begin
                && o.to <= until
            {
                return Ok((
                    "cut, and killed or stopped before it noticed",
                    format!("{} + {dumb}", cut.fault),
                ));
            }
        }
        if why.is_empty() {
            why.push("no fault explains it".to_owned());
        }
        Err(why.join("; "))
    }

    /// Why `new` may be added while `old` still has it.
    fn handed_over(&self, o: &Overlap) -> Option<String> {
        let since = o.from.checked_sub(LEAVING)?;
        let near = |d: &&Done| d.begin <= o.to && d.end + LEAVING >= o.from;
        for d in self.done.iter().filter(near).filter(|d| d.fault.node == o.old) {
            let leaves = match d.fault.kind {
                Kind::Term { .. } => d.end >= o.from,
                Kind::Resign { router, .. } => router == o.router && d.hit + LEAVING >= o.from,
                Kind::Reload { edit: Edit::Less(router), .. } => router == o.router,
                Kind::Reload { edit: Edit::More, .. } => o.addr == super::SPARE,
                _ => false,
            };
            if leaves {
                return Some(d.fault.to_string());
            }
        }
        let (mut old, mut new) = (self.priorities(o.old, o, since), self.priorities(o.new, o, since));
        old.sort_unstable();
        new.sort_unstable();
        let (lowest, highest) = (old.first()?, new.last()?);
        (highest > lowest).then(|| format!("{} preempts {}", NODES[o.new], NODES[o.old]))
    }

    /// Those that the node may have had.
    fn priorities(&self, node: usize, o: &Overlap, since: Instant) -> Vec<u8> {
        let usual = ROUTERS[o.router].priorities[node];
        let mut all = vec![usual];
        for d in self.done.iter().filter(|d| d.fault.node == node && d.begin <= o.to && d.end >= since) {
            if d.fault.kind.is_priority_of(o.router) {
                all.push(other(usual));
            }
        }
        all
    }

    /// Until when the node may have had an address because it was killed or stopped between these moments, or
    /// was so already: N × I after that, or until it was woken and had a moment.
    fn dumb(
        &self,
        node: usize,
        from: Instant,
        to: Instant,
        interval: Duration,
        moment: Duration,
    ) -> Option<(Instant, String)> {
        let hits = self.done.iter().filter(|d| d.fault.node == node && d.begin <= to && d.end >= from);
        hits.filter_map(|d| {
            let lease = d.hit + 3 * interval;
            match d.fault.kind {
                Kind::Kill { .. } => Some((lease, d.fault.to_string())),
                Kind::Stop { .. } => Some((lease.min(d.end + moment), d.fault.to_string())),
                _ => None,
            }
        })
        .max_by_key(|(until, _)| *until)
    }

    /// Those that kept both from hearing each other.
    fn partitions(&self, a: usize, b: usize) -> impl Iterator<Item = &Done> {
        let both = 1_u8 << a | 1 << b;
        self.done
            .iter()
            .filter(move |d| matches!(d.fault.kind, Kind::Partition { nodes, .. } if nodes & both == both))
    }

    /// What kept this node, master in a partition of the last round, from telling the right master of itself.
    pub fn muted(&self, node: usize, interval: Duration, mended: Instant) -> Option<String> {
        let round = mended.checked_sub(secs(60))?;
        let mine =
            |d: &&Done| matches!(d.fault.kind, Kind::Partition { nodes, .. } if nodes & 1 << node != 0);
        self.done.iter().filter(|d| d.end >= round).filter(mine).find_map(|p| {
            let hits = self.done.iter().filter(|d| d.fault.node == node && d.fault.kind.lane(node).0 < 4);
            let near = |d: &&Done| d.begin <= p.end + interval + GRACE && d.end + LEAVING >= p.begin;
            hits.filter(near).max_by_key(|d| d.begin).map(|d| format!("{} + {}", p.fault, d.fault))
        })
    }

    /// What a gap was most likely due to: the last fault on its old holder, or on all, that began within the
    /// time that a failover takes.
    pub fn cause(&self, gap: &Gap) -> &'static str {
        let everywhere = |d: &Done| matches!(d.fault.kind, Kind::Partition { .. } | Kind::Flood { .. });
        let deleted = |d: &Done| matches!(d.fault.kind, Kind::Delete { router, .. } if router == gap.router);
        let here = |d: &Done| {
            let lane = d.fault.kind.lane(d.fault.node).0;
            lane < 4 && d.fault.node == gap.old
        };
        let soon = |d: &&Done| d.begin <= gap.from && d.end + secs(5) >= gap.from;
        let all = self.done.iter().filter(soon).filter(|d| everywhere(d) || deleted(d) || here(d));
        all.max_by_key(|d| d.begin).map_or("nothing known", |d| d.fault.kind.name())
    }
}

fn is_link(kind: &Kind) -> bool {
    matches!(kind, Kind::Cut { .. } | Kind::Flap { .. })
}
