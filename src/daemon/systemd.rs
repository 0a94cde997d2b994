//! What systemd is told (sd_notify(3)): that vipd is ready, reloads or stops, a line for `systemctl status`,
//! and signs of life for its watchdog.

use crate::base::text::Write;
use crate::base::throttle::Once;
use crate::base::time::{Time, earlier};
use crate::node::Node;
use crate::sys::clock;
use crate::vrrp::machine::Kind;
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Pause before a message is sent again that systemd had no room for.
const RETRY: Duration = Duration::from_millis(100);
/// Octets that wait to be sent at most; what is said is short and seldom.
const MAX_OWED: usize = 4096;

/// The connection to systemd, if it has started vipd.
#[derive(Debug, Default)]
pub(super) struct Systemd {
    socket: Option<UnixDatagram>,
    /// Half of the watchdog's limit, and when the next sign of life is due.
    watchdog: Option<Duration>,
    alive_at: Option<Time>,
    status: String,
    stopping: Once,
    /// Lines that are not sent yet, and when to try again.
    owed: String,
    retry_at: Option<Time>,
}

impl Systemd {
    /// As the environment says: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. vipd's children do not inherit
    /// them.
    pub(super) fn from_env(now: Time) -> Self {
        let number = |name| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|path| connect(&path));
        let mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let limit = number("WATCHDOG_USEC").filter(|usec| mine && *usec > 0).map(Duration::from_micros);
        Systemd::new(socket, limit, now)
    }

    /// `limit`: how long a vipd may be silent.
    fn new(socket: Option<UnixDatagram>, limit: Option<Duration>, now: Time) -> Self {
        let watchdog = limit.filter(|_| socket.is_some()).map(|l| l / 2);
        Systemd { socket, watchdog, alive_at: watchdog.map(|w| now + w), ..Systemd::default() }
    }

    /// When `tick` has something to do.
    pub(super) fn deadline(&self) -> Option<Time> {
        earlier(self.alive_at, self.retry_at)
    }

    /// The signs of life, in each turn of the loop: a vipd that hangs gives none.
    pub(super) fn tick(&mut self, now: Time) {
        if let Some(watchdog) = self.watchdog
            && self.alive_at.is_some_and(|t| now >= t)
        {
            self.alive_at = Some(now + watchdog);
            self.say(now, "WATCHDOG=1\n");
        }
        if self.retry_at.is_some_and(|t| now >= t) {
            self.say(now, "");
        }
    }

    /// The start or a reload is complete.
    pub(super) fn ready(&mut self, now: Time) {
        self.say(now, "READY=1\n");
    }

    /// A reload begins; `ready` ends it.
    pub(super) fn reloading(&mut self, now: Time) {
        let mut line = String::from("RELOADING=1\n");
        writeln!(line, "MONOTONIC_USEC={}", clock::monotonic_micros());
        self.say(now, &line);
    }

    /// Something has happened: the line of status, if it is another one, and that vipd stops, once.
    pub(super) fn changed(&mut self, now: Time, node: &Node) {
        if self.socket.is_none() {
            return;
        }
        if node.is_stopping() && self.stopping.pass() {
            self.say(now, "STOPPING=1\n");
        }
        let status = status(node);
        if status != self.status {
            let mut line = String::from("STATUS=");
            line += &status;
            line.push('\n');
            self.status = status;
            self.say(now, &line);
        }
    }

    fn say(&mut self, now: Time, lines: &str) {
        let Some(socket) = &self.socket else { return };
        if self.owed.len() + lines.len() <= MAX_OWED {
            self.owed += lines;
        }
        self.retry_at = None;
        match socket.send(self.owed.as_bytes()) {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => self.retry_at = Some(now + RETRY),
            // Sent, or there is nobody any more.
            _ => self.owed.clear(),
        }
    }
}

/// `2 MASTER, 1 BACKUP, 0 FAULT`
fn status(node: &Node) -> String {
    let count = |kind| node.routers.iter().filter(|r| r.machine.kind() == kind).count();
    let mut text = String::new();
    write!(
        text,
        "{} MASTER, {} BACKUP, {} FAULT",
        count(Kind::Master),
        count(Kind::Backup),
        count(Kind::Init)
    );
    text
}

