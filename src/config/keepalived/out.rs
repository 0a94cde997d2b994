//! What is written: keys, comments, and the rules that most directives follow.

use super::parse::{Node, Tree};
use super::tables::rule;
use super::text::{self, clean, cut, is_plain, join, number, seconds};
use crate::base::packed::Packed;
use crate::base::text::Write;
use crate::packed;

/// The configuration, as far as it is translated.
pub(super) struct Out<'a> {
    pub(super) tree: &'a Tree,
    /// Searches a program in PATH.
    program: &'a dyn Fn(&str) -> Option<String>,
    pub(super) text: String,
    /// Keys of global_defs that are defaults of every virtual router: key and value.
    pub(super) defaults: Vec<(String, String)>,
    /// Names of sections: kind, keepalived's keyword and name, vipd's name.
    names: Vec<(&'static str, String, String)>,
    /// `script_user`: who runs commands that name nobody.
    pub(super) user: String,
    /// `vrrp_version`
    pub(super) version: String,
    /// `vrrp_strict`
    pub(super) strict: bool,
}

impl<'a> Out<'a> {
    pub(super) fn new(tree: &'a Tree, program: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Out {
            tree,
            program,
            text: String::new(),
            defaults: Vec::new(),
            names: Vec::new(),
            user: String::new(),
            version: String::new(),
            strict: false,
        }
    }

    /// Everything passes here: no control character of the file reaches a terminal.
    pub(super) fn line(&mut self, parts: &[&str]) {
        for part in parts {
            self.text.push_str(&clean(part));
        }
        self.text.push('\n');
    }

    pub(super) fn comment(&mut self, text: Packed) {
        self.line(&["# ", &text.text()]);
    }

    /// A key, unless vipd.ini cannot hold its value as it is.
    pub(super) fn key(&mut self, key: &str, value: &str) {
        let raw = crate::config::ini::is_raw(key);
        let comment = |w: &[u8]| matches!(w, [b' ' | b'\t', b'#' | b';']);
        let cut = !raw && (value.starts_with(['#', ';']) || value.as_bytes().windows(2).any(comment));
        if value.is_empty() || value.trim_matches([' ', '\t']) != value || cut || !is_plain(value) {
            let why = packed!(
                " is left out: its value is empty, has white space at one end, contains a comment or is not plain text"
            );
            return self.line(&["# ", key, &why.text()]);
        }
        // vipd.ini has variables of its own.
        self.text.extend([key, " = ", &value.replace("${", "$${"), "\n"]);
    }

    /// A directive and a remark.
    pub(super) fn told(&mut self, n: &Node, what: Packed) {
        self.remark(n, &what.text());
    }

    /// What is not carried over, and why.
    pub(super) fn dropped(&mut self, n: &Node, why: Packed) {
        self.told(n, why);
    }

    /// As [`Self::told`], of words of the file.
    pub(super) fn remark(&mut self, n: &Node, what: &str) {
        let secret = n.is("auth_pass key");
        let words = if secret { n.keyword().to_owned() } else { join(&n.words, " ") };
        let at = self.tree.place(n.at);
        self.line(&["# ", &at, ": `", cut(&words, 120), "`: ", what]);
    }

    /// Begins a section without a name.
    pub(super) fn begin(&mut self, kind: &str) {
        self.text.push('\n');
        self.line(&["[", kind, "]"]);
    }

    /// Begins the section of a directive.
    pub(super) fn section(&mut self, kind: &'static str, of: &Node) {
        let own = self.name(kind, of.keyword(), of.word(1));
        self.begin(&[kind, " ", &own].concat());
        if own != of.word(1) {
            self.line(&["# keepalived's name is `", of.word(1), "`"]);
        }
    }

    /// vipd's name of a section that keepalived calls `name`: it is shorter and plainer. Scripts and
    /// processes are checks alike, and may have the same name.
    pub(super) fn name(&mut self, kind: &'static str, keyword: &str, name: &str) -> String {
        let theirs = [keyword, " ", name].concat();
        if let Some((.., own)) = self.names.iter().find(|(k, n, _)| *k == kind && *n == theirs) {
            return own.clone();
        }
        let mut own = String::new();
        for c in cut(name, 32).chars() {
            let good = c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            own.push(if good { c } else { '_' });
        }
        let mut count = 1;
        while own.is_empty() || self.names.iter().any(|(k, _, o)| *k == kind && *o == own) {
            count += 1;
            own.truncate(26);
            write!(own, "_{count}");
        }
        self.names.push((kind, theirs, own.clone()));
        own
    }

    /// A directive by a table.
    pub(super) fn by(&mut self, table: Packed, d: &Node) {
        let Some((sign, rest)) = rule(table, d.keyword()) else {
            return self.dropped(d, packed!("keepalived 2.4 has no such directive here. Is it misspelt?"));
        };
        match sign {
            '-' => {}
            '!' => self.remark(d, &rest),
            '>' => self.key(if rest.is_empty() { d.keyword() } else { &rest }, d.word(1)),
            '=' => self.line(&[&rest]),
            _ => self.by_number(sign, &rest, d),
        }
    }

    /// A rule `KEY MIN MAX` by its sign.
    fn by_number(&mut self, sign: char, rule: &str, d: &Node) {
        let mut words = rule.split(' ');
        let key = words.next().unwrap_or_default();
        let (decimals, scale) = if sign == 's' { (3, 1000) } else { (0, 1) };
        let mut bound = || words.next().and_then(|n| number(n, 0)).unwrap_or(0) * scale;
        let (min, max) = (bound(), bound());
        match self.number(d, decimals, min, max) {
            Some(value) if sign == 'N' => self.defaults.push((key.to_owned(), value)),
            Some(value) => self.key(key, &value),
            None => {}
        }
    }

    /// A number, moved into vipd's range. Where keepalived takes none, its default counts, which is vipd's.
    pub(super) fn number(&mut self, d: &Node, decimals: usize, min: u64, max: u64) -> Option<String> {
        let Some(n) = number(d.word(1), decimals) else {
            self.dropped(
                d,
                packed!(
                    "not a number that keepalived takes: it falls back to its default, and so does vipd.ini"
                ),
            );
            return None;
        };
        let within = n.clamp(min, max);
        let show = |n: u64| if decimals == 0 { n.to_string() } else { seconds(n) };
        if within != n {
            self.remark(d, &["vipd takes ", &show(min), " to ", &show(max)].concat());
        }
        Some(show(within))
    }

    /// A key whose value is such a number.
    pub(super) fn number_key(&mut self, key: &str, d: &Node, decimals: usize, min: u64, max: u64) {
        if let Some(value) = self.number(d, decimals, min, max) {
            self.key(key, &value);
        }
    }

    /// The absolute path of a program, as PATH has it.
    pub(super) fn program(&self, name: &str) -> Option<String> {
        (self.program)(name).filter(|_| !name.as_bytes().contains(&b'/'))
    }

    /// A command as vipd writes it, its program with its path; `None`: told why.
    pub(super) fn command(&mut self, d: &Node) -> Option<Vec<String>> {
        let Some((mut argv, rest)) = text::command(&d.line) else {
            self.dropped(d, packed!("no command, or an unclosed quote: keepalived ignores it, too"));
            return None;
        };
        if !rest.is_empty() && d.is("script") {
            self.told(
                d,
                packed!(
                    "keepalived takes only the first word of a command without quotes; here are all of them"
                ),
            );
            argv.extend(rest);
        } else if !rest.is_empty() {
            self.told(
                d,
                packed!("the words after the command are its user and group: in vipd.ini all hooks run as `notify_user` of [global]"),
            );
        }
        let program = argv.first_mut()?;
        if !program.starts_with(['/', '<']) {
            let found = if program.as_bytes().contains(&b'/') { None } else { (self.program)(program) };
            match found {
                Some(path) => *program = path,
                None => {
                    self.dropped(
                        d,
                        packed!(
                            "no such program in PATH: keepalived ignores the command then, so it is left out"
                        ),
                    );
                    return None;
                }
            }
        }
        Some(argv)
    }

    /// Writes a command under a key. vipd has double quotes and no escapes.
    pub(super) fn command_key(&mut self, key: &str, d: &Node, argv: &[String]) {
        let mut value = String::new();
        for word in argv {
            if word.as_bytes().contains(&b'"') || !is_plain(word) {
                self.dropped(
                    d,
                    packed!("vipd.ini has no quotes within quotes: put the command into a script"),
                );
                return;
            }
            let quote = if word.is_empty() || word.contains([' ', '\t']) { "\"" } else { "" };
            let space = if value.is_empty() { "" } else { " " };
            value.extend([space, quote, word, quote]);
        }
        self.key(key, &value);
    }

    /// The directives of blocks that count: keepalived takes the last of two, of some the first; lists add
    /// up.
    pub(super) fn settle<'n>(&mut self, blocks: &[&'n Node], first: &str, lists: &str) -> Vec<&'n Node> {
        let mut kept: Vec<&Node> = Vec::new();
        for d in blocks.iter().flat_map(|n| &n.block) {
            match kept.iter().position(|k| k.keyword() == d.keyword()) {
                Some(_) if d.is(first) => {
                    self.dropped(d, packed!("given twice: keepalived takes the first, and so does vipd.ini"));
                    continue;
                }
                Some(i) if !d.is(lists) => {
                    let before = kept.remove(i);
                    self.dropped(
                        before,
                        packed!("given twice: keepalived takes the last, and so does vipd.ini"),
                    );
                }
                _ => {}
            }
            kept.push(d);
        }
        kept
    }
}
