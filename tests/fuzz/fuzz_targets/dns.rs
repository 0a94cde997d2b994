//! The answers of name servers: what is no answer to the question is not taken for one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipd::wire::dns;

const A: u16 = 1;
const AAAA: u16 = 28;

fuzz_target!(|data: &[u8]| {
    let Some((how, answer)) = data.split_first() else { return };
    let kind = if how & 1 == 0 { A } else { AAAA };
    let Some(question) = dns::query(0x0707, "mail.x", kind) else { panic!("a name") };
    // As it is, and behind the head that every true answer has.
    let mut whole = answer.to_vec();
    if how & 2 != 0 {
        whole = question.clone();
        whole[2] |= 0x80;
        whole[7] = how >> 2;
        whole.extend_from_slice(answer);
    }
    let found = dns::addresses(&question, &whole);
    if let Some(found) = &found {
        assert_eq!(whole[..2], question[..2], "of another question");
        assert!(found.len() <= 16 && found.len() <= whole.len() / 4, "{} addresses", found.len());
        assert!(found.iter().all(|a| whole.len() > 16 && (a.is_ipv4() || a.is_ipv6())));
    }
    // The same octets behind another number are no answer.
    if let Some(first) = whole.first_mut() {
        *first ^= 0x80;
        assert_eq!(dns::addresses(&question, &whole).filter(|_| found.is_some()), None);
    }
    // Any name makes a question or none.
    if let Ok(name) = std::str::from_utf8(answer)
        && let Some(q) = dns::query(1, name, kind)
    {
        assert!(q.len() <= 271);
    }
});
