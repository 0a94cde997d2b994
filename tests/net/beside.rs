//! The fence beside what else hosts do: bridges, address translation, firewalls. All of it works as without.

use super::fence::{fenced, nft};
use super::life::wait_until;
use super::*;

pub const TESTS: &[(&str, Test)] = &[
    ("fence_lets_a_bridge_pass_frames", bridges),
    ("fence_lets_addresses_be_translated", translates),
    ("fence_stands_restarts_of_a_firewall", |w| firewall(w, false)),
    ("fence_stands_restarts_of_a_firewall_without_owner", |w| firewall(w, true)),
    ("fence_and_a_firewall_that_drops_all", drops_all),
    ("fence_beside_tables_of_the_family_arp", arp_tables),
    ("fence_of_unicast_peers_beside_tables_of_the_family_arp", arp_tables_unicast),
];

/// A node behind another one: its port is there instead of in the switch.
fn behind(w: &World, host: &Node, name: &str, cidr: &str) -> Result<Node> {
    let node = w.lan.add(name, cidr)?;
    let dir = host.dir().display().to_string();
    let netns = dir.rsplit('/').take(2).collect::<Vec<_>>();
    ensure!(netns.len() == 2, "{dir}");
    w.lan.switch().ip(&format!("link set {} netns {}-{}", node.port(), netns[1], netns[0]))?;
    Ok(node)
}

/// Loads rules.
fn load(node: &Node, rules: &str) -> Result<()> {
    let file = node.write("rules.nft", rules)?;
    nft(node, &["-f", &file.display().to_string()]).map(drop)
}

fn with_haproxy(node: &Node, r: Router) -> Result<Vipd> {
    let cfg = haproxy_cfg(node, SERVICE)?;
    Vipd::start(node, &patient(&Vipd::ini(node, Some(&cfg), &[r])))
}

/// All requests of a second were answered by that one.
fn all_answered(client: &Client, by: &str) -> Result<()> {
    client.wait_answer_by(by, secs(5))?;
    let from = Instant::now();
    std::thread::sleep(secs(1));
    let report = client.report(from, Instant::now())?;
    println!("{report}");
    ensure!(report.failures() == 0 && report.by.len() == 1 && report.by.contains_key(by), "{report}");
    Ok(())
}

/// A backup is a bridge, and hands frames to netfilter as every Docker host does.
fn bridges(w: &World) -> Result<()> {
    let guest = behind(w, &w.two, "guest", "192.168.30.50/24")?;
    let script = format!(
        "link add br0 type bridge\nlink set br0 up\naddr del 192.168.30.117/24 dev eth0\nlink set eth0 master br0\n\
         link set {0} master br0\nlink set {0} up\naddr add 192.168.30.117/24 dev br0",
        guest.port()
    );
    w.two.ip(&script)?;
    w.two.sysctl("net.bridge.bridge-nf-call-iptables", "1").map_err(|_| Error::missing("br_netfilter"))?;
    let rules = format!(
        "table inet seen {{ chain pre {{ type filter hook prerouting priority -310; ip daddr {VIP} counter; }}; }}"
    );
    load(&w.two, &rules)?;
    let one = with_haproxy(&w.one, fenced(200, "0.2"))?;
    one.wait_log(words::MASTER, ELECTION)?;
    let mut r = fenced(100, "0.2");
    r.interface = "br0".to_owned();
    let two = with_haproxy(&w.two, r)?;
    two.wait_log(words::BACKUP, ELECTION)?;
    two.wait_log(" ready after ", secs(10))?;
    let client = Client::start_with(&guest, SERVICE, ms(10), secs(5))?;
    all_answered(&client, "node1")?;
    let seen = nft(&w.two, &["list", "table", "inet", "seen"])?;
    ensure!(!seen.contains("packets 0 "), "the frames did not pass netfilter: {seen}");
    one.kill();
    client.wait_answer_by("node2", secs(5))?;
    Ok(())
}

