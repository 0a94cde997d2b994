//! The command line: run, check, ask the daemon.

use lexopt::prelude::*;
use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use vipd::base::exit::Exit;
use vipd::config::diff::Texts;
#[cfg(feature = "import")]
use vipd::config::keepalived;
use vipd::config::report::{Hint, nearest};
use vipd::config::{Config, schema};
#[cfg(feature = "mail")]
use vipd::daemon::children::mailer;
use vipd::daemon::logger;
use vipd::haproxy::command;
use vipd::preflight::capabilities::VITAL;
use vipd::preflight::surroundings::{self, Host};
use vipd::preflight::{advice, fence, programs};
use vipd::report::words;
#[cfg(feature = "import")]
use vipd::sys::dir;
use vipd::sys::{capability, process};
use vipd::{control, daemon};

const USAGE: &str = "\
vipd gives a pair of HAProxy machines a floating address.

usage: vipd [-c FILE]            run in the foreground (default /etc/vipd.ini)
       vipd -t [FILE]            check the configuration, and haproxy's
       vipd status [-c FILE] [NAME | --json | --metrics | --watch | --check]
                                 who serves the addresses, every virtual router, HAProxy; NAME: only that one;
                                 --watch: every change as it comes; --check: one line, for probes
       vipd reload [-c FILE] [--dry-run]
                                 read the configuration again, and tell what that changed, or would change
       vipd upgrade [-c FILE]    go on as the program file that is there now, without moving an address
       vipd resign [-c FILE] [NAME] [--for SECONDS] [--force]
                                 hand over, and do not preempt for that long (60)
       vipd import [-i ID] FILE  a keepalived.conf as vipd.ini, on stdout; ID: whose `@ID` lines count
       vipd --help | --version

exit status: 0 clean stop, 1 failure at run time, 2 usage or configuration error
vipd reload: 0 done, 1 not now, 2 errors: nothing was changed
vipd upgrade: 0 done, 1 not now, 2 the new one is refused: nothing was changed
vipd resign: 0 done, 1 no successor: still master
vipd status: 0 all master, 3 some backup, 4 any fault or split brain
vipd status --check: 0 serving or ready to, 1 still starting, 2 fault or split brain
all of them: 5 not running, 6 no permission to ask
";

const FAILURE: u8 = 1;
const USAGE_ERROR: u8 = 2;
const NOT_RUNNING: u8 = 5;
const NOT_PERMITTED: u8 = 6;

const DEFAULT_FILE: &str = "/etc/vipd.ini";
const COMMANDS: &str = "status, reload, upgrade, resign, import, help, version";
const OPTIONS: &str = "config, json, metrics, watch, check, dry-run, for, force, help, version";

/// The one request whose answer has no end.
const WATCH: &str = "watch";

/// What is to be done.
#[derive(PartialEq)]
enum Command {
    Run,
    Check,
    Status,
    Reload,
    Upgrade,
    Resign,
    /// The file, and the node whose `@ID` lines count.
    Import(PathBuf, Option<String>),
    Print(String),
    /// Hidden: the child that vipd starts for a mail.
    #[cfg(feature = "mail")]
    SendMail,
}

/// The command line.
struct Line {
    command: Command,
    /// `-c`
    file: Option<PathBuf>,
    /// Of a virtual router or a group; empty: all.
    name: String,
    /// The form of the status.
    form: Option<&'static str>,
    no_preempt_for: String,
    force: bool,
    dry_run: bool,
}

fn main() -> ExitCode {
    let status = match command_line() {
        Err(e) => {
            eprintln!("vipd: {}\n\n{USAGE}", e.0);
            USAGE_ERROR
        }
        Ok(line) => carry_out(line),
    };
    ExitCode::from(status)
}

