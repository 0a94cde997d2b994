//! Metrics and health over HTTP: real probes, HAProxy, a port that is taken, and clients that behave badly.

use super::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};

pub const TESTS: &[(&str, Test)] = &[
    ("http_serves_probes", probes),
    ("http_serves_haproxy_and_goes_through_it", through_haproxy),
    ("http_on_a_unix_socket", unix),
    ("http_on_a_port_that_is_taken", taken),
    ("http_bears_bad_clients", bad_clients),
    ("http_is_scraped_by_prometheus", prometheus),
];

const AT: &str = "127.0.0.1:9112";

fn ini(node: &Node, http: &str, routers: &[Router]) -> String {
    Vipd::ini(node, None, routers).replacen("[global]\n", &format!("[global]\nhttp = {http}\n"), 1)
}

fn quick(priority: u8) -> Router {
    Router::new(VRID, priority, VIP_LEN).v3().advert_int("0.2")
}

/// Status code and body.
fn curl(node: &Node, args: &[&str]) -> Result<(u16, String)> {
    let mut cmd = Command::new("curl");
    cmd.args(["--silent", "--max-time", "10", "--write-out", "\n%{http_code}"]).args(args);
    let out = node.output(&mut cmd)?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let (body, code) = text.rsplit_once('\n').ok_or_else(|| Error(format!("curl: {out:?}")))?;
    Ok((code.parse().unwrap_or(0), body.to_owned()))
}

fn get(node: &Node, path: &str) -> Result<(u16, String)> {
    curl(node, &[&format!("http://{AT}{path}")])
}

/// Until a page has this status, which it gets soon.
fn wait_code(node: &Node, path: &str, code: u16, timeout: Duration) -> Result<String> {
    let start = Instant::now();
    loop {
        let (got, body) = get(node, path)?;
        if got == code {
            return Ok(body);
        }
        ensure!(start.elapsed() < timeout, "{path}: {got} instead of {code}: {body}");
        std::thread::sleep(ms(20));
    }
}

/// The names of all metrics.
fn names(text: &str) -> Vec<&str> {
    text.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect()
}

fn probes(w: &World) -> Result<()> {
    let bad = w.one.dir().join("bad");
    let check = format!("[check c]\ntype = exec\ntarget = /usr/bin/test ! -e {}\n", bad.display());
    let timing = "interval = 0.1\nfall = 1\nrise = 1\n";
    let one = Vipd::start(&w.one, &(ini(&w.one, AT, &[quick(100).with("track = c")]) + &check + timing))?;
    one.wait_log("http: listening on 127.0.0.1:9112", secs(5))?;
    let body = wait_code(&w.one, "/ready", 200, secs(10))?;
    ensure!(body.starts_with("OK: "), "{body}");
    w.node1_is_master()?;
    let url = |path: &str| format!("http://{AT}{path}");
    for (args, code) in [
        (vec![url("/health")], 200),
        (vec!["--http1.0".into(), url("/metrics")], 200),
        (vec!["--head".into(), url("/ready")], 200),
        (vec![url("/ready?verbose")], 200),
        (vec![url("/")], 404),
        (vec!["--data".into(), "x=y".into(), url("/health")], 405),
        (vec!["--request".into(), "OPTIONS".into(), url("/health")], 405),
        (vec!["--header".into(), format!("X: {}", "x".repeat(5000)), url("/health")], 400),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (got, body) = curl(&w.one, &args)?;
        ensure!(got == code, "{args:?}: {got} instead of {code}: {body}");
    }
    let (_, metrics) = get(&w.one, "/metrics")?;
    let printed = one.cli(&["status", "--metrics"])?;
    let printed = String::from_utf8_lossy(&printed.stdout);
    ensure!(names(&metrics) == names(&printed) && names(&printed).len() > 30, "{metrics}\n{printed}");
    std::fs::write(&bad, "")?;
    let body = wait_code(&w.one, "/health", 503, secs(10))?;
    ensure!(body.starts_with("FAULT: ") && body.contains("a tracked check is down"), "{body}");
    ensure!(get(&w.one, "/ready")?.0 == 503 && get(&w.one, "/metrics")?.0 == 200, "in FAULT");
    std::fs::remove_file(&bad)?;
    wait_code(&w.one, "/health", 200, secs(10))?;
    Ok(())
}

