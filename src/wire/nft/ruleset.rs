//! The tables that keep the leases.
//!
//! A *lease* is the only element of a set, with a timeout. While it is there, the addresses of one virtual
//! router are served; without it everything that is for or from them is dropped, ARP with one of them as its
//! sender too. An advert that leaves renews it, in both tables, without a system call; an advert that finds
//! no lease is dropped (EPERM for the sender). KEY stands for a [`Key`] in hexadecimal, IF for an interface
//! index in hexadecimal.
//!
//! ```text
//! table inet vipd                                       table netdev vipd
//!   map vip4 ADDRESS : goto rKEY                          map arp4 ADDRESS : goto rKEY
//!   map vip6 ADDRESS : goto rKEY                          chain eIF: egress of one interface, priority 0
//!   map ll6 INTERFACE . ADDRESS : goto rKEY                 meta protocol arp: ARP sender vmap @arp4
//!   chain pre: prerouting, priority -300                    meta l4proto 112 jump adv, 51 jump adv
//!     ip daddr vmap @vip4                                   ether saddr NOBODY drop
//!     ip6 daddr vmap @vip6
//!     iif . ip6 daddr vmap @ll6
//!   chain post: postrouting, priority 250
//!     meta l4proto 112 jump adv, 51 jump adv
//!     ip saddr vmap @vip4
//!     ip6 saddr vmap @vip6
//!     oif . ip6 saddr vmap @ll6
//!   chain dead: fib daddr type local drop
//!               fib saddr type local drop
//!   set lKEY, timeout, dynamic                            set lKEY, timeout, dynamic
//!   chain rKEY: 0 != @lKEY goto dead                      chain rKEY: 0 != @lKEY drop
//!   chain adv:  VRID, oif, protocol: goto aKEY            chain adv, chain aKEY: the same
//!   chain aKEY: priority 0: return
//!               0 != @lKEY drop
//!               update @lKEY { 0 timeout T }
//! ```
//!
//! Where addresses are not to be accepted, `inet` has these as well:
//!
//! ```text
//!   set na4 ADDRESS; set na6 ADDRESS; set nal6 INTERFACE . ADDRESS
//!   chain in: input, priority -300
//!     ip daddr @na4 drop
//!     icmpv6 type 135 accept, 136 accept
//!     ip6 daddr @na6 drop
//!     iif . ip6 daddr @nal6 drop
//! ```
//!
//! prerouting before conntrack (-200) and postrouting after source NAT (100) also see what is translated to
//! or from an address. `dead` asks the routing table: an address that another node holds is passed on by a
//! router or a bridge. Neighbour advertisements need no rule of their own: the kernel sends them from the
//! address itself. An advert of priority 0 leaves and renews nothing.
//!
//! An advert to a unicast peer may wait behind a neighbour that does not answer, and does not get to the
//! egress of its interface. A copy of it renews the lease there, in a frame whose source is [`NOBODY`]: that
//! frame goes no further.

use super::Family;
use super::build::{Base, Batch, Elements, FIRST, Meta, SECOND, Verdict, get_lease};
use std::net::IpAddr;

/// What tells the leases of two virtual routers apart: the interface of its adverts, their family, and the
/// VRID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// `ifindex`: where the adverts leave.
    pub fn new(ifindex: u32, v6: bool, vrid: u8) -> Self {
        Key(u64::from(ifindex) << 9 | u64::from(v6) << 8 | u64::from(vrid))
    }

    fn name(self, prefix: char) -> String {
        format!("{prefix}{:x}", self.0)
    }
}

/// An interface whose ARP is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
}

/// One virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// Names its lease. Of two routers with one key, the second has but its addresses looked at.
    pub key: Key,
    /// Where its adverts leave; 0: nowhere, and nothing renews its lease.
    pub ifindex: u32,
    /// The interface whose egress they pass: the parent of a macvlan, else the same.
    pub wire: u32,
    /// VRID of its adverts.
    pub vrid: u8,
    /// Their family.
    pub v6: bool,
    /// They are behind an authentication header.
    pub ah: bool,
    /// The lease that an advert gives, in milliseconds; not 0.
    pub term: u64,
    /// Its addresses, and the index of the interface of each. An address that an earlier router has as well
    /// is left out.
    pub vips: Vec<(IpAddr, u32)>,
}

