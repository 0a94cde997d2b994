use super::*;
use crate::config::schema;

fn no_include(_: &str) -> Result<Vec<(String, String)>, String> {
    Err("no such file".into())
}

fn imported(text: &str) -> String {
    import("k.conf", text, &mut no_include).unwrap_or_else(|e| panic!("{e}"))
}

/// What comes out is a configuration that vipd takes.
fn accepted(text: &str) -> (String, crate::config::Config) {
    let out = imported(text);
    match schema::parse(&out) {
        Ok((cfg, _)) => (out, cfg),
        Err(e) => panic!("{e:?}\n{out}"),
    }
}

/// The how-to's first node.
pub(super) const HOW_TO: &str = r#"! Configuration File for keepalived
global_defs {
   router_id node1
}
vrrp_script chk_haproxy {
   script "killall -0 haproxy"   # verify the pid existence
   interval 2
   weight 2
}
vrrp_instance VI_1 {
   state MASTER
   interface eth0
   virtual_router_id 51
   priority 100
   advert_int 1
   authentication {
      auth_type PASS
      auth_pass 1111
   }
   virtual_ipaddress {
      192.168.30.230/24
   }
   track_script {
      chk_haproxy
   }
}
"#;

#[test]
fn the_how_to() {
    let (_, cfg) = accepted(HOW_TO);
    assert_eq!(cfg.global.router_id.as_deref(), Some("node1"));
    assert!(cfg.haproxy.is_some());
    let v = &cfg.vrrp[0];
    assert_eq!((v.name.as_str(), v.vrid, v.priority), ("VI_1", 51, 100));
    assert_eq!(v.auth, crate::config::Auth::Pass(*b"1111\0\0\0\0"));
    assert_eq!(v.track_haproxy, crate::config::Track::Fault);
    assert_eq!(v.vips[0].addr.to_string(), "192.168.30.230");
}

#[test]
fn everything_that_has_an_equivalent() {
    let text = r#"
$VIP=10.0.0.10
global_defs {
  router_id "n 1"
  vrrp_startup_delay 3
  vrrp_garp_master_refresh 30
  vrrp_rt_priority 40
  vrrp_no_swap
  vrrp_strict
}
vrrp_script web { script "/usr/local/bin/check --fast" 
 weight -20
 fall 2 }
vrrp_instance A {
  interface eth0
  virtual_router_id 1
  version 3
  advert_int 0.5
  nopreempt
  unicast_src_ip 10.0.0.1
  unicast_peer { 10.0.0.2
     10.0.0.3 min_ttl 255 }
  virtual_ipaddress
  {
     ${VIP}/24 brd 10.0.0.255 dev eth0 label eth0:a
     2001:db8::10/64
  }
  track_interface { eth1 weight -10
  eth2 }
  track_script { web }
  garp_master_delay 1
}
vrrp_instance B { interface eth1
  virtual_router_id 2
  virtual_ipaddress { fe80::7
  2001:db8::7/64 }
}
vrrp_sync_group G { group { A
 B } }
virtual_server 10.0.0.10 80 { delay_loop 6 }
"#;
    let (out, cfg) = accepted(text);
    assert_eq!(cfg.global.router_id.as_deref(), Some("n 1"));
    assert_eq!((cfg.global.realtime_priority, cfg.global.lock_memory), (40, true));
    let [a, b] = &cfg.vrrp[..] else { panic!("{out}") };
    assert_eq!(a.version, crate::config::Version::V3);
    assert!(!a.preempt);
    assert_eq!(a.advert_int.as_millis(), 500);
    assert_eq!(a.unicast_peers.len(), 2);
    assert_eq!((a.vips.len(), a.excluded.len()), (1, 1));
    assert_eq!(a.vips[0].label.as_deref(), Some("eth0:a"));
    assert_eq!(a.track_interfaces.len(), 2);
    assert_eq!(a.track_checks[0].track, crate::config::Track::Weight(-20));
    assert_eq!((a.garp.master_delay.as_secs(), a.garp.master_refresh.as_secs()), (1, 30));
    assert_eq!(b.vips.len(), 2);
    assert!(b.is_ipv6());
    let check = &cfg.checks[0];
    assert_eq!((check.interval.as_secs(), check.timeout.as_secs(), check.fall, check.rise), (1, 1, 2, 1));
    assert_eq!(cfg.groups[0].members, [0, 1]);
    assert!(out.contains("`virtual_server 10.0.0.10 80`: vipd balances nothing"), "{out}");
    assert!(out.contains("k.conf:9: `vrrp_strict`: "), "{out}");
    assert!(out.contains("k.conf:22: `10.0.0.3 min_ttl 255`: "), "{out}");
}

#[test]
fn version_2_has_whole_seconds() {
    let text = |int: &str| {
        format!(
            "vrrp_instance A {{\ninterface e\nvirtual_router_id 1\nadvert_int {int}\nvirtual_ipaddress {{ 10.0.0.1 }}\n}}"
        )
    };
    for (int, want) in [("1.4", 1), ("1.5", 2), ("0.2", 1), ("3", 3)] {
        assert_eq!(accepted(&text(int)).1.vrrp[0].advert_int.as_secs(), want, "{int}");
    }
}

#[test]
fn what_is_included_is_there() {
    let mut asked = Vec::new();
    let mut include = |pattern: &str| {
        asked.push(pattern.to_owned());
        Ok(vec![("b.conf".to_owned(), HOW_TO.to_owned())])
    };
    let out = import("a.conf", "include conf.d/*.conf\n", &mut include).unwrap();
    assert!(out.contains("[vrrp VI_1]"), "{out}");
    assert_eq!(asked, ["conf.d/*.conf"]);
    let err = import("a.conf", "\ninclude x\n", &mut no_include).unwrap_err();
    assert_eq!(err, "a.conf:2: x: no such file");
    let mut endless = |_: &str| Ok(vec![("a.conf".to_owned(), "include a.conf\n".to_owned())]);
    assert_eq!(import("a.conf", "include a.conf", &mut endless).unwrap_err(), "a.conf:1: too many includes");
}

#[test]
fn what_is_broken_is_named() {
    for (text, want) in [
        ("a {\n b\n", "k.conf:1: this brace is not closed"),
        ("}\n", "k.conf:1: `}` without `{`"),
        ("{ a }", "k.conf:1: a brace without a name"),
        ("a \"b\n", "k.conf:1: a quote is not closed"),
    ] {
        assert_eq!(import("k.conf", text, &mut no_include).unwrap_err(), want);
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "[a-z{}\"!# \n.$=0-9_]{0,200}") {
        let _ = import("k.conf", &text, &mut no_include);
    }
}

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
