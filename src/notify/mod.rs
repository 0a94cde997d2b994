//! Who is told of a state change by a process of its own: hooks and mail. Pure.

pub mod hook;
pub mod mail;
pub mod notice;
pub mod outbox;
