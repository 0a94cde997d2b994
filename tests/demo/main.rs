//! The how-to, acted: two HAProxy nodes and one address, with vipd in the place of keepalived and of
//! the script that restarts HAProxy, and a client that opens a connection every 4 ms and notices all.
//!
//! ```text
//! make demo                   two vipd nodes, and keepalived's stop for comparison if keepalived is here
//! make demo PEER=keepalived   node 2 runs keepalived
//! demo --node1 keepalived     how far one gets without vipd
//! ```
//!
//! At the end it draws who answered when, here and in `target/demo.svg`.
//!
//! Needs Linux with user or root namespaces, iproute2, HAProxy (and keepalived where it is asked for).
//! Ends with 0 if every step went as it should, with 1 if not, with 77 if there can be no namespaces.

#[path = "../lab/mod.rs"]
mod lab;
mod live;
mod timeline;

use lab::{
    Capture, Client, Error, Haproxy, Isolation, Keepalived, Kind, Lan, Log, Node, Occupant, Proc, Report,
    Result, Router, Vipd, Watcher, haproxy_cfg, isolate, late, lateness, measure, ms, secs, since_start,
    vipd_path,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use timeline::Timeline;

const VIP: &str = "192.168.30.230";
const SERVICE: &str = "192.168.30.230:5000";
const VRID: u8 = 51;
const INTERVAL: Duration = ms(4);
/// If anything on this machine was late by more, a step is shown but not judged.
const TOO_LATE: Duration = ms(40);

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(options) => options,
        Err(e) => {
            eprintln!("{e}\nusage: demo [--peer vipd|keepalived] [--node1 vipd|keepalived]");
            return ExitCode::from(2);
        }
    };
    if let Isolation::Impossible(why) = isolate() {
        println!("skipped: no namespaces can be had here: {why}");
        return ExitCode::from(if std::env::var("CI").as_deref() == Ok("true") { 1 } else { 77 });
    }
    if let Err(e) = measure() {
        println!("cannot measure how late this machine is: {e}");
    }
    let mut table = Vec::new();
    let outcome = options.act(&mut table);
    print_table(&table);
    match outcome {
        Ok(()) if table.iter().all(|row| row.complaints.is_empty()) => {
            let late = table.iter().filter(|row| row.late).count();
            match late {
                0 => println!("\nEverything went as it should."),
                n => println!(
                    "\nThis machine was too busy to judge {n} of {} steps; the others went as they should.",
                    table.len()
                ),
            }
            ExitCode::SUCCESS
        }
        Ok(()) => {
            println!("\nNot everything went as it should.");
            ExitCode::FAILURE
        }
        Err(e) => {
            println!("\nThe demo stopped: {e}");
            ExitCode::FAILURE
        }
    }
}

fn describe(kind: Kind) -> &'static str {
    match kind {
        Kind::Vipd => "vipd",
        Kind::Keepalived => "keepalived and an unwatched HAProxy",
    }
}

struct Options {
    node1: Kind,
    peer: Kind,
}

impl Options {
    fn parse() -> std::result::Result<Options, String> {
        let mut options = Options { node1: Kind::Vipd, peer: Kind::Vipd };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut kind = || match args.next().as_deref() {
                Some("vipd") => Ok(Kind::Vipd),
                Some("keepalived") => Ok(Kind::Keepalived),
                _ => Err(format!("{arg} needs vipd or keepalived")),
            };
            match arg.as_str() {
                "--node1" => options.node1 = kind()?,
                "--peer" => options.peer = kind()?,
                _ => return Err(format!("unknown argument {arg}")),
            }
        }
        Ok(options)
    }

    fn act(&self, table: &mut Vec<Row>) -> Result<()> {
        heading("Two nodes, one address");
        howto(self.node1, self.peer, table)?;
        if which("keepalived") {
            heading("For comparison: keepalived on both nodes");
            compare(table)?;
        } else {
            println!("\nkeepalived is not installed: no figures of it beside these");
        }
        Ok(())
    }
}

/// A line of the table.
struct Row {
    step: String,
    report: Report,
    expected: String,
    complaints: Vec<String>,
    /// The machine was too late for a judgement.
    late: bool,
    from: Instant,
}

/// What a step must not exceed.
struct Bounds {
    silence: Duration,
    syn_retransmits: Option<usize>,
    failed: Option<usize>,
    text: String,
}

