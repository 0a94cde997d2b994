//! Hooks and mails: child processes, what they are told, and what they say.

use crate::base::exit::Exit;
use crate::base::text::Write;
use crate::check::Failure;
use crate::config::{self, Config};
use crate::daemon::children::mailer;
use crate::daemon::children::pipe::Pipe;
use crate::daemon::logger::MONTHS;
use crate::node::Node;
use crate::notify::hook::{self, Whose};
use crate::notify::mail::{self, Job};
use crate::notify::notice::Notice;
use crate::notify::notice::Reason;
use crate::notify::notice::State;
use crate::notify::notice::Subject;
use crate::notify::outbox::{self, Outcome};
use crate::preflight::programs;
use crate::report::words;
use crate::sys::clock::{self, Local};
use crate::sys::process;
use crate::sys::user::{User, spawn_as};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Lines of a hook's output that are logged, of one run.
const MAX_LINES: u32 = 20;

/// Whose child it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Hook,
    Mail,
}

/// A child.
#[derive(Debug)]
struct Child {
    kind: Kind,
    job: u64,
    pid: Pid,
    pipe: Option<Pipe>,
    output: Output,
}

/// What becomes of what it writes.
#[derive(Debug)]
struct Output {
    kind: Kind,
    /// A hook: before each line.
    title: String,
    lines: u32,
    /// A mail: what went wrong.
    said: String,
}

/// How a child ended.
#[derive(Debug)]
pub(crate) enum Done {
    /// A hook.
    Hook(u64, Result<(), Failure>),
    /// A mail, with what the child said.
    Mail(u64, Outcome, String),
}

/// All hooks and mails that are under way.
#[derive(Debug)]
pub(crate) struct Jobs {
    children: Vec<Child>,
    notify: Vec<String>,
    user: Option<User>,
    mail: Option<config::Mail>,
    router_id: String,
    host: String,
    /// Makes the numbers of mails unique: when this vipd started.
    started: u64,
}

