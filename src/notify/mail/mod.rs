//! Mail about state changes, pure: the message (RFC 5322) and the dialogue that delivers it (RFC 5321),
//! octets in, octets out. A child process of vipd holds it (`daemon/children/mailer.rs`), since looking a
//! name up blocks. [`super::outbox`] decides when.
//!
//! No TLS and no authentication: `smtp_server` is a relay on this machine or in this network.

use crate::base::text::{Write, split_once};
use std::time::Duration;

/// Longest line of a reply (RFC 5321 §4.5.3.1.5 has 512) and most lines of one.
const MAX_REPLY_LINE: usize = 2048;
const MAX_REPLY_LINES: u32 = 100;
/// What is told of a reply.
const MAX_TOLD: usize = 200;

/// One mail with all that the child needs to know. No field but `message` may hold a line feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// Name or address of the server, without brackets.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// `smtp_connect_timeout`
    pub timeout: Duration,
    /// The name of this host, if it is one that a server can look up; empty: our address is said.
    pub helo: String,
    /// Sender.
    pub from: String,
    /// Recipients.
    pub to: Vec<String>,
    /// Header and body with line feeds.
    pub message: String,
}

impl Job {
    /// As the child reads it: a line each, an empty one behind the recipients, the message.
    pub fn render(&self) -> String {
        let Job { server, port, from, .. } = self;
        // An empty line would be the end of it.
        let helo = if self.helo.is_empty() { "-" } else { &self.helo };
        let mut s = format!("{server}\n{port}\n{}\n{helo}\n{from}\n", self.timeout.as_secs());
        for to in &self.to {
            writeln!(s, "{to}");
        }
        s + "\n" + &self.message
    }

    /// The reverse.
    pub fn parse(text: &str) -> Option<Job> {
        let (head, message) = split_once(text, "\n\n")?;
        let mut lines = head.split('\n');
        let (server, port, timeout) = (lines.next()?, lines.next()?, lines.next()?);
        let (helo, from) = (lines.next().filter(|name| *name != "-"), lines.next()?);
        let number = |text: &str| text.parse::<u64>().ok();
        let (port, timeout) = (u16::try_from(number(port)?).ok()?, number(timeout)?);
        let mut to = Vec::new();
        for line in lines {
            to.push(line.to_owned());
        }
        Some(Job {
            server: server.to_owned(),
            port,
            timeout: Duration::from_secs(timeout),
            helo: helo.unwrap_or_default().to_owned(),
            from: from.to_owned(),
            to,
            message: message.to_owned(),
        })
    }
}

/// Header and body. All of it is printable ASCII in the end: no name can forge a header or need a character
/// set.
pub fn compose(job: &Job, subject: &str, date: &str, id: &str, body: &str) -> String {
    let mut s = String::new();
    let mut field = |name: &str, value: &str| {
        writeln!(s, "{name} {}", Plain(value));
    };
    field("Date:", date);
    field("From:", &job.from);
    for (n, to) in job.to.iter().enumerate() {
        // Folded: a line has at most 998 octets (RFC 5322 §2.1.1).
        let more = if n + 1 < job.to.len() { "," } else { "" };
        field(if n == 0 { "To:" } else { "" }, &format!("{to}{more}"));
    }
    field("Subject:", subject);
    field("Message-ID:", id);
    // Nobody's vacation program answers this (RFC 3834).
    field("Auto-Submitted:", "auto-generated");
    for line in [""].into_iter().chain(body.lines()) {
        writeln!(s, "{}", Plain(line));
    }
    s
}

/// Printable ASCII, the rest as question marks.
struct Plain<'a>(&'a str);

impl std::fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| std::fmt::Write::write_char(f, if matches!(c, ' '..='~') { c } else { '?' }))
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The server has it; with what it said of a recipient that it refused, if it did not refuse all.
    Sent(Option<String>),
    /// Not now (4xx, or the connection ended).
    Later(String),
    /// It will not (5xx, or it speaks something else).
    Refused(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Greeting,
    Ehlo,
    Helo,
    From,
    To(usize),
    Data,
    Message,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Greeting => "greeting",
            Step::Ehlo => "EHLO",
            Step::Helo => "HELO",
            Step::From => "MAIL",
            Step::To(_) => "RCPT",
            Step::Data => "DATA",
            Step::Message => "message",
        }
    }
}

