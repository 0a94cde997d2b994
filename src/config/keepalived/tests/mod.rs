use super::*;
use crate::config::schema;

mod hmac;

fn no_include(_: &str) -> Result<Vec<(String, String)>, String> {
    Err("no such file".into())
}

/// As node `lb1`, with a PATH of one directory that has all programs but `nothing`.
fn import(name: &str, text: &str, include: &mut Include<'_>) -> Result<String, String> {
    let program = |name: &str| (name != "nothing" && !name.starts_with('$')).then(|| format!("/bin/{name}"));
    let mut outside = Outside { include, program: &program, id: "lb1".into(), id_given: false };
    super::import(name, text, &mut outside)
}

fn imported(text: &str) -> String {
    import("k.conf", text, &mut no_include).unwrap_or_else(|e| panic!("{e}"))
}

/// One virtual router with these lines.
fn router(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\ninterface eth0\nvirtual_router_id 1\n{lines}\nvirtual_ipaddress {{\n10.0.0.1/24\n}}\n}}\n"
    )
}

/// Lines that come out and lines that do not, comments too.
fn shows(text: &str, there: &[&str], absent: &[&str]) {
    let out = imported(text);
    for line in there {
        assert!(
            out.lines().any(|l| l == *line || l.starts_with('#') && l.contains(line)),
            "no {line} in\n{out}"
        );
    }
    for start in absent {
        assert!(!out.lines().any(|l| l.starts_with(start)), "{start} in\n{out}");
    }
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
    assert_eq!(v.track_haproxy, crate::config::Track::Weight(2));
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
 B }
 sync_group_tracking_weight }
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
    let out = import("a.conf", "\ninclude x\n", &mut no_include).unwrap();
    assert!(
        out.contains("# a.conf:2: `include x`: no such file: keepalived goes on without it, too\n"),
        "{out}"
    );
    let mut endless = |_: &str| Ok(vec![("a.conf".to_owned(), "include a.conf\n".to_owned())]);
    assert_eq!(import("a.conf", "include a.conf", &mut endless).unwrap_err(), "a.conf:1: too many includes");
}

#[test]
fn an_include_is_relative_to_the_file_that_names_it() {
    let mut asked = Vec::new();
    let mut include = |pattern: &str| {
        asked.push(pattern.to_owned());
        let more = if asked.len() == 1 { "include c/*.conf\ninclude /d\n" } else { "" };
        Ok(vec![("/etc/k/b/b.conf".to_owned(), more.to_owned())])
    };
    import("/etc/k/a.conf", "include b/b.conf\n", &mut include).unwrap();
    assert_eq!(asked, ["/etc/k/b/b.conf", "/etc/k/b/c/*.conf", "/d"]);
}

#[test]
fn what_is_broken_is_told_and_the_rest_is_taken() {
    for (text, want) in [
        ("a {\n b\n", "# k.conf:1: this `{` is not closed"),
        ("}\n", "# k.conf:1: a `}` without `{`"),
        ("{ a }", "# k.conf:1: a `{` without a name"),
        ("a \"b\n", "# k.conf:1: unclosed quote"),
    ] {
        let out = import("k.conf", &format!("{text}\n{HOW_TO}"), &mut no_include).unwrap();
        assert!(out.contains(want), "{out}");
        assert!(text.starts_with("a {") || out.contains("[vrrp VI_1]"), "{out}");
    }
    let deep = "a {\n".repeat(10);
    assert_eq!(
        import("k.conf", &deep, &mut no_include).unwrap_err(),
        "k.conf:9: too many blocks within blocks"
    );
}

