//! Each kind of virtual router against a real keepalived, in both roles and under traffic: who is to be
//! master is, the other one is silent, and the client reaches the master.

use super::*;

macro_rules! both_roles {
    ($($over:literal $under:literal $cell:expr,)*) => {
        pub const TESTS: &[(&str, Test)] = &[$(
            ($over, |w| serves(w, Kind::Vipd, Kind::Keepalived, $cell)),
            ($under, |w| serves(w, Kind::Keepalived, Kind::Vipd, $cell)),
        )*];
    };
}

both_roles! {
    "interop_v2_none_over_keepalived" "interop_v2_none_under_keepalived" &Cell { of: none, ..USUAL },
    "interop_v2_pass_over_keepalived" "interop_v2_pass_under_keepalived" &USUAL,
    "interop_v3_over_keepalived" "interop_v3_under_keepalived" &Cell { of: v3, ..USUAL },
    "interop_v6_over_keepalived" "interop_v6_under_keepalived" &SIX,
    "interop_v6_vmac_over_keepalived" "interop_v6_vmac_under_keepalived" &Cell { of: v6_vmac, ..SIX },
    "interop_unicast_vmac_over_keepalived" "interop_unicast_vmac_under_keepalived"
        &Cell { of: unicast_vmac, ..USUAL },
    "interop_ah_vmac_over_keepalived" "interop_ah_vmac_under_keepalived" &Cell { of: ah_vmac, ..USUAL },
    "interop_group_over_keepalived" "interop_group_under_keepalived" &Cell { of: group, vips: TWO, ..USUAL },
    "interop_group_vmac_over_keepalived" "interop_group_vmac_under_keepalived"
        &Cell { of: group_vmac, vips: TWO, ..USUAL },
    "interop_nopreempt_over_keepalived" "interop_nopreempt_under_keepalived"
        &Cell { of: nopreempt, returns: Returns::Never, ..USUAL },
    "interop_preempt_delay_over_keepalived" "interop_preempt_delay_under_keepalived"
        &Cell { of: delayed, returns: Returns::After(6), ..USUAL },
}

/// A kind of virtual router, and what is to be seen of it.
struct Cell {
    of: fn(Kind, &Node, &Node, u8) -> Vec<Router>,
    vips: &'static [&'static str],
    returns: Returns,
}

/// When the better node takes the addresses back.
enum Returns {
    /// After it has listened for a down interval.
    AtOnce,
    /// As many seconds later than that.
    After(u64),
    /// Only when the other one stops.
    Never,
}

const USUAL: Cell = Cell { of: pass, vips: &[VIP], returns: Returns::AtOnce };
const SIX: Cell = Cell { of: v6, vips: &["2001:db8:30::230"], ..USUAL };
const TWO: &[&str] = &[VIP, "192.168.31.230"];

fn pass(_: Kind, _: &Node, _: &Node, priority: u8) -> Vec<Router> {
    vec![router(priority)]
}

fn none(_: Kind, _: &Node, _: &Node, priority: u8) -> Vec<Router> {
    vec![router(priority).auth(None)]
}

fn v3(_: Kind, _: &Node, _: &Node, priority: u8) -> Vec<Router> {
    vec![router(priority).v3()]
}

fn v6(_: Kind, _: &Node, _: &Node, priority: u8) -> Vec<Router> {
    let mut router = Router::new(VRID, priority, "fe80::230").v3();
    router.vips.push("2001:db8:30::230/64".to_owned());
    vec![router]
}

fn v6_vmac(kind: Kind, node: &Node, peer: &Node, priority: u8) -> Vec<Router> {
    v6(kind, node, peer, priority).into_iter().map(|r| vmac(kind, r)).collect()
}

fn unicast_vmac(kind: Kind, node: &Node, peer: &Node, priority: u8) -> Vec<Router> {
    let base = said(kind, "vmac_xmit_base = yes", " vmac_xmit_base");
    vec![vmac(kind, router(priority).unicast(node, &[peer])).with(base)]
}

fn ah_vmac(kind: Kind, _: &Node, _: &Node, priority: u8) -> Vec<Router> {
    vec![vmac(kind, router(priority).ah())]
}

fn group(_: Kind, _: &Node, _: &Node, priority: u8) -> Vec<Router> {
    let mut all = vec![router(priority), Router::new(52, priority, "192.168.31.230/24")];
    all[1].interface = "eth1".to_owned();
    all
}

fn group_vmac(kind: Kind, node: &Node, peer: &Node, priority: u8) -> Vec<Router> {
    group(kind, node, peer, priority).into_iter().map(|r| vmac(kind, r)).collect()
}

fn nopreempt(_: Kind, _: &Node, _: &Node, priority: u8) -> Vec<Router> {
    vec![router(priority).no_preempt()]
}

