//! Wrong configurations and their exact messages; accepted ones and their warnings.

use super::{BASE, errors, warnings};

pub type Table = &'static [(&'static str, &'static [&'static str])];

/// Whole files.
const FILES: Table = &[
    ("# nothing", &["0: there is nothing to do: add a [vrrp NAME] or a [haproxy] section"]),
    ("[global]\nlog = stderr", &["0: there is nothing to do: add a [vrrp NAME] or a [haproxy] section"]),
    (
        "log = stderr\nlog_level = info\n[haproxy]",
        &["1: `log` is before the first section: e.g. [global] above it"],
    ),
    ("[haproxy\n", &["1: a section is `[section]` or `[section name]` on a line of its own"]),
    ("[haproxy] x", &["1: a section is `[section]` or `[section name]` on a line of its own"]),
    (
        "[global]\nnonsense\n[haproxy]",
        &["2: the line is neither `[section]` nor `key = value`: it begins with `nonsense`"],
    ),
    (
        "[global]\nauth_pass secret=1\n[haproxy]",
        &["2: the line is neither `[section]` nor `key = value`: it begins with `auth_pass`"],
    ),
    ("[global]\n= 3\n[haproxy]", &["2: the line is neither `[section]` nor `key = value`"]),
    (
        "[global]\nrouter_id = a\x07b\n[haproxy]",
        &["2: the line holds the control character 0x07: take it out"],
    ),
    (
        "[global]\nrouter_id =\n[haproxy]",
        &["2: `router_id` has no value: `router_id = VALUE`, or leave it out"],
    ),
    ("[haproxy]\n[Global]", &["2: unknown section [Global]: did you mean [global]?"]),
    (
        "[haproxy]\n[virtual_server 1]",
        &[
            "2: unknown section [virtual_server 1]: [global], [haproxy], [vrrp NAME], [check NAME] or [group NAME]",
        ],
    ),
    (
        "[haproxy]\n[vrrp_instance VI_1]",
        &["2: unknown section [vrrp_instance VI_1]: did you mean [vrrp VI_1]?"],
    ),
    // What people write who come from other files.
    (
        "[haproxy]\nbinary = ${HAPROXY}",
        &["2: ${HAPROXY}: the variable is not set: set it, or give a default: ${NAME:-default}"],
    ),
    ("[haproxy]\nbinary = \"/usr/sbin/haproxy\"", &["2: binary: write the value without quotes"]),
    (
        "[haproxy]\nbinary =\u{a0}/x",
        &["2: binary: the line has a no-break space (U+00A0): type a normal space"],
    ),
    ("[haproxy]\n\u{a0}binary = /x", &["2: the line has a no-break space (U+00A0): type a normal space"]),
    ("[haproxy]\nbinary: /x", &["2: write `key = value`, not `key: value`"]),
    (
        "[haproxy]\nvrrp_instance VI_1 {\n}",
        &[
            "2: blocks in `{` and `}` are keepalived's: `vipd import keepalived.conf` translates them",
            "3: blocks in `{` and `}` are keepalived's: `vipd import keepalived.conf` translates them",
        ],
    ),
    ("[haproxy]\nnopreempt", &["2: write `preempt = no`"]),
    (
        "[haproxy]\nstop_timeout = 1s\nrestart_grace = 500 ms\nstart_timeout = soon",
        &[
            "2: stop_timeout = 1s is not a number: write seconds without a unit: 0.1 to 3600 seconds",
            "3: restart_grace = 500 ms is not a number: write seconds without a unit: 0 to 3600 seconds",
            "4: start_timeout = soon is not a number of seconds: 0.1 to 3600 seconds",
        ],
    ),
    (
        "[vrrp A]\ninterface = eth0\nvirtual_router_id = 1\nnopreempt = yes\n\
         virtual_ipaddress = 192.0.2.1/255.255.255.0, 192.0.2.2 192.0.2.3/24, 192.0.2.4/255.0.255.0",
        &[
            "4: `nopreempt` is keepalived's: write `preempt = no`",
            "5: virtual_ipaddress: 192.0.2.1/255.255.255.0 has a netmask: write /24",
            "5: virtual_ipaddress: `192.0.2.3/24` does not belong there: separate addresses by a comma",
            "5: virtual_ipaddress: the prefix length of 192.0.2.4/255.0.255.0 is not 1 to 32",
        ],
    ),
    ("[haproxy]\n[vrrp]", &["2: [vrrp] has no name: e.g. [vrrp VI_1]"]),
    ("[haproxy]\n[global x]", &["2: [global x] takes no name: [global]"]),
    ("[haproxy]\n[vrrp a b]", &["2: `[vrrp a b]` is not a section: `[section]` or `[section name]`"]),
    ("[haproxy]\n[vrrp a/b]", &["2: `a/b` is not a name: 1 to 32 of A-Z, a-z, 0-9, `_`, `.` and `-`"]),
    (
        "[haproxy]\n[vrrp abcdefghijklmnopqrstuvwxyz0123456]",
        &["2: `abcdefghijklmnopqrstuvwxyz0123456` is not a name: 1 to 32 of A-Z, a-z, 0-9, `_`, `.` and `-`"],
    ),
    ("[haproxy]\n[]", &["2: `[]` is not a section: `[section]` or `[section name]`"]),
    (
        "[haproxy]\n[haproxy]\nfoo = 1",
        &["2: [haproxy] appears twice: merge it with the one on line 1", "3: unknown key `foo` in [haproxy]"],
    ),
    ("[global]\nlog = file\n[haproxy]", &["2: log = file is not one of: auto, syslog, stderr"]),
    (
        "[global]\nlog_level = warning\n[haproxy]",
        &["2: log_level = warning is not one of: error, warn, info, debug (did you mean `warn`?)"],
    ),
    (
        "[global]\nlog_facility = local8\n[haproxy]",
        &[
            "2: log_facility = local8 is not one of: local0, local1, local2, local3, local4, local5, local6, local7, daemon, user (did you mean `local0`?)",
        ],
    ),
    (
        "[global]\ncontrol_socket = vipd.sock\n[haproxy]",
        &["2: control_socket = vipd.sock is not an absolute path: it must begin with `/`"],
    ),
    (
        "[global]\ncontrol_socket = /run/vipd/\n[haproxy]",
        &["2: control_socket = /run/vipd/ is a directory: name a socket in it, e.g. /run/vipd/control"],
    ),
    (
        "[global]\nstartup_delay = 3601\n[haproxy]",
        &["2: startup_delay = 3601 is out of range: 0 to 3600 seconds"],
    ),
    (
        "[global]\nrealtime_priority = 100\n[haproxy]",
        &["2: realtime_priority = 100 is out of range: 0 to 99"],
    ),
    (
        "[global]\nhttp = 9112\n[haproxy]",
        &[
            "2: http = 9112 is not ADDR:PORT or unix:PATH [mode MODE] [group GROUP], port 1 to 65535, e.g. 192.0.2.1:80 or [2001:db8::1]:80",
        ],
    ),
    (
        "[global]\nhttp = localhost:9112\n[haproxy]",
        &["2: http: localhost is not an IP address: write e.g. 127.0.0.1:9112"],
    ),
    (
        "[global]\nhttp = unix:/x/y mode 888\n[haproxy]",
        &[
            "2: http = unix:/x/y mode 888 is not ADDR:PORT or unix:PATH [mode MODE] [group GROUP], e.g. unix:/run/vipd-http/socket mode 660 group haproxy",
        ],
    ),
    ("[global]\nhttp = unix:x\n[haproxy]", &["2: http = x is not an absolute path: it must begin with `/`"]),
    (
        "[global]\nhttp = unix:/run/vipd/control\n[haproxy]",
        &["2: http: this is the control socket: name another path"],
    ),
    (
        "[global]\nlock_memory = 1\n[haproxy]",
        &["2: lock_memory = 1 is not one of: yes, no, true, false, on, off"],
    ),
    (
        "[global]\nnotify_user = no body\n[haproxy]",
        &["2: notify_user = no body is not a user name: 1 to 32 of A-Z, a-z, 0-9, `_`, `.` and `-`"],
    ),
    ("[global]\nnotify = /bin/x \"a\n[haproxy]", &["2: notify: a double quote is not closed"]),
    (
        "[global]\nnotify = \"\" /bin/x\n[haproxy]",
        &["2: notify =  is not an absolute path: it must begin with `/`"],
    ),
    (
        "[global]\nnotification_email = root, a@b, a@b,, @c, a@, a b@c, <a@b>, a@b..c, a..b@c, a@[x\n[haproxy]",
        &[
            "2: `notification_email` has an empty element: remove a comma",
            "2: notification_email: root is not a mail address, e.g. admin@example.org",
            "2: notification_email: a@b appears twice: remove one",
            "2: notification_email: @c is not a mail address, e.g. admin@example.org",
            "2: notification_email: a@ is not a mail address, e.g. admin@example.org",
            "2: notification_email: a b@c is not a mail address, e.g. admin@example.org",
            "2: notification_email: <a@b> is not a mail address, e.g. admin@example.org",
            "2: notification_email: a@b..c is not a mail address, e.g. admin@example.org",
            "2: notification_email: a..b@c is not a mail address, e.g. admin@example.org",
            "2: notification_email: a@[x is not a mail address, e.g. admin@example.org",
            "2: `notification_email` needs a server: e.g. smtp_server = 127.0.0.1:25",
        ],
    ),
    (
        "[global]\nnotification_email_from = x\nsmtp_server = mail:0\nsmtp_connect_timeout = 0\n[haproxy]",
        &[
            "2: notification_email_from: x is not a mail address, e.g. admin@example.org",
            "3: smtp_server = mail:0 is not HOST[:PORT], e.g. mail.example.org:25 or [2001:db8::1]:25",
            "4: smtp_connect_timeout = 0 is out of range: 1 to 300 seconds",
        ],
    ),
    (
        "[global]\nsmtp_server = [mail]:25\n[haproxy]",
        &["2: smtp_server = [mail]:25 is not HOST[:PORT], e.g. mail.example.org:25 or [2001:db8::1]:25"],
    ),
    (
        "[global]\nsmtp_server = a b:65536\n[haproxy]",
        &["2: smtp_server = a b:65536 is not HOST[:PORT], e.g. mail.example.org:25 or [2001:db8::1]:25"],
    ),
    (
        "[global]\npriority = 1\n[haproxy]",
        &["2: unknown key `priority` in [global]: it belongs to [vrrp NAME]"],
    ),
    ("[haproxy]\nargs = -n \"5", &["2: args: a double quote is not closed"]),
    ("[haproxy]\nconfig = /a.cfg,,/b.cfg", &["2: `config` has an empty element: remove a comma"]),
    (
        "[haproxy]\nconfig = haproxy.cfg",
        &["2: config = haproxy.cfg is not an absolute path: it must begin with `/`"],
    ),
    ("[haproxy]\nbinary = haproxy", &["2: binary = haproxy is not an absolute path: it must begin with `/`"]),
    ("[haproxy]\nstart_timeout = 0", &["2: start_timeout = 0 is out of range: 0.1 to 3600 seconds"]),
    (
        "[haproxy]\nstop_timeout = 8s",
        &["2: stop_timeout = 8s is not a number: write seconds without a unit: 0.1 to 3600 seconds"],
    ),
    (
        "[haproxy]\nnonlocal_bind = maybe",
        &["2: nonlocal_bind = maybe is not one of: yes, no, true, false, on, off"],
    ),
    (
        "[haproxy]\nkeep_listeners = 2",
        &["2: keep_listeners = 2 is not one of: yes, no, true, false, on, off"],
    ),
    ("[haproxy]\ncrash_limit = 0", &["2: crash_limit = 0 is out of range: 1 to 1000"]),
    ("[haproxy]\ncheck_timeout = 61", &["2: check_timeout = 61 is out of range: 0.1 to 60 seconds"]),
    (
        "[vrrp VI_1]\npriority = 100",
        &[
            "1: [vrrp VI_1] lacks `interface`: e.g. interface = eth0",
            "1: [vrrp VI_1] lacks `virtual_router_id`: e.g. virtual_router_id = 51",
            "1: [vrrp VI_1] lacks `virtual_ipaddress`: e.g. virtual_ipaddress = 192.0.2.10/24",
        ],
    ),
    (
        "[vrrp a]\ninterface = a/b\nvirtual_router_id = 1\nvirtual_ipaddress = 192.0.2.1 label x:1",
        &["2: interface = a/b is not an interface name: 1 to 15 octets without `/`, `:` and white space"],
    ),
    (
        "[vrrp a]\ninterface = a_very_long_interface\nvirtual_router_id = 1\nvirtual_ipaddress = 192.0.2.1",
        &[
            "2: interface = a_very_long_interface is not an interface name: 1 to 15 octets without `/`, `:` and white space",
        ],
    ),
    (
        "[vrrp a]\nvirtual_router_id = 0\nadvert_int = 1s\npriority = 256\nfoo = 1\n[vrrp b]\n[nonsense\nx\n",
        &[
            "1: [vrrp a] lacks `interface`: e.g. interface = eth0",
            "1: [vrrp a] lacks `virtual_ipaddress`: e.g. virtual_ipaddress = 192.0.2.10/24",
            "2: virtual_router_id = 0 is out of range: 1 to 255",
            "3: advert_int = 1s is not a number: write seconds without a unit: 1 to 255 seconds",
            "4: priority = 256 is out of range: 1 to 255",
            "5: unknown key `foo` in [vrrp a]",
            "6: [vrrp b] lacks `interface`: e.g. interface = eth0",
            "6: [vrrp b] lacks `virtual_router_id`: e.g. virtual_router_id = 51",
            "6: [vrrp b] lacks `virtual_ipaddress`: e.g. virtual_ipaddress = 192.0.2.10/24",
            "7: a section is `[section]` or `[section name]` on a line of its own",
            "8: the line is neither `[section]` nor `key = value`: it begins with `x`",
        ],
    ),
];

