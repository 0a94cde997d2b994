//! Succession: a holder that is killed or stands still is never joined by a second one, and may come back
//! first.

use super::*;

pub const TESTS: &[(&str, Test)] = &[
    ("puts_a_stolen_address_back", puts_back),
    ("kill_9_leaves_no_second_holder", |w| no_second_holder(w, 3, Kind::Vipd, Signal::SIGKILL, ms(0))),
    ("kill_9_late_leaves_no_second_holder", |w| no_second_holder(w, 3, Kind::Vipd, Signal::SIGKILL, ms(800))),
    ("kill_9_beside_keepalived", |w| no_second_holder(w, 3, Kind::Keepalived, Signal::SIGKILL, ms(400))),
    ("a_stall_leaves_no_second_holder", |w| no_second_holder(w, 3, Kind::Vipd, Signal::SIGSTOP, ms(0))),
    ("a_late_stall_leaves_no_second_holder", |w| {
        no_second_holder(w, 3, Kind::Vipd, Signal::SIGSTOP, ms(800))
    }),
    ("a_stall_beside_keepalived", |w| no_second_holder(w, 3, Kind::Keepalived, Signal::SIGSTOP, ms(400))),
    ("a_stall_amid_many_adverts", |w| no_second_holder(w, 60, Kind::Vipd, Signal::SIGSTOP, ms(0))),
    ("resumes_after_a_crash", resumes),
];

fn puts_back(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let advert = w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    // Right after an advert its lease has time left.
    let dump = w.one.output(std::process::Command::new("ip").args(["-o", "addr", "show", "to", VIP]))?;
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    let cidr = dump.split_whitespace().find(|word| word.starts_with(VIP));
    let cidr = cidr.ok_or_else(|| Error(format!("no {VIP} in {dump}")))?;
    w.one.ip(&format!("addr del {cidr} dev eth0"))?;
    let gone = w.watcher.wait_change(VIP, "node1", false, advert.at, secs(1))?;
    let back = w.watcher.wait_change(VIP, "node1", true, gone, secs(1))?;
    ensure!(back - gone < w.bound_to(ms(100), gone, back), "it took {:?}", back - gone);
    ensure!(one.log().grep(words::MASTER).len() == 1, "it was elected anew instead");
    Ok(())
}

/// Some virtual routers on node1, which is killed or stopped.
fn no_second_holder(w: &World, count: u8, peer: Kind, signal: Signal, phase: Duration) -> Result<()> {
    let vips: Vec<String> = (0..count).map(|i| format!("192.168.30.{}", 130 + i)).collect();
    let vips: Vec<&str> = vips.iter().map(String::as_str).collect();
    held_once(w, peer, signal, phase, &vips, |_, priority| {
        let each = vips.iter().zip(VRID..);
        each.map(|(vip, vrid)| Router::new(vrid, priority, &format!("{vip}/24"))).collect()
    })
}

/// node1 is killed or stopped, against a peer with priority 254 that takes over as soon as the protocol lets
/// it: never two holders. The signal comes `phase` after the first advert of a round; with zero it falls
/// between the adverts of that round.
pub fn held_once(
    w: &World,
    peer: Kind,
    signal: Signal,
    phase: Duration,
    vips: &[&str],
    routers: impl Fn(Kind, u8) -> Vec<Router>,
) -> Result<()> {
    let routers = |kind, priority| -> Vec<Router> {
        routers(kind, priority).into_iter().map(Router::no_preempt).collect()
    };
    let one = Daemon::start(Kind::Vipd, &w.one, &routers(Kind::Vipd, 100))?;
    for vip in vips {
        w.watcher.wait_holder(vip, "node1", ELECTION)?;
    }
    let two = Daemon::start(peer, &w.two, &routers(peer, 254))?;
    two.wait_log(words::BACKUP, secs(2))?;
    let advert = w.capture.wait_advert("node1", VRID, Instant::now() + ms(300), secs(2))?;
    std::thread::sleep((advert.at + phase).saturating_duration_since(Instant::now()));
    one.signal(signal);
    let start = Instant::now();
    for vip in vips {
        let gone = w.watcher.wait_change(vip, "node1", false, start, secs(4))?;
        ensure!(
            gone - start < w.bound_to(ms(3050), start, gone),
            "{vip} outlived its lease: {:?}",
            gone - start
        );
        w.watcher.wait_holder(vip, "node2", secs(4))?;
    }
    if signal == Signal::SIGSTOP {
        let mark = one.log().mark();
        one.cont();
        one.log().wait_from(mark, words::BACKUP, secs(3))?;
        w.capture.wait_advert("node2", VRID, Instant::now() + secs(1), secs(4))?;
    }
    for vip in vips {
        w.watcher.no_overlap(vip, Duration::ZERO)?;
        w.holds(vip, "node2")?;
    }
    Ok(())
}

fn resumes(w: &World) -> Result<()> {
    let ini = Vipd::ini(&w.one, None, &[router(100)]);
    let one = Vipd::start(&w.one, &ini)?;
    w.node1_is_master()?;
    resumed(w, one, &ini, router(254), VIP)
}

/// Killed and started at once, as init does it: master again before anybody notices.
pub fn resumed(w: &World, one: Vipd, ini: &str, other: Router, vip: &str) -> Result<()> {
    let two = Daemon::start(Kind::Vipd, &w.two, &[other.no_preempt()])?;
    two.wait_log(words::BACKUP, secs(2))?;
    let start = w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?.at;
    one.kill();
    one.wait_exit(secs(1))?;
    let again = Vipd::start(&w.one, ini)?;
    again.wait_log(words::MASTER, secs(1))?;
    for i in 1..=4 {
        w.capture.wait_advert("node1", VRID, start + secs(i), secs(2))?;
    }
    w.stayed(vip)?;
    ensure!(two.log().grep(words::MASTER).is_empty(), "node2 became master");
    Ok(())
}
