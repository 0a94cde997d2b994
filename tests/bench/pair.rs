//! Two nodes with HAProxy and one address, and all who look at them: the stage of every scenario.

use super::figures::KINDS;
use super::lab::*;
use super::{SERVICE, VIP, VRID};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Between two requests of the client.
pub const EVERY: Duration = ms(5);

/// A pair of one kind, with node1 the master.
pub struct Pair {
    pub kind: Kind,
    /// advert_int as it is written.
    pub advert_int: &'static str,
    pub lan: Lan,
    pub watcher: Watcher,
    pub capture: Capture,
    pub client: Client,
    pub prober: Prober,
    pub one: Daemon,
    _two: Daemon,
    /// What keeps HAProxy alive beside keepalived.
    _around: Vec<Proc>,
}

impl Pair {
    /// Until node1 serves and node2 is backup.
    pub fn start(kind: Kind, advert_int: &'static str) -> Result<Pair> {
        let lan = Lan::new(&[
            ("node1", "192.168.30.116/24"),
            ("node2", "192.168.30.117/24"),
            ("client", "192.168.30.10/24"),
            ("prober", "192.168.30.11/24"),
        ])?;
        let (watcher, capture) = (Watcher::start(&lan)?, Capture::start(&lan)?);
        let (one, two) = (lan.node("node1"), lan.node("node2"));
        let mut around = Vec::new();
        let daemon = daemon(kind, &one, 100, advert_int, &mut around)?;
        watcher.wait_holder(VIP, "node1", secs(10))?;
        let backup = self::daemon(kind, &two, 99, advert_int, &mut around)?;
        backup.wait_log("Entering BACKUP STATE", secs(8))?;
        let client = Client::start_with(&lan.node("client"), SERVICE, EVERY, secs(5))?;
        client.wait_answer_by("node1", secs(5))?;
        let vip: Ipv4Addr = VIP.parse().map_err(|_| Error(VIP.to_owned()))?;
        let prober = Prober::start_tcp(&lan.node("prober"), &[vip], &[&one, &two])?;
        Ok(Pair {
            kind,
            advert_int,
            lan,
            watcher,
            capture,
            client,
            prober,
            one: daemon,
            _two: backup,
            _around: around,
        })
    }

    /// One of each kind, begun at the same time: what happens to them comes later, one after the other.
    pub fn both(advert_int: &'static str) -> Result<Vec<Pair>> {
        std::thread::scope(|scope| {
            let threads = KINDS.map(|kind| scope.spawn(move || Pair::start(kind, advert_int)));
            threads
                .into_iter()
                .map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    pub fn node(&self) -> Node {
        self.lan.node("node1")
    }

    pub fn interval(&self) -> Duration {
        Duration::from_secs_f64(self.advert_int.parse().unwrap_or(1.0))
    }

    /// node1's daemon once more; HAProxy, where it was not the daemon's, has never stopped.
    pub fn start_again(&mut self) -> Result<()> {
        let node = self.node();
        self.one = match self.kind {
            Kind::Vipd => daemon(self.kind, &node, 100, self.advert_int, &mut Vec::new())?,
            Kind::Keepalived => {
                Daemon::Keepalived(Keepalived::tracking(&node, vec![router(100, self.advert_int)])?)
            }
        };
        Ok(())
    }

    /// The daemon's own processes: keepalived has two, and the parent would start the child again.
    pub fn kill(&self) {
        match self.kind {
            Kind::Vipd => self.one.kill(),
            Kind::Keepalived => self.one.kill_tree(),
        }
    }
}

/// The one router of the pair.
pub fn router(priority: u8, advert_int: &str) -> Router {
    let router = Router::new(VRID, priority, &format!("{VIP}/24")).advert_int(advert_int);
    if advert_int == "1" { router } else { router.v3() }
}

fn daemon(kind: Kind, node: &Node, priority: u8, advert_int: &str, around: &mut Vec<Proc>) -> Result<Daemon> {
    let cfg = haproxy_cfg(node, SERVICE)?;
    match kind {
        Kind::Vipd => {
            let router = router(priority, advert_int).with("lease = auto");
            Ok(Daemon::Vipd(Vipd::run(node, Some(&cfg), &[router])?))
        }
        Kind::Keepalived => {
            around.push(Haproxy::supervised(node, &cfg)?);
            Ok(Daemon::Keepalived(Keepalived::tracking(node, vec![router(priority, advert_int)])?))
        }
    }
}

/// Who held, who answered and what the client saw between two moments.
pub struct Seen {
    pub from: Instant,
    pub to: Instant,
    pub report: Report,
    /// Two nodes answered for the address, by ARP or TCP.
    pub two: Duration,
    /// Nobody answered for the address.
    pub nobody: Duration,
}

impl Seen {
    pub fn of(pair: &Pair, from: Instant) -> Result<Seen> {
        let to = Instant::now();
        let report = pair.client.report(from, to)?;
        let (_, two) = pair.prober.answers(from, to);
        let (nobody, _) = pair.prober.nobody(from, to);
        Ok(Seen { from, to, report, two, nobody })
    }
}
