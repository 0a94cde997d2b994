//! Why a virtual router does not take part in the election.

/// Why a virtual router does not take part: a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults(u32);

impl Faults {
    /// The interface does not exist.
    pub const NO_INTERFACE: Faults = Faults(1);
    /// It is down or has no carrier.
    pub const LINK_DOWN: Faults = Faults(2);
    /// It has no address to send from; of IPv6 that is a link-local one that is not tentative.
    pub const NO_ADDRESS: Faults = Faults(4);
    /// HAProxy does not answer.
    pub const HAPROXY: Faults = Faults(8);
    /// `startup_delay` is not over.
    pub const DELAY: Faults = Faults(16);
    /// The interface's sockets could not be opened.
    pub const SOCKET: Faults = Faults(32);
    /// Priority 255 without the addresses.
    pub const NOT_OWNER: Faults = Faults(64);
    /// HAProxy is being started for the first time: no fault yet.
    pub const STARTING: Faults = Faults(128);
    /// An interface of `track_interface` is down.
    pub const TRACKED_INTERFACE: Faults = Faults(256);
    /// A check of `track` is down.
    pub const CHECK: Faults = Faults(512);
    /// Another member of the sync group cannot take part.
    pub const GROUP: Faults = Faults(1024);
    /// A check of `track` has no result yet: no fault yet.
    pub const CHECKING: Faults = Faults(2048);
    /// The macvlan of its virtual MAC cannot be had.
    pub const VMAC: Faults = Faults(4096);
    /// `mcast_src_ip` or `unicast_src_ip` is not an address of the interface.
    pub const NO_SOURCE: Faults = Faults(8192);
    /// The kernel has refused all its addresses.
    pub const REFUSED: Faults = Faults(16384);
    /// No advert can be sent.
    pub const UNSENT: Faults = Faults(32768);
    /// An interface is a port of a bridge or a bond, and receives nothing itself.
    pub const PORT: Faults = Faults(65536);

    /// Every fault with its words.
    pub const WORDS: [(Faults, &'static str); 17] = [
        (Faults::NO_INTERFACE, "interface does not exist"),
        (Faults::LINK_DOWN, "interface is down"),
        (Faults::PORT, "interface is a port of a bridge or a bond"),
        (Faults::NO_ADDRESS, "interface has no address to send from"),
        (Faults::NO_SOURCE, "mcast_src_ip or unicast_src_ip is not on the interface"),
        (Faults::HAPROXY, "HAProxy is not ready"),
        (Faults::DELAY, "startup_delay"),
        (Faults::STARTING, "waiting for HAProxy"),
        (Faults::SOCKET, "no socket"),
        (Faults::NOT_OWNER, "priority 255 but the address is not on the interface"),
        (Faults::TRACKED_INTERFACE, "a tracked interface is down"),
        (Faults::CHECK, "a tracked check is down"),
        (Faults::GROUP, "another member of the group is in FAULT"),
        (Faults::CHECKING, "waiting for a check"),
        (Faults::VMAC, "the virtual MAC cannot be had"),
        (Faults::REFUSED, "the kernel refuses the addresses"),
        (Faults::UNSENT, "adverts cannot be sent"),
    ];

    /// Adds `f` if `on`.
    pub fn set(&mut self, f: Faults, on: bool) {
        if on {
            self.0 |= f.0;
        }
    }

    /// Whether there is none.
    pub fn none(self) -> bool {
        self.0 == 0
    }

    /// Whether all that is missing is to be expected at a start.
    pub fn is_pending(self) -> bool {
        self.0 & !(Faults::DELAY.0 | Faults::STARTING.0 | Faults::CHECKING.0) == 0
    }

    /// Whether there is nothing but `f`.
    pub fn only(self, f: Faults) -> bool {
        self.0 & !f.0 == 0
    }

    /// All that is in either.
    pub const fn or(self, f: Faults) -> Faults {
        Faults(self.0 | f.0)
    }

    /// Whether `f` is among them.
    pub fn has(self, f: Faults) -> bool {
        self.0 & f.0 != 0
    }
}
