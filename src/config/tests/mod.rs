//! What is accepted and what it means; `wrong` has the messages of what is not.

mod auth;
mod fuzz;
mod router;
mod sections;
mod source;
mod wrong;

use super::ini::{self, lex, split_words};
use super::report::{MAX_DIAGNOSTICS, Report, Shown, nearest};
use super::schema::{parse, parse_bytes};
use super::*;
use std::net::Ipv4Addr;

const BASE: &str = "\
[vrrp VI_1]
interface = eth0
virtual_router_id = 51
virtual_ipaddress = 192.0.2.10/24
";

const HOW_TO: &str = "\
[global]
router_id = node1
[haproxy]
config = /etc/haproxy/haproxy.cfg
[vrrp VI_1]
state = MASTER
interface = eth0
virtual_router_id = 51
priority = 100
advert_int = 1
auth_type = PASS
auth_pass = 1111
virtual_ipaddress = 192.168.30.230/24
";

/// Every key, none with its default.
const FULL: &str = "\
; all of it
[global]                  # this node
router_id = node 2
log = syslog
log_level = debug
log_facility = local3
control_socket = /tmp/vipd.sock
startup_delay = 1.5
realtime_priority = 99
lock_memory = yes
http = unix:/run/x/http group haproxy  mode 640
notify = /bin/all \"a # b\" c
notify_user = nobody
notification_email = a.b@c, d@[192.0.2.1]  # two
notification_email = e@f-1.g
notification_email_from = vipd@node2
smtp_server = [2001:db8::1]:2525
smtp_connect_timeout = 1.5
[haproxy]
binary = /opt/haproxy
config = /a.cfg, /b.cfg   # two
config = /conf.d
args = -n 100 \"a  # b\" x\"\"y \"\"
start_timeout = 6
restart_grace = 0
restart_backoff_max = 60
stop_timeout = 9
crash_limit = 5
crash_window = 60
check_interval = 0.5
check_timeout = 2
check_fall = 4
keep_listeners = no
last_good = /disk/good.cfg
nonlocal_bind = off
[vrrp web-1.a_b]
state = BACKUP
interface = bond0.100
virtual_router_id = 255
priority = 1
version = 3
advert_int = 0.01
preempt = no
preempt_delay = 1000
down_timer_adverts = 4
mcast_src_ip = 10.0.0.1
v3_checksum_as_v2 = true
track_haproxy = false
virtual_ipaddress = 10.0.0.2, 10.0.0.3/8 label bond0.100:x , 10.0.0.4/24\tdev eth1
virtual_ipaddress = 10.0.0.4/24 label lo:y dev lo ; the last
virtual_ipaddress = 10.0.0.5 dev bond0.100
garp_master_delay = 0
garp_master_repeat = 1
garp_master_refresh = 0
garp_master_refresh_repeat = 2
garp_lower_prio_delay = 0
garp_lower_prio_repeat = 0
garp_interval = 0.01
lease = 3600
accept = no
make_before_break = no
handover_timeout = 0.25
notify = /bin/own ; # x
auth_hmac_key = 1 hex:ababababababababababababababababababababababababababababababABAB
auth_hmac_key = 255\t thirty-two octets, or a few more; # too
auth_hmac_active_key = 255 # the last
auth_hmac_anti_replay = time
auth_hmac_time_window = 300
auth_hmac_mode = receive-only
notify_master = /bin/up # 1
notify_stop = /bin/gone
";

/// No file of a secret can be read.
const NO_FILES: schema::Files<'_> = &|_| Err("cannot be read here".to_owned());

fn rendered(list: &[schema::Diagnostic]) -> Vec<String> {
    list.iter().map(|d| format!("{}: {}", d.line, d.message)).collect()
}

fn errors(text: &str) -> Vec<String> {
    rendered(&parse(text).expect_err(text))
}

fn warnings(text: &str) -> Vec<String> {
    rendered(&parse(text).expect(text).1)
}

