//! What goes wrong when, and where: decided by the seed alone, round by round.

use super::rng::Rng;
use super::{NODES, ROUTERS};
use std::fmt;
use std::time::Duration;

/// In which the faults of a round begin.
const BURST_MS: u64 = 20_000;
/// By then all of them are mended.
const LAST_MS: u64 = 24_000;

/// What HAProxy loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    Worker,
    Master,
    Both,
}

/// What another configuration changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The priority of this router, so that the order of the nodes is another one.
    Priority(usize),
    /// One more VIP in the first router.
    More,
    /// This router is gone.
    Less(usize),
    /// Values that change no election.
    Values,
    /// A file with an error in it.
    Broken,
}

/// A kind of fault. Times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// kill -9 of vipd, alone or with all its children; started again after that time.
    Kill { tree: bool, respawn: u64 },
    /// SIGSTOP and SIGCONT.
    Stop { length: u64 },
    /// SIGTERM; started again so long after its end.
    Term { respawn: u64 },
    /// The cable, at the switch.
    Cut { length: u64 },
    /// The interface, so many times.
    Flap { times: u64, length: u64 },
    /// These nodes (bits) do not hear each other, and keep their carrier.
    Partition { nodes: u8, length: u64 },
    /// Bad frames from a stranger.
    Flood { rate: u32, length: u64 },
    /// Somebody deletes this router's VIP, from whoever has it.
    Delete { router: usize, times: u64 },
    /// A foreign address with a finite lifetime is renewed every 0.25 s.
    Touch { times: u64 },
    /// kill -9 of HAProxy.
    HaproxyKill { victim: Victim },
    /// SIGSTOP of HAProxy's workers, and SIGCONT.
    HaproxyStop { length: u64 },
    /// A configuration that HAProxy refuses, and kill -9.
    HaproxyBad { length: u64 },
    /// Another configuration by `vipd reload` or SIGHUP, and back.
    Reload { edit: Edit, hup: bool, length: u64 },
    /// `vipd resign` of this router for so many seconds.
    Resign { router: usize, seconds: u64 },
}

/// A fault of the plan.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Since the beginning of its round.
    pub at: Duration,
    /// Index in [`NODES`]; of no meaning where the kind has no node.
    pub node: usize,
    pub kind: Kind,
}

impl Kind {
    /// For the figures.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Kill { tree: false, .. } => "kill -9 of vipd",
            Kind::Kill { tree: true, .. } => "kill -9 of vipd and all its children",
            Kind::Stop { .. } => "SIGSTOP of vipd",
            Kind::Term { .. } => "SIGTERM of vipd",
            Kind::Cut { .. } => "cable cut at the switch",
            Kind::Flap { .. } => "interface down and up",
            Kind::Partition { .. } => "partition",
            Kind::Flood { .. } => "flood",
            Kind::Delete { .. } => "VIP deleted",
            Kind::Touch { .. } => "foreign lease renewed",
            Kind::HaproxyKill { .. } => "kill -9 of HAProxy",
            Kind::HaproxyStop { .. } => "SIGSTOP of HAProxy",
            Kind::HaproxyBad { .. } => "HAProxy with a bad configuration",
            Kind::Reload { .. } => "reload",
            Kind::Resign { .. } => "resign",
        }
    }

    /// Which faults exclude each other: those of one lane come one after the other.
    pub fn lane(&self, node: usize) -> (u8, usize) {
        match self {
            Kind::Kill { .. } | Kind::Stop { .. } | Kind::Term { .. } => (0, node),
            Kind::Cut { .. } | Kind::Flap { .. } => (1, node),
            Kind::HaproxyKill { .. } | Kind::HaproxyStop { .. } | Kind::HaproxyBad { .. } => (2, node),
            Kind::Reload { .. } | Kind::Resign { .. } => (3, node),
            Kind::Touch { .. } => (4, node),
            Kind::Partition { .. } => (5, 0),
            Kind::Flood { .. } => (6, 0),
            Kind::Delete { .. } => (7, 0),
        }
    }

    /// About how long it takes, in milliseconds.
    fn length(&self) -> u64 {
        match *self {
            Kind::Kill { respawn, .. } => respawn,
            // A stop hands over, and drains HAProxy.
            Kind::Term { respawn } => respawn + 4000,
            Kind::Stop { length }
            | Kind::Cut { length }
            | Kind::Partition { length, .. }
            | Kind::Flood { length, .. }
            | Kind::HaproxyStop { length }
            | Kind::HaproxyBad { length }
            | Kind::Reload { length, .. } => length,
            Kind::Flap { times, length } => 2 * times * length,
            Kind::Delete { times, .. } => 300 * times,
            Kind::Touch { times } => 250 * times,
            Kind::HaproxyKill { .. } => 0,
            Kind::Resign { seconds, .. } => 1000 * seconds,
        }
    }

    /// Whether it changes the priority of that router.
    pub fn is_priority_of(&self, router: usize) -> bool {
        matches!(self, Kind::Reload { edit: Edit::Priority(r), .. } if *r == router)
    }

    fn has_node(&self) -> bool {
        !matches!(self, Kind::Partition { .. } | Kind::Flood { .. } | Kind::Delete { .. })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = if self.kind.has_node() { NODES[self.node] } else { "" };
        write!(f, "{:6.3} {node} {:?}", self.at.as_secs_f64(), self.kind)
    }
}