/// As a backend of the HAProxy that vipd supervises, with `option httpchk`.
fn through_haproxy(w: &World) -> Result<()> {
    let cfg = w.one.write(
        "haproxy.cfg",
        &format!(
            "defaults\n    mode http\n    timeout connect 1s\n    timeout client 5s\n    timeout server 5s\n\
             frontend app\n    bind {SERVICE}\n    default_backend vipd\n\
             backend vipd\n    option httpchk GET /ready\n    server vipd {AT} check inter 100ms\n\
             backend old\n    option httpchk\n    http-check expect status 405\n    \
             server vipd {AT} check inter 100ms\n"
        ),
    )?;
    let ini = ini(&w.one, AT, &[quick(100)]);
    let haproxy = format!("[haproxy]\nbinary = {}\nconfig = {}\n", haproxy_path(), cfg.display());
    let one = Vipd::start(&w.one, &(ini + &haproxy))?;
    w.node1_is_master()?;
    let start = Instant::now();
    loop {
        let (code, body) = curl(&w.client, &[&format!("http://{SERVICE}/health")])?;
        if code == 200 {
            ensure!(body.starts_with("OK: "), "{body}");
            break;
        }
        ensure!(start.elapsed() < secs(10), "{code}: {body}");
        std::thread::sleep(ms(50));
    }
    let (code, body) = curl(&w.client, &[&format!("http://{SERVICE}/metrics")])?;
    ensure!(code == 200 && body.contains("\nvipd_haproxy_up 1\n"), "{code}: {body}");
    // vipd was asked before it was ready, too; what HAProxy asks by itself is refused, which is an answer.
    ensure!(one.log().grep("Server vipd/vipd is UP").len() == 1, "HAProxy found vipd ready");
    ensure!(one.log().grep("Server old/vipd is DOWN").is_empty(), "OPTIONS is answered");
    Ok(())
}

fn unix(w: &World) -> Result<()> {
    let dir = w.one.dir().join("http");
    let path = dir.join("socket");
    let at = format!("unix:{} mode 666 group nogroup", path.display());
    let ini = ini(&w.one, &at, &[quick(100)]);
    let get = || curl(&w.one, &["--unix-socket", &path.display().to_string(), "http://localhost/ready"]);
    let one = Vipd::start(&w.one, &ini)?;
    one.wait_log("http: listening on unix:", secs(5))?;
    let meta = path.metadata()?;
    let group = std::fs::read_to_string("/etc/group")?;
    let gid = group.lines().find_map(|l| l.strip_prefix("nogroup:")?.split(':').nth(1)?.parse().ok());
    ensure!(meta.permissions().mode() & 0o777 == 0o666 && Some(meta.gid()) == gid, "{meta:?}");
    ensure!(dir.metadata()?.permissions().mode() & 0o777 == 0o755, "others may enter its directory");
    // What a killed vipd leaves is replaced.
    one.kill();
    one.wait_exit(secs(5))?;
    ensure!(path.exists(), "left over");
    let one = Vipd::start(&w.one, &ini)?;
    one.wait_log("http: listening on unix:", secs(5))?;
    w.node1_is_master()?;
    ensure!(get()?.0 == 200, "ready");
    one.terminate();
    ensure!(one.wait_exit(secs(10))?.success() && !path.exists(), "removed at the end");
    // Somebody else's is not.
    let other = UnixListener::bind(&path)?;
    let one = Vipd::start(&w.one, &ini)?;
    one.wait_log("http: cannot listen on unix:", secs(5))?;
    w.node1_is_master()?;
    other.set_nonblocking(true)?;
    ensure!(path.exists() && other.accept().is_ok(), "asked, and left alone");
    Ok(())
}

fn taken(w: &World) -> Result<()> {
    let occupant = w.one.enter(|| TcpListener::bind(AT))?;
    let ini = ini(&w.one, AT, &[quick(100)]);
    let one = Vipd::start(&w.one, &ini)?;
    let said = "http: cannot listen on 127.0.0.1:9112: Address in use";
    one.wait_log(said, secs(5))?;
    // The address service does not depend on it.
    w.node1_is_master()?;
    let status = one.cli(&["status"])?;
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    ensure!(status.contains("HTTP  cannot listen on 127.0.0.1:9112: Address in use"), "{status}");
    drop(occupant);
    one.wait_log("http: listening on 127.0.0.1:9112", secs(15))?;
    ensure!(one.log().grep(said).len() == 1, "said once");
    ensure!(get(&w.one, "/ready")?.0 == 200, "ready");
    // A reload moves it, ends it, and begins it again.
    for (http, code, text) in [
        ("http = 127.0.0.1:9113\n", 0, "http 127.0.0.1:9112 -> 127.0.0.1:9113"),
        ("", 0, "http 127.0.0.1:9113 -> not set"),
        ("http = 127.0.0.1:9112\n", 200, "http not set -> 127.0.0.1:9112"),
    ] {
        std::fs::write(one.ini_path(), ini.replacen(&format!("http = {AT}\n"), http, 1))?;
        let out = one.cli(&["reload"])?;
        let said = String::from_utf8_lossy(&out.stdout);
        ensure!(out.status.success() && said.contains(text), "no {text}: {said}");
        let got = get(&w.one, "/ready")?.0;
        ensure!(got == code, "{got} instead of {code} after {said}");
    }
    let occupant = w.one.enter(|| TcpListener::bind("127.0.0.1:9114"))?;
    std::fs::write(one.ini_path(), ini.replacen(AT, "127.0.0.1:9114", 1))?;
    let out = one.cli(&["reload"])?;
    let said = String::from_utf8_lossy(&out.stdout);
    ensure!(
        out.status.success() && said.contains("warning: http: cannot listen on 127.0.0.1:9114"),
        "{said}"
    );
    drop(occupant);
    one.wait_log("http: listening on 127.0.0.1:9114", secs(15))?;
    Ok(())
}

