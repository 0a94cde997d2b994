//! The command line: run, check, status.

use lexopt::prelude::*;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vipd::config::{Config, ini, schema};
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
       vipd import FILE          a keepalived.conf as vipd.ini, on stdout
       vipd --help | --version

exit status: 0 clean stop, 1 failure at run time, 2 usage or configuration error
vipd status: 0 all master, 3 some backup, 4 any fault, 5 not running
";

const FAILURE: u8 = 1;
const USAGE_ERROR: u8 = 2;
const NOT_RUNNING: u8 = 5;

enum Task {
    Run,
    Check,
    Status(Show),
    /// Hidden: the child that vipd starts for a mail.
    SendMail,
    Import(PathBuf),
    Print(String),
}

#[derive(Clone, Copy)]
enum Show {
    Once(&'static str),
    Watch,
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
        Ok((task, file)) => match load(&file, !matches!(task, Task::Status(_))) {
            None => USAGE_ERROR,
            Some(cfg) => match task {
                Task::Run => run(&cfg),
                Task::Check => check(&cfg, &file),
                Task::Status(show) => ask_status(&cfg, show),
                Task::SendMail | Task::Import(_) | Task::Print(_) => 0,
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
            Value(word) if word == "status" && matches!(task, Task::Run) => task = Task::Status(plain()),
            Long(how) if matches!(task, Task::Status(Show::Once("status" | "status colour"))) => {
                task = Task::Status(match how {
                    "json" => Show::Once("status json"),
                    "metrics" => Show::Once("status metrics"),
                    "watch" => Show::Watch,
                    _ => return Err(arg.unexpected()),
                });
            }
            arg => return Err(arg.unexpected()),
        }
    }
    Ok((task, file))
}

/// Reads the configuration; every error (and warning, if `warn`) goes to stderr as `file:line: message`.
fn load(file: &Path, warn: bool) -> Option<Config> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(ini::MAX_SIZE).unwrap_or(u64::MAX).saturating_add(1);
    if let Err(e) = File::open(file).and_then(|f| f.take(limit).read_to_end(&mut bytes)) {
        eprintln!("vipd: {}: {e}", file.display());
        return None;
    }
    let (cfg, kind, said) = match schema::parse_bytes(&bytes) {
        Ok((cfg, warnings)) => (Some(cfg), "warning: ", if warn { warnings } else { Vec::new() }),
        Err(errors) => (None, "", errors),
    };
    for d in said {
        diagnostic(file, d.line, kind, &d.message);
    }
    cfg
}

fn diagnostic(file: &Path, line: u32, kind: &str, message: &str) {
    match line {
        0 => eprintln!("{}: {kind}{message}", file.display()),
        line => eprintln!("{}:{line}: {kind}{message}", file.display()),
    }
}

fn run(cfg: &Config) -> u8 {
    vipd::sys::crash::announce();
    logger::install(cfg.global.log, cfg.global.log_level, cfg.global.log_facility);
    match daemon::run(cfg) {
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
        diagnostic(file, line, "warning: ", &odd);
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
fn plain() -> Show {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let colour = !forbidden && std::io::stdout().is_terminal();
    Show::Once(if colour { "status colour" } else { "status" })
}

fn ask_status(cfg: &Config, show: Show) -> u8 {
    let socket = &cfg.global.control_socket;
    let (line, patient) = match show {
        Show::Once(line) => (line, false),
        Show::Watch => ("watch", true),
    };
    match control::stream(socket, line, patient, say) {
        // What is watched has ended.
        Ok(0) if patient => NOT_RUNNING,
        Ok(status) => status,
        Err(e) => {
            eprintln!("vipd is not running: {}: {e}", socket.display());
            NOT_RUNNING
        }
    }
}
