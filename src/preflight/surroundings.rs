//! What the configuration expects of this host, and does not find.

use crate::config::{Config, Track, Vip, Vrrp};
use crate::lease::TAG;
use crate::sys::netlink::Netlink;
use crate::wire::rtnl::Msg;
use std::net::IpAddr;

/// The interfaces and addresses of this host.
#[derive(Debug, Default)]
pub struct Host {
    /// Names of the interfaces.
    pub links: Vec<String>,
    /// Those of them that are ports of a bridge or a bond.
    pub ports: Vec<String>,
    /// Every address.
    pub addrs: Vec<HostAddr>,
}

/// An address of this host.
#[derive(Debug)]
pub struct HostAddr {
    /// Name of its interface.
    pub dev: String,
    /// The address.
    pub addr: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Whether vipd or keepalived added it: a virtual address that is held now.
    pub is_virtual: bool,
}

/// RTPROT_KEEPALIVED, which keepalived gives its addresses.
const KEEPALIVED: u8 = 18;

impl Host {
    /// Reads the kernel's tables.
    pub fn read() -> nix::Result<Self> {
        let (mut names, mut ports, mut found) = (Vec::new(), Vec::new(), Vec::new());
        Netlink::open(TAG)?.dump(&mut |msg| match msg {
            Msg::Link(l) => {
                names.push((l.ifindex, l.name.as_str().to_owned()));
                ports.extend(l.is_port.then(|| l.name.as_str().to_owned()));
            }
            Msg::Addr(a) => found.push(*a),
            _ => {}
        })?;
        let dev = |ifindex| names.iter().find(|(i, _)| *i == ifindex).map(|(_, name)| name.clone());
        let addrs = found.iter().filter_map(|a| {
            // Kernels before 5.18 do not tell who added an address: a leased one has an end and a host
            // prefix.
            let leased = a.valid != u32::MAX && a.prefix == if a.addr.is_ipv4() { 32 } else { 128 };
            let is_virtual = a.proto.map_or(leased, |p| p == TAG || p == KEEPALIVED);
            Some(HostAddr { dev: dev(a.ifindex)?, addr: a.addr, prefix: a.prefix, is_virtual })
        });
        let links = names.iter().map(|(_, name)| name.clone()).collect();
        Ok(Host { addrs: addrs.collect(), links, ports })
    }
}

/// One warning: the section `[vrrp NAME]`, the key that is meant, and the text.
#[derive(Debug, PartialEq, Eq)]
pub struct Warning<'a> {
    /// Name of the virtual router.
    pub name: &'a str,
    /// The key.
    pub key: &'static str,
    /// What is wrong, and what to do.
    pub text: String,
}

/// Every warning; pure.
pub fn look<'a>(cfg: &'a Config, host: &Host) -> Vec<Warning<'a>> {
    let mut all = Vec::new();
    for v in &cfg.vrrp {
        let mut warn = |key, text| all.push(Warning { name: &v.name, key, text });
        interfaces(v, host, &mut warn);
        for (key, vips) in [("virtual_ipaddress", &v.vips), ("virtual_ipaddress_excluded", &v.excluded)] {
            vips.iter().for_each(|vip| address(v, vip, host, key, &mut warn));
        }
        sources(v, host, &mut warn);
        let weighs = v.track_checks.iter().map(|t| t.track);
        let weighs = weighs.chain(v.track_interfaces.iter().map(|t| t.track)).chain([v.track_haproxy]);
        if !v.preempt && weighs.into_iter().any(|t| matches!(t, Track::Weight(_))) {
            let text = "with `no` a backup whose priority a weight makes the higher one does not take over";
            warn("preempt", text.to_owned());
        }
    }
    all
}

