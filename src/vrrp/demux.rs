//! From a received IP packet to the virtual router it is for, pure.

use super::authentication;
use super::packet::{self, Discard, Received};
use crate::wire::ipv4::Ipv4;
use crate::wire::vrrp::IpInfo;
use std::net::IpAddr;

/// The virtual routers of one interface by VRID.
#[derive(Clone, Debug, Default)]
pub struct Demux {
    /// In ascending order.
    by_vrid: Vec<(u8, u16)>,
}

impl Demux {
    /// Registers a virtual router.
    pub fn insert(&mut self, vrid: u8, router: usize) {
        let Ok(router) = u16::try_from(router) else { return };
        match self.find(vrid) {
            Err(at) => self.by_vrid.insert(at, (vrid, router)),
            Ok(at) => self.by_vrid.get_mut(at).into_iter().for_each(|(_, r)| *r = router),
        }
    }

    /// The virtual router with this VRID.
    pub fn get(&self, vrid: u8) -> Option<usize> {
        let (_, router) = self.by_vrid.get(self.find(vrid).ok()?)?;
        Some(usize::from(*router))
    }

    /// The VRIDs in use, for the kernel's filter.
    pub fn vrids(&self) -> impl Iterator<Item = u8> + '_ {
        self.by_vrid.iter().map(|(vrid, _)| *vrid)
    }

    fn find(&self, vrid: u8) -> Result<usize, usize> {
        self.by_vrid.binary_search_by_key(&vrid, |(vrid, _)| *vrid)
    }
}

/// The rungs of the receive ladder above the look-up of the VRID. `bytes`: an IPv4 packet.
pub fn receive(bytes: &[u8]) -> Result<Received<'_>, Discard> {
    let ip = Ipv4::parse(bytes).filter(|ip| authentication::PROTOCOLS.contains(&ip.protocol));
    let ip = ip.ok_or(Discard::IpHeader)?;
    let info = IpInfo { src: IpAddr::V4(ip.src), dst: IpAddr::V4(ip.dst), ttl: ip.ttl };
    let Some((ah, message)) = authentication::unwrap(bytes, &ip) else {
        // What is wrong with the network layer is told first.
        return Err(packet::check_carrier(&info).err().unwrap_or(Discard::AuthHeader));
    };
    let preamble = packet::preamble(&info, message)?;
    Ok(Received { info, ah, message, preamble })
}
