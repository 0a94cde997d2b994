//! A program that does nothing but what no VRRP daemon can avoid: once a second it sends one advert for each
//! router, all of them in one go, or it hears them, as many as there are. What it costs is the floor for
//! everybody.

use super::cost::plural;
use super::figures::{Table, millis};
use super::lab::*;
use crate::ensure;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::sockopt::{BindToDevice, IpAddMembership};
use nix::sys::socket::{IpMembershipRequest, MsgFlags, SockaddrIn, recv, sendto, setsockopt};
use nix::sys::time::TimeSpec;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread::sleep;
use std::time::Instant;

/// What this program is called with to be it: `--floor master 250`.
pub const OPTION: &str = "--floor";

/// The CPU of both roles, in the rows that the daemons have.
pub fn measure(count: u8, table: &mut Table) -> Result<()> {
    let lan = Lan::new(&[("node1", "192.168.30.116/16"), ("node2", "192.168.30.117/16")])?;
    let start = |node: &str, role: &str| -> Result<Proc> {
        let mut cmd = Command::new(std::env::current_exe()?);
        cmd.args([OPTION, role, &count.to_string(), &lan.node(node).addr().to_string()]);
        Proc::start(&lan.node(node), "floor", cmd)
    };
    let from = Instant::now();
    let (backup, master) = (start("node2", "backup")?, start("node1", "master")?);
    let groups = [Group::start(&[master.pid()])?, Group::start(&[backup.pid()])?];
    sleep(secs(2));
    let before = groups.each_ref().map(Group::cpu);
    sleep(secs(10));
    for ((role, group), before) in ["master", "backup"].into_iter().zip(&groups).zip(before) {
        let alive = if role == "master" { master.is_alive() } else { backup.is_alive() };
        ensure!(alive, "the floor has died: {}", master.log().tail(5, from));
        let used = millis(group.cpu()? - before?);
        let what = format!("{count} {} {role}: CPU, ms in 10 s", plural(count));
        if let Some(row) = table.0.iter_mut().find(|row| row.what == what) {
            row.floor.push(used);
        }
    }
    Ok(())
}

/// The program itself.
pub fn run(role: &str, count: u32, own: Ipv4Addr) -> Result<()> {
    let fd = vrrp_socket()?;
    // There is no route for multicast.
    setsockopt(&fd, BindToDevice, &"eth0".into())?;
    let group = Ipv4Addr::new(224, 0, 0, 18);
    if role == "backup" {
        let mut buf = [0; 256];
        setsockopt(&fd, IpAddMembership, &IpMembershipRequest::new(group, Some(own)))?;
        loop {
            ppoll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], None, None)?;
            while recv(fd.as_raw_fd(), &mut buf, MsgFlags::MSG_DONTWAIT).is_ok() {}
        }
    }
    let [a, b, c, d] = group.octets();
    let group = SockaddrIn::new(a, b, c, d, 0);
    let advert = [0; 20];
    let mut due = Instant::now();
    loop {
        let left = due.saturating_duration_since(Instant::now());
        ppoll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], Some(TimeSpec::from(left)), None)?;
        if Instant::now() >= due {
            for _ in 0..count {
                sendto(fd.as_raw_fd(), &advert, &group, MsgFlags::empty())?;
            }
            due += secs(1);
        }
    }
}
