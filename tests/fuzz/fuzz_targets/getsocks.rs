//! HAProxy's answer to `_getsocks`, message by message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipd::haproxy::listeners::{Answer, MAX_FDS, MAX_SOCKETS, message};

fuzz_target!(|data: &[u8]| {
    let mut answer = Answer::default();
    let mut rest = data;
    let mut descriptors = 0;
    while let Some((&[length, fds], more)) = rest.split_first_chunk::<2>() {
        let (piece, more) = more.split_at(more.len().min(usize::from(length)));
        rest = more;
        descriptors += usize::from(fds);
        match answer.take(piece, usize::from(fds)) {
            Ok(false) => {}
            Ok(true) => {
                let all: Vec<&[u8]> = answer.records().collect();
                assert!(all.len() == descriptors && (1..=MAX_SOCKETS).contains(&all.len()));
                // What was taken can be handed on, all of it.
                let mut done = 0;
                while done < all.len() {
                    let (n, octets) = message(all[done..].iter().copied());
                    assert!((1..=MAX_FDS).contains(&n) && !octets.is_empty());
                    done += n;
                }
                break;
            }
            Err(_) => break,
        }
    }
});
