//! The whole table: every state × every input, in both versions; a row that is missing is an error.

use super::*;

/// A machine, and when the input comes.
fn state(name: &str, version: Version) -> (Machine, u64) {
    let p = params(version, 100);
    let heard = |p: Params, src, priority| {
        let mut m = backup(p);
        go(&mut m, at(100), Input::Advert { src, priority, interval: ms(1000) });
        (m, 500)
    };
    match name {
        "init" => (Machine::new(p), 500),
        "init, owner" => (Machine::new(params(version, 255)), 500),
        "backup, alone" => (backup(p), 500),
        "backup" => heard(p, HIGH, 200),
        "backup, lower" => heard(p, HIGH, 50),
        "backup, no preempt" => heard(Params { preempt: false, ..p }, HIGH, 50),
        "master" => (master(p), 10_500),
        "owner" => {
            let mut m = Machine::new(params(version, 255));
            go(&mut m, at(10_000), Input::Start);
            (m, 10_500)
        }
        _ => panic!("{name}"),
    }
}

const STATES: [&str; 8] = [
    "init",
    "init, owner",
    "backup, alone",
    "backup",
    "backup, lower",
    "backup, no preempt",
    "master",
    "owner",
];

/// An advert's interval is 2 s, where ours is 1 s.
const INPUTS: [(&str, Input); 14] = [
    ("start", Input::Start),
    ("resume", Input::Resume),
    ("leave", Input::Leave),
    ("fault", Input::Fault),
    ("stall", Input::Stall),
    ("tick", Input::Tick),
    ("tick, due", Input::Tick),
    ("0 of HIGH", Input::Advert { src: HIGH, priority: 0, interval: Duration::from_secs(2) }),
    ("0 of LOW", Input::Advert { src: LOW, priority: 0, interval: Duration::from_secs(2) }),
    ("99 of HIGH", Input::Advert { src: HIGH, priority: 99, interval: Duration::from_secs(2) }),
    ("100 of LOW", Input::Advert { src: LOW, priority: 100, interval: Duration::from_secs(2) }),
    ("100 of HIGH", Input::Advert { src: HIGH, priority: 100, interval: Duration::from_secs(2) }),
    ("101 of LOW", Input::Advert { src: LOW, priority: 101, interval: Duration::from_secs(2) }),
    ("255 of HIGH", Input::Advert { src: HIGH, priority: 255, interval: Duration::from_secs(2) }),
];

fn show(a: &Action) -> String {
    match a {
        Advert(p) => format!("advert {p}"),
        Acquire => "acquire".to_owned(),
        Action::Release(Release::Now) => "release".to_owned(),
        Action::Release(Release::AfterSuccessor) => "hand over".to_owned(),
        Reannounce => "reannounce".to_owned(),
        Entered(kind, Why::Outranked(_)) => format!("{kind:?}:Outranked"),
        Entered(kind, why) => format!("{kind:?}:{why:?}"),
        Noted(Note::HigherAdvert(_)) => "(higher)".to_owned(),
        Noted(Note::LowerAdvert(_)) => "(lower)".to_owned(),
        Noted(Note::MasterGone(_)) => "(gone)".to_owned(),
        Noted(Note::StrangerGone(_)) => "(stranger)".to_owned(),
        Noted(Note::SecondOwner(_)) => "(second owner)".to_owned(),
        // Only of one that was told to resign: `tests/reload.rs`.
        Action::Offer | Action::Keep | Action::Resigned(_) => format!("{a:?}"),
    }
}

/// The deadline that a word means.
fn deadline(word: &str, m: &Machine, before: Option<Time>, now: Time) -> Option<Time> {
    let p = &m.params;
    match word {
        "-" => None,
        "same" => before,
        "down" => Some(down(p, now, ms(1000))),
        // Of the advert's interval in v3, of ours in v2.
        "down, learned" => Some(down(p, now, learned(p.version))),
        // A second after the last one was heard or started.
        "skew" => Some(now + skew(p, ms(1000))),
        // Only a lower one was heard: one to be respected would be within an interval.
        "skew, unheard" => Some(now + skew(p, ms(1000)) + ms(1000)),
        "grid" => Some(timers::next_on_grid(now, p.epoch, ms(1000))),
        _ => panic!("{word}"),
    }
}