fn carry_out(line: Line) -> u8 {
    let file = line.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
    match &line.command {
        Command::Import(from, id) => import_file(from, id.clone()),
        Command::Print(text) => {
            say(text.as_bytes());
            0
        }
        #[cfg(feature = "mail")]
        Command::SendMail => mailer::run(),
        Command::Status | Command::Reload | Command::Upgrade | Command::Resign => {
            ask(line.file.as_deref(), &line.request())
        }
        Command::Check => load(file).map_or(USAGE_ERROR, |cfg| check(&cfg, file)),
        Command::Run => load(file).map_or(USAGE_ERROR, |cfg| run(&Rc::new(cfg), file)),
    }
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
            lexopt::Error::UnexpectedOption(o) => {
                let meant = nearest(o.trim_start_matches('-'), &[OPTIONS]).map(|o| format!("--{o}"));
                format!("invalid option '{o}'{}", Hint(meant.as_deref()))
            }
            lexopt::Error::UnexpectedValue { option: o, value } => {
                format!("unexpected argument for option '{o}': '{}'", value.display())
            }
            lexopt::Error::UnexpectedArgument(a) => {
                let meant = a.to_str().and_then(|a| nearest(a, &[COMMANDS]));
                format!("unexpected argument '{}'{}", a.display(), Hint(meant))
            }
            lexopt::Error::NonUnicodeValue(a) => format!("argument is invalid unicode: '{}'", a.display()),
            _ => "wrong argument".into(), // `parse` makes it, which is not used
        })
    }
}

fn command_line() -> Result<Line, Wrong> {
    let (name, no_preempt_for) = (String::new(), "60".to_owned());
    let mut line = Line {
        command: Command::Run,
        file: None,
        name,
        form: None,
        no_preempt_for,
        force: false,
        dry_run: false,
    };
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match (&line.command, &arg) {
            (_, Short('c') | Long("config")) => line.file = Some(args.value()?.into()),
            (_, Short('t')) => line.command = Command::Check,
            (_, Short('h') | Long("help")) => return Ok(line.print(USAGE)),
            (_, Short('V') | Long("version")) => return Ok(line.print(VERSION)),
            #[cfg(feature = "mail")]
            (_, Long("send-mail")) => line.command = Command::SendMail,
            (Command::Resign, Long("for")) => {
                line.no_preempt_for = args.value()?.string()?;
                if !line.no_preempt_for.parse().is_ok_and(|s: u64| s <= control::MAX_NO_PREEMPT) {
                    return Err(Wrong("--for: 0 to 86400 seconds".into()));
                }
            }
            (Command::Resign, Long("force")) => line.force = true,
            (Command::Reload, Long("dry-run")) => line.dry_run = true,
            (Command::Status, Long(form)) if line.form.is_none() => {
                let all = ["json", "metrics", "check", WATCH];
                line.form = all.into_iter().find(|known| known == form);
                if line.form.is_none() {
                    return Err(arg.unexpected().into());
                }
            }
            (_, Value(word)) => {
                let word = word.clone();
                line.word(word, &mut args)?;
            }
            _ => return Err(arg.unexpected().into()),
        }
    }
    if !line.name.is_empty() && !matches!(line.form, None | Some("check")) {
        return Err(Wrong("status NAME is for people: leave the option out, or NAME".into()));
    }
    Ok(line)
}

const VERSION: &str = concat!("vipd ", env!("CARGO_PKG_VERSION"), "\n");

/// `[-i ID] FILE`
fn import_arguments(args: &mut lexopt::Parser) -> Result<Command, Wrong> {
    let (mut file, mut id) = (None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Short('i') => id = Some(args.value()?.string()?),
            Value(name) if file.is_none() => file = Some(name.into()),
            arg => return Err(arg.unexpected().into()),
        }
    }
    let file = file.ok_or_else(|| Wrong("import: name a keepalived.conf".into()))?;
    Ok(Command::Import(file, id))
}

impl Line {
    fn print(self, text: &str) -> Line {
        Line { command: Command::Print(text.into()), ..self }
    }

    /// A word that is no option: the command, the file of `-t`, or a name.
    fn word(&mut self, word: OsString, args: &mut lexopt::Parser) -> Result<(), Wrong> {
        match self.command {
            Command::Run => {
                self.command = match word.to_str() {
                    Some("import") => import_arguments(args)?,
                    Some("status") => Command::Status,
                    Some("reload") => Command::Reload,
                    Some("upgrade") => Command::Upgrade,
                    Some("resign") => Command::Resign,
                    Some("help") => Command::Print(USAGE.into()),
                    Some("version") => Command::Print(VERSION.into()),
                    _ => return Err(Value(word).unexpected().into()),
                }
            }
            Command::Check if self.file.is_none() => self.file = Some(word.into()),
            Command::Status | Command::Resign if self.name.is_empty() => self.name = word.string()?,
            _ => return Err(Value(word).unexpected().into()),
        }
        Ok(())
    }

