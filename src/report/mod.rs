//! What people and programs are told: the words of the log and how often, the status, the history, what
//! `--watch` shows.

pub mod history;
pub mod repeat;
pub mod status;
pub mod watch;
pub mod words;

#[cfg(test)]
mod tests;
