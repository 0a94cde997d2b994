//! Requests about macvlan devices (rtnetlink(7), linux/if_link.h).
//!
//! ```text
//! IFLA_LINKINFO { IFLA_INFO_KIND "macvlan"  IFLA_INFO_DATA { IFLA_MACVLAN_MODE 1 (private) } }
//! ```

use super::build::{ack, attr, begin, finish};

/// The group (`IFLA_GROUP`) of every device that vipd made, which tells them from those of others: `vipd`.
pub const GROUP: u32 = u32::from_be_bytes(*b"vipd");

/// Kind of a macvlan (`IFLA_INFO_KIND`).
pub const KIND: &[u8] = b"macvlan";

const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_PRIVATE: u32 = 1;

/// Appends `RTM_NEWLINK` that makes a private macvlan on `parent`, down, in our group. It fails (EEXIST) if
/// the name is taken.
pub fn new_macvlan(buf: &mut Vec<u8>, seq: u32, name: &str, parent: u32, mac: [u8; 6]) {
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let start = begin_link(buf, libc::RTM_NEWLINK, ack(flags), seq, 0, 0, 0);
    attr(buf, libc::IFLA_IFNAME, &[name.as_bytes(), &[0]]);
    attr(buf, libc::IFLA_LINK, &[&parent.to_ne_bytes()]);
    attr(buf, libc::IFLA_ADDRESS, &[&mac]);
    attr(buf, libc::IFLA_GROUP, &[&GROUP.to_ne_bytes()]);
    let mut mode = Vec::new();
    attr(&mut mode, IFLA_MACVLAN_MODE, &[&MACVLAN_MODE_PRIVATE.to_ne_bytes()]);
    let mut info = Vec::new();
    attr(&mut info, IFLA_INFO_KIND, &[KIND]);
    attr(&mut info, IFLA_INFO_DATA, &[&mode]);
    attr(buf, libc::IFLA_LINKINFO, &[&info]);
    finish(buf, start);
}

/// Appends `RTM_SETLINK` that puts an interface up or down, and into our group.
pub fn set_link(buf: &mut Vec<u8>, seq: u32, ifindex: u32, up: bool) {
    let iff_up = libc::IFF_UP as u32;
    let flags = if up { iff_up } else { 0 };
    let start = begin_link(buf, libc::RTM_SETLINK, ack(0), seq, ifindex, flags, iff_up);
    attr(buf, libc::IFLA_GROUP, &[&GROUP.to_ne_bytes()]);
    finish(buf, start);
}

/// Appends `RTM_DELLINK` of one interface.
pub fn del_link(buf: &mut Vec<u8>, seq: u32, ifindex: u32) {
    let start = begin_link(buf, libc::RTM_DELLINK, ack(0), seq, ifindex, 0, 0);
    finish(buf, start);
}

/// Appends `RTM_DELLINK` of our group: all at once, for each alone takes the kernel some 16 ms.
pub fn del_group(buf: &mut Vec<u8>, seq: u32) {
    let start = begin_link(buf, libc::RTM_DELLINK, ack(0), seq, 0, 0, 0);
    attr(buf, libc::IFLA_GROUP, &[&GROUP.to_ne_bytes()]);
    finish(buf, start);
}

/// Header and `ifinfomsg`.
fn begin_link(
    buf: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    seq: u32,
    ifindex: u32,
    iff: u32,
    change: u32,
) -> usize {
    let start = begin(buf, kind, flags, seq);
    buf.extend_from_slice(&[0; 4]);
    for word in [ifindex, iff, change] {
        buf.extend_from_slice(&word.to_ne_bytes());
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(f: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut buf = Vec::new();
        f(&mut buf);
        assert_eq!(buf.len() % 4, 0);
        assert_eq!(buf.len(), u32::from_ne_bytes([buf[0], buf[1], buf[2], buf[3]]) as usize);
        buf.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn request_bytes() {
        let mac = [0, 0, 0x5e, 0, 1, 51];
        let want = concat!(
            "64000000",
            "1000",
            "0506",
            "07000000",
            "00000000", // nlmsghdr: RTM_NEWLINK, REQUEST|ACK|CREATE|EXCL
            "00000000",
            "00000000",
            "00000000",
            "00000000", // ifinfomsg
            "0c000300",
            "767272702e353100", // IFLA_IFNAME vrrp.51
            "08000500",
            "02000000", // IFLA_LINK
            "0a000100",
            "00005e0001330000", // IFLA_ADDRESS
            "08001b00",
            "64706976", // IFLA_GROUP
            "1c001200", // IFLA_LINKINFO
            "0b000100",
            "6d6163766c616e00", // IFLA_INFO_KIND macvlan
            "0c000200",
            "08000100",
            "01000000", // IFLA_INFO_DATA, IFLA_MACVLAN_MODE private
        );
        assert_eq!(hex(|b| new_macvlan(b, 7, "vrrp.51", 2, mac)), want);

        let header = "28000000130005000800000000000000";
        let group = "08001b0064706976";
        let up = format!("{header}00000000090000000100000001000000{group}");
        assert_eq!(hex(|b| set_link(b, 8, 9, true)), up);
        let down = format!("{header}00000000090000000000000001000000{group}");
        assert_eq!(hex(|b| set_link(b, 8, 9, false)), down);
        let one = "2000000011000500080000000000000000000000090000000000000000000000";
        assert_eq!(hex(|b| del_link(b, 8, 9)), one);
        let all = "2800000011000500080000000000000000000000000000000000000000000000";
        assert_eq!(hex(|b| del_group(b, 8)), format!("{all}{group}"));
    }
}
