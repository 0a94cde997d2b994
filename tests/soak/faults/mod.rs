//! The fault table: who answers for the addresses and what clients notice of each fault, vipd beside
//! keepalived, with an advert each second, ten and twenty a second. The laboratories of a fault are built,
//! then all suffer it at once, then all are taken down: what the kernel locks to make or remove a namespace
//! never falls into a measurement.

mod cell;
mod list;
mod table;

use super::lab::*;
use super::phase;
use crate::{ensure, fail};
use cell::Cell;
use list::{FAULTS, Fault};
use std::fmt::Write as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use table::{Cost, Row, head};

const OUT: &str = "target/soak";
const INTERVALS: [&str; 4] = ["1", "0.1", "0.05", "0.01"];
const LEGEND: &str = "\
two, nobody: for how long two nodes, or none, answered for an address by ARP or neighbor discovery or TCP, asked each
10 ms: the worst of the addresses. failed: of 50 requests a second (+: there was no answer at the end, either).
keepalived has a check script and a supervisor of HAProxy beside it";

const NOT_MEASURED: &str = "\
not measured here: a step of CLOCK_REALTIME and a suspend of the machine, which no namespace has for itself: both are
played with injected time (make test: the unit tests of the node and the simulator)";

/// All faults whose names contain one of the words, or all; `rounds` of each, the worst figures count.
pub(super) fn run(seed: u64, rounds: usize, words: &[String]) -> Result<()> {
    let chosen: Vec<&Fault> = FAULTS
        .iter()
        .filter(|f| words.is_empty() || words.iter().any(|w| f.name.contains(w.as_str())))
        .collect();
    let names = || FAULTS.iter().map(|f| f.name).collect::<Vec<_>>().join("\n");
    ensure!(!chosen.is_empty(), "no fault is called {words:?}; there are:\n{}", names());
    measure()?;
    let (load, begun) = (loadavg(), Instant::now());
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for (i, f) in chosen.iter().enumerate() {
        let mut these: Vec<Row> = f.intervals.iter().map(|i| Row::new(f.name, i, !f.many)).collect();
        for round in 0..rounds {
            once(f, phase(seed, i * rounds + round) / 3, &mut these, &mut wrong);
        }
        println!("{:.0} s", since_start(Instant::now()));
        these.iter().for_each(|row| println!("{:>4} {}", row.advert_int, row.line()));
        rows.extend(these);
    }
    for advert_int in INTERVALS {
        let mut lines = rows.iter().filter(|r| r.advert_int == advert_int).map(Row::line).peekable();
        if lines.peek().is_some() {
            println!("\n{}", head(advert_int));
            lines.for_each(|line| println!("{line}"));
        }
    }
    println!("\n{LEGEND}");
    for f in chosen.iter().filter(|f| !f.excepted.is_empty()) {
        println!("two that answer are excepted by the design: {}: {}", f.name, f.excepted);
    }
    println!(
        "two that answer are excepted by the design: advert_int 0.01: the kernel's ticks are too coarse"
    );
    println!("{NOT_MEASURED}");
    rows.iter().filter_map(Row::worse).for_each(|row| println!("vipd is worse: {row}"));
    let machine = format!(
        "{} rows in {:.0} s; load before: {load}, after: {}; {}",
        rows.len(),
        begun.elapsed().as_secs_f64(),
        loadavg(),
        lateness(&[], begun, Instant::now())
    );
    println!("{machine}");
    let json = rows.iter().map(Row::json).collect::<Vec<_>>().join(",\n");
    std::fs::create_dir_all(OUT)?;
    let file = Path::new(OUT).join("faults.json");
    std::fs::write(&file, format!("{{\n  \"machine\": \"{machine}\",\n  \"rows\": [\n{json}\n  ]\n}}\n"))?;
    println!("figures: {}", file.display());
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn loadavg() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// One round of all intervals and both daemons.
fn once(f: &Fault, phase: Duration, rows: &mut [Row], wrong: &mut Vec<String>) {
    let settings: Vec<(usize, Kind)> =
        (0..rows.len()).flat_map(|i| [(i, Kind::Vipd), (i, Kind::Keepalived)]).collect();
    let build = |&(i, kind): &(usize, Kind)| move || Cell::new(f, kind, f.intervals[i], phase);
    let mut cells: Vec<Result<Cell>> = at_once(settings.iter().map(build));
    // The moment is the point: at least one advert has been heard, and the announcements are through.
    sleep(secs(1) + phase);
    let results = at_once(cells.iter_mut().map(|cell| {
        move || match cell {
            Ok(cell) => cell.suffer(f),
            Err(e) => fail!("{e}"),
        }
    }));
    for ((i, kind), result) in settings.into_iter().zip(results) {
        let row = &mut rows[i];
        let here = format!("{}: {kind:?}, advert_int {}", f.name, row.advert_int);
        match result {
            Ok((cost, end)) => {
                row.add(kind, &cost);
                if !end.is_empty() && kind == Kind::Vipd && row.advert_int != "0.01" {
                    wrong.push(format!("{here}: {}{end}", two(&cost)));
                } else if !end.is_empty() {
                    println!("  {here}{}", end.lines().next().unwrap_or_default());
                }
            }
            Err(e) if kind == Kind::Vipd => wrong.push(format!("{here}: {e}")),
            Err(e) => println!("  {here}: {e}"),
        }
    }
}

fn two(cost: &Cost) -> String {
    let mut out = String::new();
    for (family, name) in cost.families.iter().zip(["IPv4", "IPv6"]) {
        let _ = write!(out, "{name}: two answered for {:?}; ", family.two);
    }
    out + &cost.late
}

fn at_once<T: Send, F: FnOnce() -> T + Send>(jobs: impl IntoIterator<Item = F>) -> Vec<T> {
    std::thread::scope(|s| {
        let threads: Vec<_> = jobs.into_iter().map(|job| s.spawn(job)).collect();
        let join = |t: std::thread::ScopedJoinHandle<'_, T>| {
            t.join().unwrap_or_else(|p| std::panic::resume_unwind(p))
        };
        threads.into_iter().map(join).collect()
    })
}
