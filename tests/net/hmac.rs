//! Signed adverts: pairs, roll-out and rotation of keys by `vipd reload`, and what an attacker can do who
//! knows everything but the key.

use super::emulator::Emulator;
use super::*;
use std::net::{IpAddr, Ipv6Addr};

pub const TESTS: &[(&str, Test)] = &[
    ("hmac_between_two", |w| pair(w, "", |r, _, _| r)),
    ("hmac_between_two_v2", |w| pair(w, "", |r, _, _| Router { version: 2, advert_int: "1".into(), ..r })),
    ("hmac_between_two_monotonic", |w| pair(w, "auth_hmac_anti_replay = monotonic", |r, _, _| r)),
    ("hmac_between_two_by_unicast", |w| pair(w, "", |r, own, peer| r.unicast(own, &[peer]))),
    ("hmac_between_two_v6", between_v6),
    ("hmac_survives_kill_9", |w| survives(w, "")),
    ("hmac_survives_kill_9_monotonic", |w| survives(w, "auth_hmac_anti_replay = monotonic")),
    ("hmac_rolls_out_under_load", rolls_out),
    ("hmac_rotates_keys_under_load", rotates),
    ("hmac_refuses_a_reload_with_a_wrong_key", refuses_reload),
    ("hmac_with_an_emulated_keepalived", emulated),
    ("hmac_attacks", |w| attacks(w, "auth_hmac_time_window = 300")),
    ("hmac_attacks_monotonic", |w| attacks(w, "auth_hmac_anti_replay = monotonic")),
    ("hmac_replays_of_a_dead_master", dead_master),
];

const K1: &str = "auth_hmac_key = 1 thirty-two-octets-or-more-of-key-one";
const K2: &str = "auth_hmac_key = 2 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021";
const ACTIVE1: &str = "auth_hmac_active_key = 1";
const ACTIVE2: &str = "auth_hmac_active_key = 2";
/// Octets of a trailer.
const TRAILER: usize = 28;

fn fast(priority: u8) -> Router {
    router(priority).v3().advert_int("0.2")
}

fn signed(priority: u8, more: &str) -> Router {
    fast(priority).with(K1).with(ACTIVE1).with(more)
}

/// No advert was refused by any of them, for any reason.
fn nothing_refused(all: &[&Vipd]) -> Result<()> {
    for vipd in all {
        let text = String::from_utf8_lossy(&vipd.cli(&["status", "--metrics"])?.stdout).into_owned();
        ensure!(text.contains("vipd_vrrp_adverts"), "no metrics: {text}");
        let discards: Vec<&str> = text.lines().filter(|l| l.contains("discarded_total{")).collect();
        ensure!(discards.is_empty(), "refused: {discards:?}");
    }
    Ok(())
}

/// How many adverts were refused for this reason.
fn refused(vipd: &Vipd, reason: &str) -> Result<usize> {
    let text = String::from_utf8_lossy(&vipd.cli(&["status", "--metrics"])?.stdout).into_owned();
    let line = text.lines().find(|l| l.contains("discarded_total{") && l.contains(&format!("\"{reason}\"")));
    Ok(line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or(0))
}

/// `n` adverts of a node from now on; each with a trailer, or none.
fn adverts(w: &World, node: &str, n: usize, with_trailer: bool) -> Result<Vec<Advert>> {
    let (mut since, mut all) = (Instant::now(), Vec::new());
    for _ in 0..n {
        let seen = w.capture.wait_advert(node, VRID, since, secs(4))?;
        since = seen.at + ms(1);
        let Some(advert) = seen.advert(VRID) else { fail!("no advert") };
        let count = usize::from(advert.message[3]);
        let width = if advert.src.is_ipv4() { 4 } else { 16 };
        let plain = 8 + count * width + if advert.version == 2 { 8 } else { 0 };
        let expected = plain + if with_trailer { TRAILER } else { 0 };
        ensure!(advert.message.len() == expected, "{} octets: {seen}", advert.message.len());
        all.push(advert.clone());
    }
    Ok(all)
}

/// node1 is master, leaves, and comes back.
fn pair(w: &World, more: &str, make: fn(Router, &Node, &Node) -> Router) -> Result<()> {
    let one = || Vipd::run(&w.one, None, &[make(signed(100, more), &w.one, &w.two)]);
    let first = one()?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, None, &[make(signed(99, more), &w.two, &w.one)])?;
    two.wait_log(words::BACKUP, secs(3))?;
    adverts(w, "node1", 5, true)?;
    nothing_refused(&[&first, &two])?;
    first.terminate();
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    first.wait_exit(secs(5))?;
    let again = one()?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    adverts(w, "node1", 5, true)?;
    nothing_refused(&[&again, &two])?;
    w.watcher.no_overlap(VIP, ms(300))?;
    at_peace(&[&again, &two])
}

