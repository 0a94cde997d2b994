//! `vrrp_sync_group`.

use super::out::Out;
use super::parse::{Node, Tree};
use super::tables::GROUP;

/// The names in a group's list. keepalived takes the first list.
fn listed(group: &Node) -> Vec<&str> {
    let list = group.block.iter().find(|d| d.keyword() == "group");
    list.into_iter().flat_map(|d| &d.block).flat_map(|m| &m.words).map(String::as_str).collect()
}

/// The group of a virtual router: the first that names it.
pub(super) fn of<'t>(tree: &'t Tree, router: &str) -> Option<&'t Node> {
    tree.nodes.iter().find(|n| n.keyword() == "vrrp_sync_group" && listed(n).contains(&router))
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
    for name in listed(n) {
        let exists = tree.nodes.iter().any(|r| r.keyword() == "vrrp_instance" && r.word(1) == name);
        let first = of(tree, name).is_some_and(|g| g.at == n.at && g.word(1) == n.word(1));
        if exists && first && !members.contains(&name) {
            members.push(name);
        } else if !exists || !first {
            wrong.push(name);
        }
    }
    if members.len() < 2 {
        return out.dropped(n, "fewer than two members: no group is needed");
    }
    out.section("group", n);
    for name in wrong {
        out.line(&[
            "# ",
            name,
            ": no such virtual router, or one of another group: keepalived ignores it, too",
        ]);
    }
    let members: Vec<String> =
        members.into_iter().map(|name| out.name("vrrp", "vrrp_instance", name)).collect();
    out.key("members", &members.join(", "));
    for d in &n.block {
        out.by(GROUP, d);
    }
}
