//! `vipd upgrade`: the program file that is there now goes on in this process, with the same process number
//! and the same children. It is tried first, with `-t`. What a restarted program could not find out, this one
//! passes on in an environment variable: descriptors that stay open, the checks, HAProxy.

use super::Daemon;
use super::reload::NO_CHANGE;
use super::requests::{REFUSED, WRONG};
use crate::base::exit::Exit;
use crate::base::log;
use crate::base::text::Write;
use crate::base::time::Time;
use crate::control::Asker;
use crate::haproxy::show_info::Info;
use crate::node::Node;
use crate::report::words;
use crate::sys::{clock, process};
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// How long the trial may take: `haproxy -c` is part of it.
const TRIAL: Duration = Duration::from_secs(30);
/// How long a good moment is waited for.
const MOMENT: Duration = Duration::from_secs(60);
/// The variable. During the trial it is empty.
const VARIABLE: &str = "VIPD_UPGRADE=";

/// An upgrade that is under way.
#[derive(Debug)]
pub(super) struct Attempt {
    to: Asker,
    /// The program was tried, and a good moment is awaited.
    is_tried: bool,
    /// `None`: that was too long, and the trial was killed.
    until: Option<Time>,
}

impl Attempt {
    /// When it has taken too long.
    pub(super) fn until(&self) -> Option<Time> {
        self.until
    }
}

impl Daemon {
    /// Somebody asks for it: the program is tried.
    pub(super) fn upgrade(&mut self, to: Asker) {
        match self.try_program() {
            Ok(()) => {
                let until = Some(clock::now() + TRIAL);
                self.upgrade = Some(Attempt { to, is_tried: false, until });
            }
            Err((status, why)) => self.refuse_upgrade(to, status, String::new(), &why),
        }
    }

    fn try_program(&mut self) -> Result<(), (u8, String)> {
        if self.node.is_stopping() || self.upgrade.is_some() {
            return Err((REFUSED, "vipd is stopping, or being upgraded\n".to_owned()));
        }
        // It would do more than go on.
        let changes = self.would_change().map_err(|why| (WRONG, why))?;
        if !changes.ends_with(NO_CHANGE) {
            return Err((WRONG, changes + "`vipd reload` first\n"));
        }
        let mut argv = self.argv();
        argv.push(c"-t".to_owned());
        let started = self.jobs.try_program(&argv, c_string(VARIABLE.as_bytes()));
        started.map_err(|e| (WRONG, Self::complaint(&words::errno(e as i32))))
    }

    /// What is executed.
    fn argv(&self) -> Vec<CString> {
        let mut argv = vec![process::program().to_owned()];
        for file in self.setup.source.files.paths() {
            argv.extend([c"-c".to_owned(), c_string(file.as_os_str().as_bytes())]);
        }
        argv
    }

    fn complaint(why: &str) -> String {
        format!("{}: {why}\n", process::program().to_string_lossy())
    }

    /// `said`: what the trial has written.
    fn refuse_upgrade(&mut self, to: Asker, status: u8, said: String, why: &str) {
        log::error!("upgrade: {}", why.trim_ascii());
        self.control.reply(clock::now(), to, status, &(said + why + "nothing was changed\n"));
    }

    /// The trial has ended; `said`: all that it has written.
    pub(super) fn program_tried(&mut self, exit: Exit, said: String) {
        let Some(attempt) = &mut self.upgrade else { return };
        let why = match exit {
            _ if attempt.until.is_none() => "it takes too long".into(),
            Exit::Code(0) if said.ends_with(": valid\n") => {
                (attempt.is_tried, attempt.until) = (true, Some(clock::now() + MOMENT));
                return;
            }
            Exit::Code(0) => "this is not vipd".into(),
            exit => words::exit(exit),
        };
        let to = attempt.to;
        self.upgrade = None;
        self.refuse_upgrade(to, WRONG, said, &Self::complaint(&why));
    }

    /// At the end of each turn.
    pub(super) fn tick_upgrade(&mut self) {
        let now = clock::now();
        let Some(attempt) = &mut self.upgrade else { return };
        let to = attempt.to;
        let late = self.node.is_stopping() || attempt.until.is_some_and(|t| now >= t);
        let failed = match attempt.is_tried {
            false if late => {
                attempt.until = None;
                return self.jobs.end_trial();
            }
            true if self.node.may_upgrade(now) => self.execute(to, now),
            true if late => "not now: vipd, a hook or HAProxy is busy\n".to_owned(),
            _ => return,
        };
        self.upgrade = None;
        self.refuse_upgrade(to, REFUSED, String::new(), &failed);
    }

