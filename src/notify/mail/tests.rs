use super::*;
use proptest::prelude::*;

fn job(to: &[&str]) -> Job {
    Job {
        server: "2001:db8::1".into(),
        port: 25,
        timeout: Duration::from_secs(30),
        helo: String::new(),
        from: "vipd@node1.example".into(),
        to: to.iter().map(|&to| to.to_owned()).collect(),
        message: "Subject: x\n\n.\n..a\nb".into(),
    }
}

/// What the client says to these replies, and how that ends.
fn talk(job: &Job, replies: &[&str]) -> (String, Option<End>) {
    let mut dialogue = Dialogue::new(job, "[192.0.2.1]");
    let (mut said, mut end) = (Vec::new(), None);
    for reply in replies {
        assert_eq!(end, None, "it goes on after the end");
        end = dialogue.received(reply.as_bytes(), &mut said);
    }
    (String::from_utf8(said).expect("ASCII"), end)
}

const GOOD: [&str; 6] = [
    "220 hello\r\n",
    "250-mx\r\n250 SIZE 1000\r\n",
    "250 ok\r\n",
    "250 ok\r\n",
    "354 go\r\n",
    "250 queued\r\n",
];
const SAID: &str = "EHLO [192.0.2.1]\r\nMAIL FROM:<vipd@node1.example>\r\nRCPT TO:<a@b>\r\nDATA\r\n\
                    Subject: x\r\n\r\n..\r\n...a\r\nb\r\n.\r\nQUIT\r\n";

#[test]
fn a_dialogue() {
    let job = job(&["a@b"]);
    assert_eq!(talk(&job, &GOOD), (SAID.into(), Some(End::Sent(None))));
    // Octet by octet, without CR, and with greetings of several lines.
    let text = GOOD.concat().replace("220 hello", "220-hello\n220");
    let octets: Vec<String> = text.chars().filter(|c| *c != '\r').map(String::from).collect();
    let octets: Vec<&str> = octets.iter().map(String::as_str).collect();
    assert_eq!(talk(&job, &octets), (SAID.into(), Some(End::Sent(None))));
}

#[test]
fn an_old_server_gets_helo() {
    let (said, end) = talk(&job(&["a@b"]), &["220 x\n", "502 what?\n", "250 x\n"]);
    assert_eq!(
        (said.as_str(), end),
        ("EHLO [192.0.2.1]\r\nHELO [192.0.2.1]\r\nMAIL FROM:<vipd@node1.example>\r\n", None)
    );
}

#[test]
fn refusals() {
    let later = |text: &str| Some(End::Later(text.into()));
    let refused = |text: &str| Some(End::Refused(text.into()));
    let one = job(&["a@b"]);
    for (replies, expected) in [
        (&["421 busy\n"][..], later("greeting: 421 busy")),
        (&["554 no\n"], refused("greeting: 554 no")),
        (&["SSH-2.0-OpenSSH_9.2\n"], refused("this is no SMTP: greeting: SSH-2.0-OpenSSH_9.2")),
        (&["22\n"], refused("this is no SMTP: greeting: 22")),
        (&["2200 x\n"], refused("this is no SMTP: greeting: 2200 x")),
        (&["120 x\n"], refused("this is no SMTP: greeting: 120 x")),
        (&["354 x\n"], refused("greeting: 354 x")),
        (&["220\n", "500\n", "500 x\n"], refused("HELO: 500 x")),
        (&["220\n", "450 x\n"], later("EHLO: 450 x")),
        (&["220\n", "250\n", "530 TLS first\n"], refused("MAIL: 530 TLS first")),
        (&["220\n", "250\n", "250\n", "450 grey\n"], later("RCPT: 450 grey")),
        (&["220\n", "250\n", "250\n", "550 who?\n"], refused("RCPT: 550 who?")),
        (&["220\n", "250\n", "250\n", "250\n", "250 what\n"], refused("DATA: 250 what")),
        (&["220\n", "250\n", "250\n", "250\n", "451 x\n"], later("DATA: 451 x")),
        (&["220\n", "250\n", "250\n", "250\n", "354\n", "552 big\n"], refused("message: 552 big")),
    ] {
        let (said, end) = talk(&one, replies);
        assert_eq!(end, expected, "of {replies:?}");
        assert!(said.ends_with("QUIT\r\n") && said.matches("QUIT").count() == 1, "{said}");
    }
    let mut dialogue = Dialogue::new(&one, "x");
    assert_eq!(Some(dialogue.closed()), later("greeting: the connection was closed"));
    dialogue.received(b"220 x\r\n", &mut Vec::new());
    assert_eq!(Some(dialogue.timed_out()), later("EHLO: no answer in time"));
}