/// Interfaces that do not exist, and `lo`.
fn interfaces(v: &Vrrp, host: &Host, warn: &mut impl FnMut(&'static str, String)) {
    let vips = v.held().filter_map(|vip| Some(("virtual_ipaddress", vip.dev.as_deref()?)));
    let tracked = v.track_interfaces.iter().map(|t| ("track_interface", t.name.as_str()));
    let mut seen = Vec::new();
    for (key, name) in [("interface", v.interface.as_str())].into_iter().chain(vips).chain(tracked) {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        if name == "lo" && key != "track_interface" {
            warn(key, "addresses on lo are not announced: no other host learns of them".to_owned());
        } else if !host.links.iter().any(|l| l == name) {
            let fits = |l: &&String| *l != "lo" && !host.ports.contains(l);
            let there: Vec<&str> = host.links.iter().filter(fits).map(String::as_str).take(8).collect();
            warn(key, format!("{name} does not exist here; there are {}", there.join(", ")));
        } else if key != "track_interface" && host.ports.iter().any(|p| p == name) {
            warn(
                key,
                format!(
                    "{name} is a port of a bridge or a bond, which receives nothing itself: this router will be in FAULT"
                ),
            );
        }
    }
}

/// An address that this host has already, or whose subnet its interface does not have.
fn address(v: &Vrrp, vip: &Vip, host: &Host, key: &'static str, warn: &mut impl FnMut(&'static str, String)) {
    let (addr, dev) = (vip.addr, vip.dev.as_deref().unwrap_or(&v.interface));
    let own = host.addrs.iter().find(|a| a.addr == addr && !a.is_virtual);
    match own {
        Some(a) if v.priority != 255 => {
            let on = &a.dev;
            warn(
                key,
                format!(
                    "{addr} is a permanent address of this host, on {on}: remove it there, or set priority = 255"
                ),
            );
        }
        None if v.priority == 255 => {
            warn(
                key,
                format!(
                    "priority = 255, but {addr} is not an address of this host: this router will be in FAULT"
                ),
            );
        }
        _ => {}
    }
    let mut here =
        host.addrs.iter().filter(|a| a.dev == dev && a.addr.is_ipv4() == addr.is_ipv4() && !a.is_virtual);
    // A host prefix says nothing of the subnet. Without any address, another fault is told.
    let Some(first) = here.clone().next() else { return };
    if own.is_none() && !here.any(|a| is_in(addr, a)) && !is_link_local(addr) {
        let (has, prefix) = (first.addr, first.prefix);
        warn(
            key,
            format!("{addr} is in no subnet of {dev}, which has {has}/{prefix}: is the address right?"),
        );
    }
}

