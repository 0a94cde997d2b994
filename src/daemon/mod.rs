//! The one loop: descriptors, ppoll until the nearest deadline, what came to the node, its effects to the
//! kernel, and their results to the node again. It decides nothing: whatever follows from an event, the node
//! says.
//!
//! `poll`: what is waited for · `read`: what came · `effects`: what the node wants done · `requests`,
//! `reload`, `upgrade`: what somebody asks for · `network`, `haproxy`, `children`, `http`: the owners of
//! descriptors and processes · `logger`, `systemd`, `state_files`: whom vipd tells · `rights`, `realtime`,
//! `secrets`: what it may do and read.

pub mod children;
mod effects;
mod haproxy;
mod http;
pub mod logger;
mod network;
mod poll;
mod read;
mod realtime;
mod reload;
mod requests;
mod rights;
mod secrets;
mod state_files;
mod systemd;
#[cfg(test)]
mod tests;
mod upgrade;

pub use haproxy::copy::keep as keep_copy;
pub use reload::{Loaded, read_config, read_file, read_source, render};

use crate::base::log;
use crate::base::throttle::Once;
use crate::base::time::{Time, earlier};
use crate::config::source::Source as Text;
use crate::config::{self, Config};
use crate::control::{Language, Server};
use crate::event::Event;
use crate::node::{Clocks, Node, SETTLE, Step, TURN};
use crate::preflight::advice::open_secrets;
use crate::preflight::programs;
use crate::report::history::History;
use crate::report::repeat::Repeats;
use crate::report::watch;
use crate::report::words;
use crate::sys::lone::{Lone, Refused};
use crate::sys::runtime::PRIVATE;
use crate::sys::{clock, process, runtime, schedule, signal, stream};
use children::checks::Checks;
use children::jobs::Jobs;
use haproxy::service::Service;
use network::Network;
use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::poll::PollFlags;
use nix::sys::signalfd::SignalFd;
use poll::{PollSet, Ready, Source};
use realtime::Realtime;
use requests::Requests;
use rights::Rights;
use std::fmt::Display;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use systemd::Systemd;
use upgrade::{Attempt, Handed};

/// A failure that ends the daemon: one line that names it.
#[derive(Debug)]
pub struct Fatal(pub String);

/// Names what failed.
fn fatal(what: &dyn Display, e: &dyn Display) -> Fatal {
    Fatal(format!("{what}: {e}"))
}

/// Names what a system call was to do.
fn failed(what: &str, e: Errno) -> Fatal {
    fatal(&what, &words::errno(e as i32))
}

struct Daemon {
    setup: Setup,
    node: Node,
    net: Network,
    signals: SignalFd,
    /// What was ready in the last turn.
    ready: Ready,
    service: Option<Service>,
    checks: Checks,
    jobs: Jobs,
    control: Server,
    http: http::Listener,
    requests: Requests,
    upgrade: Option<Attempt>,
    realtime: Realtime,
    repeats: Repeats,
    history: History,
    /// HAProxy's last ALERT, and when, as time since 1970 UTC.
    alert: Option<(String, Duration)>,
    /// Whether the last reload was accepted, and when the configuration that runs was read.
    last_reload: (bool, Time),
    rights: Rights,
    systemd: Systemd,
    /// The lock of the network namespace, unless another user holds its name.
    lone: Option<Lone>,
    /// A state file could not be written, and that was logged.
    unwritable: Once,
    /// The exit status, once the node is through.
    exit: Option<u8>,
}

/// Where this vipd has its files, and what it is called.
struct Setup {
    config: Rc<Config>,
    /// The configuration files and their text, to tell what another one changes.
    source: Text,
    /// The state files and HAProxy's are named after it.
    control_socket: PathBuf,
    router_id: String,
    started: Time,
}

/// Runs with a configuration, read from `source`, until it is told to stop; returns the exit status.
///
/// # Errors
///
/// What makes a start impossible, or a loop: no capability, no netlink, another vipd.
pub fn run(cfg: &Rc<Config>, source: Text) -> Result<u8, Fatal> {
    let mut handed = Handed::take();
    let rights = Rights::take(cfg, &source.files)?;
    for warning in open_secrets(&source).lines() {
        log::warn!("{warning}");
    }
    for (_, warning) in programs::warnings(cfg, &source.files) {
        log::warn!("{warning}");
    }
    runtime::keep_descriptors();
    process::adopt_orphans();
    let path = &cfg.global.control_socket;
    let dir = path.parent().unwrap_or(Path::new("/"));
    runtime::make_dir(dir, PRIVATE).map_err(|e| fatal(&dir.display(), &words::io_error(&e)))?;
    // They last as long as the process.
    let _locks = lock(path)?;
    let lone = lone(cfg)?;
    // It lasts as long as the process: nothing takes it apart.
    let daemon = Box::leak(Daemon::open(cfg, source, rights, handed.listener.take())?);
    daemon.lone = lone;
    daemon.systemd = Systemd::from_env(clock::now());
    daemon.begin(handed)?;
    daemon.systemd.ready(clock::now());
    loop {
        daemon.turn()?;
        if let Some(status) = daemon.exit {
            let _ = runtime::remove_socket(path);
            daemon.http.close();
            // What the kernel did not remove stays behind the leases, which have ended.
            if !daemon.node.holds_any() {
                daemon.remove_fence();
            }
            return Ok(status);
        }
    }
}

