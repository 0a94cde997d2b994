//! What a virtual router depends on: `track_haproxy`, `track_interface`, `track`.

use super::Names;
use super::reader::{Reader, digits};
use super::vips::device;
use crate::base::text::{Words, words};
use crate::config::report::{Shown, listed};
use crate::config::{Track, TrackCheck, TrackInterface};

/// Largest weight: with it a priority moves from one end of its range to the other.
const MAX_WEIGHT: u64 = 253;
/// Most elements of `track_interface`.
const MAX_INTERFACES: usize = 255;

/// `yes`, `no` or `weight N`; the default is whether there is a `[haproxy]`.
pub fn haproxy(r: &mut Reader<'_, '_>, haproxy: bool) -> Track {
    const KEY: &str = "track_haproxy";
    let track = match r.entry(KEY) {
        Some(entry) if words(entry.value).next() == Some("weight") => {
            // The whole value is what else is the end of an element.
            weight(r, entry.line, KEY, words(entry.value)).unwrap_or(Track::Fault)
        }
        _ if r.boolean(KEY, haproxy) => Track::Fault,
        _ => Track::No,
    };
    if let Some(entry) = r.entry(KEY)
        && track != Track::No
        && !haproxy
    {
        r.wrong(entry, format_args!("needs a [haproxy] section: add one, or set it to no"));
    }
    track
}

/// `track_interface`: `IF [weight N]`
pub fn interfaces(r: &mut Reader<'_, '_>, own: &str) -> Vec<TrackInterface> {
    const KEY: &str = "track_interface";
    let mut tracked: Vec<TrackInterface> = Vec::new();
    for (line, text) in r.list(KEY) {
        if r.report.is_full() {
            break;
        }
        if tracked.len() >= MAX_INTERFACES {
            r.report.error(line, format_args!("{KEY}: too many interfaces: at most {MAX_INTERFACES}"));
            break;
        }
        let mut words = words(text);
        let Some(name) = words.next() else { continue };
        let track = weight(r, line, KEY, words);
        if !device(r, line, format_args!("{KEY}"), name) {
            continue;
        }
        if tracked.iter().any(|t| t.name == name) {
            r.twice(line, KEY, name);
            continue;
        }
        if name == own {
            let text = format_args!(
                "{KEY}: {} is the own interface, which is tracked in any case: down means FAULT",
                Shown(name)
            );
            r.report.warning(line, text);
        }
        tracked.push(TrackInterface { name: name.to_owned(), track: track.unwrap_or(Track::Fault) });
    }
    // Said above; a weight of the own interface still counts while it is up.
    tracked.retain(|t| t.name != own || t.track != Track::Fault);
    tracked
}

/// `track`: `CHECKNAME [weight N]`
pub fn checks(r: &mut Reader<'_, '_>, names: &Names<'_>) -> Vec<TrackCheck> {
    const KEY: &str = "track";
    let mut tracked: Vec<TrackCheck> = Vec::new();
    for (line, text) in r.list(KEY) {
        if r.report.is_full() {
            break;
        }
        let mut words = words(text);
        let Some(name) = words.next() else { continue };
        let track = weight(r, line, KEY, words).unwrap_or(Track::Fault);
        match r.find(line, KEY, "check", name, &names.checks) {
            None => {}
            Some(check) if tracked.iter().any(|t| t.check == check) => r.twice(line, KEY, name),
            Some(check) => tracked.push(TrackCheck { check, track }),
        }
    }
    tracked
}

/// Says which keys mean nothing to the owner of the addresses.
pub fn owner(r: &mut Reader<'_, '_>, haproxy: Track) {
    for key in listed("track_haproxy, track_interface, track") {
        if let Some(entry) = r.entry(key)
            && (key != "track_haproxy" || haproxy != Track::No)
        {
            let text = format_args!("`{key}` does not apply to the owner of the addresses, priority = 255");
            r.report.warning(entry.line, text);
        }
    }
}

/// The end of an element: nothing, or `weight N`. `None` if it is wrong, which is reported.
fn weight(r: &mut Reader<'_, '_>, line: u32, key: &str, mut words: Words<'_>) -> Option<Track> {
    let Some(word) = words.next() else { return Some(Track::Fault) };
    let (value, rest) = (words.next(), words.next());
    if let Some(word) = Some(word).filter(|&word| word != "weight").or(rest) {
        let word = Shown(word);
        r.report.error(line, format_args!("{key}: `{word}` does not belong there: only `weight N`"));
        return None;
    }
    let value = value.unwrap_or("");
    let number = digits(value.strip_prefix('-').unwrap_or(value)).filter(|n| (1..=MAX_WEIGHT).contains(n));
    let Some(number) = number.and_then(|n| i16::try_from(n).ok()) else {
        let value = Shown(value);
        r.report.error(line, format_args!("{key}: `weight {value}` is not a weight: -253 to 253, but not 0"));
        return None;
    };
    Some(Track::Weight(if value.starts_with('-') { -number } else { number }))
}
