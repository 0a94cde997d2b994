//! The command line: run, check, ask the daemon.

use lexopt::prelude::*;
use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use vipd::base::exit::Exit;
use vipd::base::packed::Packed;
use vipd::config::diff::Texts;
#[cfg(feature = "import")]
use vipd::config::keepalived;
use vipd::config::report::{Hint, Report, nearest};
use vipd::config::source::Source;
use vipd::config::{CheckKind, Config, schema, schema::seconds};
#[cfg(feature = "mail")]
use vipd::daemon::children::mailer;
use vipd::daemon::{Loaded, logger};
use vipd::haproxy::command;
use vipd::preflight::capabilities::VITAL;
use vipd::preflight::surroundings::{self, Host};
use vipd::preflight::{advice, fence, programs};
use vipd::report::words;
#[cfg(feature = "import")]
use vipd::sys::dir;
use vipd::sys::stdio::{OUTPUT, write};
use vipd::sys::{capability, process, runtime, user};
use vipd::{control, daemon, packed};

const USAGE: Packed = packed!(
    "\
vipd gives a pair of HAProxy machines a floating address.

usage: vipd [-c FILE]...         run in the foreground (default /etc/vipd.ini); a later FILE overrides
       vipd -t [FILE]...         check the configuration, and haproxy's
       vipd status [-c FILE] [NAME | --json | --metrics | --watch | --check]
                                 who serves the addresses, every virtual router, HAProxy; NAME: only that one;
                                 --watch: every change as it comes; --check: one line, for probes
       vipd reload [-c FILE] [--dry-run | --haproxy]
                                 read the configuration again, and tell what that changed, or would change;
                                 --haproxy: reload HAProxy in any case
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
"
);

const FAILURE: u8 = 1;
const USAGE_ERROR: u8 = 2;
const NOT_RUNNING: u8 = 5;
const NOT_PERMITTED: u8 = 6;

const DEFAULT_FILE: &str = "/etc/vipd.ini";
const COMMANDS: &str = "status, reload, upgrade, resign, import, help, version";
const OPTIONS: &str = "config, json, metrics, watch, check, dry-run, haproxy, for, force, help, version";

/// The one request whose answer has no end.
const WATCH: &str = "watch";

/// What is to be done.
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
    /// Hidden: the child that keeps a copy of HAProxy's configuration.
    KeepCopy,
    /// Hidden: the child that vipd starts for a mail.
    #[cfg(feature = "mail")]
    SendMail,
}

/// The command line.
struct Line {
    command: Command,
    /// `-c`, or the words after `-t`
    files: Vec<PathBuf>,
    /// Of a virtual router or a group; empty: all.
    name: String,
    /// The form of the status.
    form: Option<&'static str>,
    no_preempt_for: String,
    force: bool,
    /// Of a reload: ` dry-run` or ` haproxy`.
    how: &'static str,
}

fn main() -> ExitCode {
    let status = match command_line() {
        Err(e) => {
            eprintln!("vipd: {}\n\n{}", e.0, USAGE.text());
            USAGE_ERROR
        }
        Ok(line) => carry_out(line),
    };
    ExitCode::from(status)
}

fn carry_out(line: Line) -> u8 {
    match &line.command {
        Command::Import(from, id) => import_file(from, id.clone()),
        Command::Print(text) => {
            say(text.as_bytes());
            0
        }
        Command::KeepCopy => daemon::keep_copy(&line.files),
        #[cfg(feature = "mail")]
        Command::SendMail => mailer::run(),
        Command::Status | Command::Reload | Command::Upgrade | Command::Resign => {
            ask(&line.files, &line.request())
        }
        command => match load(&line.files) {
            None => USAGE_ERROR,
            Some(l) if matches!(command, Command::Check) => check(&l.config, &l.source),
            Some(l) => run(&l.config, l.source),
        },
    }
}

