//! The server and its clients, over real sockets.

use super::connection::{Connection, Phase};
use super::server::MAX_CLIENTS;
use super::*;
use crate::base::time::Time;
use crate::sys::stream;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Says of the listener and of each client that it is ready.
fn serve_all(
    control: &mut Server,
    now: Time,
    mut answer: impl FnMut(Request, Asker) -> Option<(u8, String)>,
) {
    if control.fds().any(|(_, client, _)| client.is_none()) {
        control.serve(now, None, &mut answer);
    }
    let numbers: Vec<Asker> = control.clients.iter().map(|c| c.number).collect();
    for number in numbers {
        control.serve(now, Some(number), &mut answer);
    }
}

struct Served {
    control: Server,
    path: std::path::PathBuf,
    now: Time,
}

impl Served {
    fn new(name: &str) -> Served {
        Served::speaking(Language::Control, name)
    }

    fn speaking(language: Language, name: &str) -> Served {
        let path = std::env::temp_dir().join(format!("vipd-control-{}-{name}", std::process::id()));
        let control = Server::new(stream::listen(&path).unwrap(), language);
        Served { control, path, now: Time::from_nanos(1_000_000_000) }
    }

    fn connect(&self, line: &[u8]) -> UnixStream {
        let mut client = UnixStream::connect(&self.path).unwrap();
        client.write_all(line).unwrap();
        client.set_nonblocking(true).unwrap();
        client
    }

