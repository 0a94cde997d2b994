//! vipd: a floating address for a pair of HAProxy machines.
//!
//! ```text
//!      ppoll(2): VRRP sockets, netlink, signals, pidfds, child pipes, control socket ── nearest deadline
//!            │ what came, with the time
//!            ▼
//!  daemon ── node: pure; no I/O, no clock, no log ─────────────────────────────────────────────
//!            │   vrrp::machine ×N      haproxy::supervisor      addr (wanted × kernel × leases)
//!            │ effects                          ▲
//!            ▼                                  │ results come back as events
//!           sys: raw and packet sockets, netlink, processes, signals
//! ```
//!
//! Arrows point one way: `main` → `daemon` → the core; nothing in the core (`node`, `addr`, `lease`, `vrrp`, `wire`,
//! `haproxy`, `config`, `event`, `stats`, `time`) knows a socket, a clock or the log.

pub mod base;
pub mod check;
pub mod config;
pub mod control;
pub mod daemon;
pub mod event;
pub mod haproxy;
pub mod lease;
pub mod node;
pub mod notify;
pub mod preflight;
pub mod report;
#[allow(unsafe_code)]
pub mod sys;
pub mod vrrp;
pub mod wire;
