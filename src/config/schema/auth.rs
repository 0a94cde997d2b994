//! `auth_type`, `auth_pass` and `auth_hmac_*`. A message about a secret never shows any of it.

use super::Names;
use super::reader::{Reader, digits};
use crate::base::secret::Secret;
use crate::base::text::words;
use crate::config::ini::Entry;
use crate::config::{Auth, Hmac, HmacMode, Key, Version};
use std::path::Path;
use std::time::Duration;

/// Most octets of a file that holds a secret: `hex:` and 64 octets, and the end of the line.
pub const MAX_SECRET_FILE: usize = 138;
/// The longest path of such a file.
const MAX_PATH: usize = 4095;
/// Keys that have no meaning without an `auth_hmac_key`.
const OPTIONS: &str = "auth_hmac_active_key, auth_hmac_anti_replay, auth_hmac_time_window, auth_hmac_mode";
/// Keys of version 2 that an `auth_hmac_key` excludes.
const PASSWORD: &str = "auth_type, auth_pass";

/// A file that holds a secret, as the caller of the parser has read it.
#[derive(Debug)]
pub struct SecretFile {
    /// Its octets, at most [`MAX_SECRET_FILE`] + 1 of them.
    pub content: Secret,
    /// Whether others than its owner may read it.
    pub exposed: bool,
}

/// Reads files that hold secrets: the content, or why there is none.
pub type Files<'a> = &'a dyn Fn(&Path) -> Result<SecretFile, String>;

/// Whether an entry is a secret that stands in the configuration file itself.
pub fn is_inline(e: &Entry<'_>) -> bool {
    match e.key {
        "auth_pass" | "auth_hmac_key" => !words(e.value).any(|w| w.starts_with("file:")),
        _ => false,
    }
}

/// Reads the keys. `version`: `None` if that is wrong.
pub fn read(
    r: &mut Reader<'_, '_>,
    names: &Names<'_>,
    version: Option<Version>,
    advert_int: Duration,
) -> Auth {
    if r.has("auth_hmac_key") {
        r.refuse(PASSWORD, "does not go with `auth_hmac_key`: leave one out");
        return hmac(r, names, advert_int).map_or(Auth::None, |hmac| Auth::Hmac(Box::new(hmac)));
    }
    r.refuse(OPTIONS, "needs a key: auth_hmac_key = ID SECRET");
    password(r, names, version)
}

/// PASS and AH, of version 2.
fn password(r: &mut Reader<'_, '_>, names: &Names<'_>, version: Option<Version>) -> Auth {
    let (kind, pass) = (r.entry("auth_type"), r.entry("auth_pass"));
    let ah = r.choice("auth_type", "PASS, AH") == Some(1);
    if version == Some(Version::V3) {
        r.refuse(PASSWORD, "does not go with version 3, which has none: leave it out");
    } else if let Some(entry) = kind
        && !r.has("auth_pass")
    {
        r.report.error(entry.line, format_args!("`auth_type` needs a password: auth_pass = SECRET"));
    } else if let Some(entry) = pass
        && !r.has("auth_type")
    {
        r.report.error(entry.line, format_args!("`auth_pass` needs `auth_type`: auth_type = PASS"));
    }
    let Some(pass) = pass else { return Auth::None };
    let Some(secret) = content(r, names, pass, pass.value) else { return Auth::None };
    let octets = secret.0.len();
    if octets > 8 {
        let text = format_args!("`auth_pass` has {octets} octets: only the first 8 count");
        r.report.warning(pass.line, text);
    }
    let mut key = [0; 8];
    key.iter_mut().zip(&secret.0).for_each(|(to, from)| *to = *from);
    if ah { Auth::Ah(key) } else { Auth::Pass(key) }
}

/// `None` if anything is wrong: an instance with a wrong key never runs without one.
fn hmac(r: &mut Reader<'_, '_>, names: &Names<'_>, advert_int: Duration) -> Option<Hmac> {
    let keys = keys(r, names);
    let active = r.optional_number("auth_hmac_active_key", 1, 255).and_then(|id| u8::try_from(id).ok());
    r.require("auth_hmac_active_key", "1");
    if let Some(active) = active
        && keys.iter().all(|(id, _)| *id != active)
    {
        let text = format_args!("auth_hmac_active_key = {active} is the id of no `auth_hmac_key`");
        r.error("auth_hmac_active_key", text);
    }
    let monotonic = r.choice("auth_hmac_anti_replay", "time, monotonic") == Some(1);
    let window = r.optional_number("auth_hmac_time_window", 1, 300);
    if let Some(entry) = r.entry("auth_hmac_time_window")
        && monotonic
    {
        let text = "`auth_hmac_time_window` has no meaning with auth_hmac_anti_replay = monotonic";
        r.report.error(entry.line, format_args!("{text}: leave it out"));
    }
    let default = advert_int.as_secs().saturating_mul(3).clamp(5, 300);
    let window = window.unwrap_or(u32::try_from(default).unwrap_or(300));
    let mode = match r.choice("auth_hmac_mode", HmacMode::WORDS) {
        Some(1) => HmacMode::Permissive,
        Some(2) => HmacMode::ReceiveOnly,
        _ => HmacMode::Enforce,
    };
    let keys: Option<Vec<Key>> = keys.into_iter().map(|(_, key)| key).collect();
    Some(Hmac { keys: keys?, active: active?, time_window: (!monotonic).then_some(window), mode })
}

