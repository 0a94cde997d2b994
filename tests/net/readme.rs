//! Somebody with nothing but the README sets up a pair: node1 by its commands for Debian, node2 by those for
//! Alpine, copied as they stand. A block of the README is run here if the line above it is `<!-- test: WHERE
//! -->`.
//!
//! What stands in for a bare machine: a file system of its own ([`Host`]) in which `apt-get` and `apk` only
//! look whether what they should install is there, `systemctl`, `rc-service` and `rc-update` start and stop
//! what the installed unit or script names, and `make` alone does not compile again. All else is real.

use super::*;

pub const TESTS: &[(&str, Test)] = &[("the_readme_makes_a_pair", makes_a_pair)];

const README: &str = include_str!("../../README.md");

/// Programs of a bare machine that a namespace does not have; installed as `/usr/local/sbin/NAME`.
const STAND_INS: &[(&str, &str)] = &[
    (
        "make",
        "case $# in 0) test -x target/vipd ;; *) exec /usr/bin/make --no-print-directory \"$@\" ;; esac",
    ),
    (
        "apt-get",
        "[ \"$1\" = update ] && exit
for p in \"$@\"; do case $p in install | -* | make) ;; *) command -v \"$p\" >/dev/null ;; esac done",
    ),
    (
        "apk",
        "for p in \"$@\"; do case $p in add | -* | make | cargo | rust-src | gcc | musl-dev | binutils) ;; \
         *) command -v \"$p\" >/dev/null ;; esac done",
    ),
    (
        "systemctl",
        "unit=/usr/lib/systemd/system/vipd.service
case \"$*\" in
\"daemon-reload\" | \"disable --now haproxy\") ;;
\"enable --now vipd\" | \"start vipd\") exec service-of-the-test start $(sed -n 's/^ExecStart=//p' $unit) ;;
\"stop vipd\") exec service-of-the-test stop ;;
*) echo \"systemctl $*: not known here\" >&2; exit 1 ;;
esac",
    ),
    ("rc-update", "case \"$*\" in \"add vipd\" | \"del haproxy\") ;; *) exit 1 ;; esac"),
    (
        "rc-service",
        "case \"$*\" in
\"haproxy stop\") ;;
\"vipd start\") exec service-of-the-test start $(sed -n 's/^command=//p' /etc/init.d/vipd) ;;
\"vipd stop\") exec service-of-the-test stop ;;
*) echo \"rc-service $*: not known here\" >&2; exit 1 ;;
esac",
    ),
    (
        "service-of-the-test",
        "case $1 in
start) shift; setsid \"$@\" </dev/null >>/run/vipd.log 2>&1 & echo $! >/run/vipd.pid ;;
stop) p=$(cat /run/vipd.pid); kill \"$p\"; n=100; while [ -e /proc/$p/exe ]; do n=$((n - 1)); [ $n -gt 0 ]; sleep 0.1; done ;;
esac",
    ),
];

/// The blocks for `place`, in their order.
fn blocks(place: &str) -> Vec<&'static str> {
    let mark = format!("<!-- test: {place} -->\n");
    README
        .match_indices(&mark)
        .map(|(at, _)| {
            let rest = README[at + mark.len()..].trim_start_matches('\n');
            let block = rest.strip_prefix("```sh\n").and_then(|b| b.split_once("\n```\n"));
            block.unwrap_or_else(|| panic!("no block of commands under {mark}")).0
        })
        .collect()
}

/// A machine with HAProxy's package and no vipd.
fn bare(node: &Node) -> Result<Host> {
    let host = Host::start(node)?;
    for (name, script) in STAND_INS {
        host.write(&format!("/usr/local/sbin/{name}"), &format!("#!/bin/sh -eux\n{script}\n"))?;
        host.sh(&format!("chmod 755 /usr/local/sbin/{name}"))?;
    }
    host.sh("mkdir -p /etc/haproxy; ! command -v vipd")?;
    Ok(host)
}

fn run(host: &Host, place: &str) -> Result<String> {
    let blocks = blocks(place);
    ensure!(!blocks.is_empty(), "no block for {place}");
    let path = "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin";
    blocks.iter().map(|block| host.sh(&format!("export {path}\n{block}"))).collect()
}

fn makes_a_pair(w: &World) -> Result<()> {
    let (one, two) = (bare(&w.one)?, bare(&w.two)?);
    let logs = |e: Error| {
        let log = |h: &Host| h.sh("cat /run/vipd.log 2>/dev/null || :").unwrap_or_default();
        Error(format!("{e}\n--- node1\n{}--- node2\n{}", log(&one), log(&two)))
    };
    pair(w, &one, &two).map_err(logs)
}

fn pair(w: &World, one: &Host, two: &Host) -> Result<()> {
    run(one, "debian")?;
    one.sh("test -s /usr/share/man/man8/vipd.8 && test -s /usr/share/man/man5/vipd.ini.5")?;
    let said = run(one, "both")?;
    ensure!(said.contains("/etc/vipd.ini: valid"), "vipd -t said {said:?}");
    let said = one.sh("vipd -t 2>&1")?;
    ensure!(!said.contains("warning:") && !said.contains("note:"), "the examples are unwise: {said}");
    run(one, "debian start")?;
    w.node1_is_master()?;
    run(two, "alpine")?;
    run(two, "second")?;
    let said = run(two, "both")?;
    ensure!(said.contains("/etc/vipd.ini: valid"), "vipd -t said {said:?}");
    run(two, "alpine start")?;

    // What the tutorial shows: who is what, and a client that does not notice a planned move.
    let client = w.client()?;
    ensure!(client.wait_answer(secs(5))? == "node1", "not node1");
    let settled = Instant::now() + secs(15);
    let status = loop {
        let status = run(two, "look").unwrap_or_else(|e| e.0);
        if status.contains("BACKUP") && status.contains("192.168.30.116") {
            break status;
        }
        ensure!(Instant::now() < settled, "node2 is no backup: {status}");
        std::thread::sleep(ms(200));
    };
    println!("{status}");
    let status = run(one, "look")?;
    ensure!(status.contains("MASTER") && status.contains("192.168.30.230 on eth0: held"), "{status}");
    println!("{status}");

    let start = Instant::now();
    run(one, "move")?;
    w.watcher.wait_holder(VIP, "node2", secs(10))?;
    client.wait_answer_by("node2", secs(10))?;
    let report = client.report(start, Instant::now())?;
    println!("planned move: {report}");
    ensure!(report.failures() <= 1, "{report}");

    run(one, "back")?;
    w.watcher.wait_holder(VIP, "node1", secs(10))?;
    client.wait_answer_by("node1", secs(10))?;

    // And the plug.
    for pid in w.one.pids("vipd").into_iter().chain(w.one.pids("haproxy")) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
    }
    client.wait_answer_by("node2", secs(10))?;
    w.watcher.no_overlap(VIP, ms(100))
}
