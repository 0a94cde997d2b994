//! What a mail server says, in pieces: the dialogue ends, sends nothing but its own commands, and keeps
//! nothing that grows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use vipd::notify::mail::{Dialogue, End, Job};

fuzz_target!(|data: &[u8]| {
    let job = Job {
        server: "mail.x".to_owned(),
        port: 25,
        timeout: Duration::from_secs(10),
        helo: String::new(),
        from: "a@x".to_owned(),
        to: vec!["b@x".to_owned(), "c@x".to_owned()],
        message: "Subject: x\n\n.line\n..\n".to_owned(),
    };
    let mut dialogue = Dialogue::new(&job, "node1");
    let mut rest = data;
    let mut sent = 0;
    while let Some((n, more)) = rest.split_first() {
        let (piece, more) = more.split_at(more.len().min(usize::from(*n)));
        rest = more;
        let mut out = Vec::new();
        let end = dialogue.received(piece, &mut out);
        sent += out.len();
        assert!(out.iter().all(|b| b.is_ascii()) && out.windows(2).all(|w| w[1] != b'\n' || w[0] == b'\r'));
        if let Some(End::Sent(Some(told)) | End::Later(told) | End::Refused(told)) = &end {
            // Whoever prints it escapes it.
            assert!(told.len() < 1000 && !told.contains('\n'), "{told:?}");
        }
        if end.is_some() {
            break;
        }
    }
    assert!(sent < 2000, "{sent} octets were sent");
    for end in [dialogue.closed(), dialogue.timed_out()] {
        assert!(matches!(end, End::Later(_)));
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(job) = Job::parse(text)
        && !job.helo.is_empty()
    {
        assert_eq!(Job::parse(&job.render()), Some(job));
    }
});