impl Jobs {
    pub(crate) fn new(cfg: &Config, router_id: &str, mut host: String) -> Self {
        // The kernel takes anything as a name; a line feed in it would be a line of the dialogue.
        host.retain(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        let mut jobs = Jobs {
            children: Vec::new(),
            notify: Vec::new(),
            user: None,
            mail: None,
            router_id: String::new(),
            host,
            started: clock::unix(),
        };
        jobs.reconfigure(cfg, router_id);
        jobs
    }

    /// Another configuration; what runs goes on.
    pub(crate) fn reconfigure(&mut self, cfg: &Config, router_id: &str) {
        for (_, odd) in programs::odd_hooks(cfg) {
            log::warn!("{odd}");
        }
        self.notify = cfg.global.notify.clone();
        self.user = cfg.global.notify_user.as_deref().and_then(User::find);
        self.mail = cfg.global.mail.clone();
        self.router_id = router_id.to_owned();
    }

    /// Carries an action of the hooks out; returns how it ended if that is known at once.
    pub(crate) fn hook(&mut self, node: &Node, action: hook::Action) -> Option<Done> {
        match action {
            hook::Action::Kill { job } => {
                self.kill(Kind::Hook, job);
                None
            }
            hook::Action::Start { job, notice, whose } => match self.start_hook(node, job, &notice, whose) {
                Ok(true) => None,
                Ok(false) => Some(Done::Hook(job, Ok(()))),
                Err(e) => Some(Done::Hook(job, Err(Failure::Errno(e as i32)))),
            },
        }
    }

    /// Whether there is one: a reload may have taken it away.
    fn start_hook(&mut self, node: &Node, job: u64, notice: &Notice, whose: Whose) -> nix::Result<bool> {
        let (kind, name) = match &notice.subject {
            Subject::Router(name) => ("INSTANCE", name.as_str()),
            Subject::Group(name) => ("GROUP", name.as_str()),
            Subject::Haproxy => return Err(Errno::EINVAL),
        };
        let own = || node.routers.iter().find(|i| i.cfg.name == name).map(|i| &i.cfg);
        let command = match whose {
            Whose::State => own().map(|cfg| notice.state.hook(&cfg.state_hooks)),
            Whose::Own => own().map(|cfg| &cfg.notify),
            Whose::Global => Some(&self.notify),
        };
        let Some(command) = command.filter(|c| !c.is_empty()) else { return Ok(false) };
        let (state, priority) = (notice.state.name(), notice.priority.to_string());
        // The configuration holds no NUL, so nothing is lost here.
        let mut argv = Vec::new();
        for word in command {
            argv.extend(CString::new(word.as_str()));
        }
        // As with keepalived: a command for one state is run as it stands.
        let more = [kind, name, state, &priority];
        for word in more.into_iter().filter(|_| whose != Whose::State) {
            argv.extend(CString::new(word));
        }
        let mut env = Vec::new();
        for detail in details(node, notice, &self.router_id) {
            env.extend(CString::new(format!("VIPD_{detail}")));
        }
        let (reader, writer) = process::output_pipe()?;
        let pid = match &self.user {
            None => process::spawn_with(&argv, None, writer.as_fd(), &env)?,
            Some(user) => spawn_as(&argv, writer.as_fd(), user, &env)?,
        };
        self.add(Kind::Hook, job, pid, reader, format!("notify {name} {state}"));
        Ok(true)
    }

    /// Carries an action of the outbox out; returns how it ended if that is known at once.
    pub(crate) fn mail(&mut self, node: &Node, action: outbox::Action) -> Option<Done> {
        match action {
            outbox::Action::Kill { job } => {
                self.kill(Kind::Mail, job);
                None
            }
            outbox::Action::Send { job, id, notice, age, lost } => {
                let Some(mail) = self.write(node, &notice, id, age, lost) else {
                    return Some(Done::Mail(job, Outcome::Refused, String::new()));
                };
                let e = self.post(job, &mail).err()?;
                Some(Done::Mail(job, Outcome::Later, words::errno(e as i32)))
            }
        }
    }

    /// The mail about a state change.
    fn write(&self, node: &Node, notice: &Notice, id: u64, age: Duration, lost: u32) -> Option<Job> {
        let cfg = self.mail.as_ref()?;
        let host = if self.host.is_empty() { "localhost" } else { &self.host };
        let mut job = Job {
            server: cfg.server.clone(),
            port: cfg.port,
            timeout: cfg.connect_timeout,
            // One that is not fully qualified is refused by many servers.
            helo: if self.host.contains('.') { self.host.clone() } else { String::new() },
            from: cfg.from.clone().unwrap_or_else(|| format!("vipd@{host}")),
            to: cfg.to.clone(),
            message: String::new(),
        };
        let state = notice.state.name();
        let subject = match &notice.subject {
            Subject::Router(name) => format!("VRRP Instance {name} - Entering {state} state"),
            Subject::Group(name) => format!("VRRP Group {name} - Entering {state} state"),
            Subject::Haproxy => "HAProxy - Entering FAULT state".into(),
        };
        let subject = format!("[{}] {subject}", self.router_id);
        let mut body = match (&notice.subject, notice.state) {
            (Subject::Router(_), State::Master) => "=> VRRP Instance is now owning VRRP VIPs <=".into(),
            (Subject::Router(_), _) => "=> VRRP Instance is no longer owning VRRP VIPs <=".into(),
            (Subject::Group(_), _) => format!("=> All VRRP group instances are now in {state} state <="),
            (Subject::Haproxy, _) => "=> HAProxy dies again and again <=".into(),
        };
        body.push_str("\n\n");
        for detail in details(node, notice, &self.router_id) {
            let (key, value) = detail.split_once('=').unwrap_or_default();
            writeln!(body, "{}: {value}", key.to_ascii_lowercase());
        }
        if lost > 0 {
            writeln!(body, "\n{lost} mails before this one were left out: there were too many.");
        }
        let date = date(&clock::local(clock::unix().saturating_sub(age.as_secs())));
        let domain = job.from.rsplit_once('@').map_or(host, |(_, domain)| domain);
        let id = format!("<{}.{}.{id}@{domain}>", self.started, std::process::id());
        job.message = mail::compose(&job, &subject, &date, &id, &body);
        Some(job)
    }

    /// Starts the child that delivers a mail: this program once more, which inherits nothing but two pipes.
    fn post(&mut self, job: u64, mail: &Job) -> nix::Result<()> {
        let text = mail.render();
        let (input, writer) = process::input_pipe()?;
        // All at once, or vipd would have to wait for it.
        if text.len() > mailer::MAX_JOB || nix::unistd::write(&writer, text.as_bytes())? != text.len() {
            return Err(Errno::EMSGSIZE);
        }
        drop(writer);
        let (reader, output) = process::output_pipe()?;
        let argv = [c"/proc/self/exe".to_owned(), c"--send-mail".to_owned()];
        let pid = process::spawn_with(&argv, Some(input.as_fd()), output.as_fd(), &[])?;
        self.add(Kind::Mail, job, pid, reader, String::new());
        Ok(())
    }

    fn add(&mut self, kind: Kind, job: u64, pid: Pid, reader: OwnedFd, title: String) {
        let output = Output { kind, title, lines: 0, said: String::new() };
        self.children.push(Child { kind, job, pid, pipe: Some(Pipe::new(reader)), output });
    }

    fn kill(&self, kind: Kind, job: u64) {
        if let Some(child) = self.children.iter().find(|c| c.kind == kind && c.job == job) {
            // It may have exited an instant ago, or not lead its group yet.
            let _ = killpg(child.pid, Signal::SIGKILL);
            let _ = kill(child.pid, Signal::SIGKILL);
        }
    }

    /// The pipes to wait on.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.children.iter().filter_map(|c| c.pipe.as_ref()).map(Pipe::as_fd)
    }

