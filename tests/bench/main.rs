//! vipd and keepalived side by side on one machine, in alternation, several times: what a client of the
//! address notices, for how long two nodes or none answer for it, and what each costs. It asserts nothing: it
//! prints medians, ranges and ratios, keeps each figure in `target/bench/`, and draws pictures of them.
//!
//! ```text
//! bench                        15 rounds of every scenario, 5 of the costs: about 2 hours
//! bench quick                  3 rounds of the most telling ones: 4 minutes
//! bench kill cut --rounds 5    these alone; `bench list` names them
//! ```
//!
//! `KEEPALIVED=` and `HAPROXY=` name other programs than those on the path.

mod cost;
mod figures;
mod flood;
mod floor;
#[path = "../lab/mod.rs"]
mod lab;
mod machine;
mod pair;
mod plot;
mod scenarios;

use figures::Table;
use lab::*;
use pair::Pair;
use scenarios::{SCENARIOS, Scenario};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

const VIP: &str = "192.168.30.230";
const SERVICE: &str = "192.168.30.230:5000";
const VRID: u8 = 51;
/// Where figures and pictures go.
const OUT: &str = "target/bench";
/// What `bench quick` runs, with one advert a second.
const QUICK: &[&str] = &["stop", "preemption", "cut", "kill", "haproxy", "cost-1", "cost-250", "size"];

/// What is measured without a client.
struct Cost {
    name: &'static str,
    what: &'static str,
    round: fn(&mut Table) -> Result<()>,
}

const COSTS: &[Cost] = &[
    Cost { name: "cost-1", what: "CPU, memory, system calls of 1 router", round: |t| cost::round(1, t) },
    Cost { name: "cost-100", what: "the same of 100", round: |t| cost::round(100, t) },
    Cost { name: "cost-250", what: "the same of 250", round: |t| cost::round(250, t) },
    Cost { name: "cost-haproxy", what: "CPU with HAProxy, all processes", round: cost::with_haproxy },
    Cost { name: "takeover", what: "takeover of 250 routers", round: cost::takeover },
    Cost { name: "spawn", what: "spawn to first advert", round: cost::spawn },
    Cost { name: "late", what: "lateness of adverts, idle and busy", round: cost::lateness },
    Cost { name: "flood", what: "100,000 bad packets a second", round: flood::round },
    Cost { name: "size", what: "bytes of the program", round: cost::size },
];

struct Options {
    names: Vec<String>,
    rounds: Option<u32>,
    quick: bool,
}

impl Options {
    fn parse() -> std::result::Result<Options, String> {
        let mut options = Options { names: Vec::new(), rounds: None, quick: false };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "quick" => options.quick = true,
                "--rounds" => {
                    let n = args.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                    options.rounds = Some(n.ok_or("--rounds needs a number above 0")?);
                }
                name if SCENARIOS.iter().any(|s| s.name == name) || COSTS.iter().any(|c| c.name == name) => {
                    options.names.push(arg);
                }
                _ => return Err(format!("{arg}: no such scenario\n{}", list())),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        match (self.names.is_empty(), self.quick) {
            (false, _) => self.names.iter().any(|n| n == name),
            (true, quick) => !quick || QUICK.contains(&name),
        }
    }

    fn rounds(&self, usual: u32) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { usual })
    }
}

