//! The wall clock, which signed adverts need. The node has none: it is told what it shows, and counts on from
//! there.

use super::Node;
use crate::base::time::Time;
use crate::event::Event;
use std::time::Duration;

/// A wall clock that shows less was never set: 2023-11-14.
const EARLIEST: Duration = Duration::from_secs(1_700_000_000);
/// A clock that is moved by less is being adjusted.
const STEP: Duration = Duration::from_secs(1);

/// What the wall clock showed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wall {
    at: Time,
    wall: Duration,
    /// It was told that it is not set.
    unset_logged: bool,
}

impl Node {
    /// What the wall clock shows: time since 1970 UTC. In every turn, before anything is read.
    pub fn set_wall_clock(&mut self, now: Time, wall: Duration) {
        let expected = self.wall(now);
        let first = self.wall.wall.is_zero();
        (self.wall.at, self.wall.wall) = (now, wall);
        if !self.routers.iter().any(|r| r.auth.needs_clock()) {
            return;
        }
        let (step, forwards) =
            if wall > expected { (wall - expected, true) } else { (expected - wall, false) };
        if !first && step >= STEP {
            self.emit(Event::ClockStepped { by: step, forwards });
        }
        let unset = wall < EARLIEST;
        if unset && !self.wall.unset_logged {
            self.emit(Event::ClockUnset);
        }
        self.wall.unset_logged = unset;
    }

    /// The wall clock at this time.
    pub(crate) fn wall(&self, now: Time) -> Duration {
        self.wall.wall.saturating_add(now.since(self.wall.at))
    }

    /// Whether the wall clock of this machine was never set.
    pub fn is_clock_unset(&self, now: Time) -> bool {
        self.wall(now) < EARLIEST
    }
}
