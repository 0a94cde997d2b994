//! The interfaces of a node: what the kernel says of them, what they are used for, and the macvlans of
//! virtual MAC addresses.

pub(crate) mod link;
pub(crate) mod vmac;
mod wiring;

use crate::base::throttle::Throttle;
use crate::base::time::Time;
use crate::node::Vmac;
use crate::vrrp::demux::Demux;
use crate::vrrp::stats::Discards;

/// One interface that is used.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its index, while it exists.
    pub ifindex: Option<u32>,
    /// Up and with carrier.
    pub running: bool,
    /// A port of a bridge or a bond, which receives nothing itself.
    pub is_port: bool,
    /// Its hardware address.
    pub mac: Option<[u8; 6]>,
    /// The virtual routers on it, by the family of their adverts: a VRID may be in both.
    pub demux: Demux,
    /// See `demux`.
    pub demux_v6: Demux,
    /// Whether any advert is sent here over IPv4.
    pub carries_adverts: bool,
    /// Whether it needs sockets; one that is only tracked does not.
    pub(crate) has_sockets: bool,
    pub(crate) mtu: u32,
    /// What it is a macvlan of itself: then the kernel makes ours on that, too.
    pub(crate) lower: Option<u32>,
    /// A macvlan that vipd makes, and not one that it finds.
    pub vmac: Option<Vmac>,
    /// Whether it has IPv6 VIPs, whatever carries the adverts.
    pub has_v6_vips: bool,
    /// Whether any advert, of either family, goes to the group.
    pub multicast: bool,
    /// Packets refused before it was known whose they are, and those with a VRID that nobody here has; of
    /// these only some are looked at.
    pub bogus: Discards,
    /// Packets that were lost because they came faster than they were read; for the status.
    pub overruns: u64,
    pub(crate) sockets: Sockets,
    /// Why they could not be opened, if that was said.
    pub(crate) open_error: Option<i32>,
    /// For each foreign VRID: whether it was logged, and whether it had one of our VIPs.
    pub(crate) unknown_vrid_said: [Option<bool>; 256],
    pub(crate) bogus_said: Throttle,
    /// A reload has named it, and the kernel has not said yet what it is.
    pub(crate) unread: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sockets {
    Closed,
    Opening,
    Open,
    Failed { retry_at: Time },
}

impl Link {
    pub(crate) fn new(name: &str) -> Self {
        Link {
            name: name.to_owned(),
            ifindex: None,
            running: false,
            is_port: false,
            mac: None,
            demux: Demux::default(),
            demux_v6: Demux::default(),
            carries_adverts: false,
            has_sockets: false,
            mtu: u32::MAX,
            lower: None,
            vmac: None,
            has_v6_vips: false,
            multicast: false,
            bogus: Discards::default(),
            overruns: 0,
            sockets: Sockets::Closed,
            open_error: None,
            unknown_vrid_said: [None; 256],
            bogus_said: Throttle::default(),
            unread: false,
        }
    }
}