impl Daemon {
    /// Opens what does not depend on the interfaces. The locks are held. In a box: a copy in the frame of
    /// `run` would be there, of no use, as long as the process.
    fn open(
        cfg: &Rc<Config>,
        source: Text,
        rights: Rights,
        listener: Option<OwnedFd>,
    ) -> Result<Box<Self>, Fatal> {
        let path = &cfg.global.control_socket;
        let now = clock::now();
        let host = runtime::host_name();
        let router_id = cfg.global.router_id.clone().unwrap_or_else(|| host.clone());
        let control = listener
            .map_or_else(|| stream::listen(path), Ok)
            .map_err(|e| fatal(&path.display(), &words::io_error(&e)))?;
        Ok(Box::new(Daemon {
            net: Network::open().map_err(|e| failed("netlink", e))?,
            signals: signal::open().map_err(|e| failed("signalfd", e))?,
            ready: Ready::default(),
            checks: Checks::new(cfg)?,
            control: Server::new(control, Language::Control),
            http: http::Listener::default(),
            node: Node::new(cfg, now),
            service: cfg.haproxy.as_ref().map(|h| Service::new(h, path, logger::is_syslog(cfg.global.log))),
            jobs: Jobs::new(cfg, &router_id, host),
            requests: Requests::default(),
            upgrade: None,
            realtime: Realtime::new(cfg.global.realtime_priority),
            repeats: Repeats::default(),
            history: History::default(),
            alert: None,
            last_reload: (true, now),
            rights,
            systemd: Systemd::default(),
            lone: None,
            unwritable: Once::default(),
            exit: None,
            setup: Setup {
                config: cfg.clone(),
                source,
                control_socket: path.clone(),
                router_id,
                started: now,
            },
        }))
    }

    fn begin(&mut self, handed: Handed) -> Result<(), Fatal> {
        let how = if handed.is_upgrade() { "continues" } else { "starts" };
        log::info!("vipd {} {how} on {}", env!("CARGO_PKG_VERSION"), self.setup.router_id);
        handed.tell(&mut self.node, clock::now());
        self.node.set_wall_clock(clock::now(), clock::wall());
        let cfg = self.setup.config.clone();
        self.net.resize(self.node.links.len());
        let (was_master, named) = self.recall();
        if let Some(h) = &cfg.haproxy {
            nonlocal_bind(h);
        }
        if cfg.global.lock_memory
            && let Err(e) = schedule::lock_memory()
        {
            log::warn!("lock_memory: {} (CAP_IPC_LOCK or RLIMIT_MEMLOCK is missing)", words::errno(e as i32));
        }
        self.realtime.take();
        self.dump().map_err(|e| failed("netlink", e))?;
        self.run_effects();
        self.open_fence(&cfg, &was_master)?;
        self.remove_leftovers(&named).map_err(|e| failed("netlink", e))?;
        let adopt = |s: &mut Service| s.adopt(handed.haproxy, handed.outputs);
        for found in self.service.as_mut().map(adopt).unwrap_or_default() {
            self.node.supervise(clock::now(), found);
        }
        // Another master may have been heard meanwhile.
        let now = clock::now();
        self.read_all_adverts();
        self.node.begin(clock::now(), &was_master);
        self.settle(now);
        if let Some(client) = handed.asker {
            self.upgraded(client, &was_master);
            self.serve_requests(now);
        }
        self.http.reconfigure(now, cfg.global.http.as_ref());
        Ok(())
    }

    /// One turn: wait, read, act.
    fn turn(&mut self) -> Result<(), Fatal> {
        let last = std::mem::take(&mut self.ready);
        let ready = self.wait(last).map_err(|e| failed("ppoll", e))?;
        let now = clock::now();
        self.node.set_wall_clock(now, clock::wall());
        for step in TURN {
            if step == Step::Read {
                self.read_ready(&ready.sources, now)?;
            }
            self.run(step, now);
        }
        self.serve_requests(now);
        self.ready = ready;
        Ok(())
    }