    /// What is asked of the daemon.
    fn request(&self) -> String {
        let mut text = match self.command {
            Command::Reload if self.dry_run => "reload dry-run".to_owned(),
            Command::Reload => "reload".to_owned(),
            Command::Upgrade => "upgrade".to_owned(),
            Command::Resign => {
                format!("resign {} {}", self.no_preempt_for, if self.force { "yes" } else { "no" })
            }
            _ if self.form == Some(WATCH) => WATCH.to_owned(),
            _ => format!("status {}", self.form.unwrap_or_else(|| plain())),
        };
        if !self.name.is_empty() {
            text.push(' ');
            text.push_str(&self.name);
        }
        text
    }
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
    // Before an upgrade: with `setcap`, another file has no capabilities.
    if std::env::var_os("VIPD_UPGRADE").is_some() && !capability::held().0 & VITAL != 0 {
        eprintln!("missing capability: CAP_NET_ADMIN or CAP_NET_RAW");
        return USAGE_ERROR;
    }
    let user = programs::unknown_user(cfg).map(|u| u.to_string());
    if let Some(error) = user.or_else(|| programs::wrong_control_socket(cfg)) {
        eprintln!("{}: {error}", file.display());
        return USAGE_ERROR;
    }
    eprint!("{}", advice::advice(cfg, file));
    look_around(cfg, file);
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

/// Warns of what this host does not have.
fn look_around(cfg: &Config, file: &Path) {
    let Ok(host) = Host::read() else { return };
    let text = daemon::read_file(file).unwrap_or_default();
    let texts = Texts::new(b"", &text);
    for w in surroundings::look(cfg, &host) {
        let line = texts.line("vrrp", w.name, w.key);
        eprintln!("{}:{line}: warning: {}: {}", file.display(), w.key, w.text);
    }
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
    let mut read = Vec::new();
    for file in files {
        let text = text(&file)?;
        read.push((file.display().to_string(), text));
    }
    Ok(read)
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
    if colour { "colour" } else { "plain" }
}

/// Asks the daemon. The configuration may be wrong in all but its control_socket: the status is available all
/// the same, and the daemon is to hear of what is wrong. A file that was named must exist: another daemon
/// must not answer.
fn ask(file: Option<&Path>, line: &str) -> u8 {
    let text = match (daemon::read_file(file.unwrap_or(Path::new(DEFAULT_FILE))), file) {
        (Ok(text), _) => text,
        (Err(e), Some(file)) => {
            eprintln!("vipd: {}: {}", file.display(), words::io_error(&e));
            return USAGE_ERROR;
        }
        (Err(_), None) => Vec::new(),
    };
    let socket = text.split(|b| *b == b'\n').find_map(control_socket);
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
        Err(e) => refused(&socket, &e),
    }
}

/// The value of a line `control_socket = PATH`.
fn control_socket(line: &[u8]) -> Option<PathBuf> {
    let value = line.trim_ascii().strip_prefix(b"control_socket")?.trim_ascii_start().strip_prefix(b"=")?;
    let ends = |w: &[u8]| w[0].is_ascii_whitespace() && matches!(w[1], b'#' | b';');
    let end = value.windows(2).position(ends).unwrap_or(value.len());
    Some(OsStr::from_bytes(value[..end].trim_ascii()).into())
}

/// Says why there is no answer.
fn refused(socket: &Path, e: &std::io::Error) -> u8 {
    let (name, why) = (socket.display(), words::io_error(e));
    match e.kind() {
        ErrorKind::PermissionDenied => {
            eprintln!("vipd: {name}: {why}: ask as root");
            NOT_PERMITTED
        }
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            eprintln!("vipd is not running: {name}: {why}");
            NOT_RUNNING
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            eprintln!("vipd does not answer in time: {name}");
            NOT_RUNNING
        }
        _ => {
            eprintln!("vipd does not answer: {name}: {why}");
            NOT_RUNNING
        }
    }
}
