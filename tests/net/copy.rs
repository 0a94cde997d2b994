//! The last good copy of HAProxy's configuration: a start whose haproxy.cfg is of no use has it.

use super::*;

pub const TESTS: &[(&str, Test)] = &[
    ("an_unusable_configuration_is_replaced_by_the_last_good_copy", unusable),
    ("the_last_good_copy_survives_a_power_cut", power_cut),
    ("other_nodes_are_preferred_to_the_last_good_copy", preferred),
    ("without_a_copy_nothing_is_started", without),
];

const COPY: &str = "LAST GOOD COPY";
/// Something listens in it, so only HAProxy itself can tell that it is wrong.
const REFUSED: &str = "frontend app\n    bind :5000\n    nonsense\n";

/// Makes the configuration one with which HAProxy does not start, and there is no copy of the one it has.
pub fn nonsense(node: &Node) -> Result<()> {
    let copy = copy_of(node);
    life::wait_until("a copy", secs(5), || copy.is_file())?;
    std::fs::remove_file(copy)?;
    node.write("haproxy.cfg", "nonsense\n").map(drop)
}

fn copy_of(node: &Node) -> std::path::PathBuf {
    node.dir().join("vipd/control.haproxy-good.cfg")
}

fn status(vipd: &Vipd) -> Result<String> {
    Ok(String::from_utf8_lossy(&vipd.cli(&["status"])?.stdout).into_owned())
}

fn kill_haproxy(node: &Node) -> Result<()> {
    let master = node.haproxy_master().ok_or_else(|| Error("no HAProxy".to_owned()))?;
    Ok(nix::sys::signal::killpg(nix::unistd::Pid::from_raw(master), Signal::SIGKILL)?)
}

/// Nobody else is there: HAProxy serves with the copy, and takes its file when that is mended, without a word
/// from anybody and without a request that fails.
fn unusable(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let good = std::fs::read_to_string(&cfg)?;
    let one = Vipd::start(&w.one, &patient(&Vipd::ini(&w.one, Some(&cfg), &[quick(100)])))?;
    let copy = copy_of(&w.one);
    let client = w.client()?;
    client.wait_answer_by("node1", ELECTION)?;
    for (round, text) in ["", REFUSED, "global\n    maxconn 7\n"].into_iter().enumerate() {
        life::wait_until("a copy", secs(5), || std::fs::read_to_string(&copy).is_ok_and(|c| c == good))?;
        w.one.write("haproxy.cfg", text)?;
        let mark = one.log().mark();
        kill_haproxy(&w.one)?;
        one.log().wait_from(mark, COPY, secs(10))?;
        client.wait_answer_by("node1", secs(10))?;
        ensure!(status(&one)?.contains(COPY), "{}", status(&one)?);
        let out = one.cli(&["reload"])?;
        ensure!(out.status.code() == Some(1), "a broken file was accepted: {}", out.status);
        ensure!(w.one.haproxy_master().is_some() && status(&one)?.contains(COPY), "{}", status(&one)?);
        let (mark, mended) = (one.log().mark(), Instant::now());
        w.one.write("haproxy.cfg", &good)?;
        if round == 0 {
            one.signal(Signal::SIGUSR2);
        }
        one.log().wait_from(mark, " ready after ", secs(10))?;
        life::wait_until("the status to be well", secs(2), || status(&one).is_ok_and(|s| !s.contains(COPY)))?;
        std::thread::sleep(ms(300)); // the last requests come to their end
        let report = client.report(mended, Instant::now())?;
        ensure!(report.failures() == 0, "the mended file cost requests: {report}");
    }
    Ok(())
}

/// What is in memory is gone, and the file is empty. The next vipd takes over what runs with the copy.
fn power_cut(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let (good, copy) = (std::fs::read_to_string(&cfg)?, w.one.dir().join("disk/good.cfg"));
    let last_good = format!("[haproxy]\nlast_good = {}\n", copy.display());
    let ini = patient(&Vipd::ini(&w.one, Some(&cfg), &[quick(100)]).replace("[haproxy]\n", &last_good));
    let one = Vipd::start(&w.one, &ini)?;
    life::wait_until("a copy", ELECTION, || std::fs::read_to_string(&copy).is_ok_and(|c| c == good))?;
    one.kill();
    one.wait_exit(secs(2))?;
    kill_haproxy(&w.one)?;
    life::wait_until("HAProxy to end", secs(5), || w.one.haproxy_master().is_none())?;
    std::fs::remove_dir_all(w.one.dir().join("vipd"))?;
    w.one.write("haproxy.cfg", "")?;
    let two = Vipd::start(&w.one, &ini)?;
    two.wait_log(COPY, secs(10))?;
    let client = w.client()?;
    client.wait_answer_by("node1", ELECTION)?;
    two.kill();
    two.wait_exit(secs(2))?;
    let three = Vipd::start(&w.one, &ini)?;
    three.wait_log("already runs: taking it over", secs(5))?;
    three.wait_log(COPY, secs(10))?;
    client.wait_answer_by("node1", ELECTION)?;
    let mark = three.log().mark();
    w.one.write("haproxy.cfg", &good)?;
    three.log().wait_from(mark, " ready after ", secs(10))?;
    ensure!(!status(&three)?.contains(COPY), "{}", status(&three)?);
    Ok(())
}

/// A copy that others may change is none.
fn without(w: &World) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let copy = w.one.write("good.cfg", &std::fs::read_to_string(&cfg)?)?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o666))?;
    let last_good = format!("[haproxy]\nrestart_backoff_max = 0.3\nlast_good = {}\n", copy.display());
    let ini = Vipd::ini(&w.one, Some(&cfg), &[quick(100)]).replace("[haproxy]\n", &last_good);
    w.one.write("haproxy.cfg", REFUSED)?;
    let one = Vipd::start(&w.one, &ini)?;
    life::wait_until("some starts that fail", secs(20), || one.log().grep("failed to start").len() > 4)?;
    // The next one is tried in this moment.
    let believed = [COPY, " ready after "].iter().any(|word| !one.log().grep(word).is_empty());
    ensure!(!believed, "the copy was believed");
    Ok(())
}

/// The copy serves until the other node is master, so the move costs the clients nothing; and the address
/// comes back when the file is mended.
fn preferred(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let one = Vipd::start(&w.one, &patient(&Vipd::ini(&w.one, Some(&cfg), &[quick(100)])))?;
    w.node1_is_master()?;
    let (_two, _) = w.with_haproxy(Kind::Vipd, &w.two, quick(99))?;
    life::wait_until("a copy", secs(5), || copy_of(&w.one).is_file())?;
    let (client, good) = (w.client()?, std::fs::read_to_string(&cfg)?);
    client.wait_answer_by("node1", secs(5))?;
    w.one.write("haproxy.cfg", "")?;
    kill_haproxy(&w.one)?;
    one.wait_log(COPY, secs(5))?;
    let served = Instant::now();
    client.wait_answer_by("node2", secs(5))?;
    std::thread::sleep(ms(300)); // the last requests come to their end
    let report = client.report(served, Instant::now())?;
    ensure!(report.failures() == 0, "the move from the copy cost requests: {report}");
    w.one.write("haproxy.cfg", &good)?;
    client.wait_answer_by("node1", secs(10))?;
    w.watcher.no_overlap(VIP, ms(20))
}
