//! The blocks `auth_hmac` of a `vrrp_instance`: two of them are one.

use super::out::Out;
use super::parse::Node;

/// Writes `auth_hmac_key` and the others.
pub(super) fn write(out: &mut Out<'_>, router: &Node, strict: bool) {
    let mut all: Vec<Node> = Vec::new();
    for n in router.block.iter().filter(|d| d.keyword() == "auth_hmac") {
        all.extend_from_slice(&n.block);
    }
    let all = out.settle(&all, "", "key");
    let monotonic = all.iter().any(|d| d.keyword() == "anti_replay" && d.word(1) == "monotonic");
    for d in all {
        match (d.keyword(), d.word(1)) {
            ("key", id) => {
                let value = key(out, d.word(2));
                out.key("auth_hmac_key", &[id, " ", &value].concat());
            }
            ("active_key", id) => out.key("auth_hmac_active_key", id),
            ("anti_replay", how) => out.key("auth_hmac_anti_replay", how),
            ("time_window", _) if monotonic => out.dropped(d, "it has no meaning with monotonic"),
            ("time_window", window) => out.key("auth_hmac_time_window", window),
            ("mode", mode) if strict && mode != "enforce" => out.dropped(d, "strict mode makes it enforce"),
            ("mode", mode) => out.key("auth_hmac_mode", mode),
            _ => out.dropped(d, "keepalived 2.4 has no such directive here. Is it misspelt?"),
        }
    }
}

/// A key with the octets that keepalived makes of it.
fn key(out: &mut Out<'_>, value: &str) -> String {
    if let Some(digits) = value.strip_prefix("hex:") {
        let odd = digits.len() % 2 == 1;
        let Some((pairs, last)) =
            digits.len().checked_sub(1).filter(|_| odd).and_then(|n| digits.split_at_checked(n))
        else {
            return value.to_owned();
        };
        out.comment("keepalived takes the last digit of this key for an octet of its own");
        return ["hex:", pairs, "0", last].concat();
    }
    // Spaces, which were quoted, would not survive at the end of a line.
    if value.bytes().all(|b| b.is_ascii_graphic()) {
        return value.to_owned();
    }
    let digit = |n: u8| char::from_digit(n.into(), 16).unwrap_or('0');
    "hex:".chars().chain(value.bytes().flat_map(|b| [digit(b >> 4), digit(b & 15)])).collect()
}
