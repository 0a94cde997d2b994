//! One turn of the loop, as data: the daemon, the simulator, the fuzz target and the unit tests all play
//! `TURN`.
//!
//! A driver runs each step and then carries out all effects. Two steps are its own: in `Read` it reads what
//! is ready, in `Log` it takes all events. What is asked for between two turns is followed by `SETTLE`.

use super::Node;
use crate::base::time::Time;

/// A step of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Did this process run in time? If not, the addresses go before anything that was received is believed.
    CheckStall,
    /// The driver reads what is ready; if a takeover is due then (`is_takeover_due`), it reads the adverts
    /// again.
    Read,
    /// Timers.
    Tick,
    /// The address batch.
    Flush,
    /// Addresses that were just added are announced without another wait.
    Announce,
    /// Everything urgent is done: the driver takes all events.
    Log,
    /// Forgets what has left; indices change, so nothing may be queued.
    Compact,
    /// Hooks and mail: what is told by a process of its own comes last.
    Notify,
}

/// The order of a turn.
pub const TURN: [Step; 9] = [
    Step::CheckStall,
    Step::Read,
    Step::Tick,
    Step::Flush,
    Step::Announce,
    Step::Log,
    Step::Compact,
    Step::Notify,
    Step::Log,
];

/// What follows the reading.
pub const SETTLE: &[Step] = TURN.split_at(2).1;

/// The two clocks of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Read before the sockets were: a process that stands still after that must not take for dead a master
    /// whose adverts are queued.
    pub turn: Time,
    /// Read just now.
    pub fresh: Time,
}

impl Node {
    /// Runs a step. Only what judges the silence of others counts by the clock of the turn.
    pub fn run(&mut self, step: Step, at: Clocks) {
        match step {
            Step::CheckStall => self.check_stall(at.turn),
            Step::Tick => self.tick(at.turn),
            Step::Flush => self.flush(at.fresh),
            Step::Announce => self.announce_some(at.fresh),
            Step::Compact => self.compact(at.fresh),
            Step::Notify => self.notify(at.fresh),
            Step::Read | Step::Log => {}
        }
    }
}
