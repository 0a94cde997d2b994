//! The one loop: descriptors, ppoll until the nearest deadline, bytes → the node, its effects → `sys`, their
//! results → the node. Decides nothing.

pub mod children;
mod haproxy;
pub mod logger;
mod network;
mod read;
mod reload;
mod rights;
mod secrets;
mod state_files;

pub use reload::{read_config, read_file};

use crate::base::secret::Secret;
use crate::base::time::{Time, earlier};
use crate::config::{self, Config};
use crate::control::Control;
use crate::event::Event;
use crate::haproxy::supervisor;
use crate::lease::TAG;
use crate::node::{Clocks, Effect, Node, SETTLE, Step, TURN};
use crate::preflight::advice::open_secret;
use crate::report::history::History;
use crate::report::repeat::Repeats;
use crate::report::watch;
use crate::report::words;
use crate::sys::batch::Batch;
use crate::sys::diag::Connections;
use crate::sys::netlink::Netlink;
use crate::sys::socket::Kind;
use crate::sys::{clock, process, runtime, schedule, signal};
use children::checks::Checks;
use children::jobs::{Done, Jobs};
use haproxy::service::Service;
use network::links::Sockets;
use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signalfd::SignalFd;
use nix::sys::time::TimeSpec;
use reload::{Job, Pending};
use rights::Rights;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long vipd goes without realtime priority after it used the CPU without a pause.
const STEP_DOWN: Duration = Duration::from_secs(10);

/// Requests that are answered later, whether somebody still waits for that or not.
const MAX_JOBS: usize = 16;

/// A failure that ends the daemon: one line that names it.
#[derive(Debug)]
pub struct Fatal(pub String);

/// Names what failed.
fn fatal(what: impl std::fmt::Display, e: impl std::fmt::Display) -> Fatal {
    Fatal(format!("{what}: {e}"))
}

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Netlink,
    Signals,
    Vrrp(usize, Kind),
    UnknownVrid(usize),
    VrrpV6(usize),
    Vmac(usize),
    UnknownVridV6(usize),
    Arp(usize),
    Neighbours(usize),
    Haproxy(haproxy::service::Source),
    Check(usize),
    Jobs,
    Control,
}

struct Daemon {
    node: Node,
    netlink: Netlink,
    signals: SignalFd,
    sockets: Vec<Sockets>,
    service: Option<Service>,
    checks: Checks,
    jobs: Jobs,
    control: Control,
    router_id: String,
    control_socket: PathBuf,
    file: PathBuf,
    config: Rc<Config>,
    /// The text of the configuration file, to tell what another one changes.
    text: Secret,
    /// SIGHUP came.
    hangup: bool,
    asked: Vec<Job>,
    pending: Vec<Pending>,
    started: Time,
    buf: Vec<u8>,
    batch: Batch,
    out: Vec<u8>,
    exit: Option<u8>,
    /// When the kernel's tables are to be read again.
    reread_at: Option<Time>,
    /// `realtime_priority`, and when it is taken up again after vipd stepped down.
    realtime: u8,
    realtime_at: Option<Time>,
    /// The TCP connections of this turn, once addresses leave in it.
    connections: Option<Connections>,
    repeats: Repeats,
    history: History,
    /// HAProxy's last ALERT, and when, as time since 1970 UTC.
    alert: Option<(String, Duration)>,
    /// The kernel cannot reset any, and that has been said.
    no_diag: bool,
    rights: Rights,
    /// Held as long as the process.
    _locks: (Flock<File>, Flock<File>),
}

/// Runs with the configuration of `file` until it is told to stop; returns the exit status.
pub fn run(cfg: &Rc<Config>, file: &Path) -> Result<u8, Fatal> {
    let rights = Rights::take(cfg, file)?;
    if let Some(told) = open_secret(cfg, file) {
        log::warn!("{}: {told}", file.display());
    }
    runtime::keep_descriptors();
    process::adopt_orphans();
    let mut daemon = Daemon::open(cfg, file, rights)?;
    daemon.begin(cfg)?;
    loop {
        daemon.turn()?;
        if let Some(status) = daemon.exit {
            let _ = std::fs::remove_file(&cfg.global.control_socket);
            return Ok(status);
        }
    }
}

