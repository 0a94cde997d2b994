//! Lines that HAProxy prints, as far as vipd understands them.

use crate::base::text::split_once;
use std::net::IpAddr;

/// The address that HAProxy could not bind to because this node does not have it: "… cannot bind socket
/// (Cannot assign requested address) \[ADDR:PORT\]", with "for" before the bracket and a dot behind it in
/// later versions.
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

/// What it complains of: an ALERT without its mark and its pid.
pub fn complaint(line: &str) -> Option<&str> {
    let (_, text) = split_once(line.strip_prefix("[ALERT]")?, " : ")?;
    Some(text)
}

/// The master's words when it could not load a new configuration: of 2.4 and 2.5, of 2.6 to 3.0, of later
/// ones.
pub fn is_load_failure(line: &str) -> bool {
    let known = ["Reexecuting Master process in waitpid mode", "Loading failure!", "Failed to load worker"];
    line.starts_with('[') && known.iter().any(|words| split_once(line, words).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_that_fails() {
        let line = "[ALERT]    (24079) : Binding [a.cfg:12] for frontend g: cannot bind socket (Address already in use)";
        assert_eq!(
            complaint(line),
            Some("Binding [a.cfg:12] for frontend g: cannot bind socket (Address already in use)")
        );
        assert_eq!(complaint("[WARNING]  (24079) : Loading failure!"), None);
        assert!(is_load_failure("[WARNING]  (24079) : Loading failure!"));
        assert!(is_load_failure("[WARNING] 333/1 (1) : Reexecuting Master process in waitpid mode"));
        assert!(!is_load_failure("127.0.0.1 \"GET /Loading failure!\""), "a line of an access log");
        assert!(!is_load_failure("[NOTICE]   (24079) : Loading success."));
    }

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
