//! Wrong configurations, `tests/data/wrong/NN-name.ini`, each with what `vipd -t` says of it in trailing `;;`
//! lines: `LINE: message`, or a message of the whole file. And unwise ones, `tests/data/unwise`, which are
//! valid: there the lines are beginnings of warnings, because their ends may depend on the host. Both end up
//! in `target/wrong.md` and `target/unwise.md`, as tables.

use std::path::{Path, PathBuf};
use std::process::Command;

fn vipd() -> PathBuf {
    std::env::var_os("VIPD").map_or_else(|| env!("CARGO_BIN_EXE_vipd").into(), PathBuf::from)
}

fn files(dir: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(dir);
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

/// The exit status of `vipd -t`, and what it says.
fn check(file: &Path) -> (Option<i32>, String, String) {
    let out = Command::new(vipd()).arg("-t").arg("-c").arg(file).output().expect("vipd runs");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

/// Rows of the table: the file without what is expected, and what is said.
fn table(title: &str, rows: &[(PathBuf, String)]) {
    let mut text = format!("# {title}\n\n| configuration | `vipd -t` |\n|---|---|\n");
    for (file, said) in rows {
        let bytes = std::fs::read(file).expect("readable");
        let ini = String::from_utf8_lossy(&bytes);
        let ini: Vec<&str> = ini.lines().filter(|l| !l.starts_with(";;")).collect();
        let dir = format!("{}/", file.parent().expect("a directory").display());
        let cell = |lines: &[&str]| lines.join("<br>").replace('|', "\\|");
        let said = said.replace(&dir, "");
        text += &format!("| {} | {} |\n", cell(&ini), cell(&said.lines().collect::<Vec<_>>()));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/{title}.md"));
    std::fs::create_dir_all(file.parent().expect("target")).expect("made");
    std::fs::write(file, text).expect("written");
}

#[test]
fn none_is_accepted_and_each_has_its_messages() {
    let files = files("wrong");
    assert!(files.len() >= 60, "only {}", files.len());
    let (mut wrong, mut rows) = (String::new(), Vec::new());
    for file in &files {
        let ((status, out, said), expected) = (check(file), expected(file));
        if status != Some(2) || !out.is_empty() || said != expected || expected.is_empty() {
            wrong += &format!("{}\n{status:?}: expected\n{expected}said\n{said}\n", file.display());
        }
        rows.push((file.clone(), said));
    }
    table("wrong", &rows);
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_is_unwise_is_valid_and_has_its_warnings() {
    let files = files("unwise");
    assert!(files.len() >= 20, "only {}", files.len());
    let (mut wrong, mut rows) = (String::new(), Vec::new());
    for file in &files {
        let ((status, out, said), expected) = (check(file), expected(file));
        let missing = expected.lines().find(|m| !said.lines().any(|l| l.starts_with(m)));
        let valid = out == format!("{}: valid\n", file.display());
        if status != Some(0) || !valid || missing.is_some() || expected.is_empty() {
            wrong += &format!("{}\n{status:?}: no {missing:?} in\n{said}\n", file.display());
        }
        rows.push((file.clone(), said));
    }
    table("unwise", &rows);
    assert!(wrong.is_empty(), "{wrong}");
}
