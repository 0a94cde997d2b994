//! `auth_hmac`

use super::*;

/// The blocks of keepalived 2.4.3, with keys cut as it cuts them.
#[test]
fn auth_hmac() {
    use crate::config::{Auth, HmacMode};
    let of = |version: &str, more: &str| {
        let text = format!(
            "vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 61\n version {version}\n {more}\n \
             virtual_ipaddress {{\n 192.168.30.230/24\n }}\n}}\n"
        );
        let (out, cfg) = accepted(&text);
        match &cfg.vrrp[0].auth {
            Auth::Hmac(hmac) => (out, (**hmac).clone()),
            other => panic!("{other:?}\n{out}"),
        }
    };
    let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let phrase = "correct-horse-battery-staple-of-39-chars";
    let octets: Vec<u8> = (0..32).collect();
    let (_, one) = of("2", &format!("auth_hmac {{\n key 1 hex:{hex}\n active_key 1\n }}"));
    assert_eq!(one.keys, [crate::config::Key::new(1, &octets).unwrap()]);
    assert_eq!((one.active, one.time_window, one.mode), (1, Some(5), HmacMode::Enforce));
    // Two blocks, and an `authentication`, which keepalived ignores then.
    let (out, two) = of(
        "2",
        &format!(
            "auth_hmac {{\n key 5 {phrase}\n active_key 5\n mode permissive\n }}\n authentication {{\n auth_type PASS\n \
             auth_pass 1111\n }}\n auth_hmac {{\n key 6 hex:{hex}\n anti_replay monotonic\n time_window 9\n }}"
        ),
    );
    assert_eq!(two.keys.iter().map(|k| k.id).collect::<Vec<_>>(), [5, 6]);
    assert_eq!((two.active, two.time_window, two.mode), (5, None, HmacMode::Permissive));
    assert!(out.contains("auth_hmac excludes it") && !out.contains("1111"), "{out}");
    // What is cut, and what quotes keep.
    for (key, octets) in [
        (format!("{phrase}!and more"), phrase.to_owned()),
        (format!("{phrase}#and more"), phrase.to_owned()),
        (format!("\"{phrase}!and more # \""), format!("{phrase}!and more # ")),
        (format!("{phrase} more"), phrase.to_owned()),
    ] {
        let (out, cfg) = of("3", &format!("auth_hmac {{\n key 1 {key}\n active_key 1\n }}"));
        let want = crate::config::Key::new(1, octets.as_bytes()).unwrap();
        assert_eq!(cfg.keys, [want], "{key}: {out}");
    }
    let (_, odd) = of("3", &format!("auth_hmac {{\n key 1 hex:{hex}f\n active_key 1\n }}"));
    assert_eq!(odd.keys, [crate::config::Key::new(1, &[&octets[..], &[15]].concat()).unwrap()]);
    let strict =
        format!("strict_mode\n auth_hmac {{\n key 1 hex:{hex}\n active_key 1\n mode receive-only\n }}");
    assert_eq!(of("3", &strict).1.mode, HmacMode::Enforce);
    let file = import(
        "k.conf",
        "vrrp_instance A {\n auth_hmac {\n key 1 file:/etc/keepalived/key\n active_key 1\n }\n}\n",
        &mut no_include,
    );
    assert!(file.unwrap().contains("\nauth_hmac_key = 1 file:/etc/keepalived/key\n"));
}