fn between_v6(w: &World) -> Result<()> {
    const VIP6: &str = "fe80::230";
    let router = |priority| Router::new(VRID, priority, VIP6).v3().advert_int("0.2").with(K1).with(ACTIVE1);
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.watcher.wait_holder(VIP6, "node1", ELECTION)?;
    let two = Vipd::run(&w.two, None, &[router(99)])?;
    two.wait_log(words::BACKUP, secs(3))?;
    for advert in adverts(w, "node1", 3, true)? {
        // As of an IPv6 kernel: the checksum covers the trailer.
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (advert.src, advert.dst) else { fail!("{advert:?}") };
        ensure!(dst == Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12), "{dst}");
        let len = advert.message.len() as u8;
        let pseudo =
            [&src.octets()[..], &dst.octets(), &[0, 0, 0, len, 0, 0, 0, 112], &advert.message].concat();
        ensure!(checksum(&pseudo) == 0, "the checksum does not cover the trailer");
    }
    nothing_refused(&[&one, &two])?;
    one.terminate();
    w.watcher.wait_holder(VIP6, "node2", ELECTION)?;
    at_peace(&[&one, &two])
}

/// The master is killed and resumes, then the backup: nothing moves, and each goes on believing the other.
fn survives(w: &World, more: &str) -> Result<()> {
    // The how-to's interval and lease: a shorter one leaves no time to resume on a busy machine.
    let make = |priority| Router { advert_int: "1".into(), ..signed(priority, more) }.with("lease = auto");
    let one = Vipd::run(&w.one, None, &[make(100)])?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, None, &[make(99)])?;
    two.wait_log(words::BACKUP, secs(3))?;
    adverts(w, "node1", 2, true)?;
    one.kill();
    one.wait_exit(secs(2))?;
    let one = Vipd::run(&w.one, None, &[make(100)])?;
    one.wait_log("resumed within the lease", secs(3))?;
    adverts(w, "node1", 3, true)?;
    two.kill();
    two.wait_exit(secs(2))?;
    let two = Vipd::run(&w.two, None, &[make(99)])?;
    two.wait_log(words::BACKUP, secs(3))?;
    adverts(w, "node1", 5, true)?;
    ensure!(two.log().grep(words::MASTER).is_empty(), "node2 was master");
    nothing_refused(&[&one, &two])?;
    at_peace(&[&one, &two])
}

/// A pair with HAProxy and a client, to be changed by reloads that nobody may notice.
struct Running<'a> {
    w: &'a World,
    one: Vipd,
    two: Vipd,
    client: Client,
    start: Instant,
}

impl<'a> Running<'a> {
    fn start(w: &'a World, lines: &str) -> Result<Self> {
        let (cfg1, cfg2) = (haproxy_cfg(&w.one, SERVICE)?, haproxy_cfg(&w.two, SERVICE)?);
        let one = Vipd::run(&w.one, Some(&cfg1), &[fast(100).with(lines)])?;
        w.node1_is_master()?;
        let two = Vipd::run(&w.two, Some(&cfg2), &[fast(99).with(lines)])?;
        two.wait_log(words::BACKUP, secs(10))?;
        let client = w.client()?;
        client.wait_answer_by("node1", secs(10))?;
        Ok(Running { w, one, two, client, start: Instant::now() })
    }

    /// One node takes these lines, and goes on as it was.
    fn reload(&self, node: u8, lines: &str, signs: bool) -> Result<()> {
        let (vipd, place, priority) =
            if node == 1 { (&self.one, &self.w.one, 100) } else { (&self.two, &self.w.two, 99) };
        let cfg = place.dir().join("haproxy.cfg");
        let ini = Vipd::ini(place, Some(&cfg), &[fast(priority).with(lines)]);
        std::fs::write(vipd.ini_path(), ini)?;
        let out = vipd.cli(&["reload"])?;
        let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        ensure!(out.status.success() && text.contains("VI_51: changed"), "{lines}: {text}");
        adverts(self.w, "node1", 5, signs)?;
        nothing_refused(&[&self.one, &self.two])
    }