fn good(text: &str) -> Config {
    parse(text).expect(text).0
}

fn vip(addr: [u8; 4], prefix: u8, dev: Option<&str>, label: Option<&str>) -> Vip {
    Vip { addr: addr.into(), prefix, dev: dev.map(str::to_owned), label: label.map(str::to_owned) }
}

#[test]
fn how_to_example_and_every_default() {
    let (config, warnings) = parse(HOW_TO).expect("valid");
    let expected = Config {
        global: Global {
            router_id: Some("node1".into()),
            log: LogTarget::Auto,
            log_level: LogLevel::Info,
            log_facility: LogFacility::Daemon,
            control_socket: "/run/vipd/control".into(),
            startup_delay: Duration::ZERO,
            realtime_priority: 0,
            lock_memory: false,
            http: None,
            notify: vec![],
            notify_user: None,
            mail: None,
        },
        haproxy: Some(Haproxy {
            binary: "/usr/sbin/haproxy".into(),
            config: vec!["/etc/haproxy/haproxy.cfg".into()],
            args: vec![],
            start_timeout: Duration::from_secs(5),
            restart_grace: None,
            restart_backoff_max: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(8),
            crash_limit: 3,
            crash_window: Duration::from_secs(30),
            check_interval: Duration::from_secs(1),
            check_timeout: Duration::from_secs(1),
            check_fall: 3,
            keep_listeners: true,
            last_good: None,
            nonlocal_bind: true,
        }),
        vrrp: vec![Rc::new(Vrrp {
            name: "VI_1".into(),
            line: Line(5),
            interface: "eth0".into(),
            vrid: 51,
            priority: 100,
            version: Version::V2,
            advert_int: Duration::from_secs(1),
            preempt: true,
            preempt_delay: Duration::ZERO,
            down_timer_adverts: 3,
            auth: Auth::Pass(*b"1111\0\0\0\0"),
            vips: vec![vip([192, 168, 30, 230], 24, None, None)],
            excluded: vec![],
            unicast_peers: vec![],
            allowed_peers: vec![],
            track_interfaces: vec![],
            track_checks: vec![],
            use_vmac: false,
            notify: vec![],
            state_hooks: StateHooks::default(),
            vmac_xmit_base: false,
            dont_track_primary: false,
            src_ip: None,
            v3_checksum_as_v2: false,
            track_haproxy: Track::Fault,
            garp: Garp {
                master_delay: Duration::from_secs(5),
                master_repeat: 5,
                master_refresh: Duration::from_secs(60),
                master_refresh_repeat: 1,
                lower_prio_delay: Duration::from_secs(5),
                lower_prio_repeat: 5,
                interval: Duration::from_millis(100),
            },
            lease: Lease::Auto,
            accept: true,
            make_before_break: true,
            handover_timeout: Duration::from_secs(4),
        })],
        checks: vec![],
        groups: vec![],
    };
    assert_eq!(config.vrrp[0].line.0, expected.vrrp[0].line.0);
    assert_eq!(config, expected);
    assert_eq!(rendered(&warnings), ["6: state = MASTER has no effect: priority and preempt decide"]);
}

#[test]
fn what_is_left_out_has_the_same_defaults() {
    let config = good(BASE);
    let from_file = good(HOW_TO);
    assert_eq!(config.global, Global { router_id: None, ..from_file.global });
    assert_eq!(config.haproxy, None);
    let [one] = &config.vrrp[..] else { panic!("one") };
    assert_eq!((one.priority, one.advert_int), (100, Duration::from_secs(1)));
    assert_eq!((&one.auth, one.track_haproxy), (&Auth::None, Track::No));
    assert_eq!(good("[haproxy]").haproxy, from_file.haproxy);
}

