//! What happens to the master of a pair, and how long it lasts.

use super::figures::{Table, millis};
use super::lab::*;
use super::pair::{Pair, Seen};
use super::{VIP, VRID};
use crate::ensure;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::thread::sleep;
use std::time::Instant;

/// One thing that happens to node1.
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens, for the table.
    pub what: &'static str,
    /// The intervals between adverts at which it is of interest.
    pub intervals: &'static [&'static str],
    /// Brings the pair to where it begins.
    prepare: fn(&mut Pair) -> Result<()>,
    /// What happens, and the wait until all is over.
    happen: fn(&mut Pair) -> Result<()>,
    /// What else is measured, from the moment at which it began.
    more: fn(&Pair, Instant, &mut Table) -> Result<()>,
}

const ALL: &[&str] = &["1", "0.1", "0.01"];
const SLOW: &[&str] = &["1"];

const fn scenario(name: &'static str, what: &'static str, happen: fn(&mut Pair) -> Result<()>) -> Scenario {
    Scenario { name, what, intervals: ALL, prepare: |_| Ok(()), happen, more: |_, _, _| Ok(()) }
}

/// In the order of the table.
pub const SCENARIOS: &[Scenario] = &[
    scenario("stop", "planned stop", stop),
    Scenario {
        prepare: |p| {
            stop(p)?;
            p.one.wait_exit(secs(10))?;
            sleep(p.interval() * 2);
            Ok(())
        },
        ..scenario("preemption", "preemption by the better node", |p| {
            p.start_again()?;
            p.client.wait_answer_by("node1", secs(10))?;
            settle(p)
        })
    },
    Scenario { more: takeover, ..scenario("cut", "cable cut", |p| takes_over(p, |p| p.node().cut())) },
    scenario("kill", "daemon killed (kill -9)", |p| {
        takes_over(p, |p| {
            p.kill();
            Ok(())
        })
    }),
    scenario("hang", "daemon stands still (SIGSTOP)", |p| {
        takes_over(p, |p| {
            for pid in p.one.descendants().into_iter().filter(|pid| is_daemon(p, *pid)).chain([p.one.pid()]) {
                kill(Pid::from_raw(pid), Signal::SIGSTOP)?;
            }
            Ok(())
        })
    }),
    Scenario {
        intervals: SLOW,
        ..scenario("respawn", "daemon killed, started again after 1 s", |p| {
            p.kill();
            p.one.wait_exit(secs(2))?;
            sleep(secs(1));
            p.start_again()?;
            sleep(secs(6));
            p.client.wait_answer_by("node1", secs(10))?;
            Ok(())
        })
    },
    Scenario {
        intervals: SLOW,
        ..scenario("worker", "HAProxy's worker killed", |p| haproxy(p, Victim::Worker))
    },
    Scenario {
        intervals: SLOW,
        ..scenario("master", "HAProxy's master killed", |p| haproxy(p, Victim::Master))
    },
    Scenario { intervals: SLOW, ..scenario("haproxy", "all of HAProxy killed", |p| haproxy(p, Victim::All)) },
    Scenario {
        intervals: SLOW,
        ..scenario("hung", "HAProxy's worker hangs (8 s of it)", |p| {
            for pid in p.node().haproxy_workers() {
                kill(Pid::from_raw(pid), Signal::SIGSTOP)?;
            }
            sleep(secs(8));
            Ok(())
        })
    },
    Scenario {
        intervals: SLOW,
        ..scenario("broken", "HAProxy killed, cannot start again", |p| {
            p.node().write("haproxy.cfg", "no such thing\n")?;
            haproxy(p, Victim::All)?;
            p.client.wait_answer_by("node2", secs(20))?;
            settle(p)
        })
    },
    Scenario {
        intervals: SLOW,
        ..scenario("reload", "daemon reloads (SIGHUP)", |p| {
            p.one.signal(Signal::SIGHUP);
            sleep(secs(2));
            Ok(())
        })
    },
    Scenario {
        intervals: SLOW,
        ..scenario("reload-haproxy", "HAProxy reloads (SIGUSR2)", |p| {
            match p.kind {
                Kind::Vipd => p.one.signal(Signal::SIGUSR2),
                Kind::Keepalived => {
                    let master = p.node().haproxy_master();
                    kill(Pid::from_raw(master.unwrap_or_default()), Signal::SIGUSR2)?;
                }
            }
            sleep(secs(2));
            Ok(())
        })
    },
];