    /// Nothing moved since the start, and nobody noticed anything.
    fn finish(self) -> Result<()> {
        for (vipd, word) in [(&self.one, words::MASTER), (&self.two, words::BACKUP)] {
            ensure!(vipd.log().grep(word).len() == 1, "a failover: {:?}", vipd.log().grep("STATE"));
        }
        ensure!(self.two.log().grep(words::MASTER).is_empty(), "node2 was master");
        let odd = self.client.odd(self.start, Instant::now(), secs(1));
        let report = self.client.report(self.start, Instant::now())?;
        ensure!(report.requests > 100 && report.failures() == 0, "the client noticed: {report:?}\n{odd}");
        at_peace(&[&self.one, &self.two])
    }
}

/// None, receive-only, permissive, enforce: each on both nodes before the next.
fn rolls_out(w: &World) -> Result<()> {
    let mode = |mode: &str| format!("{K1}\n{ACTIVE1}\nauth_hmac_mode = {mode}");
    let running = Running::start(w, "")?;
    adverts(w, "node1", 3, false)?;
    for (word, signs) in [("receive-only", false), ("permissive", true), ("enforce", true)] {
        running.reload(2, &mode(word), word == "enforce")?;
        running.reload(1, &mode(word), signs)?;
    }
    running.finish()
}

/// A new key on both nodes, then it signs, then the old one is gone.
fn rotates(w: &World) -> Result<()> {
    let running = Running::start(w, &format!("{K1}\n{ACTIVE1}"))?;
    let ids = |n| -> Result<Vec<u8>> {
        Ok(adverts(w, "node1", n, true)?.iter().map(|a| a.message[a.message.len() - TRAILER + 1]).collect())
    };
    ensure!(ids(3)? == [1, 1, 1], "the first key signs");
    for lines in
        [format!("{K1}\n{K2}\n{ACTIVE1}"), format!("{K1}\n{K2}\n{ACTIVE2}"), format!("{K2}\n{ACTIVE2}")]
    {
        for node in [2, 1] {
            running.reload(node, &lines, true)?;
        }
    }
    ensure!(ids(3)? == [2, 2, 2], "the second key signs");
    for vipd in [&running.one, &running.two] {
        let text = String::from_utf8_lossy(&vipd.cli(&["status"])?.stdout).into_owned();
        ensure!(text.contains("signs with key 2, knows 2, time window 5 s"), "{text}");
        ensure!(!text.contains("000102"), "a key is told: {text}");
    }
    running.finish()
}

/// A wrong key changes nothing: the one that signs goes on.
fn refuses_reload(w: &World) -> Result<()> {
    let path = w.one.write("key", "thirty-two-octets-or-more-of-key-one\n")?;
    let lines = format!("auth_hmac_key = 1 file:{}\n{ACTIVE1}", path.display());
    let one = Vipd::run(&w.one, None, &[fast(100).with(&lines)])?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, None, &[signed(99, "")])?;
    two.wait_log(words::BACKUP, secs(3))?;
    for (content, message) in [
        ("short\n", "auth_hmac_key 1 has 5 octets: 32 to 64 are needed"),
        ("hex:0\n", "auth_hmac_key 1 is not an even number of hexadecimal digits"),
        ("\n", "is empty"),
    ] {
        std::fs::write(&path, content)?;
        let out = one.cli(&["reload"])?;
        let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        ensure!(out.status.code() == Some(2), "{text}");
        ensure!(text.contains(message) && text.contains("nothing was changed"), "{text}");
        adverts(w, "node1", 2, true)?;
    }
    std::fs::remove_file(&path)?;
    ensure!(one.cli(&["reload"])?.status.code() == Some(2), "a key that is gone was accepted");
    adverts(w, "node1", 2, true)?;
    nothing_refused(&[&one, &two])
}

