//! Rules that are broken on purpose, by this harness and not in the product: an invariant that catches none
//! of them would be worth nothing.

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mutant {
    None,
    /// Neither `check_stall` nor `may_advertise` is asked: a process that stood still goes on where it was.
    Sleepwalks,
    /// `keep_valid` is not asked: what was decided before a stall is added after it.
    KeepsInvalid,
    /// Addresses are added without a lifetime.
    Permanent,
    /// Removals are reported as done, and are not.
    DropsRemovals,
    /// The priority of every advert arrives as 255 less it.
    PrioritiesReversed,
    /// HAProxy's answer is made up.
    HaproxyLies,
    /// Timers fire a second early.
    Impatient,
    /// Adverts are lost within the process, some seconds long.
    Deaf,
    /// The state file is ignored.
    ForgetsMastership,
    /// Every start takes itself for a master's.
    RemembersTooMuch,
    /// Timers are acted on before the sockets are read.
    TimersBeforeSockets,
    /// They are, but the clock is read after them.
    LateClock,
    /// Adverts count from a clock that was read before them.
    EarlyClock,
    /// An advert that was refused by the kernel counts as sent.
    BelievesEverySend,
    /// The link seems to go down and up, all the time.
    Restless,
    /// What could not be sent is forgotten at once.
    Untiring,
    /// Nobody preempts.
    Meek,
    /// A hand-over does not end.
    Clings,
    /// The last word of a master that was outranked is said again and again.
    Garrulous,
    /// It is never said.
    Silent,
    /// ppoll returns at once.
    Spins,
    /// Who enforces signatures takes what has none.
    Credulous,
    /// What was heard before is forgotten.
    ForgetsMarks,
    /// A lease in nf_tables is one tick too long.
    TermTooLong,
    /// It is renewed by an advert that did not go out.
    RenewsUnsent,
    /// It is closed when the addresses have been removed, not before.
    ClosesLate,
    /// More is made of what was left of it than that.
    RestTooLong,
    /// What was left of another one is taken for it.
    ForeignRest,
    /// The kernel does not refuse an advert whose lease has ended.
    LetsLateAdvertsPass,
    /// Tables that somebody removed stay away.
    LeavesTablesGone,
}

impl Mutant {
    /// Each with its name and a word of what must catch it.
    pub const ALL: &[(&str, Mutant, &str)] = &[
        ("sleepwalks", Mutant::Sleepwalks, "takes over although"),
        ("keeps-invalid", Mutant::KeepsInvalid, "too late"),
        ("permanent", Mutant::Permanent, "outlived"),
        ("permanent-at-takeover", Mutant::Permanent, "two holders"),
        ("drops-removals", Mutant::DropsRemovals, "still has"),
        ("priorities-reversed", Mutant::PrioritiesReversed, "two masters"),
        ("haproxy-lies", Mutant::HaproxyLies, "without service"),
        ("impatient", Mutant::Impatient, "takes over although"),
        ("deaf", Mutant::Deaf, "takes over although"),
        ("forgets-mastership", Mutant::ForgetsMastership, "does not resume"),
        ("remembers-too-much", Mutant::RemembersTooMuch, "had let go"),
        ("timers-before-sockets", Mutant::TimersBeforeSockets, "takes over although"),
        ("late-clock", Mutant::LateClock, "takes over although"),
        ("early-clock", Mutant::EarlyClock, "takes over although"),
        ("believes-every-send", Mutant::BelievesEverySend, "too late"),
        ("restless", Mutant::Restless, "at rest: "),
        ("untiring", Mutant::Untiring, "flaps"),
        ("meek", Mutant::Meek, "is better"),
        ("clings", Mutant::Clings, "beyond its handover_timeout"),
        ("garrulous", Mutant::Garrulous, "as a backup"),
        ("silent", Mutant::Silent, "client asks node"),
        ("spins", Mutant::Spins, "spins"),
        ("credulous", Mutant::Credulous, "was believed"),
        ("forgets-marks", Mutant::ForgetsMarks, "was believed"),
        ("term-too-long", Mutant::TermTooLong, "outlasts"),
        ("renews-unsent", Mutant::RenewsUnsent, "outlasts"),
        ("closes-late", Mutant::ClosesLate, "still answers"),
        ("rest-too-long", Mutant::RestTooLong, "outlasts"),
        ("foreign-rest", Mutant::ForeignRest, "outlasts"),
        ("lets-late-adverts-pass", Mutant::LetsLateAdvertsPass, "after its lease"),
        ("leaves-tables-gone", Mutant::LeavesTablesGone, "are not back"),
    ];

    pub fn named(name: &str) -> Option<Mutant> {
        Mutant::ALL.iter().find(|(n, ..)| *n == name).map(|(_, m, _)| *m)
    }
}
