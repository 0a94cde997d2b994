//! Hooks, mails and the trial of a program: child processes, their arguments, environment and output.

use crate::base::exit::Exit;
use crate::base::log;
use crate::check::Failure;
use crate::config::{self, Config};
use crate::daemon::children::mailer;
use crate::daemon::children::message::Sender;
use crate::daemon::children::pipe::Pipe;
use crate::daemon::poll::{PollSet, Source};
use crate::node::Node;
use crate::notify::hook::{self, Whose};
use crate::notify::mail;
use crate::notify::notice::{Notice, Subject};
use crate::notify::outbox::{self, Outcome};
use crate::report::words;
use crate::sys::process;
use crate::sys::user::{User, spawn_as};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// Lines of output that are logged of one run of a hook.
const MAX_LINES: u32 = 20;
/// Octets that a trial may write; then the pipe is closed, and it gets a SIGPIPE.
const MAX_SAID: usize = 64 * 1024;

/// What a child is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Hook,
    Mail,
    Trial,
}

/// A child that runs.
#[derive(Debug)]
struct Child {
    kind: Kind,
    job: u64,
    pid: Pid,
    /// The child's number, which no other one ever has.
    number: u64,
    pipe: Option<Pipe>,
    output: Output,
}

/// What is done with a child's output.
#[derive(Debug)]
struct Output {
    kind: Kind,
    /// Of a hook: the beginning of each log line.
    title: String,
    lines: u32,
    /// Of a mail: the first line, which says what went wrong; of a trial: all.
    said: String,
}

/// How a child ended.
#[derive(Debug)]
pub(crate) enum Done {
    /// A hook.
    Hook(u64, Result<(), Failure>),
    /// A mail, and the child's first line.
    Mail(u64, Outcome, String),
    /// The trial of a program, and its output.
    Trial(Exit, String),
}

/// All hooks and mails that are under way.
#[derive(Debug)]
pub(crate) struct Jobs {
    children: Vec<Child>,
    /// The number of the last child.
    last: u64,
    notify: Vec<String>,
    user: Option<User>,
    mail: Option<config::Mail>,
    sender: Sender,
}

impl Jobs {
    /// None under way. `host`: the kernel's host name.
    pub(crate) fn new(cfg: &Config, router_id: &str, host: String) -> Self {
        let mut jobs = Jobs {
            children: Vec::new(),
            last: 0,
            notify: Vec::new(),
            user: None,
            mail: None,
            sender: Sender::new(router_id, host),
        };
        jobs.reconfigure(cfg, router_id);
        jobs
    }

    /// Takes another configuration. Children that run go on.
    pub(crate) fn reconfigure(&mut self, cfg: &Config, router_id: &str) {
        self.notify = cfg.global.notify.clone();
        self.user = cfg.global.notify_user.as_deref().and_then(User::find);
        self.mail = cfg.global.mail.clone();
        router_id.clone_into(&mut self.sender.router_id);
    }

    /// Carries out an action of the hooks; returns how it ended if that is known at once.
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

    /// Starts a hook. Returns whether there is one: a reload may have removed it.
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
        let mut argv = process::arguments(command);
        // As with keepalived: a command for one state is run as it stands.
        let more = [kind, name, state, &priority];
        for word in more.into_iter().filter(|_| whose != Whose::State) {
            argv.extend(CString::new(word));
        }
        let mut env = Vec::new();
        for detail in self.sender.details(node, notice) {
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

    /// Carries out an action of the outbox; returns how it ended if that is known at once.
    pub(crate) fn mail(&mut self, node: &Node, action: outbox::Action) -> Option<Done> {
        match action {
            outbox::Action::Kill { job } => {
                self.kill(Kind::Mail, job);
                None
            }
            outbox::Action::Send { job, id, notice, age, lost } => {
                let Some(cfg) = &self.mail else {
                    return Some(Done::Mail(job, Outcome::Refused, String::new()));
                };
                let mail = self.sender.mail(cfg, node, &notice, id, age, lost);
                let e = self.post(job, &mail).err()?;
                Some(Done::Mail(job, Outcome::Later, words::errno(e as i32)))
            }
        }
    }

    /// Starts the child that delivers a mail: this program, with two pipes and nothing else.
    fn post(&mut self, job: u64, mail: &mail::Job) -> nix::Result<()> {
        let text = mail.render();
        let (input, writer) = process::input_pipe()?;
        // The pipe takes the whole job at once, so vipd does not wait.
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

    /// Tries another program before an upgrade.
    pub(crate) fn try_program(&mut self, argv: &[CString], env: CString) -> nix::Result<()> {
        let (reader, writer) = process::output_pipe()?;
        let pid = process::spawn_with(argv, None, writer.as_fd(), &[env])?;
        self.add(Kind::Trial, 0, pid, reader, String::new());
        Ok(())
    }

    /// That takes too long.
    pub(crate) fn end_trial(&self) {
        self.kill(Kind::Trial, 0);
    }

    fn add(&mut self, kind: Kind, job: u64, pid: Pid, reader: OwnedFd, title: String) {
        let output = Output { kind, title, lines: 0, said: String::new() };
        self.last += 1;
        self.children.push(Child {
            kind,
            job,
            pid,
            number: self.last,
            pipe: Some(Pipe::new(reader)),
            output,
        });
    }

    fn kill(&self, kind: Kind, job: u64) {
        if let Some(child) = self.children.iter().find(|c| c.kind == kind && c.job == job) {
            // It may have exited an instant ago, or not lead its group yet.
            let _ = killpg(child.pid, Signal::SIGKILL);
            let _ = kill(child.pid, Signal::SIGKILL);
        }
    }

    /// Adds the pipes to wait for.
    pub(crate) fn poll<'a>(&'a self, set: &mut PollSet<'a>) {
        for child in &self.children {
            if let Some(pipe) = &child.pipe {
                set.add(pipe.as_fd(), Source::Job(child.number));
            }
        }
    }

    /// Takes what a child has written.
    pub(crate) fn read(&mut self, number: u64) {
        if let Some(child) = self.children.iter_mut().find(|c| c.number == number) {
            child.read();
        }
    }

    /// A child was reaped; returns how it ended if it was one of these. What a hook has started lives on:
    /// that may be its purpose.
    pub(crate) fn reaped(&mut self, pid: u32, exit: Exit) -> Option<Done> {
        let i = self.children.iter().position(|c| process::raw(c.pid) == pid)?;
        let mut child = self.children.remove(i);
        child.read();
        if let Some(pipe) = &mut child.pipe {
            pipe.flush(&mut |line: &str| child.output.take(line));
        }
        let said = std::mem::take(&mut child.output.said);
        Some(match (child.kind, exit) {
            (Kind::Trial, exit) => {
                process::kill_group_of_ours(child.pid);
                Done::Trial(exit, said)
            }
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
        if !self.pipe.as_mut().is_none_or(|p| p.read(&mut |line: &str| output.take(line)))
            || self.output.said.len() > MAX_SAID
        {
            self.pipe = None;
        }
    }
}

impl Output {
    fn take(&mut self, line: &str) {
        if self.kind == Kind::Trial {
            return self.said.extend([line, "\n"]);
        }
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