/// An emulated keepalived 2.4.3 on node2: it takes every advert of vipd's, and vipd every one of its.
fn emulated(w: &World) -> Result<()> {
    let (one, two) = (w.one.addr(), w.two.addr());
    let key: &[u8] = b"thirty-two-octets-or-more-of-key-one";
    let mut ka = Emulator::new(&[(1, key)], 1);
    let vipd = Vipd::run(&w.one, None, &[signed(100, "")])?;
    w.node1_is_master()?;
    for advert in adverts(w, "node1", 5, true)? {
        ensure!(advert.src == one, "{advert:?}");
        ka.hear(&advert).map_err(|why| Error(format!("{why}: {advert:?}")))?;
        ensure!(ka.hear(&advert) == Err("replayed authentication trailer"), "a second time");
    }
    // It has a higher priority, and is master for a while.
    let vip = v4(VIP);
    for n in 0..6 {
        w.two.inject(two, 255, &ka.advert(two, VRID, 200, 20, vip))?;
        if n == 0 {
            vipd.wait_log(words::BACKUP, secs(2))?;
        }
        // Its interval, more or less.
        std::thread::sleep(ms(150));
    }
    ensure!(vipd.log().grep(words::MASTER).len() == 1, "vipd did not follow");
    // And resigns.
    w.two.inject(two, 255, &ka.advert(two, VRID, 0, 20, vip))?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    nothing_refused(&[&vipd])?;
    // Its second key is not known here, and what it signs with the wrong one is refused.
    for (keys, word) in [
        ([(1, key), (9, key)], "unknown authentication key id 9 from 192.168.30.117"),
        ([(9, key), (1, &[7; 32][..])], "invalid authentication HMAC from 192.168.30.117"),
    ] {
        let mut other = Emulator::new(&keys, keys[1].0);
        let mark = vipd.log().mark();
        w.two.inject(two, 255, &other.advert(two, VRID, 200, 20, vip))?;
        vipd.log().wait_from(mark, word, secs(2))?;
    }
    let mark = vipd.log().mark();
    let plain = ka.advert(two, VRID, 200, 20, vip);
    w.two.inject(two, 255, &plain[..plain.len() - TRAILER])?;
    vipd.log().wait_from(mark, "missing authentication trailer from 192.168.30.117", secs(2))?;
    ensure!(vipd.log().grep(words::MASTER).len() == 2, "it moved: {:?}", vipd.log().grep("STATE"));
    Ok(())
}

/// A packet with another message in it and the checksums that are right for it.
fn bent(packet: &[u8], bend: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut all = packet.to_vec();
    bend(&mut all);
    all[10..12].fill(0);
    let sum = checksum(&all[..20]).to_be_bytes();
    all[10..12].copy_from_slice(&sum);
    let end = all.len() - TRAILER;
    let len = (end - 20) as u8;
    all[26..28].fill(0);
    let pseudo = [&all[12..20], &[0, 112, 0, len], &all[20..end]].concat();
    let sum = checksum(&pseudo).to_be_bytes();
    all[26..28].copy_from_slice(&sum);
    all
}

/// Without its trailer.
fn stripped(packet: &[u8]) -> Vec<u8> {
    let mut all = packet[..packet.len() - TRAILER].to_vec();
    let len = (all.len() as u16).to_be_bytes();
    all[2..4].copy_from_slice(&len);
    all[10..12].fill(0);
    let sum = checksum(&all[..20]).to_be_bytes();
    all[10..12].copy_from_slice(&sum);
    all
}

/// Everything that somebody can make of recorded adverts who does not have the key; of each, why it is
/// refused.
fn forgeries(recorded: &[Advert]) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = Vec::new();
    for advert in recorded {
        let p = &advert.packet;
        let trailer = p.len() - TRAILER;
        for priority in [0, 1, 255] {
            all.push(("auth_ext_invalid_hmac", bent(p, |p| p[22] = priority)));
            all.push(("auth_ext_missing", stripped(&bent(p, |p| p[22] = priority))));
        }
        all.push(("auth_ext_replay", p.clone()));
        all.push(("auth_ext_invalid_hmac", bent(p, |p| p[15] = 118)));
        all.push(("auth_ext_invalid_hmac", bent(p, |p| p[25] = 1)));
        all.push(("auth_ext_invalid_hmac", bent(p, |p| p[trailer + 9] ^= 1)));
        all.push(("auth_ext_unknown_key", bent(p, |p| p[trailer + 1] = 9)));
        all.push(("auth_ext_malformed", bent(p, |p| p[trailer] = 2)));
        all.push(("auth_ext_malformed", bent(p, |p| p[trailer + 3] = 1)));
    }
    all
}

/// Sends them all, from a third machine; every one is counted by `vipd` as what it is.
fn attack(w: &World, vipd: &Vipd, recorded: &[Advert]) -> Result<()> {
    const REASONS: [&str; 5] = [
        "auth_ext_invalid_hmac",
        "auth_ext_missing",
        "auth_ext_replay",
        "auth_ext_unknown_key",
        "auth_ext_malformed",
    ];
    let all = forgeries(recorded);
    let before: Vec<usize> = REASONS.iter().map(|r| refused(vipd, r)).collect::<Result<_>>()?;
    for (_, packet) in &all {
        w.client.inject_packet(packet)?;
    }
    adverts(w, "node1", 3, true)?;
    for (reason, before) in REASONS.iter().zip(before) {
        let sent = all.iter().filter(|(r, _)| r == reason).count();
        let counted = refused(vipd, reason)? - before;
        ensure!(counted == sent, "{counted} of {sent} are {reason}");
    }
    Ok(())
}