/// A path, or with `@` at its beginning an abstract name.
fn connect(name: &OsStr) -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    match name.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name).ok()?).ok()?,
        _ => socket.connect(name).ok()?,
    }
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema;

    const SECOND: Duration = Duration::from_secs(1);

    fn heard(systemd: &UnixDatagram) -> Vec<String> {
        let mut all = Vec::new();
        let mut buf = [0; 8192];
        while let Ok(n) = systemd.recv(&mut buf) {
            all.extend(String::from_utf8_lossy(&buf[..n]).lines().map(str::to_owned));
        }
        all
    }

    fn pair() -> (UnixDatagram, UnixDatagram) {
        let (systemd, own) = UnixDatagram::pair().unwrap_or_else(|e| panic!("{e}"));
        for socket in [&systemd, &own] {
            socket.set_nonblocking(true).unwrap_or_else(|e| panic!("{e}"));
        }
        (systemd, own)
    }

    #[test]
    fn a_life() {
        let (systemd, own) = pair();
        let now = Time::from_nanos(9_000_000_000);
        let mut s = Systemd::new(Some(own), Some(10 * SECOND), now);
        let text = "[vrrp V]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 10.77.0.100/24\n";
        let mut node = Node::new(&schema::parse(text).unwrap_or_else(|e| panic!("{e:?}")).0, now);
        s.ready(now);
        s.changed(now, &node);
        s.changed(now, &node);
        assert_eq!(heard(&systemd), ["READY=1", "STATUS=0 MASTER, 0 BACKUP, 1 FAULT"]);
        assert_eq!(s.deadline(), Some(now + 5 * SECOND), "half the limit");
        s.tick(now + 4 * SECOND);
        assert_eq!(heard(&systemd).len(), 0);
        s.tick(now + 6 * SECOND);
        assert_eq!((heard(&systemd), s.deadline()), (vec!["WATCHDOG=1".to_owned()], Some(now + 11 * SECOND)));
        s.reloading(now);
        s.ready(now);
        let lines = heard(&systemd);
        assert!(
            lines[1].strip_prefix("MONOTONIC_USEC=").is_some_and(|n| n.parse::<u64>().is_ok()),
            "{lines:?}"
        );
        assert_eq!((lines[0].as_str(), lines[2].as_str()), ("RELOADING=1", "READY=1"));
        node.stop(now);
        s.changed(now, &node);
        s.changed(now, &node);
        assert_eq!(heard(&systemd)[0], "STOPPING=1");
        assert_eq!(heard(&systemd).len(), 0, "once");
    }

    #[test]
    fn what_cannot_be_sent_is_sent_later() {
        let (systemd, own) = pair();
        let mut s = Systemd::new(Some(own), None, Time::ZERO);
        let full = (0..10_000).take_while(|_| {
            s.say(Time::ZERO, "X\n");
            s.owed.is_empty()
        });
        let sent = full.count();
        s.ready(Time::ZERO);
        assert_eq!(s.deadline(), Some(Time::ZERO + RETRY));
        assert_eq!(heard(&systemd).len(), sent);
        s.tick(Time::ZERO + RETRY);
        assert_eq!(heard(&systemd), ["X", "READY=1"]);
        assert_eq!(s.deadline(), None);
    }

    #[test]
    fn without_systemd_nothing_is_said() {
        let mut s = Systemd::new(None, Some(SECOND), Time::ZERO);
        s.ready(Time::ZERO);
        assert_eq!((s.deadline(), s.owed.as_str()), (None, ""));
        let name = format!("@vipd-systemd-{}", std::process::id());
        assert!(connect(OsStr::new(&name)).is_none(), "nobody listens");
        let addr = SocketAddr::from_abstract_name(&name[1..]).unwrap_or_else(|e| panic!("{e}"));
        let systemd = UnixDatagram::bind_addr(&addr).unwrap_or_else(|e| panic!("{e}"));
        let socket = connect(OsStr::new(&name)).unwrap_or_else(|| panic!("abstract"));
        Systemd::new(Some(socket), None, Time::ZERO).ready(Time::ZERO);
        let mut buf = [0; 64];
        assert_eq!(systemd.recv(&mut buf).ok(), Some("READY=1\n".len()));
    }
}
