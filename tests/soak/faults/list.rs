//! What goes wrong on node1, the master: a row of the table each.

use super::cell::{Cell, own_v6};
use crate::ensure;
use crate::lab::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Instant;

/// One fault.
pub struct Fault {
    pub name: &'static str,
    pub happen: fn(&mut Cell) -> Result<()>,
    /// Why the design allows two nodes to answer, if it does.
    pub excepted: &'static str,
    /// Further lines of vipd.ini of the master's and of the backup's virtual routers.
    pub lines: [&'static str; 2],
    pub intervals: &'static [&'static str],
    /// Four virtual routers of 250 addresses, instead of three of one.
    pub many: bool,
    /// It begins with twice the interval and VRRPv3, which tells the others of another one.
    pub slower: bool,
}

const fn fault(name: &'static str, happen: fn(&mut Cell) -> Result<()>) -> Fault {
    let intervals = &["1", "0.1", "0.05"];
    Fault { name, happen, excepted: "", lines: [""; 2], intervals, many: false, slower: false }
}

/// At 0.01 as well, where nothing is promised.
const fn fast(name: &'static str, happen: fn(&mut Cell) -> Result<()>) -> Fault {
    Fault { intervals: &["1", "0.1", "0.05", "0.01"], ..fault(name, happen) }
}

/// In the order of the table.
pub const FAULTS: &[Fault] = &[
    fast("kill -9", |c| c.kill()),
    fault("kill -9, back after 0.2 s", |c| c.respawn(ms(200))),
    fault("kill -9, back after 1 s", |c| c.respawn(secs(1))),
    fault("SIGSTOP for 2 intervals", |c| c.stop(c.interval * 2)),
    fast("SIGSTOP for 6 s", |c| c.stop(secs(6))),
    fault("frozen (cgroup v2) for 6 s", freeze),
    fault("starved of CPU for 8 s", starve),
    Fault { excepted: "make before break: intended", ..fault("planned stop", planned_stop) },
    fault("reload", |c| {
        c.one.signal(Signal::SIGHUP);
        Ok(())
    }),
    fault("VIPs deleted", |c| {
        let vips = [
            ("192.168.30.230", "24", "32"),
            ("192.168.30.231", "24", "32"),
            ("2001:db8:30::232", "64", "128"),
        ];
        for (vip, long, short) in vips {
            // As /32 or /128 if vipd added it.
            let each = [long, short].map(|len| c.node.ip(&format!("addr del {vip}/{len} dev eth0")).is_ok());
            ensure!(each.contains(&true), "{vip} cannot be deleted");
        }
        Ok(())
    }),
    fault("netlink flood (ENOBUFS)", flood),
    fault("link down for 4 s", |c| c.for_a_while(secs(4), "link set eth0 down", "link set eth0 up")),
    fault("link removed, made again after 2 s", |c| {
        c.node.ip("link del eth0")?;
        sleep(secs(2));
        c.node.plug()?;
        c.own_v6()
    }),
    fault("link renamed for 4 s", |c| {
        c.for_a_while(secs(4), "link set eth0 name eth7", "link set eth7 name eth0")
    }),
    fault("MAC changed", |c| c.node.ip("link set eth0 address 02:00:00:aa:bb:cc")),
    fault("source address removed for 4 s", |c| {
        // The foreign one as well: vipd would send from that.
        c.touching.store(false, Ordering::Relaxed);
        sleep(secs(2));
        c.node.ip("addr del 10.66.0.116/24 dev eth0")?;
        c.without_source()
    }),
    fault("the same, a foreign address stays", |c| c.without_source()),
    fault("cable cut for 6 s", |c| {
        c.node.cut()?;
        sleep(secs(6));
        c.node.mend()?;
        c.own_v6()
    }),
    Fault {
        excepted: "split brain: no advert gets through",
        ..fault("switch drops all between them for 6 s", |c| {
            let nodes = [&c.node, &c.lan.node("node2")];
            c.lan.partition(&nodes)?;
            sleep(secs(6));
            c.lan.heal(&nodes)
        })
    },
    Fault {
        excepted: "the last adverts lost on the network",
        ..fault("switch drops the master's adverts for 6 s", |c| {
            let port = c.lan.node("node2").port();
            let flood =
                |how| c.lan.switch().ip(&format!("link set {port} type bridge_slave mcast_flood {how}"));
            flood("off")?;
            sleep(secs(6));
            flood("on")
        })
    },
    fault("HAProxy: kill -9 of all", |c| c.haproxy(Signal::SIGKILL, true)),
    fault("HAProxy: kill -9 of the worker", |c| c.haproxy(Signal::SIGKILL, false)),
    fault("HAProxy: hung (SIGSTOP of the worker)", |c| {
        c.haproxy(Signal::SIGSTOP, false)?;
        sleep(secs(2)); // three missed checks
        Ok(())
    }),
    fault("HAProxy: configuration broken, kill -9", |c| {
        c.node.write("haproxy.cfg", "no such thing\n")?;
        c.haproxy(Signal::SIGKILL, true)
    }),
    fault("HAProxy: planned stop of it (TERM)", |c| c.haproxy(Signal::SIGTERM, true)),
    Fault {
        excepted: "nothing takes the address from a dead master",
        lines: ["lease = off", "lease = off"],
        ..fault("kill -9, lease = off, back after 5 s", |c| c.respawn(secs(5)))
    },
    Fault {
        excepted: "it waits for 2 adverts where the lease reckons with 3",
        lines: ["", "down_timer_adverts = 2"],
        ..fault("kill -9, the backup less patient", |c| c.kill())
    },
    Fault { excepted: "an owner has the address before it speaks", ..fault("an owner (255) starts", owner) },
    fault("the backup: kill -9, back after 1 s", |c| {
        c.two = None;
        sleep(secs(1));
        c.two = Some(c.backup(254)?);
        Ok(())
    }),
    fault("addresses flushed, put back at once", flush),
    fault("link down for 50 ms", |c| c.for_a_while(ms(50), "link set eth0 down", "link set eth0 up")),
    fault("MTU 1200 for 0.5 s", |c| mtu(c, "node1")),
    fault("the backup: MTU 1200 for 0.5 s", |c| mtu(c, "node2")),
    fault("a request that kills workers, 10 times", poison),
    fault("HAProxy: a reload of 11 s", |c| {
        c.slow_haproxy(11)?;
        c.reload_haproxy()?;
        sleep(secs(26)); // the configuration is tried first, which takes as long
        Ok(())
    }),
    fault("HAProxy: kill -9, a start of 7 s", |c| {
        c.slow_haproxy(7)?;
        c.haproxy(Signal::SIGKILL, true)?;
        sleep(secs(15)); // two starts: the first one is too slow
        Ok(())
    }),
    Fault {
        excepted: "make before break: the lease that it has then, a second at the most",
        ..fault("planned stop, kill -9 within it", |c| {
            let (capture, from) = (Capture::start(&c.lan)?, Instant::now());
            c.one.terminate();
            let zero = |s: &Seen| s.node == "node1" && s.advert(51).is_some_and(|a| a.priority == 0);
            capture.wait("priority 0", from, secs(5), zero)?;
            c.kill()
        })
    },
    Fault {
        slower: true,
        ..fault("interval halved by a reload, kill -9", |c| {
            c.reload()?;
            // Somewhere between the first word of it and what follows.
            sleep(c.interval.mul_f64(f64::from(c.phase.subsec_millis()) / 1000.0));
            c.kill()
        })
    },
    Fault { many: true, ..fault("1,000 VIPs, kill -9", |c| c.kill()) },
    Fault {
        many: true,
        excepted: "make before break: intended",
        ..fault("1,000 VIPs, planned stop", planned_stop)
    },
];

