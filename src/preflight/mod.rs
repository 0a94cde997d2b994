//! What is looked at before the start and by `vipd -t`.

pub mod advice;
pub mod capabilities;
pub mod programs;
