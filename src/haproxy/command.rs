//! HAProxy's command lines: the one that runs it and the one that checks its configuration.

use crate::base::hash;
use crate::config;
use std::ffi::CString;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where in `run` master mode is asked for: `-W -S SOCKET`.
const MASTER_MODE: Range<usize> = 1..4;

/// The command lines of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// Runs it in master mode.
    pub run: Vec<CString>,
    /// Where in `run` the configuration files are.
    files: Range<usize>,
    /// Where the last good copy of the configuration is kept.
    pub copy: PathBuf,
    /// Checks its configuration.
    pub check: Vec<CString>,
    /// The configuration files and directories.
    pub config: Vec<PathBuf>,
    /// It reads nothing but these.
    pub is_all: bool,
}

impl Command {
    /// `ours`: a configuration file of vipd's own, read before the others.
    pub fn new(cfg: &config::Haproxy, master_socket: &Path, ours: Option<&Path>, copy: PathBuf) -> Self {
        let run = run_argv(cfg, master_socket, ours);
        let args = run.len() - cfg.args.len();
        Command {
            run,
            files: args - 2 * cfg.config.len()..args,
            copy,
            check: check_argv(cfg),
            config: cfg.config.clone(),
            is_all: !cfg.args.iter().any(|a| a.starts_with("-f") || a == "--"),
        }
    }

    /// `run`, without master mode if `bare`; `copy`: with the copy in place of the files.
    pub fn run(&self, bare: bool, copy: bool) -> Vec<CString> {
        let mut argv = self.run.clone();
        if copy {
            let path = CString::new(self.copy.as_os_str().as_bytes()).unwrap_or_default();
            argv.splice(self.files.clone(), [c"-f".to_owned(), path]);
        }
        if bare {
            argv.drain(MASTER_MODE);
        }
        argv
    }
}

/// Recognises a command line.
pub fn fingerprint(argv: &[CString]) -> String {
    let bytes: Vec<u8> = argv.iter().flat_map(|a| a.to_bytes_with_nul()).copied().collect();
    format!("{:016x}", hash::fnv1a(&bytes))
}

/// `-W`: a master that outlives its worker's reloads; `-S`: its socket, for vipd alone; `-db` overrides a
/// `daemon` in the configuration, which would take HAProxy out of vipd's hands.
fn run_argv(cfg: &config::Haproxy, master_socket: &Path, ours: Option<&Path>) -> Vec<CString> {
    let mut socket = master_socket.as_os_str().as_bytes().to_vec();
    socket.extend_from_slice(b",mode,600");
    let mut options: Vec<&[u8]> = vec![b"-W", b"-S", &socket, b"-db"];
    if let Some(file) = ours {
        options.extend([b"-f", file.as_os_str().as_bytes()]);
    }
    words(cfg, &options)
}

/// The command line that only checks the configuration.
pub fn check_argv(cfg: &config::Haproxy) -> Vec<CString> {
    words(cfg, &[b"-c"])
}

/// The configuration holds no NUL, so nothing is lost here.
fn words(cfg: &config::Haproxy, options: &[&[u8]]) -> Vec<CString> {
    let mut words = vec![cfg.binary.as_os_str().as_bytes()];
    words.extend(options);
    for file in &cfg.config {
        words.extend([b"-f", file.as_os_str().as_bytes()]);
    }
    words.extend(cfg.args.iter().map(|a| a.as_bytes()));
    words.into_iter().filter_map(|w| CString::new(w).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema;

    #[test]
    fn the_command_lines_of_a_configuration() {
        let text = "[haproxy]\nbinary = /h\nconfig = /a.cfg, /d\nargs = -n 7\n";
        let cfg = schema::parse(text).ok().and_then(|(c, _)| c.haproxy).unwrap_or_else(|| panic!());
        let command = Command::new(&cfg, Path::new("/run/m"), Some(Path::new("/run/c")), "/good".into());
        let line = |argv: &[CString]| {
            let words: Vec<&str> = argv.iter().map(|w| w.to_str().unwrap_or("?")).collect();
            words.join(" ")
        };
        assert_eq!(
            line(&command.run(false, false)),
            "/h -W -S /run/m,mode,600 -db -f /run/c -f /a.cfg -f /d -n 7",
            "ours is read first"
        );
        assert_eq!(line(&command.run(true, false)), "/h -db -f /run/c -f /a.cfg -f /d -n 7");
        assert_eq!(line(&command.run(true, true)), "/h -db -f /run/c -f /good -n 7");
        assert_eq!(line(&command.check), "/h -c -f /a.cfg -f /d -n 7");
        assert_ne!(fingerprint(&command.run(true, false)), fingerprint(&command.run(false, false)));
        let split = [c"a".to_owned(), c"b".to_owned()];
        assert_ne!(fingerprint(&split), fingerprint(&[c"ab".to_owned()]));
    }
}