#[test]
fn definitions() {
    for (text, want) in [
        ("$A=1\nrouter_id $A", "1"),
        ("$A=1\n$AB=2\nrouter_id $AB", "2"),
        ("$A = 1\nrouter_id $A", "$A"),
        ("$A=${B}\n$B=2\nrouter_id ${A}3", "23"),
        ("$A=x # no\nrouter_id ${A}", "x"),
        ("$A=\\\nrouter_id y\\\nvrrp_no_swap\n$A", "y"),
        ("~SEQ(I, 3, -1, 1) $V${I}=z${I}\nrouter_id ${V2}", "z2"),
        ("~SEQx(I, 15, 15) router_id ${I}", "f"),
        ("@lb1 router_id one\n@^lb1 router_id two", "one"),
    ] {
        let out = imported(&format!("global_defs {{\n{text}\n}}\n"));
        assert!(out.contains(&format!("\nrouter_id = {want}\n")), "{text}: {out}");
    }
    shows(
        "global_defs {\nrouter_id a${_ENV X}\n}\n",
        &["${_ENV X} is not defined", "router_id = a$_ENV"],
        &[],
    );
    for (text, want) in [
        ("$A=${A}${A}\n${A}\n", "k.conf:2: this becomes too long, or a definition contains itself"),
        (
            "@lb2 a\n@lb3 b\n",
            "there are lines for single nodes (@lb2, @lb3), and this host is `lb1`: name one with `-i ID`",
        ),
    ] {
        assert_eq!(import("k.conf", text, &mut no_include).unwrap_err(), want);
    }
}

#[test]
fn values_out_of_range_fall_back_as_with_keepalived() {
    for (line, there, absent) in [
        ("priority 0", &["priority = 100", "`priority 0`: not 1 to 255"][..], &[][..]),
        ("priority x", &["priority = 100"], &[]),
        ("state MASTER", &["priority = 254", "keepalived makes `state MASTER`"], &[]),
        ("advert_int 0", &["not 0.01 to 255"], &["advert_int"]),
        ("version 3\nadvert_int 0.333", &["advert_int = 0.33", "rounded"], &[]),
        ("version 3\nadvert_int 100", &["advert_int = 40.95"], &[]),
        ("garp_master_repeat 0", &["garp_master_repeat = 1", "vipd takes 1 to 100"], &[]),
        ("garp_master_delay 1.5", &["not a number that keepalived takes"], &["garp_master_delay"]),
        ("preempt_delay 2000", &["preempt_delay = 1000"], &[]),
        ("nopreempt\npreempt_delay 5", &["preempt = no", "with `nopreempt`"], &["preempt_delay"]),
        ("nopreempt\npreempt", &["preempt = yes"], &["preempt = no"]),
        ("state sleeping", &["falls back to BACKUP"], &["state"]),
        (
            "virtual_router_id 2\nvirtual_router_id 3",
            &["virtual_router_id = 3", "keepalived takes the last"],
            &["virtual_router_id = 2"],
        ),
        ("use_vmac\nunicast_src_ip 10.0.0.8\nunicast_peer {\n10.0.0.9\n}", &["vmac_xmit_base = yes"], &[]),
        ("vmac_xmit_base", &["without `use_vmac`"], &["vmac_xmit_base"]),
        ("mcast_src_ip 10.0.0.1", &["a virtual address"], &["mcast_src_ip"]),
        ("unicast_peer {\n}", &["falls back to multicast"], &["unicast_peer"]),
        ("authentication {\nauth_type PASS\n}", &["there is no password"], &["auth_"]),
        ("authentication {\nauth_type pass\nauth_pass x\n}", &["neither PASS nor AH"], &["auth_"]),
        ("frobnicate 1", &["Is it misspelt?"], &["frob"]),
    ] {
        shows(&router(line), there, absent);
    }
}

#[test]
fn names_that_vipd_has_not() {
    let text = HOW_TO.replace("VI_1", "\"web 1/a\"").replace("chk_haproxy", "\"a b\"");
    let text = text.replace("killall -0 haproxy", "/bin/true") + "vrrp_instance web:1_a {\n}\n";
    shows(
        &text,
        &[
            "[vrrp web_1_a]",
            "keepalived's name is `web 1/a`",
            "[check a_b]",
            "track = a_b weight 2",
            "[vrrp web_1_a_2]",
        ],
        &[],
    );
}

#[test]
fn what_looks_at_haproxy() {
    for (command, haproxy) in [
        ("killall -0 haproxy", true),
        ("/usr/bin/pgrep -x haproxy", true),
        ("/bin/sh -c 'pidof haproxy'", true),
        ("systemctl is-active haproxy.service", true),
        ("/etc/keepalived/check_haproxy.sh", true),
        ("/usr/sbin/haproxy -c -f /etc/h.cfg", true),
        ("/bin/sh -c 'pidof haproxy || exit 1'", false),
        ("curl http://127.0.0.1/haproxy", false),
        ("docker inspect haproxy", false),
        ("/usr/bin/socat - /run/haproxy.sock", false),
        ("killall -0 haproxy-agent", false),
    ] {
        let out = imported(&HOW_TO.replace("killall -0 haproxy", command));
        assert_eq!(out.contains("\n[haproxy]\n"), haproxy, "{command}: {out}");
        assert_ne!(out.contains("\n[check chk_haproxy]\n"), haproxy, "{command}: {out}");
    }
}

