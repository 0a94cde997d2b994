//! What every room uses and none owns: the time, how a process ended, pieces of text, a hash.

pub mod exit;
pub mod hash;
pub mod secret;
pub mod text;
pub mod time;
