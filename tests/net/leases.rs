//! Leases, what an earlier vipd left, and the kernel as the truth: interfaces and addresses that come, go and
//! change, over IPv4 and IPv6 at once.

use super::life::wait_until;
use super::*;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sendto, socket,
};
use std::os::fd::AsRawFd;
use std::process::Command;

pub const TESTS: &[(&str, Test)] = &[
    ("kernel_leases_of_all_lengths", lengths),
    ("kernel_leftovers_of_another_configuration_go", leftovers),
    ("kernel_leftovers_without_tags", without_tags),
    ("kernel_secondaries_outlive_a_vip", secondaries),
    ("kernel_vip_deleted_again_and_again_is_complained_of", deleted_again),
    ("kernel_addresses_put_back_at_once_move_nothing", put_back_at_once),
    ("kernel_link_down_and_up", |w| ends_well(w, "down")),
    ("kernel_link_removed_and_made_anew", |w| ends_well(w, "removed")),
    ("kernel_link_made_anew_at_once", |w| ends_well(w, "replaced")),
    ("kernel_link_renamed_and_back", |w| ends_well(w, "renamed")),
    ("kernel_link_with_another_mac", another_mac),
    ("kernel_link_without_its_source_addresses", |w| ends_well(w, "sourceless")),
    ("kernel_link_with_a_small_mtu", |w| ends_well(w, "small")),
    ("kernel_link_absent_at_the_start", |w| ends_well(w, "absent")),
    ("kernel_link_that_flaps_does_not_fill_the_log", flaps),
    ("kernel_vmac_v6_outlives_a_small_mtu", vmac_small_mtu),
    ("kernel_vip_that_is_left_alone_brings_its_route", alone),
    ("kernel_master_without_addresses_gives_way", refused),
    ("kernel_lost_netlink_messages_are_made_up_for", overrun),
    ("kernel_forged_netlink_messages_are_not_believed", forged),
];

const LINK_LOCAL: &str = "fe80::230";
const GLOBAL: &str = "2001:db8:30::230";
const LEASELESS: &str = "192.168.30.231";

/// One virtual router of each family.
fn both(priority: u8) -> Vec<Router> {
    let mut six = Router::new(VRID, priority, LINK_LOCAL).v3();
    six.name = "V6".to_owned();
    six.vips.push(format!("{GLOBAL}/64"));
    vec![router(priority), six]
}

fn wait_both(w: &World, node: &str) -> Result<()> {
    w.watcher.wait_holder(VIP, node, ELECTION)?;
    w.watcher.wait_holder(GLOBAL, node, ELECTION)?;
    Ok(())
}

fn shown(node: &Node, what: &str) -> Result<String> {
    let args = ["-d", "-o", "addr", "show", "to", what];
    Ok(String::from_utf8_lossy(&node.output(Command::new("ip").args(args))?.stdout).into_owned())
}

/// The last other address of its subnet leaves, and the VIP was there with a host prefix.
fn alone(w: &World) -> Result<()> {
    let _one = Vipd::run(&w.one, None, &[quick(100)])?;
    w.node1_is_master()?;
    ensure!(shown(&w.one, VIP)?.contains(&format!("{VIP}/32 ")), "{}", shown(&w.one, VIP)?);
    w.one.ip(&format!("addr add 10.44.0.1/24 dev eth0\naddr del {}/24 dev eth0", w.one.addr()))?;
    let prefix = || shown(&w.one, VIP).is_ok_and(|shown| shown.contains(&format!("{VIP_LEN} ")));
    wait_until("the VIP to have its prefix", secs(4), prefix)?;
    // Nothing listens there, which is an answer.
    let to = (v4(VIP), 5000).into();
    let answer = w.client.enter(|| std::net::TcpStream::connect_timeout(&to, secs(3)));
    ensure!(answer.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused), "{VIP} is unreachable");
    Ok(())
}