#[test]
fn every_key_is_read() {
    let config = good(FULL);
    let ms = Duration::from_millis;
    let http = config.global.http.as_ref().map(|h| &h.at);
    let Some(HttpAt::Unix { path, mode: 0o640, group: Some(group) }) = http else { panic!("{http:?}") };
    assert_eq!((path.to_str(), group.as_str()), (Some("/run/x/http"), "haproxy"));
    assert_eq!(
        config.global,
        Global {
            router_id: Some("node 2".into()),
            log: LogTarget::Syslog,
            log_level: LogLevel::Debug,
            log_facility: LogFacility::Local(3),
            control_socket: "/tmp/vipd.sock".into(),
            startup_delay: ms(1500),
            realtime_priority: 99,
            lock_memory: true,
            http: HTTP.map(|built_in| Http {
                text: "unix:/run/x/http group haproxy  mode 640".into(),
                at: HttpAt::Unix { path: "/run/x/http".into(), mode: 0o640, group: Some("haproxy".into()) },
                built_in,
            }),
            notify: ["/bin/all", "a # b", "c"].map(String::from).to_vec(),
            notify_user: Some("nobody".into()),
            mail: Some(Mail {
                to: ["a.b@c", "d@[192.0.2.1]", "e@f-1.g"].map(String::from).to_vec(),
                from: Some("vipd@node2".into()),
                server: "2001:db8::1".into(),
                port: 2525,
                connect_timeout: ms(1500),
            }),
        }
    );
    assert_eq!(
        config.haproxy,
        Some(Haproxy {
            binary: "/opt/haproxy".into(),
            config: vec!["/a.cfg".into(), "/b.cfg".into(), "/conf.d".into()],
            args: ["-n", "100", "a  # b", "xy", ""].map(str::to_owned).to_vec(),
            start_timeout: ms(6000),
            restart_grace: Some(ms(0)),
            restart_backoff_max: ms(60_000),
            stop_timeout: ms(9000),
            crash_limit: 5,
            crash_window: ms(60_000),
            check_interval: ms(500),
            check_timeout: ms(2000),
            check_fall: 4,
            keep_listeners: false,
            last_good: Some("/disk/good.cfg".into()),
            nonlocal_bind: false,
        })
    );
    let expected = Vrrp {
        name: "web-1.a_b".into(),
        line: Line(36),
        interface: "bond0.100".into(),
        vrid: 255,
        priority: 1,
        version: Version::V3,
        advert_int: ms(10),
        preempt: false,
        preempt_delay: ms(1_000_000),
        down_timer_adverts: 4,
        auth: Auth::Hmac(Box::new(Hmac {
            keys: vec![
                Key::new(1, &[0xab; 32]).expect("a key"),
                Key::new(255, b"thirty-two octets, or a few more; # too").expect("a key"),
            ],
            active: 255,
            time_window: Some(300),
            mode: HmacMode::ReceiveOnly,
        })),
        vips: vec![
            vip([10, 0, 0, 2], 32, None, None),
            vip([10, 0, 0, 3], 8, None, Some("bond0.100:x")),
            vip([10, 0, 0, 4], 24, Some("eth1"), None),
            vip([10, 0, 0, 4], 24, Some("lo"), Some("lo:y")),
            vip([10, 0, 0, 5], 32, None, None),
        ],
        excluded: vec![],
        unicast_peers: vec![],
        allowed_peers: vec![],
        track_interfaces: vec![],
        track_checks: vec![],
        notify: ["/bin/own", ";", "#", "x"].map(String::from).to_vec(),
        state_hooks: StateHooks {
            master: ["/bin/up", "#", "1"].map(String::from).to_vec(),
            stop: vec!["/bin/gone".into()],
            ..StateHooks::default()
        },
        use_vmac: false,
        vmac_xmit_base: false,
        dont_track_primary: false,
        src_ip: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))),
        v3_checksum_as_v2: true,
        track_haproxy: Track::No,
        garp: Garp {
            master_delay: ms(0),
            master_repeat: 1,
            master_refresh: ms(0),
            master_refresh_repeat: 2,
            lower_prio_delay: ms(0),
            lower_prio_repeat: 0,
            interval: ms(10),
        },
        lease: Lease::Seconds(3600),
        accept: false,
        make_before_break: false,
        handover_timeout: ms(250),
    };
    assert_eq!(config.vrrp[0].line.0, expected.line.0);
    assert_eq!(config.vrrp, [Rc::new(expected)]);
}

