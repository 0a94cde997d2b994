//! Processes in nodes: started, listened to, signalled, and never left behind.

use super::lan::{Node, kill_tree};
use super::{Board, Error, Result, late, secs, since_start};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A line that a process wrote, and when it was read.
#[derive(Clone, Debug)]
pub struct Line {
    /// When.
    pub at: Instant,
    /// What, without the line feed.
    pub text: String,
}

/// All that a process and its children wrote to stdout and stderr.
pub struct Log {
    name: String,
    lines: Board<Line>,
}

impl Log {
    /// A place in the log: what is there now is before it.
    pub fn mark(&self) -> usize {
        self.lines.read(<[Line]>::len)
    }

    /// Waits for a line that contains `pattern`, from the start of the log.
    pub fn wait(&self, pattern: &str, timeout: Duration) -> Result<Line> {
        self.wait_from(0, pattern, timeout)
    }

    /// Waits for a line after `mark` that contains `pattern`.
    pub fn wait_from(&self, mark: usize, pattern: &str, timeout: Duration) -> Result<Line> {
        self.wait_any(mark, &[pattern], timeout)
    }

    /// Waits for a line after `mark` that contains one of the patterns.
    pub fn wait_any(&self, mark: usize, patterns: &[&str], timeout: Duration) -> Result<Line> {
        let wanted = |line: &&Line| patterns.iter().any(|pattern| line.text.contains(pattern));
        let what = || format!("{patterns:?} in the log of {}", self.name);
        self.lines.wait(timeout, what, |lines| lines.get(mark..)?.iter().find(wanted).cloned())
    }

    /// The lines that contain `pattern`.
    pub fn grep(&self, pattern: &str) -> Vec<Line> {
        self.lines.read(|lines| lines.iter().filter(|line| line.text.contains(pattern)).cloned().collect())
    }

    /// The last lines that are not older than `since`, with their times; nothing if there are none.
    pub fn tail(&self, count: usize, since: Instant) -> String {
        self.lines.read(|lines| {
            let lines = &lines[lines.partition_point(|line| line.at < since)..];
            let mut text = String::new();
            for line in &lines[lines.len().saturating_sub(count)..] {
                text += &format!("{:9.3}  {}\n", since_start(line.at), line.text);
            }
            if text.is_empty() { text } else { format!("--- {} ---\n{text}", self.name) }
        })
    }
}

/// A process (with its descendants) in a node.
pub struct Proc {
    pid: i32,
    name: String,
    log: Arc<Log>,
    end: Arc<Board<(Instant, ExitStatus)>>,
}

impl Proc {
    /// Starts `cmd` in the node, as the leader of a process group of its own.
    pub fn start(node: &Node, name: &str, mut cmd: Command) -> Result<Proc> {
        let name = format!("{} on {}", name, node.name());
        let (reader, writer) = std::io::pipe()?;
        cmd.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
        // A child gets the network namespace of the thread that starts it.
        let mut child = node.enter(|| cmd.spawn()).map_err(|e| match e.kind() {
            ErrorKind::NotFound => Error::missing(&cmd.get_program().to_string_lossy()),
            _ => e.into(),
        })?;
        drop(cmd); // and with it our writing ends of the pipe
        let pid = i32::try_from(child.id()).unwrap_or(-1);
        let log = Arc::new(Log { name: name.clone(), lines: Board::new() });
        node.register(&log);
        late::watch(node.id(), pid);
        let end = Arc::new(Board::new());
        std::thread::spawn({
            let log = log.clone();
            move || read_lines(reader, &log)
        });
        std::thread::spawn({
            let end = end.clone();
            move || {
                // First only look, so that the PID is still ours while somebody may be about to signal it.
                let _ = waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
                end.push_with(|| child.wait().ok().map(|status| (Instant::now(), status)));
            }
        });
        Ok(Proc { pid, name, log, end })
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What it wrote.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Waits for a line in its log.
    pub fn wait_log(&self, pattern: &str, timeout: Duration) -> Result<Line> {
        self.log.wait(pattern, timeout)
    }

    /// Sends a signal to the process itself, if it still is.
    pub fn signal(&self, signal: Signal) {
        self.end.read(|end| {
            if end.is_empty() {
                let _ = kill(Pid::from_raw(self.pid), signal);
            }
        });
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGKILL for the process alone; its children live on.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// SIGKILL for the process and all its descendants at once.
    pub fn kill_tree(&self) {
        self.end.read(|end| {
            if end.is_empty() {
                kill_tree(self.pid);
            }
        });
    }

    /// SIGSTOP for the process alone.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn cont(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Its descendants, parents before children.
    pub fn descendants(&self) -> Vec<i32> {
        descendants(self.pid)
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        self.end.read(<[_]>::is_empty)
    }

    /// Waits for its end.
    pub fn wait_exit(&self, timeout: Duration) -> Result<ExitStatus> {
        let what = || format!("the end of {}", self.name);
        self.end.wait(timeout, what, |end| end.first().map(|(_, status)| *status))
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        self.kill_tree();
        late::forget(self.pid);
        if let Err(e) = self.wait_exit(secs(5)) {
            eprintln!("lab: {e}");
        }
    }
}

fn read_lines(pipe: std::io::PipeReader, log: &Log) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        log.lines.push(Line { at: Instant::now(), text });
        line.clear();
    }
}

/// The processes that satisfy `test`, in ascending order.
pub(super) fn pids_where(test: impl Fn(i32) -> bool) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<i32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| test(*pid))
        .collect();
    pids.sort_unstable();
    pids
}

/// State letter and parent of a process.
fn stat(pid: i32) -> Option<(char, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The parent of a process that is alive.
pub(super) fn parent(pid: i32) -> Option<i32> {
    stat(pid).filter(|(state, _)| *state != 'Z').map(|(_, parent)| parent)
}

/// All descendants of a process, parents before children.
pub(super) fn descendants(root: i32) -> Vec<i32> {
    let all: Vec<(i32, i32)> =
        pids_where(|_| true).into_iter().filter_map(|pid| Some((pid, stat(pid)?.1))).collect();
    let mut family = vec![root];
    let mut next = 0;
    while let Some(&elder) = family.get(next) {
        family.extend(all.iter().filter(|(_, parent)| *parent == elder).map(|(pid, _)| *pid));
        next += 1;
    }
    family.split_off(1)
}
