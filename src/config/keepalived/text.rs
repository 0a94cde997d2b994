//! The lowest layer of keepalived.conf: comments, words, quotes, numbers.

use std::borrow::Cow;

/// What keepalived takes for white space between words.
fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0b' | '\x0c' | '\r' | '\n')
}

/// A line without its comment and the white space around it. `!` and `#` begin a comment anywhere outside
/// double quotes; `\!` and `\#` stand for themselves. A backslash at the end stays: it continues a
/// definition.
pub(super) fn decomment(line: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' => match chars.next() {
                Some(next @ ('!' | '#')) if !quoted => {
                    out.push(next);
                    continue;
                }
                Some(next) => {
                    out.push(c);
                    out.push(next);
                    continue;
                }
                None => {}
            },
            '!' | '#' if !quoted => break,
            _ => {}
        }
        out.push(c);
    }
    out.trim_matches(is_white).to_owned()
}

/// A part of a line: braces stand alone, whatever is next to them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Text(&'a str),
    Open,
    Close,
}

/// Splits a line at its braces. What is in double quotes has none.
pub(super) fn parts(line: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (i, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '{' | '}' if !quoted => {
                text(line.get(start..i), &mut parts);
                parts.push(if c == '{' { Part::Open } else { Part::Close });
                start = i + 1;
            }
            _ => {}
        }
    }
    text(line.get(start..), &mut parts);
    parts
}

fn text<'a>(text: Option<&'a str>, parts: &mut Vec<Part<'a>>) {
    parts.extend(text.map(|t| t.trim_matches(is_white)).filter(|t| !t.is_empty()).map(Part::Text));
}

/// The words of a line, and whether its quotes are in order. A double quote ends a word and begins one that
/// may hold white space; an unmatched one ends the line.
pub(super) fn words(line: &str) -> (Vec<String>, bool) {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(is_white);
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('"') {
            Some(quoted) => match quoted.split_once('"') {
                Some(parts) => parts,
                None => return (words, false),
            },
            None => rest.split_at(rest.find(|c| is_white(c) || c == '"').unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = behind.trim_start_matches(is_white);
    }
    (words, true)
}

/// Splits a command as keepalived does: single and double quotes anywhere in a word, a backslash before any
/// character. `None`: a quote that is not closed.
fn quoted(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) => word.get_or_insert_default().push(escaped(chars.next()?)),
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if is_white(c) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if quote.is_some() { None } else { Some(words) }
}

/// What a letter behind a backslash means. Octal and hexadecimal numbers are left out: nobody writes them.
fn escaped(c: char) -> char {
    match c {
        'a' => '\x07',
        'b' => '\x08',
        'E' => '\x1b',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        c => c,
    }
}

/// The words of the command of a line such as `script "COMMAND"`, and the words behind that one quoted word.
/// keepalived takes the quotes off twice: those around the command, then those within it.
pub(super) fn command(line: &str) -> Option<(Vec<String>, Vec<String>)> {
    let mut words = quoted(line)?;
    let rest = words.split_off(words.len().min(2));
    let argv = quoted(words.get(1)?)?;
    Some((argv, rest)).filter(|(argv, _)| argv.first().is_some_and(|a| !a.is_empty()))
}

/// `true`, `on`, `yes` or nothing; `None`: keepalived takes no other word.
pub(super) fn truth(word: &str) -> Option<bool> {
    match word {
        "" | "true" | "on" | "yes" => Some(true),
        "false" | "off" | "no" => Some(false),
        _ => None,
    }
}