#[test]
fn handover_timeout_follows_the_interval() {
    let timeout = |lines: &str| good(&format!("{BASE}{lines}\n")).vrrp[0].handover_timeout;
    assert_eq!(timeout("advert_int = 2"), Duration::from_secs(5));
    assert_eq!(timeout("version = 3\nadvert_int = 0.5"), Duration::from_secs(2));
    assert_eq!(timeout("down_timer_adverts = 1"), Duration::from_secs(2));
    let fast = "version = 3\nadvert_int = 0.05\nvirtual_ipaddress_excluded = ";
    for (more, ms) in [(9, 200), (19, 400), (252, 5000)] {
        let list: Vec<_> = (1..=more).map(|n| format!("192.168.40.{n}")).collect();
        assert_eq!(timeout(&format!("{fast}{}", list.join(", "))), Duration::from_millis(ms));
    }
}

#[test]
fn comments_white_space_and_line_ends() {
    let crlf = format!("\u{feff}{}", HOW_TO.replace('\n', "\r\n"));
    assert_eq!(good(&crlf), good(HOW_TO));
    let indented = HOW_TO.replace('\n', "  # x ; y\n\t").replace("1111  # x ; y", "1111");
    assert_eq!(good(&indented), good(HOW_TO));
    let mut report = Report::default();
    let text = "[s]\n a=b#c ;d\n#x=y\n  ;x=y\nauth_pass=#a ;b \nargs=a #b\nother= #a\nk = = v =\n[ t  n ];no";
    let sections = lex(text, &mut report);
    let entries: Vec<_> = sections[0].entries.iter().map(|e| (e.line, e.key, e.value)).collect();
    let expected = [
        (2, "a", "b#c"),
        (5, "auth_pass", "#a ;b"),
        (6, "args", "a #b"),
        (7, "other", ""),
        (8, "k", "= v ="),
    ];
    assert_eq!(entries, expected);
    assert_eq!(report.errors.len(), 1, "a comment needs white space before it: {:?}", report.errors);
    let sections = lex("[ t  n ] ;yes", &mut report);
    assert_eq!((sections[0].kind, sections[0].name), ("t", "n"));
}

#[test]
fn passwords_may_hold_comment_signs_and_are_never_shown() {
    let text = format!("{BASE}auth_type = PASS\nauth_pass = a #;b \n");
    assert_eq!(good(&text).vrrp[0].auth, Auth::Pass(*b"a #;b\0\0\0"));
    for line in ["auth_pass SECRET", "auth_pass:SECRET", "auth_pass SECRET = x", "auth_pas = SECRET"] {
        assert!(!errors(&format!("{BASE}{line}\n")).concat().contains("SECRET"), "{line}");
    }
    let long = format!("{BASE}auth_type = PASS\nauth_pass = SECRET789\n");
    assert_eq!(good(&long).vrrp[0].auth, Auth::Pass(*b"SECRET78"));
    assert!(!format!("{:?}{:?}", good(&long), warnings(&long)).contains("SECRET"));
}

