//! Where adverts come from and go to: `mcast_src_ip`, `unicast_src_ip`, `unicast_peer`, `allowed_peers`.

use super::reader::Reader;
use super::vips::{address, is_link_local, is_of_family};
use crate::config::Vip;
use crate::config::report::Shown;
use std::net::IpAddr;

/// Most elements of `unicast_peer` and of `allowed_peers`.
const MAX_PEERS: usize = 255;

/// What the keys say.
pub struct Peers {
    /// `mcast_src_ip` or `unicast_src_ip`
    pub src_ip: Option<IpAddr>,
    /// `unicast_peer`
    pub unicast: Vec<IpAddr>,
    /// `allowed_peers`
    pub allowed: Vec<IpAddr>,
}

/// What they depend on.
pub struct Own<'a> {
    /// All addresses of the instance, excluded ones too.
    pub vips: Vec<&'a Vip>,
    /// Whether the adverts go over IPv6; `None`: not known.
    pub ipv6: Option<bool>,
    /// 255 is the owner.
    pub priority: u8,
    /// The interface.
    pub interface: &'a str,
}

impl Own<'_> {
    fn holds(&self, addr: IpAddr) -> bool {
        self.vips.iter().any(|vip| vip.addr == addr)
    }
}

/// Reads them.
pub fn read(r: &mut Reader<'_, '_>, own: &Own<'_>) -> Peers {
    let is_unicast = r.entry("unicast_peer").is_some();
    let src_ip = src_ip(r, own, is_unicast);
    let unicast = list(r, "unicast_peer", own);
    let allowed = list(r, "allowed_peers", own);
    if is_unicast && let Some(entry) = r.entry("allowed_peers") {
        let text =
            "`allowed_peers` does not go with `unicast_peer`, which hears no others already: leave it out";
        r.report.error(entry.line, format_args!("{text}"));
    }
    if let Some(own) = src_ip.filter(|own| unicast.contains(own)) {
        let text = format_args!("unicast_peer: {own} is this node's own source address: list the others");
        r.error("unicast_peer", text);
    }
    // The other nodes hear only whom they list.
    if src_ip.is_none() && unicast.iter().any(|&peer| peer.is_ipv6() && !is_link_local(peer)) {
        let interface = Shown(own.interface);
        let text = format_args!(
            "unicast_peer without unicast_src_ip: adverts come from the link-local address of {interface}, which the peers must list"
        );
        r.warning("unicast_peer", text);
    }
    Peers { src_ip, unicast, allowed }
}

fn src_ip(r: &mut Reader<'_, '_>, own: &Own<'_>, is_unicast: bool) -> Option<IpAddr> {
    let (mcast, unicast) = (r.entry("mcast_src_ip"), r.entry("unicast_src_ip"));
    if let (Some(first), Some(again)) = (mcast, unicast) {
        let line = r.report.files.line(first.line);
        let text = format_args!("`unicast_src_ip` is the same as `mcast_src_ip` on line {line}: keep one");
        r.report.error(again.line, text);
    }
    let entry = unicast.or(mcast)?;
    let addr = address(r, entry.line, entry.key, entry.value)?;
    if !is_of_family(r, entry.line, entry.key, addr, own.ipv6) {
        return None;
    }
    // Only the owner has a VIP of its own; any other receiver discards such adverts.
    if own.priority != 255 && own.holds(addr) {
        r.wrong(entry, format_args!("is a virtual address: take one that this node always has"));
    } else if addr.is_ipv6() && !is_unicast && !is_link_local(addr) {
        r.wrong(entry, format_args!("is not link-local, as IPv6 adverts on multicast must be: fe80::..."));
    }
    Some(addr)
}

/// The addresses of a list that are right.
fn list(r: &mut Reader<'_, '_>, key: &str, own: &Own<'_>) -> Vec<IpAddr> {
    let mut peers: Vec<IpAddr> = Vec::new();
    for (line, text) in r.list(key) {
        if peers.len() >= MAX_PEERS {
            r.report.error(line, format_args!("{key}: too many addresses: at most {MAX_PEERS}"));
            break;
        }
        let Some(addr) = address(r, line, key, text) else { continue };
        if !is_of_family(r, line, key, addr, own.ipv6) {
            continue;
        }
        let wrong = if peers.contains(&addr) {
            "appears twice: remove one"
        } else if own.holds(addr) {
            "is a virtual address: list those that the other nodes always have"
        } else if key == "allowed_peers" && addr.is_ipv6() && !is_link_local(addr) {
            "is not link-local, as the sources of IPv6 adverts on multicast are: fe80::..."
        } else {
            peers.push(addr);
            continue;
        };
        r.report.error(line, format_args!("{key}: {addr} {wrong}"));
    }
    peers
}