#[test]
fn some_recipients_are_refused() {
    let three = job(&["a@b", "c@d", "e@f"]);
    let start = ["220\n", "250\n", "250\n"];
    let (said, end) =
        talk(&three, &[&start[..], &["550 no\n", "250\n", "550 none\n", "354\n", "250\n"]].concat());
    assert_eq!(end, Some(End::Sent(Some("RCPT: 550 no".into()))));
    assert_eq!(said.matches("RCPT TO:<").count(), 3);
    // None is left, and the last one decides; 421 ends it at once.
    let (_, end) = talk(&three, &[&start[..], &["550 no\n", "550 no\n", "450 not now\n"]].concat());
    assert_eq!(end, Some(End::Later("RCPT: 450 not now".into())));
    let (_, end) = talk(&three, &[&start[..], &["250\n", "421 bye\n"]].concat());
    assert_eq!(end, Some(End::Later("RCPT: 421 bye".into())));
}

#[test]
fn endless_replies_end() {
    let one = job(&["a@b"]);
    let long = "2".repeat(MAX_REPLY_LINE + 1);
    assert_eq!(talk(&one, &[&long]).1, Some(End::Refused("greeting: an endless reply".into())));
    let many = "220-x\r\n".repeat(101);
    assert_eq!(talk(&one, &[&many]).1, Some(End::Refused("greeting: 220-x".into())));
    // What is told of a line is short.
    let Some(End::Refused(told)) = talk(&one, &[&format!("554 {}\n", "x".repeat(2000))]).1 else { panic!() };
    assert_eq!(told.len(), "greeting: ".len() + MAX_TOLD);
}

#[test]
fn a_message() {
    let text =
        compose(&job(&["a@b", "c@d"]), "[n] x", "Sun, 22 Nov 2026 13:43:35 +0100", "<1@x>", "one\n\ntwo\n");
    let expected = "Date: Sun, 22 Nov 2026 13:43:35 +0100\nFrom: vipd@node1.example\nTo: a@b,\n c@d\nSubject: [n] x\n\
                    Message-ID: <1@x>\nAuto-Submitted: auto-generated\n\none\n\ntwo\n";
    assert_eq!(text, expected);
    let text = compose(&job(&["a@b"]), "x\r\nBcc: m@n\0\u{e4}", "d", "i", "a\rb\u{7f}");
    assert!(text.contains("Subject: x??Bcc: m@n??\n") && text.ends_with("\n\na?b?\n"), "{text}");
}

#[test]
fn jobs_go_through_a_pipe() {
    let one = Job { message: "a\n\nb\n".into(), ..job(&["a@b", "c@d"]) };
    assert_eq!(Job::parse(&one.render()), Some(one.clone()));
    let one = Job { helo: "node1.example".into(), ..one };
    assert_eq!(Job::parse(&one.render()), Some(one));
    for text in ["", "\n\n", "a\nb\n1\n\nx@y\n\nm", "a\n25\nz\n\nx@y\n\nm", "a\n25\n"] {
        assert_eq!(Job::parse(text), None, "{text:?}");
    }
}

proptest! {
    /// Whatever a server says: no panic, no growth, no mail but between DATA and its end, and an end at last.
    #[test]
    fn any_answer(
        pieces in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "[2-5][0-9]{2}[ -]?[ -~]{0,20}\r?\n".prop_map(String::into_bytes),
                "(220|250|354|421|550) x\r\n".prop_map(String::into_bytes),
            ],
            0..60,
        )
    ) {
        let one = job(&["a@b", "c@d"]);
        let mut dialogue = Dialogue::new(&one, "x");
        let mut out = Vec::new();
        for piece in &pieces {
            if let Some(end) = dialogue.received(piece, &mut out) {
                let said = String::from_utf8_lossy(&out);
                if matches!(end, End::Sent(_)) {
                    prop_assert!(said.ends_with("DATA\r\nSubject: x\r\n\r\n..\r\n...a\r\nb\r\n.\r\nQUIT\r\n"));
                }
                break;
            }
            prop_assert!(dialogue.line.len() <= MAX_REPLY_LINE);
            prop_assert!(out.len() < 1000);
        }
    }

    /// A message is what was put in: unstuffing the wire gives the lines, and the dot alone is the end only.
    #[test]
    fn stuffing(lines in proptest::collection::vec("[.a]{0,4}", 0..20)) {
        let mut out = Vec::new();
        stuff(&lines.iter().map(|l| format!("{l}\n")).collect::<String>(), &mut out);
        let text = String::from_utf8(out).unwrap();
        let body = text.strip_suffix(".\r\n").unwrap();
        let got: Vec<String> = body.split_terminator("\r\n").map(|l| l.strip_prefix('.').unwrap_or(l).to_owned()).collect();
        prop_assert!(!body.split_terminator("\r\n").any(|l| l == "."));
        prop_assert_eq!(got, lines);
    }
}
