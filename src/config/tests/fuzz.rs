//! No input makes the parser panic.

use super::{BASE, FULL, HOW_TO};
use crate::config::schema::parse_bytes;
use std::time::Duration;

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

/// Whatever the input: no panic, printable and sorted messages, and nothing out of range.
fn sane(bytes: &[u8]) {
    let list = match parse_bytes(bytes) {
        Err(errors) => {
            assert!(!errors.is_empty());
            errors
        }
        Ok((config, warnings)) => {
            assert!(config.haproxy.is_some() || !config.vrrp.is_empty());
            for one in &config.vrrp {
                assert!(one.vrid > 0 && one.priority > 0 && (1..=15).contains(&one.interface.len()));
                assert!((1..=255).contains(&one.vips.len()) && one.advert_int >= Duration::from_millis(10));
                let v6 = one.is_ipv6();
                assert!(one.vips.iter().all(|vip| vip.addr.is_ipv6() == v6));
                assert!(
                    one.vips
                        .iter()
                        .chain(&one.excluded)
                        .all(|vip| { (1..=if vip.addr.is_ipv6() { 128 } else { 32 }).contains(&vip.prefix) })
                );
                assert!(one.handover_timeout > Duration::ZERO);
            }
            warnings
        }
    };
    assert!(list.is_sorted_by_key(|d| d.line));
    assert!(list.iter().all(|d| d.message.bytes().all(|b| b == b' ' || b.is_ascii_graphic())));
}

#[test]
fn no_input_panics() {
    let mut random = Random(0x5eed);
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
        sane(&bytes);
    }
    const PIECES: [&str; 26] = [
        "[",
        "]",
        "=",
        "\n",
        "#",
        ";",
        ",",
        "/",
        ".",
        ":",
        "\"",
        "0",
        "255",
        "-1",
        "99999999999999999999",
        " ",
        "\t",
        "\r",
        "\0",
        "\u{feff}",
        "ü",
        "::1",
        "dev",
        "label",
        "[vrrp VI_1]",
        "[haproxy]",
    ];
    let mut accepted = 0;
    for round in 0..4000 {
        let source = [HOW_TO, FULL, BASE][round % 3];
        let mut bytes = source.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() + 1);
            let end = (at + random.below(20)).min(bytes.len());
            let new: Vec<u8> = match random.below(5) {
                0 => vec![random.below(256) as u8],
                1 => vec![],
                2 => PIECES[random.below(PIECES.len())].into(),
                3 => bytes[at..end].repeat(2),
                _ => source.lines().nth(random.below(40)).unwrap_or("").into(),
            };
            let end = if random.below(2) == 0 { at } else { end };
            bytes.splice(at..end, new);
        }
        accepted += u32::from(parse_bytes(&bytes).is_ok());
        sane(&bytes);
    }
    assert!(accepted > 100, "the mutations reach the checks behind the lexer: {accepted}");
}
