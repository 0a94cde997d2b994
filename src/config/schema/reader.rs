//! Reads the values of one section: each function takes a key, its range and its default, and
//! reports what is wrong. After an error the default stands in, so that the rest can be checked.

use crate::config::ini::{Entry, Section};
use crate::config::mistakes;
use crate::config::report::{Hint, Report, Shown, listed, nearest};
use std::fmt::Arguments;
use std::path::PathBuf;
use std::time::Duration;

/// The words of a boolean; those at even places mean yes.
const BOOLEAN: &str = "yes, no, true, false, on, off";

/// The keys of a kind of section; lists are texts with commas, see [`listed`].
pub struct Keys {
    /// The header as a user would write it.
    pub title: &'static str,
    /// Keys that may be there once.
    pub once: &'static str,
    /// Keys that may repeat: lists.
    pub lists: &'static str,
}

/// One section being read.
pub struct Reader<'a, 'r> {
    /// The section.
    pub section: &'a Section<'a>,
    /// Where errors go.
    pub report: &'r mut Report,
}

impl<'a, 'r> Reader<'a, 'r> {
    /// Checks the keys of a section: each known, with a value, and there once unless it is a list.
    pub fn open(section: &'a Section<'a>, keys: &Keys, all: &[&Keys], report: &'r mut Report) -> Self {
        for (index, entry) in section.entries.iter().enumerate() {
            if report.is_full() {
                break;
            }
            let key = Shown(entry.key);
            let once = has(keys.once, entry.key);
            if !once && !has(keys.lists, entry.key) {
                unknown(entry, section, keys, all, report);
            } else if entry.value.is_empty() {
                report.error(
                    entry.line,
                    format_args!("`{key}` has no value: `{key} = VALUE`, or leave it out"),
                );
            } else if once
                && let Some(first) = section.entries.iter().take(index).find(|e| e.key == entry.key)
            {
                let line = report.files.line(first.line);
                report.error(
                    entry.line,
                    format_args!("`{key}` is in {section} twice: keep this one or the one on line {line}"),
                );
            }
        }
        Reader { section, report }
    }

    /// The first entry of a key that has a value.
    pub fn entry(&self, key: &str) -> Option<&'a Entry<'a>> {
        self.section.entries.iter().find(|entry| entry.key == key && !entry.value.is_empty())
    }

    /// Whether the key is there at all.
    pub fn has(&self, key: &str) -> bool {
        self.section.entries.iter().any(|entry| entry.key == key)
    }

    /// Line of the key, or of the section.
    pub fn line(&self, key: &str) -> u32 {
        self.entry(key).map_or(self.section.line, |entry| entry.line)
    }

    /// Reports a required key that is not there.
    pub fn require(&mut self, key: &str, example: &str) {
        if !self.has(key) {
            let title = self.section;
            self.report
                .error(self.section.line, format_args!("{title} lacks `{key}`: e.g. {key} = {example}"));
        }
    }

    /// A word of a fixed set: its index. `None` if there is none, or a wrong one.
    pub fn choice(&mut self, key: &str, words: &str) -> Option<usize> {
        let entry = self.entry(key)?;
        let found = listed(words).position(|word| word == entry.value);
        if found.is_none() {
            let hint = Hint(nearest(entry.value, &[words]));
            self.wrong(entry, format_args!("is not one of: {words}{hint}"));
        }
        found
    }

    /// A boolean.
    pub fn boolean(&mut self, key: &str, default: bool) -> bool {
        self.choice(key, BOOLEAN).map_or(default, |index| index % 2 == 0)
    }

    /// A whole number within `min..=max`.
    pub fn number(&mut self, key: &str, min: u32, max: u32, default: u32) -> u32 {
        self.optional_number(key, min, max).unwrap_or(default)
    }

    /// As [`Self::number`]; `None` if there is none, or a wrong one.
    pub fn optional_number(&mut self, key: &str, min: u32, max: u32) -> Option<u32> {
        let entry = self.entry(key)?;
        let value = digits(entry.value).and_then(|value| u32::try_from(value).ok().or(Some(u32::MAX)));
        match value {
            Some(value) if (min..=max).contains(&value) => Some(value),
            value => {
                let wrong = if value.is_some() { "out of range" } else { "not a whole number" };
                self.wrong(entry, format_args!("is {wrong}: {min} to {max}"));
                None
            }
        }
    }

    /// Seconds with fractions; bounds and default in milliseconds.
    pub fn duration(&mut self, key: &str, min: u64, max: u64, default: u64) -> Duration {
        self.optional_duration(key, min, max).unwrap_or(Duration::from_millis(default))
    }

    /// As [`Self::duration`]; `None` if there is none, or a wrong one.
    pub fn optional_duration(&mut self, key: &str, min: u64, max: u64) -> Option<Duration> {
        let entry = self.entry(key)?;
        let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
        match parse_duration(entry.value) {
            Some(value) if (min..=max).contains(&value) => Some(value),
            value => {
                let wrong = match value {
                    Some(_) => "out of range",
                    None if mistakes::has_unit(entry.value) => "not a number: write seconds without a unit",
                    None => "not a number of seconds",
                };
                self.wrong(entry, format_args!("is {wrong}: {} to {} seconds", seconds(min), seconds(max)));
                None
            }
        }
    }