/// Short, about as long as a failover, or long.
fn length(rng: &mut Rng) -> u64 {
    match rng.below(3) {
        0 => rng.range(20, 600),
        1 => rng.range(600, 3500),
        _ => rng.range(3500, 9000),
    }
}

fn respawn(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 | 1 => 200,
        2 => 1000,
        _ => rng.range(3000, 9000),
    }
}

fn kind(rng: &mut Rng) -> Kind {
    let router = rng.below(ROUTERS.len() as u64) as usize;
    match rng.below(100) {
        0..12 => Kind::Kill { tree: false, respawn: respawn(rng) },
        12..16 => Kind::Kill { tree: true, respawn: respawn(rng) },
        16..28 => Kind::Stop { length: length(rng) },
        28..36 => Kind::Term { respawn: respawn(rng) },
        36..44 => Kind::Cut { length: length(rng) },
        44..50 => Kind::Flap { times: rng.range(1, 3), length: rng.range(20, 1500) },
        50..57 => Kind::Partition { nodes: rng.pick(&[0b011, 0b101, 0b110, 0b111]), length: length(rng) },
        57..61 => Kind::Flood { rate: rng.pick(&[200, 2000]), length: rng.range(500, 4000) },
        61..67 => Kind::Delete { router, times: rng.range(1, 4) },
        67..70 => Kind::Touch { times: rng.range(4, 24) },
        70..76 => Kind::HaproxyKill { victim: rng.pick(&[Victim::Worker, Victim::Master, Victim::Both]) },
        76..80 => Kind::HaproxyStop { length: length(rng) },
        80..84 => Kind::HaproxyBad { length: length(rng) },
        84..94 => {
            let edit = match rng.below(8) {
                0..3 => Edit::Priority(router),
                3 => Edit::More,
                4 | 5 => Edit::Less(router),
                6 => Edit::Values,
                _ => Edit::Broken,
            };
            Kind::Reload { edit, hup: rng.chance(300), length: rng.range(500, 6000) }
        }
        _ => Kind::Resign { router, seconds: rng.range(1, 6) },
    }
}

/// The faults of a round, in order. One round in four has one or two only.
pub fn round(seed: u64, number: u64) -> Vec<Fault> {
    let mut rng = Rng::new(seed.wrapping_mul(1_000_003).wrapping_add(number));
    let count = if rng.chance(250) { rng.range(1, 2) } else { rng.range(4, 18) };
    let mut faults: Vec<Fault> = Vec::new();
    while (faults.len() as u64) < count {
        let kind = kind(&mut rng);
        let (at, node) = (rng.below(BURST_MS), rng.below(NODES.len() as u64) as usize);
        let busy = |f: &Fault| {
            let from = f.at.as_millis() as u64;
            kind.lane(node) == f.kind.lane(f.node)
                && at < from + f.kind.length() + 200
                && from < at + kind.length() + 200
        };
        if at + kind.length() <= LAST_MS && !faults.iter().any(busy) {
            faults.push(Fault { at: Duration::from_millis(at), node, kind });
        }
    }
    faults.sort_by_key(|f| f.at);
    faults
}