#[test]
fn a_sync_group_and_what_it_tracks() {
    let one = |name: &str, id: u8| {
        router("track_script {\nweb weight -5\n}")
            .replace("instance V", &format!("instance {name}"))
            .replace("id 1", &format!("id {id}"))
            .replace("0.1/", &format!("0.{id}/"))
    };
    let group = "vrrp_script web {\nscript /bin/true\n}\nvrrp_sync_group G {\ngroup {\nA B\nX\n}\n\
        track_interface {\neth9\n}\nnotify_master \"/bin/up it\"\nnotify /bin/all\n}\n";
    let text = one("A", 1) + &one("B", 2) + group;
    let (out, cfg) = accepted(&text);
    assert_eq!(cfg.groups[0].members, [0, 1]);
    for v in &cfg.vrrp {
        assert_eq!(v.track_checks[0].track, crate::config::Track::Fault, "{out}");
        assert_eq!(v.track_interfaces[0].name, "eth9");
    }
    assert_eq!(cfg.vrrp[0].state_hooks.master, ["/bin/up", "it"]);
    assert!(cfg.vrrp[1].state_hooks.master.is_empty());
    assert!(out.contains("# X: no such virtual router"), "{out}");
    let weights = text.replace("notify /bin/all", "sync_group_tracking_weight");
    assert_eq!(accepted(&weights).1.vrrp[0].track_checks[0].track, crate::config::Track::Weight(-5));
}

#[test]
fn mail_goes_over_with_smtp_alert_only() {
    let defs = "global_defs {\nnotification_email {\na@b.c d@e.f\nroot\n}\nnotification_email_from \"LB <lb@b.c>\"\n\
        smtp_server 192.0.2.1 2525\nsmtp_connect_timeout 0\n}\n";
    let text = defs.to_owned() + &router("smtp_alert");
    let there = [
        "notification_email = a@b.c, d@e.f",
        "smtp_server = 192.0.2.1:2525",
        "notification_email_from = lb@b.c",
        "smtp_connect_timeout = 1",
        "root: not a mail address",
    ];
    shows(&text, &there, &[]);
    accepted(&text);
    shows(
        &(defs.to_owned() + &router("smtp_alert false")),
        &["only with `smtp_alert`"],
        &["notification_email", "smtp"],
    );
}

#[test]
fn nothing_harmful_reaches_the_terminal() {
    let text = router("f\x1b[2J b\nauthentication {\nauth_type PASS\nauth_pass a\x1bb\n}")
        .replace("eth0", "\"e\u{9b}th0\"");
    let out = imported(&text);
    assert!(out.chars().all(|c| c == '\n' || !c.is_control()), "{out:?}");
    assert!(out.contains("# interface is left out") && out.contains("# auth_pass is left out"), "{out}");
    let err = import("k\x1b.conf", "@a\x1b b\n", &mut no_include).unwrap_err();
    assert!(err.chars().all(|c| !c.is_control()), "{err:?}");
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "[a-z{}\"'\\\\!#@~ \n.$=0-9_]{0,200}") {
        let _ = import("k.conf", &text, &mut no_include);
    }

    /// Whatever the values are: lines are comments, sections and keys, none with a control character.
    #[test]
    fn lines_are_lines(key in "(priority|state|router_id|notify|script|auth_pass|weight|track_script)", value in "[ -~\u{7f}-\u{a0}\u{1b}\t]{0,30}") {
        let text = format!("global_defs {{\n{key} {value}\n}}\nvrrp_script a {{\n{key} {value}\n}}\n")
            + &router(&format!("{key} {value}\nauthentication {{\n{key} {value}\n}}\ntrack_script {{\na {value}\n}}"));
        for line in import("k.conf", &text, &mut no_include).unwrap_or_default().lines() {
            assert!(line.chars().all(|c| c == '\t' || !c.is_control()), "{line:?}");
            assert!(line.is_empty() || line.starts_with(['#', '[']) || line.contains(" = "), "{line:?}");
        }
    }
}
