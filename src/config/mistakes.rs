//! Lines that are not in the form of the file, but whose meaning is clear: each gets a sentence of its own.

use std::net::{IpAddr, Ipv4Addr};

/// The no-break space of web pages and word processors.
const NO_BREAK_SPACE: char = '\u{a0}';
const SPACE: &str = "the line has a no-break space (U+00A0): type a normal space";

/// What to write instead of a line that is no `key = value`.
pub fn line(text: &str) -> Option<&'static str> {
    if text.contains(NO_BREAK_SPACE) {
        return Some(SPACE);
    }
    if text.ends_with('{') || text.ends_with('}') {
        return Some("blocks in `{` and `}` are keepalived's: `vipd import keepalived.conf` translates them");
    }
    if text == "nopreempt" {
        return Some("write `preempt = no`");
    }
    // A list on lines of its own, as other ini files have it.
    let word = text.split([' ', '\t', ',', '/']).next().unwrap_or("");
    if word.parse::<IpAddr>().is_ok() {
        return Some(
            "an address by itself: write it on the line of its key, e.g. `virtual_ipaddress = A, B`",
        );
    }
    let key = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or("");
    let behind = text.get(key.len()..).unwrap_or("").trim_start();
    (!key.is_empty() && behind.starts_with(':')).then_some("write `key = value`, not `key: value`")
}

/// What is wrong with the form of a value.
pub fn value(text: &str) -> Option<&'static str> {
    if text.contains(NO_BREAK_SPACE) {
        Some(SPACE)
    } else if text.len() > 1 && text.starts_with(['"', '\'']) && text.ends_with(['"', '\'']) {
        Some("write the value without quotes")
    } else {
        None
    }
}

/// What to write instead of a key of keepalived.
pub fn key(word: &str) -> Option<&'static str> {
    match word {
        "nopreempt" => Some("preempt = no"),
        "vmac_addr" => Some("use_vmac = yes"),
        _ => None,
    }
}

/// The prefix length of a netmask such as `255.255.255.0`.
pub fn netmask(text: &str) -> Option<u32> {
    let mask = text.parse::<Ipv4Addr>().ok()?.to_bits();
    (mask.leading_ones() + mask.trailing_zeros() == 32).then_some(mask.leading_ones())
}

/// Whether a number of seconds has a unit: `1s`, `500 ms`.
pub fn has_unit(text: &str) -> bool {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    number.len() < text.len() && number.ends_with(|c: char| c.is_ascii_digit())
}
