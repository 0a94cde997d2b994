//! The addresses of a virtual router: virtual ones, its own, its peers.

use super::out::Out;
use super::parse::{Node, is_one};
use super::router::Facts;
use crate::packed;
use std::net::IpAddr;

/// Most addresses that an advert counts; keepalived excludes what is beyond.
const MAX_ADVERTISED: usize = 255;
/// Longest label, in octets.
const MAX_LABEL: usize = 15;

/// The address of `ADDR[/LEN]`, if all of it is right.
pub(super) fn address(word: &str) -> Option<IpAddr> {
    let (addr, len) = word.split_once('/').map_or((word, None), |(addr, len)| (addr, Some(len)));
    let addr: IpAddr = addr.parse().ok()?;
    let most = if addr.is_ipv6() { 128 } else { 32 };
    len.is_none_or(|len| len.parse::<u8>().is_ok_and(|n| (1..=most).contains(&n))).then_some(addr)
}

/// The address of a node, of the family of the virtual addresses; otherwise that is told.
fn node_address(out: &mut Out<'_>, f: &Facts<'_>, d: &Node, word: &str) -> Option<IpAddr> {
    let addr = word.parse::<IpAddr>().ok();
    let unfit = match addr {
        None => packed!("not an address: keepalived ignores it, too"),
        Some(addr) if addr.is_ipv6() != f.v6 => packed!("not of the family of the virtual addresses"),
        _ => return addr,
    };
    out.dropped(d, unfit);
    None
}

/// Writes `virtual_ipaddress` and `virtual_ipaddress_excluded`.
pub(super) fn virtual_ones(out: &mut Out<'_>, f: &Facts<'_>) {
    let mut held = Vec::new();
    let mut advertised = 0;
    for key in ["virtual_ipaddress", "virtual_ipaddress_excluded"] {
        for e in f.node.entries(key) {
            let Some(addr) = address(e.keyword()) else {
                out.dropped(e, packed!("not an address: keepalived ignores it, too"));
                continue;
            };
            let (value, dev) = entry(out, f, e, addr);
            let one = (addr, dev);
            if held.contains(&one) {
                out.dropped(e, packed!("given twice: once is enough"));
                continue;
            }
            held.push(one);
            let why = if key != "virtual_ipaddress" {
                packed!("")
            } else if addr.is_ipv6() != f.v6 {
                packed!(
                    "not of the family of the first address: keepalived ignores it; vipd holds it, but does not advertise it"
                )
            } else if advertised == MAX_ADVERTISED {
                packed!("beyond the 255 of an advert: keepalived excludes it, too")
            } else {
                advertised += 1;
                packed!("")
            };
            if why.0.is_empty() {
                out.key(key, &value);
            } else {
                out.told(e, why);
                out.key("virtual_ipaddress_excluded", &value);
            }
        }
    }
    if advertised == 0 {
        out.comment(packed!("there is no `virtual_ipaddress`, and vipd needs one"));
    }
}

/// One entry as vipd writes it, and its device.
fn entry<'n>(out: &mut Out<'_>, f: &Facts<'n>, e: &'n Node, addr: IpAddr) -> (String, &'n str) {
    let mut value = e.keyword().to_owned();
    let (mut dev, mut label) = (f.interface, "");
    let mut words = e.words.iter().skip(1).map(String::as_str);
    while let Some(w) = words.next() {
        match w {
            "dev" => {
                dev = words.next().unwrap_or_default();
                value.extend([" dev ", dev]);
            }
            "label" => label = words.next().unwrap_or_default(),
            "peer" => {
                let _ = words.next();
                out.told(e, packed!("vipd sets no `peer` address"));
            }
            // What vipd does in any case, or what has no bearing.
            _ if is_one(w, "brd broadcast scope preferred_lft") => {
                let _ = words.next();
            }
            _ if is_one(w, "nodad -nodad noprefixroute no_track home mngtmpaddr") => {}
            _ if address(w).is_some() => {
                out.told(e, packed!("one address a line: keepalived ignores the second, so it is left out"));
            }
            _ => out.told(e, packed!("vipd does not know all of these words")),
        }
    }
    if !label.is_empty() {
        let tag = label.strip_prefix(dev).and_then(|rest| rest.strip_prefix(':')).unwrap_or("");
        if tag.is_empty() || label.len() > MAX_LABEL || addr.is_ipv6() || f.vmac {
            out.told(e, packed!("the label is left out: vipd takes DEVICE:TAG of at most 15 octets, for IPv4, without use_vmac"));
        } else {
            value.extend([" label ", label]);
        }
    }
    (value, dev)
}

/// Whether an address is one of the virtual ones.
fn is_virtual(router: &Node, addr: IpAddr) -> bool {
    let vips = router.entries("virtual_ipaddress virtual_ipaddress_excluded");
    vips.iter().any(|e| address(e.keyword()) == Some(addr))
}

/// Writes `mcast_src_ip` or `unicast_src_ip`, and the peers. keepalived has one source: the last counts.
pub(super) fn transport(out: &mut Out<'_>, f: &Facts<'_>) {
    let mut sources = f.node.all("mcast_src_ip unicast_src_ip");
    let last = sources.pop();
    for d in sources {
        out.dropped(
            d,
            packed!("another source address follows: keepalived takes the last, and so does vipd.ini"),
        );
    }
    let own = last.and_then(|d| source(out, f, d));
    peers(out, f, own);
}

fn source(out: &mut Out<'_>, f: &Facts<'_>, d: &Node) -> Option<IpAddr> {
    let addr = node_address(out, f, d, d.word(1))?;
    let unfit = match addr {
        _ if is_virtual(f.node, addr) => {
            packed!("a virtual address: vipd sends from an address that this node always has")
        }
        IpAddr::V6(addr) if !f.unicast && !addr.is_unicast_link_local() => {
            packed!(
                "not link-local, as the source of IPv6 multicast adverts must be: vipd takes that of the interface"
            )
        }
        _ => {
            out.key(if f.unicast { "unicast_src_ip" } else { "mcast_src_ip" }, d.word(1));
            return Some(addr);
        }
    };
    out.dropped(d, unfit);
    None
}

/// Writes `unicast_peer`. `own`: the source, if one is configured.
fn peers(out: &mut Out<'_>, f: &Facts<'_>, own: Option<IpAddr>) {
    let mut peers: Vec<IpAddr> = Vec::new();
    for p in f.node.entries("unicast_peer") {
        let Some(addr) = node_address(out, f, p, p.keyword()) else { continue };
        let remark = if Some(addr) == own {
            packed!("this is the node itself: only the others are peers")
        } else if peers.contains(&addr) {
            packed!("given twice: once is enough")
        } else if is_virtual(f.node, addr) {
            packed!("a virtual address: no peer sends adverts from one")
        } else {
            peers.push(addr);
            out.key("unicast_peer", p.keyword());
            match p.words.get(1..) {
                None | Some([]) => continue,
                Some(words) if words.iter().any(|w| address(w).is_some()) => {
                    packed!("one peer a line: keepalived takes the first, and so does vipd.ini")
                }
                _ => packed!("vipd takes only adverts with a TTL of 255"),
            }
        };
        out.told(p, remark);
    }
    if peers.is_empty() && f.node.has("unicast_peer unicast_src_ip") {
        out.comment(packed!(
            "there is no `unicast_peer`: keepalived falls back to multicast, and so does vipd.ini"
        ));
    }
    if f.strict && !peers.is_empty() {
        out.comment(packed!(
            "in strict mode keepalived refuses `unicast_peer` and does not start this virtual router"
        ));
    }
}
