//! What is in a directory.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The paths of what has a name that begins with `head` and ends with `tail`, in the order of their octets.
///
/// # Errors
///
/// It is no directory, or cannot be read.
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