/// Lines after `BASE`: the first is line 5.
const LINES: Table = &[
    (
        "virtual_ip_address = 192.0.2.11",
        &["5: unknown key `virtual_ip_address` in [vrrp VI_1]: did you mean `virtual_ipaddress`?"],
    ),
    ("frobnicate = 1", &["5: unknown key `frobnicate` in [vrrp VI_1]"]),
    ("priority = 300", &["5: priority = 300 is out of range: 1 to 255"]),
    ("priority = 0", &["5: priority = 0 is out of range: 1 to 255"]),
    ("priority = high", &["5: priority = high is not a whole number: 1 to 255"]),
    ("priority = 99999999999999999999", &["5: priority = 99999999999999999999 is out of range: 1 to 255"]),
    (
        "virtual_router_id = 52",
        &["5: `virtual_router_id` is in [vrrp VI_1] twice: keep this one or the one on line 3"],
    ),
    ("state = PRIMARY", &["5: state = PRIMARY is not one of: MASTER, BACKUP"]),
    ("state = master", &["5: state = master is not one of: MASTER, BACKUP (did you mean `MASTER`?)"]),
    ("version = 4", &["5: version = 4 is not one of: 2, 3"]),
    (
        "advert_int = 0.5",
        &[
            "5: advert_int = 0.5 is not a whole number of seconds, as version 2 has them: 1 to 255, or set version = 3",
        ],
    ),
    ("advert_int = 256", &["5: advert_int = 256 is out of range: 1 to 255 seconds"]),
    ("version = 3\nadvert_int = 41", &["6: advert_int = 41 is out of range: 0.01 to 40.95 seconds"]),
    (
        "version = 3\nadvert_int = 0.015",
        &["6: advert_int = 0.015 is not a multiple of 0.01 seconds: 0.01 to 40.95"],
    ),
    (
        "version = 3\nadvert_int = 5.",
        &["6: advert_int = 5. is not a number of seconds: 0.01 to 40.95 seconds"],
    ),
    (
        "preempt = Yes",
        &["5: preempt = Yes is not one of: yes, no, true, false, on, off (did you mean `yes`?)"],
    ),
    ("preempt_delay = 1001", &["5: preempt_delay = 1001 is out of range: 0 to 1000 seconds"]),
    ("down_timer_adverts = 0", &["5: down_timer_adverts = 0 is out of range: 1 to 100"]),
    (
        "auth_type = PAS\nauth_pass = x",
        &["5: auth_type = PAS is not one of: PASS, AH (did you mean `PASS`?)"],
    ),
    ("auth_type = AH", &["5: `auth_type` needs a password: auth_pass = SECRET"]),
    ("auth_type = PASS", &["5: `auth_type` needs a password: auth_pass = SECRET"]),
    ("auth_pass = secret", &["5: `auth_pass` needs `auth_type`: auth_type = PASS"]),
    (
        "version = 3\nauth_type = PASS\nauth_pass = secret",
        &[
            "6: `auth_type` does not go with version 3, which has none: leave it out",
            "7: `auth_pass` does not go with version 3, which has none: leave it out",
        ],
    ),
    (
        "version = 3\nauth_pass = secret",
        &["6: `auth_pass` does not go with version 3, which has none: leave it out"],
    ),
    ("mcast_src_ip = eth0", &["5: mcast_src_ip: eth0 is not an IP address, e.g. 192.0.2.10 or 2001:db8::10"]),
    (
        "mcast_src_ip = 192.0.2.10",
        &["5: mcast_src_ip = 192.0.2.10 is a virtual address: take one that this node always has"],
    ),
    ("v3_checksum_as_v2 = yes", &["5: v3_checksum_as_v2 has no meaning with version 2: set version = 3"]),
    ("track_haproxy = yes", &["5: track_haproxy = yes needs a [haproxy] section: add one, or set it to no"]),
    ("garp_master_delay = -1", &["5: garp_master_delay = -1 is not a number of seconds: 0 to 3600 seconds"]),
    ("garp_master_repeat = 0", &["5: garp_master_repeat = 0 is out of range: 1 to 100"]),
    ("garp_interval = 0", &["5: garp_interval = 0 is out of range: 0.01 to 10 seconds"]),
    ("lease = 0", &["5: lease = 0 is out of range: auto, fence, address, off, or 1 to 3600 whole seconds"]),
    (
        "lease = atuo",
        &[
            "5: lease = atuo is not one of: auto, fence, address, off, or 1 to 3600 whole seconds (did you mean `auto`?)",
        ],
    ),
    ("lease = 1.5", &["5: lease = 1.5 is not one of: auto, fence, address, off, or 1 to 3600 whole seconds"]),
    ("handover_timeout = 0", &["5: handover_timeout = 0 is out of range: 0.01 to 3600 seconds"]),
    ("notify = true # x", &["5: notify = true is not an absolute path: it must begin with `/`"]),
    ("notify_master = up", &["5: notify_master = up is not an absolute path: it must begin with `/`"]),
    ("notify_stop = /bin/x \"a", &["5: notify_stop: a double quote is not closed"]),
    ("interface = eth1", &["5: `interface` is in [vrrp VI_1] twice: keep this one or the one on line 2"]),
    (
        "[vrrp VI_1]\ninterface = eth1\nvirtual_router_id = 1\nvirtual_ipaddress = 192.0.2.11",
        &["5: [vrrp VI_1] appears twice: merge it with the one on line 1"],
    ),
    (
        "[vrrp VI_2]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.0.2.11",
        &["7: virtual_router_id = 51 on eth0 is that of [vrrp VI_1] on line 3: take another"],
    ),
    (
        "[vrrp VI_2]\ninterface = eth1\nvirtual_router_id = 51\nvirtual_ipaddress = 192.0.2.10 dev eth0",
        &["8: virtual_ipaddress: 192.0.2.10 on eth0 is already in [vrrp VI_1] on line 4: remove one"],
    ),
];

