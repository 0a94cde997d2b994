//! HAProxy's answer, as it arrives piece by piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipd::haproxy::show_info;

fuzz_target!(|answer: &[u8]| {
    let whole = show_info::parse(answer);
    if let Some(info) = &whole {
        assert!(info.version.len() <= 32 && info.version.bytes().all(|b| b.is_ascii_graphic()));
    }
    // What has been understood stays true, whatever comes after it.
    for end in answer.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).take(50) {
        if let Some(info) = show_info::parse(&answer[..end]) {
            assert_eq!(Some(info), whole);
        }
    }
});
