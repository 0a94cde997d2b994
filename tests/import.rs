//! `vipd import`: constructs of keepalived.conf, `tests/data/import/NN-name.conf`, each with what is right,
//! `NN-name.want`: a line `;; in words`, `;; -i ID` if it needs one, and the whole output, `$BIN` for the
//! directory of the programs. An output that begins with `vipd: ` is an error. keepalived 2.2.7 was asked
//! what it makes of each.
#![cfg(feature = "import")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use vipd::config::schema;

const SAMPLES: &str = "/usr/share/doc/keepalived/samples";

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import")
}

/// A PATH of one directory, with the programs that the files name.
fn programs() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("import-bin");
    std::fs::create_dir_all(&dir).expect("a directory");
    for name in ["killall", "pidof"] {
        let file = dir.join(name);
        std::fs::write(&file, "").expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("executable");
    }
    dir
}

fn import(args: &[&str], file: &Path) -> Output {
    let vipd = std::env::var_os("VIPD").map_or_else(|| env!("CARGO_BIN_EXE_vipd").into(), PathBuf::from);
    let dir = file.parent().expect("a directory");
    let mut command = Command::new(vipd);
    command
        .current_dir(dir)
        .env("PATH", programs())
        .arg("import")
        .args(args)
        .arg(file.file_name().expect("a name"));
    command.output().expect("vipd runs")
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("the directory");
    let mut files: Vec<PathBuf> = entries.map(|f| f.expect("a file").path()).collect();
    files.retain(|f| f.is_file() && f.to_string_lossy().ends_with(extension));
    files.sort();
    files
}

/// What is printed, and that it is a configuration that vipd takes.
fn printed(out: &Output) -> Result<String, String> {
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.code() != Some(0) {
        return Ok(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    match schema::parse(&text) {
        Ok(_) => Ok(text),
        Err(errors) => Err(format!("{errors:?}\n{text}")),
    }
}

#[test]
fn every_construct_comes_out_right() {
    let files = files(&data(), ".conf");
    assert!(files.len() >= 60, "only {}", files.len());
    let bin = programs().display().to_string();
    let mut wrong = String::new();
    for file in &files {
        let want = std::fs::read_to_string(file.with_extension("want")).expect("what is right");
        let (words, want) = want.split_once('\n').expect("words");
        assert!(words.starts_with(";; "), "{}", file.display());
        let id = want.strip_prefix(";; -i ").and_then(|rest| rest.split_once('\n'));
        let (args, want) = id.map_or((vec![], want), |(id, want)| (vec!["-i", id], want));
        match printed(&import(&args, file)) {
            Ok(text) if text == want.replace("$BIN", &bin) => {}
            Ok(text) | Err(text) => {
                wrong += &format!("{}\n{words}\n{}\n", file.display(), text.replace(&bin, "$BIN"))
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// keepalived's own samples: each is read, and what it says of VRRP is a configuration or has a comment.
#[test]
fn keepalived_s_samples() {
    if !Path::new(SAMPLES).is_dir() {
        eprintln!("skipped: no {SAMPLES}");
        return;
    }
    let mut files = files(Path::new(SAMPLES), "");
    files.retain(|f| f.file_name().is_some_and(|n| n.to_string_lossy().starts_with("keepalived.conf")));
    assert!(files.len() >= 20, "only {}", files.len());
    for file in files {
        // One is for two nodes.
        let out = import(&["-i", "high"], &file);
        let text = String::from_utf8_lossy(&out.stdout);
        assert_eq!(
            out.status.code(),
            Some(0),
            "{}: {}",
            file.display(),
            String::from_utf8_lossy(&out.stderr)
        );
        assert!(!text.contains("misspelt"), "{}: {text}", file.display());
        let routers = text.matches("\n[vrrp ").count();
        let lacking = text.matches("there is no `virtual_ipaddress`").count();
        match schema::parse(&text) {
            Ok((cfg, _)) => assert_eq!(cfg.vrrp.len(), routers, "{text}"),
            Err(e) => assert!(routers == 0 || lacking > 0, "{}: {e:?}\n{text}", file.display()),
        }
    }
}

#[test]
fn lines_for_single_nodes() {
    let file = data().join("15-at-lines.conf");
    for (id, priority) in [("lb1", "150"), ("lb2", "100")] {
        let text = printed(&import(&["-i", id], &file)).expect("a configuration");
        assert!(text.contains(&format!("\npriority = {priority}\n")), "{id}: {text}");
    }
    let text = printed(&import(&["-i", "lb3"], &file)).expect("a configuration");
    assert!(text.contains("no line is for @lb3"), "{text}");
}

#[test]
fn wrong_command_lines() {
    let vipd = std::env::var_os("VIPD").map_or_else(|| env!("CARGO_BIN_EXE_vipd").into(), PathBuf::from);
    for args in [&["import"][..], &["import", "-i", "a"], &["import", "a", "b"], &["-i", "a"]] {
        let out = Command::new(&vipd).args(args).output().expect("vipd runs");
        assert_eq!(out.status.code(), Some(2), "{args:?}");
    }
}

/// What a file of another's holds does not reach the terminal as it is.
#[test]
fn no_escape_sequence_comes_out() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = dir.join("escapes.conf");
    let text = "global_defs {\n \x1b]0;owned\x07x { foo \x1b[2J }\n}\nvrrp_instance V {\n interface eth0\n \
        virtual_router_id 5\n f\x1b[2Jb baz\n virtual_ipaddress {\n 10.0.0.1\n }\n}\ninclude \x1b[1m\n";
    std::fs::write(&file, text).expect("a file");
    let out = import(&[], &file);
    assert_eq!(out.status.code(), Some(0));
    for stream in [out.stdout, out.stderr] {
        assert!(
            stream.iter().all(|b| *b == b'\n' || !b.is_ascii_control()),
            "{}",
            String::from_utf8_lossy(&stream)
        );
    }
}