/// A published container port, containers that leave with the VIP as their source, local clients, and tables
/// as Docker and firewalld make them.
fn translates(w: &World) -> Result<()> {
    let inner = behind(w, &w.one, "inner", "172.17.0.2/16")?;
    let script = format!(
        "link add docker0 type bridge\nlink set docker0 up\naddr add 172.17.0.1/16 dev docker0\n\
         link set {0} master docker0\nlink set {0} up",
        inner.port()
    );
    w.one.ip(&script)?;
    inner.ip("route add default via 172.17.0.1")?;
    w.one.sysctl("net.ipv4.ip_forward", "1")?;
    let rules = format!(
        "table ip docker {{
            chain prerouting {{ type nat hook prerouting priority dstnat; ip daddr {VIP} tcp dport 8080 dnat to 172.17.0.2:80; }}
            chain output {{ type nat hook output priority -100; ip daddr {VIP} tcp dport 8080 dnat to 172.17.0.2:80; }}
            chain postrouting {{ type nat hook postrouting priority srcnat; ip saddr 172.17.0.0/16 oifname eth0 snat to {VIP}; }}
            chain forward {{ type filter hook forward priority filter; policy drop;
                ct state established,related accept; iifname docker0 accept; oifname docker0 ct status dnat accept; }}
        }}
        table inet firewalld {{
            chain input {{ type filter hook input priority 10; policy drop;
                ct state established,related accept; iifname lo accept; ct state invalid drop;
                ip protocol {{ vrrp, icmp }} accept; tcp dport 5000 accept; tcp dport != 5000 reject; }}
            chain output {{ type filter hook output priority 10; policy accept; oifname lo accept; }}
        }}"
    );
    load(&w.one, &rules)?;
    let one = with_haproxy(&w.one, fenced(200, "0.2"))?;
    one.wait_log(words::MASTER, ELECTION)?;
    let two = with_haproxy(&w.two, fenced(100, "0.2"))?;
    two.wait_log(words::BACKUP, ELECTION)?;
    let _inner = Haproxy::start(&inner, &haproxy_cfg(&inner, ":80")?)?;
    // It answers with the address that it is asked from.
    let server = haproxy_cfg(&w.client, ":7000")?;
    let text = std::fs::read_to_string(&server)?.replace("string \"client\"", "lf-string \"%[src]\"");
    std::fs::write(&server, text)?;
    let _server = Haproxy::start(&w.client, &server)?;
    let client = |from: &Node, to: &str| Client::start_with(from, to, ms(10), secs(5));
    let published = client(&w.client, "192.168.30.230:8080")?;
    let leaving = client(&inner, "192.168.30.10:7000")?;
    for (from, to, by) in [
        (&w.client, SERVICE, "node1"),
        (&w.one, SERVICE, "node1"),
        (&w.one, "192.168.30.230:8080", "inner"),
        (&w.two, SERVICE, "node1"),
        (&inner, SERVICE, "node1"),
    ] {
        println!("{} asks {to}", from.name());
        all_answered(&client(from, to)?, by)?;
    }
    all_answered(&published, "inner")?;
    all_answered(&leaving, VIP)?;
    // And when nobody renews the lease, none of that uses the address any more.
    one.kill();
    one.wait_exit(secs(1))?;
    two.wait_log(words::MASTER, secs(5))?;
    let from = Instant::now();
    std::thread::sleep(secs(1));
    for (name, client) in [("published port", published), ("container", leaving)] {
        let answers = client.answerers(from, Instant::now());
        ensure!(answers.is_empty(), "the {name} goes on: {answers:?}");
    }
    Ok(())
}