impl Daemon {
    fn open(cfg: &Rc<Config>, file: &Path, rights: Rights) -> Result<Self, Fatal> {
        let path = &cfg.global.control_socket;
        let dir = path.parent().unwrap_or(Path::new("/"));
        runtime::make_dir(dir).map_err(|e| fatal(dir.display(), e))?;
        let locks = lock(path)?;
        let control = Control::open(path).map_err(|e| fatal(path.display(), e))?;
        let now = clock::now();
        let host = host_name();
        let router_id = cfg.global.router_id.clone().unwrap_or_else(|| host.clone());
        Ok(Daemon {
            node: Node::new(cfg, now),
            netlink: Netlink::open(TAG).map_err(|e| fatal("netlink", words::errno(e as i32)))?,
            signals: signal::open().map_err(|e| fatal("signalfd", words::errno(e as i32)))?,
            sockets: Vec::new(),
            service: cfg.haproxy.as_ref().map(|h| Service::new(h, path)),
            checks: Checks::new(cfg)?,
            jobs: Jobs::new(cfg, &router_id, host),
            control,
            router_id,
            control_socket: path.clone(),
            file: file.to_owned(),
            config: cfg.clone(),
            text: reload::read_text(file).unwrap_or_default(),
            hangup: false,
            asked: Vec::new(),
            pending: Vec::new(),
            started: now,
            buf: vec![0; 9216],
            batch: Batch::default(),
            out: Vec::new(),
            exit: None,
            reread_at: None,
            realtime: cfg.global.realtime_priority,
            realtime_at: None,
            connections: None,
            repeats: Repeats::default(),
            history: History::default(),
            alert: None,
            no_diag: false,
            rights,
            _locks: locks,
        })
    }

    fn begin(&mut self, cfg: &Config) -> Result<(), Fatal> {
        log::info!("vipd {} starts on {}", env!("CARGO_PKG_VERSION"), self.router_id);
        self.sockets.resize_with(self.node.links.len(), Sockets::default);
        let (remembered, named) = self.recall();
        if let Some(h) = &cfg.haproxy {
            nonlocal_bind(h);
        }
        if cfg.global.lock_memory
            && let Err(e) = schedule::lock_memory()
        {
            log::warn!("lock_memory: {} (CAP_IPC_LOCK or RLIMIT_MEMLOCK is missing)", words::errno(e as i32));
        }
        self.take_realtime();
        self.dump().map_err(|e| fatal("netlink", words::errno(e as i32)))?;
        self.run_effects();
        self.remove_leftovers(&named).map_err(|e| fatal("netlink", words::errno(e as i32)))?;
        if let Some(found) = self.service.as_mut().and_then(Service::adopt) {
            self.node.supervise(clock::now(), found);
        }
        // Another master may have been heard meanwhile.
        let now = clock::now();
        self.read_all_adverts();
        self.node.begin(clock::now(), &remembered);
        self.settle(now);
        Ok(())
    }

    /// One turn: wait, read, act.
    fn turn(&mut self) -> Result<(), Fatal> {
        let ready = self.wait().map_err(|e| fatal("ppoll", words::errno(e as i32)))?;
        let now = clock::now();
        self.node.set_wall_clock(now, clock::wall());
        for step in TURN {
            if step == Step::Read {
                self.read_ready(&ready, now)?;
            }
            self.run(step, now);
        }
        self.serve_jobs(now);
        Ok(())
    }

    /// Reads what is ready, and does what else is due before the timers.
    fn read_ready(&mut self, ready: &[Source], now: Time) -> Result<(), Fatal> {
        for source in ready {
            self.read(*source)?;
        }
        self.control.expire(now);
        if self.reread_at.is_some_and(|t| now >= t) {
            self.reread();
        }
        if self.realtime_at.is_some_and(|t| now >= t) {
            self.take_realtime();
        }
        if self.node.is_takeover_due(now) {
            // This process may have stood still since ppoll returned, and the master's adverts wait.
            self.read_all_adverts();
        }
        Ok(())
    }

