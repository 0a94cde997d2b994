//! `[group NAME]`

use super::Names;
use super::reader::{Keys, Reader, seconds};
use super::vrrp::Router;
use crate::config::Group;
use crate::config::ini::Section;
use crate::config::report::Report;

/// The keys of a `[group NAME]`.
pub const KEYS: Keys = Keys { title: "[group NAME]", once: "", lists: "members" };

/// A group with its line.
pub struct Lined {
    /// The group.
    pub group: Group,
    /// Line of `members`, or of the section.
    pub line: u32,
}

/// Reads a section.
pub fn read(section: &Section<'_>, all: &[&Keys], names: &Names<'_>, report: &mut Report) -> Lined {
    const KEY: &str = "members";
    let mut r = Reader::open(section, &KEYS, all, report);
    r.require(KEY, "VI_1, VI_2");
    let list = r.list(KEY);
    let few = r.has(KEY) && list.len() < 2;
    let mut members: Vec<usize> = Vec::new();
    for (line, name) in list {
        if r.report.is_full() {
            break;
        }
        match r.find(line, KEY, "vrrp", name, &names.vrrp) {
            None => {}
            Some(member) if members.contains(&member) => r.twice(line, KEY, name),
            Some(member) => members.push(member),
        }
    }
    if few {
        r.error(KEY, format_args!("{section} has fewer than two members: name another, or remove it"));
    }
    let line = r.line(KEY);
    Lined { group: Group { name: section.name.to_owned(), members }, line }
}

/// Reports what its members contradict in each other. All of `before` are the groups above it.
pub fn check(this: &Lined, before: &[Lined], routers: &[Router], report: &mut Report) {
    let Lined { group, line } = this;
    let name = &group.name;
    let mut members = group.members.iter().filter_map(|&index| Some((index, &routers.get(index)?.vrrp)));
    let Some((_, first)) = members.clone().next() else { return };
    for (index, member) in members.clone() {
        if let Some(other) = before.iter().find(|other| other.group.members.contains(&index)) {
            let (member, other, at) = (&member.name, &other.group.name, report.files.line(other.line));
            let text =
                format_args!("members: {member} is already in [group {other}] on line {at}: remove one");
            report.error(*line, text);
        }
    }
    let owner = members.clone().find(|(_, member)| member.priority == 255);
    let other = members.clone().find(|(_, member)| member.priority != 255);
    if let (Some((_, owner)), Some((_, other))) = (owner, other) {
        let (owner, other) = (&owner.name, &other.name);
        let text = format_args!(
            "[group {name}]: {owner} is an owner (priority = 255), which never gives way, and {other} is not: set 254"
        );
        report.error(*line, text);
    }
    if let Some((_, other)) = members.clone().find(|(_, member)| member.preempt != first.preempt) {
        let (one, other) = (&first.name, &other.name);
        let text = format_args!("[group {name}]: {one} and {other} differ in preempt: they move together");
        report.warning(*line, text);
    }
    if let Some((_, other)) = members.find(|(_, member)| member.advert_int != first.advert_int) {
        let (one, is) = (&first.name, seconds(first.advert_int));
        let (other, but) = (&other.name, seconds(other.advert_int));
        let text = format_args!(
            "[group {name}]: advert_int is {is} in {one} and {but} in {other}: the slowest decides when all move"
        );
        report.warning(*line, text);
    }
}