/// `systemctl restart nftables` with clients; without an owner, as before Linux 6.9, the tables go each time.
fn firewall(w: &World, without_owner: bool) -> Result<()> {
    if without_owner {
        nft(&w.one, &["add", "table", "inet", "vipd"])?;
        nft(&w.one, &["add", "table", "netdev", "vipd"])?;
    }
    let one = with_haproxy(&w.one, fenced(100, "0.2"))?;
    one.wait_log(words::MASTER, ELECTION)?;
    one.wait_log("held over a crash", secs(10))?;
    let two = Vipd::run(&w.two, None, &[fenced(200, "0.2").no_preempt()])?;
    two.wait_log(words::BACKUP, ELECTION)?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(5))?;
    let prober = Prober::start_tcp(&w.client, &[v4(VIP)], &[&w.two])?;
    std::thread::sleep(ms(200));
    let rules = "flush ruleset
        table inet filter { chain input { type filter hook input priority filter; policy drop;
            ct state established,related accept; iifname lo accept; ip protocol { vrrp, icmp } accept;
            tcp dport 5000 accept; }; }";
    let from = Instant::now();
    let file = w.one.write("nftables.conf", rules)?.display().to_string();
    for round in 1..=5 {
        nft(&w.one, &["-f", &file])?;
        let begin = Instant::now();
        let there = || nft(&w.one, &["list", "tables"]).is_ok_and(|t| t.matches("vipd").count() == 2);
        wait_until("the tables", ms(50), there)?;
        println!("round {round}: the tables are there {:?} after nft has ended", begin.elapsed());
        std::thread::sleep(ms(250));
    }
    let removed = one.log().grep("removed the tables of the leases").len();
    ensure!(removed == if without_owner { 5 } else { 0 }, "removed {removed} times");
    let report = client.report(from, Instant::now())?;
    println!("{report}");
    ensure!(report.failures() == 0, "clients noticed: {report}");
    ensure!(two.log().grep(words::MASTER).is_empty(), "the backup took over");
    // Killed right after one.
    nft(&w.one, &["-f", &file])?;
    wait_until("the tables", ms(50), || {
        nft(&w.one, &["list", "tables"]).is_ok_and(|t| t.matches("vipd").count() == 2)
    })?;
    one.kill();
    two.wait_log(words::MASTER, secs(3))?;
    std::thread::sleep(ms(500));
    let (most, doubly) = prober.answers(from, Instant::now());
    ensure!(most <= 1, "{most} nodes answered, for {doubly:?}");
    Ok(())
}

/// No advert leaves: the backup takes over, and this node lets go, though its kernel would answer by ARP.
fn drops_all(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[fenced(200, "0.2").no_preempt()])?;
    one.wait_log(words::MASTER, ELECTION)?;
    let two = Vipd::run(&w.two, None, &[fenced(100, "0.2").no_preempt()])?;
    two.wait_log(words::BACKUP, ELECTION)?;
    let prober = Prober::start(&w.client, &[v4(VIP)])?;
    std::thread::sleep(ms(200));
    let from = Instant::now();
    load(
        &w.one,
        "flush ruleset
        table inet filter {
            chain input { type filter hook input priority filter; policy drop; }
            chain output { type filter hook output priority filter; policy drop; }
        }",
    )?;
    two.wait_log(words::MASTER, secs(3))?;
    std::thread::sleep(secs(1));
    let (most, doubly) = prober.answers(from, Instant::now());
    let (nobody, _) = prober.nobody(from, Instant::now());
    println!("nobody answered for {nobody:?}");
    ensure!(most <= 1, "{most} nodes answered, for {doubly:?}");
    ensure!(nobody < w.bound(ms(600), from), "nobody answered for {nobody:?}");
    // Deaf, it takes itself for the only one; once it is heard the better one of the two is master.
    nft(&w.one, &["delete", "table", "inet", "filter"])?;
    w.watcher.wait_holder(VIP, "node1", secs(5)).map(drop)
}

const NO_ARP: &str = "
    table arp filter {
        chain input { type filter hook input priority filter; policy drop; }
        chain output { type filter hook output priority filter; policy drop; }
    }";

