//! What every room uses and none owns: the time, pieces of text.

pub mod text;
pub mod time;