/// Memory in KiB that is the process's own.
fn anonymous(pid: i32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().map_err(|_| Error(format!("no RssAnon: {line}")))
}

/// A connection that says this and then waits.
fn connection(w: &World, said: &[u8]) -> Result<TcpStream> {
    let mut stream = w.one.enter(|| TcpStream::connect(AT))?;
    stream.set_read_timeout(Some(secs(10)))?;
    // The other side may have hung up already.
    let _ = stream.write_all(said);
    Ok(stream)
}

fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    text
}

fn bad_clients(w: &World) -> Result<()> {
    let one = Vipd::start(&w.one, &ini(&w.one, AT, &[quick(100)]))?;
    w.node1_is_master()?;
    // Not before: two that start together may both have heard nobody.
    let two = Vipd::run(&w.two, None, &[quick(99)])?;
    two.wait_log(words::BACKUP, secs(5))?;
    wait_code(&w.one, "/ready", 200, secs(10))?;
    let (before, start) = (anonymous(one.pid())?, Instant::now());
    // Slow ones, of whom only the last ones stay, and not for long.
    let slow: Vec<TcpStream> = (0..20).map(|_| connection(w, b"GET /metrics HT")).collect::<Result<_>>()?;
    wait_code(&w.one, "/ready", 200, secs(10))?;
    // Two requests at once: one answer, and the end.
    let text = rest(&connection(w, b"GET /ready HTTP/1.1\r\n\r\nGET /ready HTTP/1.1\r\n\r\n")?);
    ensure!(text.windows(8).filter(|w| w == b"HTTP/1.1").count() == 1, "{}", String::from_utf8_lossy(&text));
    // Half closed: it is answered all the same.
    let half = connection(w, b"GET /health HTTP/1.0\r\n\r\n")?;
    half.shutdown(Shutdown::Write)?;
    ensure!(rest(&half).starts_with(b"HTTP/1.1 200 "), "half closed");
    // A head without end, and a body without end.
    for said in
        [vec![b'x'; 1 << 20], [b"POST /ready HTTP/1.1\r\n\r\n".to_vec(), vec![b'x'; 1 << 20]].concat()]
    {
        let stream = connection(w, &said)?;
        let _ = rest(&stream);
    }
    // Those that never read: more answers than a socket has room for.
    let deaf: Vec<TcpStream> =
        (0..20).map(|_| connection(w, b"GET /metrics HTTP/1.1\r\n\r\n")).collect::<Result<_>>()?;
    // Resets, before and after the request.
    for said in
        [&b""[..], b"GET /ready HTTP/1.1\r\n", b"GET /metrics HTTP/1.1\r\n\r\n"].into_iter().cycle().take(90)
    {
        let stream = connection(w, said)?;
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger)
            .map_err(|e| Error(format!("SO_LINGER: {e}")))?;
    }
    // More than the queue of the kernel holds.
    let at = AT.parse().map_err(|_| Error("no address".into()))?;
    let connect = |_| TcpStream::connect_timeout(&at, ms(1)).ok();
    let crowd: Vec<TcpStream> = w.one.enter(|| (0..10_000).filter_map(connect).collect());
    ensure!(crowd.len() > 100, "only {} connected", crowd.len());
    drop((slow, deaf, crowd));
    wait_code(&w.one, "/ready", 200, secs(60))?;
    let after = anonymous(one.pid())?;
    ensure!(after < before + 1024, "{before} KiB before, {after} KiB after");
    // Nobody took over meanwhile.
    ensure!(two.log().grep(words::MASTER).is_empty(), "the backup took over");
    w.watcher.no_overlap(VIP, Duration::ZERO)?;
    println!("{before} KiB, then {after} KiB, in {:?}", start.elapsed());
    Ok(())
}

