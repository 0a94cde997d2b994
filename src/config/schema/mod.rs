//! From sections and keys to the typed configuration: which keys there are, their ranges and
//! defaults, and what contradicts what. Every error of a file is reported at once.

mod auth;
mod check;
mod cross;
mod group;
mod http;
mod notify;
mod peers;
mod reader;
mod track;
mod vips;
mod vrrp;

pub use super::report::Diagnostic;
pub use auth::{Files, MAX_SECRET_FILE, SecretFile, is_inline};
pub use cross::MAX_VIPS;

use super::ini::{self, Section};
use super::report::{Report, listed, nearest};
use super::source::Source;
use super::{Config, Global, Haproxy, HttpAt, LogFacility, LogLevel, LogTarget};
pub use reader::seconds;
use reader::{Keys, Reader};
use std::path::{Path, PathBuf};

/// `control_socket`, if it is not given.
pub const CONTROL_SOCKET: &str = "/run/vipd/control";
/// Longest path of the control socket in octets. `sun_path` with its NUL is 108, and HAProxy's master socket
/// is named after it and made under a longer, temporary name.
const MAX_SOCKET_PATH: usize = 80;
/// Longest path of a file in octets (PATH_MAX with its NUL is 4096).
const MAX_PATH: usize = 4095;

const GLOBAL: Keys = Keys {
    title: "[global]",
    once: "\
        router_id, log, log_level, log_facility, control_socket, startup_delay, \
        realtime_priority, lock_memory, http, notify, notify_user, notification_email_from, \
        smtp_server, smtp_connect_timeout",
    lists: "notification_email",
};

const HAPROXY: Keys = Keys {
    title: "[haproxy]",
    once: "\
        binary, args, start_timeout, restart_grace, restart_backoff_max, stop_timeout, \
        crash_limit, crash_window, check_interval, check_timeout, check_fall, \
        keep_listeners, last_good, nonlocal_bind",
    lists: "config",
};

const ALL: [&Keys; 5] = [&GLOBAL, &HAPROXY, &vrrp::KEYS, &check::KEYS, &group::KEYS];
const KINDS: &str = "global, haproxy, vrrp, check, group";

/// The kinds of sections, in the order of [`KINDS`].
enum Kind {
    Global,
    Haproxy,
    Vrrp,
    Check,
    Group,
}

impl Kind {
    fn of(word: &str) -> Option<Kind> {
        Some(match listed(KINDS).position(|kind| kind == word)? {
            0 => Kind::Global,
            1 => Kind::Haproxy,
            2 => Kind::Vrrp,
            3 => Kind::Check,
            _ => Kind::Group,
        })
    }
}

/// The header and the keys of every kind of section, for those who document them: of each two lists with
/// commas.
pub fn keys() -> impl Iterator<Item = (&'static str, [&'static str; 2])> {
    ALL.iter().map(|keys| (keys.title, [keys.once, keys.lists]))
}

/// What sections say of each other; known before any is read, because they stand in any order.
struct Names<'a> {
    /// All of them.
    sections: &'a [Section<'a>],
    /// Names of the `[vrrp NAME]`, each once, in the order of the file.
    vrrp: Vec<&'a str>,
    /// Names of the `[check NAME]`, as above.
    checks: Vec<&'a str>,
    /// Where the files of `file:PATH` come from.
    files: Files<'a>,
}

impl<'a> Names<'a> {
    /// The first section of this kind and name.
    fn first(&self, kind: &str, name: &str) -> Option<&'a Section<'a>> {
        self.sections.iter().find(|s| s.kind == kind && s.name == name)
    }
}

/// Parses a file that is already text. `Ok` has the configuration and its warnings, `Err` has every error;
/// both sorted by line.
///
/// # Errors
///
/// Anything that vipd.ini(5) does not allow: then the file must not be used.
pub fn parse(text: &str) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    parse_bytes(text.as_bytes(), &|_| Err("cannot be read here".to_owned()))
}

/// As [`parse`], from the octets of a file, without any variable. A caller need not read more than
/// [`ini::MAX_SIZE`] + 1 of them. Secrets in files of their own come through `files`.
///
/// # Errors
///
/// As [`parse`], or what is not UTF-8.
pub fn parse_bytes(bytes: &[u8], files: Files<'_>) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (mut report, mut source) = (Report::default(), Source::default());
    source.add(Path::new("vipd.ini"), bytes, &|_| None, &mut report);
    read(&source, files, report)
}