/// A network manager takes its configuration up again: it flushes the interface and puts its addresses back.
fn put_back_at_once(w: &World) -> Result<()> {
    let run = |node: &Node, priority| Vipd::run(node, None, &[router(priority).with("lease = auto")]);
    let one = run(&w.one, 100)?;
    w.node1_is_master()?;
    let two = run(&w.two, 50)?;
    two.wait_log(words::BACKUP, secs(3))?;
    let own = w.one.addr();
    for _ in 0..5 {
        let (flushed, mark) = (Instant::now(), one.log().mark());
        w.one.ip(&format!("addr flush dev eth0\naddr add {own}/24 dev eth0"))?;
        one.log().wait_from(mark, "resumed within the lease", secs(2))?;
        w.watcher.wait_holder(VIP, "node1", secs(1))?;
        // For as long as a backup waits behind priority 0, and longer.
        let next = w.capture.wait_advert("node1", VRID, flushed + secs(1), secs(3))?;
        let gap = w.watcher.longest_gap(VIP, flushed);
        ensure!(gap < w.bound_to(ms(100), flushed, next.at), "nobody had it for {gap:?}");
        let zeros = w.capture.all(flushed, |s| s.advert(VRID).is_some_and(|a| a.priority == 0));
        ensure!(zeros.is_empty() && two.log().grep(words::MASTER).is_empty(), "{zeros:?}");
    }
    Ok(())
}

fn advertised_since(w: &World, from: Instant) -> usize {
    w.capture.all(from, |s| s.node == "node1" && s.advert(VRID).is_some()).len()
}

fn lengths(w: &World) -> Result<()> {
    let excluded = format!("virtual_ipaddress_excluded = {GLOBAL}/64\nlease = 4");
    let routers = || {
        let off = Router::new(52, 100, LEASELESS)
            .with("lease = off\nvirtual_ipaddress_excluded = 2001:db8:30::231/64");
        vec![router(100).with(&excluded), off]
    };
    let one = Vipd::run(&w.one, None, &routers())?;
    wait_both(w, "node1")?;
    for vip in [LEASELESS, "2001:db8:30::231"] {
        w.watcher.wait_holder(vip, "node1", secs(2))?;
        let text = shown(&w.one, vip)?;
        ensure!(text.contains("valid_lft forever"), "{text}");
    }
    for vip in [VIP, GLOBAL] {
        let text = shown(&w.one, vip)?;
        ensure!(["4sec", "3sec"].iter().any(|s| text.contains(&format!("valid_lft {s}"))), "{text}");
    }
    let text = shown(&w.one, GLOBAL)?;
    ensure!(text.contains("preferred_lft 0sec") && text.contains("nodad"), "{text}");
    one.kill();
    one.wait_exit(secs(1))?;
    let killed = Instant::now();
    for vip in [VIP, GLOBAL] {
        let gone = w.watcher.wait_change(vip, "node1", false, killed, secs(8))?;
        println!("{vip} is gone {:?} after the kill", gone - killed);
        ensure!(gone - killed > ms(2500), "{vip} went too early");
    }
    ensure!(w.watcher.holder(LEASELESS).is_some(), "the permanent one went");
    // Too old to be resumed: removed before the first advert.
    let start = Instant::now();
    let again = Vipd::run(&w.one, None, &routers())?;
    for vip in [LEASELESS, "2001:db8:30::231"] {
        w.watcher.wait_change(vip, "node1", false, start, secs(1))?;
    }
    ensure!(advertised_since(w, start) == 0, "advertised first");
    w.watcher.wait_holder(LEASELESS, "node1", ELECTION)?;
    // One that is never renewed does not tell for how long its master has been gone.
    again.kill();
    again.wait_exit(secs(1))?;
    let third = Vipd::run(&w.one, None, &routers())?;
    third.wait_log("VI_52) Entering BACKUP STATE (started)", secs(1))?;
    Ok(())
}

/// Others' addresses in the VIP's subnet, of which the VIP is the primary one, because it came first.
fn settle_beside(w: &World) -> Result<Vec<&'static str>> {
    w.one.ip("addr add 10.9.9.50/24 dev eth0\naddr add 192.168.30.50/24 dev eth0")?;
    let text = shown(&w.one, "10.9.9.50")?;
    ensure!(text.contains("secondary"), "the VIP is not the primary: {text}");
    Ok(vec!["10.9.9.50", "192.168.30.50", "192.168.30.116"])
}

