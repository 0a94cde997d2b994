//! A node with a file system of its own: the machine's, with whatever is written to `/etc`, `/usr` and this
//! repository's `target` kept apart, an empty `/run`, and a host name. What is written there is gone with the
//! lab.

use super::lan::Node;
use super::proc::Proc;
use super::{Error, Result, secs, vipd_path};
use std::process::{Command, Output};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// Makes it, and stays, so that it does. `$1` is a directory for what is written, `$2` the repository's
/// `target`, `$3` the host name, `$4` vipd, `$5` the link between the two networks of the tests.
const SETUP: &str = r#"
for d in /etc /usr "$2"; do
    mkdir -p "$1/upper$d" "$1/work$d"
    mount -t overlay overlay -o "lowerdir=$d,upperdir=$1/upper$d,workdir=$1/work$d" "$d" || exit 1
done
cp "$4" /usr/sbin/.vipd && rm -f "$2/vipd" && mv /usr/sbin/.vipd "$2/vipd" || exit 1
rm -rf /etc/vipd.ini /etc/haproxy /etc/keepalived
mount -t tmpfs tmpfs /run && hostname "$3" || exit 1
echo ready
exec sleep infinity
"#;

/// A node with its own files.
pub struct Host {
    node: Node,
    keeper: Proc,
}

impl Host {
    /// Sets it up; `target/vipd` is the vipd under test.
    pub fn start(node: &Node) -> Result<Host> {
        // HAProxy's example gives its rights up.
        let map = std::fs::read_to_string("/proc/self/uid_map")?;
        if map.split_whitespace().nth(2).is_none_or(|n| n.parse::<u64>().unwrap_or(0) <= 65_534) {
            return Err(Error::missing("a user namespace with more than root in it"));
        }
        let target = format!("{REPOSITORY}/target");
        std::fs::create_dir_all(&target)?;
        let mut cmd = Command::new("unshare");
        cmd.args(["--mount", "--uts", "--", "sh", "-c", SETUP, "sh"]);
        cmd.arg(node.dir().join("files")).arg(target).arg(node.name()).arg(vipd_path()?);
        let keeper = Proc::start(node, "files", cmd)?;
        keeper.wait_log("ready", secs(10))?;
        Ok(Host { node: node.clone(), keeper })
    }

    fn enter(&self) -> Command {
        let pid = self.keeper.pid();
        let mut cmd = Command::new("nsenter");
        cmd.args([format!("--mount=/proc/{pid}/ns/mnt"), format!("--uts=/proc/{pid}/ns/uts")]);
        // `--wd` would be the directory below the mounts.
        cmd.args(["--", "env", "-C", REPOSITORY]);
        cmd
    }

    /// Runs a shell script there, in the repository's directory, to its end, which has to be a good one; what
    /// it wrote to stdout. A program that it leaves behind must have other ends for its output.
    pub fn sh(&self, script: &str) -> Result<String> {
        let mut cmd = self.enter();
        cmd.args(["timeout", "60", "sh", "-euxc", script]);
        let Output { status, stdout, stderr } = self.node.output(&mut cmd)?;
        let out = String::from_utf8_lossy(&stdout).into_owned();
        if !status.success() {
            let err = String::from_utf8_lossy(&stderr);
            crate::fail!("{}: {status} of\n{script}\n{out}{err}", self.node.name());
        }
        Ok(out)
    }

    /// Starts a program there; the process is the program itself.
    pub fn start_program(&self, name: &str, argv: &[&str]) -> Result<Proc> {
        let mut cmd = self.enter();
        cmd.args(argv);
        Proc::start(&self.node, name, cmd)
    }

    /// Writes a file there, and the directories above it.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let source = self.node.write("text", text)?;
        let pid = self.keeper.pid();
        // The new /run hides the node's directory, but not from outside.
        let file = format!("/proc/{pid}/root{path}");
        if let Some(dir) = std::path::Path::new(&file).parent() {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::copy(source, file)?;
        Ok(())
    }
}