    /// Waits for descriptors until the nearest deadline; returns what is ready.
    fn wait(&self) -> nix::Result<Vec<Source>> {
        let now = clock::now();
        let mut deadline = earlier(self.node.deadline(now), self.control.deadline());
        deadline = earlier(earlier(deadline, self.reread_at), self.realtime_at);
        deadline = earlier(deadline, self.repeats.deadline());
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        let mut sources = Vec::new();
        let mut add = |fd, source, flags| {
            fds.push(PollFd::new(fd, flags));
            sources.push(source);
        };
        let read = PollFlags::POLLIN;
        add(self.netlink.as_fd(), Source::Netlink, read);
        add(self.signals.as_fd(), Source::Signals, read);
        for (i, s) in self.sockets.iter().enumerate() {
            for (kind, v) in [(Kind::Plain, &s.vrrp), (Kind::Ah, &s.ah)] {
                if let Some(v) = v {
                    add(v.as_fd(), Source::Vrrp(i, kind), read);
                }
            }
            if let Some(v) = &s.vmac {
                add(v.as_fd(), Source::Vmac(i), read);
            }
            if let Some(v) = &s.vrrp_v6 {
                add(v.as_fd(), Source::VrrpV6(i), read);
            }
            if let Some(a) = &s.arp {
                add(a.as_fd(), Source::Arp(i), read);
            }
            if let Some(n) = &s.neighbours {
                add(n.as_fd(), Source::Neighbours(i), read);
            }
            if s.unknown_vrid_after.is_none_or(|t| now >= t) {
                if let Some(x) = &s.unknown_vrid {
                    add(x.as_fd(), Source::UnknownVrid(i), read);
                }
                if let Some(x) = &s.unknown_vrid_v6 {
                    add(x.as_fd(), Source::UnknownVridV6(i), read);
                }
            }
        }
        for (fd, source) in self.service.iter().flat_map(Service::fds) {
            add(fd, Source::Haproxy(source), read);
        }
        for (i, fd, flags) in self.checks.fds() {
            add(fd, Source::Check(i), flags);
        }
        for fd in self.jobs.fds() {
            add(fd, Source::Jobs, read);
        }
        for (fd, write) in self.control.fds() {
            add(fd, Source::Control, if write { PollFlags::POLLOUT } else { read });
        }
        for s in &self.sockets {
            deadline = earlier(deadline, s.unknown_vrid_after.filter(|t| *t > now));
        }
        let timeout = deadline.map(|t| TimeSpec::from_duration(t.since(now)));
        let mut done = ppoll(&mut fds, timeout, None);
        if done == Err(Errno::EINVAL) {
            // More than we may have open now: the first ones matter most.
            fds.truncate(runtime::most_descriptors());
            done = ppoll(&mut fds, timeout, None);
        }
        match done {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
        let mut ready: Vec<Source> = fds
            .iter()
            .zip(sources)
            .filter(|(fd, _)| fd.revents().is_none_or(|r| !r.is_empty()))
            .map(|(_, source)| source)
            .collect();
        ready.dedup(); // all pipes are one source, and so are all clients
        Ok(ready)
    }

    fn take_realtime(&mut self) {
        self.realtime_at = None;
        if self.realtime == 0 {
            return;
        }
        if let Err(e) = schedule::realtime(self.realtime) {
            log::warn!("realtime_priority: {} (CAP_SYS_NICE is missing)", words::errno(e as i32));
        }
    }

    /// No pause in half a second: whoever else needs the CPU comes first for a while, HAProxy among them.
    fn stepped_down(&mut self, now: Time) {
        self.realtime_at = Some(now + STEP_DOWN);
        log::warn!("busy without a pause: no realtime priority for {} s", STEP_DOWN.as_secs());
    }

    /// Timers, then everything that follows. `turn` was read before the sockets were.
    fn settle(&mut self, turn: Time) {
        for step in SETTLE {
            self.run(*step, turn);
        }
    }

    fn run(&mut self, step: Step, turn: Time) {
        self.node.run(step, Clocks { turn, fresh: clock::now() });
        self.run_effects();
        if step == Step::Log {
            self.connections = None;
            self.log_events();
        }
    }

    fn log_events(&mut self) {
        while let Some(event) = self.node.next_event() {
            self.note(&event);
            self.log_event(&event);
        }
        while let Some((level, text, more)) = self.repeats.due(clock::now()) {
            log::log!(level, "{text} (and {more} more)");
        }
    }

    fn log_event(&mut self, event: &Event) {
        self.history.note(&self.node, event, wall());
        let (level, text) = words::render(&self.node, event);
        if level <= log::Level::Info && self.control.is_watched() {
            self.control.broadcast(&watch::line(&self.node, event, &text, &stamp()));
        }
        match self.repeats.pass(clock::now(), event) {
            Some(0) => log::log!(level, "{text}"),
            Some(more) => log::log!(level, "{text} (and {more} more)"),
            None => self.repeats.hold(event, level, text),
        }
    }

    fn run_effects(&mut self) {
        while let Some(effect) = self.node.next_effect() {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Open { link, ifindex } => match self.open_link(link, ifindex) {
                Ok(()) => self.node.opened(clock::now(), link),
                Err(e) => self.node.open_failed(clock::now(), link, e as i32),
            },
            Effect::Close { link } => self.sockets[link] = Sockets::default(),
            Effect::Advert { router, priority, decided } => self.advert(router, priority, decided),
            Effect::Addrs(mut ops) => {
                let before = clock::now();
                self.node.addrs.keep_valid(&mut ops, before);
                let errnos = self.netlink.carry_out(ops.len(), &|out, seq, i| ops[i].encode(out, seq));
                let results: Vec<_> = ops.into_iter().zip(errnos).collect();
                self.node.addrs_done(before, clock::now(), &results);
            }
            Effect::Disconnect { router } => self.disconnect(router),
            Effect::DisconnectVip { entry } => self.disconnect_vips(&[entry]),
            Effect::Announce { entry } => self.announce(entry),
            Effect::Probe { entry } => self.probe(entry),
            Effect::Remember { router, memory } => self.remember(router, memory),
            Effect::Forget { name } => {
                let _ = std::fs::remove_file(state_files::state_file(&self.control_socket, &name));
            }
            Effect::Reread => self.reread(),
            Effect::NewService => {
                self.service = self.config.haproxy.as_ref().map(|h| Service::new(h, &self.control_socket));
            }
            Effect::Vmac { link, op } => self.vmac(link, op),
            Effect::Unmake { ifindex } => self.unmake(Some(ifindex)),
            Effect::UnmakeAll => self.unmake(None),
            Effect::Haproxy(supervisor::Action::Spawn { .. }) if !self.node.may_spawn() => {}
            Effect::Haproxy(action) => {
                let Some(service) = &mut self.service else { return };
                if let Some(outcome) = service.carry_out(action) {
                    self.node.supervise(clock::now(), outcome);
                }
            }
            Effect::Check { check, action } => {
                if let Some(failure) = self.checks.carry_out(check, action) {
                    self.node.check_done(clock::now(), check, Err(failure), String::new());
                }
            }
            Effect::Hook(action) => {
                if let Some(done) = self.jobs.hook(&self.node, action) {
                    self.job_done(clock::now(), done);
                }
            }
            Effect::Mail(action) => {
                if let Some(done) = self.jobs.mail(&self.node, action) {
                    self.job_done(clock::now(), done);
                }
            }
            Effect::Exit(status) => self.exit = Some(status),
        }
    }

    fn job_done(&mut self, now: Time, done: Done) {
        match done {
            Done::Hook(job, result) => self.node.hook_done(now, job, result),
            Done::Mail(job, outcome, text) => self.node.mail_done(now, job, outcome, text),
        }
    }
}

/// The time of day, for lines that are compared with other machines'.
fn stamp() -> String {
    watch::stamp(wall())
}

/// The time of day: time since 1970 UTC.
fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn lock(control_socket: &Path) -> Result<(Flock<File>, Flock<File>), Fatal> {
    let refused = |what: &str, e| match e {
        runtime::LockError::Held => Fatal(format!("vipd is already running: it holds the lock of {what}")),
        runtime::LockError::Io(e) => fatal(format!("lock of {what}"), e),
    };
    let name = control_socket.display().to_string();
    let file = runtime::lock_file(control_socket).map_err(|e| refused(&name, e))?;
    let netns = runtime::lock_netns(control_socket).map_err(|e| refused("this network namespace", e))?;
    Ok((file, netns))
}

fn nonlocal_bind(cfg: &config::Haproxy) {
    if !cfg.nonlocal_bind {
        return;
    }
    for name in ["net/ipv4/ip_nonlocal_bind", "net/ipv6/ip_nonlocal_bind"] {
        match runtime::sysctl(name, "1") {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                log::warn!(
                    "{name} is not 1 and cannot be set ({e}): HAProxy cannot bind to a VIP on a backup"
                );
            }
            _ => {}
        }
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
