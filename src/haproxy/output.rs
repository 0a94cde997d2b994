//! Lines that HAProxy prints, as far as vipd understands them.

use crate::base::text::split_once;
use std::net::IpAddr;

/// The address that HAProxy could not bind to because this node does not have it: "… cannot bind socket
/// (Cannot assign requested address) [ADDR:PORT]", with "for" before the bracket and a dot behind it in later
/// versions.
pub fn unbound(line: &str) -> Option<IpAddr> {
    let (_, place) = split_once(line, "cannot bind socket (Cannot assign requested address)")?;
    let (_, place) = place.split_once('[')?;
    let (place, _) = place.rsplit_once(']')?;
    place.rsplit_once(':')?.0.parse().ok()
}

/// The first line of its usage, with which 2.4 to 3.5 answer an option that they do not know.
pub fn is_usage(line: &str) -> bool {
    line.starts_with("Usage : ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_words_of_all_versions() {
        let v4 = Some(IpAddr::from([192, 168, 30, 230]));
        let v6: Option<IpAddr> = "2001:db8::7".parse().ok();
        let why = "cannot bind socket (Cannot assign requested address)";
        for (line, addr) in [
            (format!("[ALERT]    (3540) : Starting frontend app: {why} [192.168.30.230:80]"), v4),
            (
                format!(
                    "[ALERT]    (3537) : Binding [b.cfg:8] for frontend app: {why} for [2001:db8::7:5998]"
                ),
                v6,
            ),
            (
                format!(
                    "[ALERT]  (1) : Binding [b.cfg:8] for frontend app: protocol tcpv6: {why} for [2001:db8::7:5]."
                ),
                v6,
            ),
            (
                "Binding [b:8]: cannot bind socket (Address already in use) for [192.168.30.230:80]".into(),
                None,
            ),
            (format!("{why} for []"), None),
            (format!("{why} for ]["), None),
        ] {
            assert_eq!(unbound(&line), addr, "{line}");
        }
    }
}
