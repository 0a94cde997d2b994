//! How the adverts of one virtual router are authenticated. No other module knows the methods:
//!
//! - [`Authentication::seal`] builds an advert with everything that its method adds before and behind the message;
//! - [`Authentication::open`] says whether a received one is genuine;
//! - [`Authentication::must_save`] says when what is remembered of sequences has to be written to a file.
//!
//! A method chooses its carrier: IP protocol 112, or 51 with an authentication header.

use super::packet::{self, AuthFields, Discard, Outgoing, Received};
use super::replay::Replay;
use crate::base::secret::is_equal;
use crate::config::Auth;
use crate::wire::ah::{self, Ah};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::vrrp::PROTOCOL;
use std::fmt;
use std::net::IpAddr;

/// The authentication of one virtual router, with what it remembers.
#[derive(Clone, Debug)]
pub struct Authentication {
    method: Method,
    must_save: bool,
    /// No file was read yet.
    is_new: bool,
}

#[derive(Clone)]
enum Method {
    None,
    Pass([u8; 8]),
    Ah { key: [u8; 8], replay: Replay },
}

/// Never prints a secret.
impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::None => "None",
            Method::Pass(_) => "Pass",
            Method::Ah { .. } => "Ah",
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
    /// It is not the first copy: all copies of an advert have one sequence.
    pub again: bool,
}

impl Authentication {
    /// One that remembers nothing.
    pub fn new(auth: &Auth) -> Self {
        let method = match auth {
            Auth::None => Method::None,
            Auth::Pass(pass) => Method::Pass(*pass),
            Auth::Ah(key) => Method::Ah { key: *key, replay: Replay::default() },
        };
        Authentication { method, must_save: false, is_new: true }
    }

    /// Another configuration: what is remembered stays unless the method is another one.
    pub fn reconfigure(&mut self, auth: &Auth) {
        match (&mut self.method, auth) {
            (Method::Ah { key, .. }, Auth::Ah(new)) => *key = *new,
            _ => *self = Authentication::new(auth),
        }
    }

    // ---- adverts ----

    /// Builds an advert: over IPv4 the whole packet, over IPv6 what follows the header.
    pub fn seal(&mut self, out: &mut Vec<u8>, o: &Outgoing, copy: &Copy) {
        out.clear();
        let (protocol, before) = match self.method {
            Method::Ah { .. } => (ah::PROTOCOL, ah::AH_LEN),
            _ => (PROTOCOL, 0),
        };
        if let (IpAddr::V4(src), IpAddr::V4(dst)) = (o.src, o.dst) {
            ipv4::header(out, src, dst, copy.ip_id, protocol, before.saturating_add(o.message_len()));
        }
        if let Method::Ah { replay, .. } = &mut self.method {
            ah::header(out, if copy.again { replay.last() } else { replay.take_next() });
        }
        packet::encode(out, o, &self.fields(), copy.priority);
        if let Method::Ah { key, .. } = &self.method {
            ah::seal(out, key);
        }
    }

    /// What version 2 says of it in the message.
    pub fn fields(&self) -> AuthFields {
        match self.method {
            Method::None => AuthFields::default(),
            Method::Pass(data) => AuthFields { kind: 1, data },
            Method::Ah { .. } => AuthFields { kind: 2, ..AuthFields::default() },
        }
    }

    /// Whether a received packet is genuine, first failure first. `fields`: what version 2 says in the message. A
    /// genuine one uses up its sequence, whatever else is wrong with it.
    pub fn open(&mut self, packet: &Received, fields: &AuthFields) -> Result<(), Discard> {
        match (&mut self.method, fields.kind, &packet.ah) {
            (Method::None, 0, None) => Ok(()),
            (Method::Pass(want), 1, None) if is_equal(want, &fields.data) => Ok(()),
            (Method::Pass(_), 1, None) => Err(Discard::AuthPass),
            (Method::Ah { key, replay }, 2, Some(ah)) => {
                if !ah.verify(key, packet.message) {
                    return Err(Discard::AuthIcv);
                }
                if !replay.is_new(packet.info.src, ah.seq) {
                    return Err(Discard::AuthReplay);
                }
                self.must_save |= replay.accept(packet.info.src, ah.seq);
                Ok(())
            }
            _ => Err(Discard::AuthType),
        }
    }

    // ---- the file ----

    /// The kind of its file, a part of the file's name; `None`: nothing is to be remembered.
    pub fn file(&self) -> Option<&'static str> {
        matches!(self.method, Method::Ah { .. }).then_some("ah")
    }

    /// Before an advert is sent: sees to it that its sequence cannot be used again after a crash.
    pub fn reserve(&mut self) {
        if let Method::Ah { replay, .. } = &mut self.method {
            self.must_save |= replay.reserve();
        }
    }

    /// Whether the file has to be written, before anything else is done; it counts as written then.
    pub fn must_save(&mut self) -> bool {
        std::mem::take(&mut self.must_save)
    }

    /// The content of the file.
    pub fn render(&self) -> String {
        match &self.method {
            Method::Ah { replay, .. } => replay.render(),
            _ => String::new(),
        }
    }

    /// Whether [`Authentication::restore`] is to be called: it remembers nothing, but there may be a file.
    pub fn wants_file(&self) -> bool {
        self.is_new && self.file().is_some()
    }

    /// Takes up the content of a file; `None`: there is none. What is no such content is ignored.
    pub fn restore(&mut self, content: Option<&str>) {
        self.is_new = false;
        if let Method::Ah { replay, .. } = &mut self.method
            && let Some(found) = content.and_then(Replay::parse)
        {
            *replay = found;
        }
    }

    /// Whether an advert may be sent at the start before anything was heard: not without knowing which sequences are
    /// used up.
    pub fn may_resume(&self) -> bool {
        match &self.method {
            Method::Ah { replay, .. } => replay.has_mark(),
            _ => true,
        }
    }
}

/// The IP protocols that adverts come by.
pub const PROTOCOLS: [u8; 2] = [PROTOCOL, ah::PROTOCOL];

/// Takes what stands before the message off an IPv4 packet of one of the [`PROTOCOLS`]. `None`: it is malformed.
pub fn unwrap<'a>(packet: &'a [u8], ip: &Ipv4<'a>) -> Option<(Option<Ah<'a>>, &'a [u8])> {
    if ip.protocol != ah::PROTOCOL {
        return Some((None, ip.payload));
    }
    let (header, message) = Ah::split(packet, ip.payload)?;
    Some((Some(header), message))
}