    /// Goes on as the other program; returns only if that is impossible, and why.
    fn execute(&mut self, to: Asker, now: Time) -> String {
        log::info!("upgrade: executing {}", process::program().to_string_lossy());
        self.systemd.reloading(now);
        let (mut text, mut kept) = (String::from(VARIABLE), Vec::new());
        self.node.hand_on(now, &mut |kind, name, number| write!(text, "{kind} {name} {number} "));
        let mut keep = |kind: &str, pid: u32, fd: BorrowedFd<'_>| {
            write!(text, "{kind} {pid} {} ", fd.as_raw_fd());
            kept.push(fd.as_raw_fd());
        };
        self.control.outlive(to, &mut |kind, fd| keep(kind, 0, fd));
        if let Some(service) = &self.service {
            service.outputs(&mut |pid, fd| keep("output", pid, fd));
        }
        let e = process::execute(&self.argv(), c_string(text.as_bytes()), &kept);
        self.systemd.ready(clock::now());
        Self::complaint(&words::errno(e as i32))
    }
}

/// There is no NUL in it.
fn c_string(text: &[u8]) -> CString {
    CString::new(text).unwrap_or_default()
}

/// What the program that ran in this process before has handed on; nothing after an ordinary start.
#[derive(Debug, Default)]
pub(super) struct Handed {
    text: String,
    pub(super) listener: Option<OwnedFd>,
    /// Who waits for the end of the upgrade.
    pub(super) asker: Option<OwnedFd>,
    /// Output of processes of HAProxy's.
    pub(super) outputs: Vec<(u32, OwnedFd)>,
    /// HAProxy, if it was ready.
    pub(super) haproxy: Option<(u32, Info)>,
}

impl Handed {
    /// Call before any descriptor is marked close-on-exec.
    pub(super) fn take() -> Self {
        Handed::parse(std::env::var(VARIABLE.trim_end_matches('=')).unwrap_or_default())
    }

    fn parse(text: String) -> Self {
        let mut all = Handed::default();
        each(&text, &mut |kind, name, number| {
            let fd = || process::inherited(i32::try_from(number).unwrap_or(-1));
            let pid = u32::try_from(number).unwrap_or(0);
            match kind {
                "listener" => all.listener = fd(),
                "asker" => all.asker = fd(),
                "output" => all.outputs.extend(name.parse().ok().zip(fd())),
                "haproxy" => all.haproxy = Some((pid, Info { version: name.to_owned(), pid })),
                "worker" => all.haproxy.iter_mut().for_each(|(_, worker)| worker.pid = pid),
                _ => {}
            }
        });
        all.text = text;
        all
    }

    /// There was a program before.
    pub(super) fn is_upgrade(&self) -> bool {
        !self.text.is_empty()
    }

    /// Tells the node what it knew.
    pub(super) fn tell(&self, node: &mut Node, now: Time) {
        if self.is_upgrade() {
            node.skip_startup_delay(now);
        }
        each(&self.text, &mut |kind, name, number| node.take_up_known(now, kind, name, number));
    }
}

/// Kind, name and number of all that was handed on, up to what is wrong.
fn each(text: &str, f: &mut dyn FnMut(&str, &str, u64)) {
    let mut words = text.split(' ');
    while let (Some(kind), Some(name), Some(number)) = (words.next(), words.next(), words.next()) {
        let Ok(number) = number.parse() else { return };
        f(kind, name, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_on_is_found() {
        let text = "haproxy 2.6.12-1 70 worker  71 check gw 1 hold VI_1 5000 listener 0 0 asker 0 99 ";
        let all = Handed::parse(text.to_owned());
        let info = Info { version: "2.6.12-1".into(), pid: 71 };
        assert_eq!(all.haproxy, Some((70, info)));
        assert!(all.is_upgrade() && all.listener.is_none() && all.asker.is_none(), "no descriptors of ours");
        let mut known = Vec::new();
        each(text, &mut |kind, name, number| known.push(format!("{kind} {name} {number}")));
        assert_eq!(known[2..4], ["check gw 1", "hold VI_1 5000"]);
    }

    #[test]
    fn nothing_that_is_written_there_does_harm() {
        for text in [
            "",
            " ",
            "asker",
            "asker  x",
            "asker  -1",
            "output x 3",
            "worker  1",
            "haproxy  99999999999999999999",
        ] {
            let all = Handed::parse(text.to_owned());
            assert!(all.asker.is_none() && all.outputs.is_empty() && all.haproxy.is_none(), "{text}");
        }
        // What this process has opened is close-on-exec, and not taken twice.
        let file = std::fs::File::open("/dev/null").unwrap_or_else(|e| panic!("{e}"));
        assert!(process::inherited(file.as_raw_fd()).is_none());
    }
}
