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
    /// Accepted adverts whose address list is not ours.
    pub list_mismatch: u64,
    /// Accepted v3 adverts with the checksum of the message only.
    pub plain_checksums: u64,
    /// Accepted IPv6 adverts whose first address is not link-local.
    pub first_not_link_local: u64,
    /// Packets that were refused after it was known that they are for this virtual router.
    pub discards: Discards,
}

impl Stats {
    /// Every counter with its name, refusals by reason behind the rest.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        [
            ("adverts_sent", self.adverts_sent),
            ("adverts_received", self.adverts_received),
            ("priority_zero_sent", self.priority_zero_sent),
            ("priority_zero_received", self.priority_zero_received),
            ("send_errors", self.send_errors),
            ("announcements", self.announcements),
            ("became_master", self.became_master),
            ("stalls", self.stalls),
            ("vips_deleted", self.vips_deleted),
            ("lower_adverts", self.lower_adverts),
            ("list_mismatch", self.list_mismatch),
            ("plain_checksums", self.plain_checksums),
            ("first_not_link_local", self.first_not_link_local),
        ]
        .into_iter()
        .chain(self.discards.all())
    }
}
