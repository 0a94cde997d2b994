//! keepalived.conf as a tree: a directive is a line of words, and may have a block in braces.

use crate::base::text::split_once;

/// Blocks within blocks; keepalived has three levels.
const MAX_DEPTH: usize = 8;
/// Words and braces of a file with all that it includes.
const MAX_TOKENS: usize = 262_144;
/// Files in files.
const MAX_INCLUDES: usize = 64;

/// One directive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The file it is in, an index, and the line.
    pub at: (usize, usize),
    /// Its words: the first is the keyword.
    pub words: Vec<String>,
    /// What is between its braces, if it has any.
    pub block: Vec<Node>,
}

impl Node {
    /// The keyword.
    pub fn keyword(&self) -> &str {
        self.word(0)
    }

    /// Word `i`, the keyword being 0; empty if there is none.
    pub fn word(&self, i: usize) -> &str {
        self.words.get(i).map_or("", String::as_str)
    }

    /// Everything behind the keyword.
    pub fn rest(&self) -> String {
        self.words.get(1..).unwrap_or_default().join(" ")
    }
}

/// Where included files come from: a pattern to the files it names, each with its text.
pub type Include<'a> = dyn FnMut(&str) -> Result<Vec<(String, String)>, String> + 'a;

/// A file and what it includes, taken apart.
#[derive(Default)]
pub struct Tree {
    /// The directives.
    pub nodes: Vec<Node>,
    files: Vec<String>,
    tokens: Vec<Token>,
    variables: Vec<(String, String)>,
}

enum What {
    Word(String),
    Open,
    Close,
    /// The end of a line that had words.
    End,
}

struct Token {
    at: (usize, usize),
    what: What,
}

impl Tree {
    /// Parses a file and what it includes.
    ///
    /// # Errors
    ///
    /// `file:line: what is wrong`: a brace or a quote that is not closed, an include that cannot be read.
    pub fn parse(name: &str, text: &str, include: &mut Include) -> Result<Self, String> {
        let mut tree = Tree::default();
        tree.lex(name, text, include)?;
        let mut next = 0;
        let mut nodes = Vec::new();
        while next < tree.tokens.len() {
            tree.block(&mut next, 0, &mut nodes)?;
            if let Some(t) = tree.tokens.get(next) {
                return Err(tree.error(t.at, "`}` without `{`"));
            }
        }
        tree.nodes = nodes;
        Ok(tree)
    }

    /// `file:line`
    pub fn place(&self, at: (usize, usize)) -> String {
        format!("{}:{}", self.files.get(at.0).map_or("", String::as_str), at.1)
    }

    fn error(&self, at: (usize, usize), what: &str) -> String {
        format!("{}: {what}", self.place(at))
    }

    fn lex(&mut self, name: &str, text: &str, include: &mut Include) -> Result<(), String> {
        let file = self.files.len();
        self.files.push(name.to_owned());
        for (i, line) in text.split('\n').enumerate() {
            let at = (file, i + 1);
            let line = line.trim_ascii();
            // `$NAME=value`
            if let Some((variable, value)) = line.strip_prefix('$').and_then(|l| l.split_once('='))
                && variable.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
            {
                self.variables.insert(0, (variable.to_owned(), value.trim_matches('"').to_owned()));
                continue;
            }
            let start = self.tokens.len();
            let line = self.expand(line);
            self.words(at, &line)?;
            if let Some([Token { what: What::Word(keyword), .. }, Token { what: What::Word(pattern), .. }]) =
                self.tokens.get(start..)
                && matches!(
                    keyword.as_str(),
                    "include" | "includer" | "includem" | "includew" | "includeb" | "includea"
                )
            {
                if self.files.len() > MAX_INCLUDES {
                    return Err(self.error(at, "too many includes"));
                }
                let files = include(pattern).map_err(|e| self.error(at, &format!("{pattern}: {e}")))?;
                self.tokens.truncate(start);
                for (file, text) in files {
                    self.lex(&file, &text, include)?;
                }
            } else if self.tokens.len() > start {
                self.tokens.push(Token { at, what: What::End });
            }
            if self.tokens.len() > MAX_TOKENS {
                return Err(self.error(at, "too long"));
            }
        }
        Ok(())
    }

    /// `${NAME}` and `$NAME`; what is not known stays.
    fn expand(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (name, value) in &self.variables {
            for form in [["${", name, "}"], ["$", name, ""]] {
                let form = form.concat();
                let (mut done, mut rest) = (String::new(), line.as_str());
                while let Some((before, behind)) = split_once(rest, &form) {
                    done.extend([before, value]);
                    rest = behind;
                }
                line = done + rest;
            }
        }
        line
    }

    /// Up to the brace that ends the block, which is left alone.
    fn block(&self, next: &mut usize, depth: usize, out: &mut Vec<Node>) -> Result<(), String> {
        let mut node = Node::default();
        while let Some(token) = self.tokens.get(*next) {
            match &token.what {
                What::Close => break,
                What::Word(word) => {
                    if node.words.is_empty() {
                        node.at = token.at;
                    }
                    node.words.push(word.clone());
                }
                What::End => {
                    // The brace may be on the next line.
                    if !matches!(self.tokens.get(*next + 1), Some(Token { what: What::Open, .. })) {
                        add(&mut node, out);
                    }
                }
                What::Open => {
                    if node.words.is_empty() || depth == MAX_DEPTH {
                        return Err(self.error(token.at, "a brace without a name"));
                    }
                    *next += 1;
                    self.block(next, depth + 1, &mut node.block)?;
                    if *next >= self.tokens.len() {
                        return Err(self.error(token.at, "this brace is not closed"));
                    }
                    add(&mut node, out);
                }
            }
            *next += 1;
        }
        add(&mut node, out);
        Ok(())
    }

    /// The words of one line: `!` and `#` begin a comment, in the middle of a word, too. Double quotes keep them, and
    /// white space.
    fn words(&mut self, at: (usize, usize), line: &str) -> Result<(), String> {
        let mut rest = line.trim_ascii_start();
        while let Some(first) = rest.bytes().next().filter(|b| !matches!(b, b'!' | b'#')) {
            let mut end = 1;
            let what = match first {
                b'{' => What::Open,
                b'}' => What::Close,
                _ => {
                    let mut quoted = false;
                    let ends = |b: u8| {
                        quoted ^= b == b'"';
                        !quoted && (b.is_ascii_whitespace() || matches!(b, b'{' | b'}' | b'!' | b'#'))
                    };
                    end = rest.bytes().position(ends).unwrap_or(rest.len());
                    if quoted {
                        return Err(self.error(at, "a quote is not closed"));
                    }
                    What::Word(rest.get(..end).unwrap_or_default().replace('"', ""))
                }
            };
            self.tokens.push(Token { at, what });
            rest = rest.get(end..).unwrap_or_default().trim_ascii_start();
        }
        Ok(())
    }
}

fn add(node: &mut Node, out: &mut Vec<Node>) {
    if !node.words.is_empty() {
        out.push(std::mem::take(node));
    }
}