fn untouched(w: &World, others: &[&str]) -> Result<()> {
    for ip in others {
        let timeline: Vec<_> = w.watcher.timeline(ip).into_iter().filter(|c| c.node == "node1").collect();
        ensure!(timeline.len() == 1 && timeline[0].held, "{ip} went: {timeline:?}");
        let text = shown(&w.one, ip)?;
        ensure!(text.contains("valid_lft forever"), "{ip}: {text}");
    }
    Ok(())
}

fn secondaries(w: &World) -> Result<()> {
    const FIRST: &str = "10.9.9.230";
    w.one.sysctl("net.ipv4.conf.all.promote_secondaries", "0")?;
    w.one.sysctl("net.ipv4.conf.eth0.promote_secondaries", "0")?;
    let one = Vipd::run(&w.one, None, &[Router::new(VRID, 100, "10.9.9.230/24")])?;
    w.watcher.wait_holder(FIRST, "node1", ELECTION)?;
    let others = settle_beside(w)?;
    // Deleted by somebody, let go by a fault, ended by the kernel, removed at the end.
    let mark = Instant::now();
    w.one.ip("addr del 10.9.9.230/24 dev eth0")?;
    let gone = w.watcher.wait_change(FIRST, "node1", false, mark, secs(1))?;
    w.watcher.wait_change(FIRST, "node1", true, gone, secs(1))?;
    untouched(w, &others)?;
    one.kill();
    one.wait_exit(secs(1))?;
    w.watcher.wait_holders(FIRST, &[], secs(5))?;
    untouched(w, &others)?;
    // The others bring the subnet's route now.
    let again = Vipd::run(&w.one, None, &[Router::new(VRID, 100, "10.9.9.230/24")])?;
    w.watcher.wait_holder(FIRST, "node1", ELECTION)?;
    let text = shown(&w.one, FIRST)?;
    ensure!(text.contains("10.9.9.230/32"), "{text}");
    again.terminate();
    again.wait_exit(secs(9))?;
    w.watcher.wait_holders(FIRST, &[], secs(1))?;
    untouched(w, &others)
}

/// Permanent ones, of virtual routers and addresses that are no more, one on an interface that is not used
/// any more.
fn leftovers(w: &World) -> Result<()> {
    w.lan.second()?;
    let off = |vrid, vip: &str, more: &str| Router::new(vrid, 100, vip).with(&format!("lease = off\n{more}"));
    let old = vec![
        off(VRID, "10.9.9.230/24", &format!("virtual_ipaddress_excluded = {GLOBAL}/64\n")),
        off(52, LEASELESS, "virtual_ipaddress_excluded = 192.168.31.231/24 dev eth1\n"),
    ];
    let one = Vipd::run(&w.one, None, &old)?;
    let vips = ["10.9.9.230", GLOBAL, LEASELESS, "192.168.31.231"];
    for vip in vips {
        w.watcher.wait_holder(vip, "node1", ELECTION)?;
    }
    let others = settle_beside(w)?;
    w.one.sysctl("net.ipv4.conf.eth0.promote_secondaries", "0")?;
    one.wait_log("Sending gratuitous ARPs on eth1", secs(1))?;
    one.kill();
    one.wait_exit(secs(1))?;
    let files = || -> Vec<String> {
        let dir = std::fs::read_dir(w.one.dir().join("vipd")).into_iter().flatten().flatten();
        dir.filter_map(|f| f.file_name().into_string().ok()).filter(|n| n.contains(".vrrp.")).collect()
    };
    ensure!(files().len() == 2, "state files: {:?}", files());
    let start = Instant::now();
    let again = Vipd::run(&w.one, None, &[Router::new(VRID, 100, VIP_LEN)])?;
    for vip in vips {
        w.watcher.wait_change(vip, "node1", false, start, secs(1))?;
        again.wait_log(&format!("{vip} is not configured any more: removed"), secs(1))?;
    }
    ensure!(advertised_since(w, start) == 0, "advertised first");
    wait_until("the state files to be gone", secs(1), || files().is_empty())?;
    untouched(w, &others)?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    untouched(w, &others)
}

