//! The figures, as a table for people and as JSON.

use crate::lab::{Answered, Kind};
use std::fmt::Write;
use std::time::Duration;

/// What a fault cost the users of one address family; the worst of all its addresses.
#[derive(Clone, Copy, Default)]
pub struct Family {
    pub two: Duration,
    pub nobody: Duration,
    /// The longest time between two questions.
    pub blind: Duration,
    pub most: usize,
    pub requests: usize,
    pub failed: usize,
    /// The longest time without an answer to a request.
    pub silence: Duration,
    /// There was no answer at the end, either.
    pub silent: bool,
}

/// By both: IPv4, IPv6.
#[derive(Clone, Default)]
pub struct Cost {
    pub families: [Family; 2],
    /// How late the machine was, in words.
    pub late: String,
}

impl Family {
    /// What was seen of one more address.
    pub fn add(&mut self, seen: Answered) {
        self.two = self.two.max(seen.two);
        self.nobody = self.nobody.max(seen.nobody);
        self.blind = self.blind.max(seen.blind);
        self.most = self.most.max(seen.most);
    }

    fn worst(&mut self, other: &Family) {
        let Family { two, nobody, blind, most, .. } = *other;
        self.add(Answered { two, nobody, blind, most });
        self.requests += other.requests;
        self.failed = self.failed.max(other.failed);
        self.silence = self.silence.max(other.silence);
        self.silent |= other.silent;
    }

    fn columns(&self) -> String {
        let s = |d: Duration| d.as_secs_f64();
        let more = if self.silent { '+' } else { ' ' };
        format!("{:>7.3} {:>6.3} {:>6}{more}", s(self.two), s(self.nobody), self.failed)
    }

    fn json(&self) -> String {
        format!(
            "{{\"two\": {:.3}, \"nobody\": {:.3}, \"blind\": {:.3}, \"most\": {}, \"requests\": {}, \"failed\": {}, \
             \"silence\": {:.3}, \"silent\": {}}}",
            self.two.as_secs_f64(),
            self.nobody.as_secs_f64(),
            self.blind.as_secs_f64(),
            self.most,
            self.requests,
            self.failed,
            self.silence.as_secs_f64(),
            self.silent
        )
    }
}

impl Cost {
    pub fn worst(&mut self, other: &Cost) {
        self.families.iter_mut().zip(&other.families).for_each(|(mine, other)| mine.worst(other));
        self.late.clone_from(&other.late);
    }
}

/// One fault at one interval: vipd's costs, and keepalived's.
pub struct Row {
    pub name: &'static str,
    pub advert_int: &'static str,
    pub costs: [Option<Cost>; 2],
    /// Whether anybody has an IPv6 address in it.
    pub v6: bool,
}

impl Row {
    pub fn new(name: &'static str, advert_int: &'static str, v6: bool) -> Row {
        Row { name, advert_int, costs: [None, None], v6 }
    }

    pub fn add(&mut self, kind: Kind, cost: &Cost) {
        self.costs[usize::from(kind == Kind::Keepalived)].get_or_insert_default().worst(cost);
    }

    /// IPv4: vipd, keepalived; IPv6: vipd, keepalived.
    pub fn line(&self) -> String {
        let mut line = format!("{:<39}", self.name);
        for family in 0..if self.v6 { 2 } else { 1 } {
            for cost in &self.costs {
                let columns = cost.as_ref().map(|c| c.families[family].columns());
                let _ = write!(line, " {}", columns.unwrap_or_else(|| format!("{:>22}", "- ")));
            }
        }
        line.trim_end().to_owned()
    }

    /// In what vipd was worse, if it was: as much as one question or some requests make no difference.
    pub fn worse(&self) -> Option<String> {
        let [Some(vipd), Some(keepalived)] = &self.costs else { return None };
        let mut all = String::new();
        for ((v, k), name) in vipd.families.iter().zip(&keepalived.families).zip(["IPv4", "IPv6"]) {
            let s = |d: Duration| d.as_secs_f64();
            if v.two > k.two + Duration::from_millis(20) {
                let _ = write!(all, "; {name}: two answer for {:.3} s against {:.3} s", s(v.two), s(k.two));
            }
            if v.failed > k.failed + 3 {
                let _ = write!(all, "; {name}: {} requests failed against {}", v.failed, k.failed);
            }
            if v.silence > k.silence + Duration::from_millis(150) {
                let _ = write!(
                    all,
                    "; {name}: no answer for {:.3} s against {:.3} s",
                    s(v.silence),
                    s(k.silence)
                );
            }
        }
        (!all.is_empty()).then(|| format!("{}, advert_int {}{all}", self.name, self.advert_int))
    }

    pub fn json(&self) -> String {
        let cost = |cost: &Option<Cost>| match cost {
            None => "null".to_owned(),
            Some(c) => format!(
                "{{\"ipv4\": {}, \"ipv6\": {}, \"late\": \"{}\"}}",
                c.families[0].json(),
                if self.v6 { c.families[1].json() } else { "null".to_owned() },
                c.late
            ),
        };
        format!(
            "    {{\"fault\": \"{}\", \"advert_int\": {}, \"vipd\": {}, \"keepalived\": {}}}",
            self.name,
            self.advert_int,
            cost(&self.costs[0]),
            cost(&self.costs[1])
        )
    }
}

/// What stands above the columns.
pub fn head(advert_int: &str) -> String {
    let group = "    two nobody failed ";
    format!(
        "{:<39} {:<22} {:<22} {:<22} keepalived, IPv6\n{:<39} {group} {group} {group} {}",
        format!("advert_int {advert_int}, seconds"),
        "vipd, IPv4",
        "keepalived, IPv4",
        "vipd, IPv6",
        "",
        group.trim_end()
    )
}
