//! What a client says over HTTP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipd::control::http::{MAX_HEAD, is_complete, parse};

fuzz_target!(|said: &[u8]| {
    let said = said.get(..MAX_HEAD).unwrap_or(said);
    let page = parse(said);
    if is_complete(said) {
        let more = [said, b"GET /metrics HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(parse(&more), page, "what follows a request does not change it");
    } else {
        assert!(page.request().is_none(), "half a request is none");
    }
    for status in 0..3 {
        let answer = String::from_utf8(page.answer(status, "text\n")).expect("UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 ") && head.ends_with("\r\nConnection: close"), "{head}");
        let length = head.split_once("Content-Length: ").and_then(|(_, rest)| rest.split("\r\n").next());
        let length: usize = length.and_then(|n| n.parse().ok()).expect("a length");
        assert!(body.is_empty() || body.len() == length, "{answer}");
        assert!(page.request().is_some() || !head.contains("200 OK"), "{answer}");
    }
});
