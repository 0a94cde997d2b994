//! Mail, delivered to a real SMTP server (Python's aiosmtpd), and to servers that misbehave.

use super::*;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Command;

pub const TESTS: &[(&str, Test)] = &[
    ("mail_arrives_for_every_state", arrives),
    ("a_server_that_hangs_delays_no_advert", |w| misbehaves(w, "hangs")),
    ("a_server_that_drips_delays_no_advert", |w| misbehaves(w, "drips")),
    ("a_server_that_closes_is_named", |w| misbehaves(w, "closes")),
    ("a_server_that_refuses_is_named", |w| misbehaves(w, "refuses")),
    ("a_server_that_is_not_there_is_named", |w| misbehaves(w, "absent")),
    ("a_name_server_that_is_silent_delays_no_advert", |w| misbehaves(w, "nameless")),
    ("mail_is_tried_again", tried_again),
];

/// The distribution's, which has the package; not one that may be before it in PATH.
const PYTHON: &str = "/usr/bin/python3";

/// Prints each mail: envelope, then each line behind `| `.
const SERVER: &str = r#"
import asyncio, sys
from aiosmtpd.controller import Controller
class Handler:
    async def handle_DATA(self, server, session, envelope):
        print("MAIL", session.host_name, envelope.mail_from, *envelope.rcpt_tos)
        for line in envelope.content.decode("ascii").splitlines(): print("|", line)
        print("END", flush=True)
        return "250 queued"
Controller(Handler(), hostname=sys.argv[1], port=2525).start()
print("ready", flush=True)
asyncio.new_event_loop().run_forever()
"#;

fn server(node: &Node, addr: &str) -> Result<Proc> {
    let have = Command::new(PYTHON).args(["-c", "import aiosmtpd"]).output()?;
    if !have.status.success() {
        return Err(Error::missing("python3-aiosmtpd"));
    }
    let mut cmd = Command::new(PYTHON);
    cmd.args(["-c", SERVER, addr]);
    let server = Proc::start(node, "aiosmtpd", cmd)?;
    server.wait_log("ready", secs(20))?;
    Ok(server)
}

fn ini(node: &Node, server: &str, routers: &[Router]) -> String {
    let lines = format!(
        "[global]\nnotification_email = ops@example.org, root@localhost\nnotification_email_from = vipd@node1.example\n\
         smtp_server = {server}\nsmtp_connect_timeout = 5\n"
    );
    Vipd::ini(node, None, routers).replacen("[global]\n", &lines, 1)
}

/// The socket of a name server in the node, which resolv.conf names (in the mount namespace of all tests).
fn name_server(node: &Node) -> Result<UdpSocket> {
    static MOUNTED: Mutex<bool> = Mutex::new(false);
    let mut mounted = MOUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !std::mem::replace(&mut *mounted, true) {
        std::fs::write("/run/resolv.conf", "nameserver 192.0.2.53\n")?;
        let done = Command::new("mount").args(["--bind", "/run/resolv.conf", "/etc/resolv.conf"]).output()?;
        ensure!(done.status.success(), "mount: {}", String::from_utf8_lossy(&done.stderr));
    }
    drop(mounted);
    node.ip("addr add 192.0.2.53/32 dev lo")?;
    Ok(node.enter(|| UdpSocket::bind("192.0.2.53:53"))?)
}

/// Every name has this IPv4 address, by way of an alias, and no IPv6 address.
fn answer(socket: &UdpSocket, addr: [u8; 4]) {
    let mut buf = [0; 512];
    while let Ok((n, from)) = socket.recv_from(&mut buf) {
        let mut answer = buf[..n].to_vec();
        answer[2] |= 0x80;
        if answer[n - 3] == 1 {
            answer[7] = 2;
            answer.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 5, 1, b'm', 1, b'x', 0]);
            answer.extend_from_slice(&[1, b'm', 1, b'x', 0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4]);
            answer.extend_from_slice(&addr);
        }
        let _ = socket.send_to(&answer, from);
    }
}

