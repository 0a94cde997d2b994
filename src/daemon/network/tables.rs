//! The kernel's tables of interfaces and addresses: its messages, and complete dumps.

use crate::base::log;
use crate::base::text;
use crate::base::time::Time;
use crate::daemon::{Daemon, Fatal, failed};
use crate::report::words;
use crate::sys::{clock, runtime};
use crate::wire::rtnl::Msg;
use nix::errno::Errno;
use std::time::Duration;

/// Netlink messages read in a turn: more than the buffer holds, so that no timer is acted on before them.
const EVENTS_PER_TURN: usize = 8192;
/// Pause after a dump that failed.
const REREAD: Duration = Duration::from_millis(100);

impl Daemon {
    pub(crate) fn read_netlink(&mut self, now: Time) -> Result<(), Fatal> {
        let mut msgs = Vec::new();
        let lost = match self.net.netlink.events(EVENTS_PER_TURN, &mut msgs) {
            Ok(()) => msgs.contains(&Msg::Overrun),
            Err(Errno::ENOBUFS) => true,
            Err(e) => return Err(failed("netlink", e)),
        };
        if lost {
            self.lost();
            return Ok(());
        }
        for m in &msgs {
            match m {
                Msg::Link(l) => self.node.link(now, l),
                Msg::LinkGone { ifindex, .. } => self.node.link_gone(now, *ifindex),
                Msg::Addr(a) => self.node.addr(now, a),
                Msg::AddrGone(a) => self.node.addr_gone(now, a),
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn lost(&mut self) {
        self.node.overrun();
        self.reread();
    }

    /// Reads the kernel's tables again. Queued messages are older and would undo what the tables say, so they
    /// are dropped.
    pub(crate) fn reread(&mut self) {
        self.net.reread_at = None;
        let mut stale = Vec::new();
        for _ in 0..2 {
            // The first call may only report the overrun once more.
            let _ = self.net.netlink.events(EVENTS_PER_TURN, &mut stale);
            stale.clear();
        }
        if let Err(e) = self.dump() {
            log::error!("netlink: cannot read everything again: {}", words::errno(e as i32));
            self.net.reread_at = Some(clock::now() + REREAD);
        }
        self.rejoin();
    }

    /// What was missed may be that the addresses of IPv6 went and came back: the memberships did not.
    fn rejoin(&mut self) {
        const GROUP: &str = "ff020000000000000000000000000012";
        let Ok(groups) = runtime::read_text("/proc/net/igmp6") else { return };
        for i in 0..self.node.links.len() {
            let name = self.node.links[i].name.as_str();
            let is_in = |line: &str| text::words(line).skip(1).take(2).eq([name, GROUP]);
            if !groups.lines().any(is_in) {
                self.node.rejoin(i);
            }
        }
    }

    /// Reads all links and addresses of the kernel.
    pub(crate) fn dump(&mut self) -> nix::Result<()> {
        let now = clock::now();
        let mut links = Vec::new();
        self.node.dump_starts();
        let node = &mut self.node;
        self.net.netlink.dump(&mut |msg| match msg {
            Msg::Link(l) => {
                links.push(l.ifindex);
                node.link(now, l);
            }
            Msg::Addr(a) => node.addr(now, a),
            _ => {}
        })?;
        self.node.dump_ends(now, &links);
        Ok(())
    }
}