fn promtool(args: &[&str], input: &str) -> Result<Output> {
    let (stdin, mut writer) = std::io::pipe()?;
    let mut cmd = Command::new("promtool");
    cmd.args(args).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = match cmd.spawn() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(Error::missing("prometheus")),
        child => child?,
    };
    writer.write_all(input.as_bytes())?;
    drop((writer, cmd));
    Ok(child.wait_with_output()?)
}

/// What a query has for answer, as the JSON that it is.
fn query(node: &Node, text: &str) -> Result<String> {
    Ok(curl(
        node,
        &["--get", "--data-urlencode", &format!("query={text}"), "http://127.0.0.1:9090/api/v1/query"],
    )?
    .1)
}

/// promtool finds nothing wrong with metrics and alerts; a real Prometheus scrapes a pair, and alerts fire.
fn prometheus(w: &World) -> Result<()> {
    let share = concat!(env!("CARGO_MANIFEST_DIR"), "/rootfs/usr/share/vipd");
    let alerts = format!("{share}/alerts.yml");
    let out = promtool(&["check", "rules", &alerts], "")?;
    ensure!(out.status.success(), "alerts.yml: {out:?}");
    for name in ["master", "backup", "fault", "hmac", "hmac-stale", "start", "rare"] {
        let file = format!("{}/tests/data/status/{name}.prom", env!("CARGO_MANIFEST_DIR"));
        let out = promtool(&["check", "metrics"], &std::fs::read_to_string(file)?)?;
        ensure!(out.status.success() && out.stderr.is_empty(), "{name}.prom: {out:?}");
    }
    let (at1, at2) = (format!("{}:9112", w.one.addr()), format!("{}:9112", w.two.addr()));
    let _one = Vipd::start(&w.one, &ini(&w.one, &at1, &[quick(100)]))?;
    w.node1_is_master()?;
    let two = Vipd::start(&w.two, &ini(&w.two, &at2, &[quick(99)]))?;
    two.wait_log(words::BACKUP, secs(5))?;
    let config = w.client.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}\nrule_files: [{alerts}]\n\
             scrape_configs:\n- job_name: vipd\n  static_configs: [{{targets: ['{at1}', '{at2}']}}]\n"
        ),
    )?;
    let mut cmd = Command::new("prometheus");
    cmd.arg(format!("--config.file={}", config.display()));
    cmd.arg(format!("--storage.tsdb.path={}/data", w.client.dir().display()));
    cmd.arg("--web.listen-address=127.0.0.1:9090");
    let prometheus = Proc::start(&w.client, "prometheus", cmd)?;
    prometheus.wait_log("Server is ready to receive web requests", secs(30))?;
    let wait = |text: &str, found: &str| -> Result<()> {
        let start = Instant::now();
        loop {
            let answer = query(&w.client, text)?;
            if answer.contains(found) {
                return Ok(());
            }
            ensure!(start.elapsed() < secs(30), "{text}: no {found} in {answer}");
            std::thread::sleep(ms(100));
        }
    };
    wait("count(up == 1)", "\"2\"]")?;
    wait("sum(vipd_vrrp_state)", "\"3\"]")?;
    // Every series has arrived with its type and help.
    let (_, metadata) = curl(&w.client, &["http://127.0.0.1:9090/api/v1/metadata"])?;
    let (_, metrics) = curl(&w.client, &[&format!("http://{at1}/metrics")])?;
    for name in names(&metrics).iter().filter_map(|l| l.split(' ').next()) {
        ensure!(metadata.contains(&format!("\"{name}\"")), "no {name} in {metadata}");
    }
    // Each query of the dashboard, with what Grafana puts in, has an answer; those of virtual routers have a
    // value of both nodes. There is no HAProxy and no check here.
    let dashboard = std::fs::read_to_string(format!("{share}/dashboard.json"))?;
    let queries: Vec<&str> = dashboard
        .lines()
        .filter_map(|l| l.trim().strip_prefix("\"expr\": \"")?.strip_suffix("\","))
        .collect();
    ensure!(queries.len() >= 15, "{queries:?}");
    for text in queries {
        let text = text.replace("\\\"", "\"").replace("$job", "vipd").replace("$instance", ".*");
        let text = text.replace("$__rate_interval", "1m");
        if ["vipd_haproxy", "vipd_check_up", "discarded"].iter().any(|name| text.contains(name)) {
            let answer = query(&w.client, &text)?;
            ensure!(answer.starts_with("{\"status\":\"success\""), "{text}: {answer}");
        } else {
            wait(&format!("count(count by (instance) ({text}))"), "\"2\"]")?;
        }
    }
    // The second node stops: nobody is ready to take over.
    two.terminate();
    two.wait_exit(secs(10))?;
    wait("ALERTS{alertname=\"VipdNoBackup\"}", "VI_51")?;
    wait("ALERTS{alertname=\"VipdDown\"}", &at2)
}
