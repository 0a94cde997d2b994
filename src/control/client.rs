//! The other end of the control socket: `vipd status` and its like.

use super::protocol::split;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Asks, and returns the exit status. The text goes to `out` as it comes, until that returns false.
/// `patience`: the longest wait for the next piece; `None`: until the daemon ends.
pub fn stream(
    path: &Path,
    line: &str,
    patience: Option<Duration>,
    out: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<u8> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(patience)?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut buf = vec![0; 16 * 1024];
    let mut status = None;
    loop {
        let n = stream.read(&mut buf)?;
        let mut text = buf.get(..n).unwrap_or_default();
        if status.is_none() {
            // One digit and a line end arrive in one piece.
            let (code, rest) = split(text).ok_or(ErrorKind::InvalidData)?;
            (status, text) = (Some(code), rest);
        }
        if n == 0 || !out(text) {
            return Ok(status.unwrap_or_default());
        }
    }
}
