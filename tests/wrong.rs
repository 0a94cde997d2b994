//! Wrong configurations, `tests/data/wrong/NN-name.ini`, each with what `vipd -t` says of it in trailing `;;`
//! lines: `LINE: message`, or a message of the whole file.

use std::path::{Path, PathBuf};
use std::process::Command;

fn vipd() -> PathBuf {
    std::env::var_os("VIPD").map_or_else(|| env!("CARGO_BIN_EXE_vipd").into(), PathBuf::from)
}

fn files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wrong");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).expect("the directory").map(|f| f.expect("a file").path()).collect();
    files.sort();
    files
}

/// What is to be said of a file, as its last lines have it.
fn expected(file: &Path) -> String {
    let bytes = std::fs::read(file).expect("readable");
    let text = String::from_utf8_lossy(&bytes);
    let name = file.display();
    let line = |m: &str| match m.split_once(": ") {
        Some((n, _)) if n.parse::<u32>().is_ok() => format!("{name}:{m}\n"),
        _ => format!("{name}: {m}\n"),
    };
    text.lines().filter_map(|l| l.strip_prefix(";; ")).map(line).collect()
}

#[test]
fn none_is_accepted_and_each_has_its_messages() {
    let files = files();
    assert!(files.len() >= 50, "only {}", files.len());
    let mut wrong = String::new();
    for file in &files {
        let out = Command::new(vipd()).arg("-t").arg("-c").arg(file).output().expect("vipd runs");
        let (said, expected) = (String::from_utf8_lossy(&out.stderr), expected(file));
        if out.status.code() != Some(2) || !out.stdout.is_empty() || said != expected || expected.is_empty() {
            wrong += &format!("{}\n{}: expected\n{expected}said\n{said}\n", file.display(), out.status);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
