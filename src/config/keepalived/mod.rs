//! `vipd import`: a keepalived.conf in, the equivalent vipd.ini out, with a comment for whatever is not
//! carried over as it stands, and why. Pure: files and programs come through functions.
//!
//! The rule is that nothing is lost in silence. keepalived forgives a lot (the last of two keys counts, a
//! value out of range falls back, an include may name nothing); the import does what keepalived does, and
//! says so.

mod addresses;
mod check;
mod global;
mod group;
mod hmac;
mod lines;
mod out;
mod parse;
mod router;
mod tables;
mod text;
mod track;

use crate::packed;
use check::Checks;
use out::Out;
use parse::Tree;

/// Where a directive is: the file, an index, and the line.
type Place = (usize, usize);

/// Where included files come from: a pattern to the files it names, each with its text.
pub type Include<'a> = dyn FnMut(&str) -> Result<Vec<(String, String)>, String> + 'a;

/// What the import asks for.
pub struct Outside<'a> {
    /// Reads included files.
    pub include: &'a mut Include<'a>,
    /// Searches a program in PATH: its absolute path.
    pub program: &'a dyn Fn(&str) -> Option<String>,
    /// The node whose `@ID` lines count.
    pub id: String,
    /// Whether the user named it; otherwise it is the host name, and some line must be for it.
    pub id_given: bool,
}

/// Translates a file.
///
/// # Errors
///
/// `file:line: what is wrong` where it cannot be taken apart, or lines for single nodes of which none is for
/// this one. The message is harmless for a terminal.
pub fn import(name: &str, text: &str, outside: &mut Outside<'_>) -> Result<String, String> {
    let tree = Tree::parse(name, text, outside).map_err(|e| text::clean(&e).into_owned())?;
    let mut out = Out::new(&tree, outside.program);
    out.line(&["# made of ", name, " by `vipd import`: read it, then `vipd -t -c FILE`"]);
    for (at, note) in &tree.notes {
        let place = if at.1 == 0 { name.to_owned() } else { tree.place(*at) };
        out.line(&["# ", &place, ": ", note]);
    }
    global::write(&mut out);
    let mut checks = Checks::new(&mut out);
    check::write(&mut out, &mut checks);
    let mut names = Vec::new();
    for n in tree.root.all("vrrp_instance") {
        if names.contains(&n.word(1)) {
            out.dropped(n, packed!("the name is taken: keepalived ignores the second one, too"));
        } else {
            names.push(n.word(1));
            router::write(&mut out, &checks, n);
        }
    }
    for n in tree.root.all("vrrp_sync_group") {
        group::write(&mut out, n);
    }
    for n in &tree.root.block {
        out.by(tables::OTHER, n);
    }
    Ok(out.text)
}

#[cfg(test)]
mod tests;
