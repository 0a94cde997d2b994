//! The last transitions of each virtual router, with the time of day. `vipd status` shows them.

use crate::event::Event;
use crate::node::Node;
use crate::report::words;
use crate::vrrp::faults::Faults;
use crate::vrrp::machine::{Kind, Why};
use std::collections::VecDeque;
use std::time::Duration;

/// How many transitions of a virtual router are kept, and how many `vipd status` shows.
pub const KEPT: usize = 8;

/// The transitions of all virtual routers, by name.
#[derive(Debug, Default)]
pub struct History {
    routers: Vec<(String, VecDeque<Transition>)>,
}

/// One transition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition {
    /// Time since 1970 UTC.
    pub at: Duration,
    kind: Kind,
    why: Why,
    faults: Faults,
}

impl Transition {
    /// `MASTER (no advert from the master)`
    pub fn text(&self) -> String {
        let state = words::state(self.kind, self.faults);
        match self.kind {
            Kind::Init if !self.faults.none() => format!("{state}: {}", words::faults(self.faults)),
            _ => format!("{state} ({})", words::why(self.why)),
        }
    }
}

impl History {
    /// Takes note of an event that is a transition. `wall`: time since 1970 UTC.
    pub fn note(&mut self, node: &Node, event: &Event, wall: Duration) {
        let none = Faults::default();
        let (router, kind, why, faults) = match event {
            // `Fault` follows, with the reasons.
            Event::Entered { kind: Kind::Init, why: Why::Faulted, .. } => return,
            Event::Entered { router, kind, why } => (*router, *kind, *why, none),
            Event::Fault { router, faults } => (*router, Kind::Init, Why::Faulted, *faults),
            _ => return,
        };
        let Some(name) = node.routers.get(router).map(|r| r.cfg.name.as_str()) else { return };
        let at = self.routers.iter().position(|(n, _)| n == name).unwrap_or_else(|| {
            self.routers.retain(|(n, _)| node.routers.iter().any(|r| r.cfg.name == *n));
            self.routers.push((name.to_owned(), VecDeque::with_capacity(2)));
            self.routers.len() - 1
        });
        let Some((_, all)) = self.routers.get_mut(at) else { return };
        if all.len() >= KEPT {
            all.pop_front();
        }
        all.push_back(Transition { at: wall, kind, why, faults });
    }

    /// The last transitions of the routers that `wanted` names, the oldest first.
    pub fn last(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<(&str, Transition)> {
        let mut last: Vec<(&str, Transition)> = Vec::new();
        for (name, all) in self.routers.iter().filter(|(name, _)| wanted(name)) {
            for t in all {
                let before = last.iter().rposition(|(_, other)| other.at <= t.at);
                last.insert(before.map_or(0, |i| i + 1), (name, *t));
                if last.len() > KEPT {
                    last.remove(0);
                }
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Time;
    use crate::config::schema;

    #[test]
    fn the_last_of_each_router_are_kept_by_name() {
        let text = |name: &str| {
            format!(
                "[vrrp {name}]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.0.2.1/24\n"
            )
        };
        let node = |name: &str| Node::new(&schema::parse(&text(name)).expect("valid").0, Time::ZERO);
        let (a, b) = (node("A"), node("B"));
        let mut history = History::default();
        for s in 0..20 {
            let kind = if s % 2 == 0 { Kind::Master } else { Kind::Backup };
            let event = Event::Entered { router: 0, kind, why: Why::MasterDown };
            history.note(&a, &event, Duration::from_secs(s));
        }
        history.note(&a, &Event::PriorityZero { router: 0 }, Duration::from_secs(20));
        let all = history.last(&|_| true);
        let times: Vec<u64> = all.iter().map(|(_, t)| t.at.as_secs()).collect();
        assert_eq!(times, [12, 13, 14, 15, 16, 17, 18, 19]);
        assert_eq!(all[0].1.text(), "MASTER (no advert from the master)");
        // What is no longer configured is forgotten.
        let fault = Event::Fault { router: 0, faults: Faults::LINK_DOWN };
        history.note(&b, &fault, Duration::from_secs(21));
        let all = history.last(&|_| true);
        assert_eq!(
            all.iter().map(|(n, t)| (*n, t.text())).collect::<Vec<_>>(),
            [("B", "FAULT: interface is down".into())]
        );
        assert!(history.last(&|name| name == "A").is_empty());
    }
}