    /// Status is answered at once, all else later; who that is.
    fn serve(&mut self) -> Vec<Asker> {
        let mut later = Vec::new();
        for _ in 0..2 {
            serve_all(&mut self.control, self.now, |r, to| match r {
                Request::Status(..) => Some((0, "well\n".to_owned())),
                _ => {
                    later.push(to);
                    None
                }
            });
            self.control.expire(self.now);
        }
        later
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn read(mut client: &UnixStream) -> String {
    let mut text = [0; 64];
    let n = client.read(&mut text).unwrap_or(0);
    String::from_utf8_lossy(&text[..n]).into_owned()
}

#[test]
fn an_answer_may_come_later() {
    let mut s = Served::new("later");
    let client = s.connect(b"reload\n");
    let asked = s.serve();
    assert_eq!(asked.len(), 1);
    s.now += PATIENCE * 2;
    assert!(s.serve().is_empty());
    let status = s.connect(b"status\n");
    s.serve();
    assert_eq!((read(&status), read(&client)), ("0\nwell\n".to_owned(), String::new()));
    s.control.reply(s.now, asked[0], 2, "wrong\n");
    s.control.reply(s.now, asked[0], 0, "once is enough\n");
    s.serve();
    assert_eq!(read(&client), "2\nwrong\n");
    assert_eq!(s.control.clients.len(), 0);
    s.control.reply(s.now, asked[0], 0, "gone\n");
}

#[test]
fn who_waits_is_dropped_when_it_goes_babbles_or_waits_too_long() {
    let mut s = Served::new("dropped");
    drop(s.connect(b"reload\n"));
    s.serve();
    assert_eq!(s.control.clients.len(), 0, "gone");
    let mut client = s.connect(b"reload\n");
    assert_eq!(s.serve().len(), 1);
    client.write_all(b"reload\n").unwrap();
    s.serve();
    assert_eq!(s.control.clients.len(), 0, "it has said all that it may say");
    let _client = s.connect(b"reload\n");
    s.serve();
    s.now += LATER;
    s.serve();
    assert_eq!(s.control.clients.len(), 0, "too long");
}

#[test]
fn who_asks_nothing_gives_way_first() {
    let mut s = Served::new("full");
    let waiting: Vec<UnixStream> = (0..3).map(|_| s.connect(b"reload\n")).collect();
    assert_eq!(s.serve().len(), 3);
    let _silent: Vec<UnixStream> = (0..20).map(|_| s.connect(b"")).collect();
    s.serve();
    s.serve();
    assert_eq!(s.control.clients.len(), MAX_CLIENTS);
    assert_eq!(s.control.clients.iter().filter(|c| matches!(c.phase, Phase::Waits)).count(), waiting.len());
}

/// One client of each kind: connected, half a request sent, waiting for an answer, watching, its socket
/// full.
#[test]
fn readiness_that_is_none_changes_nothing() {
    let mut s = Served::new("spurious");
    let silent = s.connect(b"");
    let half = s.connect(b"stat");
    let waiting = s.connect(b"reload\n");
    let watching = s.connect(b"watch\n");
    let large = "x".repeat(1 << 20);
    let full = s.connect(b"status\n");
    let asked = std::cell::Cell::new((0, 0));
    let serve = |control: &mut Server, now| {
        serve_all(control, now, |r, to| match r {
            Request::Reload(_) => {
                asked.set((asked.get().0 + 1, to));
                None
            }
            Request::Watch => Some((0, String::new())),
            _ => Some((0, large.clone())),
        });
    };
    let client = |c: &Connection| {
        let left = c.answer.as_ref().map(Vec::len);
        (c.number, c.said.clone(), c.standing(), left, c.until)
    };
    let state = |c: &Server| c.clients.iter().map(client).collect::<Vec<_>>();
    for _ in 0..3 {
        serve(&mut s.control, s.now);
    }
    assert_eq!(read(&watching), "0\n");
    assert_eq!(s.control.clients.len(), 5);
    let before = state(&s.control);
    for _ in 0..10 {
        serve(&mut s.control, s.now);
        assert_eq!(state(&s.control), before);
    }
    assert_eq!(asked.get().0, 1, "asked once");
    // And each goes on as if nothing had been.
    (&half).write_all(b"us\n").expect("written");
    (&silent).write_all(b"status\n").expect("written");
    s.control.broadcast("2026 line\n");
    s.control.reply(s.now, asked.get().1, 0, "done\n");
    serve(&mut s.control, s.now);
    assert_eq!((read(&waiting), read(&watching)), ("0\ndone\n".into(), "2026 line\n".into()));
    for client in [&silent, &half, &full] {
        assert!(read(client).starts_with("0\nxxx"));
    }
}

const HTTP: Language = Language::Http(HasHttp::Yes);

/// What is left of an answer after its head, and its first line.
fn page(mut client: &UnixStream) -> Option<(String, String)> {
    let mut text = Vec::new();
    let _ = client.read_to_end(&mut text);
    let text = String::from_utf8(text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split("\r\n").next()?.to_owned(), body.to_owned()))
}

impl Served {
    /// Lets in one after the other, and serves them all.
    fn browse(&mut self) {
        for _ in 0..MAX_CLIENTS {
            self.serve();
            self.now += Duration::from_millis(20);
        }
    }
}

#[test]
fn a_page_comes_and_the_connection_ends_with_it() {
    let mut s = Served::speaking(HTTP, "page");
    let client = s.connect(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
    let pipelined = s.connect(b"GET /health HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n");
    let body = s.connect(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n");
    let half_closed = s.connect(b"GET /nowhere HTTP/1.0\n\n");
    half_closed.shutdown(std::net::Shutdown::Write).unwrap();
    s.browse();
    for (client, line, text) in [
        (&client, "HTTP/1.1 200 OK", "well\n"),
        (&pipelined, "HTTP/1.1 200 OK", "well\n"),
        (&body, "HTTP/1.1 405 Method Not Allowed", ""),
        (&half_closed, "HTTP/1.1 404 Not Found", ""),
    ] {
        assert_eq!(page(client), Some((line.to_owned(), text.to_owned())), "and then the end");
    }
    // Those that could still say something have not been closed, which would reset the connection.
    assert_eq!(s.control.clients.len(), 3);
    (&body).write_all(&[b'x'; 100]).unwrap();
    s.browse();
    assert_eq!(s.control.clients.len(), 3, "it may");
    drop((client, pipelined, body));
    s.browse();
    assert_eq!(s.control.clients.len(), 0);
}

#[test]
fn who_is_slow_or_says_too_much_is_dropped() {
    let mut s = Served::speaking(HTTP, "slow");
    let slow = s.connect(b"GET /health HTT");
    let large = s.connect(&[b'x'; http::MAX_HEAD]);
    let endless = s.connect(b"GET / HTTP/1.1\n\n");
    s.browse();
    assert_eq!(page(&large).unwrap().0, "HTTP/1.1 400 Bad Request");
    for _ in 0..8 {
        let _ = (&endless).write(&[b'x'; 16 * 1024]);
        s.browse();
    }
    assert_eq!(s.control.clients.len(), 2, "the endless one is gone");
    (&slow).write_all(b"P").unwrap();
    s.now += PATIENCE;
    s.serve();
    assert_eq!(s.control.clients.len(), 0, "their time is over");
    assert_eq!(page(&slow), None);
}

/// However many connect: each has time to ask, and the loop has time for other things.
#[test]
fn clients_come_in_one_after_the_other() {
    let mut s = Served::speaking(HTTP, "pace");
    let silent: Vec<UnixStream> = (0..50).map(|_| s.connect(b"")).collect();
    s.serve();
    s.serve();
    assert_eq!(s.control.clients.len(), 1);
    assert!(s.control.fds().all(|(_, client, _)| client.is_some()), "the listener is not waited for");
    assert_eq!(s.control.deadline(), Some(s.now + Duration::from_millis(20)));
    for _ in &silent {
        s.now += Duration::from_millis(20);
        s.serve();
    }
    assert_eq!(s.control.clients.len(), MAX_CLIENTS);
    let client = s.connect(b"GET /health HTTP/1.0\r\n\r\n");
    s.now += Duration::from_millis(20);
    s.serve();
    assert_eq!(page(&client).unwrap().1, "well\n");
}