fn delayed(kind: Kind, _: &Node, _: &Node, priority: u8) -> Vec<Router> {
    vec![router(priority).with(said(kind, "preempt_delay = 6", " preempt_delay 6"))]
}

fn vmac(kind: Kind, router: Router) -> Router {
    router.with(said(kind, "use_vmac = yes", " use_vmac"))
}

fn said(kind: Kind, vipd: &'static str, keepalived: &'static str) -> &'static str {
    match kind {
        Kind::Vipd => vipd,
        Kind::Keepalived => keepalived,
    }
}

/// A daemon of that kind with its HAProxy. More than one virtual router are a sync group.
fn start(w: &World, kind: Kind, of: &Cell, node: &Node, priority: u8) -> Result<(Daemon, Option<Haproxy>)> {
    let peer = if node.name() == "node1" { &w.two } else { &w.one };
    let routers = (of.of)(kind, node, peer, priority);
    let names: Vec<&str> = routers.iter().map(|r| r.name.as_str()).collect();
    let cfg = haproxy_cfg(node, "[::]:5000 v4v6")?;
    Ok(match kind {
        Kind::Vipd => {
            let mut ini = Vipd::ini(node, Some(&cfg), &routers);
            if names.len() > 1 {
                ini += &format!("[group VG_1]\nmembers = {}\n", names.join(", "));
            }
            (Daemon::Vipd(Vipd::start(node, &ini)?), None)
        }
        Kind::Keepalived => {
            let mut conf = Keepalived::conf(node, &routers);
            if names.len() > 1 {
                conf += &format!("vrrp_sync_group VG_1 {{\n group {{\n  {}\n }}\n}}\n", names.join("\n  "));
            }
            let haproxy = Haproxy::start(node, &cfg)?;
            (Daemon::Keepalived(Keepalived::start(node, &conf)?), Some(haproxy))
        }
    })
}

fn serves(w: &World, high: Kind, low: Kind, of: &Cell) -> Result<()> {
    if of.vips.len() > 1 {
        w.lan.second()?;
    }
    for (node, n) in [(&w.one, 116), (&w.two, 117), (&w.client, 10)] {
        node.ip(&format!("addr add 2001:db8:30::{n}/64 dev eth0 nodad"))?;
    }
    let (one, haproxy1) = start(w, high, of, &w.one, 150)?;
    let clients = of.vips.iter().map(|vip| {
        let at = if vip.contains(':') { format!("[{vip}]:5000") } else { format!("{vip}:5000") };
        Client::start_with(&w.client, &at, ms(10), secs(5))
    });
    let clients: Vec<Client> = clients.collect::<Result<_>>()?;
    let served_by = |node: &str, timeout: Duration| -> Result<()> {
        for (vip, client) in of.vips.iter().zip(&clients) {
            w.watcher.wait_holder(vip, node, timeout)?;
            client.wait_answer_by(node, secs(5))?;
        }
        Ok(())
    };
    // For that many adverts node1 is master and node2 is not, or the other way round.
    let steady = |master: &str, other: &str, adverts: u64| -> Result<()> {
        let start = Instant::now() + ms(200); // what was on its way has come
        for i in 1..=adverts {
            w.capture.wait_advert(master, VRID, start + secs(i - 1), secs(3))?;
        }
        let wrong = w.capture.all(start, |s| s.node == other && matches!(s.what, What::Advert(_)));
        ensure!(wrong.is_empty(), "{other} advertises: {}", wrong[0]);
        for (vip, client) in of.vips.iter().zip(&clients) {
            w.holds(vip, master)?;
            let report = client.report(start, Instant::now())?;
            ensure!(report.by.len() == 1 && report.by.contains_key(master), "{vip}: {report}");
        }
        Ok(())
    };
    served_by("node1", ELECTION + secs(4))?;
    let (two, _haproxy2) = start(w, low, of, &w.two, 100)?;
    two.wait_log(words::BACKUP, ELECTION)?;
    steady("node1", "node2", 5)?;
    one.terminate();
    served_by("node2", secs(5))?;
    one.wait_exit(secs(9))?;
    drop((one, haproxy1));
    let back = Instant::now();
    let (one, _haproxy1) = start(w, high, of, &w.one, 150)?;
    match of.returns {
        Returns::AtOnce => {}
        Returns::After(seconds) => {
            steady("node2", "node1", seconds)?;
            served_by("node1", secs(6))?;
            // A lower advert begins the delay, and the last one before its end the down interval.
            let took = back.elapsed();
            ensure!(
                (secs(seconds + 2)..w.bound(secs(seconds + 6), back)).contains(&took),
                "back after {took:?}"
            );
        }
        Returns::Never => {
            one.wait_log(words::BACKUP, ELECTION)?;
            steady("node2", "node1", 6)?;
            two.terminate();
        }
    }
    served_by("node1", ELECTION + secs(4))?;
    steady("node1", "node2", 4)?;
    at_peace(&[&one, &two])
}