/// All that the tables are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Interfaces that exist.
    pub devices: Vec<Device>,
    /// Virtual routers.
    pub routers: Vec<Router>,
    /// Addresses that answer ARP and neighbour solicitations and nothing else, each with the index of its
    /// interface.
    pub refused: Vec<(IpAddr, u32)>,
}

/// Octets before what an authentication header protects: next header (1), length (1), and so on up to the
/// digest.
const AH_LEN: u32 = 24;
const VRRP: u8 = 112;
const AH: u8 = 51;
/// The source of a frame that renews a lease in `netdev` and does not leave: the broadcast address, which is
/// no frame's. (Zeros are those of the loopback interface.)
pub const NOBODY: [u8; 6] = [0xff; 6];

/// The tables as they are to be, in place of what is there: nothing in between is ever in force. `rest` is
/// what is left of the lease of a router, by its index, in milliseconds. Both tables are replaced, or made,
/// with these `flags`.
pub fn replace(b: &mut Batch<'_>, flags: u32, plan: &Plan, rest: &dyn Fn(usize) -> Option<u64>) {
    for family in Family::BOTH {
        // It may not be there, and to delete what is not there is an error.
        b.table(family, flags);
        b.del_table(family);
        b.table(family, flags);
        b.chain(family, "adv");
        match family {
            Family::Inet => {
                inet(b);
                refuse(b, &plan.refused);
            }
            Family::Netdev => netdev(b, &plan.devices),
        }
        let mut seen: Vec<(IpAddr, u32)> = Vec::new();
        for (i, r) in plan.routers.iter().enumerate() {
            if !plan.routers.iter().take(i).any(|other| other.key == r.key) {
                router(b, family, r);
                if let Some(ms) = rest(i) {
                    b.lease(family, &r.key.name('l'), r.term.max(ms), ms);
                }
            }
            for vip in &r.vips {
                let scoped = matches!(vip.0, IpAddr::V6(a) if a.is_unicast_link_local());
                let vip = if scoped { *vip } else { (vip.0, 0) };
                if !seen.contains(&vip) {
                    seen.push(vip);
                    address(b, family, r.key, vip);
                }
            }
        }
    }
}

/// Makes all of it once, by another name, and removes it again: nothing of it is ever in force. It fails as
/// `replace` would.
pub fn attempt(b: &mut Batch<'_>, flags: u32) {
    b.table = "vipd-attempt";
    let (addr, ifindex) = (IpAddr::from([127, 0, 0, 1]), 1);
    let router = Router {
        key: Key(0),
        ifindex,
        wire: ifindex,
        vrid: 1,
        v6: false,
        ah: false,
        term: 1000,
        vips: vec![(addr, ifindex)],
    };
    let devices = vec![Device { ifindex, name: "lo".to_owned() }];
    replace(b, flags, &Plan { devices, routers: vec![router], refused: vec![(addr, ifindex)] }, &|_| {
        Some(1000)
    });
    Family::BOTH.iter().for_each(|f| b.del_table(*f));
}

/// nft's types of keys, and their octets: an IPv4 address, an IPv6 address, an interface and an IPv6 address.
const ADDRESS: (u32, u32) = (7, 4);
const ADDRESS_V6: (u32, u32) = (8, 16);
const SCOPED: (u32, u32) = (20 << 6 | 8, 20);

