//! The typed configuration. `ini` splits a file into sections and keys with their line numbers,
//! `schema` turns those into the types below and reports *every* error of the file.

pub mod auth;
pub mod diff;
pub mod fence;
pub mod ini;
#[cfg(feature = "import")]
pub mod keepalived;
pub mod lease;
mod mistakes;
pub mod report;
pub mod schema;
pub mod source;
#[cfg(test)]
mod tests;

pub use auth::{Auth, Hmac, HmacMode, Key};

use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// A whole configuration file, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[global]`
    pub global: Global,
    /// `[haproxy]`, if there is one.
    pub haproxy: Option<Haproxy>,
    /// `[vrrp NAME]`, in the order of the file. May be empty only if there is a `[haproxy]`.
    pub vrrp: Vec<Rc<Vrrp>>,
    /// `[check NAME]`, in the order of the file.
    pub checks: Vec<Check>,
    /// `[group NAME]`, in the order of the file.
    pub groups: Vec<Group>,
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// stderr if it is a terminal or there is no /dev/log, else syslog.
    Auto,
    /// /dev/log
    Syslog,
    /// File descriptor 2.
    Stderr,
}

/// The least severe log lines that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// `error`
    Error,
    /// `warn`
    Warn,
    /// `info`
    Info,
    /// `debug`
    Debug,
}

/// The syslog facility (RFC 3164 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFacility {
    /// `daemon`
    Daemon,
    /// `user`
    User,
    /// `local0` to `local7`
    Local(u8),
}

/// `[global]`
#[derive(Clone, Debug, PartialEq)]
pub struct Global {
    /// Name of this node in logs and status, at most 255 octets; `None`: the host name.
    pub router_id: Option<String>,
    /// `log`
    pub log: LogTarget,
    /// `log_level`
    pub log_level: LogLevel,
    /// `log_facility`
    pub log_facility: LogFacility,
    /// `control_socket`, absolute, at most 80 octets; its directory also holds the lock and the state files.
    pub control_socket: PathBuf,
    /// `startup_delay`, 0 to 3600 s: time after the start before instances take part.
    pub startup_delay: Duration,
    /// `realtime_priority`, 0 to 99: SCHED_FIFO with this priority; 0: off.
    pub realtime_priority: u8,
    /// `lock_memory`: mlockall.
    pub lock_memory: bool,
    /// `http`: where metrics and health are served; `None`: nowhere.
    pub http: Option<Http>,
    /// `notify`, split; the first is an absolute path. Empty: none.
    pub notify: Vec<String>,
    /// `notify_user`, a name: who runs all hooks; `None`: as vipd.
    pub notify_user: Option<String>,
    /// `notification_email` and what belongs to it.
    pub mail: Option<Mail>,
}

/// Proof that HTTP is built in. Without it this type has no value, and the compiler drops all that needs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HasHttp {
    /// It is.
    #[cfg(feature = "http")]
    Yes,
}

/// Whether HTTP is built in.
#[cfg(feature = "http")]
pub const HTTP: Option<HasHttp> = Some(HasHttp::Yes);
/// Whether HTTP is built in.
#[cfg(not(feature = "http"))]
pub const HTTP: Option<HasHttp> = None;

/// `http`
#[derive(Clone, Debug)]
pub struct Http {
    /// The value as it is written.
    pub text: String,
    /// Where.
    pub at: HttpAt,
    /// See [`HasHttp`].
    pub built_in: HasHttp,
}

impl PartialEq for Http {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Where metrics and health are served.
#[derive(Clone, Debug)]
pub enum HttpAt {
    /// `ADDR:PORT` or `[ADDR]:PORT`
    Tcp(std::net::SocketAddr),
    /// `unix:PATH [mode MODE] [group GROUP]`
    Unix {
        /// Absolute, at most 80 octets.
        path: PathBuf,
        /// Permissions of the socket, 0 to 0o777.
        mode: u32,
        /// Group of the socket, a name; `None`: that of vipd.
        group: Option<String>,
    },
}

/// Mail on state changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// `notification_email`: 1 to 32, each `local@domain` of at most 254 octets.
    pub to: Vec<String>,
    /// `notification_email_from`; `None`: `vipd@` the host name.
    pub from: Option<String>,
    /// `smtp_server`: a name or an address without brackets.
    pub server: String,
    /// Its port, 25 if none is given.
    pub port: u16,
    /// `smtp_connect_timeout`, 1 to 300 s.
    pub connect_timeout: Duration,
}

