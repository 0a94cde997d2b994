//! Hooks: keepalived's arguments in its order, one at a time, the newest state last, and never in the way.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

pub const TESTS: &[(&str, Test)] = &[
    ("hooks_are_called_as_by_keepalived", as_keepalived),
    ("hooks_for_one_state_are_called_as_by_keepalived", for_one_state),
    ("hooks_of_a_group", of_a_group),
    ("hooks_run_as_a_user", as_a_user),
    ("a_slow_hook_hears_the_newest_state", slow),
    ("a_hook_that_hangs_is_in_nobodys_way", hangs),
    ("hooks_that_are_odd_are_named", odd),
];

/// A hook that appends `name`, its arguments and what `more` says to a file.
fn hook(node: &Node, name: &str, more: &str) -> Result<PathBuf> {
    let log = node.dir().join("calls");
    let text = format!("#!/bin/sh\necho \"{name} $*{more}\" >>{}\n", log.display());
    script(node, name, &text)
}

fn script(node: &Node, name: &str, text: &str) -> Result<PathBuf> {
    let path = node.write(name, text)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn calls(node: &Node) -> Vec<String> {
    let text = std::fs::read_to_string(node.dir().join("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until there are so many calls; hooks tell nobody when they ran.
fn wait_calls(node: &Node, count: usize, timeout: Duration) -> Result<Vec<String>> {
    let deadline = Instant::now() + timeout;
    loop {
        let calls = calls(node);
        if calls.len() >= count {
            return Ok(calls);
        }
        ensure!(Instant::now() < deadline, "waited in vain for {count} calls: {calls:#?}");
        std::thread::sleep(ms(20));
    }
}

fn global(ini: &str, lines: &str) -> String {
    ini.replacen("[global]\n", &format!("[global]\n{lines}\n"), 1)
}

/// Both daemons call the same script at the same changes, with the same arguments.
fn as_keepalived(w: &World) -> Result<()> {
    let (own, all) =
        (hook(&w.one, "own", "")?, hook(&w.one, "all", " $VIPD_INTERFACE $VIPD_VRID $VIPD_VIPS")?);
    let theirs = hook(&w.two, "own", "")?;
    let notify = format!("notify = {} \"a  b\"", own.display());
    let ini = Vipd::ini(&w.one, None, &[router(100).with(&notify)]);
    let one = Vipd::start(&w.one, &global(&ini, &format!("notify = {}", all.display())))?;
    // Both daemons leave out what lies between if the state changes again before a hook has run.
    wait_calls(&w.one, 4, ELECTION)?;
    w.one.cut()?;
    wait_calls(&w.one, 6, ELECTION)?;
    // For longer than a backup would have waited: a shorter flap goes on as master.
    std::thread::sleep(secs(4));
    w.one.mend()?;
    wait_calls(&w.one, 8, ELECTION)?;
    one.terminate();
    ensure!(one.wait_exit(secs(10))?.success(), "no clean end");
    // All of them ran before the end.
    let ours = calls(&w.one);
    let states = ["BACKUP", "MASTER", "FAULT", "BACKUP", "STOP"];
    let expected: Vec<String> = states
        .iter()
        .flat_map(|state| {
            let args = format!("INSTANCE VI_51 {state} 100");
            [format!("own a  b {args}"), format!("all {args} eth0 51 {VIP}")]
        })
        .collect();
    ensure!(ours == expected, "{ours:#?}");

    let notify = format!(" notify {}", theirs.display());
    let head = "global_defs {\n script_user root\n router_id node2\n}\n";
    let conf = Keepalived::conf(&w.two, &[router(100).with(&notify)]);
    let conf = head.to_owned() + conf.split_once("}\n").map_or("", |(_, rest)| rest);
    let two = Keepalived::start(&w.two, &conf)?;
    wait_calls(&w.two, 2, ELECTION)?;
    w.two.cut()?;
    wait_calls(&w.two, 3, ELECTION)?;
    w.two.mend()?;
    wait_calls(&w.two, 4, ELECTION)?;
    two.terminate();
    two.wait_exit(secs(10))?;
    let theirs = wait_calls(&w.two, 5, ELECTION)?;
    let ours: Vec<String> =
        ours.iter().filter_map(|c| c.strip_prefix("own a  b ")).map(|c| format!("own {c}")).collect();
    ensure!(theirs == ours, "keepalived: {theirs:#?}");
    Ok(())
}

/// Those for one state have no more arguments than they are written with.
fn for_one_state(w: &World) -> Result<()> {
    let calls_of = |node: &Node, up: &str, gone: &str, keepalived: bool| -> Result<Vec<String>> {
        if keepalived {
            let lines = format!(" notify_master \"{up} 1\"\n notify_stop {gone}");
            let head = "global_defs {\n script_user root\n router_id node2\n}\n";
            let conf = Keepalived::conf(node, &[router(100).with(&lines)]);
            let daemon = Keepalived::start(
                node,
                &(head.to_owned() + conf.split_once("}\n").map_or("", |(_, rest)| rest)),
            )?;
            w.watcher.wait_holder(VIP, node.name(), ELECTION)?;
            wait_calls(node, 1, secs(3))?;
            daemon.terminate();
            daemon.wait_exit(secs(10))?;
        } else {
            let lines = format!("notify_master = {up} 1\nnotify_stop = {gone}");
            let daemon = Vipd::start(node, &Vipd::ini(node, None, &[router(100).with(&lines)]))?;
            w.watcher.wait_holder(VIP, node.name(), ELECTION)?;
            wait_calls(node, 1, secs(3))?;
            daemon.terminate();
            ensure!(daemon.wait_exit(secs(10))?.success(), "no clean end");
        }
        wait_calls(node, 2, secs(3))
    };
    let hooks = |node: &Node| -> Result<[String; 2]> {
        Ok([hook(node, "up", "")?.display().to_string(), hook(node, "gone", "")?.display().to_string()])
    };
    let [up, gone] = hooks(&w.one)?;
    let ours = calls_of(&w.one, &up, &gone, false)?;
    ensure!(ours == ["up 1", "gone "], "{ours:#?}");
    let [up, gone] = hooks(&w.two)?;
    let theirs = calls_of(&w.two, &up, &gone, true)?;
    ensure!(theirs == ours, "keepalived: {theirs:#?}");
    Ok(())
}

fn of_a_group(w: &World) -> Result<()> {
    let all = hook(&w.one, "all", " ($VIPD_MEMBERS) $VIPD_ROUTER_ID")?;
    let second = Router::new(52, 90, "192.168.30.231/24");
    let ini = Vipd::ini(&w.one, None, &[router(100), second]) + "[group VG]\nmembers = VI_51, VI_52\n";
    let _one = Vipd::start(&w.one, &global(&ini, &format!("notify = {}", all.display())))?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    let calls = wait_calls(&w.one, 6, ELECTION)?;
    for state in ["BACKUP", "MASTER"] {
        for call in [
            format!("all INSTANCE VI_51 {state} 100 () node1"),
            format!("all INSTANCE VI_52 {state} 90 () node1"),
            format!("all GROUP VG {state} 0 (VI_51 VI_52) node1"),
        ] {
            ensure!(calls.contains(&call), "no `{call}` in {calls:#?}");
        }
    }
    Ok(())
}

fn as_a_user(w: &World) -> Result<()> {
    let map = std::fs::read_to_string("/proc/self/uid_map")?;
    let ids = |line: &str| line.split_ascii_whitespace().nth(2).and_then(|n| n.parse::<u64>().ok());
    if map.lines().filter_map(ids).sum::<u64>() < 65536 {
        return Err(Error::missing("a second user"));
    }
    let text =
        "#!/bin/sh\necho \"I am $(id -un) $4 $VIPD_REASON\"; ls /proc/self/fd | tr '\\n' ' '; exit 3\n";
    let who = script(&w.one, "who", text)?;
    let ini = Vipd::ini(&w.one, None, &[router(100).with(&format!("notify = {}", who.display()))]);
    let one = Vipd::start(&w.one, &global(&ini, "notify_user = nobody"))?;
    one.wait_log("notify VI_51 BACKUP: I am nobody 100 started", secs(3))?;
    one.wait_log("notify VI_51 BACKUP: 0 1 2 3", secs(3))?;
    one.wait_log("notify VI_51 BACKUP failed (exit status 3)", secs(3))?;
    Ok(())
}

/// BACKUP takes its time; MASTER and BACKUP come and go meanwhile, and FAULT is what is told next.
fn slow(w: &World) -> Result<()> {
    let (dir, calls_file) = (w.one.dir().display(), w.one.dir().join("calls"));
    let text = format!(
        "#!/bin/sh\necho $3 >>{}\n[ $3 = BACKUP ] || exit 0\nwhile [ ! -e {dir}/go ]; do sleep 0.05; done\n",
        calls_file.display()
    );
    let path = script(&w.one, "slow", &text)?;
    let one = Vipd::run(&w.one, None, &[router(100).with(&format!("notify = {}", path.display()))])?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    w.one.cut()?;
    one.wait_log("Entering FAULT STATE", secs(2))?;
    ensure!(calls(&w.one) == ["BACKUP"], "two at a time: {:?}", calls(&w.one));
    w.one.write("go", "")?;
    let calls = wait_calls(&w.one, 2, ELECTION)?;
    ensure!(calls == ["BACKUP", "FAULT"], "{calls:?}");
    Ok(())
}

/// It floods, ignores SIGTERM and has children: adverts go out in time, and the end of vipd is its end.
fn hangs(w: &World) -> Result<()> {
    let text = "#!/bin/sh\ntrap '' TERM\ncat /dev/zero | tr '\\0' '\\n' &\ni=0\n\
                while [ $i -lt 100000 ]; do echo line $i; i=$((i + 1)); done\nsleep 1001\n";
    let path = script(&w.one, "hangs", text)?;
    let notify = format!("notify = {}\nlease = auto", path.display());
    let one = Vipd::run(&w.one, None, &[router(100).with(&notify)])?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    let start = Instant::now();
    std::thread::sleep(secs(5));
    let adverts = w.capture.all(start, |s| s.node == "node1" && s.advert(VRID).is_some());
    let gaps = adverts.windows(2).map(|pair| pair[1].at - pair[0].at);
    let worst = gaps.map(|gap| gap.abs_diff(secs(1))).max().unwrap_or_default();
    ensure!(
        adverts.len() >= 4 && worst < w.bound(ms(100), start),
        "{} adverts, one late by {worst:?}",
        adverts.len()
    );
    ensure!(one.log().grep("notify VI_51 BACKUP: ").len() <= 21, "all of its output is in the log");
    one.terminate();
    let end = Instant::now();
    ensure!(one.wait_exit(secs(12))?.success(), "no clean end");
    ensure!(end.elapsed() < w.bound(secs(9), end), "the stop took {:?}", end.elapsed());
    let deadline = Instant::now() + secs(1);
    while !w.one.pids("hangs").is_empty() || !w.one.pids("sleep").is_empty() {
        ensure!(Instant::now() < deadline, "it outlives vipd");
        std::thread::sleep(ms(20));
    }
    Ok(())
}

fn odd(w: &World) -> Result<()> {
    let open = script(&w.one, "open", "#!/bin/sh\n")?;
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777))?;
    let ini = Vipd::ini(&w.one, None, &[router(100).with(&format!("notify = {}", open.display()))]);
    let one = Vipd::start(&w.one, &global(&ini, "notify = /nowhere/hook"))?;
    one.wait_log("notify VI_51 BACKUP failed (No such file or directory)", secs(3))?;
    let tested = one.cli(&["-t"])?;
    let said = String::from_utf8_lossy(&tested.stderr).into_owned();
    ensure!(tested.status.success(), "-t refuses it: {said}");
    for what in [
        "warning: [global] notify: /nowhere/hook: No such file or directory".to_owned(),
        format!("warning: [vrrp VI_51] notify: {}: others may change it", open.display()),
    ] {
        ensure!(said.contains(&what), "no `{what}` in {said}");
    }
    let ini =
        global(&Vipd::ini(&w.two, None, &[router(100)]), "notify_user = nosuchuser\nnotify = /bin/true");
    let two = Vipd::start(&w.two, &ini)?;
    two.wait_log("[global]: there is no user nosuchuser", secs(2))?;
    ensure!(two.wait_exit(secs(2))?.code() == Some(1), "it starts all the same");
    Ok(())
}
