//! Lists directories.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The paths of entries whose names begin with `head` and end with `tail`, sorted by octets.
///
/// # Errors
///
/// The path is no directory, or the directory cannot be read.
pub fn files(dir: &Path, head: &str, tail: &str) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let rest = name.as_bytes().strip_prefix(head.as_bytes());
        if rest.is_some_and(|r| r.ends_with(tail.as_bytes())) {
            let path = dir.join(name);
            let at = files.partition_point(|f| f.as_os_str() < path.as_os_str());
            files.insert(at, path);
        }
    }
    Ok(files)
}