/// To stdout; a reader that has gone (`vipd status | head`) is no error. Whether it is there.
fn say(text: &[u8]) -> bool {
    write(OUTPUT, text).is_ok()
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
        files: Vec::new(),
        name,
        form: None,
        no_preempt_for,
        force: false,
        how: "",
    };
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        if let Value(word) = arg {
            line.word(word, &mut args)?;
            continue;
        }
        match (&line.command, &arg) {
            (_, Short('c') | Long("config")) => line.files.push(args.value()?.into()),
            (_, Short('t')) => line.command = Command::Check,
            (_, Short('h') | Long("help")) => return Ok(line.print(&USAGE.text())),
            (_, Short('V') | Long("version")) => return Ok(line.print(VERSION)),
            (_, Long("keep-copy")) => {
                line.command = Command::KeepCopy;
                line.files.extend(args.values()?.map(PathBuf::from));
            }
            #[cfg(feature = "mail")]
            (_, Long("send-mail")) => line.command = Command::SendMail,
            (Command::Resign, Long("for")) => {
                line.no_preempt_for = value(&mut args)?;
                if !line.no_preempt_for.parse().is_ok_and(|s: u64| s <= control::MAX_NO_PREEMPT) {
                    return Err(Wrong("--for: 0 to 86400 seconds".into()));
                }
            }
            (Command::Resign, Long("force")) => line.force = true,
            (Command::Reload, Long("dry-run")) if line.how.is_empty() => line.how = " dry-run",
            (Command::Reload, Long("haproxy")) if line.how.is_empty() => line.how = " haproxy",
            (Command::Status, Long(form)) if line.form.is_none() => {
                let all = ["json", "metrics", "check", WATCH];
                line.form = all.into_iter().find(|known| known == form);
                if line.form.is_none() {
                    return Err(arg.unexpected().into());
                }
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

/// The value of an option, as text.
fn value(args: &mut lexopt::Parser) -> Result<String, Wrong> {
    Ok(args.value()?.string()?)
}

/// `[-i ID] FILE`
fn import_arguments(args: &mut lexopt::Parser) -> Result<Command, Wrong> {
    let (mut file, mut id) = (None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Short('i') => id = Some(value(args)?),
            Value(name) if file.is_none() => file = Some(name.into()),
            arg => return Err(arg.unexpected().into()),
        }
    }
    let file = file.ok_or_else(|| Wrong("import: name a keepalived.conf".into()))?;
    Ok(Command::Import(file, id))
}

impl Line {
    fn print(mut self, text: &str) -> Line {
        self.command = Command::Print(text.into());
        self
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
                    Some("help") => Command::Print(USAGE.text()),
                    Some("version") => Command::Print(VERSION.into()),
                    _ => return Err(Value(word).unexpected().into()),
                }
            }
            Command::Check => self.files.push(word.into()),
            Command::Status | Command::Resign if self.name.is_empty() => self.name = word.string()?,
            _ => return Err(Value(word).unexpected().into()),
        }
        Ok(())
    }

    /// What is asked of the daemon.
    fn request(&self) -> String {
        let mut text = match self.command {
            Command::Reload => ["reload", self.how].concat(),
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

/// The files that were named, or the default.
fn named(files: &[PathBuf]) -> Vec<&Path> {
    let default = files.is_empty().then_some(Path::new(DEFAULT_FILE));
    files.iter().map(PathBuf::as_path).chain(default).collect()
}

/// Reads the configuration; every error and warning goes to stderr as `file:line: message`.
fn load(files: &[PathBuf]) -> Option<Box<Loaded>> {
    match daemon::read_config(&named(files)) {
        Ok(loaded) => {
            eprint!("{}", loaded.warnings);
            Some(loaded)
        }
        Err(errors) => {
            eprint!("{errors}");
            None
        }
    }
}

fn run(cfg: &Rc<Config>, source: Source) -> u8 {
    vipd::sys::crash::announce();
    logger::install(cfg.global.log, cfg.global.log_level, cfg.global.log_facility);
    match daemon::run(cfg, source) {
        Ok(status) => status,
        Err(e) => {
            log::error!("{}", e.0);
            FAILURE
        }
    }
}

/// Also asks haproxy what it thinks of its files.
fn check(cfg: &Config, source: &Source) -> u8 {
    let file = source.files.place(0);
    // Before an upgrade: with `setcap`, another file has no capabilities.
    let is_upgrade = std::env::var_os("VIPD_UPGRADE").is_some();
    if is_upgrade && !capability::held().0 & VITAL != 0 {
        eprintln!("missing capability: CAP_NET_ADMIN or CAP_NET_RAW");
        return USAGE_ERROR;
    }
    let texts = Texts::new(source, source);
    let user = programs::unknown_user(cfg).map(|u| (texts.line(u.kind, u.section, u.key), u.to_string()));
    let socket = || Some((texts.line("global", "", "control_socket"), programs::wrong_control_socket(cfg)?));
    if let Some((line, error)) = user.or_else(socket) {
        eprintln!("{}: {error}", source.files.place(line));
        return USAGE_ERROR;
    }
    eprint!("{}", advice::advice(cfg, source));
    look_around(cfg, source);
    eprint!("{}", fence::advice(cfg, &file));
    for (line, odd) in programs::warnings(cfg, &source.files) {
        eprintln!("{}: warning: {odd}", source.files.place(line));
    }
    if !is_upgrade {
        try_checks(cfg, source);
        ask_whether_reloadable(cfg, source);
    }
    if let Some(h) = &cfg.haproxy {
        // Its complaints belong to ours.
        match process::spawn(&command::check_argv(h), std::io::stderr().as_fd()) {
            Err(e) => {
                eprintln!("{}: {}", h.binary.display(), words::errno(e as i32));
                return USAGE_ERROR;
            }
            Ok(pid) if process::wait(pid) != Exit::Code(0) => {
                eprintln!("{file}: haproxy refuses its configuration");
                return USAGE_ERROR;
            }
            Ok(_) => {}
        }
    }
    say(format!("{}: valid\n", source.files).as_bytes());
    0
}

/// Runs the command of each check once. What it prints belongs to our output.
fn try_checks(cfg: &Config, source: &Source) {
    let texts = Texts::new(source, source);
    for c in &cfg.checks {
        let CheckKind::Exec { argv, user } = &c.kind else { continue };
        let started = user::start(argv, user.as_deref());
        let why = match started.map(|pid| process::wait_for(pid, c.timeout)) {
            Ok(Some(Exit::Code(0))) => continue,
            Ok(Some(exit)) => words::exit(exit),
            Ok(None) => format!("it takes longer than timeout = {}", seconds(c.timeout)),
            Err(e) => words::errno(e as i32),
        };
        let at = source.files.place(texts.line("check", &c.name, "target"));
        eprintln!("{at}: warning: [check {}] fails: {why}", c.name);
    }
}

/// If a daemon runs with these files: what a reload would refuse.
fn ask_whether_reloadable(cfg: &Config, source: &Source) {
    let mut answer = Vec::new();
    let mut collect = |text: &[u8]| {
        answer.extend_from_slice(text);
        answer.len() < 1 << 16
    };
    let socket = &cfg.global.control_socket;
    let status = control::stream(socket, "reload dry-run", Some(control::PATIENCE), &mut collect);
    // Another daemon may listen there, with other files: it names them.
    if matches!(status, Ok(2)) {
        let why = String::from_utf8_lossy(&answer);
        eprint!("{}: warning: the daemon that runs would refuse a reload:\n{why}", source.files.place(0));
    }
}

/// Warns of what this host does not have.
fn look_around(cfg: &Config, source: &Source) {
    let Ok(host) = Host::read() else { return };
    let texts = Texts::new(source, source);
    for w in surroundings::look(cfg, &host) {
        let line = texts.line("vrrp", w.name, w.key);
        eprintln!("{}: warning: {}: {}", source.files.place(line), w.key, w.text);
    }
}

#[cfg(not(feature = "import"))]
fn import_file(_: &Path, _: Option<String>) -> u8 {
    eprintln!("vipd: this vipd was built without `import`");
    USAGE_ERROR
}

#[cfg(feature = "import")]
fn import_file(file: &Path, id: Option<String>) -> u8 {
    let name = file.display().to_string();
    let done = text(file).map_err(|e| format!("{name}: {}", words::io_error(&e))).and_then(|text| {
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
    runtime::host_name().split('.').next().unwrap_or_default().to_owned()
}

/// Colour if a terminal shows it and NO_COLOR (<https://no-color.org>) does not forbid it.
fn plain() -> &'static str {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let colour = !forbidden && OUTPUT.is_terminal();
    if colour { "colour" } else { "plain" }
}

/// Asks the daemon. The configuration may be wrong in all but its control_socket: the status is available all
/// the same, and the daemon is to hear of what is wrong. A file that was named must exist, and a
/// variable in the value must be set: another daemon must not answer.
fn ask(files: &[PathBuf], line: &str) -> u8 {
    let (mut source, mut report) = (Source::default(), Report::default());
    let read = daemon::read_source(&named(files), &mut source, &mut report);
    if let Err(why) = read
        && !files.is_empty()
    {
        eprint!("{why}");
        return USAGE_ERROR;
    }
    let sections = source.sections();
    let entry = sections.iter().flat_map(|s| &s.entries).find(|e| e.key == "control_socket");
    if let Some(wrong) = report.errors.iter().find(|d| entry.is_some_and(|e| e.line == d.line)) {
        eprintln!("{}: {}", source.files.place(wrong.line), wrong.message);
        return USAGE_ERROR;
    }
    let socket = Path::new(entry.map_or(schema::CONTROL_SOCKET, |e| e.value));
    let patience = match line {
        WATCH => None,
        _ if line.starts_with("status") => Some(control::PATIENCE),
        _ => Some(control::LATER),
    };
    match control::stream(socket, line, patience, &mut say) {
        // What is watched has ended.
        Ok(0) if patience.is_none() => NOT_RUNNING,
        Ok(status) => status,
        Err(e) => {
            let status = refused(socket, &e);
            // A file of metrics is then not empty, but says so.
            if line == "status metrics" && status == NOT_RUNNING {
                say(b"# HELP vipd_up Whether vipd runs and answers.\n# TYPE vipd_up gauge\nvipd_up 0\n");
            }
            status
        }
    }
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