/// As far as that can be had on a newer kernel: nothing that it tells has a tag before vipd itself adds
/// something.
fn without_tags(w: &World) -> Result<()> {
    w.one.ip("link set lo down")?;
    w.one.sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
    let slow = || vec![router(100).advert_int("2")];
    let untag = |seconds: &str| {
        w.one.ip(&format!("addr change {VIP}/32 dev eth0 valid_lft {seconds} preferred_lft {seconds}"))
    };
    let one = Vipd::run(&w.one, None, &slow())?;
    w.watcher.wait_holder(VIP, "node1", secs(12))?;
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(3))?;
    one.kill();
    one.wait_exit(secs(1))?;
    untag("3")?;
    let again = Vipd::run(&w.one, None, &slow())?;
    again.wait_log("resumed", secs(1))?;
    w.stayed(VIP)?;
    // Not resumed, because it says that it left: removed, and nothing advertised before.
    again.kill();
    again.wait_exit(secs(1))?;
    untag("60")?;
    let file = w.one.dir().join("vipd/control.vrrp.VI_51");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replace("master", "leaving"))?;
    let start = Instant::now();
    let third = Vipd::run(&w.one, None, &slow())?;
    w.watcher.wait_change(VIP, "node1", false, start, secs(1))?;
    ensure!(advertised_since(w, start) == 0, "advertised first");
    third.kill();
    third.wait_exit(secs(1))?;
    // In no state file, or permanent: somebody else's.
    for (named, life) in [(false, " valid_lft 60 preferred_lft 60"), (true, "")] {
        w.one.ip(&format!("addr add {VIP}/32 dev eth0{life}"))?;
        match named {
            true => std::fs::write(&file, &text)?,
            false => drop(std::fs::remove_file(&file)),
        }
        let mark = Instant::now();
        let fourth = Vipd::run(&w.one, None, &slow())?;
        fourth.wait_log("somebody else's permanent address", secs(12))?;
        ensure!(w.watcher.wait_change(VIP, "node1", false, mark, ms(10)).is_err(), "it was removed");
        fourth.kill();
        fourth.wait_exit(secs(1))?;
        w.one.ip(&format!("addr del {VIP}/32 dev eth0"))?;
    }
    Ok(())
}

fn deleted_again(w: &World) -> Result<()> {
    // A lease that is never about to end when the address is deleted: that would be taken for its end.
    let routers: Vec<Router> = both(100).into_iter().map(|r| r.with("lease = 5")).collect();
    let one = Vipd::run(&w.one, None, &routers)?;
    wait_both(w, "node1")?;
    for round in 1..=5 {
        for (vip, host) in [(VIP, 32), (GLOBAL, 64)] {
            let advert = w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
            w.one.ip(&format!("addr del {vip}/{host} dev eth0"))?;
            let gone = w.watcher.wait_change(vip, "node1", false, advert.at, secs(1))?;
            let back = w.watcher.wait_change(vip, "node1", true, gone, secs(1))?;
            ensure!(back - gone < w.bound_to(ms(100), gone, back), "{vip} took {:?}", back - gone);
            if round > 1 {
                one.wait_log(
                    &format!("{vip} was deleted on eth0 by somebody else, {round} times so far"),
                    secs(1),
                )?;
            }
        }
    }
    ensure!(one.log().grep(words::MASTER).len() == 2, "it was elected anew instead");
    let out = one.cli(&["status"])?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    ensure!(text.matches("vips_deleted 5").count() == 2, "{text}");
    Ok(())
}

