//! How the adverts of one virtual router are authenticated. Sending and receiving know no method; they call
//!
//! - [`Authentication::seal`] builds an advert with everything that its method adds before and behind the
//!   message;
//! - [`Authentication::open`] says whether a received one is genuine;
//! - [`Authentication::must_save`] says when what is remembered of sequences has to be written to a file.
//!
//! A method chooses its carrier: IP protocol 112, or 51 with an authentication header.

pub mod hmac;

use super::packet::{self, AuthFields, Discard, Outgoing, Received};
use super::replay::Replay;
use crate::base::secret::is_equal;
use crate::config::Auth;
use crate::wire::ah::{self, Ah};
use crate::wire::auth_trailer::{self, Pseudo, Sequence, Trailer};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::vrrp::PROTOCOL;
use hmac::Hmac;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// The authentication of one virtual router, with what it remembers.
#[derive(Clone, Debug)]
pub struct Authentication {
    method: Method,
    must_save: bool,
    /// Its file has not been read yet.
    is_new: bool,
}

#[derive(Clone)]
enum Method {
    None,
    Pass([u8; 8]),
    Ah { key: [u8; 8], replay: Replay },
    Hmac(Box<Hmac>),
}

/// Never prints a secret.
impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::None => "None",
            Method::Pass(_) => "Pass",
            Method::Ah { .. } => "Ah",
            Method::Hmac(_) => "Hmac",
        })
    }
}

/// One copy of an advert, beside its message.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    /// Priority; 0: this node resigns.
    pub priority: u8,
    /// IPv4: the identification.
    pub ip_id: u16,
    /// A further copy of the same advert. All copies of an advert have one sequence.
    pub again: bool,
    /// The wall clock: time since 1970 UTC.
    pub wall: Duration,
}

/// A received message with what belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    /// The packet it came in.
    pub packet: &'a Received<'a>,
    /// The message, without what is behind it.
    pub message: &'a [u8],
    /// What version 2 says in it.
    pub fields: AuthFields,
    /// The trailer behind it.
    pub trailer: Option<Trailer<'a>>,
    /// Whether its source is somebody who may send.
    pub source: Result<(), Discard>,
    /// The wall clock: time since 1970 UTC.
    pub wall: Duration,
}

impl Authentication {
    /// A new one, with nothing remembered.
    pub fn new(auth: &Auth) -> Self {
        let method = match auth {
            Auth::None => Method::None,
            Auth::Pass(pass) => Method::Pass(*pass),
            Auth::Ah(key) => Method::Ah { key: *key, replay: Replay::default() },
            Auth::Hmac(cfg) => Method::Hmac(Box::new(Hmac::new((**cfg).clone()))),
        };
        Authentication { method, must_save: false, is_new: true }
    }

    /// Takes a new configuration. What is remembered stays if the method stays the same.
    pub fn reconfigure(&mut self, auth: &Auth) {
        match (&mut self.method, auth) {
            (Method::Ah { key, .. }, Auth::Ah(new)) => *key = *new,
            (Method::Hmac(hmac), Auth::Hmac(cfg)) => hmac.cfg.clone_from(cfg),
            _ => *self = Authentication::new(auth),
        }
    }

    // ---- adverts ----

    /// Builds an advert: over IPv4 the whole packet, over IPv6 what follows the header.
    pub fn seal(&mut self, out: &mut Vec<u8>, o: &Outgoing, copy: &Copy) {
        out.clear();
        let (protocol, more) = match &self.method {
            Method::Ah { .. } => (ah::PROTOCOL, ah::AH_LEN),
            Method::Hmac(hmac) if hmac.signs() => (PROTOCOL, auth_trailer::LEN),
            _ => (PROTOCOL, 0),
        };
        if let (IpAddr::V4(src), IpAddr::V4(dst)) = (o.src, o.dst) {
            ipv4::header(out, src, dst, copy.ip_id, protocol, more.saturating_add(o.message_len()));
        }
        if let Method::Ah { replay, .. } = &mut self.method {
            ah::header(out, if copy.again { replay.last() } else { replay.take_next() });
        }
        let start = out.len();
        packet::encode(out, o, &self.fields(), copy.priority);
        match &mut self.method {
            Method::Ah { key, .. } => ah::seal(out, key),
            Method::Hmac(hmac) if hmac.signs() => {
                let pseudo = Pseudo { version: o.version.number(), vrid: o.vrid, src: o.src };
                hmac.sign(out, start, &pseudo, copy.again, copy.wall);
                // Over IPv6 the kernel of a keepalived makes it, of all that follows the IPv6 header.
                if o.src.is_ipv6() {
                    packet::set_checksum(out.get_mut(start..).unwrap_or_default(), o);
                }
            }
            _ => {}
        }
    }

    /// The authentication fields of a VRRPv2 message.
    pub fn fields(&self) -> AuthFields {
        match self.method {
            Method::None | Method::Hmac(_) => AuthFields::default(),
            Method::Pass(data) => AuthFields { kind: 1, data },
            Method::Ah { .. } => AuthFields { kind: 2, ..AuthFields::default() },
        }
    }

    /// Whether adverts may have a trailer. It is checked before all that it covers.
    pub fn has_trailer(&self) -> bool {
        matches!(self.method, Method::Hmac(_))
    }

