//! `virtual_ipaddress` and `virtual_ipaddress_excluded`; addresses and devices wherever they stand.

use super::reader::{Reader, digits};
use crate::base::text::words;
use crate::config::Vip;
use crate::config::mistakes;
use crate::config::report::Shown;
use std::net::{IpAddr, Ipv6Addr};

const FORM: &str = "ADDR[/LEN] [dev IF] [label IF:TAG]";
/// The key of the addresses that are advertised.
pub const ADVERTISED: &str = "virtual_ipaddress";
/// The key of the addresses that are held only.
pub const EXCLUDED: &str = "virtual_ipaddress_excluded";

/// Addresses with their lines.
#[derive(Default)]
pub struct Listed {
    /// The addresses.
    pub vips: Vec<Vip>,
    /// Line of each.
    pub lines: Vec<u32>,
}

/// What the addresses of an instance depend on.
pub struct Place<'a> {
    /// The interface; empty if it is wrong.
    pub interface: &'a str,
    /// Whether the list must be IPv6 (or IPv4); `None`: either.
    pub ipv6: Option<bool>,
    /// `use_vmac`
    pub vmac: bool,
}

/// Whether a list is IPv6: its first element says so, even a wrong one. `None` without one.
pub fn is_ipv6(list: &[(u32, &str)]) -> Option<bool> {
    let (_, first) = list.first()?;
    Some(words(first).next()?.as_bytes().contains(&b':'))
}

/// The addresses of a list that are right.
pub fn read(r: &mut Reader<'_, '_>, key: &str, list: Vec<(u32, &str)>, place: &Place<'_>) -> Listed {
    let mut listed = Listed { vips: Vec::with_capacity(list.len()), lines: Vec::new() };
    for (line, text) in list {
        if let Some(vip) = vip(r, line, key, text, place) {
            listed.vips.push(vip);
            listed.lines.push(line);
        }
    }
    listed
}

/// Puts an IPv6 link-local address of the interface first (RFC 9568 §5.2.9, erratum 8300). Without one it is
/// the EUI-64 of the virtual MAC 00:00:5e:00:02:VRID, which all nodes derive alike.
pub fn link_local_first(listed: &mut Listed, line: u32, vrid: u8) {
    let own = |vip: &Vip| vip.dev.is_none() && is_link_local(vip.addr);
    let (vip, line) = match listed.vips.iter().position(own) {
        Some(at) => (listed.vips.remove(at), listed.lines.remove(at)),
        None => {
            let addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0200, 0x5eff, 0xfe00, 0x0200 | u16::from(vrid));
            (Vip { addr: IpAddr::V6(addr), prefix: 64, dev: None, label: None }, line)
        }
    };
    listed.vips.insert(0, vip);
    listed.lines.insert(0, line);
}

/// `ADDR[/LEN] [dev IF] [label IF:TAG]`
fn vip(r: &mut Reader<'_, '_>, line: u32, key: &str, text: &str, place: &Place<'_>) -> Option<Vip> {
    let mut words = words(text);
    let first = words.next()?;
    let (addr, length) = first.split_once('/').map_or((first, None), |(addr, length)| (addr, Some(length)));
    let addr = address(r, line, key, addr);
    let addr = addr.filter(|&addr| is_of_family(r, line, key, addr, place.ipv6));
    let most = if addr.is_some_and(|addr| addr.is_ipv6()) { 128 } else { 32 };
    let prefix = length.map_or(Some(most), digits).filter(|n| (1..=most).contains(n));
    if prefix.is_none() && addr.is_some() {
        let first = Shown(first);
        match length.and_then(mistakes::netmask) {
            Some(n) => r.report.error(line, format_args!("{key}: {first} has a netmask: write /{n}")),
            None => {
                r.report.error(line, format_args!("{key}: the prefix length of {first} is not 1 to {most}"))
            }
        }
    }
    let (mut dev, mut label) = (None, None);
    let mut good = true;
    while let Some(word) = words.next() {
        let slot = match word {
            "dev" => &mut dev,
            "label" => &mut label,
            _ => {
                let is_address = word.split('/').next().is_some_and(|a| a.parse::<IpAddr>().is_ok());
                let instead = if is_address { "separate addresses by a comma" } else { FORM };
                let word = Shown(word);
                r.report.error(line, format_args!("{key}: `{word}` does not belong there: {instead}"));
                return None;
            }
        };
        let value = words.next();
        if value.is_none() || slot.is_some() {
            let wrong = if value.is_none() { "has no value" } else { "appears twice" };
            r.report.error(line, format_args!("{key}: `{word}` {wrong}: {FORM}"));
            return None;
        }
        *slot = value;
    }
    if let Some(name) = dev {
        good = device(r, line, format_args!("{key}: dev"), name);
    }
    let on = dev.unwrap_or(place.interface);
    // Without a good device neither it nor the label can be judged.
    if good && !on.is_empty() && !place.interface.is_empty() {
        good = fits(r, line, key, addr, on, label, place);
    }
    if !good {
        return None;
    }
    Some(Vip {
        addr: addr?,
        prefix: prefix.and_then(|n| u8::try_from(n).ok())?,
        dev: dev.filter(|&name| name != place.interface).map(str::to_owned),
        label: label.map(str::to_owned),
    })
}

