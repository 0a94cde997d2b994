//! The simulator: two to five real nodes on a virtual LAN, in virtual time, with everything that can go
//! wrong. `check` has what must hold, `plan` what goes wrong, `shell` the daemon, `kernel` Linux.
//!
//! ```text
//! cargo test --test sim                                  some seeds, slowly
//! cargo test --profile sim --test sim                    20,000 seeds, and the broken rules (make test)
//! SEEDS=1000000 cargo test --profile sim --test sim seeds    a million (make soak); FROM=n: beginning there
//! SEED=4711 cargo test --test sim -- --trace             one, told; RULE=name: with a broken rule
//! ```

mod check;
mod faults;
mod fence;
mod forger;
mod haproxy;
mod kernel;
mod mutant;
mod plan;
mod rng;
mod shell;
mod world;

use libtest_mimic::{Arguments, Failed, Trial};
use mutant::Mutant;
use std::sync::atomic::{AtomicU64, Ordering};
use world::World;

/// Events of all seeds that were played.
static EVENTS: AtomicU64 = AtomicU64::new(0);

/// Seeds of one trial.
const CHUNK: u64 = 1000;
/// Without optimisation (`cargo test`) a glance, else what `make test` does.
const SEEDS: u64 = if cfg!(debug_assertions) { 200 } else { 20_000 };
/// A broken rule is found within so many.
const BROKEN: u64 = 4000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn main() {
    if std::env::args().any(|a| a == "--trace") {
        let rule = std::env::var("RULE").ok().and_then(|n| Mutant::named(&n)).unwrap_or(Mutant::None);
        let mut w = World::new(number("SEED").unwrap_or(0), rule, true);
        w.play();
        println!("# {} steps: {}", w.steps, w.violation.as_deref().unwrap_or("nothing is wrong"));
        std::process::exit(i32::from(w.violation.is_some()));
    }
    let (from, count) = (number("FROM").unwrap_or(0), number("SEEDS").unwrap_or(SEEDS));
    let mut trials = Vec::new();
    let mut at = from;
    while at < from + count {
        let to = (at + CHUNK).min(from + count);
        trials.push(Trial::test(format!("seeds_{at}"), move || seeds(at, to)));
        at = to;
    }
    trials.push(Trial::test("a_seed_replays_exactly", replays));
    for (name, rule, word) in Mutant::ALL {
        let trial = Trial::test(format!("broken_{name}"), move || broken(name, *rule, word));
        trials.push(trial.with_ignored_flag(cfg!(debug_assertions)));
    }
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    println!("{count} seeds from {from}; with the broken rules {} events", EVENTS.load(Ordering::Relaxed));
    conclusion.exit();
}

fn play(seed: u64, rule: Mutant) -> World {
    let mut w = World::new(seed, rule, false);
    w.play();
    EVENTS.fetch_add(w.steps, Ordering::Relaxed);
    w
}

fn seeds(from: u64, to: u64) -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for seed in from..to {
        match std::panic::catch_unwind(|| play(seed, Mutant::None).violation) {
            Ok(None) => {}
            Ok(Some(v)) => wrong.push(format!("SEED={seed}: {v}")),
            Err(_) => wrong.push(format!("SEED={seed}: panicked")),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{} seeds\n{}", wrong.len(), wrong.join("\n")).into()) }
}

/// A rule that is broken is found, and by the invariant that is for it.
fn broken(name: &str, rule: Mutant, word: &str) -> Result<(), Failed> {
    let found = (0..BROKEN).find(|s| play(*s, rule).violation.is_some_and(|v| v.contains(word)));
    match found {
        Some(seed) => {
            println!("{name}: found with seed {seed}");
            Ok(())
        }
        None => Err(format!("{name}: not found within {BROKEN} seeds by {word:?}").into()),
    }
}

fn replays() -> Result<(), Failed> {
    for seed in 0..20 {
        let (a, b) = (play(seed, Mutant::None), play(seed, Mutant::None));
        if (a.hash, a.steps, a.now) != (b.hash, b.steps, b.now) {
            return Err(format!("seed {seed} does not replay").into());
        }
    }
    Ok(())
}
