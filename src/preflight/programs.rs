//! The users and programs that a configuration names: whether they exist.

use crate::config::{CheckKind, Config};
use crate::report::words;
use crate::sys::user::User;

/// The first user that does not exist: `notify_user`, or `user` of a check.
pub fn unknown_user(cfg: &Config) -> Option<String> {
    let notify = cfg.global.notify_user.as_ref().filter(|name| User::find(name).is_none());
    notify.map(|name| format!("[global]: there is no user {name}")).or_else(|| unknown_in_checks(cfg))
}

fn unknown_in_checks(cfg: &Config) -> Option<String> {
    cfg.checks.iter().find_map(|c| match &c.kind {
        CheckKind::Exec { user: Some(name), .. } if User::find(name).is_none() => {
            Some(format!("[check {}]: there is no user {name}", c.name))
        }
        _ => None,
    })
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