/// Values of `virtual_ipaddress` in `BASE`.
const VIPS: Table = &[
    (
        "192.0.2.300",
        &["4: virtual_ipaddress: 192.0.2.300 is not an IP address, e.g. 192.0.2.10 or 2001:db8::10"],
    ),
    ("192.0.2.10/33", &["4: virtual_ipaddress: the prefix length of 192.0.2.10/33 is not 1 to 32"]),
    ("192.0.2.10/0", &["4: virtual_ipaddress: the prefix length of 192.0.2.10/0 is not 1 to 32"]),
    ("192.0.2.10/x", &["4: virtual_ipaddress: the prefix length of 192.0.2.10/x is not 1 to 32"]),
    ("0.0.0.0", &["4: virtual_ipaddress: 0.0.0.0 is the unspecified address: take one that a host can have"]),
    (
        "127.0.0.1/8",
        &["4: virtual_ipaddress: 127.0.0.1 is a loopback address: take one that a host can have"],
    ),
    (
        "224.0.0.18",
        &["4: virtual_ipaddress: 224.0.0.18 is a multicast address: take one that a host can have"],
    ),
    (
        "255.255.255.255",
        &["4: virtual_ipaddress: 255.255.255.255 is the broadcast address: take one that a host can have"],
    ),
    (
        "192.0.2.10 scope link",
        &["4: virtual_ipaddress: `scope` does not belong there: ADDR[/LEN] [dev IF] [label IF:TAG]"],
    ),
    ("192.0.2.10 dev", &["4: virtual_ipaddress: `dev` has no value: ADDR[/LEN] [dev IF] [label IF:TAG]"]),
    (
        "192.0.2.10 dev a dev b",
        &["4: virtual_ipaddress: `dev` appears twice: ADDR[/LEN] [dev IF] [label IF:TAG]"],
    ),
    (
        "192.0.2.10 dev eth0/1",
        &[
            "4: virtual_ipaddress: dev = eth0/1 is not an interface name: 1 to 15 octets without `/`, `:` and white space",
        ],
    ),
    (
        "192.0.2.10 label eth1:web",
        &["4: virtual_ipaddress: label eth1:web is not `eth0:TAG` of at most 15 octets"],
    ),
    ("192.0.2.10 label eth0:", &["4: virtual_ipaddress: label eth0: is not `eth0:TAG` of at most 15 octets"]),
    (
        "192.0.2.10 dev br0 label br0:very-long-tag",
        &["4: virtual_ipaddress: label br0:very-long-tag is not `br0:TAG` of at most 15 octets"],
    ),
    ("192.0.2.10,", &["4: `virtual_ipaddress` has an empty element: remove a comma"]),
    (
        "192.0.2.10, 192.0.2.10/24 dev eth0",
        &["4: virtual_ipaddress: 192.0.2.10 on eth0 is already in [vrrp VI_1] on line 4: remove one"],
    ),
];

