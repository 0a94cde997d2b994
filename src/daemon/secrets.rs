//! Files that hold one secret: `file:PATH` of `auth_pass` and `auth_hmac_key`.

use crate::base::secret::Secret;
use crate::config::schema::{MAX_SECRET_FILE, SecretFile};
use crate::report::words;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Reads one.
///
/// # Errors
///
/// Why there is none. A file of another user than root and this one is not read: its owner may change it.
pub(super) fn read(path: &Path) -> Result<SecretFile, String> {
    // Opening a pipe would wait for a process that writes to it.
    let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let read = |file: File| -> io::Result<SecretFile> {
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::other("this is not a file"));
        }
        if about.uid() != 0 && about.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::other("belongs to somebody else: chown root"));
        }
        // With all the room that it needs, so that no copy is left behind.
        let mut content = Secret(Vec::with_capacity(2 * MAX_SECRET_FILE));
        file.take(MAX_SECRET_FILE as u64 + 1).read_to_end(&mut content.0)?;
        Ok(SecretFile { content, exposed: about.mode() & 0o044 != 0 })
    };
    open.and_then(read).map_err(|e| words::io_error(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_by_its_owner_only() {
        let dir = std::env::temp_dir().join(format!("vipd-secrets-{}", std::process::id()));
        let file = dir.join("key");
        std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{e}"));
        let write = |content: &[u8], mode: u32| {
            std::fs::write(&file, content).unwrap_or_else(|e| panic!("{e}"));
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&file, mode).unwrap_or_else(|e| panic!("{e}"));
            read(&file)
        };
        for (mode, exposed) in [(0o600, false), (0o640, true), (0o604, true), (0o400, false)] {
            let found = write(b"secret\n", mode).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!((&found.content.0[..], found.exposed), (&b"secret\n"[..], exposed));
            let _ = std::fs::remove_file(&file);
        }
        let long = write(&[b'x'; 5000], 0o600).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(long.content.0.len(), MAX_SECRET_FILE + 1);
        if std::os::unix::fs::chown(&file, Some(65534), None).is_ok() {
            let told = read(&file).err().unwrap_or_default();
            assert!(told.contains("somebody else"), "{told}");
        }
        assert_eq!(read(&dir).err().as_deref(), Some("this is not a file"));
        let _ = std::fs::remove_dir_all(&dir);
        assert!(read(&file).is_err());
    }
}