    /// Takes what they wrote.
    pub(crate) fn read(&mut self) {
        self.children.iter_mut().for_each(Child::read);
    }

    /// A child was reaped; if it was one of these, how it ended. What a hook leaves behind in its process group lives
    /// on: to start something is what it may be for.
    pub(crate) fn reaped(&mut self, pid: u32, exit: Exit) -> Option<Done> {
        let i = self.children.iter().position(|c| process::raw(c.pid) == pid)?;
        let mut child = self.children.remove(i);
        child.read();
        if let Some(pipe) = &mut child.pipe {
            pipe.flush(&mut |line: &str| child.output.take(line));
        }
        let said = std::mem::take(&mut child.output.said);
        Some(match (child.kind, exit) {
            (Kind::Hook, Exit::Code(0)) => Done::Hook(child.job, Ok(())),
            (Kind::Hook, exit) => Done::Hook(child.job, Err(Failure::Exit(exit))),
            (Kind::Mail, Exit::Code(0)) => Done::Mail(child.job, Outcome::Sent, said),
            (Kind::Mail, Exit::Code(code)) if code != i32::from(mailer::LATER) => {
                Done::Mail(child.job, Outcome::Refused, said)
            }
            (Kind::Mail, Exit::Code(_)) => Done::Mail(child.job, Outcome::Later, said),
            (Kind::Mail, exit) => Done::Mail(child.job, Outcome::Later, words::exit(exit)),
        })
    }
}

impl Child {
    fn read(&mut self) {
        let output = &mut self.output;
        if !self.pipe.as_mut().is_none_or(|p| p.read(&mut |line: &str| output.take(line))) {
            self.pipe = None;
        }
    }
}

impl Output {
    fn take(&mut self, line: &str) {
        if self.kind == Kind::Mail {
            if self.said.is_empty() {
                line.clone_into(&mut self.said);
            }
            return;
        }
        self.lines = self.lines.saturating_add(1);
        match self.lines {
            0..=MAX_LINES => log::info!("{}: {line}", self.title),
            n if n == MAX_LINES + 1 => log::info!("{}: and more, which is not shown", self.title),
            _ => {}
        }
    }
}

/// What hooks find in their environment behind `VIPD_`, and mails in their body in lower case: `KEY=value`.
fn details(node: &Node, notice: &Notice, router_id: &str) -> Vec<String> {
    let mut all = vec![format!("ROUTER_ID={router_id}")];
    match notice.reason {
        Reason::None => {}
        Reason::Why(why) => all.push(format!("REASON={}", words::why(why))),
        Reason::Faults(faults) => all.push(format!("REASON={}", words::faults(faults))),
        Reason::Deaths(n, window) => {
            all.push(format!("REASON=died {n} times within {} s", window.as_secs()));
        }
    }
    let mut list = String::new();
    match &notice.subject {
        Subject::Router(name) => {
            let Some(router) = node.routers.iter().find(|i| i.cfg.name == *name) else { return all };
            let cfg = &router.cfg;
            all.push(format!("PRIORITY={}", notice.priority));
            all.push(format!("INTERFACE={}", cfg.interface));
            all.push(format!("VRID={}", cfg.vrid));
            for vip in cfg.held() {
                write!(list, " {}", vip.addr);
            }
            all.push(format!("VIPS={}", list.trim_start()));
        }
        Subject::Group(name) => {
            let Some(group) = node.groups.iter().find(|g| g.name == *name) else { return all };
            for router in group.members.iter().filter_map(|i| node.routers.get(*i)) {
                list += " ";
                list += &router.cfg.name;
            }
            all.push(format!("MEMBERS={}", list.trim_start()));
        }
        Subject::Haproxy => {}
    }
    all
}

/// `Sun, 22 Nov 2026 13:43:35 +0100` (RFC 5322 §3.3)
fn date(t: &Local) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let name = |names: &[&'static str], i: i32| usize::try_from(i).ok().and_then(|i| names.get(i).copied());
    let (day, month) = (name(&DAYS, t.weekday).unwrap_or(""), name(&MONTHS, t.month).unwrap_or(""));
    let (h, m, s) = t.time;
    let (sign, offset) = (if t.offset < 0 { '-' } else { '+' }, t.offset.unsigned_abs());
    format!(
        "{day}, {} {month} {} {h:02}:{m:02}:{s:02} {sign}{:02}{:02}",
        t.day,
        t.year + 1900,
        offset / 60,
        offset % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let t = Local { year: 126, month: 10, day: 2, weekday: 1, time: (3, 4, 5), offset: -210 };
        assert_eq!(date(&t), "Mon, 2 Nov 2026 03:04:05 -0330");
        assert_eq!(date(&Local { offset: 120, ..t }), "Mon, 2 Nov 2026 03:04:05 +0200");
    }
}
