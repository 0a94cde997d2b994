//! Counters of one virtual router, by kind.

use crate::vrrp::packet::Discard;

/// Refused packets by reason.
#[derive(Clone, Debug, Default)]
pub struct Discards([u64; Discard::ALL.len()]);

impl Discards {
    /// Counts one.
    pub fn count(&mut self, why: Discard) {
        if let Some(n) = self.0.get_mut(why.index()) {
            *n += 1;
        }
    }

    /// Every reason's name and number.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Discard::ALL.iter().zip(self.0).map(|(d, n)| (d.name(), n))
    }
}

/// Counters since the start.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Adverts sent, priority 0 included.
    pub adverts_sent: u64,
    /// Adverts accepted, priority 0 included.
    pub adverts_received: u64,
    /// Priority 0 sent.
    pub priority_zero_sent: u64,
    /// Priority 0 received.
    pub priority_zero_received: u64,
    /// Adverts that could not be sent.
    pub send_errors: u64,
    /// Gratuitous ARPs sent.
    pub announcements: u64,
    /// Times it became master.
    pub became_master: u64,
    /// Times it fell silent for longer than the backups wait.
    pub stalls: u64,
    /// VIPs that somebody else deleted.
    pub vips_deleted: u64,
    /// Lower-priority adverts heard as master: seconds with two masters begin with one.
    pub lower_adverts: u64,
    /// Announcements of its VIPs by another host while it held them as master.
    pub foreign_announcements: u64,
    /// Accepted adverts whose address list is not ours.
    pub list_mismatch: u64,
    /// Accepted v3 adverts with the checksum of the message only.
    pub plain_checksums: u64,
    /// Accepted Adverts whose first address is not link-local.
    pub first_not_link_local: u64,
    /// Packets that were refused after it was known that they are for this virtual router.
    pub discards: Discards,
}

impl Stats {
    /// Every counter with its name, refusals by reason behind the rest.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let name = |(text, n): (&'static str, _)| (text.split(':').next().unwrap_or_default(), n);
        self.counters().map(name).chain(self.discards.all())
    }

    /// Every counter but the refusals, with `name: What it counts.`.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        NAMES.lines().zip([
            self.adverts_sent,
            self.adverts_received,
            self.priority_zero_sent,
            self.priority_zero_received,
            self.send_errors,
            self.announcements,
            self.became_master,
            self.stalls,
            self.vips_deleted,
            self.lower_adverts,
            self.foreign_announcements,
            self.list_mismatch,
            self.plain_checksums,
            self.first_not_link_local,
        ])
    }
}

/// Of `counters`, in its order.
const NAMES: &str = "\
adverts_sent: Adverts sent, priority 0 included.
adverts_received: Adverts accepted, priority 0 included.
priority_zero_sent: Adverts with priority 0 sent.
priority_zero_received: Adverts with priority 0 accepted.
send_errors: Adverts that could not be sent.
announcements: Gratuitous ARPs and neighbour adverts sent.
became_master: Times it became master.
stalls: Times it was silent for too long.
vips_deleted: Addresses deleted by somebody else.
lower_adverts: Adverts of lower priority heard as master.
foreign_announcements: Announcements of its addresses by others.
list_mismatch: Adverts with other addresses than ours.
plain_checksums: Adverts with a checksum of the message only.
first_not_link_local: Adverts whose first address is not link-local.
";
