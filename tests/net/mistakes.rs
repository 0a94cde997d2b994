//! Mistakes of others: what is refused is named, and nothing of it does harm.

use super::*;

pub const TESTS: &[(&str, Test)] = &[
    ("names_a_wrong_password", names_wrong_password),
    ("names_a_wrong_interval", names_wrong_interval),
    ("names_a_wrong_ttl", names_wrong_ttl),
    ("names_wrong_addresses", names_wrong_addresses),
    ("names_a_wrong_authentication", names_wrong_auth_type),
    ("names_a_wrong_vrid", names_wrong_vrid),
    ("ignores_other_virtual_routers", ignores_other_vrids),
    ("bears_garbage", bears_garbage),
    ("does_not_amplify_lower_adverts", does_not_amplify),
];

/// A master on node1 that hears what `packet` sends three times must stay one, and say why.
fn shrugs_off(w: &World, expected: &[&str], bogus: bool, packet: impl Fn() -> Result<()>) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let mark = one.log().mark();
    for _ in 0..3 {
        packet()?;
    }
    if !expected.is_empty() {
        one.log().wait_any(mark, expected, secs(2))?;
    }
    if bogus {
        one.log().wait_from(mark, words::BOGUS, secs(2))?;
    }
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    w.holds(VIP, "node1")?;
    ensure!(one.is_alive(), "vipd died");
    // What comes with every packet is said once.
    let said = one.log().grep(words::BOGUS).len();
    ensure!(said == usize::from(bogus), "said {said} times");
    Ok(())
}

fn names_wrong_password(w: &World) -> Result<()> {
    shrugs_off(w, words::WRONG_PASSWORD, true, || w.inject(200, 1, Some("2222"), VIP))
}

fn names_wrong_interval(w: &World) -> Result<()> {
    shrugs_off(w, words::WRONG_INTERVAL, true, || w.inject(200, 2, Some("1111"), VIP))
}

fn names_wrong_ttl(w: &World) -> Result<()> {
    let packet = advert(VRID, 200, 1, Some("1111"), &[v4(VIP)]);
    shrugs_off(w, words::WRONG_TTL, true, || w.two.inject(w.two.addr(), 254, &packet))
}

/// Another list of addresses is said, but the advert counts: both being master would be worse.
fn names_wrong_addresses(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    w.inject(200, 1, Some("1111"), "192.168.30.240")?;
    one.log().wait_any(0, words::WRONG_VIPS, secs(2))?;
    w.watcher.wait_holders(VIP, &[], secs(7))?;
    one.wait_log(words::BACKUP, secs(1))?;
    Ok(())
}

fn names_wrong_auth_type(w: &World) -> Result<()> {
    shrugs_off(w, words::WRONG_AUTH_TYPE, true, || w.inject(200, 1, None, VIP))
}

/// Our address under another number is a second master, or a slip of the pen.
fn names_wrong_vrid(w: &World) -> Result<()> {
    let packet = advert(52, 200, 1, Some("1111"), &[v4(VIP)]);
    shrugs_off(w, words::WRONG_VRID, true, || w.two.inject(w.two.addr(), 255, &packet))
}

fn ignores_other_vrids(w: &World) -> Result<()> {
    let packet = advert(52, 200, 1, Some("1111"), &[v4("192.168.30.240")]);
    shrugs_off(w, words::STRANGE_VRID, false, || w.two.inject(w.two.addr(), 255, &packet))
}

fn bears_garbage(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let whole = advert(VRID, 200, 1, Some("1111"), &[v4(VIP)]);
    for _ in 0..3 {
        for len in 0..whole.len() {
            w.two.inject(w.two.addr(), 255, &whole[..len])?;
        }
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 0x5a; // always a wrong checksum
            w.two.inject(w.two.addr(), 255, &bent)?;
        }
        w.two.inject(w.two.addr(), 255, &[0xff; 1400])?;
        for src in ["0.0.0.0", "224.0.0.1", VIP] {
            w.two.inject(v4(src), 255, &whole)?;
        }
    }
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    w.holds(VIP, "node1")?;
    ensure!(one.is_alive(), "vipd has ended");
    // About 130 packets of a dozen kinds: each kind is said once or so.
    let said = one.log().grep(words::BOGUS).len();
    ensure!((1..=20).contains(&said), "said {said} times");
    Ok(())
}

fn does_not_amplify(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let start = Instant::now();
    for _ in 0..50 {
        w.inject(10, 1, Some("1111"), VIP)?;
        w.inject(0, 1, Some("1111"), VIP)?;
    }
    let took = start.elapsed();
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    let answers = w.capture.all(start, |s| s.node == "node1" && s.advert(VRID).is_some()).len();
    // One for each 250 ms at most, and the regular ones.
    let most = 3 + 2 * took.as_millis() as usize / 250;
    ensure!(answers <= most, "{answers} adverts in answer to 100 within {took:?}");
    let said = one.log().grep(words::LOWER_PRIO[0]).len();
    ensure!(said == 1, "said {said} times");
    Ok(())
}
