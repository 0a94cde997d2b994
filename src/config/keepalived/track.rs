//! What a virtual router tracks, itself and by its sync group.

use super::check::{Checks, has_haproxy};
use super::out::Out;
use super::parse::Node;
use super::router::Facts;
use super::text::signed;
use crate::packed;

/// Writes `track_interface`, `track` and `track_haproxy`.
pub(super) fn write(out: &mut Out<'_>, checks: &Checks<'_>, f: &Facts<'_>) {
    let mut lists = Vec::new();
    for n in [Some(f.node), f.group].into_iter().flatten() {
        lists.extend(n.all("track_interface track_script track_process"));
    }
    let mut haproxy = false;
    let mut before = Vec::new();
    for list in lists {
        let kind = list.keyword();
        for t in &list.block {
            let one = (kind, t.keyword());
            if before.contains(&one) {
                out.dropped(t, packed!("given twice: keepalived takes the first, and so does vipd.ini"));
                continue;
            }
            before.push(one);
            if kind == "track_interface" {
                interface(out, f, t);
            } else {
                haproxy |= script(out, checks, f, kind, t, haproxy);
            }
        }
    }
    if has_haproxy(checks) && !haproxy {
        out.key("track_haproxy", "no");
    }
}

fn interface(out: &mut Out<'_>, f: &Facts<'_>, t: &Node) {
    if t.keyword() == f.interface {
        return out.dropped(
            t,
            packed!("the router's own interface is tracked in any case: keepalived ignores this line, too"),
        );
    }
    if let Some(weight) = weight(out, f, t, (0, false)) {
        tracked(out, "track_interface", t.keyword(), weight);
    }
}

/// Whether it is HAProxy.
fn script(out: &mut Out<'_>, checks: &Checks<'_>, f: &Facts<'_>, kind: &str, t: &Node, again: bool) -> bool {
    let name = t.keyword();
    let Some(check) = checks.find(kind, name) else {
        out.dropped(t, packed!("nothing of that name is defined: keepalived ignores it, too"));
        return false;
    };
    if check.haproxy && again {
        out.dropped(t, packed!("HAProxy is tracked already"));
        return true;
    }
    if !check.haproxy && !checks.written.iter().any(|w| std::ptr::eq(*w, check.node)) {
        out.dropped(t, packed!("the check is left out, see above"));
        return false;
    }
    let Some(weight) = weight(out, f, t, check.weight) else { return false };
    if check.haproxy {
        match weight {
            0 => out.key("track_haproxy", "yes"),
            _ => out.key("track_haproxy", &["weight ", &weight.to_string()].concat()),
        }
        out.line(&["# instead of ", name]);
    } else {
        let own = out.name("check", check.node.keyword(), name);
        tracked(out, "track", &own, weight);
    }
    check.haproxy
}

fn tracked(out: &mut Out<'_>, key: &str, name: &str, weight: i64) {
    match weight {
        0 => out.key(key, name),
        _ => out.key(key, &[name, " weight ", &weight.to_string()].concat()),
    }
}

/// The weight of an entry `NAME [weight N [reverse]]`, `own` if it names none. `None`: not tracked, which is
/// told.
fn weight(out: &mut Out<'_>, f: &Facts<'_>, t: &Node, own: (i64, bool)) -> Option<i64> {
    let (mut weight, mut reverse) = own;
    match (t.word(1), t.word(2)) {
        ("", _) => {}
        ("weight", n) if !n.is_empty() => {
            match signed(n) {
                Some(n) if (-254..=254).contains(&n) => weight = n.clamp(-253, 253),
                _ => out.told(
                    t,
                    packed!("a weight is -253 to 253: keepalived takes the weight of the script, or none"),
                ),
            }
            match t.word(3) {
                "reverse" => reverse = true,
                "noreverse" => reverse = false,
                _ => {}
            }
        }
        _ => {
            out.dropped(t, packed!("only `weight N` may follow the name: keepalived ignores the line, too"));
            return None;
        }
    }
    if reverse {
        let why = packed!(
            "vipd has no `reverse`, so this is not tracked: invert the exit status of the script and the sign"
        );
        out.dropped(t, why);
        return None;
    }
    if weight != 0 && f.owner {
        out.dropped(t, packed!("with priority 255 keepalived tracks nothing that has a weight"));
        return None;
    }
    if weight != 0 && f.group.is_some_and(|g| !g.has("sync_group_tracking_weight")) {
        out.told(t, packed!("keepalived ignores weights in a sync group without `sync_group_tracking_weight`: a failure means FAULT"));
        weight = 0;
    }
    Some(weight)
}
