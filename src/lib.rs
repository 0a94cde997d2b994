//! vipd: a floating address for a pair of HAProxy machines.
//!
//! # The rooms
//!
//! Each folder (or file) directly under `src/` is a room. A room knows only rooms on lower floors, so there
//! is no circle; `cargo test --test house` lists the arrows and fails on one that points upwards. A new room
//! gets a place in its `FLOORS`.
//!
//! ```text
//! main                                     command line and exit status
//! daemon                                   the loop: descriptors, ppoll, system calls, children, the log
//! preflight  control                       what is looked at before the start; the control socket
//! report                                   what people and programs are told: words, status, history
//! node                                     all virtual routers, addresses, HAProxy and the node's life, pure
//! event                                    what happened, as one enum
//! notify                                   hooks and mail: who is told by a process of its own
//! lease  haproxy  check  vrrp  sys         addresses; HAProxy; [check]; the protocol; system calls
//! config  wire                             the configuration and the import; layouts below and beside VRRP's
//! base                                     time, text, secrets, hash, exit, log, backoff, throttle
//! ```
//!
//! `lease`, `haproxy`, `check`, `vrrp`, `event`, `notify`, `node`, `report`, `config`, `wire` and `base` are
//! the core: they do no I/O and read no clock. What happens goes in as a method call with its time. An effect
//! comes out of [`node::Node::next_effect`]; the daemon carries it out through `sys`, and its result goes in
//! again. What is worth telling comes out of [`node::Node::next_event`] as an [`event::Event`]. `sys` holds
//! every `unsafe` and knows only `wire` and `base`.
//!
//! # A turn of the loop
//!
//! 1. The daemon waits in ppoll until a descriptor is ready or the nearest deadline has come.
//! 2. A process that stood still gives its addresses up before it believes anything (`CheckStall`).
//! 3. The daemon reads what is ready: each packet, netlink message and answer goes to the node.
//! 4. The timers, the effects that follow, the batch of addresses, the announcements, the log, the hooks.
//!    The node holds this order ([`node::TURN`]); the daemon, the unit tests, the simulator and the
//!    fuzz target play the same one.
//! 5. What was asked for (reload, resign, upgrade) is done when nothing else is queued.
//!
//! There are two times in a turn. The *turn's time* was read before the sockets were: timers are judged by
//! it, so that adverts that wait in a socket count before a backup takes over. A *fresh time* is read right
//! before each batch of addresses and each advert, and again after a batch: what comes too late is not sent,
//! and a lease counts from before its renewal. All times are [`base::time::Time`], CLOCK_BOOTTIME in
//! nanoseconds.
//!
//! # Where to make the commonest changes
//!
//! - A key of vipd.ini: its type in `config/mod.rs`; its name and its reader in `config/schema/`
//!   (`[global]` and `[haproxy]`: `schema/mod.rs`); `RAW_KEYS` in `config/ini.rs` if its value may hold
//!   `#`; `LISTS` in `config/diff.rs` if it is a list. `FULL` in `config/tests/mod.rs` has every key;
//!   `tests/docs.rs` compares names, ranges and defaults with `rootfs/usr/share/man/man5/vipd.ini.5`.
//! - What a reload does with a key. `[vrrp]`: most need nothing, as the node reads `Router::cfg`; if the
//!   state machine has a copy, `Params`, `Tuning` and both `retune.rs`; if it makes another router to the
//!   peers, `is_same_router` in `config/diff.rs` and the fingerprint in `lease/state_file.rs`. `[global]`:
//!   `take_global` in `daemon/reload.rs`, or `needs_restart` in `config/diff.rs`.
//! - A type of `[check]`: `CheckKind` in `config/mod.rs`; `config/schema/check.rs`; how an attempt is made
//!   in `daemon/children/checks.rs`, its system calls in `sys/`; a new reason to fail in `check.rs` and
//!   `report/words/names.rs`. If it runs a program: `preflight/` and `try_checks` in `main.rs`, too.
//! - An authentication method: its type in `config/auth.rs`, its keys in `config/schema/auth.rs`; what it
//!   does in `vrrp/authentication`, its byte layout in `wire/`; why it refuses in `vrrp/packet/discard.rs`
//!   and `report/words/`; `lease/state_file.rs`; `report/status/` if it has something to show.
//! - An event: `event.rs` (variant and subject), its words in `report/words/`, the place in `node/` that
//!   emits it, `every_event` in `report/tests.rs`; vipd-troubleshooting(7) if somebody has to act on it.
//!   HAProxy's are in `haproxy/supervisor/messages.rs`. Hooks and mails: `note_change` in
//!   `node/notify.rs`.
//! - A counter of a virtual router: `vrrp/stats.rs`, and the place in `node/` that counts. Any other value
//!   of the status: `report/status/walk.rs` and `people/`. Then `status.schema.json`, vipd(8) (counters),
//!   vipd-monitoring(7) (metrics), and `BLESS=1 cargo test` for `tests/data/status`.
//! - A command, `vipd xyz`: `main.rs` (usage, `COMMANDS`, `Command`, `Line`); `control/protocol.rs`;
//!   `serve_client` in `daemon/read.rs`; if the answer comes later, a `Job` in `daemon/requests.rs`.
//!   vipd(8), the three completions in `rootfs/usr/share`, two lists in `tests/docs.rs`.
//! - A keyword for `vipd import`: its line in `config/keepalived/tables.rs`, which explains the signs, or
//!   an arm in `global.rs`, `router.rs`, `check.rs` or `group.rs` beside it; a pair `NN-name.conf` and
//!   `.want` in `tests/data/import`; the table in vipd.ini(5) if it is a common one.
//! - An effect: `node/effect.rs`, the place in `node/` that pushes it, `carry_out` in `daemon/effects.rs`,
//!   and the drivers: `node/tests`, `tests/sim`, `tests/exhaustive`, `tests/fuzz`.
//! - A netlink attribute of a link: `wire/rtnl` (`Link`, `parse.rs`, a test of its bytes); what the node
//!   keeps and does in `node/interface/`. An `rtnl::Link` is also made in `node/tests`,
//!   `tests/sim/kernel.rs`, `tests/exhaustive/model.rs` and `tests/fuzz/fuzz_targets/node.rs`.
//! - Another packet or netlink layout: `wire/`, with a test of its bytes; `tests/fuzz` for what is parsed.

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