/// Lines after `BASE` that are accepted, with the warnings.
const WARNED: Table = &[
    ("state = MASTER", &["5: state = MASTER has no effect: priority and preempt decide"]),
    (
        "down_timer_adverts = 5",
        &[
            "5: down_timer_adverts = 5 is not the usual 3: it must be the same on every node of the virtual router",
        ],
    ),
    ("auth_type = PASS\nauth_pass = 123456789", &["6: `auth_pass` has 9 octets: only the first 8 count"]),
    ("lease = 3", &["5: lease = 3: the address may outlive the takeover; write `lease = auto`"]),
    ("lease = 1", &[]),
    (
        "lease = off",
        &["5: lease = off: if vipd is killed, the addresses stay on this node while another takes over"],
    ),
    ("priority = 255\nlease = off", &[]),
    (
        "handover_timeout = 10\n[haproxy]",
        &[
            "5: handover_timeout = 10 of [vrrp VI_1] is longer than stop_timeout = 8 of [haproxy], which cuts it short",
        ],
    ),
    (
        "[global]\nnotify_user = nobody\nsmtp_server = mail\nnotification_email_from = a@b\nsmtp_connect_timeout = 5",
        &[
            "6: notify_user has no effect: there is no `notify`",
            "7: smtp_server has no effect: there is no `notification_email`",
            "8: notification_email_from has no effect: there is no `notification_email`",
            "9: smtp_connect_timeout has no effect: there is no `notification_email`",
        ],
    ),
    ("notify = /bin/x\n[global]\nnotify_user = nobody", &[]),
    ("notify_fault = /bin/x\n[global]\nnotify_user = nobody", &[]),
    ("handover_timeout = 10\nmake_before_break = no\n[haproxy]", &[]),
    (
        "[haproxy]\nstop_timeout = 1",
        &[
            "1: handover_timeout = 4 of [vrrp VI_1] is longer than stop_timeout = 1 of [haproxy], which cuts it short",
        ],
    ),
];

pub fn check(table: Table, text: impl Fn(&str) -> String, found: impl Fn(&str) -> Vec<String>) {
    for (input, expected) in table {
        assert_eq!(found(&text(input)), *expected, "of {input:?}");
    }
}

#[test]
fn wrong_configurations_have_these_messages() {
    check(FILES, str::to_owned, errors);
    check(LINES, |lines| format!("{BASE}{lines}\n"), errors);
    check(VIPS, |vip| BASE.replace("192.0.2.10/24", vip), errors);
    assert!(FILES.iter().chain(LINES).chain(VIPS).all(|(_, expected)| !expected.is_empty()));
}

#[test]
fn what_is_accepted_may_have_warnings() {
    check(WARNED, |lines| format!("{BASE}{lines}\n"), warnings);
}
