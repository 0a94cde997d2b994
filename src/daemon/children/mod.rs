//! Processes and connections that the daemon starts and awaits: checks, hooks, mails.

pub(crate) mod checks;
mod command;
mod connection;
pub(crate) mod jobs;
pub mod mailer;
mod message;
pub(crate) mod pipe;
