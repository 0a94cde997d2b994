//! keepalived.conf as a tree: a directive is a line of words, and may have a block in braces.

use super::lines::{Line, Lines};
use super::text::{Part, parts, words};
use super::{Outside, Place};
use crate::base::packed::Packed;
use crate::packed;

/// Blocks within blocks; keepalived has three levels.
const MAX_DEPTH: usize = 8;
/// Directives and braces of a file with all that it includes.
const MAX_ITEMS: usize = 262_144;

/// Whether a word is one of a list, a text with a space between words.
pub(super) fn is_one(word: &str, list: &str) -> bool {
    list.split(' ').any(|one| one == word)
}

/// The first directive of a kind.
#[inline(never)]
pub(super) fn find<'n>(block: &[&'n Node], keyword: &str) -> Option<&'n Node> {
    block.iter().copied().find(|d| d.keyword() == keyword)
}

/// One directive.
#[derive(Default)]
pub(super) struct Node {
    /// The file it is in, an index, and the line.
    pub(super) at: Place,
    /// Its words: the first is the keyword.
    pub(super) words: Vec<String>,
    /// The line that it was, for commands: their quotes are others.
    pub(super) line: String,
    /// What is between its braces, if it has any.
    pub(super) block: Vec<Node>,
}

impl Node {
    // Not inlined, all that is called everywhere: 20 octets for each call.

    /// The keyword.
    #[inline(never)]
    pub(super) fn keyword(&self) -> &str {
        self.word(0)
    }

    /// Word `i`, the keyword being 0; empty if there is none.
    #[inline(never)]
    pub(super) fn word(&self, i: usize) -> &str {
        self.words.get(i).map_or("", String::as_str)
    }

    /// Whether its keyword is one of a list.
    #[inline(never)]
    pub(super) fn is(&self, list: &str) -> bool {
        is_one(self.keyword(), list)
    }

    /// The directives of its block whose keyword is one of a list.
    pub(super) fn all(&self, list: &str) -> Vec<&Node> {
        self.block.iter().filter(|d| d.is(list)).collect()
    }

    /// The first whose keyword is one of a list.
    #[inline(never)]
    pub(super) fn first(&self, list: &str) -> Option<&Node> {
        self.all(list).first().copied()
    }

    /// The last whose keyword is one of a list.
    #[inline(never)]
    pub(super) fn last(&self, list: &str) -> Option<&Node> {
        self.all(list).pop()
    }

    /// Whether there is any.
    #[inline(never)]
    pub(super) fn has(&self, list: &str) -> bool {
        !self.all(list).is_empty()
    }

    /// What is in the blocks of those whose keyword is one of a list.
    pub(super) fn entries(&self, list: &str) -> Vec<&Node> {
        let mut entries = Vec::new();
        for d in self.all(list) {
            entries.extend(&d.block);
        }
        entries
    }

    /// Whether this is one of the directives whose value is a command.
    pub(super) fn is_command(&self) -> bool {
        self.is("script") || self.keyword().starts_with("notify") && !self.is("notify_fifo")
    }
}

/// A file and what it includes, taken apart.
#[derive(Default)]
pub(super) struct Tree {
    /// Its block has the directives at the top.
    pub(super) root: Node,
    /// What keepalived would complain of, too, or what cannot be expanded.
    pub(super) notes: Vec<(Place, String)>,
    files: Vec<String>,
}

enum Item {
    Words(Node),
    Open(Place),
    Close(Place),
}

impl Tree {
    /// Parses a file and what it includes.
    ///
    /// # Errors
    ///
    /// `file:line: what is wrong`: it is too long or too deep, or it is not known which node it is for.
    pub(super) fn parse(name: &str, text: &str, outside: &mut Outside<'_>) -> Result<Self, String> {
        let Lines { files, lines, notes, .. } = Lines::read(name, text, outside)?;
        let mut tree = Tree { files, notes, root: Node::default() };
        let mut items = Vec::new();
        for line in lines {
            tree.items(&line, &mut items);
            if items.len() > MAX_ITEMS {
                return Err(format!("{}: too long", tree.place(line.at)));
            }
        }
        let mut top = Vec::new();
        tree.block(&mut items.into_iter(), None, 0, &mut top)?;
        tree.root.block = top;
        Ok(tree)
    }

    /// `file:line`
    pub(super) fn place(&self, at: Place) -> String {
        format!("{}:{}", self.files.get(at.0).map_or("", String::as_str), at.1)
    }

    fn note(&mut self, at: Place, what: Packed) {
        self.notes.push((at, what.text()));
    }

    fn items(&mut self, line: &Line, items: &mut Vec<Item>) {
        let at = line.at;
        for part in parts(&line.text) {
            items.push(match part {
                Part::Open => Item::Open(at),
                Part::Close => Item::Close(at),
                Part::Text(text) => {
                    let (words, closed) = words(text);
                    let node = Node { at, words, line: text.to_owned(), block: Vec::new() };
                    if !closed && !node.is_command() {
                        self.note(at, packed!("unclosed quote: keepalived leaves out what follows it, too"));
                    }
                    if node.words.is_empty() {
                        continue;
                    }
                    Item::Words(node)
                }
            });
        }
    }

    /// Up to the brace that ends the block. keepalived goes on after a wrong brace, and so does this.
    fn block(
        &mut self,
        items: &mut std::vec::IntoIter<Item>,
        opened: Option<Place>,
        depth: usize,
        out: &mut Vec<Node>,
    ) -> Result<(), String> {
        // Whether the last directive of `out` may get a block.
        let mut fresh = false;
        while let Some(item) = items.next() {
            match item {
                Item::Words(node) => {
                    out.push(node);
                    fresh = true;
                }
                Item::Open(at) => match out.last_mut().filter(|_| fresh) {
                    None => self.note(at, packed!("a `{` without a name: keepalived ignores it, too")),
                    Some(_) if depth == MAX_DEPTH => {
                        return Err(format!("{}: too many blocks within blocks", self.place(at)));
                    }
                    Some(node) => {
                        let mut block = std::mem::take(&mut node.block);
                        self.block(items, Some(at), depth + 1, &mut block)?;
                        if let Some(node) = out.last_mut() {
                            node.block = block;
                        }
                        fresh = false;
                    }
                },
                Item::Close(_) if opened.is_some() => return Ok(()),
                Item::Close(at) => {
                    self.note(at, packed!("a `}` without `{`: keepalived ignores it, too"));
                    fresh = false;
                }
            }
        }
        if let Some(at) = opened {
            self.note(at, packed!("this `{` is not closed: the rest of the file belongs to it"));
        }
        Ok(())
    }
}
