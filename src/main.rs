//! The command line: run, check, ask the daemon.

use lexopt::prelude::*;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
#[cfg(feature = "import")]
use vipd::config::ini;
use vipd::config::{Config, schema};
use vipd::haproxy::supervisor::Exit;
#[cfg(feature = "import")]
use vipd::import;
use vipd::sys::process;
use vipd::{control, daemon, logger, post};

const USAGE: &str = "\
vipd gives a pair of HAProxy machines a floating address.

usage: vipd [-c FILE]            run in the foreground (default /etc/vipd.ini)
       vipd -t [-c FILE]         check the configuration, and haproxy's
       vipd status [-c FILE] [--json|--metrics|--watch]
                                 every virtual router, its addresses, HAProxy; --watch: every change as it comes
       vipd reload [-c FILE]     read the configuration again, and tell what that changed
       vipd resign [-c FILE] [NAME] [--for SECONDS] [--force]
                                 hand over, and do not preempt for that long (60)
       vipd import FILE          a keepalived.conf as vipd.ini, on stdout
       vipd --help | --version

exit status: 0 clean stop, 1 failure at run time, 2 usage or configuration error
vipd reload: 0 done, 1 not now, 2 errors: nothing was changed
vipd resign: 0 done, 1 no successor: still master
vipd status: 0 all master, 3 some backup, 4 any fault, 5 not running
";

const FAILURE: u8 = 1;
const USAGE_ERROR: u8 = 2;
const NOT_RUNNING: u8 = 5;

/// The one request whose answer has no end.
const WATCH: &str = "watch";

enum Task {
    Run,
    Check,
    /// What is asked of the daemon.
    Ask(String),
    /// Hidden: the child that vipd starts for a mail.
    SendMail,
    Import(PathBuf),
    Print(String),
}