impl Bounds {
    /// A planned move. A connection whose SYN reached the old node and whose request reaches the new one is
    /// lost; at a request every 4 ms that is one in some twenty moves. Nobody else may notice, but for
    /// `unlucky`.
    fn unnoticed(unlucky: usize) -> Bounds {
        let text = match unlucky {
            0 => "under 30 ms, at most 1 connection cut".to_owned(),
            n => format!("under 30 ms, at most 1 connection cut, {n} SYN lost"),
        };
        Bounds { silence: ms(30), syn_retransmits: Some(unlucky), failed: Some(1), text }
    }

    fn silent_for(silence: Duration, text: String) -> Bounds {
        Bounds { silence, syn_retransmits: None, failed: None, text }
    }

    /// What was too much, if the machine itself stood still for `jitter`.
    fn check(&self, report: &Report, jitter: Duration) -> Vec<String> {
        let mut complaints = Vec::new();
        if report.silence > self.silence + jitter {
            complaints.push(format!(
                "silence {} ms, allowed {} ms",
                millis(report.silence),
                millis(self.silence)
            ));
        }
        if self.syn_retransmits.is_some_and(|most| report.syn_retransmits > most) {
            complaints.push(format!("{} SYN retransmissions", report.syn_retransmits));
        }
        if self.failed.is_some_and(|most| report.failures() > most) {
            complaints.push(format!("failed requests: {:?}", report.failed));
        }
        complaints
    }
}

/// What runs on a node. Dropped, all of it is killed.
enum Member {
    Vipd(Vipd),
    Keepalived { daemon: Keepalived, _haproxy: Haproxy },
}

impl Member {
    fn start(kind: Kind, node: &Node, priority: u8) -> Result<Member> {
        let cfg = haproxy_cfg(node, SERVICE)?;
        let router = Router { name: "VI_1".to_owned(), ..Router::new(VRID, priority, &format!("{VIP}/24")) };
        Ok(match kind {
            Kind::Vipd => {
                // A HAProxy that cannot start is tried each second, instead of each 30 s after a while.
                let ini = Vipd::ini(node, Some(&cfg), &[router]);
                let ini =
                    ini.replace("[haproxy]\n", "[haproxy]\nrestart_backoff_max = 1\ncrash_limit = 100\n");
                Member::Vipd(Vipd::start(node, &ini)?)
            }
            Kind::Keepalived => {
                let haproxy = Haproxy::start(node, &cfg)?;
                Member::Keepalived { daemon: Keepalived::run(node, &[router])?, _haproxy: haproxy }
            }
        })
    }

    fn proc(&self) -> &Proc {
        match self {
            Member::Vipd(daemon) => daemon,
            Member::Keepalived { daemon, .. } => daemon,
        }
    }

    fn log(&self) -> &Log {
        self.proc().log()
    }

    /// A graceful stop, to its end.
    fn stop(self) -> Result<()> {
        self.proc().terminate();
        let status = self.proc().wait_exit(secs(10))?;
        ensure!(status.success(), "the stop was not clean: {status}");
        Ok(())
    }
}

/// The machines, and those who look at them.
struct Scene {
    lan: Lan,
    watcher: Watcher,
    capture: Capture,
    node1: Node,
    node2: Node,
    clients: Node,
}

impl Scene {
    fn set() -> Result<Scene> {
        let lan = Lan::pair()?;
        let (watcher, capture) = (Watcher::start(&lan)?, Capture::start(&lan)?);
        let (node1, node2, clients) = (lan.node("node1"), lan.node("node2"), lan.node("client"));
        Ok(Scene { lan, watcher, capture, node1, node2, clients })
    }

