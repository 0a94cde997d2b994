//! Counters of one virtual router, by kind.

use crate::vrrp::packet::Discard;

/// The states of a virtual router; metrics have their numbers.
pub const STATES: [&str; 4] = ["INIT", "BACKUP", "MASTER", "FAULT"];

/// Refused packets by reason. Most virtual routers never refuse one: there is room from the first on.
#[derive(Clone, Debug, Default)]
pub struct Discards(Option<Box<[u64; REASONS]>>);

const REASONS: usize = Discard::ALL.len();

impl Discards {
    /// Counts one.
    pub fn count(&mut self, why: Discard) {
        let counts = self.0.get_or_insert_with(|| Box::new([0; REASONS]));
        if let Some(n) = counts.get_mut(why.index()) {
            *n += 1;
        }
    }

    /// Every reason's name and number.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.0.as_deref().copied().unwrap_or([0; REASONS]);
        Discard::ALL.iter().zip(counts).map(|(d, n)| (d.name(), n))
    }
}

/// The struct of all counters and the table of their names, from one list.
macro_rules! counters {
    ($($name:ident: $what:literal,)*) => {
        /// Counters since the start.
        #[derive(Clone, Debug, Default)]
        pub struct Stats {
            $(#[doc = concat!("Since the start. ", $what)] pub $name: u64,)*
            /// Times it entered each of [`STATES`].
            pub transitions: [u64; STATES.len()],
            /// Packets that were refused after it was known that they are for this virtual router.
            pub discards: Discards,
        }

        impl Stats {
            /// Every counter but the refusals, with `name: What it counts.`; without that it is no metric.
            pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                const NAMES: &[&str] = &[$(concat!(stringify!($name), ": ", $what)),*];
                NAMES.iter().copied().zip([$(self.$name),*])
            }
        }
    };
}

counters! {
    adverts_sent: "Adverts sent, priority 0 included.",
    adverts_received: "Adverts accepted, priority 0 included.",
    priority_zero_sent: "Adverts with priority 0 sent.",
    priority_zero_received: "Adverts with priority 0 accepted.",
    send_errors: "Adverts that could not be sent.",
    announcements: "Gratuitous ARPs and neighbour adverts sent.",
    became_master: "",
    stalls: "Times this node fell silent for longer than backups wait.",
    lapses: "Times a lease ended before the next advert.",
    vips_deleted: "Addresses that another program deleted.",
    lower_adverts: "Adverts of lower priority heard as master.",
    foreign_announcements: "Announcements of the addresses by other hosts.",
    list_mismatch: "Adverts with other addresses than those of this node.",
    plain_checksums: "Adverts with a checksum of the message only.",
    first_not_link_local: "Adverts whose first address is not link-local.",
}

impl Stats {
    /// Every counter with its name, refusals by reason behind the rest.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let name = |(text, n): (&'static str, _)| (text.split(':').next().unwrap_or_default(), n);
        self.counters().map(name).chain(self.discards.all())
    }
}