/// `[haproxy]`
#[derive(Clone, Debug, PartialEq)]
pub struct Haproxy {
    /// `binary`, absolute.
    pub binary: PathBuf,
    /// `config`: files or directories, absolute, each given to `-f`; at least one.
    pub config: Vec<PathBuf>,
    /// `args`: further arguments, split.
    pub args: Vec<String>,
    /// `start_timeout`, 0.1 to 3600 s: how long a start may take to be ready while this node is not master.
    pub start_timeout: Duration,
    /// `restart_grace`, 0 to 3600 s: as master, not ready again by then: the VIPs are given up. `None`: auto,
    /// from what a start takes.
    pub restart_grace: Option<Duration>,
    /// `restart_backoff_max`, 0.1 to 3600 s: cap of the exponential back-off between failed starts.
    pub restart_backoff_max: Duration,
    /// `stop_timeout`, 0.1 to 3600 s: bound of the whole stop.
    pub stop_timeout: Duration,
    /// `crash_limit`, 1 to 1000: more deaths than that within `crash_window` are a fault.
    pub crash_limit: u32,
    /// `crash_window`, 1 s to 1 h; also how long it must be well for the fault to end.
    pub crash_window: Duration,
    /// `check_interval`, 0.1 s to 1 h: how often a ready HAProxy is asked.
    pub check_interval: Duration,
    /// `check_timeout`, 0.1 to 60 s: how long an answer may take.
    pub check_timeout: Duration,
    /// `check_fall`, 1 to 100: that many answers missed in a row, and it is hung.
    pub check_fall: u32,
    /// `keep_listeners`: hold HAProxy's listening sockets over a crash.
    pub keep_listeners: bool,
    /// `last_good`: where the last good copy of its configuration is kept. `None`: beside the control socket.
    pub last_good: Option<PathBuf>,
    /// `nonlocal_bind`
    pub nonlocal_bind: bool,
}

/// What becomes of a virtual router when something that it tracks fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// Nothing: it is not tracked.
    No,
    /// FAULT.
    Fault,
    /// -253 to 253, not 0: added to the priority. keepalived's rule: a positive weight while it is well, a
    /// negative one while it is not.
    Weight(i16),
}

/// One entry of `track_interface`: `IF [weight N]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackInterface {
    /// The interface.
    pub name: String,
    /// Never `No`.
    pub track: Track,
}

/// One entry of `track`: `CHECKNAME [weight N]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackCheck {
    /// Index into `Config::checks`.
    pub check: usize,
    /// Never `No`.
    pub track: Track,
}

/// `[check NAME]`
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The section's name; unique.
    pub name: String,
    /// `type` and `target`
    pub kind: CheckKind,
    /// `interval`, 0.1 to 3600 s: from the start of one attempt to that of the next.
    pub interval: Duration,
    /// `timeout`, 0.1 to 60 s, at most `interval`; the default is min(1 s, `interval`): an attempt that takes
    /// longer has failed.
    pub timeout: Duration,
    /// `fall`, 1 to 100: that many failures in a row, and it is down.
    pub fall: u32,
    /// `rise`, 1 to 100: that many successes in a row, and it is up.
    pub rise: u32,
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// `tcp`: connect.
    Tcp(std::net::SocketAddr),
    /// `http`: GET, answered with 2xx or 3xx.
    Http {
        /// Where to.
        addr: std::net::SocketAddr,
        /// Begins with `/`; at most 1024 octets of printable ASCII without spaces.
        path: String,
    },
    /// `exec`: a command that exits with 0.
    Exec {
        /// Split; the first is an absolute path.
        argv: Vec<String>,
        /// `user`, a name; `None`: as vipd.
        user: Option<String>,
    },
    /// `ping`: ICMP echo.
    Ping(IpAddr),
}

