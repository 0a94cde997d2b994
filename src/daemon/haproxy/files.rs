//! Whether HAProxy's configuration files are still those that it has read.

use crate::base::hash;
use crate::haproxy::config_file;
use crate::preflight::advice;
use crate::sys::dir;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Recognises files by their names, inodes, sizes and times of change; of a directory, as HAProxy takes it,
/// its `*.cfg`. A file that is missing counts as one that is different.
pub(crate) fn mark(config: &[PathBuf]) -> u64 {
    let mut bytes = Vec::new();
    for path in config {
        note(path, &mut bytes);
        for file in dir::files(path, "", ".cfg").unwrap_or_default() {
            note(&file, &mut bytes);
        }
    }
    hash::fnv1a(&bytes)
}

/// Whether something listens in these files, as far as can be told: whatever cannot be read is HAProxy's to
/// complain of.
pub(crate) fn have_listener(config: &[PathBuf]) -> bool {
    config.iter().any(|path| std::fs::metadata(path).is_err())
        || advice::files(config).iter().any(|file| {
            let text = advice::read(file);
            config_file::has_listener(&text) || text.len() >= advice::MAX_SIZE
        })
}

fn note(path: &Path, out: &mut Vec<u8>) {
    out.extend_from_slice(path.as_os_str().as_bytes());
    out.push(0);
    // Of a directory only what is in it counts. The change time notices what keeps the modification time.
    if let Ok(m) = std::fs::metadata(path)
        && m.is_file()
    {
        for n in [m.ino(), m.size(), m.ctime().cast_unsigned(), m.ctime_nsec().cast_unsigned()] {
            out.extend_from_slice(&n.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_noticed_and_nothing_else() {
        let dir = std::env::temp_dir().join(format!("vipd-files-{}", std::process::id()));
        let write = |name: &str, text: &str| {
            std::fs::write(dir.join(name), text).unwrap_or_else(|e| panic!("{e}"));
        };
        std::fs::create_dir_all(dir.join("d")).unwrap_or_else(|e| panic!("{e}"));
        write("a.cfg", "x");
        write("d/b.cfg", "y");
        let config = [dir.join("a.cfg"), dir.join("d")];
        let mut last = mark(&config);
        for (what, differs) in [
            ("nothing", false),
            ("d/notes", false),
            ("d/c.cfg", true),
            ("a.cfg", true),
            ("rename", true),
            ("remove", true),
        ] {
            // Two changes within a tick of the clock of older kernels cannot be told apart by it.
            std::thread::sleep(std::time::Duration::from_millis(10));
            match what {
                "nothing" => {}
                "rename" => {
                    write("new", "z");
                    std::fs::rename(dir.join("new"), dir.join("d/b.cfg")).unwrap_or_else(|e| panic!("{e}"));
                }
                "remove" => std::fs::remove_file(dir.join("a.cfg")).unwrap_or_else(|e| panic!("{e}")),
                name => write(name, "z"),
            }
            let now = mark(&config);
            assert_eq!(now != last, differs, "{what}");
            last = now;
        }
        let _ = std::fs::remove_dir_all(dir);
    }
}