    /// An absolute path of at most `max` octets.
    pub fn path(&mut self, key: &str, max: usize, default: &str) -> PathBuf {
        match self.entry(key) {
            Some(entry) if self.is_path(entry.line, key, entry.value, max) => PathBuf::from(entry.value),
            _ => PathBuf::from(default),
        }
    }

    /// Whether a value is an absolute path of at most `max` octets; reports it if it is not.
    pub fn is_path(&mut self, line: u32, key: &str, value: &str, max: usize) -> bool {
        let absolute = value.starts_with('/');
        if !absolute {
            let value = Shown(value);
            self.report
                .error(line, format_args!("{key} = {value} is not an absolute path: it must begin with `/`"));
        } else if value.len() > max {
            self.report.error(line, format_args!("`{key}` is too long: at most {max} octets"));
        }
        absolute && value.len() <= max
    }

    /// The elements of a list with their lines, commas and repeated keys alike.
    pub fn list(&mut self, key: &str) -> Vec<(u32, &'a str)> {
        let mut elements = Vec::new();
        for entry in self.section.entries.iter().filter(|e| e.key == key && !e.value.is_empty()) {
            for element in entry.value.split(',') {
                let element = element.trim_matches([' ', '\t']);
                if element.is_empty() {
                    self.report
                        .error(entry.line, format_args!("`{key}` has an empty element: remove a comma"));
                } else {
                    elements.push((entry.line, element));
                }
            }
        }
        elements
    }

    /// Reports what is wrong with a key.
    pub fn error(&mut self, key: &str, message: Arguments<'_>) {
        let line = self.line(key);
        self.report.error(line, message);
    }

    /// Reports what should be known about a key.
    pub fn warning(&mut self, key: &str, message: Arguments<'_>) {
        let line = self.line(key);
        self.report.warning(line, message);
    }

    /// The index of a section of this kind that an element names; reports a name that is not known.
    pub fn find(&mut self, line: u32, key: &str, kind: &str, name: &str, known: &[&str]) -> Option<usize> {
        let found = known.iter().position(|known| *known == name);
        if found.is_none() {
            let (hint, name) = (Hint(nearest(name, known)), Shown(name));
            self.report.error(line, format_args!("{key}: there is no [{kind} {name}]{hint}"));
        }
        found
    }

    /// Reports an element that is there before.
    pub fn twice(&mut self, line: u32, key: &str, element: &str) {
        let element = Shown(element);
        self.report.error(line, format_args!("{key}: {element} appears twice: remove one"));
    }

    /// Reports those of a list of keys that are there.
    pub fn refuse(&mut self, keys: &str, why: &str) {
        for key in listed(keys) {
            if self.entry(key).is_some() {
                self.error(key, format_args!("`{key}` {why}"));
            }
        }
    }

    /// Reports `key = value ...`.
    pub fn wrong(&mut self, entry: &Entry<'_>, what: Arguments<'_>) {
        self.report.error(entry.line, format_args!("{} = {} {what}", entry.key, Shown(entry.value)));
    }
}

/// Whether a list has a word.
fn has(list: &str, word: &str) -> bool {
    listed(list).any(|known| known == word)
}

/// Reports a key that is in no table of its section, with the key or the section that was meant.
fn unknown(entry: &Entry<'_>, section: &Section<'_>, keys: &Keys, all: &[&Keys], report: &mut Report) {
    let key = Shown(entry.key);
    if let Some(instead) = mistakes::key(key.0) {
        return report.error(entry.line, format_args!("`{key}` is keepalived's: write `{instead}`"));
    }
    let elsewhere = all.iter().find(|other| has(other.once, key.0) || has(other.lists, key.0));
    let (before, meant, after) = match (elsewhere, nearest(key.0, &[keys.once, keys.lists])) {
        (Some(other), _) => (": it belongs to ", other.title, ""),
        (None, Some(meant)) => (": did you mean `", meant, "`?"),
        (None, None) => ("", "", ""),
    };
    report.error(entry.line, format_args!("unknown key `{key}` in {section}{before}{meant}{after}"));
}

/// Digits only; what does not fit becomes the largest number, which is out of every range.
pub fn digits(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0u64, |sum, b| {
        b.is_ascii_digit().then(|| sum.saturating_mul(10).saturating_add(u64::from(b - b'0')))
    })
}

/// Decimal seconds (`2`, `0.01`; up to nine decimals), by hand: parsing floats costs 10 KiB.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let whole = digits(whole)?;
    let mut nanos = digits(decimals).filter(|_| decimals.len() <= 9)?;
    for _ in decimals.len()..9 {
        nanos *= 10;
    }
    Some(Duration::new(whole, u32::try_from(nanos).ok()?))
}

/// A duration as it is written in the file: `0.01`.
pub fn seconds(duration: Duration) -> String {
    let text = format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
