//! What every room uses: time, pauses that grow, messages that are not repeated, how a process ended, log
//! lines, text (some of it packed), a hash.

pub mod backoff;
pub mod exit;
pub mod hash;
pub mod log;
pub mod packed;
pub mod secret;
pub mod text;
pub mod throttle;
pub mod time;