    /// One step: acts, lets things settle, and compares what the client noticed with what it may notice.
    fn step(
        &self,
        client: &Arc<Client>,
        table: &mut Vec<Row>,
        title: &str,
        act: impl FnOnce(&mut Vec<String>) -> Result<Bounds>,
    ) -> Result<()> {
        say(&format!("{}. {title}", table.len() + 1));
        let live = live::Live::start(client);
        let from = Instant::now();
        let mut complaints = Vec::new();
        let bounds = match act(&mut complaints) {
            Ok(bounds) => bounds,
            Err(e) => {
                println!("   FAILED: {e}\n{}", self.lan.tails(15, from));
                return Err(e);
            }
        };
        std::thread::sleep(ms(300)); // an aftermath would show now
        let to = Instant::now();
        drop(live);
        let report = client.report(from, to)?;
        for (at, node, after) in client.answerers(from, to) {
            println!(
                "   {:8.3} s  {node} answers, {} ms after the last answer",
                since_start(at),
                millis(after)
            );
        }
        println!(
            "   silence {} ms, slowest request {} ms, SYN retransmissions {}, failed {}",
            millis(report.silence),
            millis(report.slowest),
            report.syn_retransmits,
            failures(&report)
        );
        let nodes = [self.node1.clone(), self.node2.clone(), self.clients.clone()];
        let lateness_of = late(&nodes, from, to);
        let mut expected = bounds.text.clone();
        if report.silence > bounds.silence {
            expected += &format!(" (+ {} ms by which this machine was late)", millis(lateness_of));
        }
        complaints.extend(bounds.check(&report, lateness_of));
        let late = !complaints.is_empty() && lateness_of > TOO_LATE;
        if late {
            println!(
                "   {}: not judged, because this machine was late: {}",
                complaints.join("; "),
                lateness(&nodes, from, to)
            );
            complaints.clear();
        }
        println!("   expected: {expected}  -> {}", verdict(&complaints, late));
        if !complaints.is_empty() {
            println!("{}{}", client.odd(from, to, bounds.silence), self.lan.tails(15, from));
        }
        table.push(Row { step: title.to_owned(), report, expected, complaints, late, from });
        Ok(())
    }
}

/// keepalived alone: what a planned stop costs there.
fn compare(table: &mut Vec<Row>) -> Result<()> {
    let scene = Scene::set()?;
    let one = Member::start(Kind::Keepalived, &scene.node1, 100)?;
    let _two = Member::start(Kind::Keepalived, &scene.node2, 99)?;
    scene.watcher.wait_holder(VIP, "node1", secs(6))?;
    let client = Arc::new(Client::start_with(&scene.clients, SERVICE, INTERVAL, secs(5))?);
    client.wait_answer_by("node1", secs(2))?;
    scene.step(&client, table, "keepalived: graceful stop of node 1", |complaints| {
        let start = Instant::now();
        one.stop()?;
        client.wait_answer_by("node2", secs(5))?;
        let gap = scene.watcher.longest_gap(VIP, start);
        live::clear();
        note(&format!("nobody held the address for {} ms", millis(gap)));
        let _ = complaints;
        Ok(Bounds::silent_for(skew(99) + ms(100), "the address is gone for the skew time, 613 ms".to_owned()))
    })
}

