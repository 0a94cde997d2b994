//! ARP over Ethernet for IPv4 (RFC 826): gratuitous requests out, everybody's packets in.
//!
//! ```text
//!  0 hardware type 1      2 protocol type 0x0800     4 hardware length 6     5 protocol length 4
//!  6 operation            8 sender hardware (6)     14 sender IPv4 (4)
//! 18 target hardware (6) 24 target IPv4 (4)
//! ```

use std::net::Ipv4Addr;

/// `op` of a request.
pub const REQUEST: u16 = 1;
/// `op` of a reply.
pub const REPLY: u16 = 2;

/// What an ARP packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Operation: [`REQUEST`] or [`REPLY`]; others are not refused.
    pub op: u16,
    /// Sender hardware address.
    pub sha: [u8; 6],
    /// Sender protocol address.
    pub spa: Ipv4Addr,
    /// Target hardware address.
    pub tha: [u8; 6],
    /// Target protocol address.
    pub tpa: Ipv4Addr,
}

impl Arp {
    /// Parses what follows the Ethernet header (the payload of a cooked `AF_PACKET` socket). Padding behind
    /// it is allowed; `None` if it is short or not Ethernet and IPv4.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (&[0, 1, 8, 0, 6, 4, o0, o1], rest) = payload.split_first_chunk::<8>()? else {
            return None;
        };
        let (sha, rest) = rest.split_first_chunk::<6>()?;
        let (spa, rest) = rest.split_first_chunk::<4>()?;
        let (tha, rest) = rest.split_first_chunk::<6>()?;
        let tpa = rest.first_chunk::<4>()?;
        Some(Arp {
            op: u16::from_be_bytes([o0, o1]),
            sha: *sha,
            spa: Ipv4Addr::from(*spa),
            tha: *tha,
            tpa: Ipv4Addr::from(*tpa),
        })
    }

    /// Sender and target address are the same: an announcement (RFC 5227 §1.1), request or reply.
    pub fn is_gratuitous(&self) -> bool {
        self.spa == self.tpa
    }

    /// The answer to a [`probe`].
    pub fn is_conflict(&self) -> bool {
        self.op == REPLY && self.tpa.is_unspecified()
    }
}

/// The Ethernet frame of a gratuitous ARP for `vip`, byte for byte keepalived's: broadcast from `mac`, a
/// request with sender = target = VIP. The target hardware address is all ones, which no receiver looks at,
/// where RFC 9568 §6.4.1 (erratum 7947) has the sender's.
pub fn gratuitous(mac: [u8; 6], vip: Ipv4Addr) -> [u8; 42] {
    const ALL: [u8; 6] = [0xff; 6];
    // The type of the frame; hardware, protocol, their lengths, request.
    const REQUESTS: [u8; 10] = [0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1];
    let mut frame = [0; 42];
    super::fill(&mut frame, &[&ALL, &mac, &REQUESTS, &mac, &vip.octets(), &ALL, &vip.octets()]);
    frame
}

/// The Ethernet frame of a probe (RFC 5227 §2.1.1): asks whoever has `vip`, and tells nobody that somebody
/// asks; no cache is changed by it.
pub fn probe(mac: [u8; 6], vip: Ipv4Addr) -> [u8; 42] {
    let mut frame = gratuitous(mac, vip);
    if let Some(sender) = frame.get_mut(28..32) {
        sender.fill(0);
    }
    if let Some(target) = frame.get_mut(32..38) {
        target.fill(0);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: [u8; 6] = [0xb6, 0xe1, 0x0a, 0x19, 0x26, 0xd5];
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);

    #[test]
    fn golden() {
        // keepalived.md §1.6.
        let hex: String = gratuitous(MAC, VIP).iter().map(|b| format!("{b:02x}")).collect();
        let want = "ffffffffffff<mac>08060001080006040001<mac>0a090064ffffffffffff0a090064";
        assert_eq!(hex, want.replace("<mac>", "b6e10a1926d5"));
    }

    #[test]
    fn a_probe_and_its_answer() {
        let frame = probe(MAC, VIP);
        let mut arp = Arp::parse(&frame[14..]).expect("it parses");
        assert_eq!((arp.op, arp.sha, arp.spa, arp.tpa), (REQUEST, MAC, Ipv4Addr::UNSPECIFIED, VIP));
        assert!(!arp.is_gratuitous() && !arp.is_conflict());
        (arp.op, arp.spa, arp.tpa) = (REPLY, VIP, Ipv4Addr::UNSPECIFIED);
        assert!(arp.is_conflict());
    }

    #[test]
    fn parses_what_it_builds() {
        let frame = gratuitous(MAC, VIP);
        let want = Arp { op: REQUEST, sha: MAC, spa: VIP, tha: [0xff; 6], tpa: VIP };
        assert_eq!(Arp::parse(&frame[14..]), Some(want));
        assert!(want.is_gratuitous());
        let mut padded = frame[14..].to_vec();
        padded.resize(46, 0);
        assert_eq!(Arp::parse(&padded), Some(want));
        for n in 0..28 {
            assert_eq!(Arp::parse(&frame[14..14 + n]), None);
        }
    }

    #[test]
    fn foreign_types_are_refused() {
        for i in 0..6 {
            let mut p = gratuitous(MAC, VIP)[14..].to_vec();
            p[i] ^= 1;
            assert_eq!(Arp::parse(&p), None, "byte {i}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn fields(op: u16, sha: [u8; 6], spa: [u8; 4], tha: [u8; 6], tpa: [u8; 4]) {
            let op_bytes = op.to_be_bytes();
            let p = [&[0, 1, 8, 0, 6, 4][..], &op_bytes, &sha, &spa, &tha, &tpa].concat();
            let want = Arp { op, sha, spa: spa.into(), tha, tpa: tpa.into() };
            prop_assert_eq!(Arp::parse(&p), Some(want));
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = Arp::parse(&bytes);
        }
    }
}