fn freeze(c: &mut Cell) -> Result<()> {
    let freezer = Freezer::start(&c.pids())?;
    sleep(secs(6));
    freezer.thaw()
}

fn starve(c: &mut Cell) -> Result<()> {
    let starvation = Starvation::start(c.pids())?;
    sleep(secs(8));
    drop(starvation);
    Ok(())
}

fn planned_stop(c: &mut Cell) -> Result<()> {
    c.one.terminate();
    c.one.wait_exit(secs(15)).map(drop)
}

/// The backup's machine is one on which the addresses are its own, and starts.
fn owner(c: &mut Cell) -> Result<()> {
    c.two = None;
    c.lan.node("node2").ip("addr add 192.168.30.230/24 dev eth0\naddr add 192.168.30.231/24 dev eth0\n\
         addr add fe80::232/64 dev eth0 nodad\naddr add 2001:db8:30::232/64 dev eth0 nodad\n")?;
    c.two = Some(c.backup(255)?);
    Ok(())
}

/// More messages than any buffer holds, while the daemon stands still.
fn flood(c: &mut Cell) -> Result<()> {
    let pids = c.pids();
    c.signal(&pids, Signal::SIGSTOP);
    let lines = (0..8000)
        .map(|i| format!("addr replace 10.77.0.1/32 dev lo valid_lft {} preferred_lft 100\n", 1000 + i));
    let flooded = c.node.ip(&lines.collect::<String>());
    c.signal(&pids, Signal::SIGCONT);
    flooded?;
    match &c.one {
        Daemon::Vipd(vipd) => vipd.wait_log("messages were lost", secs(2)).map(drop),
        Daemon::Keepalived(_) => Ok(()),
    }
}

/// As a network manager does it that takes the configuration up again.
fn flush(c: &mut Cell) -> Result<()> {
    let out = c.node.output(Command::new("ip").args(["addr", "flush", "dev", "eth0"]))?;
    ensure!(out.status.success(), "ip addr flush: {}", String::from_utf8_lossy(&out.stderr));
    let [.., a, b, d, e] = c.node.mac();
    c.node.ip(&format!(
        "addr add 192.168.30.116/24 dev eth0\naddr add fe80::{a:02x}ff:fe{b:02x}:{d:02x}{e:02x}/64 dev eth0 nodad"
    ))?;
    c.own_v6()
}

/// Below 1280 the kernel ends IPv6 on the interface.
fn mtu(c: &mut Cell, name: &str) -> Result<()> {
    let node = c.lan.node(name);
    node.ip("link set eth0 mtu 1200")?;
    sleep(ms(500));
    node.ip("link set eth0 mtu 1500")?;
    own_v6(&node)
}

/// Wherever the address is, the worker that serves there dies, as of a request that it does not survive.
fn poison(c: &mut Cell) -> Result<()> {
    for _ in 0..10 {
        let serves = c.clients[0].wait_answer(secs(8)).unwrap_or_default();
        for pid in c.lan.nodes().iter().filter(|n| n.name() == serves).flat_map(Node::haproxy_workers) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        sleep(ms(700));
    }
    Ok(())
}