impl Scenario {
    /// One round with a pair that was just started. The figures go into the table.
    pub fn run(&self, pair: &mut Pair, round: u32, table: &mut Table) -> Result<Seen> {
        (self.prepare)(pair)?;
        let master = if self.name == "preemption" { "node2" } else { "node1" };
        // At another phase of the interval in each round.
        pair.capture.wait_advert(master, VRID, Instant::now(), pair.interval() * 3 + secs(1))?;
        sleep(pair.interval().mul_f64((f64::from(round) * 0.618_034).fract()));
        let from = Instant::now();
        (self.happen)(pair)?;
        let seen = Seen::of(pair, from)?;
        let at = format!("{}, advert_int {}", self.what, pair.advert_int);
        let mut add = |what: &str, value| table.add(&format!("{at}: {what}"), pair.kind, None, value);
        add("longest silence, ms", millis(seen.report.silence));
        add("requests that failed", seen.report.failures() as f64);
        add("requests that were slow (SYN sent again)", seen.report.syn_retransmits as f64);
        add("two nodes answered, ms", millis(seen.two));
        add("no node answered, ms", millis(seen.nobody));
        (self.more)(pair, from, table)?;
        Ok(seen)
    }
}

fn stop(p: &mut Pair) -> Result<()> {
    takes_over(p, |p| {
        p.one.terminate();
        Ok(())
    })
}

/// Until node2 answers, and for a moment more.
fn takes_over(p: &mut Pair, happen: fn(&Pair) -> Result<()>) -> Result<()> {
    happen(p)?;
    p.client.wait_answer_by("node2", secs(12))?;
    settle(p)
}

/// What is still under way comes to its end; two that answer are seen for a while.
fn settle(p: &Pair) -> Result<()> {
    sleep(p.interval() + secs(1));
    Ok(())
}

/// A process of the daemon itself, not HAProxy's.
fn is_daemon(p: &Pair, pid: i32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    p.kind == Kind::Keepalived && name.trim_end() == "keepalived"
}

enum Victim {
    Worker,
    Master,
    All,
}

fn haproxy(p: &mut Pair, victim: Victim) -> Result<()> {
    let node = p.node();
    let master = node.haproxy_master().unwrap_or_default();
    ensure!(master > 0, "there is no HAProxy on node1");
    match victim {
        Victim::Worker => {
            for pid in node.haproxy_workers() {
                kill(Pid::from_raw(pid), Signal::SIGKILL)?;
            }
        }
        Victim::Master => kill(Pid::from_raw(master), Signal::SIGKILL)?,
        // Beside keepalived it has a supervisor in its process group.
        Victim::All if p.kind == Kind::Vipd => killpg(Pid::from_raw(master), Signal::SIGKILL)?,
        Victim::All => {
            for pid in node.haproxy_workers().into_iter().chain([master]) {
                kill(Pid::from_raw(pid), Signal::SIGKILL)?;
            }
        }
    }
    sleep(secs(4));
    Ok(())
}

/// From the last advert of the master to the first of its successor: protocol alone.
fn takeover(p: &Pair, from: Instant, table: &mut Table) -> Result<()> {
    let last = p.capture.last_advert("node1", VRID, from)?.at;
    let first = p.capture.wait_advert("node2", VRID, from, secs(1))?.at;
    let interval = millis(p.interval());
    // 3 × interval + skew, (256 - 99) / 256 of a second or, in version 3, of the interval
    let skew = 157.0 / 256.0 * if p.advert_int == "1" { 1000.0 } else { interval };
    let what = format!("cable cut, advert_int {}: last advert to the successor's first, ms", p.advert_int);
    let measured = millis(first - last);
    table.add(&what, p.kind, Some(3.0 * interval + skew), measured);
    let gone = p.watcher.longest_gap(VIP, from);
    table.add(
        &format!("cable cut, advert_int {}: no node holds the address, ms", p.advert_int),
        p.kind,
        None,
        millis(gone),
    );
    Ok(())
}
