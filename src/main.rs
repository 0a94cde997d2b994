//! The command line: run, check, ask the daemon.

use lexopt::prelude::*;
use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use vipd::base::exit::Exit;
#[cfg(feature = "import")]
use vipd::config::keepalived;
use vipd::config::{Config, schema};
use vipd::daemon::children::mailer;
use vipd::daemon::logger;
use vipd::haproxy::command;
use vipd::preflight::{advice, fence, programs};
use vipd::report::words;
#[cfg(feature = "import")]
use vipd::sys::dir;
use vipd::sys::process;
use vipd::{control, daemon};

const USAGE: &str = "\
vipd gives a pair of HAProxy machines a floating address.

usage: vipd [-c FILE]            run in the foreground (default /etc/vipd.ini)
       vipd -t [-c FILE]         check the configuration, and haproxy's
       vipd status [-c FILE] [--json|--metrics|--watch]
                                 every virtual router, its addresses, HAProxy; --watch: every change as it comes
       vipd reload [-c FILE]     read the configuration again, and tell what that changed
       vipd resign [-c FILE] [NAME] [--for SECONDS] [--force]
                                 hand over, and do not preempt for that long (60)
       vipd import [-i ID] FILE  a keepalived.conf as vipd.ini, on stdout; ID: whose `@ID` lines count
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
    /// The file, and the node whose `@ID` lines count.
    Import(PathBuf, Option<String>),
    Print(String),
}

fn main() -> ExitCode {
    let status = match command_line() {
        Err(e) => {
            eprintln!("vipd: {}\n\n{USAGE}", e.0);
            USAGE_ERROR
        }
        Ok((Task::Import(file, id), _)) => import_file(&file, id),
        Ok((Task::Print(text), _)) => {
            say(text.as_bytes());
            0
        }
        Ok((Task::SendMail, _)) => mailer::run(),
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

/// What is wrong with the command line.
struct Wrong(String);

/// Not by the error's own `Display`: with it comes `{:?}` of an `OsString`, 1 KB.
impl From<lexopt::Error> for Wrong {
    fn from(e: lexopt::Error) -> Self {
        Wrong(match e {
            lexopt::Error::MissingValue { option: None } => "missing argument".into(),
            lexopt::Error::MissingValue { option: Some(o) } => format!("missing argument for option '{o}'"),
            lexopt::Error::UnexpectedOption(o) => format!("invalid option '{o}'"),
            lexopt::Error::UnexpectedValue { option: o, value } => {
                format!("unexpected argument for option '{o}': '{}'", value.display())
            }
            lexopt::Error::UnexpectedArgument(a) => format!("unexpected argument '{}'", a.display()),
            lexopt::Error::NonUnicodeValue(a) => format!("argument is invalid unicode: '{}'", a.display()),
            _ => "wrong argument".into(), // `parse` makes it, which is not used
        })
    }
}

fn command_line() -> Result<(Task, PathBuf), Wrong> {
    let mut file = PathBuf::from("/etc/vipd.ini");
    let mut task = Task::Run;
    let (mut no_preempt_for, mut force, mut name) = ("60".to_owned(), "no", String::new());
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Short('c') => file = args.value()?.into(),
            Short('t') => task = Task::Check,
            Short('h') | Long("help") => return Ok((Task::Print(USAGE.into()), file)),
            Short('V') | Long("version") => {
                let text = concat!("vipd ", env!("CARGO_PKG_VERSION"), "\n");
                return Ok((Task::Print(text.into()), file));
            }
            Long("send-mail") => return Ok((Task::SendMail, file)),
            Long("for") if is_resign(&task) => {
                no_preempt_for = args.value()?.string()?;
                if !no_preempt_for.parse().is_ok_and(|s: u64| s <= control::MAX_NO_PREEMPT) {
                    return Err(Wrong("--for: 0 to 86400 seconds".into()));
                }
            }
            Long("force") if is_resign(&task) => force = "yes",
            Long(how) if matches!(&task, Task::Ask(l) if l == "status" || l == "status colour") => {
                let line = match how {
                    "json" => "status json",
                    "metrics" => "status metrics",
                    "watch" => WATCH,
                    _ => return Err(arg.unexpected().into()),
                };
                task = Task::Ask(line.into());
            }
            Value(word) if is_resign(&task) && name.is_empty() => name = word.string()?,
            Value(word) if matches!(task, Task::Run) => {
                task = match word.to_str() {
                    Some("import") => import_arguments(&mut args)?,
                    Some("status") => Task::Ask(plain().into()),
                    Some("reload") => Task::Ask("reload".into()),
                    Some("resign") => Task::Ask(String::new()),
                    _ => return Err(Value(word).unexpected().into()),
                };
            }
            arg => return Err(arg.unexpected().into()),
        }
    }
    if is_resign(&task) {
        task = Task::Ask(format!("resign {no_preempt_for} {force} {name}"));
    }
    Ok((task, file))
}

