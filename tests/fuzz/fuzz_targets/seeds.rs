//! Writes the corpora that the targets begin with: what keepalived, the kernel and HAProxy have really said.
//! `CORPUS=DIR seeds -runs=0`: a target itself, as instrumented code links with libFuzzer only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::{Path, PathBuf};
use vipd::config::schema;
use vipd::lease::state_file;
use vipd::wire::rtnl::{self, AddrSpec, Lifetime};

const INI: &str = include_str!("../../../rootfs/etc/vipd.ini");

struct Corpus(PathBuf);

impl Corpus {
    fn new(dir: &Path, target: &str) -> std::io::Result<Corpus> {
        let dir = dir.join(target);
        fs::create_dir_all(&dir)?;
        Ok(Corpus(dir))
    }

    /// The name is the content, so that a second run adds nothing.
    fn add(&self, parts: &[&[u8]]) -> std::io::Result<()> {
        let seed = parts.concat();
        fs::write(self.0.join(format!("seed-{:016x}", vipd::base::hash::fnv1a(&seed))), seed)
    }
}

fuzz_target!(init: write_all().expect("the corpora"), |_data: &[u8]| {});

fn write_all() -> std::io::Result<()> {
    let dir = PathBuf::from(std::env::var_os("CORPUS").unwrap_or_else(|| "corpus".into()));
    let of = |target: &str| Corpus::new(&dir, target);
    let (advert, ah, frames, node) = (of("advert")?, of("ah")?, of("frames")?, of("node")?);
    let hmac = of("hmac")?;
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/captures"))? {
        // pcap: 24 octets, then each frame behind 16 with its length at 8.
        let file = fs::read(file?.path())?;
        let mut rest = file.get(24..).unwrap_or_default();
        for _ in 0..8 {
            let Some(len) = rest.get(8..12).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes) else {
                break;
            };
            let (frame, more) = rest.split_at(rest.len().min(16 + len as usize));
            rest = more;
            let Some((header, packet)) = frame.get(16..).and_then(|f| f.split_first_chunk::<14>()) else {
                break;
            };
            let packet = packet.get(..1500).unwrap_or(packet);
            frames.add(&[packet])?;
            if header[12] == 0x86 && packet.get(6) == Some(&58) {
                frames.add(&[&packet[24..]])?; // destination, then ICMPv6
            }
            match (header[12], packet.get(9)) {
                (0x08, Some(112)) if header[13] == 0 => {
                    let Some(message) = packet.get(20..) else { continue };
                    hmac.add(&[&[packet[20] & 1, 0, 0, 0, 1], message])?;
                    advert.add(&[&[0], packet])?;
                    advert.add(&[&[1 | 4], &packet[12..16], message])?;
                    advert.add(&[&[1 | 4 | 8], &packet[12..16], message])?;
                    node.add(&[&[0, 0, 60, 2, packet.len() as u8], packet, &[0, 60]])?;
                }
                (0x08, Some(51)) if header[13] == 0 => {
                    ah.add(&[packet])?;
                    ah.add(&[&[1, 2, 3, 4, 5, 6, 0, 60, 1], packet.get(44..).unwrap_or_default()])?;
                }
                (0x86, _) if packet.get(6) == Some(&112) => {
                    advert.add(&[&[1 | 2 | 4], &packet[8..24], &packet[40..]])?;
                }
                _ => {}
            }
        }
    }
    for script in [[0, 70, 1, 200, 0, 70, 1, 0], [0, 80, 3, 1, 0, 50, 3, 0], [0, 80, 5, 24, 8, 200, 9, 255]] {
        (0..4).try_for_each(|config| node.add(&[&[config], &script]))?;
    }
    let ini = of("ini")?;
    ini.add(&[INI.as_bytes()])?;
    ini.add(&[EVERYTHING.as_bytes()])?;
    let control = of("control")?;
    control.add(&[b"status\n"])?;
    let http = of("http")?;
    http.add(&[b"GET /metrics HTTP/1.1\r\nHost: localhost:9112\r\nAccept: */*\r\n\r\n"])?;
    http.add(&[b"HEAD http://localhost/ready?x HTTP/1.0\n\nx"])?;
    http.add(&[b"\r\nOPTIONS /health HTTP/1.0\r\n\r\n"])?;
    of("show_info")?
        .add(&[b"Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nNbthread: 2\nPid: 4711\nUptime: 0d\n"])?;
    let state = of("state")?;
    state.add(&[b"4294967295\n"])?;
    state.add(&[b"2048\n192.168.30.117 1033\nfe80::1 9\n"])?;
    let one =
        "[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.168.30.230/24\n";
    if let Ok((cfg, _)) = schema::parse(one) {
        state.add(&[state_file::render(&cfg.vrrp[0], false).as_bytes()])?;
        state.add(&[state_file::render(&cfg.vrrp[0], true).as_bytes()])?;
    }
    others(&of)?;
    netlink(&of("netlink")?)
}

