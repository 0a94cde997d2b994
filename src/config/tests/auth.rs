//! `auth_pass` and `auth_hmac_*`, with their files.

use super::{BASE, NO_FILES, rendered};
use crate::base::secret::Secret;
use crate::config::ini::lex;
use crate::config::report::Report;
use crate::config::schema::{MAX_SECRET_FILE, SecretFile, is_inline, parse_bytes};
use crate::config::{Auth, Hmac, HmacMode, Key};
use std::path::Path;

const KEY: &str = "auth_hmac_key = 1 0123456789abcdef0123456789abcdef\n";
const ACTIVE: &str = "auth_hmac_active_key = 1\n";

/// Files of secrets by name.
fn files(path: &Path) -> Result<SecretFile, String> {
    let long = [b'x'; MAX_SECRET_FILE + 1];
    let hex = b"hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\r\n";
    let (content, exposed) = match path.to_str() {
        Some("/etc/hex") => (&hex[..], false),
        Some("/etc/text") => (&b"0123456789abcdef0123456789abcdef\n\n"[..], false),
        Some("/etc/open") => (&b"0123456789abcdef0123456789abcdef"[..], true),
        Some("/etc/pass") => (&b"1111\n"[..], false),
        Some("/etc/empty") => (&b"\r\n"[..], false),
        Some("/etc/short") => (&b"0123456789abcdef"[..], false),
        Some("/etc/long") => (&long[..], false),
        _ => return Err("No such file or directory (os error 2)".to_owned()),
    };
    Ok(SecretFile { content: Secret(content.to_vec()), exposed })
}

fn read(more: &str) -> Result<(Auth, Vec<String>), Vec<String>> {
    match parse_bytes(format!("{BASE}{more}").as_bytes(), &files) {
        Ok((config, warnings)) => Ok((config.vrrp[0].auth.clone(), rendered(&warnings))),
        Err(errors) => Err(rendered(&errors)),
    }
}

fn hmac(more: &str) -> Hmac {
    match read(more) {
        Ok((Auth::Hmac(hmac), _)) => *hmac,
        other => panic!("{more}: {other:?}"),
    }
}

#[test]
fn every_form_of_a_key_and_every_default() {
    let one = hmac(&format!("{KEY}{ACTIVE}"));
    let key = Key::new(1, b"0123456789abcdef0123456789abcdef").expect("a key");
    let expected = Hmac { keys: vec![key], active: 1, time_window: Some(5), mode: HmacMode::Enforce };
    assert_eq!(one, expected);
    for same in ["file:/etc/text", "hex:3031323334353637383961626364656630313233343536373839616263646566"] {
        assert_eq!(hmac(&format!("auth_hmac_key = 1  {same}\n{ACTIVE}")), one, "{same}");
    }
    let octets: Vec<u8> = (0..32).collect();
    let hex = hmac(&format!("auth_hmac_key = 1 file:/etc/hex\n{ACTIVE}"));
    assert_eq!(hex.keys, [Key::new(1, &octets).expect("a key")]);
    for (more, window) in [
        ("advert_int = 3", Some(9)),
        ("advert_int = 255", Some(300)),
        ("version = 3\nadvert_int = 0.01", Some(5)),
        ("auth_hmac_time_window = 300", Some(300)),
        ("auth_hmac_anti_replay = monotonic", None),
    ] {
        assert_eq!(hmac(&format!("{KEY}{ACTIVE}{more}\n")).time_window, window, "{more}");
    }
    for (word, mode) in [
        ("enforce", HmacMode::Enforce),
        ("permissive", HmacMode::Permissive),
        ("receive-only", HmacMode::ReceiveOnly),
    ] {
        assert_eq!(mode.word(), word);
        assert_eq!(hmac(&format!("{KEY}{ACTIVE}auth_hmac_mode = {word}\n")).mode, mode);
    }
}

#[test]
fn a_password_from_a_file() {
    let of = |more: &str| read(&format!("auth_type = PASS\n{more}\n"));
    assert_eq!(of("auth_pass = file:/etc/pass"), Ok((Auth::Pass(*b"1111\0\0\0\0"), vec![])));
    let told = "6: auth_pass: /etc/none: No such file or directory (os error 2)";
    assert_eq!(of("auth_pass = file:/etc/none"), Err(vec![told.to_owned()]));
}

#[test]
fn a_file_that_others_may_read_is_told() {
    let (_, warnings) = read(&format!("auth_hmac_key = 1 file:/etc/open\n{ACTIVE}")).expect("a key");
    assert_eq!(warnings, ["5: /etc/open may be read by others than its owner: chmod 600 /etc/open"]);
}