/// `[-i ID] FILE`
fn import_arguments(args: &mut lexopt::Parser) -> Result<Task, Wrong> {
    let (mut file, mut id) = (None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Short('i') => id = Some(args.value()?.string()?),
            Value(name) if file.is_none() => file = Some(name.into()),
            arg => return Err(arg.unexpected().into()),
        }
    }
    let file = file.ok_or_else(|| Wrong("import: name a keepalived.conf".into()))?;
    Ok(Task::Import(file, id))
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
    if let Some(error) = programs::unknown_user(cfg).or_else(|| programs::wrong_control_socket(cfg)) {
        eprintln!("{}: {error}", file.display());
        return USAGE_ERROR;
    }
    eprint!("{}", advice::advice(cfg, file));
    eprint!("{}", fence::advice(cfg, file));
    for (line, odd) in programs::warnings(cfg, file) {
        match line {
            0 => eprintln!("{}: warning: {odd}", file.display()),
            line => eprintln!("{}:{line}: warning: {odd}", file.display()),
        }
    }
    if let Some(h) = &cfg.haproxy {
        // Its complaints belong to ours.
        match process::spawn(&command::check_argv(h), std::io::stderr().as_fd()) {
            Err(e) => {
                eprintln!("{}: {}", h.binary.display(), words::errno(e as i32));
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
fn import_file(_: &Path, _: Option<String>) -> u8 {
    eprintln!("vipd: this one was built without `import`");
    USAGE_ERROR
}

#[cfg(feature = "import")]
fn import_file(file: &Path, id: Option<String>) -> u8 {
    let name = file.display().to_string();
    let done = text(file).map_err(|e| format!("{name}: {e}")).and_then(|text| {
        let id_given = id.is_some();
        keepalived::import(
            &name,
            &text,
            &mut keepalived::Outside {
                include: &mut |pattern| {
                    included(pattern).map_err(|e| words::errno(e.raw_os_error().unwrap_or(0)))
                },
                program: &in_path,
                id: id.unwrap_or_else(short_host_name),
                id_given,
            },
        )
    });
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

/// What is not UTF-8 becomes U+FFFD, which no value may hold; in a comment it does not matter.
#[cfg(feature = "import")]
fn text(file: &Path) -> std::io::Result<String> {
    Ok(String::from_utf8_lossy(&daemon::read_file(file)?).into_owned())
}

/// The files that an `include` names: `*` in the last component stands for anything.
#[cfg(feature = "import")]
fn included(pattern: &str) -> std::io::Result<Vec<(String, String)>> {
    let path = Path::new(pattern);
    let last = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let files = match last.split_once('*') {
        None => vec![path.to_owned()],
        Some((head, tail)) => {
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            dir::files(parent, head, tail)?
        }
    };
    files.into_iter().map(|f| Ok((f.display().to_string(), text(&f)?))).collect()
}

/// An executable file of that name in one of PATH's directories.
#[cfg(feature = "import")]
fn in_path(name: &str) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH")?;
    let mut files = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name));
    let runs = |f: &PathBuf| f.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    files.find(runs)?.to_str().map(str::to_owned)
}

/// keepalived's default for `-i`: the host name up to the first dot.
#[cfg(feature = "import")]
fn short_host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim_ascii().split('.').next().unwrap_or_default().to_owned()
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