/// `[group NAME]`: a sync group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The section's name; unique.
    pub name: String,
    /// `members`: indices into `Config::vrrp`, at least two; nobody is in two groups.
    pub members: Vec<usize>,
}

/// The VRRP version an instance speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 3768
    V2,
    /// RFC 9568
    V3,
}

impl Version {
    /// 2 or 3.
    pub const fn number(self) -> u8 {
        match self {
            Version::V2 => 2,
            Version::V3 => 3,
        }
    }
}

/// One entry of `virtual_ipaddress`: `ADDR[/LEN] [dev IF] [label IF:TAG]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The address.
    pub addr: IpAddr,
    /// Prefix length as configured (32 or 128 if none was): the subnet the address belongs to.
    /// What is installed is decided by `addr` (a host prefix if the device has that subnet already).
    pub prefix: u8,
    /// `dev`, if it is not the interface of the instance.
    pub dev: Option<String>,
    /// `label`, at most 15 octets.
    pub label: Option<String>,
}

/// `lease`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// `Fence` if the kernel can, else `Address`.
    Auto,
    /// Milliseconds, kept by the kernel in nf_tables and renewed by the adverts themselves.
    Fence,
    /// The addresses' own lifetime, as long as the down timer of the backups allows.
    Address,
    /// Whole seconds, 1 to 3600.
    Seconds(u32),
    /// Permanent addresses: nothing removes them when vipd is killed.
    Off,
}

/// The schedule of gratuitous ARPs (`garp_*`), keepalived's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garp {
    /// `garp_master_delay`, 0 to 3600 s: second burst that long after becoming master; zero: none.
    pub master_delay: Duration,
    /// `garp_master_repeat`, 1 to 100: rounds of a burst.
    pub master_repeat: u32,
    /// `garp_master_refresh`, 0 to 86400 s: a burst each such period; zero: none.
    pub master_refresh: Duration,
    /// `garp_master_refresh_repeat`, 1 to 100: rounds of it.
    pub master_refresh_repeat: u32,
    /// `garp_lower_prio_delay`, 0 to 3600 s: second burst that long after a lower-priority advert; zero:
    /// none.
    pub lower_prio_delay: Duration,
    /// `garp_lower_prio_repeat`, 0 to 100: rounds of a burst after a lower-priority advert; 0: none.
    pub lower_prio_repeat: u32,
    /// `garp_interval`, 0.01 to 10 s: time between the rounds of a burst.
    pub interval: Duration,
}

/// Commands for one state each, split as `notify`; empty: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateHooks {
    /// `notify_master`
    pub master: Vec<String>,
    /// `notify_backup`
    pub backup: Vec<String>,
    /// `notify_fault`
    pub fault: Vec<String>,
    /// `notify_stop`
    pub stop: Vec<String>,
}

