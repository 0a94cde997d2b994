//! What an address may do and until when: what is wanted × what the kernel has × how long a lease may run →
//! netlink operations. Pure.
//!
//! vipd adds a VIP with a finite lifetime and renews it only while no backup can have given up on this node.
//! [`crate::config::lease`] has the arithmetic.
//!
//! | file | holds |
//! |---|---|
//! | `book` | [`AddrBook`]: what the virtual routers want, and the questions they ask |
//! | `entry` | one VIP: whether it is wanted, whether vipd holds it, what is wrong with it |
//! | `claim` | what lets a virtual router renew, and the terms of its leases |
//! | `kernel` | what the kernel says of addresses |
//! | `operations` | which netlink operations are due, and what their results mean |
//! | `op` | one netlink operation, and what became of it |
//! | `ours` | whose an address is |
//! | `reload` | another configuration while addresses are held |
//! | `state_file` | what a restarted vipd must know |

mod book;
mod claim;
mod entry;
mod kernel;
mod op;
mod operations;
mod ours;
mod reload;
pub mod state_file;

pub use book::AddrBook;
pub use claim::Terms;
pub use entry::{Entry, Want};
pub use op::{Op, OpKind, Outcome};
pub use reload::Place;

use std::time::Duration;

/// IFA_PROTO of every address that vipd adds.
pub const TAG: u8 = 0x70;
/// The kernel may end a lease this much early: ADDRCONF_TIMER_FUZZ_MINUS (20 ms, linux/addrconf.h), and the
/// part of a tick (10 ms at HZ = 100) that has passed when the lease begins.
const EARLY: Duration = Duration::from_millis(30);
/// Lease of an address that waits for its successor, in seconds.
const HANDOVER_LEASE: u32 = 1;

#[cfg(test)]
mod tests;