#[test]
fn words_are_split_at_white_space_outside_quotes() {
    assert_eq!(split_words("  a\t b "), Ok(vec!["a".into(), "b".into()]));
    assert_eq!(split_words(r#"-x "a b"c """#), Ok(vec!["-x".into(), "a bc".into(), String::new()]));
    assert_eq!(split_words(r"a\ b"), Ok(vec![r"a\".into(), "b".into()]));
    assert_eq!(split_words(""), Ok(vec![]));
    assert!(split_words(r#"a "b"#).is_err());
}

#[test]
fn durations_are_exact() {
    let grace = |text: &str| {
        parse(&format!("[haproxy]\nrestart_grace = {text}"))
            .map(|r| r.0.haproxy.unwrap().restart_grace.unwrap())
    };
    assert_eq!(grace("0.01"), Ok(Duration::from_millis(10)));
    assert_eq!(grace("007"), Ok(Duration::from_secs(7)));
    assert_eq!(grace("3600.000000000"), Ok(Duration::from_secs(3600)));
    assert_eq!(grace("0.123456789"), Ok(Duration::from_nanos(123_456_789)));
    for wrong in ["3600.000000001", "0.1234567891", ".5", "5.", "+1", "-1", "1e3", "1,5", "1.2.3", "inf", "٣"]
    {
        assert!(grace(wrong).is_err(), "{wrong}");
    }
    assert!(grace("99999999999999999999999.9").is_err());
}

#[test]
fn version_3_has_fractions() {
    for (text, ms) in [("0.01", 10), ("0.1", 100), ("40.95", 40_950), ("40", 40_000)] {
        let config = good(&format!("{BASE}version = 3\nadvert_int = {text}\n"));
        assert_eq!(config.vrrp[0].advert_int, Duration::from_millis(ms));
    }
    assert_eq!(good(&format!("{BASE}advert_int = 255.0\n")).vrrp[0].advert_int, Duration::from_secs(255));
}

fn list(count: usize) -> String {
    let vips: Vec<String> = (0..count).map(|i| format!("10.0.{}.{}", i / 200, i % 200 + 1)).collect();
    BASE.replace("192.0.2.10/24", &vips.join(", "))
}

#[test]
fn many_addresses() {
    assert!(warnings(&list(20)).is_empty());
    assert_eq!(
        warnings(&list(21)),
        ["4: [vrrp VI_1] has 21 virtual addresses: keepalived takes at most 20 with version 2"]
    );
    assert!(warnings(&format!("{}version = 3\n", list(255))).is_empty());
    assert_eq!(
        errors(&list(256)),
        ["4: [vrrp VI_1] has 256 virtual addresses: at most 255, the rest in another one"]
    );
    let one = |i: usize| {
        let text = list(255).replace("VI_1", &format!("V{i}")).replace("= 51", &format!("= {}", i + 1));
        text.replace(" 10.0.", &format!(" 10.{i}."))
    };
    let all: String = (0..17).map(one).collect();
    assert_eq!(errors(&all), ["68: too many virtual addresses in all: at most 4096"]);
}

#[test]
fn the_same_address_on_two_devices_or_number_on_two_interfaces_is_fine() {
    let other = BASE.replace("VI_1", "VI_2").replace("eth0", "eth1");
    assert!(warnings(&format!("{BASE}{other}")).is_empty());
    assert!(warnings(&format!("{BASE}{}", "virtual_ipaddress = 192.0.2.10 dev eth1\n")).is_empty());
}

#[test]
fn all_errors_at_once_in_the_order_of_the_lines() {
    let text = "\
x = 1
[global]
log_levl = info
control_socket = run
[haproxy
config = a
[vrrp A]
virtual_router_id = 51
interface = eth0
virtual_ipaddress = 10.0.0.1, ::1, 10.0.0.2/40, 10.0.0.1
priority = 300
track_haproxy = yes
[vrrp B]
notify = bin/true
virtual_ipaddress = 10.0.0.1 dev eth0
virtual_router_id = 51
interface = eth0
nonsense
priority = 7
priority = 8
";
    let expected = [
        "1: `x` is before the first section: e.g. [global] above it",
        "3: unknown key `log_levl` in [global]: did you mean `log_level`?",
        "4: control_socket = run is not an absolute path: it must begin with `/`",
        "5: a section is `[section]` or `[section name]` on a line of its own",
        "10: virtual_ipaddress: ::1 is a loopback address: take one that a host can have",
        "10: virtual_ipaddress: the prefix length of 10.0.0.2/40 is not 1 to 32",
        "10: virtual_ipaddress: 10.0.0.1 on eth0 is already in [vrrp A] on line 10: remove one",
        "11: priority = 300 is out of range: 1 to 255",
        "12: track_haproxy = yes needs a [haproxy] section: add one, or set it to no",
        "14: notify = bin/true is not an absolute path: it must begin with `/`",
        "15: virtual_ipaddress: 10.0.0.1 on eth0 is already in [vrrp A] on line 10: remove one",
        "16: virtual_router_id = 51 on eth0 is that of [vrrp A] on line 8: take another",
        "18: the line is neither `[section]` nor `key = value`: it begins with `nonsense`",
        "20: `priority` is in [vrrp B] twice: keep this one or the one on line 19",
    ];
    assert_eq!(errors(text), expected);
}

#[test]
fn limits_of_a_file() {
    let huge = "#".repeat(ini::MAX_SIZE + 1);
    assert_eq!(errors(&huge)[0], "0: the configuration has more than 1048576 octets");
    let long = format!("[global]\nrouter_id = {}\n[haproxy]\n", "x".repeat(ini::MAX_LINE));
    assert_eq!(errors(&long), ["2: the line has 16396 octets: at most 16384"]);
    let many = "[vrrp a]\n".repeat(ini::MAX_SECTIONS + 1);
    let mut report = Report::default();
    assert_eq!(lex(&many, &mut report).len(), ini::MAX_SECTIONS);
    assert_eq!(rendered(&report.errors), ["1025: too many sections: at most 1024"]);
    // Junk neither fills the memory nor takes long.
    for junk in [
        "a\n",
        "[\n",
        "[vrrp a]\n",
        "lease=1\n",
        "abcdefghijklmnopqrstuvwxyz=1\n",
        "[a]\nb=c\n",
        "track=a,b,x\n",
        "unicast_peer=::1,x,1.1.1.1\n",
        "track_interface=a,b,c,d\n",
        "[check a]\n",
        "[group a]\nmembers=a,x,x,x,b\n",
        "virtual_ipaddress_excluded=1.1.1.1,1.1.1.2,::2\n",
    ] {
        let text = format!("[vrrp x]\n{}", junk.repeat((ini::MAX_SIZE - 9) / junk.len()));
        let found = errors(&text);
        assert!(found.len() <= MAX_DIAGNOSTICS, "{junk}");
    }
    let last = errors(&format!("[haproxy]\n{}", "a\n".repeat(2000))).pop();
    assert_eq!(last.as_deref(), Some("1001: this is number 1000: what else is wrong is not listed"));
}

#[test]
fn octets_that_are_no_text() {
    let found = parse_bytes(b"[haproxy]\n# gr\xfc\xdfe\n", NO_FILES).expect_err("Latin-1");
    assert_eq!(rendered(&found), ["2: this is not UTF-8 text: save the file as UTF-8 or ASCII"]);
    assert_eq!(parse_bytes(HOW_TO.as_bytes(), NO_FILES), parse(HOW_TO));
}

#[test]
fn hints_are_near() {
    assert_eq!(nearest("prioirty", &["preempt, priority"]), Some("priority"));
    assert_eq!(
        nearest("garp_master_dela", &["garp_master_delay", "garp_master_repeat"]),
        Some("garp_master_delay")
    );
    assert_eq!(nearest("x", &["y", "no"]), None);
    assert_eq!(nearest("", &["y", ""]), Some(""));
    assert_eq!(nearest("weight", &["lease", "state"]), None);
    assert_eq!(Shown("a\u{202e}\n\"b\"").to_string(), "a\\u{202e}\\u{a}\"b\"");
    assert_eq!(Shown(&"x".repeat(61)).to_string(), format!("{}...", "x".repeat(60)));
}