    /// Checks that a received message is genuine and that its source may send; returns the first failure. A
    /// genuine message uses up its sequence even if a later check refuses it. The value is by how many
    /// seconds the sender's clock is ahead, if that is near the limit, else 0.
    pub fn open(&mut self, s: &Sealed) -> Result<i32, Discard> {
        let (src, ah) = (s.packet.info.src, &s.packet.ah);
        match (&mut self.method, s.fields.kind, ah) {
            (Method::Hmac(hmac), kind, ah) => {
                let skew = match &s.trailer {
                    None => hmac.unsigned().and(s.source).map(|()| 0)?,
                    Some(trailer) => {
                        s.source?;
                        let preamble = &s.packet.preamble;
                        let pseudo = Pseudo { version: preamble.version.number(), vrid: preamble.vrid, src };
                        let skew = hmac.verify(trailer, &pseudo, s.message, s.wall)?;
                        self.must_save |= hmac.must_save(s.message.get(2) == Some(&0));
                        skew
                    }
                };
                if kind == 0 && ah.is_none() { Ok(skew) } else { Err(Discard::AuthType) }
            }
            _ if s.source.is_err() => s.source.map(|()| 0),
            (Method::None, 0, None) => Ok(0),
            (Method::Pass(want), 1, None) if is_equal(want, &s.fields.data) => Ok(0),
            (Method::Pass(_), 1, None) => Err(Discard::AuthPass),
            (Method::Ah { key, replay }, 2, Some(ah)) => {
                if !ah.verify(key, s.message) {
                    return Err(Discard::AuthIcv);
                }
                if !replay.is_new(src, ah.seq) {
                    return Err(Discard::AuthReplay);
                }
                self.must_save |= replay.accept(src, ah.seq);
                Ok(0)
            }
            _ => Err(Discard::AuthType),
        }
    }

    // ---- the file ----

    /// The kind of its file, which is part of the file's name; `None` if nothing has to be remembered.
    pub fn file(&self) -> Option<&'static str> {
        match self.method {
            Method::Ah { .. } => Some("ah"),
            Method::Hmac(_) => Some("hmac"),
            _ => None,
        }
    }

    /// Call before an advert is sent: after a crash, its sequence must not be used again.
    pub fn reserve(&mut self, wall: Duration) {
        self.must_save |= match &mut self.method {
            Method::Ah { replay, .. } => replay.reserve(),
            Method::Hmac(hmac) => hmac.reserve(wall),
            _ => false,
        };
    }

    /// Whether the file must be written before anything else is done. It then counts as written.
    pub fn must_save(&mut self) -> bool {
        std::mem::take(&mut self.must_save)
    }

    /// The content of the file.
    pub fn render(&self) -> String {
        match &self.method {
            Method::Ah { replay, .. } => replay.render(),
            Method::Hmac(hmac) => hmac.render(),
            _ => String::new(),
        }
    }

    /// Whether [`Authentication::restore`] is still to be called.
    pub fn wants_file(&self) -> bool {
        self.is_new && self.file().is_some()
    }

    /// Takes the content of the file; `None` if there is no file. Invalid content is ignored.
    pub fn restore(&mut self, content: Option<&str>) {
        self.is_new = false;
        match (&mut self.method, content) {
            (Method::Ah { replay, .. }, Some(content)) => {
                if let Some(found) = Replay::parse(content) {
                    *replay = found;
                }
            }
            (Method::Hmac(hmac), Some(content)) => hmac.restore(content).unwrap_or_default(),
            _ => {}
        }
    }

    /// Whether a restarted node may send before it has heard anything: not if it does not know which
    /// sequences are used up.
    pub fn may_resume(&self) -> bool {
        match &self.method {
            Method::Ah { replay, .. } => replay.has_mark(),
            _ => true,
        }
    }

    /// What `auth_hmac` knows; for the status.
    pub fn hmac(&self) -> Option<&Hmac> {
        match &self.method {
            Method::Hmac(hmac) => Some(hmac),
            _ => None,
        }
    }

    /// Whether the wall clock must be right.
    pub fn needs_clock(&self) -> bool {
        self.hmac().is_some_and(|h| h.cfg.time_window.is_some())
    }

    /// The method in one word.
    pub fn word(&self) -> &'static str {
        match self.method {
            Method::None => "none",
            Method::Pass(_) => "pass",
            Method::Ah { .. } => "ah",
            Method::Hmac(_) => "hmac",
        }
    }
}

/// The number that explains why a packet was refused: seconds of the sender's interval in version 2, the id
/// of its key, or by how many seconds its clock is ahead of ours. 0: there is none.
pub fn detail(why: Discard, payload: &[u8], wall: Duration) -> i32 {
    let trailer = payload.last_chunk::<{ auth_trailer::LEN as usize }>().and_then(|t| Trailer::parse(t));
    match (why, trailer) {
        (Discard::Interval, _) => payload.get(5).copied().unwrap_or_default().into(),
        (Discard::HmacUnknownKey, Some(t)) => t.key_id().into(),
        (Discard::HmacStale, Some(t)) => t.sequence().seconds_ahead_of(Sequence::at(wall)),
        _ => 0,
    }
}

/// The IP protocols that adverts come by.
pub const PROTOCOLS: [u8; 2] = [PROTOCOL, ah::PROTOCOL];

/// Takes what stands before the message off an IPv4 packet of one of the [`PROTOCOLS`]. `None`: it is
/// malformed.
pub fn unwrap<'a>(packet: &'a [u8], ip: &Ipv4<'a>) -> Option<(Option<Ah<'a>>, &'a [u8])> {
    if ip.protocol != ah::PROTOCOL {
        return Some((None, ip.payload));
    }
    let (header, message) = Ah::split(packet, ip.payload)?;
    Some((Some(header), message))
}