/// Each is an error: nothing runs unsigned because its key is wrong. No message shows any of the key.
#[test]
fn wrong_keys_are_errors() {
    let form = "5: `auth_hmac_key` is `ID SECRET`: an id of 1 to 255, then hex:..., text, or file:PATH";
    for (value, message) in [
        ("0 0123456789abcdef0123456789abcdef", form),
        ("256 0123456789abcdef0123456789abcdef", form),
        ("0123456789abcdef0123456789abcdef", form),
        ("1", form),
        ("1 0123456789abcdef0123456789abcde", "5: auth_hmac_key 1 has 31 octets: 32 to 64 are needed"),
        ("1 file:/etc/short", "5: auth_hmac_key 1 has 16 octets: 32 to 64 are needed"),
        ("1 hex:00", "5: auth_hmac_key 1 has 1 octets: 32 to 64 are needed"),
        ("1 hex:", "5: auth_hmac_key 1 has 0 octets: 32 to 64 are needed"),
        ("1 hex:001", "5: auth_hmac_key 1 is not an even number of hexadecimal digits behind `hex:`"),
        ("1 hex:0g", "5: auth_hmac_key 1 is not an even number of hexadecimal digits behind `hex:`"),
        (
            "1 0123456789abcdef0123456789abcd\u{e9}",
            "5: auth_hmac_key 1 is not printable ASCII: write it as hex:...",
        ),
        ("1 file:etc/text", "5: auth_hmac_key = etc/text is not an absolute path: it must begin with `/`"),
        ("1 file:/etc/empty", "5: auth_hmac_key: /etc/empty: is empty"),
        ("1 file:/etc/long", "5: auth_hmac_key: /etc/long: has more than 138 octets"),
        ("1 file:/x", "5: auth_hmac_key: /x: No such file or directory (os error 2)"),
    ] {
        let found = read(&format!("auth_hmac_key = {value}\n{ACTIVE}")).expect_err(value);
        assert!(found.contains(&message.to_owned()), "{value}: {found:?}");
    }
    let long = "x".repeat(65);
    let found = read(&format!("auth_hmac_key = 1 {long}\n{ACTIVE}"));
    assert_eq!(found, Err(vec!["5: auth_hmac_key 1 has 65 octets: 32 to 64 are needed".to_owned()]));
}

#[test]
fn what_does_not_go_together() {
    let errors = |more: &str| read(more).expect_err(more);
    assert_eq!(
        errors(&format!("{KEY}{KEY}{ACTIVE}")),
        ["6: auth_hmac_key: id 1 appears twice: take another"]
    );
    assert_eq!(errors(KEY), ["1: [vrrp VI_1] lacks `auth_hmac_active_key`: e.g. auth_hmac_active_key = 1"]);
    assert_eq!(
        errors(&format!("{KEY}auth_hmac_active_key = 2\nauth_hmac_mode = receive-only\n")),
        ["6: auth_hmac_active_key = 2 is the id of no `auth_hmac_key`"]
    );
    assert_eq!(
        errors(&format!("{KEY}{ACTIVE}auth_type = PASS\nauth_pass = 1111\n")),
        [
            "7: `auth_type` does not go with `auth_hmac_key`: leave one out",
            "8: `auth_pass` does not go with `auth_hmac_key`: leave one out"
        ]
    );
    assert_eq!(
        errors(&format!("{KEY}{ACTIVE}auth_hmac_anti_replay = monotonic\nauth_hmac_time_window = 5\n")),
        ["8: `auth_hmac_time_window` has no meaning with auth_hmac_anti_replay = monotonic: leave it out"]
    );
    assert_eq!(
        errors("auth_hmac_mode = enforce\n"),
        ["5: `auth_hmac_mode` needs a key: auth_hmac_key = ID SECRET"]
    );
    for (wrong, message) in [
        ("auth_hmac_time_window = 301", "auth_hmac_time_window = 301 is out of range: 1 to 300"),
        ("auth_hmac_time_window = 0", "auth_hmac_time_window = 0 is out of range: 1 to 300"),
        ("auth_hmac_mode = off", "auth_hmac_mode = off is not one of: enforce, permissive, receive-only"),
    ] {
        assert_eq!(errors(&format!("{KEY}{ACTIVE}{wrong}\n")), [format!("7: {message}")]);
    }
}

#[test]
fn no_secret_is_ever_printed() {
    let shown = format!("{:?}", hmac(&format!("{KEY}{ACTIVE}")));
    assert!(shown.contains("Key(1, ***)") && !shown.contains("0123"), "{shown}");
    assert!(parse_bytes(format!("{BASE}{KEY}{ACTIVE}").as_bytes(), NO_FILES).is_ok());
    let inline = |more: &str| {
        let text = format!("{BASE}{more}");
        let sections = lex(&text, &mut Report::default());
        sections.iter().flat_map(|s| &s.entries).any(is_inline)
    };
    assert!(inline(&format!("{KEY}{ACTIVE}")));
    assert!(!inline(&format!("auth_hmac_key = 1 file:/etc/hex\n{ACTIVE}")));
    assert!(inline(&format!("{KEY}auth_hmac_key = 2 file:/etc/hex\n{ACTIVE}")));
    assert!(!inline("auth_type = PASS\nauth_pass = file:/etc/pass\n"));
    assert!(!inline(""));
}