/// Name servers, mail servers, keepalived and HAProxy.
fn others(of: &dyn Fn(&str) -> std::io::Result<Corpus>) -> std::io::Result<()> {
    let record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x09\0\x04\xc0\0\x02\x01";
    of("dns")?.add(&[&[2 | 4], record])?;
    of("dns")?.add(&[&[3 | 8], b"\xc0\x0c\0\x1c\0\x01\0\0\0\x09\0\x10", &[0x20; 16], record])?;
    let replies: [&[u8]; 7] = [
        b"\x0b220 mail.x\r\n",
        b"\x18250-mail.x\r\n250 8BITMIME\r\n",
        b"\x08250 ok\r\n",
        b"\x08250 ok\r\n",
        b"\x0c550 nobody\r\n",
        b"\x08354 go\r\n",
        b"\x0c250 queued\r\n",
    ];
    let smtp = of("smtp")?;
    smtp.add(&replies)?;
    smtp.add(&[b"mail.x\n25\n10\nnode1\na@x\nb@x\n\nSubject: x\n"])?;
    let import = of("import")?;
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/import"))? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "conf") {
            import.add(&[&fs::read(path)?])?;
        }
    }
    let getsocks = of("getsocks")?;
    let two: [&[u8]; 3] = [&[4, 0], &2i32.to_ne_bytes(), b"\x13\x02\0\0\0\0\0\0\x03red\x04eth0\0\0\0\0"];
    getsocks.add(&two)
}

fn netlink(corpus: &Corpus) -> std::io::Result<()> {
    for addr in [[192, 168, 30, 230].into(), "2001:db8::1".parse().unwrap_or([0, 0, 0, 0].into())] {
        let spec = AddrSpec {
            ifindex: 2,
            addr,
            prefix: 24,
            lifetime: Some(Lifetime { preferred: 0, valid: 3 }),
            label: Some("eth0:vip"),
            proto: Some(112),
            flags: 0x200,
        };
        let mut buf = Vec::new();
        rtnl::new_addr(&mut buf, 7, 0x600, &spec);
        rtnl::del_addr(&mut buf, 8, &spec);
        corpus.add(&[&buf])?;
    }
    // What this machine's kernel says of itself, and of its connections.
    let mut request = Vec::new();
    rtnl::dump_links(&mut request, 1);
    corpus.add(&[&request])?;
    let link: [&[u8]; 6] = [
        &68u32.to_ne_bytes(),
        &[16, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        &[2, 0, 0, 0, 0x43, 0x10, 1, 0, 0, 0, 0, 0],
        &[9, 0, 3, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0],
        &[10, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 0],
        &[8, 0, 10, 0, 7, 0, 0, 0, 4, 0, 0, 0],
    ];
    corpus.add(&link)?;
    let mut diag = vec![92, 0, 0, 0, 20, 0, 2, 0, 7, 0, 0, 0, 0, 0, 0, 0, 10, 1, 0, 0];
    diag.resize(92, 1);
    corpus.add(&[&diag])?;
    let element: [&[u8]; 6] = [
        &64u32.to_ne_bytes(),
        &[12, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 7],
        &[9, 0, 1, 0, b'v', b'i', b'p', b'd', 0, 0, 0, 0],
        &[32, 0, 3, 0x80, 28, 0, 1, 0x80, 12, 0, 1, 0x80],
        &[8, 0, 1, 0, 0, 0, 0, 0],
        &[12, 0, 5, 0, 0, 0, 0, 0, 0, 0, 5, 220],
    ];
    corpus.add(&element)?;
    let gone: [&[u8]; 3] = [
        &32u32.to_ne_bytes(),
        &[2, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 7],
        &[9, 0, 1, 0, b'v', b'i', b'p', b'd', 0, 0, 0, 0],
    ];
    corpus.add(&gone)
}

const EVERYTHING: &str = "\
[global]\nrouter_id = a\nlog = syslog\nlog_level = debug\nlog_facility = local3\nrealtime_priority = 50\nlock_memory = yes\n\
[haproxy]\nconfig = /etc/haproxy\nargs = -L 'a b'\nstop_timeout = 8\n\
[check web]\ntype = tcp\naddress = 127.0.0.1:80\ninterval = 1\ntimeout = 1\nfall = 2\nrise = 2\n\
[group both]\nvrrp = A, B\n\
[vrrp A]\ninterface = eth0\nvirtual_router_id = 51\nauth_type = AH\nauth_pass = 1111\nadvert_int = 1\n\
unicast_src_ip = 192.168.30.1\nunicast_peer = 192.168.30.2, 192.168.30.3\nvirtual_ipaddress = 192.168.30.230/24 dev eth1 label eth1:v\n\
virtual_ipaddress_excluded = 192.168.30.231/24\ntrack_interface = eth1 weight -20\ntrack_check = web\n\
[vrrp B]\ninterface = eth0\nvirtual_router_id = 52\nversion = 3\nadvert_int = 0.01\npreempt = no\n\
virtual_ipaddress = fe80::1/64, 2001:db8::1/64\nuse_vmac = yes\n";
