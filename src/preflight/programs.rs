//! The users, programs and files that a configuration names: whether they exist, and whether others may
//! change them.

use crate::config::source::Files;
use crate::config::{CheckKind, Config, HttpAt};
use crate::report::words;
use crate::sys::user::{self, User};
use nix::sys::stat::{FileStat, stat};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A user that does not exist, and the key that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownUser<'a> {
    /// The kind of the section.
    pub kind: &'static str,
    /// Its name, if it has one.
    pub section: &'a str,
    /// The key.
    pub key: &'static str,
    name: &'a str,
}

impl std::fmt::Display for UnknownUser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let space = if self.section.is_empty() { "" } else { " " };
        write!(
            f,
            "[{}{space}{}]: there is no user {}: create it, or name another",
            self.kind, self.section, self.name
        )
    }
}

/// The first user that does not exist: `notify_user`, or `user` of a check.
pub fn unknown_user(cfg: &Config) -> Option<UnknownUser<'_>> {
    let notify = cfg.global.notify_user.as_deref();
    let notify = notify.map(|name| UnknownUser { kind: "global", section: "", key: "notify_user", name });
    let checks = cfg.checks.iter().filter_map(|c| match &c.kind {
        CheckKind::Exec { user: Some(name), .. } => {
            Some(UnknownUser { kind: "check", section: &c.name, key: "user", name })
        }
        _ => None,
    });
    notify.into_iter().chain(checks).find(|u| User::find(u.name).is_none())
}

/// Why the control socket cannot be made: its path names something else.
pub fn wrong_control_socket(cfg: &Config) -> Option<String> {
    let path = &cfg.global.control_socket;
    let is_other = std::fs::symlink_metadata(path).is_ok_and(|m| m.mode() & libc::S_IFMT != libc::S_IFSOCK);
    is_other.then(|| format!("control_socket: {} is there and is not a socket", path.display()))
}

/// What `-t`, the start and a reload warn of: programs that cannot be run, and programs and files that
/// somebody else may change. Each comes with the line of its section (0: not known). `files`: those of
/// the configuration.
pub fn warnings(cfg: &Config, files: &Files) -> Vec<(u32, String)> {
    let mut all = Vec::new();
    let mut warn = |line: u32, what: String, path: &Path, why: Option<String>| {
        all.extend(why.map(|why| (line, format!("{what}{}: {why}", path.display()))));
    };
    let notify_user = cfg.global.notify_user.as_deref().and_then(User::find);
    let mut hook = |line, section: String, key: &str, argv: &[String]| {
        if let Some(program) = argv.first().map(Path::new) {
            let why = not_a_program(program).or_else(|| exposed(program, notify_user.as_ref()));
            warn(line, format!("[{section}] {key}: "), program, why);
        }
    };
    hook(0, "global".into(), "notify", &cfg.global.notify);
    for v in &cfg.vrrp {
        for (key, argv) in v.hooks() {
            hook(v.line.0, format!("vrrp {}", v.name), key, argv);
        }
    }
    for c in &cfg.checks {
        if let CheckKind::Exec { argv, user } = &c.kind
            && let Some(program) = argv.first().map(Path::new)
        {
            let user = user.as_deref().and_then(User::find);
            warn(0, format!("[check {}] ", c.name), program, exposed(program, user.as_ref()));
        }
    }
    if let Some(h) = &cfg.haproxy {
        warn(0, "[haproxy] binary: ".into(), &h.binary, exposed(&h.binary, None));
        for path in &h.config {
            warn(0, "[haproxy] config: ".into(), path, exposed(path, None));
        }
    }
    for file in files.paths() {
        warn(0, String::new(), file, exposed(file, None));
    }
    if let Some(HttpAt::Unix { group: Some(group), .. }) = cfg.global.http.as_ref().map(|h| &h.at)
        && user::group(group).is_none()
    {
        all.push((0, format!("[global] http: there is no group {group}")));
    }
    all
}

fn not_a_program(path: &Path) -> Option<String> {
    match stat(path).map(|s| s.st_mode) {
        Err(e) => Some(words::errno(e as i32)),
        Ok(mode) if mode & libc::S_IFMT != libc::S_IFREG || mode & 0o111 == 0 => {
            Some("not executable".into())
        }
        Ok(_) => None,
    }
}

/// How somebody else than root, this user and `user`, as whom it is run, may change a file: itself, or by a
/// directory on the way to it. What is missing or no file is of no interest here.
fn exposed(path: &Path, user: Option<&User>) -> Option<String> {
    let trusted = Trusted::new(user);
    let s = stat(path).ok()?;
    let kind = s.st_mode & libc::S_IFMT;
    if kind != libc::S_IFREG && kind != libc::S_IFDIR {
        return None;
    }
    if trusted.is_writable(&s) {
        return Some("others may change it".into());
    }
    if !trusted.is_owner(&s) {
        return Some("its owner is not root, and may change it".into());
    }
    // As it is written, and where links lead to.
    let real = std::fs::canonicalize(path).unwrap_or_default();
    let mut above = path.ancestors().skip(1).chain(real.ancestors().skip(1));
    let open = above.find(|dir| stat(*dir).is_ok_and(|s| trusted.is_open_directory(&s)))?;
    Some(format!("others may write to {} and so change it", open.display()))
}

/// Who may change what vipd executes as root.
struct Trusted {
    users: [u32; 4],
}

