//! The blocks `auth_hmac` of a `vrrp_instance`: two of them are one.

use super::out::Out;
use super::parse::{Node, find};
use super::tables::HMAC;
use crate::base::text::Write;
use crate::packed;

/// Writes `auth_hmac_key` and the others.
pub(super) fn write(out: &mut Out<'_>, router: &Node, strict: bool) {
    let all = out.settle(&router.all("auth_hmac"), "", "key");
    let monotonic = find(&all, "anti_replay").is_some_and(|d| d.word(1) == "monotonic");
    for d in all {
        match d.keyword() {
            "key" => {
                let value = key(out, d.word(2));
                out.key("auth_hmac_key", &[d.word(1), " ", &value].concat());
            }
            "time_window" if monotonic => out.dropped(d, packed!("it has no meaning with monotonic")),
            "mode" if strict && d.word(1) != "enforce" => {
                out.dropped(d, packed!("strict mode makes it enforce"))
            }
            _ => out.by(HMAC, d),
        }
    }
}

/// A key with the octets that keepalived makes of it.
fn key(out: &mut Out<'_>, value: &str) -> String {
    if let Some(digits) = value.strip_prefix("hex:") {
        let mut value = value.to_owned();
        // An odd number of them; the last one may be no ASCII, which vipd refuses.
        if digits.len() % 2 == 1 && value.is_char_boundary(value.len() - 1) {
            out.comment(packed!("keepalived takes the last digit of this key for an octet of its own"));
            value.insert(value.len() - 1, '0');
        }
        return value;
    }
    // Spaces, which were quoted, would not survive at the end of a line.
    if value.bytes().all(|b| b.is_ascii_graphic()) {
        return value.to_owned();
    }
    let mut hex = "hex:".to_owned();
    for b in value.bytes() {
        write!(hex, "{b:02x}");
    }
    hex
}