/// The backup's position: it must neither take over nor believe in another master.
fn attacks(w: &World, more: &str) -> Result<()> {
    let routers = |priority: u8| {
        // The same key for another virtual router, as somebody lazy would have it.
        let other = Router {
            vrid: 52,
            name: "VI_52".into(),
            vips: vec!["192.168.30.231/24".into()],
            ..signed(priority, more)
        };
        [signed(priority, more), other]
    };
    let start = Instant::now();
    let one = Vipd::run(&w.one, None, &routers(100))?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, None, &routers(99))?;
    two.wait_log(words::BACKUP, secs(3))?;
    let recorded = adverts(w, "node1", 8, true)?;
    attack(w, &two, &recorded)?;
    // An advert for another virtual router.
    let before = w.capture.all(start, |_| true).len();
    for advert in &recorded {
        w.client.inject_packet(&bent(&advert.packet, |p| p[21] = 52))?;
    }
    w.capture.wait("the last of them", start, secs(2), |s| s.node == "client" && s.advert(52).is_some())?;
    ensure!(w.capture.all(start, |_| true).len() > before, "nothing was sent");
    adverts(w, "node1", 3, true)?;
    let text = String::from_utf8_lossy(&two.cli(&["status", "--metrics"])?.stdout).into_owned();
    let other = text.lines().find(|l| l.contains("VI_52") && l.contains("auth_ext_invalid_hmac"));
    ensure!(other.is_some_and(|l| l.ends_with(&format!(" {}", recorded.len()))), "{text}");
    // The backup is killed and started again, and hears all of it once more.
    two.kill();
    two.wait_exit(secs(2))?;
    let two = Vipd::run(&w.two, None, &routers(99))?;
    two.wait_log(words::BACKUP, secs(3))?;
    attack(w, &two, &recorded)?;
    // So does one that ends and starts in order.
    two.terminate();
    two.wait_exit(secs(5))?;
    let two = Vipd::run(&w.two, None, &routers(99))?;
    two.wait_log(words::BACKUP, secs(3))?;
    attack(w, &two, &recorded)?;
    ensure!(two.log().grep(words::MASTER).is_empty(), "node2 was master");
    ensure!(one.log().grep(words::MASTER).len() == 2, "node1 gave up: {:?}", one.log().grep("STATE"));
    ensure!(w.watcher.holder(VIP).as_deref() == Some("node1"), "{VIP} moved");
    for secret in ["thirty-two-octets", "Hmac {"] {
        ensure!(two.log().grep(secret).is_empty(), "a secret is told");
    }
    Ok(())
}

/// The master is dead, and its adverts come once more, its priority 0 among them; also after the new master
/// was started again.
fn dead_master(w: &World) -> Result<()> {
    let more = "auth_hmac_time_window = 300";
    // What is heard more often than each 1/4 s is not all written; priority 0 is.
    let make = |priority| signed(priority, more).advert_int("0.3");
    let start = Instant::now();
    let one = Vipd::run(&w.one, None, &[make(200)])?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, None, &[make(100)])?;
    two.wait_log(words::BACKUP, secs(3))?;
    adverts(w, "node1", 3, true)?;
    one.terminate();
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    one.wait_exit(secs(5))?;
    let old = w.capture.all(start, |s| s.node == "node1" && s.advert(VRID).is_some());
    let replay = |two: &Vipd| -> Result<()> {
        let before = refused(two, "auth_ext_replay")?;
        for advert in old.iter().filter_map(|s| s.advert(VRID)) {
            w.client.inject_packet(&advert.packet)?;
        }
        adverts(w, "node2", 3, true)?;
        let counted = refused(two, "auth_ext_replay")? - before;
        // node2 was not there for the first ones, and takes the first that it hears for new: it has heard
        // later ones.
        ensure!(counted == old.len(), "{counted} of {} are replays", old.len());
        ensure!(w.watcher.holder(VIP).as_deref() == Some("node2"), "{VIP} moved");
        Ok(())
    };
    replay(&two)?;
    ensure!(two.log().grep(words::BACKUP).len() == 1, "node2 gave way to a recording");
    two.kill();
    two.wait_exit(secs(2))?;
    let two = Vipd::run(&w.two, None, &[make(100)])?;
    two.wait_log(words::MASTER, ELECTION)?;
    let mark = two.log().mark();
    replay(&two)?;
    ensure!(two.log().wait_from(mark, words::BACKUP, ms(1)).is_err(), "node2 gave way to a recording");
    Ok(())
}