/// Every `auth_hmac_key` whose id is right: the id, and the key unless that is wrong.
fn keys(r: &mut Reader<'_, '_>, names: &Names<'_>) -> Vec<(u8, Option<Key>)> {
    let mut keys: Vec<(u8, Option<Key>)> = Vec::new();
    for entry in r.section.entries.iter().filter(|e| e.key == "auth_hmac_key" && !e.value.is_empty()) {
        let (id, value) = entry.value.split_once([' ', '\t']).unwrap_or((entry.value, ""));
        let id = digits(id).and_then(|id| u8::try_from(id).ok()).filter(|id| *id > 0);
        let (Some(id), false) = (id, value.is_empty()) else {
            // Whatever stands there may be the key.
            let text = "`auth_hmac_key` is `ID SECRET`: an id of 1 to 255, then hex:..., text, or file:PATH";
            r.report.error(entry.line, format_args!("{text}"));
            continue;
        };
        if keys.iter().any(|(known, _)| *known == id) {
            r.report.error(entry.line, format_args!("auth_hmac_key: id {id} appears twice: take another"));
            continue;
        }
        let key = key(r, names, entry, id, value.trim_start_matches([' ', '\t']));
        keys.push((id, key));
    }
    keys
}

fn key(r: &mut Reader<'_, '_>, names: &Names<'_>, entry: &Entry<'_>, id: u8, value: &str) -> Option<Key> {
    let text = content(r, names, entry, value)?;
    let octets = match text.0.strip_prefix(b"hex:") {
        Some(hex) => unhex(hex),
        None => text.0.iter().all(|b| (b' '..=b'~').contains(b)).then(|| text.clone()),
    };
    let wrong = match &octets {
        None if text.0.starts_with(b"hex:") => "is not an even number of hexadecimal digits behind `hex:`",
        None => "is not printable ASCII: write it as hex:...",
        Some(octets) => match Key::new(id, &octets.0) {
            Some(key) => return Some(key),
            None => {
                let (n, min, max) = (octets.0.len(), Key::MIN, crate::config::auth::KEY_LEN);
                let text = format_args!("auth_hmac_key {id} has {n} octets: {min} to {max} are needed");
                r.report.error(entry.line, text);
                return None;
            }
        },
    };
    r.report.error(entry.line, format_args!("auth_hmac_key {id} {wrong}"));
    None
}

/// A secret, or what the file of `file:PATH` holds, without the end of its line.
fn content(r: &mut Reader<'_, '_>, names: &Names<'_>, entry: &Entry<'_>, value: &str) -> Option<Secret> {
    let Some(path) = value.strip_prefix("file:") else { return Some(Secret(value.as_bytes().to_vec())) };
    if !r.is_path(entry.line, entry.key, path, MAX_PATH) {
        return None;
    }
    let wrong = match (names.files)(Path::new(path)) {
        Err(why) => why,
        Ok(file) if file.content.0.len() > MAX_SECRET_FILE => {
            format!("has more than {MAX_SECRET_FILE} octets")
        }
        Ok(mut file) => {
            while file.content.0.last().is_some_and(|b| matches!(b, b'\r' | b'\n')) {
                file.content.0.pop();
            }
            if file.exposed {
                let text = format_args!("{path} may be read by others than its owner: chmod 600 {path}");
                r.report.warning(entry.line, text);
            }
            if !file.content.0.is_empty() {
                return Some(std::mem::take(&mut file.content));
            }
            "is empty".to_owned()
        }
    };
    r.report.error(entry.line, format_args!("{}: {path}: {wrong}", entry.key));
    None
}

/// Octets of hexadecimal digits; `None`: an odd number, or others.
fn unhex(digits: &[u8]) -> Option<Secret> {
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = digits.as_chunks::<2>();
    // With its final size, so that no copy is left behind.
    let mut octets = Secret(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        octets.0.push(digit(high)? << 4 | digit(low)?);
    }
    rest.is_empty().then_some(octets)
}
