//! Why a packet was refused.

/// The rungs of the receive ladder; the first that a packet fails counts. The order is the order of the
/// checks: cheap ones and those that need no instance first. With `auth_hmac` the trailer is checked right
/// behind the length and the source, and what it covers (destination, type, checksum) later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Discard {
    /// The IP header is short, or its lengths are false.
    IpHeader,
    /// Not sent to the group, or of unicast not to the address that the instance sends from.
    Destination,
    /// TTL or hop limit is not 255: it may come from beyond the link (RFC 9568 §5.1.1.3).
    Ttl,
    /// The authentication header is short, false or not before VRRP, or the IP header has options.
    AuthHeader,
    /// Less than eight octets.
    Short,
    /// A version that nobody knows, or that this group does not speak.
    Version,
    /// Not an advertisement.
    Type,
    /// No virtual router of ours on this interface; normal on a shared LAN.
    Vrid,
    /// No addresses (RFC 9568 erratum 8299).
    CountZero,
    /// Not the length that version and count make.
    Length,
    /// Wrong checksum.
    Checksum,
    /// From our own address: an echo or a forgery.
    OwnSource,
    /// From an address nobody sends from: unspecified, multicast, or a VIP and not its owner.
    BadSource,
    /// Not from one of the configured peers.
    UnknownPeer,
    /// v2: unknown authentication, or not ours.
    AuthType,
    /// v2: wrong password.
    AuthPass,
    /// AH: wrong ICV or SPI: another key, or changed on the way.
    AuthIcv,
    /// AH: a sequence number that is not above the last of the sender: a replay, or a restarted keepalived.
    AuthReplay,
    /// `auth_hmac`: no trailer.
    HmacMissing,
    /// `auth_hmac`: a trailer of another type, or its reserve is not zero.
    HmacMalformed,
    /// `auth_hmac`: further from our clock than the time window.
    HmacStale,
    /// `auth_hmac`: the id of no key that is configured here.
    HmacUnknownKey,
    /// `auth_hmac`: a wrong HMAC: another key with that id, or changed on the way.
    HmacInvalid,
    /// `auth_hmac`: a sequence that is not above the last of the sender.
    HmacReplay,
    /// An interval of zero (RFC 9568 erratum 8301).
    IntervalZero,
    /// v2: not our interval (RFC 3768 §7.1).
    Interval,
}

impl Discard {
    /// All, in the order of the ladder.
    pub const ALL: [Discard; 26] = [
        Discard::IpHeader,
        Discard::Destination,
        Discard::Ttl,
        Discard::AuthHeader,
        Discard::Short,
        Discard::Version,
        Discard::Type,
        Discard::Vrid,
        Discard::CountZero,
        Discard::Length,
        Discard::Checksum,
        Discard::OwnSource,
        Discard::BadSource,
        Discard::UnknownPeer,
        Discard::AuthType,
        Discard::AuthPass,
        Discard::AuthIcv,
        Discard::AuthReplay,
        Discard::HmacMissing,
        Discard::HmacMalformed,
        Discard::HmacStale,
        Discard::HmacUnknownKey,
        Discard::HmacInvalid,
        Discard::HmacReplay,
        Discard::IntervalZero,
        Discard::Interval,
    ];

    /// Its place in [`Discard::ALL`], for an array of counters.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A token for metrics and status.
    pub const fn name(self) -> &'static str {
        match self {
            Discard::IpHeader => "ip_header",
            Discard::Destination => "destination",
            Discard::Ttl => "ttl",
            Discard::AuthHeader => "auth_header",
            Discard::Short => "short",
            Discard::Version => "version",
            Discard::Type => "type",
            Discard::Vrid => "vrid",
            Discard::CountZero => "count_zero",
            Discard::Length => "length",
            Discard::Checksum => "checksum",
            Discard::OwnSource => "own_source",
            Discard::BadSource => "bad_source",
            Discard::UnknownPeer => "unknown_peer",
            Discard::AuthType => "auth_type",
            Discard::AuthPass => "auth_pass",
            Discard::AuthIcv => "auth_icv",
            Discard::AuthReplay => "auth_replay",
            Discard::HmacMissing => "auth_ext_missing",
            Discard::HmacMalformed => "auth_ext_malformed",
            Discard::HmacStale => "auth_ext_stale",
            Discard::HmacUnknownKey => "auth_ext_unknown_key",
            Discard::HmacInvalid => "auth_ext_invalid_hmac",
            Discard::HmacReplay => "auth_ext_replay",
            Discard::IntervalZero => "interval_zero",
            Discard::Interval => "interval",
        }
    }
}
