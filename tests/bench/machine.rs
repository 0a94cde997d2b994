//! What the figures were measured on, and how late that machine itself was meanwhile.

use super::figures::quoted;
use super::lab::{Jitter, haproxy_path, keepalived_path, vipd_path};
use std::process::Command;
use std::time::{Duration, Instant};

/// Versions, kernel and processors.
pub fn about() -> Vec<(&'static str, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let vipd = vipd_path().map(|p| p.display().to_string()).unwrap_or_default();
    vec![
        ("vipd", first_line(&vipd, &["--version"])),
        ("keepalived", first_line(&keepalived_path(), &["--version"])),
        ("haproxy", first_line(&haproxy_path(), &["-v"])),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("processors", format!("{cpus} × {}", model.trim_start_matches([' ', '\t', ':']))),
        ("load before", read("/proc/loadavg")),
    ]
}

/// keepalived says it on its standard error.
fn first_line(program: &str, args: &[&str]) -> String {
    let Ok(out) = Command::new(program).args(args).output() else { return "not there".to_owned() };
    let text = [out.stdout, out.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}

/// How late an idle thread was, as long as this lives.
pub struct Lateness {
    jitter: Jitter,
    since: Instant,
}

impl Lateness {
    pub fn start() -> Lateness {
        Lateness { jitter: Jitter::start(), since: Instant::now() }
    }

    /// The worst since the start.
    pub fn worst(&self) -> Duration {
        self.jitter.worst(self.since, Instant::now())
    }
}

/// All of it as the members of a JSON object.
pub fn json(about: &[(&str, String)]) -> String {
    let members = about.iter().map(|(name, value)| format!("    {}: {}", quoted(name), quoted(value)));
    members.collect::<Vec<_>>().join(",\n")
}