/// Whether an address can be on its device with its label; reports it if it cannot.
fn fits(
    r: &mut Reader<'_, '_>,
    line: u32,
    key: &str,
    addr: Option<IpAddr>,
    on: &str,
    label: Option<&str>,
    place: &Place<'_>,
) -> bool {
    let other = on != place.interface;
    let interface = Shown(place.interface);
    if place.vmac && other && key == ADVERTISED {
        let text = format_args!(
            "{key}: dev {} does not go with use_vmac: the virtual MAC is on {interface}",
            Shown(on)
        );
        r.report.error(line, text);
        return false;
    }
    let Some(label) = label else { return true };
    if addr.is_some_and(|addr| addr.is_ipv6()) {
        r.report.error(line, format_args!("{key}: an IPv6 address has no label: leave it out"));
        return false;
    }
    if place.vmac && !other {
        let text = format_args!(
            "{key}: a label does not go with use_vmac: the address is on a device of its own, not on {interface}"
        );
        r.report.error(line, text);
        return false;
    }
    let tag = label.strip_prefix(on).and_then(|rest| rest.strip_prefix(':')).unwrap_or("");
    let good = !tag.is_empty() && label.len() <= 15;
    if !good {
        let (label, on) = (Shown(label), Shown(on));
        r.report.error(line, format_args!("{key}: label {label} is not `{on}:TAG` of at most 15 octets"));
    }
    good
}

/// fe80::/10
pub fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}

/// Whether an address is of the family of the virtual addresses; reports it if it is not.
pub fn is_of_family(r: &mut Reader<'_, '_>, line: u32, key: &str, addr: IpAddr, ipv6: Option<bool>) -> bool {
    let good = ipv6.is_none_or(|ipv6| ipv6 == addr.is_ipv6());
    if !good {
        let (own, other) = if addr.is_ipv6() { ("IPv6", "IPv4") } else { ("IPv4", "IPv6") };
        let advice = if key == ADVERTISED { EXCLUDED } else { "" };
        let (before, after) = if advice.is_empty() { ("", "") } else { (": move it to `", "`") };
        let text = format_args!(
            "{key}: {addr} is {own}, the first virtual address is {other}{before}{advice}{after}"
        );
        r.report.error(line, text);
    }
    good
}

/// An address that a host can have.
pub fn address(r: &mut Reader<'_, '_>, line: u32, key: &str, text: &str) -> Option<IpAddr> {
    host(r, line, key, text).filter(|addr| {
        let good = !addr.is_loopback();
        if !good {
            r.report.error(
                line,
                format_args!("{key}: {addr} is a loopback address: take one that a host can have"),
            );
        }
        good
    })
}

/// An address that one can send to, loopback included.
pub fn host(r: &mut Reader<'_, '_>, line: u32, key: &str, text: &str) -> Option<IpAddr> {
    let Ok(addr) = text.parse::<IpAddr>() else {
        let text = Shown(text);
        let example = "192.0.2.10 or 2001:db8::10";
        r.report.error(line, format_args!("{key}: {text} is not an IP address, e.g. {example}"));
        return None;
    };
    let wrong = match addr {
        _ if addr.is_unspecified() => "the unspecified address",
        _ if addr.is_multicast() => "a multicast address",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "an IPv4 address in IPv6",
        _ => return Some(addr),
    };
    r.report.error(line, format_args!("{key}: {addr} is {wrong}: take one that a host can have"));
    None
}

/// Whether a name can be that of a network device, as the kernel sees it; reports it if it cannot.
pub fn device(r: &mut Reader<'_, '_>, line: u32, key: std::fmt::Arguments<'_>, name: &str) -> bool {
    let odd = name.contains(['/', ':', ' ', '\t']);
    let good = !odd && name.len() <= 15 && !matches!(name, "" | "." | "..");
    if !good {
        let name = Shown(name);
        r.report.error(
            line,
            format_args!(
                "{key} = {name} is not an interface name: 1 to 15 octets without `/`, `:` and white space"
            ),
        );
    }
    good
}