/// What breaks, and what mends it. While it is broken the other node has the addresses, and after that this
/// one.
fn ends_well(w: &World, what: &str) -> Result<()> {
    let _two = Vipd::run(&w.two, None, &both(50))?;
    wait_both(w, "node2")?;
    if what == "absent" {
        w.one.ip("link del eth0")?;
    }
    let one = Vipd::run(&w.one, None, &both(100))?;
    if what == "absent" {
        one.wait_log("interface eth0 does not exist", secs(2))?;
        w.one.plug()?;
    }
    wait_both(w, "node1")?;
    let own = ipv6::own(&w.one);
    let broken = Instant::now();
    match what {
        "down" => w.one.ip("link set eth0 down")?,
        "removed" => w.one.ip("link del eth0")?,
        "replaced" => {
            w.one.ip("link del eth0")?;
            w.one.plug()?;
        }
        "renamed" => w.one.ip("link set eth0 name away")?,
        "sourceless" => {
            w.one.ip(&format!("addr del 192.168.30.116/24 dev eth0\naddr del {own}/64 dev eth0"))?
        }
        "small" => w.one.ip("link set eth0 mtu 1000")?,
        _ => {}
    }
    match what {
        "down" | "removed" | "renamed" | "sourceless" => wait_both(w, "node2")?,
        // IPv4 is well with that.
        "small" => {
            w.watcher.wait_holder(GLOBAL, "node2", ELECTION)?;
            w.holds(VIP, "node1")?;
        }
        _ => {}
    }
    match what {
        "down" => w.one.ip("link set eth0 up")?,
        "removed" => w.one.plug()?,
        "renamed" => w.one.ip("link set away name eth0")?,
        "sourceless" => {
            w.one.ip(&format!("addr add 192.168.30.116/24 dev eth0\naddr add {own}/64 dev eth0 nodad"))?;
        }
        "small" => w.one.ip("link set eth0 mtu 1500")?,
        _ => {}
    }
    let mended = Instant::now();
    wait_both(w, "node1")?;
    // It stays so. (The capture does not follow a port that is made anew.)
    for vip in [VIP, GLOBAL] {
        let renewed = || w.watcher.last_renewal(vip, "node1").is_some_and(|at| at > mended + secs(4));
        wait_until("renewals", secs(12), renewed)?;
    }
    for vip in [VIP, GLOBAL, LINK_LOCAL] {
        w.holds(vip, "node1")?;
        // A planned hand-over, both ways, on a busy machine.
        w.watcher.no_overlap(vip, ms(500))?;
        println!("{what}: {vip} was nobody's for {:?}", w.watcher.longest_gap(vip, broken));
    }
    ensure!(one.is_alive(), "it has ended");
    at_peace(&[&one])
}

/// Neighbours learn it at once, and nobody is elected.
fn another_mac(w: &World) -> Result<()> {
    let two = Vipd::run(&w.two, None, &both(50))?;
    two.wait_log(words::BACKUP, secs(2))?;
    let _one = Vipd::run(&w.one, None, &both(100))?;
    wait_both(w, "node1")?;
    w.capture.wait_advert("node1", VRID, Instant::now() + ms(500), secs(3))?;
    let (start, new) = (Instant::now(), [2, 0x11, 0x22, 0x33, 0x44, 0x55]);
    w.one.ip("link set eth0 address 02:11:22:33:44:55")?;
    for vip in [VIP, GLOBAL, LINK_LOCAL] {
        let ip = vip.parse().map_err(|_| Error(vip.to_owned()))?;
        let seen = w.capture.wait("an announcement", start, secs(1), |s| s.mac == new && s.announces(ip))?;
        println!("{vip} was announced {:?} after", seen.at - start);
    }
    w.capture.wait_advert("node1", VRID, start + secs(4), secs(8))?;
    for vip in [VIP, GLOBAL] {
        ensure!(w.watcher.timeline(vip).iter().all(|c| c.node == "node1"), "{vip} moved");
    }
    at_peace(&[&two])
}

fn flaps(w: &World) -> Result<()> {
    w.one.ip("link add d0 type veth peer name d1\nlink set d1 up")?;
    let one = Vipd::run(&w.one, None, &[router(100).with("track_interface = d0 weight 10\n")])?;
    w.node1_is_master()?;
    let flap = "link set d0 up\nlink set d0 down\n".repeat(100);
    w.one.ip(&flap)?;
    w.one.ip("link set d0 up")?;
    one.wait_log("Netlink reports d0 up (and 1", secs(15))?;
    let lines = one.log().grep("Netlink reports d0").len();
    println!("{lines} lines");
    ensure!(lines <= 53, "{lines} lines of 201 changes");
    ensure!(one.log().grep(words::MASTER).len() == 1, "it was elected anew");
    Ok(())
}