/// What is for one of these addresses is dropped, but for neighbour solicitations and advertisements.
fn refuse(b: &mut Batch<'_>, addresses: &[(IpAddr, u32)]) {
    let f = Family::Inet;
    if addresses.is_empty() {
        return;
    }
    for (set, (key, len)) in [("na4", ADDRESS), ("na6", ADDRESS_V6), ("nal6", SCOPED)] {
        b.set(f, set, &Elements::Keys(key, len));
    }
    b.base_chain(f, "in", Some((1, -300, None)));
    for kind in [135, 136] {
        b.rule(f, "in");
        b.meta_is(Meta::Nfproto, &[libc::NFPROTO_IPV6 as u8]);
        b.meta_is(Meta::L4proto, &[libc::IPPROTO_ICMPV6 as u8]);
        b.octet_is(0, kind);
        b.verdict(Verdict::Accept, None);
        b.end_rule();
    }
    for set in ["na4", "na6", "nal6"] {
        b.rule(f, "in");
        address_of(b, set == "na4", (set == "nal6").then_some(Meta::Iif), 16, 24);
        b.is_in(set, true);
        b.counter();
        b.verdict(Verdict::Drop, None);
        b.end_rule();
    }
    for (addr, ifindex) in addresses {
        match addr {
            IpAddr::V4(a) => b.key(f, "na4", &[&a.octets()]),
            IpAddr::V6(a) if a.is_unicast_link_local() => {
                b.key(f, "nal6", &[&ifindex.to_ne_bytes(), &a.octets()]);
            }
            IpAddr::V6(a) => b.key(f, "na6", &[&a.octets()]),
        }
    }
}

/// Loads an address of the packet, of IPv4 from offset `at4`, of IPv6 from `at6`, behind an interface if one
/// is named.
fn address_of(b: &mut Batch<'_>, v4: bool, interface: Option<Meta>, at4: u32, at6: u32) {
    let nfproto = if v4 { libc::NFPROTO_IPV4 } else { libc::NFPROTO_IPV6 };
    b.meta_is(Meta::Nfproto, &[nfproto as u8]);
    match interface {
        Some(interface) => {
            b.meta(interface);
            b.payload(Base::Network, at6, 16, SECOND);
        }
        None if v4 => b.network(at4, 4),
        None => b.network(at6, 16),
    }
}

fn inet(b: &mut Batch<'_>) {
    let f = Family::Inet;
    for (set, (key, len)) in [("vip4", ADDRESS), ("vip6", ADDRESS_V6), ("ll6", SCOPED)] {
        b.set(f, set, &Elements::Verdicts(key, len));
    }
    b.chain(f, "dead");
    for source in [false, true] {
        b.rule(f, "dead");
        b.is_local(source);
        b.counter();
        b.verdict(Verdict::Drop, None);
        b.end_rule();
    }
    b.base_chain(f, "pre", Some((0, -300, None)));
    by_address(b, "pre", Meta::Iif, 16, 24);
    b.base_chain(f, "post", Some((4, 250, None)));
    to_adverts(b, f, "post");
    by_address(b, "post", Meta::Oif, 12, 8);
}

/// The rules that look the address of a packet up: of IPv4 at offset `v4`, of IPv6 at `v6`.
fn by_address(b: &mut Batch<'_>, chain: &str, interface: Meta, v4: u32, v6: u32) {
    for set in ["vip4", "vip6", "ll6"] {
        b.rule(Family::Inet, chain);
        address_of(b, set == "vip4", (set == "ll6").then_some(interface), v4, v6);
        b.verdict_map(set);
        b.end_rule();
    }
}

fn to_adverts(b: &mut Batch<'_>, family: Family, chain: &str) {
    for protocol in [VRRP, AH] {
        b.rule(family, chain);
        b.meta_is(Meta::L4proto, &[protocol]);
        b.verdict(Verdict::Jump, Some("adv"));
        b.end_rule();
    }
}

fn netdev(b: &mut Batch<'_>, devices: &[Device]) {
    const EGRESS: u32 = 1;
    const SENDER: u32 = 14;
    let f = Family::Netdev;
    b.set(f, "arp4", &Elements::Verdicts(7, 4));
    for d in devices {
        let chain = format!("e{:x}", d.ifindex);
        b.base_chain(f, &chain, Some((EGRESS, 0, Some(&d.name))));
        b.rule(f, &chain);
        b.meta_is(Meta::Protocol, &(libc::ETH_P_ARP as u16).to_be_bytes());
        b.network(SENDER, 4);
        b.verdict_map("arp4");
        b.end_rule();
        to_adverts(b, f, &chain);
        b.rule(f, &chain);
        b.payload(Base::Link, 6, 6, FIRST);
        b.equal(&NOBODY);
        b.verdict(Verdict::Drop, None);
        b.end_rule();
    }
}

