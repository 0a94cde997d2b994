//! HTTP (RFC 9112), as far as probes and scrapers need it: GET and HEAD of three pages, one answer for each
//! connection. Fields of the head mean nothing here, so none is read, not even Host.

use super::protocol::Request;
use crate::report::status::Form;

/// Longest head of a request in octets.
pub const MAX_HEAD: usize = 4096;

/// The pages: path, form of the status, and the highest exit status of it that is `200 OK`.
const PAGES: [(&[u8], Form, u8); 3] =
    [(b"/metrics", Form::Metrics, u8::MAX), (b"/health", Form::Check, 1), (b"/ready", Form::Check, 0)];

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// What is wrong, as status code and reason; else the page.
    wanted: Result<(Form, u8), &'static str>,
    /// HEAD: the answer ends with its head.
    head: bool,
}

/// Whether the head of a request has arrived as a whole: its last line is empty. Empty lines before it do not
/// count (RFC 9112 §2.2).
pub fn is_complete(said: &[u8]) -> bool {
    let said = said.trim_ascii_start();
    said.windows(2).any(|w| w == b"\n\n") || said.windows(3).any(|w| w == b"\n\r\n")
}

/// Reads the first line of a request.
pub fn parse(said: &[u8]) -> Page {
    let line = said.trim_ascii_start().split(|b| *b == b'\n').next().unwrap_or_default();
    let mut words = line.strip_suffix(b"\r").unwrap_or(line).split(|b| *b == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let version = words.next().and_then(|v| v.strip_prefix(b"HTTP/1."));
    let known = matches!(version, Some([b'0'..=b'9'])) && words.next().is_none();
    let head = method == b"HEAD";
    let wanted = match page(target) {
        _ if !known || !is_complete(said) => Err("400 Bad Request"),
        _ if !head && method != b"GET" => Err("405 Method Not Allowed"),
        page => page.ok_or("404 Not Found"),
    };
    Page { wanted, head }
}

/// The page of a target: `/path`, `/path?query` or `http://host/path` (RFC 9112 §3.2).
fn page(target: &[u8]) -> Option<(Form, u8)> {
    let host = target.strip_prefix(b"http://").unwrap_or_default();
    let path = host.iter().position(|b| *b == b'/').and_then(|at| host.get(at..)).unwrap_or(target);
    let path = path.split(|b| *b == b'?').next()?;
    PAGES.iter().find(|(name, ..)| *name == path).map(|(_, form, well)| (*form, *well))
}

impl Page {
    /// What it asks of the node, unless it is refused.
    pub fn request(&self) -> Option<Request> {
        self.wanted.ok().map(|(form, _)| Request::Status(form, None))
    }

    /// The bytes of an answer. `status` and `text` are those of the request; a refusal has its own.
    pub fn answer(&self, status: u8, text: &str) -> Vec<u8> {
        let (code, text) = match self.wanted {
            Ok((_, well)) if status <= well => ("200 OK", text),
            Ok(_) => ("503 Service Unavailable", text),
            Err(refusal) => (refusal, ""),
        };
        let (length, body) = (text.len(), if self.head { "" } else { text });
        format!(
            "HTTP/1.1 {code}\r\nAllow: GET, HEAD\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(said: &[u8]) -> String {
        let answer = parse(said).answer(1, "text\n");
        String::from_utf8_lossy(&answer[9..12]).into_owned()
    }

    #[test]
    fn requests() {
        for (said, want) in [
            // Prometheus, curl, HAProxy, Kubernetes.
            ("GET /metrics HTTP/1.1\r\nHost: localhost:9112\r\nAccept: text/plain\r\n\r\n", "200"),
            ("GET /metrics?x=/health HTTP/1.1\r\n\r\n", "200"),
            ("GET /health HTTP/1.0\r\n\r\n", "200"),
            ("GET /ready HTTP/1.1\r\nhost: a\r\n\r\n", "503"),
            ("HEAD /ready HTTP/1.1\r\n\r\n", "503"),
            ("GET http://node1:9112/health HTTP/1.1\r\n\r\n", "200"),
            ("\r\n\r\nGET /health HTTP/1.1\n\n", "200"),
            ("GET /health HTTP/1.1\r\n\r\nGET /nowhere HTTP/1.1\r\n\r\n", "200"),
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("GET http://node1 HTTP/1.1\r\n\r\n", "404"),
            ("GET http:///ready/ HTTP/1.1\r\n\r\n", "404"),
            ("GET /Health HTTP/1.1\r\n\r\n", "404"),
            ("GET /health%00 HTTP/1.1\r\n\r\n", "404"),
            ("GET ../health HTTP/1.1\r\n\r\n", "404"),
            ("OPTIONS / HTTP/1.0\r\n\r\n", "405"),
            ("OPTIONS * HTTP/1.1\r\n\r\n", "405"),
            ("POST /health HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "405"),
            ("get /health HTTP/1.1\r\n\r\n", "405"),
            ("GET /health\r\n\r\n", "400"),
            ("GET  /health HTTP/1.1\r\n\r\n", "400"),
            ("GET /health HTTP/1.1 \r\n\r\n", "400"),
            ("GET /health HTTP/1.\r\n\r\n", "400"),
            ("GET /health HTTP/2.0\r\n\r\n", "400"),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"),
            ("GET /health http/1.1\r\n\r\n", "400"),
            ("GET\t/health\tHTTP/1.1\r\n\r\n", "400"),
            ("GET /health HTTP/1.1\r\nX: its head has no end", "400"),
            ("status json\n\n", "400"),
            ("\n\n\n", "400"),
            ("", "400"),
        ] {
            assert_eq!(code(said.as_bytes()), want, "{said:?}");
        }
        assert_eq!(code(b"\x16\x03\x01\x02\0\x01\n\n"), "400", "TLS");
        assert_eq!(code(b"GET /health\xff HTTP/1.1\n\n"), "404");
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        for (said, complete) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\n\n", true),
            ("GET / HTTP/1.1\r\nA: b\n\r\nbody", true),
            ("GET / HTTP/1.1\r\n", false),
            ("GET / HTTP/1.1\r\n\r", false),
            ("\r\n\r\n\r\n", false),
            ("", false),
        ] {
            assert_eq!(is_complete(said.as_bytes()), complete, "{said:?}");
        }
    }

    #[test]
    fn answers() {
        let head = "HTTP/1.1 503 Service Unavailable\r\nAllow: GET, HEAD\r\n\
                    Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: 7\r\nConnection: close\r\n\r\n";
        let of = |said: &[u8]| String::from_utf8(parse(said).answer(2, "FAULT:\n")).unwrap();
        assert_eq!(of(b"GET /ready HTTP/1.1\n\n"), format!("{head}FAULT:\n"));
        assert_eq!(of(b"HEAD /health HTTP/1.1\n\n"), head);
        assert!(of(b"GET /metrics HTTP/1.1\n\n").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(of(b"GET / HTTP/1.1\n\n").ends_with("Content-Length: 0\r\nConnection: close\r\n\r\n"));
    }
}