/// The source of adverts, and peers that are this host.
fn sources(v: &Vrrp, host: &Host, warn: &mut impl FnMut(&'static str, String)) {
    let own = |addr: &IpAddr| host.addrs.iter().find(|a| a.addr == *addr && !a.is_virtual);
    if let Some(src) = v.src_ip.filter(|src| own(src).is_none()) {
        let key = if v.unicast_peers.is_empty() { "mcast_src_ip" } else { "unicast_src_ip" };
        warn(key, format!("{src} is not an address of this host: this router will be in FAULT"));
    }
    for (key, peers) in [("unicast_peer", &v.unicast_peers), ("allowed_peers", &v.allowed_peers)] {
        for peer in peers.iter().filter(|p| own(p).is_some()) {
            warn(key, format!("{peer} is an address of this host: list the other nodes only"));
        }
    }
}

fn is_in(addr: IpAddr, a: &HostAddr) -> bool {
    let same = |x: u128, y: u128, bits: u8| {
        (x ^ y).checked_shr(u32::from(bits.saturating_sub(a.prefix))).unwrap_or(0) == 0
    };
    match (addr, a.addr) {
        (IpAddr::V4(x), IpAddr::V4(y)) => same(x.to_bits().into(), y.to_bits().into(), 32),
        (IpAddr::V6(x), IpAddr::V6(y)) => same(x.to_bits(), y.to_bits(), 128),
        _ => false,
    }
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(a) if a.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::parse;

    fn host() -> Host {
        let addr = |dev: &str, addr: &str, prefix, is_virtual| HostAddr {
            dev: dev.into(),
            addr: addr.parse().expect("an address"),
            prefix,
            is_virtual,
        };
        Host {
            links: ["lo", "eth0", "eth1", "p0"].map(str::to_owned).into(),
            ports: vec!["p0".into()],
            addrs: vec![
                addr("eth0", "192.0.2.116", 24, false),
                addr("eth0", "192.0.2.50", 32, false),
                addr("eth0", "192.0.2.10", 32, true),
                addr("eth0", "2001:db8::116", 64, false),
            ],
        }
    }

    fn said(more: &str, vips: &str) -> Vec<(&'static str, String)> {
        let text = format!(
            "[check c]\ntype = ping\ntarget = 192.0.2.1\n[vrrp A]\ninterface = eth0\nvirtual_router_id = 1\nversion = 3\n\
             virtual_ipaddress = {vips}\n{more}\n"
        );
        let text = if more.starts_with("interface") { text.replace("interface = eth0\n", "") } else { text };
        let cfg = parse(&text).unwrap_or_else(|e| panic!("{e:?}")).0;
        look(&cfg, &host()).into_iter().map(|w| (w.key, w.text)).collect()
    }

    #[test]
    fn what_is_not_as_expected_is_told() {
        for (more, vips, key, text) in [
            (
                "interface = eth9",
                "192.0.2.1/24",
                "interface",
                "eth9 does not exist here; there are eth0, eth1",
            ),
            (
                "",
                "192.0.2.1/24 dev eth8",
                "virtual_ipaddress",
                "eth8 does not exist here; there are eth0, eth1",
            ),
            (
                "",
                "192.0.2.1/24 dev lo",
                "virtual_ipaddress",
                "addresses on lo are not announced: no other host learns of them",
            ),
            (
                "interface = p0",
                "192.0.2.1/24 dev eth0",
                "interface",
                "p0 is a port of a bridge or a bond, which receives nothing itself: this router will be in FAULT",
            ),
            (
                "track_interface = eth7",
                "192.0.2.1/24",
                "track_interface",
                "eth7 does not exist here; there are eth0, eth1",
            ),
            (
                "",
                "192.0.2.50/24",
                "virtual_ipaddress",
                "192.0.2.50 is a permanent address of this host, on eth0: remove it there, or set priority = 255",
            ),
            (
                "priority = 255",
                "192.0.2.1/24",
                "virtual_ipaddress",
                "priority = 255, but 192.0.2.1 is not an address of this host: this router will be in FAULT",
            ),
            (
                "",
                "192.0.3.1/24",
                "virtual_ipaddress",
                "192.0.3.1 is in no subnet of eth0, which has 192.0.2.116/24: is the address right?",
            ),
            (
                "",
                "fe80::1, 2001:db8:1::1/64",
                "virtual_ipaddress",
                "2001:db8:1::1 is in no subnet of eth0, which has 2001:db8::116/64: is the address right?",
            ),
            (
                "mcast_src_ip = 192.0.2.99",
                "192.0.2.1/24",
                "mcast_src_ip",
                "192.0.2.99 is not an address of this host: this router will be in FAULT",
            ),
            (
                "unicast_peer = 192.0.2.117, 192.0.2.116",
                "192.0.2.1/24",
                "unicast_peer",
                "192.0.2.116 is an address of this host: list the other nodes only",
            ),
            (
                "preempt = no\ntrack = c weight 10",
                "192.0.2.1/24",
                "preempt",
                "with `no` a backup whose priority a weight makes the higher one does not take over",
            ),
        ] {
            assert_eq!(said(more, vips), [(key, text.to_owned())], "{more} {vips}");
        }
    }

    #[test]
    fn what_is_well_is_not_told() {
        for (more, vips) in [
            ("", "192.0.2.1/24"),
            ("", "192.0.2.10/24"),
            ("priority = 255", "192.0.2.50/24"),
            ("", "192.0.2.1, 192.0.9.1 dev eth1"),
            ("", "fe80::1, 2001:db8::1/64"),
            ("mcast_src_ip = 192.0.2.116", "192.0.2.1/24"),
            ("preempt = no\ntrack = c", "192.0.2.1/24"),
        ] {
            assert_eq!(said(more, vips), [], "{more} {vips}");
        }
    }
}
