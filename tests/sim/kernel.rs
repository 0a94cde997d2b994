//! The addresses of one machine, as unkind as Linux is: whole seconds, a check that never runs twice within a
//! second unless something is touched, a timer wheel, and a deferrable timer on an idle CPU.
//!
//! `expire` is `check_lifetime` of net/ipv4/devinet.c in jiffies at HZ = 250. How late an idle CPU lets the
//! timer be is bounded by what was measured (src/config/lease.rs): 1.7 s for a lease of 1 s, 2.25 s for 2 to
//! 16 s.

use crate::fence::Fence;
use crate::rng::Rng;
use std::net::{IpAddr, Ipv4Addr};
use vipd::lease::{Op, OpKind, TAG};
use vipd::wire::rtnl;

pub const ETH0: u32 = 2;
const HZ: u64 = 250;
pub const JIFFY: u64 = 1_000_000_000 / HZ;

/// How busy the CPU is that runs the timer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cpu {
    Busy,
    /// Wakes at random.
    Idle,
    /// Always as late as was ever measured.
    Worst,
}

/// An IPv4 address of eth0.
#[derive(Clone, Debug)]
pub struct Address {
    pub addr: Ipv4Addr,
    pub prefix: u8,
    /// Seconds; `None`: for ever.
    pub valid: Option<u32>,
    pub proto: Option<u8>,
    /// Jiffy of the last change.
    stamp: u64,
}

#[derive(Clone, Debug)]
pub struct Kernel {
    pub up: bool,
    pub addrs: Vec<Address>,
    pub mac: [u8; 6],
    pub cpu: Cpu,
    /// Jiffies started that much after CLOCK_BOOTTIME.
    pub jiffies_lag: u64,
    /// Local time of the next check, and its number: an older one that is still queued does not count.
    pub check_at: Option<u64>,
    pub check: u64,
    pub fence: Fence,
}

/// The most that was measured, in nanoseconds.
pub fn lateness(seconds: u32) -> u64 {
    if seconds <= 1 { 1_700_000_000 } else { 2_250_000_000 }
}

impl Kernel {
    fn jiffies(&self, local: u64) -> u64 {
        local.saturating_sub(self.jiffies_lag) / JIFFY
    }

    pub fn has(&self, addr: IpAddr) -> bool {
        self.addrs.iter().any(|a| IpAddr::V4(a.addr) == addr)
    }

    /// Whether the address is there with vipd's tag.
    pub fn has_tagged(&self, addr: IpAddr) -> bool {
        self.addrs.iter().any(|a| IpAddr::V4(a.addr) == addr && a.proto == Some(TAG))
    }

    pub fn add_permanent(&mut self, local: u64, addr: Ipv4Addr, prefix: u8) {
        let stamp = self.jiffies(local);
        self.addrs.push(Address { addr, prefix, valid: None, proto: None, stamp });
    }

    /// One request. The caller runs `expire` after the batch, as the kernel does after each.
    pub fn carry_out(&mut self, local: u64, op: &Op) -> i32 {
        let IpAddr::V4(addr) = op.addr else { return libc::EAFNOSUPPORT };
        if op.ifindex != ETH0 {
            return libc::ENODEV;
        }
        let stamp = self.jiffies(local);
        let there = self.addrs.iter().position(|a| a.addr == addr && a.prefix == op.prefix);
        match (op.kind, there) {
            (OpKind::Remove, None) => return libc::EADDRNOTAVAIL,
            (OpKind::Remove, Some(i)) => {
                self.addrs.remove(i);
            }
            (OpKind::Add, Some(_)) => return libc::EEXIST,
            (OpKind::Replace, Some(i)) => {
                let a = &mut self.addrs[i];
                (a.valid, a.proto, a.stamp) = (op.lease, Some(TAG), stamp);
            }
            // RTM_NEWADDR with NLM_F_REPLACE brings an address back that is gone.
            (OpKind::Add | OpKind::Replace, None) => {
                self.addrs.push(Address {
                    addr,
                    prefix: op.prefix,
                    valid: op.lease,
                    proto: Some(TAG),
                    stamp,
                });
            }
        }
        0
    }

    /// Somebody deletes a VIP by hand.
    pub fn delete_tagged(&mut self, addr: IpAddr) -> Option<Address> {
        let i = self.addrs.iter().position(|a| IpAddr::V4(a.addr) == addr && a.proto == Some(TAG))?;
        Some(self.addrs.remove(i))
    }

    /// `check_lifetime`: removes what has ended and plans the next check.
    pub fn expire(&mut self, local: u64, rng: &mut Rng) -> Vec<Address> {
        let now = self.jiffies(local);
        let over = |a: &Address| {
            a.valid.is_some_and(|v| (now.saturating_sub(a.stamp) + HZ / 50) / HZ >= u64::from(v))
        };
        let gone: Vec<Address> = self.addrs.iter().filter(|a| over(a)).cloned().collect();
        self.addrs.retain(|a| !over(a));
        self.check += 1;
        let leased =
            || self.addrs.iter().filter_map(|a| Some((a.stamp + u64::from(a.valid?) * HZ, a.valid?)));
        let Some((next, _)) = leased().min() else {
            self.check_at = None;
            return gone;
        };
        let rounded = next.div_ceil(HZ) * HZ;
        let at = if rounded < next + HZ / 4 { rounded } else { next };
        let at = at.max(now + HZ);
        // The timer wheel: 8 jiffies up to 511, 64 up to 4095.
        let step = if at - now < 512 { 8 } else { 64 };
        let at = at.div_ceil(step) * step;
        let latest = leased().map(|(end, v)| end + lateness(v) / JIFFY).min().unwrap_or(at).max(at);
        let at = match self.cpu {
            Cpu::Busy => at,
            Cpu::Idle => at + rng.below(latest - at + 1),
            Cpu::Worst => latest,
        };
        self.check_at = Some(at * JIFFY + self.jiffies_lag);
        gone
    }

    pub fn message(&self, local: u64, a: &Address) -> rtnl::Addr {
        let age = self.jiffies(local).saturating_sub(a.stamp) / HZ;
        let left = a.valid.map_or(u32::MAX, |v| v.saturating_sub(age as u32));
        rtnl::Addr {
            seq: 0,
            ifindex: ETH0,
            addr: IpAddr::V4(a.addr),
            prefix: a.prefix,
            scope: 0,
            flags: 0,
            proto: a.proto,
            valid: left,
            preferred: left,
            // jiffies in hundredths of a second, as the kernel tells them
            tstamp: (a.stamp * 100 / HZ) as u32,
            label: None,
        }
    }

    pub fn link(&self) -> rtnl::Link {
        rtnl::Link {
            seq: 0,
            ifindex: ETH0,
            name: rtnl::IfName::from_bytes(b"eth0"),
            up: true,
            running: self.up,
            mac: Some(self.mac),
            moved: false,
            macvlan_of: None,
            is_port: false,
            group: 0,
            mtu: 1500,
        }
    }
}