impl StateHooks {
    /// Each with its key.
    pub fn all(&self) -> [(&'static str, &Vec<String>); 4] {
        [
            ("notify_master", &self.master),
            ("notify_backup", &self.backup),
            ("notify_fault", &self.fault),
            ("notify_stop", &self.stop),
        ]
    }
}

/// Where something stands in the file, from 1. It makes no difference: two lines are always equal.
#[derive(Clone, Copy, Debug)]
pub struct Line(pub u32);

impl PartialEq for Line {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// `[vrrp NAME]`: one virtual router.
#[derive(Clone, Debug, PartialEq)]
pub struct Vrrp {
    /// The section's name, 1 to 32 of `A-Z a-z 0-9 _ . -`; unique.
    pub name: String,
    /// Line of the section in the file, for later messages.
    pub line: Line,
    /// `interface`, 1 to 15 octets.
    pub interface: String,
    /// `virtual_router_id`, 1 to 255.
    pub vrid: u8,
    /// `priority`, 1 to 255; 255 is the owner of the addresses.
    pub priority: u8,
    /// `version`
    pub version: Version,
    /// `advert_int`: v2 whole seconds 1 to 255; v3 10 ms to 40.95 s in steps of 10 ms.
    pub advert_int: Duration,
    /// `preempt`
    pub preempt: bool,
    /// `preempt_delay`, 0 to 1000 s.
    pub preempt_delay: Duration,
    /// `down_timer_adverts`, 1 to 100.
    pub down_timer_adverts: u32,
    /// `auth_type`, `auth_pass` and `auth_hmac_*`
    pub auth: Auth,
    /// `virtual_ipaddress`, 1 to 255; all of one family, which is the family of the adverts. Of IPv6 the
    /// first is link-local (RFC 9568 erratum 8300): if none of the file's is, it is made of the VRID.
    pub vips: Vec<Vip>,
    /// `virtual_ipaddress_excluded`: held, but not advertised; either family.
    pub excluded: Vec<Vip>,
    /// `mcast_src_ip` or `unicast_src_ip`: source address of the adverts; `None`: the interface's primary
    /// (IPv4) or link-local (IPv6) address.
    pub src_ip: Option<IpAddr>,
    /// `unicast_peer`, at most 255: where adverts go and the only ones that are heard; empty: multicast.
    pub unicast_peers: Vec<IpAddr>,
    /// `allowed_peers`, at most 255: the only ones that are heard on multicast; empty: all.
    pub allowed_peers: Vec<IpAddr>,
    /// `v3_checksum_as_v2`, only with version 3: send v3/IPv4 checksums over the message only (RFC 9568
    /// §5.2.8).
    pub v3_checksum_as_v2: bool,
    /// `track_haproxy`; the default is whether there is a `[haproxy]`.
    pub track_haproxy: Track,
    /// `track_interface`, at most 255. The own interface is there only with a weight: it is tracked anyway.
    pub track_interfaces: Vec<TrackInterface>,
    /// `track`
    pub track_checks: Vec<TrackCheck>,
    /// `use_vmac`: the virtual MAC on a macvlan. Not the owner's, and no VIP has a `dev` or a `label` then;
    /// an excluded one may, on another device.
    pub use_vmac: bool,
    /// `vmac_xmit_base`: only with `use_vmac`, and always if there are `unicast_peers`: adverts are sent from
    /// the interface itself and its own MAC.
    pub vmac_xmit_base: bool,
    /// `dont_track_primary`: the own interface may be down.
    pub dont_track_primary: bool,
    /// `notify`, as in `Global`; it runs before that one.
    pub notify: Vec<String>,
    /// `notify_master` and the others; they run before `notify`.
    pub state_hooks: StateHooks,
    /// `garp_*`
    pub garp: Garp,
    /// `lease`
    pub lease: Lease,
    /// `accept`: whether packets for the VIPs are accepted (Accept_Mode, RFC 9568 §6.1).
    pub accept: bool,
    /// `make_before_break`
    pub make_before_break: bool,
    /// `handover_timeout`, 0.01 to 3600 s; the default is (N + 1) × advert_int, N =
    /// `down_timer_adverts`, at least 20 ms for each of `vips` and at most 5 s.
    pub handover_timeout: Duration,
}

impl Vrrp {
    /// The VIPs that are held: those that are advertised, then those that are not.
    pub fn held(&self) -> impl Iterator<Item = &Vip> {
        self.vips.iter().chain(&self.excluded)
    }

    /// The only senders that it listens to; empty: all.
    pub fn heard(&self) -> &[IpAddr] {
        if self.unicast_peers.is_empty() { &self.allowed_peers } else { &self.unicast_peers }
    }

    /// Its hooks, each with its key; an empty one is none.
    pub fn hooks(&self) -> impl Iterator<Item = (&'static str, &Vec<String>)> {
        std::iter::once(("notify", &self.notify)).chain(self.state_hooks.all())
    }

    /// Whether its adverts go over IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.vips.first().is_some_and(|v| v.addr.is_ipv6())
    }
}
