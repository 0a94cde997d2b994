//! The command line: run, check, status.

use lexopt::prelude::*;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use vipd::config::{Config, schema};
use vipd::haproxy::supervisor::Exit;
use vipd::sys::process;
use vipd::{control, daemon, logger};

const USAGE: &str = "\
vipd gives a pair of HAProxy machines a floating address.

usage: vipd [-c FILE]            run in the foreground (default /etc/vipd.ini)
       vipd -t [-c FILE]         check the configuration, and haproxy's
       vipd status [-c FILE]     every virtual router, its addresses, HAProxy
       vipd reload [-c FILE]     read the configuration again, and tell what that changed
       vipd resign [-c FILE] [NAME] [--for SECONDS] [--force]
                                 hand over, and do not preempt for that long (60)
       vipd --help | --version

exit status: 0 clean stop, 1 failure at run time, 2 usage or configuration error
vipd reload: 0 done, 1 not now, 2 errors: nothing was changed
vipd resign: 0 done, 1 no successor: still master
vipd status: 0 all master, 3 some backup, 4 any fault, 5 not running
";

const FAILURE: u8 = 1;
const USAGE_ERROR: u8 = 2;
const NOT_RUNNING: u8 = 5;

enum Task {
    Run,
    Check,
    /// What is asked of the daemon.
    Ask(String),
    Print(String),
}

fn main() -> ExitCode {
    let status = match command_line() {
        Err(e) => {
            eprintln!("vipd: {e}\n\n{USAGE}");
            USAGE_ERROR
        }
        Ok((Task::Print(text), _)) => {
            say(&text);
            0
        }
        Ok((Task::Ask(line), file)) => ask(&file, &line),
        Ok((task, file)) => match load(&file) {
            None => USAGE_ERROR,
            Some(cfg) => match task {
                Task::Check => check(&cfg, &file),
                _ => run(&Rc::new(cfg), &file),
            },
        },
    };
    ExitCode::from(status)
}

/// To stdout; a reader that has gone (`vipd status | head`) is no error.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn command_line() -> Result<(Task, PathBuf), lexopt::Error> {
    let mut file = PathBuf::from("/etc/vipd.ini");
    let mut task = Task::Run;
    let (mut aside, mut force, mut name) = (60u64, "no", String::new());
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Short('c') => file = args.value()?.into(),
            Short('t') => task = Task::Check,
            Short('h') | Long("help") => return Ok((Task::Print(USAGE.into()), file)),
            Short('V') | Long("version") => {
                return Ok((Task::Print(format!("vipd {}\n", env!("CARGO_PKG_VERSION"))), file));
            }
            Value(word) if word == "status" && matches!(task, Task::Run) => {
                task = Task::Ask("status".to_owned());
            }
            Value(word) if word == "reload" && matches!(task, Task::Run) => {
                task = Task::Ask("reload".to_owned());
            }
            Value(word) if word == "resign" && matches!(task, Task::Run) => task = Task::Ask(String::new()),
            Long("for") if is_resign(&task) => {
                aside = args.value()?.parse()?;
                if aside > control::MAX_ASIDE {
                    return Err("--for: at most 86400 seconds".into());
                }
            }
            Long("force") if is_resign(&task) => force = "yes",
            Value(word) if is_resign(&task) && name.is_empty() => name = word.string()?,
            arg => return Err(arg.unexpected()),
        }
    }
    if is_resign(&task) {
        task = Task::Ask(format!("resign {aside} {force} {name}"));
    }
    Ok((task, file))
}

/// `Ask` whose line is not made up yet.
fn is_resign(task: &Task) -> bool {
    matches!(task, Task::Ask(line) if line.is_empty())
}

/// Reads the configuration; every error and warning goes to stderr as `file:line: message`.
fn load(file: &Path) -> Option<Config> {
    match daemon::read_config(file) {
        Ok((cfg, warnings)) => {
            eprint!("{warnings}");
            Some(cfg)
        }
        Err(errors) => {
            eprint!("{errors}");
            None
        }
    }
}

fn run(cfg: &Rc<Config>, file: &Path) -> u8 {
    let logger = logger::install(cfg.global.log, cfg.global.log_level, cfg.global.log_facility);
    match daemon::run(cfg, file, logger) {
        Ok(status) => status,
        Err(e) => {
            log::error!("{}", e.0);
            FAILURE
        }
    }
}

/// Also asks haproxy what it thinks of its files.
fn check(cfg: &Config, file: &Path) -> u8 {
    if let Some(error) = daemon::unknown_user(cfg) {
        eprintln!("{}: {error}", file.display());
        return USAGE_ERROR;
    }
    if let Some(h) = &cfg.haproxy {
        // Its complaints belong to ours.
        match process::spawn(&daemon::check_argv(h), std::io::stderr().as_fd()) {
            Err(e) => {
                eprintln!("{}: {}", h.binary.display(), e.desc());
                return USAGE_ERROR;
            }
            Ok(pid) if process::wait(pid) != Exit::Code(0) => {
                eprintln!("{}: haproxy refuses its configuration", file.display());
                return USAGE_ERROR;
            }
            Ok(_) => {}
        }
    }
    say(&format!("{}: valid\n", file.display()));
    0
}

/// Asks the daemon. The configuration may be wrong in all but its control_socket: the status is to be had all the
/// same, and the daemon is to hear of what is wrong.
fn ask(file: &Path, line: &str) -> u8 {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let value = |l: &str| -> Option<PathBuf> {
        let value = l.trim().strip_prefix("control_socket")?.trim_start().strip_prefix('=')?;
        value.split_ascii_whitespace().next().map(PathBuf::from)
    };
    let socket = text.lines().find_map(value).unwrap_or_else(|| schema::CONTROL_SOCKET.into());
    let patience = if line == "status" { control::PATIENCE } else { control::LATER };
    match control::ask(&socket, line, patience) {
        Ok((status, text)) => {
            say(&text);
            status
        }
        Err(e) => {
            eprintln!("vipd is not running: {}: {e}", socket.display());
            NOT_RUNNING
        }
    }
}
