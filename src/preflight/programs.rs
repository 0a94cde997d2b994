//! The users and programs that a configuration names: whether they exist.

use crate::config::{CheckKind, Config};
use crate::report::words;
use crate::sys::user::User;

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
        write!(f, "[{}{space}{}]: there is no user {}", self.kind, self.section, self.name)
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

/// What `-t` and the start warn of: the line of the section (0: not known), and what is odd about its hook.
pub fn odd_hooks(cfg: &Config) -> Vec<(u32, String)> {
    let mut all = Vec::new();
    let mut look = |line, section: &str, name: &str, key: &str, argv: &Vec<String>| {
        let Some(program) = argv.first() else { return };
        let why = match nix::sys::stat::stat(program.as_str()).map(|s| s.st_mode) {
            Err(e) => words::errno(e as i32),
            Ok(mode) if mode & libc::S_IFMT != libc::S_IFREG || mode & 0o111 == 0 => "not executable".into(),
            Ok(mode) if mode & 0o022 != 0 => "others may change it".into(),
            Ok(_) => return,
        };
        all.push((line, format!("[{section}{name}] {key}: {program}: {why}")));
    };
    look(0, "global", "", "notify", &cfg.global.notify);
    for v in &cfg.vrrp {
        for (key, argv) in v.hooks() {
            look(v.line, "vrrp ", &v.name, key, argv);
        }
    }
    all
}
