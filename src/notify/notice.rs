//! What is told of a state change, by hooks and mails alike.

use crate::config::StateHooks;
use crate::vrrp::faults::Faults;
use crate::vrrp::machine::Why;
use std::time::Duration;

/// What has changed, by name: it may be gone from the configuration before everybody is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A virtual router.
    Router(String),
    /// A sync group.
    Group(String),
    /// HAProxy, which only mails tell of.
    Haproxy,
}

/// What it has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is master.
    Master,
    /// It is backup.
    Backup,
    /// It cannot take part.
    Fault,
    /// vipd ends; no mail.
    Stop,
}

impl State {
    /// The command that a virtual router has for this state alone; empty: none.
    pub fn hook(self, hooks: &StateHooks) -> &Vec<String> {
        match self {
            State::Master => &hooks.master,
            State::Backup => &hooks.backup,
            State::Fault => &hooks.fault,
            State::Stop => &hooks.stop,
        }
    }

    /// keepalived's word.
    pub fn name(self) -> &'static str {
        match self {
            State::Master => "MASTER",
            State::Backup => "BACKUP",
            State::Fault => "FAULT",
            State::Stop => "STOP",
        }
    }
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A group's: its members have them.
    None,
    /// Of a transition.
    Why(Why),
    /// Of FAULT.
    Faults(Faults),
    /// HAProxy died that often within that time.
    Deaths(usize, Duration),
}

/// A state change that somebody is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What.
    pub subject: Subject,
    /// Into which state.
    pub state: State,
    /// The effective priority; 0 for a group, as in keepalived.
    pub priority: u8,
    /// Why.
    pub reason: Reason,
}
