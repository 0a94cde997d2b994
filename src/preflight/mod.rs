//! What vipd checks before it starts, and what `vipd -t` checks.

pub mod advice;
pub mod capabilities;
pub mod fence;
pub mod programs;
pub mod surroundings;