impl Trusted {
    fn new(user: Option<&User>) -> Self {
        let own = nix::unistd::geteuid().as_raw();
        // In a user namespace, root's files outside of it seem to belong to another user: that of `/`.
        let root = stat("/").map_or(0, |s| s.st_uid);
        Trusted { users: [0, own, root, user.map_or(own, User::uid)] }
    }

    fn is_owner(&self, s: &FileStat) -> bool {
        self.users.contains(&s.st_uid)
    }

    /// Root's group is root's.
    fn is_writable(&self, s: &FileStat) -> bool {
        s.st_mode & 0o002 != 0 || s.st_mode & 0o020 != 0 && s.st_gid != 0
    }

    /// In a sticky directory such as /tmp, only the owner of an entry may replace it.
    fn is_open_directory(&self, s: &FileStat) -> bool {
        let sticky = s.st_mode & libc::S_ISVTX != 0;
        !self.is_owner(s) || self.is_writable(s) && !sticky
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::report::Report;
    use crate::config::source::Source;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::path::PathBuf;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let dir = std::env::temp_dir().join(format!("vipd-programs-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{e}"));
            let dir = Dir(dir);
            dir.mode("", 0o755);
            dir
        }

        fn mode(&self, name: &str, mode: u32) -> PathBuf {
            let path = if name.is_empty() { self.0.clone() } else { self.0.join(name) };
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, mode).unwrap_or_else(|e| panic!("{e}"));
            path
        }

        fn program(&self, name: &str, mode: u32) -> PathBuf {
            std::fs::write(self.0.join(name), "#!/bin/sh\n").unwrap_or_else(|e| panic!("{e}"));
            self.mode(name, mode)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_others_may_change_is_named() {
        let dir = Dir::new("modes");
        for (mode, word) in [(0o755, None), (0o700, None), (0o757, Some("others may change it"))] {
            let why = exposed(&dir.program("p", mode), None);
            assert_eq!(why.as_deref(), word, "{mode:o}");
        }
        let program = dir.program("p", 0o755);
        for (mode, open) in [(0o777, true), (0o1777, false), (0o755, false)] {
            dir.mode("", mode);
            let why = exposed(&program, None);
            assert_eq!(why.is_some_and(|w| w.contains("may write to")), open, "{mode:o}");
        }
        assert_eq!(exposed(Path::new("/dev/null"), None), None, "a device");
        assert_eq!(exposed(&dir.0.join("missing"), None), None);
        // A link counts where it is, and where it leads to.
        let open = Dir::new("open");
        open.mode("", 0o777);
        symlink(&program, open.0.join("link")).unwrap_or_else(|e| panic!("{e}"));
        assert!(exposed(&open.0.join("link"), None).is_some());
        let hidden = open.program("hidden", 0o755);
        symlink(&hidden, dir.0.join("link")).unwrap_or_else(|e| panic!("{e}"));
        assert!(exposed(&dir.0.join("link"), None).is_some());
        // Only root can give files away.
        if chown(&program, Some(65534), None).is_ok() {
            assert!(exposed(&program, None).is_some_and(|w| w.contains("not root")));
            let nobody = User::find("nobody").filter(|u| u.uid() == 65534);
            if nobody.is_some() {
                assert_eq!(exposed(&program, nobody.as_ref()), None, "it runs as its owner");
            }
            chown(&program, Some(0), Some(65534)).unwrap_or_else(|e| panic!("{e}"));
            assert!(exposed(&dir.mode("p", 0o775), None).is_some(), "its group is not root's");
            chown(&program, Some(0), Some(0)).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(exposed(&dir.mode("p", 0o775), None), None, "its group is root's");
        }
    }

    #[test]
    fn each_program_and_file_of_a_configuration_is_looked_at() {
        let dir = Dir::new("all");
        let open = dir.program("open", 0o777);
        let text = format!(
            "[global]\nnotify = {0}\n[haproxy]\nbinary = {0}\nconfig = {0}\n[check c]\ntype = exec\ntarget = {0}\n\
             [vrrp V]\ninterface = eth0\nvirtual_router_id = 51\nnotify = {0} x\ntrack = c\n\
             virtual_ipaddress = 10.77.0.100/24\n",
            open.display()
        );
        let cfg = crate::config::schema::parse(&text).unwrap_or_else(|e| panic!("{e:?}")).0;
        let mut source = Source::default();
        source.add(&open, text.as_bytes(), &|_| None, &mut Report::default());
        let found = warnings(&cfg, &source.files);
        let named: Vec<&str> = found.iter().filter_map(|(_, w)| w.split('/').next()).collect();
        let all = [
            "[global] notify: ",
            "[vrrp V] notify: ",
            "[check c] ",
            "[haproxy] binary: ",
            "[haproxy] config: ",
            "",
        ];
        assert_eq!(named, all);
        assert!(found.iter().all(|(_, w)| w.ends_with(": others may change it")), "{found:?}");
        assert_eq!(wrong_control_socket(&cfg), None);
        let text = text.replace("[global]\n", &format!("[global]\ncontrol_socket = {}\n", open.display()));
        let cfg = crate::config::schema::parse(&text).unwrap_or_else(|e| panic!("{e:?}")).0;
        assert!(wrong_control_socket(&cfg).is_some_and(|w| w.contains("not a socket")));
    }
}