/// As [`parse`], from any number of files. `report`: what [`Source::add`] had to say of them.
///
/// # Errors
///
/// As [`parse`], or what was said already.
pub fn read(
    source: &Source,
    files: Files<'_>,
    mut report: Report,
) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let report = &mut report;
    let sections = &ini::lex(source.text(), report)[..];
    let unread: Vec<u32> = report.errors.iter().map(|d| d.line).collect();
    let (vrrp, checks) = (named(sections, "vrrp"), named(sections, "check"));
    let names = Names { sections, vrrp, checks, files };
    let mut global = read_global(&Section::default(), report);
    let (mut haproxy, mut routers) = (None, Vec::new());
    let (mut checks, mut groups) = (Vec::new(), Vec::new());
    let mut idle = true;
    for section in sections {
        let kind = Kind::of(section.kind);
        idle &= matches!(kind, Some(Kind::Global | Kind::Check | Kind::Group));
        let Some(kind) = known(section, kind, report) else { continue };
        let first = names.first(section.kind, section.name).filter(|first| first.line != section.line);
        if let Some(first) = first {
            let (title, line) = (section, report.files.line(first.last));
            report.error(
                section.line,
                format_args!("{title} appears twice: merge it with the one on line {line}"),
            );
            // What it lacks may be in the first: only its keys are checked.
            if let Some(keys) = ALL.get(kind as usize) {
                Reader::open(section, keys, &ALL, report);
            }
            continue;
        }
        match kind {
            Kind::Global => global = read_global(section, report),
            Kind::Haproxy => haproxy = Some(read_haproxy(section, report)),
            Kind::Check => checks.extend(check::read(section, &ALL, report)),
            Kind::Group => groups.push(group::read(section, &ALL, &names, report)),
            Kind::Vrrp => routers.push(vrrp::read(section, &ALL, &names, report)),
        }
    }
    // Not after a line that was wrong, or a file: that may have been the one.
    if idle && unread.is_empty() {
        report.error(0, format_args!("there is nothing to do: add a [vrrp NAME] or a [haproxy] section"));
    }
    cross::check(&routers, haproxy.as_ref(), &names, &groups, report);
    // What follows from a line that is wrong already is no news.
    report.errors.dedup_by(|next, d| next.line == d.line && unread.contains(&d.line));
    if !report.errors.is_empty() {
        return Err(std::mem::take(&mut report.errors));
    }
    notify::unused_user(sections, report);
    let vrrp = routers.iter().map(|router| router.vrrp.clone()).collect();
    let groups = groups.iter().map(|lined| lined.group.clone()).collect();
    Ok((Config { global, haproxy, vrrp, checks, groups }, std::mem::take(&mut report.warnings)))
}

/// The names of the sections of a kind, each once.
fn named<'a>(sections: &[Section<'a>], kind: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for section in sections {
        if section.kind == kind && !section.name.is_empty() && !names.contains(&section.name) {
            names.push(section.name);
        }
    }
    names
}

/// The kind of a section if it is named as it should be; reports a section that is not.
fn known(section: &Section<'_>, kind: Option<Kind>, report: &mut Report) -> Option<Kind> {
    let named = !section.name.is_empty();
    let (line, word) = (section.line, section.kind);
    let example = match kind {
        // It is reported already.
        None if word.is_empty() => return None,
        None => {
            unknown(section, report);
            return None;
        }
        Some(Kind::Global | Kind::Haproxy) if named => {
            report.error(line, format_args!("{section} takes no name: [{word}]"));
            return None;
        }
        Some(Kind::Vrrp) if !named => "VI_1",
        Some(Kind::Check) if !named => "gateway",
        Some(Kind::Group) if !named => "VG_1",
        kind => return kind,
    };
    report.error(line, format_args!("{section} has no name: e.g. [{word} {example}]"));
    None
}

fn unknown(section: &Section<'_>, report: &mut Report) {
    let Some(kind) = meant(section.kind) else {
        let kinds = "[global], [haproxy], [vrrp NAME], [check NAME] or [group NAME]";
        return report.error(section.line, format_args!("unknown section {section}: {kinds}"));
    };
    let name = match Kind::of(kind) {
        Some(Kind::Global | Kind::Haproxy) => "",
        _ if section.name.is_empty() => "NAME",
        _ => section.name,
    };
    let meant = Section { kind, name, ..Section::default() };
    report.error(section.line, format_args!("unknown section {section}: did you mean {meant}?"));
}

