//! The child that delivers one mail: `vipd --send-mail`, with the job on standard input. It may block, as
//! looking up a name requires: the loop runs in another process, which kills this one when its time is over.

use crate::base::text;
use crate::base::time::Time;
use crate::notify::mail::{Dialogue, End, Job};
use crate::notify::outbox::DIALOGUE;
use crate::report::words;
use crate::sys::stdio::{INPUT, OUTPUT, write};
use crate::sys::stream::connect_ip;
use crate::sys::{clock, runtime, user};
use crate::wire::dns;
use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt,
};
use nix::sys::time::TimeVal;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// Exit status: the server has taken the mail.
pub const SENT: u8 = 0;
/// Exit status: the server may take the mail later (EX_TEMPFAIL).
pub const LATER: u8 = 75;
/// Exit status: the server will never take the mail (EX_UNAVAILABLE).
pub const REFUSED: u8 = 69;
/// Largest job in octets; a pipe takes as much at once.
pub const MAX_JOB: usize = 60 * 1024;

/// How long to wait for one name server.
const DNS_WAIT: Duration = Duration::from_secs(3);
/// How many name servers and search domains are used, and how often each server is asked.
const MAX_SERVERS: usize = 3;
const MAX_SEARCH: usize = 6;
const DNS_ATTEMPTS: usize = 2;

/// Delivers the mail; writes what went wrong to standard output, in one line.
pub fn run() -> u8 {
    let mut text = vec![0; MAX_JOB];
    let mut have = 0;
    while let Ok(n @ 1..) = nix::unistd::read(INPUT, text.get_mut(have..).unwrap_or_default()) {
        have += n;
    }
    text.truncate(have);
    // This process reads what a mail server and a name server send, so it has no privileges.
    user::become_nobody();
    let Some(job) = str::from_utf8(&text).ok().and_then(Job::parse) else { return REFUSED };
    let (status, said) = match deliver(&job) {
        End::Sent(said) => (SENT, said.unwrap_or_default()),
        End::Later(said) => (LATER, said),
        End::Refused(said) => (REFUSED, said),
    };
    let _ = write(OUTPUT, said.as_bytes());
    status
}

fn deliver(job: &Job) -> End {
    let until = clock::now() + job.timeout + DIALOGUE;
    let mut why = format!("{}: no address found", job.server);
    for addr in resolve(&job.server, until) {
        let Some(left) = left(until) else { break };
        let server = open(SockType::Stream, addr, job.port, left.min(job.timeout));
        why = match server.and_then(|server| talk(job, &server, until)) {
            Ok(end) => return end,
            // A connect that exceeds SO_SNDTIMEO ends with this error (socket(7)).
            Err(Errno::EINPROGRESS) => format!("{addr}: timed out"),
            Err(e) => format!("{addr}: {}", words::errno(e as i32)),
        };
    }
    End::Later(why)
}

/// A connected socket whose operations block for `wait` at most.
fn open(kind: SockType, addr: IpAddr, port: u16, wait: Duration) -> nix::Result<OwnedFd> {
    let family = if addr.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = socket::socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    block_for(&fd, wait)?;
    connect_ip(&fd, SocketAddr::new(addr, port))?;
    Ok(fd)
}

/// Sets both timeouts, to at least 1 µs: 0 means for ever.
fn block_for(fd: &OwnedFd, wait: Duration) -> nix::Result<()> {
    // The C types of the two differ between platforms.
    let wait = TimeVal::new(wait.as_secs() as _, wait.subsec_micros().max(1) as _);
    setsockopt(fd, sockopt::SendTimeout, &wait)?;
    setsockopt(fd, sockopt::ReceiveTimeout, &wait)
}

fn talk(job: &Job, server: &OwnedFd, until: Time) -> nix::Result<End> {
    let own: SockaddrStorage = socket::getsockname(server.as_raw_fd())?;
    let helo = match (job.helo.as_str(), own.as_sockaddr_in(), own.as_sockaddr_in6()) {
        ("", Some(own), _) => format!("[{}]", own.ip()),
        ("", _, Some(own)) => format!("[IPv6:{}]", own.ip()),
        (name, ..) => name.to_owned(),
    };
    let mut dialogue = Dialogue::new(job, &helo);
    let (mut buf, mut out) = ([0; 1024], Vec::new());
    loop {
        // The limit is for the whole dialogue, however slowly the server answers.
        let Some(left) = left(until) else { return Ok(dialogue.timed_out()) };
        block_for(server, left)?;
        let end = match socket::recv(server.as_raw_fd(), &mut buf, MsgFlags::empty()) {
            Ok(0) => return Ok(dialogue.closed()),
            Ok(n) => dialogue.received(buf.get(..n).unwrap_or_default(), &mut out),
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => return Ok(dialogue.timed_out()),
            Err(e) => return Err(e),
        };
        let sent = socket::send(server.as_raw_fd(), &out, MsgFlags::MSG_NOSIGNAL);
        if let Some(end) = end {
            return Ok(end); // whether QUIT was taken changes nothing
        }
        // A blocking socket takes everything unless the time is over.
        if sent? != out.len() {
            return Ok(dialogue.timed_out());
        }
        out.clear();
    }
}

