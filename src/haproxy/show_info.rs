//! The answer to `show info` (HAProxy management guide §9.3), as far as vipd reads it.

/// The command: `@1` is the newest worker, asked through the master socket.
pub const COMMAND: &[u8] = b"@1 show info\n";

/// The part of it that a master needs, and a HAProxy without a master does not know.
pub const WORKER: &[u8] = b"@1 ";

/// Longest answer that is looked at, in octets; HAProxy 2.6 to 3.x send about 2.5 KiB.
pub const MAX_ANSWER: usize = 16 * 1024;

/// What a worker says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// `Version:`, at most 32 printable octets.
    pub version: String,
    /// `Pid:` of the worker.
    pub pid: u32,
}

/// Reads an answer; `None` until `Pid:` has arrived in a complete line, or for anything that is no answer.
pub fn parse(answer: &[u8]) -> Option<Info> {
    let mut version = String::new();
    for line in answer.split_inclusive(|b| *b == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        if let Some(v) = line.strip_prefix(b"Version: ") {
            version = v.iter().filter(|b| b.is_ascii_graphic()).take(32).map(|b| char::from(*b)).collect();
        } else if let Some(v) = line.strip_prefix(b"Pid: ") {
            let pid = std::str::from_utf8(v).ok()?.trim_ascii().parse().ok()?;
            return Some(Info { version, pid });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_when_the_pid_line_is_complete() {
        let full = b"Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nNbthread: 2\nPid: 4711\nUptime: 0d\n";
        let info = Info { version: "2.6.12-1+deb12u4".into(), pid: 4711 };
        assert_eq!(parse(full), Some(info));
        assert_eq!(parse(&full[..full.len() - 20]), None);
        for garbage in [&b""[..], b"Pid: x\n", b"Pid: 99999999999\n", b"\xff\xfe\n", b"Can't find process\n"]
        {
            assert_eq!(parse(garbage), None);
        }
    }
}