fn main() -> ExitCode {
    let status = match command_line() {
        Err(e) => {
            eprintln!("vipd: {e}\n\n{USAGE}");
            USAGE_ERROR
        }
        Ok((Task::Import(file), _)) => import_file(&file),
        Ok((Task::Print(text), _)) => {
            say(text.as_bytes());
            0
        }
        Ok((Task::SendMail, _)) => post::run(),
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

/// To stdout; a reader that has gone (`vipd status | head`) is no error. Whether it is there.
fn say(text: &[u8]) -> bool {
    let mut out = std::io::stdout();
    out.write_all(text).and_then(|()| out.flush()).is_ok()
}

fn command_line() -> Result<(Task, PathBuf), lexopt::Error> {
    let mut file = PathBuf::from("/etc/vipd.ini");
    let mut task = Task::Run;
    let (mut aside, mut force, mut name) = ("60".to_owned(), "no", String::new());
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Short('c') => file = args.value()?.into(),
            Short('t') => task = Task::Check,
            Short('h') | Long("help") => return Ok((Task::Print(USAGE.into()), file)),
            Short('V') | Long("version") => {
                return Ok((Task::Print(format!("vipd {}\n", env!("CARGO_PKG_VERSION"))), file));
            }
            Long("send-mail") => return Ok((Task::SendMail, file)),
            Value(word) if word == "import" && matches!(task, Task::Run) => {
                task = Task::Import(args.value()?.into())
            }
            Value(word) if word == "status" && matches!(task, Task::Run) => task = Task::Ask(plain().into()),
            Value(word) if word == "reload" && matches!(task, Task::Run) => {
                task = Task::Ask("reload".into());
            }
            Value(word) if word == "resign" && matches!(task, Task::Run) => task = Task::Ask(String::new()),
            Long("for") if is_resign(&task) => {
                aside = args.value()?.string()?;
                if !aside.parse().is_ok_and(|s: u64| s <= control::MAX_ASIDE) {
                    return Err("--for: 0 to 86400 seconds".into());
                }
            }
            Long("force") if is_resign(&task) => force = "yes",
            Value(word) if is_resign(&task) && name.is_empty() => name = word.string()?,
            Long(how) if matches!(&task, Task::Ask(l) if l == "status" || l == "status colour") => {
                task = Task::Ask(match how {
                    "json" => "status json".into(),
                    "metrics" => "status metrics".into(),
                    "watch" => WATCH.into(),
                    _ => return Err(arg.unexpected()),
                });
            }
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
    vipd::sys::crash::announce();
    logger::install(cfg.global.log, cfg.global.log_level, cfg.global.log_facility);
    match daemon::run(cfg, file) {
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
    eprint!("{}", vipd::advice::advice(cfg, file));
    for (line, odd) in daemon::odd_hooks(cfg) {
        match line {
            0 => eprintln!("{}: warning: {odd}", file.display()),
            line => eprintln!("{}:{line}: warning: {odd}", file.display()),
        }
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
    say(format!("{}: valid\n", file.display()).as_bytes());
    0
}

#[cfg(not(feature = "import"))]
fn import_file(_: &Path) -> u8 {
    eprintln!("vipd: this one was built without `import`");
    USAGE_ERROR
}

#[cfg(feature = "import")]
fn import_file(file: &Path) -> u8 {
    let dir = file.parent().unwrap_or(Path::new(""));
    let mut include = |pattern: &str| included(dir, pattern).map_err(|e| e.to_string());
    let name = file.display().to_string();
    let done =
        text(file).map_err(|e| format!("{name}: {e}")).and_then(|t| import::import(&name, &t, &mut include));
    match done {
        Ok(ini) => {
            say(ini.as_bytes());
            0
        }
        Err(e) => {
            eprintln!("vipd: {e}");
            USAGE_ERROR
        }
    }
}

#[cfg(feature = "import")]
fn text(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(ini::MAX_SIZE).unwrap_or(u64::MAX);
    File::open(file)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(feature = "import")]
/// The files that an `include` names: `*` in the last component stands for anything.
fn included(dir: &Path, pattern: &str) -> std::io::Result<Vec<(String, String)>> {
    let path = dir.join(pattern);
    let last = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let files = match last.split_once('*') {
        None => vec![path.clone()],
        Some((head, tail)) => {
            let mut files = Vec::new();
            for entry in std::fs::read_dir(path.parent().unwrap_or(dir))? {
                let entry = entry?;
                let name = entry.file_name();
                let rest = name.to_str().and_then(|n| n.strip_prefix(head));
                if rest.is_some_and(|r| r.ends_with(tail)) {
                    let path = entry.path();
                    let at = files.partition_point(|f| *f < path);
                    files.insert(at, path);
                }
            }
            files
        }
    };
    files.into_iter().map(|f| Ok((f.display().to_string(), text(&f)?))).collect()
}

/// Colour if a terminal shows it and NO_COLOR (<https://no-color.org>) does not forbid it.
fn plain() -> &'static str {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let colour = !forbidden && std::io::stdout().is_terminal();
    if colour { "status colour" } else { "status" }
}

/// Asks the daemon. The configuration may be wrong in all but its control_socket: the status is to be had all the
/// same, and the daemon is to hear of what is wrong.
fn ask(file: &Path, line: &str) -> u8 {
    let text = daemon::read_file(file).unwrap_or_default();
    let value = |l: &[u8]| -> Option<PathBuf> {
        let value = l.trim_ascii().strip_prefix(b"control_socket")?.trim_ascii_start().strip_prefix(b"=")?;
        let ends = |w: &[u8]| w[0].is_ascii_whitespace() && matches!(w[1], b'#' | b';');
        let end = value.windows(2).position(ends).unwrap_or(value.len());
        Some(OsStr::from_bytes(value[..end].trim_ascii()).into())
    };
    let socket = text.split(|b| *b == b'\n').find_map(value);
    let socket = socket.unwrap_or_else(|| schema::CONTROL_SOCKET.into());
    let patience = match line {
        WATCH => None,
        _ if line.starts_with("status") => Some(control::PATIENCE),
        _ => Some(control::LATER),
    };
    match control::stream(&socket, line, patience, say) {
        // What is watched has ended.
        Ok(0) if patience.is_none() => NOT_RUNNING,
        Ok(status) => status,
        Err(e) => {
            eprintln!("vipd is not running: {}: {e}", socket.display());
            NOT_RUNNING
        }
    }
}
