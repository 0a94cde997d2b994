//! Questions to a name server (RFC 1035 §4), for the one name that mail needs. The C library's resolver is
//! four times as large as all that delivers a mail.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Type of a question: IPv4 addresses.
pub const A: u16 = 1;
/// IPv6 addresses (RFC 3596).
pub const AAAA: u16 = 28;
/// Most addresses of an answer that are looked at.
const MAX_ADDRS: usize = 16;

/// A question for the addresses of a name, recursion desired. `None`: it is no name.
///
/// ```text
/// id, flags, 1 question, 0 0 0 | labels, each with its length before it, 0 | type, class 1
/// ```
pub fn query(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        out.push(u8::try_from(label.len()).ok().filter(|n| (1..64).contains(n))?);
        out.extend_from_slice(label.as_bytes());
    }
    out.extend_from_slice(&[0, 0, kind as u8, 0, 1]);
    (out.len() <= 255 + 16).then_some(out)
}

/// The addresses in an answer to a question. `None`: this is no answer to it, wait for another.
pub fn addresses(question: &[u8], answer: &[u8]) -> Option<Vec<IpAddr>> {
    let kind = *question.get(question.len().checked_sub(3)?)?;
    // QR, and id and question are ours: else it may be forged.
    let asked = question.get(12..)?;
    let flags = *answer.get(2)?;
    if answer.get(..2)? != question.get(..2)? || flags & 0x80 == 0 || !answer.get(12..)?.starts_with(asked) {
        return None;
    }
    let mut addrs = Vec::new();
    // The alias that an A belongs to is not looked at: the server has followed them.
    let count = u16::from_be_bytes([*answer.get(6)?, *answer.get(7)?]);
    let mut rest = answer.get(question.len()..)?;
    for _ in 0..count {
        let Some((found, data, after)) = record(rest) else { break };
        rest = after;
        if found != [0, kind, 0, 1] || addrs.len() == MAX_ADDRS {
            continue;
        }
        addrs.extend(<[u8; 4]>::try_from(data).ok().map(|a| IpAddr::V4(Ipv4Addr::from(a))));
        addrs.extend(<[u8; 16]>::try_from(data).ok().map(|a| IpAddr::V6(Ipv6Addr::from(a))));
    }
    Some(addrs)
}

/// One record: type and class, data, and what is behind it.
///
/// ```text
/// name | type 2, class 2, TTL 4, length 2 | data
/// ```
fn record(mut rest: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    loop {
        let (length, after) = rest.split_first()?;
        rest = match *length {
            0 => break rest = after,
            n @ 1..64 => after.get(usize::from(n)..)?,
            // A pointer ends a name.
            192.. => break rest = after.get(1..)?,
            _ => return None,
        };
    }
    let kind = rest.first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([*rest.get(8)?, *rest.get(9)?]));
    let data = rest.get(10..)?;
    Some((*kind, data.get(..length)?, data.get(length..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer: an alias, then addresses.
    fn answer(question: &[u8], records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
        let mut a = question.to_vec();
        a[2] |= 0x80;
        a[7] = records.len() as u8;
        for (name, kind, data) in records {
            a.extend_from_slice(name);
            a.extend_from_slice(&kind.to_be_bytes());
            a.extend_from_slice(&[0, 1, 0, 0, 0, 9, 0, data.len() as u8]);
            a.extend_from_slice(data);
        }
        a
    }

    #[test]
    fn questions() {
        let expected = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04mail\x07example\x03org\0\0\x01\0\x01";
        assert_eq!(query(0x1234, "mail.example.org", A).as_deref(), Some(&expected[..]));
        assert_eq!(query(0x1234, "mail.example.org.", A).as_deref(), Some(&expected[..]));
        for name in ["", ".", "a..b", &"x".repeat(64), &"abc.".repeat(64)] {
            assert_eq!(query(1, name, A), None, "{name}");
        }
    }

    #[test]
    fn answers() {
        let q = query(7, "mail.x", A).unwrap();
        let pointer = &[0xc0, 12][..];
        let alias = (pointer, 5, &b"\x01m\x01x\0"[..]);
        let full = (&b"\x01m\xc0\x11"[..], A, &[192, 0, 2, 1][..]);
        let a = answer(&q, &[alias, full, (b"\x01m\x01x\0", A, &[192, 0, 2, 2]), (pointer, AAAA, &[0; 16])]);
        let expected: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        assert_eq!(addresses(&q, &a), Some(expected));
        let q6 = query(7, "mail.x", AAAA).unwrap();
        assert_eq!(addresses(&q6, &a), None, "another question's");
        let a = answer(&q6, &[(pointer, AAAA, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])]);
        assert_eq!(addresses(&q6, &a), Some(vec!["2001:db8::1".parse().unwrap()]));
        assert_eq!(addresses(&q, &answer(&q, &[])), Some(vec![]));
        assert_eq!(addresses(&q, &q), None, "a question is no answer");
        let mut other = answer(&q, &[full]);
        other[1] = 8;
        assert_eq!(addresses(&q, &other), None);
        let many = answer(&q, &[full; 40]);
        assert_eq!(addresses(&q, &many).map(|a| a.len()), Some(MAX_ADDRS));
    }

    proptest! {
        #[test]
        fn any_octets(tail in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..300) {
            let q = query(7, "mail.x", A).unwrap();
            let mut a = answer(&q, &[(&[0xc0, 12], A, &[192, 0, 2, 1])]);
            a[7] = 255;
            a.extend(tail);
            a.truncate(cut);
            if let Some(found) = addresses(&q, &a) {
                prop_assert!(found.len() <= MAX_ADDRS);
            }
        }
    }
}