/// A macvlan follows its parent down, and loses IPv6 below 1280 octets.
fn vmac_small_mtu(w: &World) -> Result<()> {
    let six = |priority| {
        let mut all = both(priority);
        vec![all.remove(1).with("use_vmac = yes")]
    };
    let one = Vipd::run(&w.one, None, &six(100))?;
    w.watcher.wait_holder(GLOBAL, "node1", ELECTION)?;
    let _two = Vipd::run(&w.two, None, &six(50))?;
    w.capture.wait_advert("node1", VRID, Instant::now() + ms(500), secs(3))?;
    for _ in 0..2 {
        w.one.ip("link set eth0 mtu 1000")?;
        w.watcher.wait_holder(GLOBAL, "node2", ELECTION)?;
        w.one.ip("link set eth0 mtu 1500")?;
        w.watcher.wait_holder(GLOBAL, "node1", secs(15))?;
        w.watcher.wait_holder(LINK_LOCAL, "node1", secs(1))?;
    }
    // And an IPv4 one that has IPv6 addresses as well goes on without them meanwhile.
    one.terminate();
    one.wait_exit(secs(9))?;
    let mixed = router(100).with(&format!("use_vmac = yes\nvirtual_ipaddress_excluded = {GLOBAL}/64"));
    let one = Vipd::run(&w.one, None, &[mixed])?;
    w.watcher.wait_holders(GLOBAL, &["node1", "node2"], ELECTION)?;
    w.one.ip("link set eth0 mtu 1000")?;
    w.watcher.wait_holder(GLOBAL, "node2", secs(2))?;
    w.capture.wait_advert("node1", VRID, Instant::now() + secs(2), secs(4))?;
    w.holds(VIP, "node1")?;
    w.one.ip("link set eth0 mtu 1500")?;
    w.watcher.wait_holders(GLOBAL, &["node1", "node2"], secs(4))?;
    ensure!(one.log().grep(words::MASTER).len() == 1, "it was elected anew");
    Ok(())
}

/// IPv6 is taken from its macvlan: the kernel accepts none of its addresses any more.
fn refused(w: &World) -> Result<()> {
    let six = |priority| {
        let mut all = both(priority);
        vec![all.remove(1).with("use_vmac = yes")]
    };
    let two = Vipd::run(&w.two, None, &six(50))?;
    w.watcher.wait_holder(GLOBAL, "node2", ELECTION)?;
    let one = Vipd::run(&w.one, None, &six(100))?;
    w.watcher.wait_holder(GLOBAL, "node1", ELECTION)?;
    w.capture.wait_advert("node1", VRID, Instant::now() + ms(500), secs(3))?;
    let path = "/proc/sys/net/ipv6/conf/vrrp6.51/disable_ipv6";
    let start = Instant::now();
    w.one.enter(|| std::fs::write(path, "1"))?;
    one.wait_log("Now in FAULT state: the kernel refuses the addresses", secs(3))?;
    w.watcher.wait_holder(GLOBAL, "node2", ELECTION)?;
    println!("nobody had it for {:?}", w.watcher.longest_gap(GLOBAL, start));
    let status =
        || -> Result<String> { Ok(String::from_utf8_lossy(&one.cli(&["status"])?.stdout).into_owned()) };
    ensure!(
        status()?.contains("FAULT") && status()?.contains("the kernel refuses the addresses"),
        "{}",
        status()?
    );
    // It does not preempt for that, and is there if the other one goes.
    one.log().wait_from(one.log().mark(), words::BACKUP, secs(12))?;
    w.capture.wait_advert("node2", VRID, Instant::now() + secs(6), secs(8))?;
    w.holds(GLOBAL, "node2")?;
    ensure!(status()?.contains("does not preempt for"), "{}", status()?);
    let mark = one.log().mark();
    w.one.ip("link del vrrp6.51")?;
    w.watcher.wait_holder(GLOBAL, "node1", ELECTION)?;
    // The log comes after the addresses.
    one.log().wait_from(mark, words::MASTER, secs(1))?;
    ensure!(one.log().grep(words::MASTER).len() == 2, "it flapped");
    drop(two);
    Ok(())
}