/// The addresses of a server: from a literal, /etc/hosts, or the name servers in /etc/resolv.conf.
fn resolve(name: &str, until: Time) -> Vec<IpAddr> {
    if let Ok(addr) = name.parse() {
        return vec![addr];
    }
    let hosts = runtime::read_text("/etc/hosts").unwrap_or_default();
    let found = in_hosts(&hosts, name);
    if !found.is_empty() {
        return found;
    }
    let conf = runtime::read_text("/etc/resolv.conf").unwrap_or_default();
    let (mut servers, mut names) = resolvers(&conf, name);
    if servers.is_empty() {
        servers.push(IpAddr::from([127, 0, 0, 1]));
    }
    // A name with a dot is most likely complete, so it is tried before the search domains.
    names.insert(if name.as_bytes().contains(&b'.') { 0 } else { names.len() }, name.to_owned());
    'names: for name in names {
        for _ in 0..DNS_ATTEMPTS {
            for server in &servers {
                let Some(left) = left(until) else { return Vec::new() };
                match ask(*server, &name, left.min(DNS_WAIT)) {
                    Some(addrs) if !addrs.is_empty() => return addrs,
                    Some(_) => continue 'names, // there is no such name
                    None => {}
                }
            }
        }
    }
    Vec::new()
}

/// Addresses of a name in hosts(5): lines `ADDRESS NAME…`.
fn in_hosts(hosts: &str, name: &str) -> Vec<IpAddr> {
    let (mut found, name) = (Vec::new(), name.to_ascii_lowercase());
    for line in hosts.lines() {
        let mut words = text::words(line.split('#').next().unwrap_or(""));
        let addr = words.next().and_then(|a| a.parse::<IpAddr>().ok());
        if words.any(|w| w.to_ascii_lowercase() == name) {
            found.extend(addr);
        }
    }
    found
}

/// The name servers, and the name with each search domain (resolv.conf(5)).
fn resolvers(conf: &str, name: &str) -> (Vec<IpAddr>, Vec<String>) {
    let (mut servers, mut names) = (Vec::new(), Vec::new());
    for line in conf.lines() {
        let mut words = text::words(line);
        let key = words.next();
        for word in words {
            match key {
                Some("nameserver") if servers.len() < MAX_SERVERS => {
                    servers.extend(word.parse::<IpAddr>().ok())
                }
                Some("search" | "domain") if names.len() < MAX_SEARCH => names.push(format!("{name}.{word}")),
                _ => {}
            }
        }
    }
    (servers, names)
}

/// The IPv4 and IPv6 addresses of a name; `None` if the server does not answer.
fn ask(server: IpAddr, name: &str, wait: Duration) -> Option<Vec<IpAddr>> {
    let mut id = [0; 2];
    File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut id)).ok()?;
    let fd = open(SockType::Datagram, server, 53, wait).ok()?;
    let until = clock::now() + wait;
    let mut all = None;
    for kind in [dns::A, dns::AAAA] {
        let question = dns::query(u16::from_be_bytes(id), name, kind)?;
        socket::send(fd.as_raw_fd(), &question, MsgFlags::MSG_NOSIGNAL).ok()?;
        let mut answer = [0; 1024];
        while let Some(left) = left(until) {
            block_for(&fd, left).ok()?;
            let Ok(n) = socket::recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty()) else { return all };
            if let Some(addrs) = dns::addresses(&question, answer.get(..n).unwrap_or_default()) {
                all.get_or_insert_with(Vec::new).extend(addrs);
                break;
            }
        }
    }
    all
}

fn left(until: Time) -> Option<Duration> {
    let left = until.since(clock::now());
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_names() {
        let hosts =
            "127.0.0.1 localhost\n# 192.0.2.9 mail\n192.0.2.1\tmx.x Mail # mail2\n::1 mail\nbad mail\n\n";
        let expected: Vec<IpAddr> = vec![[192, 0, 2, 1].into(), "::1".parse().unwrap()];
        assert_eq!(in_hosts(hosts, "mail"), expected);
        assert!(in_hosts(hosts, "mail2").is_empty() && in_hosts(hosts, "127.0.0.1").is_empty());
        let conf = "#nameserver 1\nnameserver 192.0.2.1\nnameservers x\nsearch a.b\tc\nnameserver ::1\n";
        let servers: Vec<IpAddr> = vec![[192, 0, 2, 1].into(), "::1".parse().unwrap()];
        assert_eq!(resolvers(conf, "mail"), (servers, vec!["mail.a.b".into(), "mail.c".into()]));
        assert_eq!(resolvers(&"nameserver 1.1.1.1\nsearch x\n".repeat(9), "m").0.len(), MAX_SERVERS);
    }
}
