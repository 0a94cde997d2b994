//! A line of the control socket.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipd::control::Request;

fuzz_target!(|line: &[u8]| {
    let request = Request::parse(line);
    let padded = [b" \t", line, b"\r\n"].concat();
    assert_eq!(Request::parse(&padded), request, "white space at the ends");
});
