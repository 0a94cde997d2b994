//! What every room uses and none owns: the time, pauses that grow, what is not said again, how a process
//! ended, pieces of text, a hash.

pub mod backoff;
pub mod exit;
pub mod hash;
pub mod text;
pub mod throttle;
pub mod time;