/// The how-to from its beginning to its end.
fn howto(first: Kind, peer: Kind, table: &mut Vec<Row>) -> Result<()> {
    let scene = Scene::set()?;
    let (node1, node2, watcher) = (&scene.node1, &scene.node2, &scene.watcher);
    let service: SocketAddr = SERVICE.parse().map_err(|_| Error("the service's address".to_owned()))?;
    if first == Kind::Vipd {
        println!("   vipd     {}", vipd_path()?.display());
    }
    let begin = Instant::now();
    println!("   node1    192.168.30.116, priority 100: {}", describe(first));
    println!("   node2    192.168.30.117, priority  99: {}", describe(peer));
    println!("   address  {VIP}/24, HAProxy on port 5000, VRID {VRID}, password 1111");
    println!("   client   192.168.30.10, a new connection and request every {} ms", INTERVAL.as_millis());

    let mut one = Some(Member::start(first, node1, 100)?);
    let _two = Member::start(peer, node2, 99)?;
    say("Both nodes started.");
    let tails = |_: &Error| println!("{}", scene.lan.tails(15, begin));
    let started = watcher.wait_holder(VIP, "node1", secs(8)).inspect_err(tails)?;
    note(&format!("node1 holds the address since {:.3} s", since_start(started)));
    let client = Arc::new(Client::start_with(&scene.clients, SERVICE, INTERVAL, secs(6))?);
    client.wait_answer_by("node1", secs(2)).inspect_err(tails)?;
    let first_answer = Instant::now();
    // With keepalived as the peer the address is nowhere for an instant: keepalived lets go first.
    let unlucky = if peer == Kind::Vipd { 0 } else { 1 };

    scene.step(&client, table, "graceful stop of node 1 (SIGTERM)", |_| {
        one.take().map_or(Ok(()), Member::stop)?;
        client.wait_answer_by("node2", secs(5))?;
        watcher.wait_holder(VIP, "node2", secs(2))?;
        Ok(Bounds::unnoticed(0))
    })?;

    scene.step(&client, table, "node 1 started again, takes the address back", |_| {
        one = Some(Member::start(first, node1, 100)?);
        client.wait_answer_by("node1", secs(10))?;
        watcher.wait_holder(VIP, "node1", secs(5))?;
        Ok(Bounds::unnoticed(unlucky))
    })?;

    scene.step(&client, table, "cable of node 1 cut", |complaints| {
        node1.cut()?;
        let cut = Instant::now();
        client.wait_answer_by("node2", secs(8))?;
        let last = scene.capture.last_advert("node1", VRID, cut)?;
        let first = scene.capture.wait_advert("node2", VRID, cut, secs(1))?;
        let (took, due) = (first.at - last.at, secs(3) + skew(99));
        note(&format!(
            "from node1's last advert to node2's first: {} ms (3 intervals + skew: {} ms)",
            millis(took),
            millis(due)
        ));
        if took.abs_diff(due) > ms(20) {
            complaints.push(format!("node2 took {} ms instead of {} ms", millis(took), millis(due)));
        }
        watcher.wait_holder(VIP, "node2", secs(2))?;
        let text = format!("{} ms ± 20 ms after the last advert", millis(due));
        Ok(Bounds::silent_for(due + ms(70), text))
    })?;

    scene.step(&client, table, "cable mended, node 1 takes the address back", |_| {
        node1.mend()?;
        client.wait_answer_by("node1", secs(10))?;
        watcher.wait_holder(VIP, "node1", secs(5))?;
        Ok(Bounds::unnoticed(unlucky))
    })?;

    let restart = |complaints: &mut Vec<String>, kill: &dyn Fn() -> Result<()>| {
        let old = node1.haproxy_master();
        let before = Instant::now();
        let mark = one.as_ref().map_or(0, |m| m.log().mark());
        kill()?;
        let started = match &one {
            Some(m) => Some(m.log().wait_from(mark, "] started", secs(5))?.at),
            None => None,
        };
        let answered = client.wait_answer_by("node1", secs(5))?;
        // How long this very HAProxy took from its start to its first answer: what vipd can do nothing about.
        let own = started.map_or(Duration::ZERO, |started| answered.saturating_duration_since(started));
        std::thread::sleep(ms(700)); // longer than restart_grace: would it move, it would by now
        if watcher.timeline(VIP).iter().any(|change| change.at >= before) {
            complaints.push("the address moved".to_owned());
        }
        if node1.haproxy_master() == old {
            complaints.push("HAProxy's master is still the old one".to_owned());
        }
        let bound = own + ms(20);
        let text = format!("at most HAProxy's own start ({} ms) + 20 ms, no move", millis(own));
        let lost = (bound.as_millis() / INTERVAL.as_millis()) as usize + 3;
        Ok(Bounds { silence: bound, syn_retransmits: Some(0), failed: Some(lost), text })
    };
    scene.step(&client, table, "kill -9 of HAProxy on node 1, master and worker", |complaints| {
        restart(complaints, &|| kill_haproxy(node1))
    })?;
    scene.step(&client, table, "kill -9 of HAProxy's worker on node 1", |complaints| {
        restart(complaints, &|| {
            let workers = node1.haproxy_workers();
            let worker = workers.first().ok_or_else(|| Error("no HAProxy worker on node 1".to_owned()))?;
            Ok(kill(Pid::from_raw(*worker), Signal::SIGKILL)?)
        })
    })?;

    let mut occupant = None;
    let mut config = None;
    scene.step(&client, table, "HAProxy on node 1 killed, its port taken by another", |_| {
        let other = Occupant::start(node1, service);
        kill_haproxy(node1)?;
        // Whoever gets the port gets it within milliseconds.
        let deadline = Instant::now() + ms(200);
        while !other.has_it() && Instant::now() < deadline {
            std::thread::sleep(ms(1));
        }
        if other.has_it() {
            note("another program has port 5000 on node1 now");
            occupant = Some(other);
        } else {
            drop(other);
            note("vipd holds the port over HAProxy's death: its configuration is broken instead");
            client.wait_answer_by("node1", secs(2))?;
            config = Some(std::fs::read_to_string(node1.dir().join("haproxy.cfg"))?);
            node1.write("haproxy.cfg", "nonsense\n")?;
            kill_haproxy(node1)?;
        }
        client.wait_answer_by("node2", secs(8))?;
        watcher.wait_holder(VIP, "node2", secs(2))?;
        let bound = ms(500) + skew(99) + ms(50);
        Ok(Bounds::silent_for(bound, format!("at most restart_grace + skew + 50 ms = {} ms", millis(bound))))
    })?;

    scene.step(&client, table, "the port freed, node 1 takes the address back", |_| {
        occupant = None;
        if let Some(text) = &config {
            node1.write("haproxy.cfg", text)?;
        }
        client.wait_answer_by("node1", secs(20))?;
        watcher.wait_holder(VIP, "node1", secs(5))?;
        Ok(Bounds::unnoticed(unlucky))
    })?;
    draw(&client, first_answer, table, first, peer)
}

