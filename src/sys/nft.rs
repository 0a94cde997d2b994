//! nfnetlink: one socket for changes and questions, one for what others do to the tables.
//!
//! A transaction is carried out within the send, and its answers are queued when that returns; so neither
//! socket ever blocks.

use super::netlink::receive;
use crate::wire::nft::{self, Batch, Family, Key, Msg};
use nix::errno::Errno;
use nix::sys::socket::{
    self as nixsock, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sockopt,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The group that tells of changes (`NFNLGRP_NFTABLES`), as a bit.
const GROUP: u32 = 1 << (7 - 1);
/// Asked for: 250 virtual routers take a transaction of 800 kB. The kernel gives what it allows.
const BUFFER: usize = 4 << 20;
/// A transaction, and its answers, take so much address space: the C library has such memory from the kernel
/// for itself and gives it back at once. What grows from little leaves 28 KiB behind.
const APART: usize = 128 << 10;
/// Datagrams of one answer, or of others' changes, that are read at a time.
const MOST: usize = 4096;

/// Both sockets. With [`nft::OWNED`] the tables are the first one's.
#[derive(Debug)]
pub struct Nft {
    requests: OwnedFd,
    events: Option<OwnedFd>,
    seq: u32,
}

impl Nft {
    /// Opens the first.
    ///
    /// # Errors
    ///
    /// EPROTONOSUPPORT if the kernel has no nfnetlink.
    pub fn open() -> nix::Result<Self> {
        let requests = socket()?;
        // More than the limit takes CAP_NET_ADMIN in the first user namespace; less is no error.
        if nixsock::setsockopt(&requests, sockopt::SndBufForce, &BUFFER).is_err() {
            let _ = nixsock::setsockopt(&requests, sockopt::SndBuf, &BUFFER);
        }
        if nixsock::setsockopt(&requests, sockopt::RcvBufForce, &BUFFER).is_err() {
            let _ = nixsock::setsockopt(&requests, sockopt::RcvBuf, &BUFFER);
        }
        nixsock::bind(requests.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Nft { requests, events: None, seq: 0 })
    }

    /// Tells of what others do from now on: where the tables have no owner they may remove them.
    pub fn watch(&mut self) -> nix::Result<()> {
        let events = socket()?;
        if nixsock::setsockopt(&events, sockopt::RcvBufForce, &BUFFER).is_err() {
            let _ = nixsock::setsockopt(&events, sockopt::RcvBuf, &BUFFER);
        }
        nixsock::bind(events.as_raw_fd(), &NetlinkAddr::new(0, GROUP))?;
        self.events = Some(events);
        Ok(())
    }

    /// The descriptor that is ready when others have changed something.
    pub fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(AsFd::as_fd)
    }

    /// Carries a transaction out.
    ///
    /// # Errors
    ///
    /// The first error of the kernel: nothing was applied. EPERM without `CAP_NET_ADMIN`, or if the tables
    /// are another process's; EOPNOTSUPP if the kernel has no nf_tables or does not know a flag; ENOENT of
    /// what is not there, an expression or an interface too; EMSGSIZE if it is more than the socket may send.
    pub fn batch(&mut self, build: &dyn Fn(&mut Batch<'_>)) -> nix::Result<()> {
        let whole = self.seq.wrapping_add(1);
        let mut out = Vec::with_capacity(APART);
        let mut batch = Batch::begin(&mut out, whole);
        build(&mut batch);
        let last = batch.end();
        self.seq = last.wrapping_add(1);
        self.send(&out)?;
        let (mut first, mut buf) = (0, vec![0; APART]);
        for _ in 0..MOST {
            let n = receive(&self.requests, &mut buf)?;
            for msg in nft::messages(buf.get(..n).unwrap_or_default()) {
                let Msg::Ack { seq, errno } = msg else { continue };
                // What is about an earlier request was left in the queue.
                if seq.wrapping_sub(whole) > last.wrapping_sub(whole) {
                    continue;
                }
                if errno != 0 && first == 0 {
                    first = errno;
                }
                if seq == last || seq == whole && errno != 0 {
                    return if first == 0 { Ok(()) } else { Err(Errno::from_raw(first)) };
                }
            }
        }
        Err(Errno::ENOBUFS)
    }

    /// What is left of a lease in one of the tables, in milliseconds; up to a tick too much. `None`: it has
    /// ended, or there never was one.
    pub fn rest(&mut self, family: Family, key: Key) -> nix::Result<Option<u64>> {
        match self.ask(&|buf, seq| nft::get(buf, seq, family, key)) {
            Ok(Msg::Element { rest, .. }) => Ok(rest),
            Ok(_) | Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether both tables are there.
    pub fn is_intact(&mut self) -> bool {
        Family::BOTH.iter().all(|f| self.has(*f))
    }

    /// Whether this table is there. To delete one that is not costs the kernel some 10 ms.
    pub fn has(&mut self, family: Family) -> bool {
        self.ask(&|buf, seq| nft::get_table(buf, seq, family)).is_ok()
    }

    fn ask(&mut self, request: &dyn Fn(&mut Vec<u8>, u32)) -> nix::Result<Msg> {
        self.seq = self.seq.wrapping_add(1);
        let mut out = Vec::new();
        request(&mut out, self.seq);
        self.send(&out)?;
        let mut buf = vec![0; APART];
        for _ in 0..MOST {
            let n = receive(&self.requests, &mut buf)?;
            for msg in nft::messages(buf.get(..n).unwrap_or_default()) {
                match msg {
                    Msg::Ack { seq, errno } if seq == self.seq => return Err(Errno::from_raw(errno)),
                    Msg::Element { seq, .. } | Msg::Table { seq } if seq == self.seq => return Ok(msg),
                    _ => {}
                }
            }
        }
        Err(Errno::ENOBUFS)
    }

    fn send(&self, out: &[u8]) -> nix::Result<()> {
        let kernel = NetlinkAddr::new(0, 0);
        nixsock::sendto(self.requests.as_raw_fd(), out, &kernel, MsgFlags::MSG_DONTWAIT).map(drop)
    }

    /// Reads what others did: each removal of a table of ours, each change's author. Returns whether all was
    /// heard of.
    pub fn events(&mut self, f: &mut dyn FnMut(&Msg)) -> bool {
        let Some(events) = &self.events else { return true };
        let mut buf = vec![0; APART];
        for _ in 0..MOST {
            match receive(events, &mut buf) {
                Ok(n) => nft::messages(buf.get(..n).unwrap_or_default()).for_each(|m| f(&m)),
                Err(Errno::EAGAIN) => return true,
                Err(_) => return false,
            }
        }
        false
    }
}

fn socket() -> nix::Result<OwnedFd> {
    nixsock::socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkNetFilter,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::nft::{Device, OWNED, Plan, Router};
    use nix::sched::{CloneFlags, unshare};
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// In a network namespace of its own; `None` where that takes more rights than there are.
    fn in_namespace<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let run = move || unshare(CloneFlags::CLONE_NEWNET).is_ok().then(f);
        std::thread::spawn(run).join().unwrap()
    }

    fn nft(args: &[&str], input: &str) -> Option<String> {
        let piped = Stdio::piped;
        let child = Command::new("nft").args(args).stdin(piped()).stdout(piped()).stderr(piped()).spawn();
        let mut child = child.ok()?;
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "nft {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        Some(String::from_utf8(out.stdout).unwrap())
    }

    fn plan() -> Plan {
        let router = |vrid, v6, ah, vips: &[&str]| Router {
            key: Key::new(1, v6, vrid),
            ifindex: 1,
            wire: 1,
            vrid,
            v6,
            ah,
            term: 2976,
            vips: vips.iter().map(|v| (v.parse().unwrap(), 1)).collect(),
        };
        Plan {
            devices: vec![Device { ifindex: 1, name: "lo".to_owned() }],
            routers: vec![
                router(51, false, false, &["192.0.2.1", "192.0.2.2"]),
                router(52, true, false, &["2001:db8::1", "fe80::1"]),
                router(53, false, true, &["192.0.2.3", "192.0.2.1"]),
            ],
            refused: ["192.0.2.3", "fe80::1", "2001:db8::1"]
                .iter()
                .map(|v| (v.parse().unwrap(), 1))
                .collect(),
        }
    }

    fn replace(n: &mut Nft, flags: u32, rest: Option<u64>) {
        n.batch(&|b| nft::replace(b, flags, &plan(), &|i| rest.filter(|_| i == 0))).unwrap();
    }

    /// The flags that this kernel has.
    fn flags(n: &mut Nft) -> u32 {
        match n.batch(&|b| nft::replace(b, OWNED, &Plan::default(), &|_| None)) {
            Err(Errno::EOPNOTSUPP) => 0,
            done => done.map(|()| OWNED).unwrap(),
        }
    }

    #[test]
    fn nft_lists_what_was_made_and_can_read_it() {
        let listed = in_namespace(|| {
            let mut n = Nft::open().unwrap();
            replace(&mut n, 0, None);
            let text = nft(&["list", "ruleset"], "")?;
            nft(&["-c", "-f", "-"], &text.replace("vipd", "copy"));
            Some(text)
        });
        let version = nft(&["--version"], "").unwrap_or_default();
        if let Some(text) = listed.flatten().filter(|_| version.contains("v1.0.6")) {
            assert_eq!(text, include_str!("nft/ruleset.nft"));
        }
    }

    #[test]
    fn leases_are_opened_and_closed_and_read() {
        in_namespace(|| {
            let mut n = Nft::open().unwrap();
            let flags = flags(&mut n);
            let key = Key::new(1, false, 51);
            replace(&mut n, flags, None);
            assert_eq!(n.rest(Family::Inet, key), Ok(None));
            assert_eq!(n.batch(&|b| nft::close(b, Family::Inet, key)), Err(Errno::ENOENT));
            n.batch(&|b| nft::open(b, key, 2976)).unwrap();
            let left = n.rest(Family::Inet, key).unwrap().unwrap();
            assert!((2000..=2980).contains(&left), "{left}");
            // All is replaced, and this lease goes on.
            replace(&mut n, flags, Some(1500));
            let left = n.rest(Family::Inet, key).unwrap().unwrap();
            assert!((1000..=1504).contains(&left), "{left}");
            for f in Family::BOTH {
                n.batch(&|b| nft::reopen(b, f, key, 60_000)).unwrap();
            }
            assert!(n.rest(Family::Inet, key).unwrap().unwrap() > 50_000);
            for f in Family::BOTH {
                n.batch(&|b| nft::close(b, f, key)).unwrap();
                assert_eq!(n.batch(&|b| nft::reopen(b, f, key, 1000)), Err(Errno::ENOENT));
            }
            assert_eq!(n.rest(Family::Inet, key), Ok(None));
            // A restart: what the one before left can be read, and is taken over.
            n.batch(&|b| nft::open(b, key, 60_000)).unwrap();
            drop(n);
            let mut n = Nft::open().unwrap();
            assert!(n.is_intact() && n.rest(Family::Inet, key).unwrap().unwrap() > 50_000);
            replace(&mut n, flags, Some(60_000));
            // Nobody else can remove an owned table, and what was removed is noticed.
            let mut other = Nft::open().unwrap();
            let removed = other.batch(&|b| b.del_table(Family::Inet));
            assert_eq!(removed, if flags == 0 { Ok(()) } else { Err(Errno::EPERM) });
            assert_eq!(n.is_intact(), flags != 0);
        });
    }

    #[test]
    fn removals_are_heard_of() {
        in_namespace(|| {
            let mut n = Nft::open().unwrap();
            replace(&mut n, 0, None);
            n.watch().unwrap();
            assert!(n.events(&mut |m| panic!("{m:?}")));
            let mut other = Nft::open().unwrap();
            other.batch(&|b| b.del_table(Family::Netdev)).unwrap();
            let (mut gone, mut who) = (0, None);
            let thread = nix::unistd::gettid().as_raw() as u32;
            assert!(n.events(&mut |m| match m {
                Msg::TableGone => gone += 1,
                Msg::Generation { pid, .. } => who = Some(*pid),
                _ => {}
            }));
            assert_eq!((gone, who), (1, Some(thread)));
        });
    }

    #[test]
    fn an_attempt_leaves_nothing() {
        in_namespace(|| {
            let mut n = Nft::open().unwrap();
            let flags = flags(&mut n);
            for _ in 0..3 {
                assert_eq!(n.batch(&|b| nft::attempt(b, flags)), Ok(()));
                let tables = nft(&["list", "tables"], "").unwrap_or_default();
                assert!(!tables.contains("attempt"), "{tables}");
            }
        });
    }

    #[test]
    fn nothing_is_applied_if_anything_is_refused() {
        in_namespace(|| {
            let mut n = Nft::open().unwrap();
            let refused = n.batch(&|b| {
                nft::replace(b, 0, &plan(), &|_| None);
                nft::close(b, Family::Inet, Key::new(1, false, 51));
            });
            assert_eq!((refused, n.is_intact()), (Err(Errno::ENOENT), false));
            let removed: Vec<_> = Family::BOTH.iter().map(|f| n.batch(&|b| b.del_table(*f))).collect();
            assert_eq!(removed, [Err(Errno::ENOENT), Err(Errno::ENOENT)]);
        });
    }
}
