//! Neighbour advertisements (RFC 4861 §4.4): unsolicited ones out, everybody's in.
//!
//! ```text
//! Ethernet   0 destination (6)   6 source (6)        12 type 0x86dd
//! IPv6       0 version, class, flow (4)   4 payload length (2)   6 next header 58   7 hop limit 255
//!            8 source (16)      24 destination (16)
//! ICMPv6     0 type 136   1 code 0   2 checksum (2)   4 R S O, reserved (4)   8 target (16)
//!           24 option type 2, target link-layer address   25 length 1, in units of 8 octets   26 MAC (6)
//! ```

use super::checksum::{ones_complement, pseudo_v6};
use super::fill;
use std::net::Ipv6Addr;

/// Where unsolicited neighbour advertisements go: all nodes of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// ICMPv6 type of a neighbour advertisement.
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Next header of ICMPv6.
const ICMPV6: u8 = 58;
/// Octets of an ICMPv6 message with the one option.
const LEN: u8 = 32;
/// Target link-layer address.
const TLLA: u8 = 2;
/// R: the sender is a router.
const ROUTER: u8 = 0x80;
/// O: what is known of the target's link-layer address is to be replaced.
const OVERRIDE: u8 = 0x20;

/// What a neighbour advertisement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Na {
    /// The address that is advertised.
    pub target: Ipv6Addr,
    /// The target link-layer address, if there is that option and it has six octets.
    pub mac: Option<[u8; 6]>,
}

impl Na {
    /// Parses an ICMPv6 message, with what the IPv6 header said of it. `None` if it is no neighbour
    /// advertisement or not valid by RFC 4861 §7.1.2. The checksum is not looked at: the kernel has, before a
    /// raw ICMPv6 socket sees the message.
    pub fn parse(dst: &Ipv6Addr, hop_limit: u8, message: &[u8]) -> Option<Self> {
        let (&[kind, code, _, _, flags, _, _, _], rest) = message.split_first_chunk::<8>()?;
        let (target, mut options) = rest.split_first_chunk::<16>()?;
        let target = Ipv6Addr::from(*target);
        let solicited_to_all = dst.is_multicast() && flags & 0x40 != 0;
        if (kind, code, hop_limit) != (NEIGHBOUR_ADVERTISEMENT, 0, 255)
            || target.is_multicast()
            || solicited_to_all
        {
            return None;
        }
        let mut mac = None;
        while let Some((&[kind, units], _)) = options.split_first_chunk::<2>() {
            // A length of zero makes the whole message invalid (RFC 4861 §4.6), and so does a cut option.
            let (option, rest) = options.split_at_checked(usize::from(units) << 3)?;
            if let (TLLA, &[_, _, a, b, c, d, e, f]) = (kind, option) {
                mac.get_or_insert([a, b, c, d, e, f]);
            }
            if option.is_empty() {
                return None;
            }
            options = rest;
        }
        options.is_empty().then_some(Na { target, mac })
    }
}

/// The Ethernet frame of an unsolicited neighbour advertisement for `vip`, from `mac` and the address itself
/// to all nodes (RFC 9568 §6.4.1, RFC 4861 §7.2.6). `router`: whether this node forwards; hosts that have the
/// address as their router would drop it otherwise.
pub fn unsolicited(mac: [u8; 6], vip: Ipv6Addr, router: bool) -> [u8; 86] {
    let flags = if router { ROUTER | OVERRIDE } else { OVERRIDE };
    let mut message = [0; LEN as usize];
    fill(
        &mut message,
        &[&[NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0], &vip.octets(), &[TLLA, 1], &mac],
    );
    let sum = ones_complement(&[&pseudo_v6(vip, ALL_NODES, ICMPV6, u32::from(LEN)), &message]).to_be_bytes();
    let [_, _, hi, lo, ..] = &mut message;
    [*hi, *lo] = sum;

    let ipv6 = [0x86, 0xdd, 0x60, 0, 0, 0, 0, LEN, ICMPV6, 255];
    let mut frame = [0; 86];
    let to = [0x33, 0x33, 0, 0, 0, 1];
    fill(&mut frame, &[&to, &mac, &ipv6, &vip.octets(), &ALL_NODES.octets(), &message]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: [u8; 6] = [0, 0, 0x5e, 0, 2, 0x0a];

    fn vip() -> Ipv6Addr {
        "2001:db8::1".parse().unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn golden() {
        let frame = unsolicited(MAC, vip(), true);
        assert_eq!(hex(&frame[..14]), "33330000000100005e00020a86dd");
        assert_eq!(
            hex(&frame[14..54]),
            "6000000000203aff20010db8000000000000000000000001ff020000000000000000000000000001"
        );
        // protocol.md §9
        let want = "88001b21a000000020010db8000000000000000000000001020100005e00020a";
        assert_eq!(hex(&frame[54..]), want);
        let host = unsolicited(MAC, vip(), false);
        assert_eq!((host[58], hex(&host[56..58])), (0x20, "9b21".into()));
    }

    #[test]
    fn parses_what_it_builds_and_nothing_shorter() {
        let frame = unsolicited(MAC, vip(), false);
        let message = &frame[54..];
        let na = Na { target: vip(), mac: Some(MAC) };
        assert_eq!(Na::parse(&ALL_NODES, 255, message), Some(na));
        for n in 0..32 {
            let short = Na::parse(&ALL_NODES, 255, &message[..n]);
            assert_eq!(short, (n == 24).then_some(Na { mac: None, ..na }), "{n} octets");
        }
    }

    #[test]
    fn what_rfc_4861_calls_invalid() {
        let good = unsolicited(MAC, vip(), false)[54..].to_vec();
        let with = |at: usize, value: u8| {
            let mut m = good.clone();
            m[at] = value;
            Na::parse(&ALL_NODES, 255, &m)
        };
        assert_eq!(Na::parse(&ALL_NODES, 254, &good), None, "from beyond the link");
        assert_eq!(with(0, 135), None, "a solicitation");
        assert_eq!(with(1, 1), None, "code");
        assert_eq!(with(4, 0x60), None, "solicited, to everybody");
        assert_eq!(with(8, 0xff), None, "multicast target");
        assert_eq!(with(25, 0), None, "an option of no length");
        assert_eq!(with(25, 2), None, "an option that is cut off");
        assert!(with(24, 14).is_some_and(|na| na.mac.is_none()), "an unknown option is skipped");
        let mut answer = good.clone();
        answer[4] = 0x60;
        let unicast = "fe80::1".parse().unwrap();
        assert!(Na::parse(&unicast, 255, &answer).is_some());
        let mut two = good.clone();
        two.splice(24..24, [14, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Na::parse(&ALL_NODES, 255, &two).and_then(|na| na.mac), Some(MAC));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_address(mac: [u8; 6], ip: [u8; 16], router: bool) {
            let vip = Ipv6Addr::from(ip);
            let frame = unsolicited(mac, vip, router);
            prop_assert_eq!(ones_complement(&[&pseudo_v6(vip, ALL_NODES, 58, 32), &frame[54..]]), 0);
            let want = (!vip.is_multicast()).then_some(Na { target: vip, mac: Some(mac) });
            prop_assert_eq!(Na::parse(&ALL_NODES, 255, &frame[54..]), want);
        }

        #[test]
        fn never_panics(dst: [u8; 16], hop_limit: u8, mut bytes: Vec<u8>) {
            let _ = Na::parse(&dst.into(), hop_limit, &bytes);
            bytes.splice(0..0, [136, 0, 0, 0]);
            let _ = Na::parse(&ALL_NODES, 255, &bytes);
        }
    }
}