    /// Reads what is ready, and does what else is due before the timers.
    fn read_ready(&mut self, ready: &[Source], now: Time) -> Result<(), Fatal> {
        for source in ready {
            self.read(*source)?;
        }
        self.control.expire(now);
        self.http.tick(now);
        self.tick_haproxy(now);
        if self.net.is_reread_due(now) {
            self.reread();
        }
        self.realtime.tick(now);
        self.systemd.tick(now);
        if self.net.fence.is_due(now) {
            self.replace_fence(true);
        }
        if self.node.is_takeover_due(now) {
            // This process may have stood still since ppoll returned, and the master's adverts wait.
            self.read_all_adverts();
        }
        Ok(())
    }

    /// Waits for descriptors until the nearest deadline; returns what is ready.
    fn wait(&self, last: Ready) -> nix::Result<Ready> {
        let now = clock::now();
        self.sources(now, last).wait(self.deadline(now).map(|t| t.since(now)))
    }

    /// Everything that is waited for, the most important first.
    fn sources(&self, now: Time, last: Ready) -> PollSet<'_> {
        let mut set = PollSet::new(last);
        set.add(self.signals.as_fd(), Source::Signals);
        if let Some(lone) = &self.lone {
            set.add(lone.as_fd(), Source::Lone);
        }
        self.net.poll(now, &mut set);
        if let Some(service) = &self.service {
            service.poll(&mut set);
        }
        self.checks.poll(&mut set);
        self.jobs.poll(&mut set);
        for server in std::iter::once(&self.control).chain(&self.http.server) {
            for (fd, client, write) in server.fds() {
                let source = Source::Client(server.language(), client);
                set.add_for(fd, source, if write { PollFlags::POLLOUT } else { PollFlags::POLLIN });
            }
        }
        set
    }

    /// When there is something to do even if nothing comes.
    fn deadline(&self, now: Time) -> Option<Time> {
        let all = [
            self.node.deadline(now),
            self.net.deadline(now),
            self.control.deadline(),
            self.http.deadline(),
            self.realtime.deadline(),
            self.systemd.deadline(),
            self.repeats.deadline(),
            self.upgrade.as_ref().and_then(Attempt::until),
            self.service.as_ref().and_then(Service::deadline),
        ];
        all.into_iter().fold(None, earlier)
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
            self.net.end_turn();
            self.log_events();
        }
    }

    fn log_events(&mut self) {
        let mut any = false;
        while let Some(event) = self.node.next_event() {
            any = true;
            self.note(&event);
            self.log_event(&event);
        }
        if any {
            self.systemd.changed(clock::now(), &self.node);
        }
        while let Some((level, text, more)) = self.repeats.due(clock::now()) {
            log::log!(level, "{text} (and {more} more)");
        }
    }

    fn log_event(&mut self, event: &Event) {
        self.history.note(&self.node, event, clock::wall());
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
}

/// The time of day, for lines that are compared with other machines'.
fn stamp() -> String {
    watch::stamp(clock::wall())
}

fn lock(control_socket: &Path) -> Result<(Flock<File>, Flock<File>), Fatal> {
    let refused = |what: &str, e| match e {
        runtime::LockError::Held => Fatal(format!("vipd is already running: it holds the lock of {what}")),
        runtime::LockError::Io(e) => fatal(&format!("lock of {what}"), &words::io_error(&e)),
    };
    let name = control_socket.display().to_string();
    let file = runtime::lock_file(control_socket).map_err(|e| refused(&name, e))?;
    let netns = runtime::lock_netns(control_socket).map_err(|e| refused("this network namespace", e))?;
    Ok((file, netns))
}

/// Takes the lock that other containers see, too.
fn lone(cfg: &Config) -> Result<Option<Lone>, Fatal> {
    let name = cfg.global.router_id.clone().unwrap_or_else(runtime::host_name);
    let path = cfg.global.control_socket.display();
    match Lone::take(format!("{name}, control_socket {path}")) {
        Ok(lone) => Ok(Some(lone)),
        Err(Refused::Held(pid, says)) => {
            let mut who = pid.map_or("in another container".into(), |pid| format!("process {pid}"));
            if !says.is_empty() {
                who = format!("{says}, {who}");
            }
            Err(Fatal(format!("vipd is already running in this network namespace: {who}")))
        }
        Err(Refused::Stranger(user)) => {
            let user = user.map_or("another user".into(), |uid| format!("user {uid}"));
            log::warn!(
                "the abstract socket @vipd belongs to {user}: a second vipd in another container would not be noticed"
            );
            Ok(None)
        }
        Err(Refused::Errno(e)) => Err(failed("lock of this network namespace", e)),
    }
}

fn nonlocal_bind(cfg: &config::Haproxy) {
    if !cfg.nonlocal_bind {
        return;
    }
    for name in ["net/ipv4/ip_nonlocal_bind", "net/ipv6/ip_nonlocal_bind"] {
        match runtime::sysctl(name, "1") {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                let why = words::io_error(&e);
                log::warn!(
                    "{name} is not 1 and cannot be set ({why}): HAProxy cannot bind to a VIP on a backup"
                );
            }
            _ => {}
        }
    }
}