/// The timeline of all steps so far.
fn draw(client: &Client, begin: Instant, table: &[Row], first: Kind, peer: Kind) -> Result<()> {
    let end = Instant::now();
    let since = |t: Instant| t.saturating_duration_since(begin);
    let silences = client.silences(begin, end, timeline::SHOWN);
    let timeline = Timeline {
        length: end - begin,
        answers: client.answerers(begin, end).into_iter().map(|(at, node, _)| (since(at), node)).collect(),
        silences: silences.into_iter().map(|(at, length)| (since(at), length)).collect(),
        steps: table.iter().map(|row| (since(row.from), row.step.clone())).collect(),
    };
    heading("Who answered when");
    print!("{}", timeline.text());
    let title = format!(
        "{VIP}:5000, a request every {} ms: node1 {}, node2 {}",
        INTERVAL.as_millis(),
        describe(first),
        describe(peer)
    );
    let file =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|d| d.join("target").is_dir());
    let file = file.ok_or_else(|| Error("no target directory".to_owned()))?.join("target/demo.svg");
    std::fs::write(&file, timeline.svg(&title))?;
    println!("   drawn: {}", file.display());
    Ok(())
}

/// Whether a program is in PATH.
fn which(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into()]).any(|dir| dir.join(program).is_file())
}

/// SIGKILL for HAProxy's whole process group.
fn kill_haproxy(node: &Node) -> Result<()> {
    let master = node.haproxy_master().ok_or_else(|| Error(format!("no HAProxy on {}", node.name())))?;
    let group = nix::unistd::getpgid(Some(Pid::from_raw(master)))?;
    ensure!(group.as_raw() == master, "HAProxy on {} is not its own process group", node.name());
    Ok(nix::sys::signal::killpg(group, Signal::SIGKILL)?)
}

/// VRRPv2's skew time.
fn skew(priority: u8) -> Duration {
    secs(1) * (256 - u32::from(priority)) / 256
}

fn millis(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 100.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

fn failures(report: &Report) -> String {
    let kinds: Vec<String> = report.failed.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if kinds.is_empty() { "0".to_owned() } else { kinds.join(", ") }
}

fn heading(text: &str) {
    println!("\n== {text} ==");
}

fn say(text: &str) {
    println!("\n{:8.3} s  {text}", since_start(Instant::now()));
}

fn note(text: &str) {
    live::clear();
    println!("   {text}");
}

fn verdict(complaints: &[String], late: bool) -> String {
    let colour = std::io::stdout().is_terminal();
    let paint =
        |code: &str, text: &str| if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    if late {
        paint("33", "machine late")
    } else if complaints.is_empty() {
        paint("32", "ok")
    } else {
        paint("31", &format!("NOT OK: {}", complaints.join("; ")))
    }
}

fn print_table(table: &[Row]) {
    if table.is_empty() {
        return;
    }
    let width = table.iter().map(|row| row.step.len()).max().unwrap_or(0);
    println!(
        "\n{:width$}  {:>10}  {:>10}  {:>5}  {:>6}  expected",
        "step", "silence", "slowest", "SYN", "failed"
    );
    for Row { step, report, expected, complaints, late, .. } in table {
        let (silence, slowest) = (millis(report.silence), millis(report.slowest));
        let (syn, failed) = (report.syn_retransmits, report.failures());
        println!(
            "{step:width$}  {silence:>7} ms  {slowest:>7} ms  {syn:>5}  {failed:>6}  {expected}  {}",
            verdict(complaints, *late)
        );
    }
    println!("SYN: connections whose SYN had to be sent again, which costs a second.");
}