/// One of vipd's name, and rules for another address, come and go unnoticed. Those that drop everything take
/// the kernel's answers from a node, but neither its lease nor what vipd announces.
fn arp_tables(w: &World) -> Result<()> {
    let one = with_haproxy(&w.one, fenced(200, "0.2").no_preempt())?;
    one.wait_log(words::MASTER, ELECTION)?;
    one.wait_log("held over a crash", secs(10))?;
    let two = with_haproxy(&w.two, fenced(100, "0.2").no_preempt())?;
    two.wait_log(words::BACKUP, ELECTION)?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(5))?;
    let prober = Prober::start_tcp(&w.client, &[v4(VIP)], &[&w.one, &w.two])?;
    std::thread::sleep(ms(200));
    let from = Instant::now();
    for _ in 0..5 {
        load(
            &w.one,
            "table arp vipd { chain output { type filter hook output priority 0; policy accept; }; }
            table arp filter { chain input { type filter hook input priority 0; arp daddr ip 192.0.2.1 drop; }; }",
        )?;
        std::thread::sleep(ms(100));
        nft(&w.one, &["delete", "table", "arp", "vipd"])?;
        nft(&w.one, &["delete", "table", "arp", "filter"])?;
    }
    let (report, (nobody, _)) = (client.report(from, Instant::now())?, prober.nobody(from, Instant::now()));
    ensure!(report.failures() == 0, "clients noticed: {report}");
    ensure!(nobody <= ms(30), "nobody answered for {nobody:?}");
    ensure!(one.log().grep("tables of the leases").is_empty(), "it took that for its own tables");
    load(&w.two, NO_ARP)?;
    let from = Instant::now();
    one.kill_tree();
    two.wait_log(words::MASTER, secs(3))?;
    let announced =
        |s: &Seen| s.node == "node2" && matches!(s.what, What::Arp { sender, .. } if sender == v4(VIP));
    w.capture.wait("the announcement", from, secs(1), announced)?;
    let mark = Instant::now();
    std::thread::sleep(secs(2));
    let adverts = w.capture.all(mark, |s| s.node == "node2" && s.advert(VRID).is_some());
    ensure!(adverts.len() >= 8, "{} adverts in 2 s", adverts.len());
    ensure!(two.log().grep(words::BACKUP).len() == 1, "it did not stay master");
    let tables = nft(&w.two, &["list", "tables"])?;
    ensure!(tables.contains("table arp filter"), "somebody else's table is gone: {tables}");
    nft(&w.two, &["delete", "table", "arp", "filter"])?;
    client.wait_answer_by("node2", secs(3))?;
    let (most, doubly) = prober.answers(from, Instant::now());
    ensure!(most <= 1, "{most} nodes answered, for {doubly:?}");
    Ok(())
}

/// The adverts of a node whose ARP is dropped do not find the other one any more, and nobody finds the node.
fn arp_tables_unicast(w: &World) -> Result<()> {
    let unicast =
        |node: &Node, peer: &Node, priority| fenced(priority, "0.2").no_preempt().unicast(node, &[peer]);
    let one = Vipd::run(&w.one, None, &[unicast(&w.one, &w.two, 200)])?;
    one.wait_log(words::MASTER, ELECTION)?;
    let two = Vipd::run(&w.two, None, &[unicast(&w.two, &w.one, 100)])?;
    two.wait_log(words::BACKUP, ELECTION)?;
    let prober = Prober::start_tcp(&w.client, &[v4(VIP)], &[&w.one, &w.two])?;
    std::thread::sleep(ms(200));
    let from = Instant::now();
    load(&w.one, NO_ARP)?;
    // As if the entries had grown old.
    w.one.ip("neigh flush dev eth0")?;
    two.wait_log(words::MASTER, secs(3))?;
    std::thread::sleep(secs(1));
    let (most, doubly) = prober.answers(from, Instant::now());
    let (nobody, _) = prober.nobody(from, Instant::now());
    println!("nobody answered for {nobody:?}");
    ensure!(most <= 1, "{most} nodes answered, for {doubly:?}");
    nft(&w.one, &["delete", "table", "arp", "filter"])?;
    w.watcher.wait_holder(VIP, "node1", secs(5)).map(drop)
}
