//! keepalived.conf as a tree: a directive is a line of words, and may have a block in braces.

/// Blocks within blocks; keepalived has three levels.
const MAX_DEPTH: usize = 8;
/// Directives of a file with all that it includes.
const MAX_NODES: usize = 65_536;
/// Files in files.
const MAX_INCLUDES: usize = 64;

/// One directive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The file it is in, and the line.
    pub at: String,
    /// Its words: the first is the keyword.
    pub words: Vec<String>,
    /// What is between its braces, if it has any.
    pub block: Vec<Node>,
}

impl Node {
    /// The keyword.
    pub fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
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

/// Parses a file and what it includes.
///
/// # Errors
///
/// `file:line: what is wrong`: a brace or a quote that is not closed, an include that cannot be read.
pub fn parse(name: &str, text: &str, include: &mut Include) -> Result<Vec<Node>, String> {
    let mut parser = Parser { include, nodes: 0, includes: 0, variables: Vec::new() };
    let mut tokens = Vec::new();
    parser.lex(name, text, &mut tokens)?;
    let mut tokens = tokens.into_iter().peekable();
    let mut out = Vec::new();
    while tokens.peek().is_some() {
        parser.block(&mut tokens, 0, &mut out)?;
        if let Some(t) = tokens.next() {
            return Err(format!("{}: `}}` without `{{`", t.at()));
        }
    }
    Ok(out)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String, String),
    Open(String),
    Close(String),
    /// The end of a line that had words.
    End(String),
}

impl Token {
    fn at(&self) -> &str {
        match self {
            Token::Word(at, _) | Token::Open(at) | Token::Close(at) | Token::End(at) => at,
        }
    }
}

struct Parser<'a, 'b> {
    include: &'a mut Include<'b>,
    nodes: usize,
    includes: usize,
    variables: Vec<(String, String)>,
}

impl Parser<'_, '_> {
    fn lex(&mut self, name: &str, text: &str, out: &mut Vec<Token>) -> Result<(), String> {
        for (i, line) in text.split('\n').enumerate() {
            let at = format!("{name}:{}", i + 1);
            let line = line.trim();
            // `$NAME=value`
            if let Some((variable, value)) = line.strip_prefix('$').and_then(|l| l.split_once('='))
                && variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            {
                self.variables.retain(|(n, _)| n != variable);
                self.variables.push((variable.to_owned(), value.trim_matches('"').to_owned()));
                continue;
            }
            let words = words(&at, &self.expand(line))?;
            if let [Token::Word(_, keyword), Token::Word(_, pattern)] = &words[..]
                && matches!(
                    keyword.as_str(),
                    "include" | "includer" | "includem" | "includew" | "includeb" | "includea"
                )
            {
                self.includes += 1;
                if self.includes > MAX_INCLUDES {
                    return Err(format!("{at}: too many includes"));
                }
                for (file, text) in (self.include)(pattern).map_err(|e| format!("{at}: {pattern}: {e}"))? {
                    self.lex(&file, &text, out)?;
                }
                continue;
            }
            if !words.is_empty() {
                out.extend(words);
                out.push(Token::End(at));
            }
            if out.len() > MAX_NODES * 4 {
                return Err(format!("{name}: too long"));
            }
        }
        Ok(())
    }

    /// `${NAME}` and `$NAME`; what is not known stays.
    fn expand(&self, line: &str) -> String {
        let mut line = line.to_owned();
        if line.contains('$') {
            for (name, value) in &self.variables {
                line = line.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
            }
        }
        line
    }

    /// Up to the brace that ends the block, which is left alone.
    fn block(
        &mut self,
        tokens: &mut std::iter::Peekable<std::vec::IntoIter<Token>>,
        depth: usize,
        out: &mut Vec<Node>,
    ) -> Result<(), String> {
        let mut node = Node::default();
        while let Some(token) = tokens.next_if(|t| !matches!(t, Token::Close(_))) {
            match token {
                Token::Word(at, word) => {
                    if node.words.is_empty() {
                        node.at = at;
                    }
                    node.words.push(word);
                }
                Token::End(_) => {
                    // The brace may be on the next line.
                    if !matches!(tokens.peek(), Some(Token::Open(_))) {
                        self.add(&mut node, out)?;
                    }
                }
                Token::Open(at) => {
                    if node.words.is_empty() || depth == MAX_DEPTH {
                        return Err(format!("{at}: a brace without a name"));
                    }
                    self.block(tokens, depth + 1, &mut node.block)?;
                    match tokens.next() {
                        Some(Token::Close(_)) => self.add(&mut node, out)?,
                        _ => return Err(format!("{at}: this brace is not closed")),
                    }
                }
                Token::Close(_) => {}
            }
        }
        self.add(&mut node, out)
    }

    fn add(&mut self, node: &mut Node, out: &mut Vec<Node>) -> Result<(), String> {
        let node = std::mem::take(node);
        if node.words.is_empty() {
            return Ok(());
        }
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(format!("{}: too many directives", node.at));
        }
        out.push(node);
        Ok(())
    }
}

/// The words of one line: `!` and `#` begin a comment where a word could begin, double quotes keep white space.
fn words(at: &str, line: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(&c) = chars.peek() {
        match c {
            '!' | '#' => break,
            '{' | '}' => {
                chars.next();
                let at = at.to_owned();
                out.push(if c == '{' { Token::Open(at) } else { Token::Close(at) });
            }
            c if c.is_whitespace() => {
                chars.next();
            }
            _ => {
                let (mut word, mut quoted) = (String::new(), false);
                while let Some(c) =
                    chars.next_if(|c| quoted || !(c.is_whitespace() || matches!(c, '{' | '}')))
                {
                    if c == '"' {
                        quoted = !quoted;
                    } else {
                        word.push(c);
                    }
                }
                if quoted {
                    return Err(format!("{at}: a quote is not closed"));
                }
                out.push(Token::Word(at.to_owned(), word));
            }
        }
    }
    Ok(out)
}