fn list() -> String {
    let scenarios = SCENARIOS.iter().map(|s| format!("  {:<16}{}\n", s.name, s.what));
    let costs = COSTS.iter().map(|c| format!("  {:<16}{}\n", c.name, c.what));
    scenarios.chain(costs).collect()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [option, role, count, own] = &args[..]
        && option == floor::OPTION
    {
        let numbers = count.parse().ok().zip(own.parse().ok());
        if let Some(Err(e)) = numbers.map(|(count, own)| floor::run(role, count, own)) {
            eprintln!("{e}");
        }
        return ExitCode::FAILURE; // it is killed, else it never ends
    }
    if args.iter().any(|a| a == "list" || a == "help" || a == "--help") {
        print!("{}", list());
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse() {
        Ok(options) => options,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::from(2);
        }
    };
    if let Isolation::Impossible(why) = isolate() {
        println!("no namespaces: {why}");
        return ExitCode::FAILURE;
    }
    match measure_all(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            println!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all(options: &Options) -> Result<()> {
    let about = machine::about();
    for (name, value) in &about {
        println!("{name:<12} {value}");
    }
    std::fs::create_dir_all(OUT)?;
    let (lateness, begun) = (machine::Lateness::start(), Instant::now());
    let (mut table, mut lost) = (Table::default(), Vec::new());
    for scenario in SCENARIOS.iter().filter(|s| options.wants(s.name)) {
        // In quick mode with one advert a second alone, which is the first.
        let intervals = if options.quick { &scenario.intervals[..1] } else { scenario.intervals };
        for advert_int in intervals {
            for round in 1..=options.rounds(15) {
                println!("{}, advert_int {advert_int}, round {round}", scenario.what);
                if let Err(e) = round_of(scenario, advert_int, round, &mut table) {
                    lost.push(format!("{}, advert_int {advert_int}, round {round}: {e}", scenario.what));
                }
            }
        }
    }
    for cost in COSTS.iter().filter(|c| options.wants(c.name)) {
        let once = options.quick || cost.name == "size";
        let rounds = if once { 1 } else { options.rounds(5) };
        for round in 1..=rounds {
            println!("{} {round}/{rounds}", cost.what);
            (cost.round)(&mut table)?;
        }
    }
    let late = figures::millis(lateness.worst());
    let tail = format!(
        "{:.0} s; an idle thread was late by {late:.1} ms at the most",
        begun.elapsed().as_secs_f64()
    );
    println!("\n{}\n{tail}", table.text());
    std::fs::write(
        Path::new(OUT).join("figures.json"),
        format!(
            "{{\n  \"machine\": {{\n{},\n    \"lateness\": {}\n  }},\n  \"rows\": [\n{}\n  ]\n}}\n",
            machine::json(&about),
            figures::quoted(&tail),
            table.json()
        ),
    )?;
    let pictures = [
        ("silence", "The longest silence that the client noticed, each round", ": longest silence, ms", "ms"),
        ("nobody", "No node answered for the address, each round", ": no node answered, ms", "ms"),
        ("cpu", "CPU in 10 s, each round", ": CPU, ms in 10 s", "ms"),
        ("late", "Adverts each 100 ms: late by at most, each round", "late by at most, ms", "ms"),
        ("memory", "Anonymous memory, each round", ": anonymous memory, KiB", "KiB"),
    ];
    for (name, title, ending, unit) in pictures {
        if let Some(svg) = plot::distribution(title, ending, unit, &table) {
            std::fs::write(Path::new(OUT).join(format!("{name}.svg")), svg)?;
        }
    }
    println!("figures and pictures: {OUT}/");
    ensure!(
        lost.is_empty(),
        "rounds that came to nothing, of which nothing is in the table:\n{}",
        lost.join("\n")
    );
    Ok(())
}

/// Both pairs stand ready, and what happens comes to one after the other. The picture is of the last round.
fn round_of(scenario: &Scenario, advert_int: &'static str, round: u32, table: &mut Table) -> Result<()> {
    let mut strips = Vec::new();
    // All figures of a round or none.
    let mut figures = Table::default();
    for mut pair in Pair::both(advert_int)? {
        let seen = scenario.run(&mut pair, round, &mut figures)?;
        strips.push(plot::Strip::of(&pair, &seen));
    }
    bury_later();
    table.append(figures);
    let title = format!("{}, advert_int {advert_int}: the last round", scenario.what);
    let name = format!("{}-{advert_int}.svg", scenario.name);
    std::fs::write(Path::new(OUT).join(name), plot::scenario(&title, &strips))?;
    Ok(())
}