/// The kind of section that an unknown one was probably meant to be; keepalived's words come first.
fn meant(kind: &str) -> Option<&'static str> {
    match kind {
        "vrrp_sync_group" => Some("group"),
        "vrrp_script" | "vrrp_track_process" => Some("check"),
        _ => nearest(kind, &[KINDS]),
    }
}

fn read_global(section: &Section<'_>, report: &mut Report) -> Global {
    let mut r = Reader::open(section, &GLOBAL, &ALL, report);
    let router_id = r.entry("router_id");
    if let Some(entry) = router_id
        && entry.value.len() > 255
    {
        r.report.error(entry.line, format_args!("`router_id` is too long: at most 255 octets"));
    }
    let log = match r.choice("log", "auto, syslog, stderr") {
        Some(1) => LogTarget::Syslog,
        Some(2) => LogTarget::Stderr,
        _ => LogTarget::Auto,
    };
    let log_level = match r.choice("log_level", "error, warn, info, debug") {
        Some(0) => LogLevel::Error,
        Some(1) => LogLevel::Warn,
        Some(3) => LogLevel::Debug,
        _ => LogLevel::Info,
    };
    const FACILITIES: &str = "local0, local1, local2, local3, local4, local5, local6, local7, daemon, user";
    let log_facility = match r.choice("log_facility", FACILITIES) {
        Some(index @ 0..=7) => LogFacility::Local(u8::try_from(index).unwrap_or(0)),
        Some(9) => LogFacility::User,
        _ => LogFacility::Daemon,
    };
    if let Some(entry) = r.entry("control_socket")
        && entry.value.ends_with('/')
    {
        r.wrong(entry, format_args!("is a directory: name a socket in it, e.g. /run/vipd/control"));
    }
    let control_socket = r.path("control_socket", MAX_SOCKET_PATH, CONTROL_SOCKET);
    let http = http::http(&mut r);
    if let Some(HttpAt::Unix { path, .. }) = http.as_ref().map(|h| &h.at)
        && *path == control_socket
    {
        r.error("http", format_args!("http: this is the control socket: name another path"));
    }
    Global {
        router_id: router_id.map(|entry| entry.value.to_owned()),
        log,
        log_level,
        log_facility,
        control_socket,
        startup_delay: r.duration("startup_delay", 0, 3_600_000, 0),
        realtime_priority: u8::try_from(r.number("realtime_priority", 0, 99, 0)).unwrap_or(0),
        lock_memory: r.boolean("lock_memory", false),
        http,
        notify: notify::command(&mut r, "notify").unwrap_or_default(),
        notify_user: notify::user(&mut r, "notify_user"),
        mail: notify::mail(&mut r),
    }
}

fn read_haproxy(section: &Section<'_>, report: &mut Report) -> Haproxy {
    let mut r = Reader::open(section, &HAPROXY, &ALL, report);
    let mut config = Vec::new();
    for (line, path) in r.list("config") {
        if r.is_path(line, "config", path, MAX_PATH) {
            config.push(PathBuf::from(path));
        }
    }
    if config.is_empty() {
        config.push(PathBuf::from("/etc/haproxy/haproxy.cfg"));
    }
    let mut args = Vec::new();
    if let Some(entry) = r.entry("args") {
        match ini::split_words(entry.value) {
            Ok(words) => args = words,
            Err(wrong) => r.report.error(entry.line, format_args!("args: {wrong}")),
        }
    }
    Haproxy {
        binary: r.path("binary", MAX_PATH, "/usr/sbin/haproxy"),
        config,
        args,
        start_timeout: r.duration("start_timeout", 100, 3_600_000, 5_000),
        restart_grace: match r.entry("restart_grace") {
            Some(entry) if entry.value == "auto" => None,
            _ => r.optional_duration("restart_grace", 0, 3_600_000),
        },
        restart_backoff_max: r.duration("restart_backoff_max", 100, 3_600_000, 30_000),
        stop_timeout: r.duration("stop_timeout", 100, 3_600_000, 8_000),
        crash_limit: r.number("crash_limit", 1, 1000, 3),
        crash_window: r.duration("crash_window", 1_000, 3_600_000, 30_000),
        check_interval: r.duration("check_interval", 100, 3_600_000, 1_000),
        check_timeout: r.duration("check_timeout", 100, 60_000, 1_000),
        check_fall: r.number("check_fall", 1, 100, 3),
        keep_listeners: r.boolean("keep_listeners", true),
        last_good: Some(r.path("last_good", MAX_PATH, "")).filter(|p| p.has_root()),
        nonlocal_bind: r.boolean("nonlocal_bind", true),
    }
}
