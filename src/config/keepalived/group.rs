//! `vrrp_sync_group`.

use super::out::Out;
use super::parse::{Node, Tree};
use super::tables::GROUP;
use super::text::join;
use crate::packed;

/// The names in a group's list. keepalived takes the first list.
fn listed(group: &Node) -> Vec<&str> {
    let mut names = Vec::new();
    for line in group.first("group").map_or(&[][..], |list| &list.block) {
        names.extend(line.words.iter().map(String::as_str));
    }
    names
}

/// The group of a virtual router: the first that names it.
pub(super) fn of<'t>(tree: &'t Tree, router: &str) -> Option<&'t Node> {
    tree.root.all("vrrp_sync_group").into_iter().find(|n| listed(n).contains(&router))
}

/// Whether a router is the one that carries the group's hooks: its first member.
pub(super) fn is_first(group: &Node, router: &str) -> bool {
    listed(group).first() == Some(&router)
}

/// Writes `[group NAME]`.
pub(super) fn write(out: &mut Out<'_>, n: &Node) {
    let tree = out.tree;
    let mut members: Vec<&str> = Vec::new();
    let mut wrong = Vec::new();
    let routers = tree.root.all("vrrp_instance");
    for name in listed(n) {
        let exists = routers.iter().any(|r| r.word(1) == name);
        let first = of(tree, name).is_some_and(|g| g.at == n.at && g.word(1) == n.word(1));
        if exists && first && !members.contains(&name) {
            members.push(name);
        } else if !exists || !first {
            wrong.push(name);
        }
    }
    if members.len() < 2 {
        return out.dropped(n, packed!("fewer than two members: no group is needed"));
    }
    out.section("group", n);
    for name in wrong {
        out.line(&[
            "# ",
            name,
            &packed!(": no such virtual router, or one of another group: keepalived ignores it, too").text(),
        ]);
    }
    let mut ours = Vec::new();
    for name in members {
        ours.push(out.name("vrrp", "vrrp_instance", name));
    }
    out.key("members", &join(&ours, ", "));
    for d in &n.block {
        out.by(GROUP, d);
    }
}
