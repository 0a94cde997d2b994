//! A minute of chaos: see `tests/chaos`, of which `make soak PART=chaos` plays 20. `SEED=` is another one.

use super::*;

#[path = "../chaos/mod.rs"]
mod play;

pub const TESTS: &[(&str, Test)] = &[("bears_a_minute_of_chaos", |_| {
    let seed = std::env::var("SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    play::run(&play::Options { seed, lease: "auto", length: secs(60), verbose: false })
})];