/// More messages than the buffer holds come while vipd stands still, among them the end of its addresses.
fn overrun(w: &World) -> Result<()> {
    // The leases take 6 s, however slow the machine.
    let slow: Vec<Router> = both(100).into_iter().map(|r| r.advert_int("3")).collect();
    let one = Vipd::run(&w.one, None, &slow)?;
    for vip in [VIP, GLOBAL] {
        w.watcher.wait_holder(vip, "node1", secs(15))?;
    }
    w.one.ip("link add d0 type veth peer name d1\nlink set d0 up")?;
    let flood: String =
        (0..3000).map(|i| format!("addr add 10.8.{}.{}/32 dev d0\n", i / 250, i % 250)).collect();
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(4))?;
    let start = Instant::now();
    one.stop();
    w.one.ip(&flood)?;
    for addr in [format!("{VIP}/32"), format!("{GLOBAL}/64")] {
        // On a slow machine its lease may be over: that is the same to vipd.
        let _ = w.one.ip(&format!("addr del {addr} dev eth0"));
    }
    println!("it stood still for {:?}", start.elapsed());
    one.cont();
    one.wait_log("netlink: messages were lost", secs(2))?;
    for vip in [VIP, GLOBAL] {
        w.watcher.wait_change(vip, "node1", true, start, secs(2))?;
    }
    let line = one.wait_log(words::MASTER, ms(10))?;
    ensure!(line.at < start, "no election");
    ensure!(one.log().grep(words::MASTER).len() == 2, "it was elected anew");
    // What it believes is what is there: an event that was lost does not matter, and the next one is heard.
    one.stop();
    w.one.ip("addr flush dev d0")?;
    w.one.ip("addr del 192.168.30.116/24 dev eth0")?;
    one.cont();
    one.wait_log("interface has no address to send from", secs(3))?;
    w.one.ip("addr add 192.168.30.116/24 dev eth0")?;
    w.watcher.wait_holder(VIP, "node1", secs(15))?;
    Ok(())
}

/// Another process of root's sends to vipd's own netlink sockets that the address and the interface are gone.
fn forged(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let table = w.one.enter(|| std::fs::read_to_string("/proc/thread-self/net/netlink"))?;
    // sk, protocol, port, groups, ...
    let ports: Vec<u32> = table
        .lines()
        .filter_map(|l| {
            let mut words = l.split_whitespace().skip(1);
            let (protocol, port, groups) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
            (protocol == "0" && port != 0 && groups != "00000110").then_some(port)
        })
        .collect();
    let index = w.one.enter(|| nix::net::if_::if_nametoindex("eth0"))?;
    let message = |kind: u16, body: &[u8]| {
        let mut m = Vec::from(u32::try_from(16 + body.len()).unwrap_or(0).to_ne_bytes());
        m.extend(kind.to_ne_bytes());
        m.extend([0; 10]);
        m.extend(body);
        m
    };
    let mut gone = vec![2, 32, 0, 0];
    gone.extend(index.to_ne_bytes());
    for kind in [1u16, 2] {
        gone.extend([8, 0]);
        gone.extend(kind.to_ne_bytes());
        gone.extend(v4(VIP).octets());
    }
    let mut link = vec![0; 4];
    link.extend(index.to_ne_bytes());
    link.extend([0; 8]);
    link.extend([9, 0, 3, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0]);
    let start = Instant::now();
    let delivered = w.one.enter(|| -> Result<usize> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        let mut delivered = 0;
        for port in &ports {
            for forged in [message(21, &gone), message(17, &link), message(4, &[0; 4])] {
                let to = NetlinkAddr::new(*port, 0);
                delivered += usize::from(sendto(fd.as_raw_fd(), &forged, &to, MsgFlags::empty()).is_ok());
            }
        }
        Ok(delivered)
    })?;
    println!("{delivered} messages to {} sockets", ports.len());
    ensure!(delivered >= 6, "the kernel let only {delivered} through to {ports:?}");
    w.capture.wait_advert("node1", VRID, start + secs(3), secs(5))?;
    for word in ["does not exist", "was deleted", "FAULT", "messages were lost"] {
        ensure!(one.log().grep(word).is_empty(), "it believed that: {word}");
    }
    w.stayed(VIP)?;
    // The real one is heard.
    w.one.ip("link set eth0 down")?;
    one.wait_log("Netlink reports eth0 down", secs(1))?;
    Ok(())
}