fn arrives(w: &World) -> Result<()> {
    // A second way to the server, for when the first is cut.
    w.lan.second()?;
    let mail = server(&w.client, "192.168.31.10")?;
    let names = name_server(&w.one)?;
    std::thread::spawn(move || answer(&names, [192, 168, 31, 10]));
    let text = ini(&w.one, "mail.example:2525", &[router(100)]);
    let one = Vipd::start(&w.one, &text)?;
    let mut mark = 0;
    for (state, what) in [
        ("BACKUP", "=> VRRP Instance is no longer owning VRRP VIPs <="),
        ("MASTER", "=> VRRP Instance is now owning VRRP VIPs <="),
        ("FAULT", "=> VRRP Instance is no longer owning VRRP VIPs <="),
    ] {
        if state == "FAULT" {
            w.one.cut()?;
        }
        let log = mail.log();
        let line = log.wait_from(mark, "MAIL ", ELECTION)?;
        let expected = "MAIL [192.168.31.116] vipd@node1.example ops@example.org root@localhost";
        ensure!(line.text == expected, "{}", line.text);
        for line in [
            "| From: vipd@node1.example",
            "| To: ops@example.org,",
            "|  root@localhost",
            &format!("| Subject: [node1] VRRP Instance VI_51 - Entering {state} state"),
            &format!("| {what}"),
            "| vips: 192.168.30.230",
            "END",
        ] {
            log.wait_from(mark, line, secs(2))?;
        }
        for header in ["| Date: ", "| Message-ID: <", "| reason: "] {
            log.wait_from(mark, header, secs(1))?;
        }
        one.wait_log(&format!("mail about VI_51 {state}: sent"), secs(2))?;
        mark = log.mark();
    }
    let ids = mail.log().grep("| Message-ID: ");
    ensure!(ids.len() == 3 && ids[0].text != ids[1].text, "{ids:?}");
    // Python's own parser finds nothing wrong.
    let lines = mail.log().grep("|");
    let first = lines.iter().take_while(|l| !l.text.contains("vips"));
    let text: Vec<&str> = first.map(|l| l.text.get(2..).unwrap_or("")).collect();
    let check = "import email,email.policy,sys; m=email.message_from_string(sys.argv[1],policy=email.policy.default); \
                 assert not m.defects and m['date'].datetime.tzinfo and len(m['to'].addresses)==2, m.defects; \
                 assert not any(m[k].defects for k in m.keys()), m.items()";
    let parsed = Command::new(PYTHON).args(["-c", check, &text.join("\n")]).output()?;
    ensure!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
    ensure!(w.one.pids("vipd").len() <= 1, "children are left");
    Ok(())
}

/// What a server does, and what the log says of it within a time.
fn misbehaves(w: &World, how: &'static str) -> Result<()> {
    let addr = SocketAddr::from((w.client.addr(), 2525));
    let mut name = addr.to_string();
    let (expected, wait) = match how {
        "hangs" => ("greeting: no answer in time; next try in 15 s", secs(75)),
        "drips" => ("greeting: no answer in time; next try in 15 s", secs(75)),
        "closes" => ("EHLO: the connection was closed; next try in 15 s", secs(5)),
        "refuses" => ("greeting: 554 \\x1b[31mgo away; given up", secs(5)),
        "absent" => ("192.168.30.10: Connection refused; next try in 15 s", secs(5)),
        _ => ("mail.example: no address found; next try in 15 s", secs(75)),
    };
    let _silent = if how == "nameless" {
        // Its packets arrive and are never answered.
        name = "mail.example:25".into();
        Some(name_server(&w.one)?)
    } else {
        None
    };
    let listener = (how != "absent" && how != "nameless").then(|| w.client.enter(|| TcpListener::bind(addr)));
    if let Some(listener) = listener.transpose()? {
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut stream = stream;
                    let _ = match how {
                        "drips" => {
                            let drip = |c: &u8| {
                                std::thread::sleep(secs(1));
                                stream.write_all(&[*c]).is_ok()
                            };
                            b"220-".iter().chain([b'x'; 200].iter()).all(drip);
                            Ok(0)
                        }
                        "closes" => stream.write_all(b"220 x\r\n").and_then(|()| stream.read(&mut [0; 100])),
                        "refuses" => stream.write_all(b"554 \x1b[31mgo away\r\n").map(|()| 0),
                        _ => stream.read(&mut [0; 100]),
                    };
                });
            }
        });
    }
    // With leases of addresses each advert might wait for others' changes of addresses.
    let router = router(100).with("lease = auto");
    let one = Vipd::start(&w.one, &ini(&w.one, &name, &[router]))?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    let start = Instant::now();
    let line = one.wait_log(expected, wait);
    if line.is_ok() && start.elapsed() < secs(5) {
        std::thread::sleep(secs(5));
    }
    line?;
    let adverts = w.capture.all(start, |s| s.node == "node1" && s.advert(VRID).is_some());
    let gaps = adverts.windows(2).map(|pair| pair[1].at - pair[0].at);
    let worst = gaps.map(|gap| gap.abs_diff(secs(1))).max().unwrap_or_default();
    println!("{how}: {} adverts, the worst off by {worst:?}", adverts.len());
    ensure!(
        adverts.len() >= 4 && worst < w.bound(ms(100), start),
        "{} adverts, one late by {worst:?}",
        adverts.len()
    );
    let fds = std::fs::read_dir(format!("/proc/{}/fd", one.pid()))?.count();
    ensure!(fds <= 26 && w.one.pids("").len() <= 8, "{fds} descriptors, {:?}", w.one.pids(""));
    one.terminate();
    ensure!(one.wait_exit(secs(6))?.success(), "mail holds the stop up");
    Ok(())
}

/// The server comes up a while after the mail.
fn tried_again(w: &World) -> Result<()> {
    let one = Vipd::start(&w.one, &ini(&w.one, &format!("{}:2525", w.client.addr()), &[router(100)]))?;
    one.wait_log("mail about VI_51 BACKUP: 192.168.30.10: Connection refused; next try in 15 s", secs(5))?;
    let mail = server(&w.client, "192.168.30.10")?;
    mail.wait_log("| Subject: [node1] VRRP Instance VI_51 - Entering BACKUP state", secs(20))?;
    one.wait_log("mail about VI_51 BACKUP: sent", secs(2))?;
    Ok(())
}