/// Digits, and up to `decimals` of them behind a point, as a number of units of 10^-`decimals`.
pub(super) fn number(text: &str, decimals: usize) -> Option<u64> {
    let (whole, fraction) = match text.split_once('.') {
        Some(_) if decimals == 0 => return None,
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let mut sum = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let mut fraction = fraction.bytes();
    for _ in 0..decimals {
        sum = sum.checked_mul(10)?.checked_add(fraction.next().map_or(0, |b| u64::from(b - b'0')))?;
    }
    Some(sum)
}

/// A whole number with or without a sign.
pub(super) fn signed(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let size = i64::try_from(number(digits, 0)?).ok()?;
    Some(if text.starts_with('-') { -size } else { size })
}

/// Words with something between them.
pub(super) fn join(words: &[String], by: &str) -> String {
    let mut text = String::new();
    for (i, word) in words.iter().enumerate() {
        if i > 0 {
            text.push_str(by);
        }
        text.push_str(word);
    }
    text
}

/// A number of milliseconds as seconds: `0.5`.
pub(super) fn seconds(ms: u64) -> String {
    let text = format!("{}.{:03}", ms / 1000, ms % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whether a character may reach a terminal: neither a control character nor one that turns the writing
/// round.
fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
}

/// At most `most` characters of a text.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let end = text.char_indices().nth(most).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or(text)
}

/// Whether a text can stand in vipd.ini as it is. U+FFFD is what was no UTF-8.
pub(super) fn is_plain(text: &str) -> bool {
    text.chars().all(|c| (is_harmless(c) || c == '\t') && c != '\u{fffd}')
}

/// A text for the terminal: `?` for each character that is not harmless.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if is_harmless(c) { c } else { '?' }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_begin_anywhere_outside_quotes() {
        for (line, want) in [
            ("  a b # c", "a b"),
            ("auth_pass s3c!ret", "auth_pass s3c"),
            (r"auth_pass s3c\#ret", "auth_pass s3c#ret"),
            (r#"auth_pass "a#b !c" ! d"#, r#"auth_pass "a#b !c""#),
            (r#"notify "a \"b#\" c""#, r#"notify "a \"b#\" c""#),
            ("$A=b \\", "$A=b \\"),
            ("# all", ""),
        ] {
            assert_eq!(decomment(line), want, "{line}");
        }
    }

    #[test]
    fn braces_stand_alone_outside_quotes() {
        use Part::{Close, Open, Text};
        assert_eq!(parts("a{b}c"), [Text("a"), Open, Text("b"), Close, Text("c")]);
        assert_eq!(parts(r#"s "x {{.A}} y" }"#), [Text(r#"s "x {{.A}} y""#), Close]);
        assert_eq!(parts(r#""a" { "b""#), [Text(r#""a""#), Open, Text(r#""b""#)]);
        assert_eq!(parts(r#"a "b { c"#), [Text(r#"a "b { c"#)]);
        assert_eq!(parts("}}"), [Close, Close]);
    }

    #[test]
    fn words_and_commands() {
        assert_eq!(words(r#"a "b c"d"#), (vec!["a".into(), "b c".into(), "d".into()], true));
        assert_eq!(words(r#"a "b"#), (vec!["a".into()], false));
        let argv = |line| command(line).map(|(argv, rest)| (argv.join("|"), rest.join("|")));
        assert_eq!(argv(r#"notify "/bin/echo \"a b\" c""#), Some(("/bin/echo|a b|c".into(), "".into())));
        assert_eq!(argv("script '/bin/ls -d /'"), Some(("/bin/ls|-d|/".into(), "".into())));
        assert_eq!(argv("script /bin/ls -d 'a b'"), Some(("/bin/ls".into(), "-d|a b".into())));
        assert_eq!(argv(r#"script "/bin/sh -c 'a b'""#), Some(("/bin/sh|-c|a b".into(), "".into())));
        assert_eq!((argv("script"), argv("script \"\""), argv("script 'a")), (None, None, None));
    }

    #[test]
    fn numbers() {
        for (text, decimals, want) in [
            ("12", 0, Some(12)),
            ("1.5", 0, None),
            ("1.5", 3, Some(1500)),
            (".5", 3, Some(500)),
            ("0.0019", 3, Some(1)),
            ("-1", 0, None),
            ("", 3, None),
            (".", 3, None),
            ("1s", 0, None),
            ("99999999999999999999", 0, None),
        ] {
            assert_eq!(number(text, decimals), want, "{text}");
        }
        assert_eq!((seconds(1500), seconds(60_000), seconds(10)), ("1.5".into(), "60".into(), "0.01".into()));
    }
}
