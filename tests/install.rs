//! `make install` and `make uninstall`, in a copy of what they need, with a program that is none.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Tree(PathBuf);

impl Tree {
    /// A source tree whose path has a space in it.
    fn new(name: &str) -> Tree {
        let dir = std::env::temp_dir().join(format!("vipd install {} {name}", std::process::id()));
        std::fs::create_dir_all(dir.join("target")).expect("a directory");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for part in ["Makefile", "Cargo.toml", "Cargo.lock", "LICENSE", ".build", "init", "rootfs", "src"] {
            let copied = Command::new("cp").arg("-a").arg(here.join(part)).arg(&dir).status();
            assert!(copied.expect("cp").success(), "{part}");
        }
        std::fs::write(dir.join("target/vipd"), "#!/bin/sh\n").expect("written");
        Tree(dir)
    }

    fn root(&self) -> PathBuf {
        self.0.join("a root; touch here/it's \"one\"")
    }

    /// `make WHAT`, with its answer as one text.
    fn make(&self, what: &[&str]) -> (Output, String) {
        let mut cmd = Command::new("make");
        cmd.arg("--no-print-directory").args(what).arg(format!("DESTDIR={}", self.root().display()));
        cmd.env("MAKEFLAGS", "").env_remove("PREFIX").env_remove("INIT").current_dir(&self.0);
        let out = cmd.output().expect("make runs");
        let text =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        (out, text)
    }

    /// Every file below the root, with its mode.
    fn files(&self) -> BTreeMap<String, u32> {
        fn walk(dir: &Path, root: &Path, all: &mut BTreeMap<String, u32>) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, root, all);
                    continue;
                }
                let name = path.strip_prefix(root).expect("below the root").display().to_string();
                all.insert(name, entry.metadata().expect("there").permissions().mode() & 0o777);
            }
        }
        let mut all = BTreeMap::new();
        walk(&self.root(), &self.root(), &mut all);
        all
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn uninstall_removes_what_install_has_put_and_nothing_else() {
    let tree = Tree::new("all");
    // What was there before, under names that an unquoted path would hit.
    let precious = [
        tree.0.join("a"),
        tree.root().join("usr/share/vipd/mine"),
        tree.root().join("usr/share/man/man8/x.8"),
    ];
    for file in &precious {
        std::fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
        std::fs::write(file, "precious").expect("written");
    }
    let before = tree.files();
    for init in ["none", "busybox", "openrc", "procd", "runit", "s6", "systemd"] {
        let (out, text) = tree.make(&["install", &format!("INIT={init}")]);
        assert!(out.status.success(), "{text}");
        let files = tree.files();
        for (file, mode) in [
            ("usr/sbin/vipd", 0o755),
            ("etc/vipd.ini", 0o600),
            ("usr/share/doc/vipd/LICENSE", 0o644),
            ("usr/share/man/man8/vipd.8", 0o644),
            ("usr/share/man/man5/vipd.ini.5", 0o644),
            ("usr/share/vipd/status.schema.json", 0o644),
            ("usr/share/bash-completion/completions/vipd", 0o644),
            ("usr/share/zsh/site-functions/_vipd", 0o644),
            ("usr/share/fish/vendor_completions.d/vipd.fish", 0o644),
            match init {
                "none" => ("usr/share/vipd/init/vipd.service", 0o644),
                "busybox" => ("etc/inittab", 0o644),
                "openrc" | "procd" => ("etc/init.d/vipd", 0o755),
                "runit" => ("etc/sv/vipd/run", 0o755),
                "s6" => ("etc/s6/vipd/run", 0o755),
                _ => ("usr/lib/systemd/system/vipd.service", 0o644),
            },
        ] {
            assert_eq!(files.get(file), Some(&mode), "INIT={init}: {file} in {files:#?}");
        }
        // Everything that lies in rootfs/usr/share/vipd and among the manual pages.
        for dir in ["rootfs/usr/share/vipd", "rootfs/usr/share/man/man7"] {
            for entry in std::fs::read_dir(tree.0.join(dir)).expect(dir).flatten() {
                let name = entry.path();
                let name = name.strip_prefix(tree.0.join("rootfs")).expect("below").display().to_string();
                assert!(files.contains_key(&name), "{name}");
            }
        }
        // Once more changes nothing; the administrator's file stays as it is.
        std::fs::write(tree.root().join("etc/vipd.ini"), "mine").expect("written");
        assert!(tree.make(&["install", &format!("INIT={init}")]).0.status.success());
        let (out, text) = tree.make(&["uninstall"]);
        assert!(out.status.success(), "{text}");
        assert_eq!(std::fs::read_to_string(tree.root().join("etc/vipd.ini")).expect("there"), "mine");
        std::fs::remove_file(tree.root().join("etc/vipd.ini")).expect("removed");
        let _ = std::fs::remove_file(tree.root().join("etc/inittab"));
        assert_eq!(tree.files(), before, "INIT={init}");
        assert!(
            !tree.root().join("usr/share/vipd/init").exists()
                && !tree.root().join("usr/share/doc/vipd").exists()
        );
    }
    assert!(precious.iter().all(|p| std::fs::read_to_string(p).is_ok_and(|t| t == "precious")));
}

#[test]
fn an_init_file_that_was_changed_stays() {
    let tree = Tree::new("changed");
    assert!(tree.make(&["install", "INIT=openrc", "PREFIX=/opt/vipd"]).0.status.success());
    let file = tree.root().join("etc/init.d/vipd");
    let text = std::fs::read_to_string(&file).expect("there");
    assert!(text.contains("command=/opt/vipd/sbin/vipd"), "{text}");
    std::fs::write(&file, text + "# mine\n").expect("written");
    let (out, said) = tree.make(&["uninstall", "PREFIX=/opt/vipd"]);
    assert!(
        out.status.success() && said.contains("etc/init.d/vipd stays: it is not as `make install` wrote it"),
        "{said}"
    );
    assert_eq!(tree.files().into_keys().collect::<Vec<_>>(), ["etc/init.d/vipd", "etc/vipd.ini"]);
}

#[test]
fn what_is_wrong_is_told_before_anything_is_copied() {
    let tree = Tree::new("wrong");
    for (what, told) in [
        (
            &["install", "INIT=upstart"][..],
            "INIT=upstart is not known: none, busybox, openrc, procd, runit, s6 or systemd",
        ),
        (&["install", "PREFIX=usr"][..], "PREFIX=usr is not an absolute path"),
        (&["install", "PREFIX=/o p"][..], "PREFIX=/o p: the init files take"),
    ] {
        let (out, text) = tree.make(what);
        assert!(!out.status.success() && text.contains(told), "{text}");
        assert!(!tree.root().exists(), "{what:?}: {:?}", tree.files());
    }
    // A program that is older than its source.
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600 * 24 * 365 * 30);
    let program = std::fs::File::options().write(true).open(tree.0.join("target/vipd")).expect("there");
    program.set_modified(old).expect("set");
    let (out, text) = tree.make(&["install"]);
    assert!(!out.status.success() && text.contains("target/vipd is older than "), "{text}");
    assert!(text.contains(": say `make` first") && !tree.root().exists(), "{text}");
}
