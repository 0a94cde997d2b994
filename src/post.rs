//! The child that delivers one mail: `vipd --send-mail`, with the job on standard input. Here blocking is allowed: looking a
//! name up cannot be done otherwise, and vipd's loop is in another process, which kills this one if need be.

use crate::mail::outbox::DIALOGUE;
use crate::mail::{Dialogue, End, Job};
use crate::sys::{clock, user};
use crate::time::Time;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Exit status: the server has it, it may be tried again (EX_TEMPFAIL), it is of no use (EX_UNAVAILABLE).
pub const SENT: u8 = 0;
/// See [`SENT`].
pub const LATER: u8 = 75;
/// See [`SENT`].
pub const REFUSED: u8 = 69;
/// Largest job in octets; also what a pipe takes at once.
pub const MAX_JOB: usize = 60 * 1024;

/// Delivers it; what went wrong goes to standard output, one line.
pub fn run() -> u8 {
    // It talks to a stranger and asks another one for names: what they can make of it is nobody.
    user::become_nobody();
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_JOB as u64).read_to_string(&mut text);
    let Some(job) = read.ok().and_then(|_| Job::parse(&text)) else { return REFUSED };
    let (status, said) = match deliver(&job) {
        End::Sent(said) => (SENT, said),
        End::Later(said) => (LATER, Some(said)),
        End::Refused(said) => (REFUSED, Some(said)),
    };
    if let Some(said) = said {
        let _ = std::io::stdout().write_all(said.as_bytes());
    }
    status
}

fn deliver(job: &Job) -> End {
    let until = clock::now() + job.timeout + DIALOGUE;
    let mut why = format!("{}: no address", job.server);
    let addrs = match (job.server.as_str(), job.port).to_socket_addrs() {
        Ok(addrs) => addrs,
        Err(e) => return End::Later(format!("{}: {e}", job.server)),
    };
    for addr in addrs {
        let Some(left) = left(until) else { break };
        match TcpStream::connect_timeout(&addr, left.min(job.timeout)) {
            Ok(server) => {
                return talk(job, &server, until).unwrap_or_else(|e| End::Later(format!("{addr}: {e}")));
            }
            Err(e) => why = format!("{addr}: {e}"),
        }
    }
    End::Later(why)
}

fn talk(job: &Job, mut server: &TcpStream, until: Time) -> std::io::Result<End> {
    let helo = match (job.helo.as_str(), server.local_addr()?) {
        ("", SocketAddr::V4(own)) => format!("[{}]", own.ip()),
        ("", SocketAddr::V6(own)) => format!("[IPv6:{}]", own.ip()),
        (name, _) => name.to_owned(),
    };
    let mut dialogue = Dialogue::new(job, &helo);
    let (mut buf, mut out) = ([0; 1024], Vec::new());
    loop {
        // Of the whole dialogue: a server that drips does not make it longer.
        let Some(left) = left(until) else { return Ok(dialogue.timed_out()) };
        server.set_read_timeout(Some(left))?;
        server.set_write_timeout(Some(left))?;
        let end = match server.read(&mut buf) {
            Ok(0) => return Ok(dialogue.closed()),
            Ok(n) => dialogue.received(buf.get(..n).unwrap_or_default(), &mut out),
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(dialogue.timed_out()),
            Err(e) => return Err(e),
        };
        let written = server.write_all(&out);
        out.clear();
        if let Some(end) = end {
            return Ok(end); // whether QUIT was taken changes nothing
        }
        written?;
    }
}

fn left(until: Time) -> Option<Duration> {
    let left = until.since(clock::now());
    (!left.is_zero()).then_some(left)
}
