//! One virtual router as the node sees it: its machine and what surrounds it.

use crate::base::throttle::Throttle;
use crate::base::time::Time;
use crate::config;
use crate::node::router::fence::Lease;
use crate::node::router::quiet::Quiet;
use crate::node::router::refused::Refused;
use crate::node::router::unsent::Unsent;
use crate::node::{Contest, Hold};
use crate::notify::notice::State;
use crate::vrrp::announce::Announcer;
use crate::vrrp::authentication::Authentication;
use crate::vrrp::faults::Faults;
use crate::vrrp::foreign::Foreign;
use crate::vrrp::machine::{Kind, Machine, Master, Params, Why};
use crate::vrrp::stats::Stats;
use crate::wire::vrrp::GROUP_V4;
use crate::wire::vrrp::GROUP_V6;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

/// One virtual router.
#[derive(Clone, Debug)]
pub struct Router {
    /// Its section.
    pub cfg: Rc<config::Vrrp>,
    /// Its state machine.
    pub machine: Machine,
    /// When its addresses are announced.
    pub announcer: Announcer,
    /// Its interface, an index into the node's links.
    pub link: usize,
    /// Adverts that went to nobody.
    pub unsent: Unsent,
    /// Its sync group, an index into the node's groups.
    pub group: Option<usize>,
    /// With `use_vmac` the link of its macvlan.
    pub vmac: Option<usize>,
    /// Its addresses as advertised.
    pub vips: Vec<IpAddr>,
    /// The source of its adverts.
    pub src: Option<IpAddr>,
    /// A hand-over that is under way.
    pub hold: Option<Hold>,
    /// When it was outranked, until the winner has announced or was told.
    pub outranked: Option<Time>,
    /// Why it does not take part.
    pub faults: Faults,
    /// Refusals of all its addresses by the kernel.
    pub refused: Refused,
    /// Its counters.
    pub stats: Stats,
    /// Other masters that were heard while it was master.
    pub foreign: Foreign,
    /// Another host announced one of its VIPs while it held that.
    pub contest: Option<Contest>,
    /// The last accepted advert of a master, in any state, and when; `None` after its priority 0.
    pub last_advert: Option<(Master, Time)>,
    /// When it entered its state, and why.
    pub since: Time,
    /// See `since`.
    pub why: Why,
    /// Not configured any more: it only hands over what it has.
    pub retired: bool,
    /// At the start: whether it may resume as master.
    pub may_resume: bool,
    /// In FAULT for a flap of its interface: it may go on as master until then.
    pub flap_until: Option<Time>,
    /// In FAULT without an address to send from: priority 0 is sent then, unless it is back by then.
    pub resigns_at: Option<Time>,
    /// Became master, and the state file does not say so yet.
    pub state_file_due: bool,
    /// The state that hooks and mail were last told.
    pub notified: Option<State>,
    /// Limits of its log lines.
    pub quiet: Quiet,
    /// Identification of its next IP packet; never 0, which the kernel would replace.
    pub ip_id: u16,
    /// Where its adverts go: the group or each peer.
    pub targets: Vec<Target>,
    /// How its adverts are authenticated.
    pub auth: Authentication,
    /// Its lease in nf_tables.
    pub lease: Lease,
}

/// Where adverts go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The group, or a peer.
    pub to: IpAddr,
    /// Adverts that could not be sent there.
    pub send_errors: u64,
    /// The last time that was reported.
    pub said: Throttle,
}

impl Target {
    /// The group, or the peers.
    pub fn of(cfg: &config::Vrrp) -> Vec<Target> {
        let group = if cfg.is_ipv6() { IpAddr::V6(GROUP_V6) } else { IpAddr::V4(GROUP_V4) };
        let to = if cfg.unicast_peers.is_empty() { &[group][..] } else { &cfg.unicast_peers };
        to.iter().map(|to| Target { to: *to, send_errors: 0, said: Throttle::default() }).collect()
    }
}

impl Router {
    /// In `Init`, with nothing known of its interface.
    pub fn new(cfg: Rc<config::Vrrp>, link: usize, now: Time) -> Self {
        let params = Params {
            version: cfg.version,
            priority: cfg.priority,
            advert_int: cfg.advert_int,
            preempt: cfg.preempt,
            preempt_delay: cfg.preempt_delay,
            down_timer_adverts: cfg.down_timer_adverts,
            own: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            epoch: now,
        };
        Router {
            targets: Target::of(&cfg),
            vips: cfg.vips.iter().map(|v| v.addr).collect(),
            machine: Machine::new(params),
            announcer: Announcer::default(),
            link,
            unsent: Unsent::default(),
            group: None,
            vmac: None,
            src: None,
            hold: None,
            outranked: None,
            faults: Faults::default(),
            refused: Refused::default(),
            stats: Stats::default(),
            foreign: Foreign::default(),
            contest: None,
            last_advert: None,
            since: now,
            why: Why::Started,
            retired: false,
            may_resume: false,
            flap_until: None,
            resigns_at: None,
            state_file_due: false,
            notified: None,
            quiet: Quiet::default(),
            ip_id: 1,
            auth: Authentication::new(&cfg.auth),
            lease: Lease::default(),
            cfg,
        }
    }

    /// Whether it is master.
    pub fn is_master(&self) -> bool {
        self.machine.kind() == Kind::Master
    }

    /// Whether it owns its addresses.
    pub fn is_owner(&self) -> bool {
        self.cfg.priority == 255
    }

    /// Whether its adverts go to each peer and not to the group.
    pub fn is_unicast(&self) -> bool {
        !self.cfg.unicast_peers.is_empty()
    }
}