/// The client's side of a dialogue (RFC 5321 §4).
#[derive(Debug)]
pub struct Dialogue<'a> {
    job: &'a Job,
    helo: &'a str,
    step: Step,
    line: Vec<u8>,
    lines: u32,
    accepted: usize,
    refused: Option<String>,
}

impl<'a> Dialogue<'a> {
    /// The server speaks first. `helo` is this host's name or address literal.
    pub fn new(job: &'a Job, helo: &'a str) -> Self {
        let (line, refused) = (Vec::new(), None);
        Dialogue { job, helo, step: Step::Greeting, line, lines: 0, accepted: 0, refused }
    }

    /// Takes what the server sent, and adds to `out` what it is to be sent; `Some`: that was the last, and
    /// then the connection is closed.
    pub fn received(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Option<End> {
        for octet in octets {
            if *octet != b'\n' {
                self.line.push(*octet);
                if self.line.len() > MAX_REPLY_LINE {
                    return Some(End::Refused(format!("{}: an endless reply", self.step.name())));
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            let told = String::from_utf8_lossy(line.get(..MAX_TOLD).unwrap_or(line)).into_owned();
            let told = format!("{}: {told}", self.step.name());
            let end = match *line {
                // One of several lines.
                [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9', b'-', ..] => {
                    self.lines += 1;
                    (self.lines > MAX_REPLY_LINES).then_some(End::Refused(told))
                }
                [class @ b'2'..=b'5', b'0'..=b'9', last @ b'0'..=b'9', ref rest @ ..]
                    if matches!(rest, [] | [b' ', ..]) =>
                {
                    self.lines = 0;
                    // 421: the server closes, whatever was asked.
                    self.reply(class, class == b'4' && last == b'1', told, out)
                }
                _ => Some(End::Refused(format!("this is no SMTP: {told}"))),
            };
            if let Some(end) = end {
                out.extend_from_slice(b"QUIT\r\n");
                return Some(end);
            }
        }
        None
    }

    /// The server has closed the connection.
    pub fn closed(&self) -> End {
        End::Later(format!("{}: the connection was closed", self.step.name()))
    }

    /// The time is over.
    pub fn timed_out(&self) -> End {
        End::Later(format!("{}: no answer in time", self.step.name()))
    }

    fn reply(&mut self, class: u8, closing: bool, told: String, out: &mut Vec<u8>) -> Option<End> {
        let good = class == if self.step == Step::Data { b'3' } else { b'2' };
        let next = match self.step {
            Step::To(n) if good || !closing => {
                if good {
                    self.accepted += 1;
                } else {
                    self.refused.get_or_insert(told.clone());
                }
                match n + 1 {
                    next if next < self.job.to.len() => Step::To(next),
                    _ if self.accepted > 0 => Step::Data,
                    _ => return Some(failed(class, told)),
                }
            }
            // One that knows no EHLO.
            Step::Ehlo if class == b'5' => Step::Helo,
            _ if !good => return Some(failed(class, told)),
            Step::Greeting => Step::Ehlo,
            Step::Ehlo | Step::Helo => Step::From,
            Step::From => Step::To(0),
            Step::Data => Step::Message,
            Step::To(_) | Step::Message => return Some(End::Sent(self.refused.take())),
        };
        self.step = next;
        let (before, what, after) = match next {
            Step::Ehlo => ("EHLO ", self.helo, "\r\n"),
            Step::Helo => ("HELO ", self.helo, "\r\n"),
            Step::From => ("MAIL FROM:<", self.job.from.as_str(), ">\r\n"),
            Step::To(n) => ("RCPT TO:<", self.job.to.get(n).map_or("", String::as_str), ">\r\n"),
            Step::Data => ("DATA\r\n", "", ""),
            Step::Greeting | Step::Message => {
                stuff(&self.job.message, out);
                ("", "", "")
            }
        };
        for part in [before, what, after] {
            out.extend_from_slice(part.as_bytes());
        }
        None
    }
}

fn failed(class: u8, told: String) -> End {
    if class == b'4' { End::Later(told) } else { End::Refused(told) }
}

/// The message as it goes over the wire: CRLF, a dot more where a line begins with one, and a dot alone at
/// the end (RFC 5321 §4.5.2).
fn stuff(message: &str, out: &mut Vec<u8>) {
    for line in message.lines() {
        if line.starts_with('.') {
            out.push(b'.');
        }
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
}

#[cfg(test)]
mod tests;
