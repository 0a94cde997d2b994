//! The runtime directory with its files, locks and sockets; sysctls; inherited descriptors.

use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, Metadata, OpenOptions, symlink_metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The default directory of runtime files.
const RUN_DIR: &str = "/run/vipd";
/// Permissions of a directory that is the owner's alone.
pub const PRIVATE: u32 = 0o700;

/// Longest file of ours that is read, in octets.
const MAX_FILE: u64 = 64 * 1024;
/// How much is read of other files, in octets.
const MAX_TEXT: u64 = 1 << 20;

/// Keeps inherited descriptors from our children (close_range(2), Linux 5.11).
pub fn keep_descriptors() {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: plain system call without pointers; no descriptor is closed before an exec.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3 as libc::c_uint, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC)
    };
}

/// Octets in a pipe that nobody has read yet.
pub fn unread(pipe: BorrowedFd<'_>) -> usize {
    let mut octets: libc::c_int = 0;
    // SAFETY: the pointer is to a variable of the type that FIONREAD writes.
    unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD as _, &raw mut octets) };
    usize::try_from(octets).unwrap_or(0)
}

/// How many descriptors this process may have open now.
pub fn most_descriptors() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit to write to.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// Creates a directory with these permissions, if it is missing.
///
/// # Errors
///
/// Also if another user may create files in it, or the path is not a directory.
pub fn make_dir(dir: &Path, mode: u32) -> io::Result<()> {
    make_all(dir, mode)?;
    match is_ours(&symlink_metadata(dir)?, libc::S_IFDIR, 0o022) {
        true => Ok(()),
        false => Err(io::Error::other("not a directory that only its owner can write to")),
    }
}

/// With those above it.
fn make_all(dir: &Path, mode: u32) -> io::Result<()> {
    let make = || std::fs::DirBuilder::new().mode(mode).create(dir);
    let mut made = make();
    if let (Err(e), Some(parent)) = (&made, dir.parent())
        && e.kind() == io::ErrorKind::NotFound
    {
        make_all(parent, mode)?;
        made = make();
    }
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Whether a file is of this kind, belongs to root or to this user, and has none of these permissions.
fn is_ours(s: &Metadata, kind: libc::mode_t, without: libc::mode_t) -> bool {
    let owner = s.uid() == 0 || s.uid() == nix::unistd::geteuid().as_raw();
    owner && s.mode() & (libc::S_IFMT | without) == kind
}

/// The content of a small file in the runtime directory.
///
/// # Errors
///
/// Also if other users may read or change it. Symbolic links are not followed.
pub fn read_file(path: &Path) -> io::Result<String> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !is_ours(&file.metadata()?, libc::S_IFREG, 0o077) {
        return Err(io::Error::other("not believed: others may read or change it"));
    }
    text(head(file, MAX_FILE)?)
}

/// The first octets of a file.
pub fn read(path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
    head(File::open(path)?, limit)
}

fn head(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// The text of a file of the system's, its first megabyte.
///
/// # Errors
///
/// Also if it is not UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    text(read(path, MAX_TEXT)?)
}

/// The name of this host.
pub fn host_name() -> String {
    read_text("/proc/sys/kernel/hostname").unwrap_or_default().trim_ascii().to_owned()
}

/// Why a lock is not available.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it.
    Held,
    /// It cannot be tried.
    Io(io::Error),
}

/// Takes a lock beside a file: `FILE.lock`, created 0600, no symbolic link followed. The kernel releases it
/// when the process ends.
pub fn lock_file(beside: &Path) -> Result<Flock<File>, LockError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(with_suffix(beside, ".lock"))
        .map_err(LockError::Io)?;
    lock(file)
}

/// Takes the lock of the network namespace, named after its inode, in a directory of root's: two vipds in one
/// namespace fight, whatever their control sockets are. If that directory cannot be made, the lock is beside
/// the control socket.
pub fn lock_netns(control_socket: &Path) -> Result<Flock<File>, LockError> {
    let netns = "/proc/self/ns/net";
    let named = |e| LockError::Io(io::Error::other(format!("{netns}: {e} (is /proc mounted?)")));
    let inode = std::fs::metadata(netns).map_err(named)?.ino();
    let dir = Path::new(RUN_DIR);
    match make_dir(dir, PRIVATE)
        .map_err(LockError::Io)
        .and_then(|()| lock_file(&dir.join(format!("netns-{inode}"))))
    {
        Err(LockError::Io(_)) => lock_file(&with_suffix(control_socket, &format!(".netns-{inode}"))),
        done => done,
    }
}

fn lock(file: File) -> Result<Flock<File>, LockError> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| match e {
        nix::errno::Errno::EWOULDBLOCK => LockError::Held,
        e => LockError::Io(e.into()),
    })
}

/// `path` with a suffix.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut s = path.as_os_str().to_owned();
    s.push(suffix);
    s.into()
}

/// Replaces a small file as a whole: 0600, no symbolic link followed. If that fails, the file is removed,
/// which a full disk allows: its content is no longer true.
pub fn replace_file(path: &Path, content: &str) -> io::Result<()> {
    let new = with_suffix(path, ".new");
    let _ = std::fs::remove_file(&new);
    let written = write_file(&new, content.as_bytes()).and_then(|_| std::fs::rename(&new, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
        let _ = std::fs::remove_file(path);
    }
    written
}

/// The same of a file that has to be whole after a power cut. If that fails, the old one stays. It waits for
/// the disk.
pub fn replace_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = with_suffix(path, ".new");
    let _ = std::fs::remove_file(&new);
    let written =
        write_file(&new, content).and_then(|f| f.sync_all()).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}

fn write_file(path: &Path, content: &[u8]) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let mut file =
        OpenOptions::new().create_new(true).write(true).mode(0o600).custom_flags(flags).open(path)?;
    file.write_all(content)?;
    Ok(file)
}

/// Whether a path is a file that nobody but root and this user may change.
pub fn is_believed(path: &Path) -> bool {
    symlink_metadata(path).is_ok_and(|s| is_ours(&s, libc::S_IFREG, 0o022))
}

/// Removes a UNIX socket, if it is there.
///
/// # Errors
///
/// Also if the path names anything else, which stays: it may be a slip of the pen in the configuration.
pub fn remove_socket(path: &Path) -> io::Result<()> {
    let removed = match symlink_metadata(path) {
        Ok(s) if s.mode() & libc::S_IFMT != libc::S_IFSOCK => {
            Err(io::Error::other("not a socket, so it is not replaced"))
        }
        Ok(_) => std::fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Sets a sysctl (`net/ipv4/ip_nonlocal_bind`) unless it has that value already: /proc/sys may be read-only.
pub fn sysctl(name: &str, value: &str) -> io::Result<()> {
    let path = Path::new("/proc/sys").join(name);
    if read_text(&path)?.trim_ascii() == value {
        return Ok(());
    }
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

/// Reads a sysctl.
pub fn read_sysctl(name: &str) -> Option<String> {
    let value = read_text(Path::new("/proc/sys").join(name)).ok()?;
    Some(value.trim_ascii().to_owned())
}
