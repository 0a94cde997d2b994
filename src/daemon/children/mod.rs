//! Processes and connections that the daemon starts and awaits: checks, hooks, mails.

pub(crate) mod checks;
pub(crate) mod jobs;
pub mod mailer;
pub(crate) mod pipe;
