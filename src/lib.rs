//! vipd: a floating address for a pair of HAProxy machines.
//!
//! # The rooms
//!
//! Each folder (or file) directly under `src/` is a room. A room knows only rooms on lower floors, so there
//! is no circle; `cargo test --test house` lists the arrows and fails on one that points upwards.
//!
//! ```text
//! main                                     command line and exit status
//! daemon                                   the loop: descriptors, ppoll, system calls, children, the log
//! preflight  control                       what is looked at before the start; the control socket
//! report                                   what people and programs are told: words, status, --watch
//! node                                     all virtual routers, addresses, HAProxy and the node's life, pure
//! event                                    what happened, as one enum
//! notify                                   hooks and mail: who is told by a process of its own
//! lease  haproxy  check  vrrp  sys         addresses; HAProxy; [check]; the protocol; system calls
//! config  wire                             the configuration and the import; every byte layout
//! base                                     time, text (packed, too), hash, exit, log, backoff, throttle
//! ```
//!
//! `lease`, `haproxy`, `check`, `vrrp`, `event`, `notify`, `node`, `report`, `config`, `wire` and `base` are
//! the core: they do no I/O and read no clock. An event goes in with its time, an effect comes out of
//! [`node::Node::next_effect`], the daemon carries it out through `sys`, and its result goes in as the next
//! event. `sys` holds every `unsafe` and knows only `wire` and `base`.
//!
//! # A turn of the loop
//!
//! 1. The daemon waits in ppoll until a descriptor is ready or the nearest deadline has come.
//! 2. [`node::Node::check_stall`]: a process that stood still gives its addresses up before it believes
//!    anything.
//! 3. The daemon reads what is ready: each packet, netlink message and answer goes to the node.
//! 4. The timers, the effects that follow, the batch of addresses, the announcements, the log, the hooks. The
//!    node holds this order; the daemon, the unit tests, the simulator and the fuzz target play the same one.
//!
//! There are two times in a turn. The *turn's time* was read before the sockets were: timers are judged by
//! it, so that adverts that wait in a socket count before a backup takes over. A *fresh time* is read right
//! before each batch of addresses and each advert, and after it: what comes too late is not sent, and a lease
//! counts from before its renewal. All times are [`base::time::Time`], CLOCK_BOOTTIME in nanoseconds.
//!
//! # Where to make the commonest changes
//!
//! - A key of vipd.ini: its type in `config/mod.rs`; its reader in `config/schema/`; `config/diff.rs` if a
//!   reload cannot simply take it; its line in `rootfs/usr/share/man/man5/vipd.ini.5`. `config/tests` has
//!   every key.
//! - A type of `[check]`: `config/schema/check.rs`; how an attempt is made in `daemon/children/checks.rs`.
//! - An authentication method: `vrrp/authentication`, its byte layout in `wire/`, its keys in
//!   `config/schema/vrrp.rs`.
//! - An event: `event.rs`, its words in `report/words/`, the place in `node/` that emits it.
//! - A counter: `vrrp/stats.rs`. The status, JSON and metrics list what is there.
//! - An effect: `node/effect.rs`, the place in `node/` that pushes it, `carry_out` in `daemon/effects.rs`.
//! - A netlink or packet layout: `wire/`, with a test of its bytes; `tests/fuzz` for what is parsed.

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