fn router(b: &mut Batch<'_>, f: Family, r: &Router) {
    let (lease, own, advert) = (r.key.name('l'), r.key.name('r'), r.key.name('a'));
    b.set(f, &lease, &Elements::Leases);
    b.chain(f, &own);
    b.chain(f, &advert);

    b.rule(f, &own);
    b.zero();
    b.is_in(&lease, false);
    match f {
        Family::Inet => b.verdict(Verdict::Goto, Some("dead")),
        Family::Netdev => {
            b.counter();
            b.verdict(Verdict::Drop, None);
        }
    }
    b.end_rule();
    if r.ifindex == 0 {
        return;
    }

    // RFC 9568 §5.1: VRID at 1, priority at 2.
    let at = if r.ah { AH_LEN } else { 0 };
    b.rule(f, &advert);
    b.octet_is(at.saturating_add(2), 0);
    b.verdict(Verdict::Return, None);
    b.end_rule();
    b.rule(f, &advert);
    b.zero();
    b.is_in(&lease, false);
    b.counter();
    b.verdict(Verdict::Drop, None);
    b.end_rule();
    b.rule(f, &advert);
    b.zero();
    b.update(&lease, r.term);
    b.end_rule();

    b.rule(f, "adv");
    b.octet_is(at.saturating_add(1), r.vrid);
    let oif = if f == Family::Netdev { r.wire } else { r.ifindex };
    b.meta_is(Meta::Oif, &oif.to_ne_bytes());
    let protocol = if r.v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP };
    b.meta_is(Meta::Protocol, &(protocol as u16).to_be_bytes());
    b.meta_is(Meta::L4proto, &[if r.ah { AH } else { VRRP }]);
    if r.ah {
        b.octet_is(0, VRRP); // not what IPsec authenticates on the same host
    }
    b.verdict(Verdict::Goto, Some(&advert));
    b.end_rule();
}

/// `vip`: an address, and its interface if it is a link-local one.
fn address(b: &mut Batch<'_>, f: Family, key: Key, vip: (IpAddr, u32)) {
    let chain = key.name('r');
    match (f, vip) {
        (Family::Inet, (IpAddr::V4(a), _)) => b.verdict_of(f, "vip4", &[&a.octets()], &chain),
        (Family::Netdev, (IpAddr::V4(a), _)) => b.verdict_of(f, "arp4", &[&a.octets()], &chain),
        (Family::Inet, (IpAddr::V6(a), 0)) => b.verdict_of(f, "vip6", &[&a.octets()], &chain),
        (Family::Inet, (IpAddr::V6(a), ifindex)) => {
            b.verdict_of(f, "ll6", &[&ifindex.to_ne_bytes(), &a.octets()], &chain);
        }
        (Family::Netdev, (IpAddr::V6(_), _)) => {}
    }
}

/// Opens a lease, of `ms` milliseconds, where none runs.
pub fn open(b: &mut Batch<'_>, key: Key, ms: u64) {
    for family in Family::BOTH {
        b.lease(family, &key.name('l'), ms, ms);
    }
}

/// Gives a running lease another end, in one of the tables. ENOENT: it has ended.
pub fn reopen(b: &mut Batch<'_>, family: Family, key: Key, ms: u64) {
    close(b, family, key);
    b.lease(family, &key.name('l'), ms, ms);
}

/// Ends a lease, in one of the tables: ENOENT, it has ended by itself, would undo the other's end.
pub fn close(b: &mut Batch<'_>, family: Family, key: Key) {
    b.del_lease(family, &key.name('l'));
}

/// Appends a request for what is left of a lease in one of the tables.
pub fn get(buf: &mut Vec<u8>, seq: u32, family: Family, key: Key) {
    get_lease(buf, seq, family, &key.name('l'));
}
