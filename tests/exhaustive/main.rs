//! Every interleaving of what can happen to two real nodes, breadth first, in discretised time. The simulator
//! (`tests/sim`) plays random runs of many machines in nanoseconds; this plays all runs of two, in quarters
//! of an advert interval, with a bounded number of things that go wrong.
//!
//! A *state* is both nodes, their kernels, the adverts that are under way and the faults that are left. In a
//! state anything that can happen next is tried: an advert is delivered, lost or delayed, a process that has
//! something to do runs its turn, is killed, started again, stopped or continued, a link goes down or up, a
//! priority changes. Time goes on when nothing else has to happen at that instant. Two states are the same if
//! all that decides what follows is the same: of a node its state machine, its addresses and leases, its
//! faults and deadlines; not its counters, its log and the identification of IP packets.
//!
//! ```text
//! cargo test --profile sim --test exhaustive           one fault in 5 advert intervals, and the broken rules
//! FAULTS=2 STEPS=16 cargo test --profile sim --test exhaustive every     deeper (make soak)
//! ```

mod model;
mod rules;

use libtest_mimic::{Arguments, Failed, Trial};
use model::{Rule, State};
use std::collections::HashSet;

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// What a search has seen.
#[derive(Default)]
struct Seen {
    states: u64,
    steps: u64,
    violation: Option<String>,
}

fn main() {
    // Without optimisation a glance.
    let (faults, steps) = if cfg!(debug_assertions) { (0, 20) } else { (1, 20) };
    let (faults, steps) = (number("FAULTS", faults), number("STEPS", steps));
    let mut trials = vec![Trial::test("every_interleaving", move || every(faults, steps))];
    for (name, rule, word) in Rule::ALL {
        let trial = Trial::test(format!("broken_{name}"), move || broken(name, *rule, word));
        trials.push(trial.with_ignored_flag(cfg!(debug_assertions)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn every(faults: u32, steps: u32) -> Result<(), Failed> {
    let seen = search(State::new(Rule::None, faults), steps);
    println!(
        "{} states, {} transitions, up to {faults} faults in {steps} steps of I / 4",
        seen.states, seen.steps
    );
    seen.violation.map_or(Ok(()), |v| Err(v.into()))
}

/// A rule that is broken is found, by the invariant that is for it.
fn broken(name: &str, rule: Rule, word: &str) -> Result<(), Failed> {
    let found =
        (0..=1).find_map(|faults| search(State::new(rule, faults), 20).violation.map(|v| (faults, v)));
    match found {
        Some((faults, v)) if v.contains(word) => {
            println!("{name}: found with {faults} faults");
            Ok(())
        }
        other => Err(format!("{name}: not found by {word:?}: {other:?}").into()),
    }
}

/// All states within so many steps, layer by layer; then each comes to rest.
fn search(first: State, steps: u32) -> Seen {
    let mut seen = Seen::default();
    let mut layer = vec![first];
    for _ in 0..steps {
        let mut here = HashSet::new();
        let mut next = HashSet::new();
        let mut later = Vec::new();
        here.extend(layer.iter().map(State::digest));
        // All that can happen at this instant, in any order.
        let mut at = 0;
        while at < layer.len() {
            let state = layer[at].clone();
            for action in state.actions() {
                let mut s = state.clone();
                s.take(action);
                seen.steps += 1;
                if s.violation.is_some() {
                    seen.violation = Some(s.told());
                    return seen;
                }
                let digest = s.digest();
                let (known, all) = match action.is_advance() {
                    true => (&mut next, &mut later),
                    false => (&mut here, &mut layer),
                };
                if known.insert(digest) {
                    seen.states += 1;
                    all.push(s);
                }
            }
            // What was looked at is not needed any more.
            layer[at] = State::default();
            at += 1;
        }
        layer = later;
    }
    let mut known = HashSet::new();
    for state in layer {
        if let Some(v) = rests(state, &mut known) {
            seen.violation = Some(v);
            return seen;
        }
    }
    seen
}

/// Nothing goes wrong any more: one node serves, the better one, and nobody else.
fn rests(mut s: State, known: &mut HashSet<u64>) -> Option<String> {
    s.mend();
    for _ in 0..40 {
        while let Some(action) = s.lawful() {
            s.take(action);
            if s.violation.is_some() {
                return Some(s.told());
            }
            if action.is_advance() {
                break;
            }
        }
        if !known.insert(s.digest()) {
            return None;
        }
    }
    s.at_rest();
    s.violation.is_some().then(|| s.told())
}
