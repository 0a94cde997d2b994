//! The command line: run, check, status.

use lexopt::prelude::*;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vipd::config::{Config, ini, schema};
use vipd::haproxy::supervisor::Exit;
use vipd::sys::process;
use vipd::{control, daemon, import, logger};

const USAGE: &str = "\
vipd gives a pair of HAProxy machines a floating address.

usage: vipd [-c FILE]            run in the foreground (default /etc/vipd.ini)
       vipd -t [-c FILE]         check the configuration, and haproxy's
       vipd status [-c FILE]     every virtual router, its addresses, HAProxy
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
    Status,
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
            say(&text);
            0
        }
        Ok((task, file)) => match load(&file, !matches!(task, Task::Status)) {
            None => USAGE_ERROR,
            Some(cfg) => match task {
                Task::Run => run(&cfg),
                Task::Check => check(&cfg, &file),
                Task::Status => ask_status(&cfg),
                Task::Import(_) | Task::Print(_) => 0,
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
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Short('c') => file = args.value()?.into(),
            Short('t') => task = Task::Check,
            Short('h') | Long("help") => return Ok((Task::Print(USAGE.into()), file)),
            Short('V') | Long("version") => {
                return Ok((Task::Print(format!("vipd {}\n", env!("CARGO_PKG_VERSION"))), file));
            }
            Value(word) if word == "status" && matches!(task, Task::Run) => task = Task::Status,
            Value(word) if word == "import" && matches!(task, Task::Run) => {
                task = Task::Import(args.value()?.into())
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
        match d.line {
            0 => eprintln!("{}: {kind}{}", file.display(), d.message),
            line => eprintln!("{}:{line}: {kind}{}", file.display(), d.message),
        }
    }
    cfg
}

fn run(cfg: &Config) -> u8 {
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

fn import_file(file: &Path) -> u8 {
    let dir = file.parent().unwrap_or(Path::new(""));
    let mut include = |pattern: &str| included(dir, pattern).map_err(|e| e.to_string());
    let name = file.display().to_string();
    let done =
        text(file).map_err(|e| format!("{name}: {e}")).and_then(|t| import::import(&name, &t, &mut include));
    match done {
        Ok(ini) => {
            say(&ini);
            0
        }
        Err(e) => {
            eprintln!("vipd: {e}");
            USAGE_ERROR
        }
    }
}

fn text(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(ini::MAX_SIZE).unwrap_or(u64::MAX);
    File::open(file)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

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

fn ask_status(cfg: &Config) -> u8 {
    let socket = &cfg.global.control_socket;
    match control::ask(socket, "status") {
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
