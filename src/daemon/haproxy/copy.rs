//! The last good copy of HAProxy's configuration. A child writes it, `vipd --keep-copy TO MARK FILES`, for a
//! disk may take its time.

use super::files;
use crate::haproxy::command::Command;
use crate::preflight::advice;
use crate::report::words;
use crate::sys::runtime;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Longest copy, in octets.
const MAX_SIZE: usize = 4 << 20;

/// The child's command line. `mark`: of the files that HAProxy has read.
pub(super) fn argv(command: &Command, mark: u64) -> Vec<CString> {
    let mark = PathBuf::from(format!("{mark:016x}"));
    let paths = [&command.copy, &mark].into_iter().chain(&command.config);
    let words = [c"/proc/self/exe".to_owned(), c"--keep-copy".to_owned()].into_iter();
    words.chain(paths.filter_map(|p| CString::new(p.as_os_str().as_bytes()).ok())).collect()
}

/// The child: keeps the copy, unless the files have changed since HAProxy has read them.
pub fn keep(args: &[PathBuf]) -> u8 {
    let [to, mark, config @ ..] = args else { return 1 };
    match write(to, mark, config) {
        Ok(()) => 0,
        Err(e) => {
            let (file, why) = (to.display(), words::io_error(&e));
            println!("[WARNING] vipd keeps no copy of the configuration in {file}: {why}");
            1
        }
    }
}

fn write(to: &Path, mark: &Path, config: &[PathBuf]) -> io::Result<()> {
    let is_same = || mark.as_os_str() == format!("{:016x}", files::mark(config)).as_str();
    let mut text = Vec::new();
    // Files that are no more those that HAProxy has read are left to its next reload.
    if !is_same() {
        return Ok(());
    }
    for file in advice::files(config) {
        if !file.is_file() {
            return Err(io::Error::other(format!("{} is not a file", file.display())));
        }
        text.extend(runtime::read(file, MAX_SIZE as u64 + 1)?);
        if text.len() > MAX_SIZE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // The next one begins with a section, as every file does.
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
    }
    if !is_same() || runtime::read(to, MAX_SIZE as u64 + 1).is_ok_and(|old| old == text) {
        return Ok(());
    }
    runtime::make_dir(to.parent().unwrap_or(to), runtime::PRIVATE)?;
    runtime::replace_durably(to, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_files_are_kept_as_one_and_only_if_they_are_the_same() {
        let dir = std::env::temp_dir().join(format!("vipd-copy-{}", std::process::id()));
        fs::create_dir_all(dir.join("d")).unwrap_or_else(|e| panic!("{e}"));
        let put = |name: &str, text: &[u8]| fs::write(dir.join(name), text).unwrap_or_else(|e| panic!("{e}"));
        put("a.cfg", b"global");
        put("d/b.cfg", b"defaults\n");
        put("d/notes", b"x");
        let (to, config) = (dir.join("state/good.cfg"), vec![dir.join("a.cfg"), dir.join("d")]);
        let keep = |mark: u64| keep(&[&[to.clone(), format!("{mark:016x}").into()], &config[..]].concat());
        assert_eq!((keep(7), to.exists()), (0, false), "others than HAProxy has read");
        assert_eq!(keep(files::mark(&config)), 0);
        assert_eq!(fs::read(&to).ok().as_deref(), Some(&b"global\ndefaults\n"[..]));
        let before = fs::metadata(&to).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(before.mode() & 0o7777, 0o600);
        assert!(runtime::is_believed(&to));
        keep(files::mark(&config));
        assert_eq!(fs::metadata(&to).map(|m| m.ino()).ok(), Some(before.ino()), "only if it has changed");
        put("d/b.cfg", &vec![b'#'; MAX_SIZE]);
        assert_eq!(keep(files::mark(&config)), 1, "too long");
        assert_eq!(fs::metadata(&to).map(|m| m.ino()).ok(), Some(before.ino()), "the old one stays");
        let _ = fs::remove_dir_all(dir);
    }
}
