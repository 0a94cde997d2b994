//! The addresses of a virtual router: virtual ones, its own, its peers.

use super::out::Out;
use super::parse::Node;
use super::router::Facts;
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

/// The entries of all blocks of a kind.
pub(super) fn entries<'n>(router: &'n Node, keyword: &str) -> impl Iterator<Item = &'n Node> {
    router.block.iter().filter(move |d| d.keyword() == keyword).flat_map(|d| &d.block)
}

/// Writes `virtual_ipaddress` and `virtual_ipaddress_excluded`.
pub(super) fn virtual_ones(out: &mut Out<'_>, f: &Facts<'_>) {
    let mut held: Vec<(IpAddr, String)> = Vec::new();
    let mut advertised = 0;
    for key in ["virtual_ipaddress", "virtual_ipaddress_excluded"] {
        for e in entries(f.node, key) {
            let Some(addr) = address(e.keyword()) else {
                out.dropped(e, "not an address: keepalived ignores it, too");
                continue;
            };
            let (value, dev) = entry(out, f, e, addr);
            if held.contains(&(addr, dev.clone())) {
                out.dropped(e, "given twice: once is enough");
                continue;
            }
            held.push((addr, dev));
            let mut key = key;
            if key == "virtual_ipaddress" {
                if addr.is_ipv6() != f.v6 {
                    out.told(
                        e,
                        "not of the family of the first address: keepalived ignores it; vipd holds it, but does not advertise it",
                    );
                    key = "virtual_ipaddress_excluded";
                } else if advertised == MAX_ADVERTISED {
                    out.told(e, "beyond the 255 of an advert: keepalived excludes it, too");
                    key = "virtual_ipaddress_excluded";
                } else {
                    advertised += 1;
                }
            }
            out.key(key, &value);
        }
    }
    if advertised == 0 {
        out.comment("there is no `virtual_ipaddress`, and vipd needs one");
    }
}

/// One entry as vipd writes it, and its device.
fn entry(out: &mut Out<'_>, f: &Facts<'_>, e: &Node, addr: IpAddr) -> (String, String) {
    let mut value = e.keyword().to_owned();
    let (mut dev, mut label) = (f.interface.to_owned(), "");
    let mut words = e.words.iter().skip(1).map(String::as_str);
    while let Some(w) = words.next() {
        match w {
            "dev" => {
                words.next().unwrap_or_default().clone_into(&mut dev);
                value.extend([" dev ", &dev]);
            }
            "label" => label = words.next().unwrap_or_default(),
            // What vipd does in any case, or what has no bearing.
            "brd" | "broadcast" | "scope" | "preferred_lft" => {
                let _ = words.next();
            }
            "nodad" | "-nodad" | "noprefixroute" | "no_track" | "home" | "mngtmpaddr" => {}
            "peer" => {
                let _ = words.next();
                out.told(e, "vipd sets no `peer` address");
            }
            _ if address(w).is_some() => {
                out.told(e, "one address a line: keepalived ignores the second, so it is left out");
            }
            _ => out.told(e, "vipd does not know all of these words"),
        }
    }
    if !label.is_empty() {
        let tag = label.strip_prefix(dev.as_str()).and_then(|rest| rest.strip_prefix(':')).unwrap_or("");
        if tag.is_empty() || label.len() > MAX_LABEL || addr.is_ipv6() || f.vmac {
            out.told(e, "the label is left out: vipd takes DEVICE:TAG of at most 15 octets, for IPv4, without use_vmac");
        } else {
            value.extend([" label ", label]);
        }
    }
    (value, dev)
}

/// Whether an address is one of the virtual ones.
fn is_virtual(router: &Node, addr: IpAddr) -> bool {
    let held = |key: &str| entries(router, key).any(|e| address(e.keyword()) == Some(addr));
    held("virtual_ipaddress") || held("virtual_ipaddress_excluded")
}

/// Writes `mcast_src_ip` or `unicast_src_ip`, and the peers. keepalived has one source: the last counts.
pub(super) fn transport(out: &mut Out<'_>, f: &Facts<'_>) {
    let is_source = |d: &&Node| matches!(d.keyword(), "mcast_src_ip" | "unicast_src_ip");
    let mut own = None;
    let last = f.node.block.iter().rfind(is_source);
    for d in f.node.block.iter().filter(is_source) {
        if last.is_some_and(|last| !std::ptr::eq(last, d)) {
            out.dropped(d, "another source address follows: keepalived takes the last, and so does vipd.ini");
            continue;
        }
        let addr = d.word(1).parse::<IpAddr>().ok();
        let unfit = match addr {
            None => "not an address: keepalived ignores it, too",
            Some(addr) if addr.is_ipv6() != f.v6 => "not of the family of the virtual addresses",
            Some(addr) if is_virtual(f.node, addr) => {
                "a virtual address: vipd sends from an address that this node always has"
            }
            Some(IpAddr::V6(addr)) if !f.unicast && !addr.is_unicast_link_local() => {
                "not link-local, as the source of IPv6 multicast adverts must be: vipd takes that of the interface"
            }
            Some(addr) => {
                own = Some(addr);
                out.key(if f.unicast { "unicast_src_ip" } else { "mcast_src_ip" }, d.word(1));
                continue;
            }
        };
        out.dropped(d, unfit);
    }
    peers(out, f, own);
}

/// Writes `unicast_peer`. `own`: the source, if one is configured.
fn peers(out: &mut Out<'_>, f: &Facts<'_>, own: Option<IpAddr>) {
    let mut peers: Vec<IpAddr> = Vec::new();
    for p in entries(f.node, "unicast_peer") {
        let addr = p.keyword().parse::<IpAddr>().ok();
        let unfit = match addr {
            None => "not an address: keepalived ignores it, too",
            Some(addr) if addr.is_ipv6() != f.v6 => "not of the family of the virtual addresses",
            Some(addr) if Some(addr) == own => "this is the node itself: only the others are peers",
            Some(addr) if peers.contains(&addr) => "given twice: once is enough",
            Some(addr) if is_virtual(f.node, addr) => "a virtual address: no peer sends adverts from one",
            Some(addr) => {
                peers.push(addr);
                out.key("unicast_peer", p.keyword());
                if p.words.len() > 1 {
                    let second = p.words.iter().skip(1).any(|w| address(w).is_some());
                    out.told(
                        p,
                        if second {
                            "one peer a line: keepalived takes the first, and so does vipd.ini"
                        } else {
                            "vipd takes only adverts with a TTL of 255"
                        },
                    );
                }
                continue;
            }
        };
        out.dropped(p, unfit);
    }
    if f.node.block.iter().any(|d| matches!(d.keyword(), "unicast_peer" | "unicast_src_ip"))
        && peers.is_empty()
    {
        out.comment("there is no `unicast_peer`: keepalived falls back to multicast, and so does vipd.ini");
    }
    if f.strict && !peers.is_empty() {
        out.comment(
            "in strict mode keepalived refuses `unicast_peer` and does not start this virtual router",
        );
    }
}
