//! What people and programs are told: the words of the log, the status, what `--watch` shows.

pub mod history;
pub mod repeat;
pub mod status;
pub mod watch;
pub mod words;

#[cfg(test)]
mod tests;