/// State, input, actions in their order, deadline afterwards.
const TABLE: &[(&str, &str, &str, &str)] = &[
    ("init", "start", "Backup:Started", "down"),
    ("init", "resume", "advert 100, acquire, Master:Resumed", "grid"),
    ("init", "leave", "", "-"),
    ("init", "fault", "", "-"),
    ("init", "stall", "", "-"),
    ("init", "tick", "", "-"),
    ("init", "tick, due", "", "-"),
    ("init", "0 of HIGH", "", "-"),
    ("init", "0 of LOW", "", "-"),
    ("init", "99 of HIGH", "", "-"),
    ("init", "100 of LOW", "", "-"),
    ("init", "100 of HIGH", "", "-"),
    ("init", "101 of LOW", "", "-"),
    ("init", "255 of HIGH", "", "-"),
    ("init, owner", "start", "advert 255, acquire, Master:Owner", "grid"),
    ("init, owner", "resume", "advert 255, acquire, Master:Resumed", "grid"),
    ("init, owner", "leave", "", "-"),
    ("init, owner", "fault", "", "-"),
    ("init, owner", "stall", "", "-"),
    ("init, owner", "tick", "", "-"),
    ("init, owner", "tick, due", "", "-"),
    ("init, owner", "0 of HIGH", "", "-"),
    ("init, owner", "0 of LOW", "", "-"),
    ("init, owner", "99 of HIGH", "", "-"),
    ("init, owner", "100 of LOW", "", "-"),
    ("init, owner", "100 of HIGH", "", "-"),
    ("init, owner", "101 of LOW", "", "-"),
    ("init, owner", "255 of HIGH", "", "-"),
    ("backup, alone", "start", "", "same"),
    ("backup, alone", "resume", "", "same"),
    ("backup, alone", "leave", "Init:Left", "-"),
    ("backup, alone", "fault", "Init:Faulted", "-"),
    ("backup, alone", "stall", "", "same"),
    ("backup, alone", "tick", "", "same"),
    ("backup, alone", "tick, due", "advert 100, acquire, Master:NoMaster", "grid"),
    ("backup, alone", "0 of HIGH", "(stranger)", "same"),
    ("backup, alone", "0 of LOW", "(stranger)", "same"),
    ("backup, alone", "99 of HIGH", "", "same"),
    ("backup, alone", "100 of LOW", "", "down, learned"),
    ("backup, alone", "100 of HIGH", "", "down, learned"),
    ("backup, alone", "101 of LOW", "", "down, learned"),
    ("backup, alone", "255 of HIGH", "", "down, learned"),
    ("backup", "start", "", "same"),
    ("backup", "resume", "", "same"),
    ("backup", "leave", "Init:Left", "-"),
    ("backup", "fault", "Init:Faulted", "-"),
    ("backup", "stall", "", "same"),
    ("backup", "tick", "", "same"),
    ("backup", "tick, due", "advert 100, acquire, Master:MasterDown", "grid"),
    ("backup", "0 of HIGH", "(gone)", "skew"),
    ("backup", "0 of LOW", "(stranger)", "same"),
    ("backup", "99 of HIGH", "", "same"),
    ("backup", "100 of LOW", "", "down, learned"),
    ("backup", "100 of HIGH", "", "down, learned"),
    ("backup", "101 of LOW", "", "down, learned"),
    ("backup", "255 of HIGH", "", "down, learned"),
    ("backup, lower", "start", "", "same"),
    ("backup, lower", "resume", "", "same"),
    ("backup, lower", "leave", "Init:Left", "-"),
    ("backup, lower", "fault", "Init:Faulted", "-"),
    ("backup, lower", "stall", "", "same"),
    ("backup, lower", "tick", "", "same"),
    ("backup, lower", "tick, due", "advert 100, acquire, Master:Preempted", "grid"),
    ("backup, lower", "0 of HIGH", "(gone)", "skew, unheard"),
    ("backup, lower", "0 of LOW", "(stranger)", "same"),
    ("backup, lower", "99 of HIGH", "", "same"),
    ("backup, lower", "100 of LOW", "", "down, learned"),
    ("backup, lower", "100 of HIGH", "", "down, learned"),
    ("backup, lower", "101 of LOW", "", "down, learned"),
    ("backup, lower", "255 of HIGH", "", "down, learned"),
    ("backup, no preempt", "start", "", "same"),
    ("backup, no preempt", "resume", "", "same"),
    ("backup, no preempt", "leave", "Init:Left", "-"),
    ("backup, no preempt", "fault", "Init:Faulted", "-"),
    ("backup, no preempt", "stall", "", "same"),
    ("backup, no preempt", "tick", "", "same"),
    ("backup, no preempt", "tick, due", "advert 100, acquire, Master:MasterDown", "grid"),
    ("backup, no preempt", "0 of HIGH", "(gone)", "skew"),
    ("backup, no preempt", "0 of LOW", "(stranger)", "same"),
    ("backup, no preempt", "99 of HIGH", "", "down, learned"),
    ("backup, no preempt", "100 of LOW", "", "down, learned"),
    ("backup, no preempt", "100 of HIGH", "", "down, learned"),
    ("backup, no preempt", "101 of LOW", "", "down, learned"),
    ("backup, no preempt", "255 of HIGH", "", "down, learned"),
    ("master", "start", "", "same"),
    ("master", "resume", "", "same"),
    ("master", "leave", "hand over, advert 0, Init:Left", "-"),
    ("master", "fault", "release, advert 0, Init:Faulted", "-"),
    ("master", "stall", "release, Backup:Stalled", "down"),
    ("master", "tick", "", "same"),
    ("master", "tick, due", "advert 100", "grid"),
    ("master", "0 of HIGH", "advert 100", "same"),
    ("master", "0 of LOW", "advert 100", "same"),
    ("master", "99 of HIGH", "(lower), advert 100, reannounce", "same"),
    ("master", "100 of LOW", "(lower), advert 100, reannounce", "same"),
    ("master", "100 of HIGH", "(higher), hand over, Backup:Outranked", "down, learned"),
    ("master", "101 of LOW", "(higher), hand over, Backup:Outranked", "down, learned"),
    ("master", "255 of HIGH", "(higher), hand over, Backup:Outranked", "down, learned"),
    ("owner", "start", "", "same"),
    ("owner", "resume", "", "same"),
    ("owner", "leave", "hand over, advert 0, Init:Left", "-"),
    ("owner", "fault", "release, advert 0, Init:Faulted", "-"),
    ("owner", "stall", "release, Backup:Stalled", "down"),
    ("owner", "tick", "", "same"),
    ("owner", "tick, due", "advert 255", "grid"),
    ("owner", "0 of HIGH", "advert 255", "same"),
    ("owner", "0 of LOW", "advert 255", "same"),
    ("owner", "99 of HIGH", "(lower), advert 255, reannounce", "same"),
    ("owner", "100 of LOW", "(lower), advert 255, reannounce", "same"),
    ("owner", "100 of HIGH", "(lower), advert 255, reannounce", "same"),
    ("owner", "101 of LOW", "(lower), advert 255, reannounce", "same"),
    ("owner", "255 of HIGH", "(second owner), (higher), hand over, Backup:Outranked", "down, learned"),
];

#[test]
fn every_state_and_input() {
    for version in [Version::V2, Version::V3] {
        for name in STATES {
            for (what, input) in INPUTS {
                let rows: Vec<_> = TABLE.iter().filter(|r| (r.0, r.1) == (name, what)).collect();
                let [(_, _, actions, word)] = rows[..] else {
                    panic!("{} rows for {name} × {what}", rows.len());
                };
                let (mut m, mut now) = state(name, version);
                let before = m.deadline();
                if what == "tick, due" {
                    now = 11_000;
                }
                let did: Vec<String> = go(&mut m, at(now), input).iter().map(show).collect();
                assert_eq!(did.join(", "), *actions, "{version:?}: {name} × {what}");
                assert_eq!(
                    m.deadline(),
                    deadline(word, &m, before, at(now)),
                    "{version:?}: {name} × {what}: {word}"
                );
            }
        }
    }
    assert_eq!(TABLE.len(), STATES.len() * INPUTS.len());
}
