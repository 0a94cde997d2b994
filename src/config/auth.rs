//! How adverts are authenticated: `auth_type`, `auth_pass` and `auth_hmac_*`. No secret is ever printed.

use crate::base::secret::wipe;
use std::fmt;

/// Octets of an HMAC key, with its padding: a block of SHA-256.
pub const KEY_LEN: usize = 64;

/// How adverts are authenticated.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    None,
    /// VRRPv2, type 1 (RFC 2338 §5.3.6): eight octets, zero-padded, in clear.
    Pass([u8; 8]),
    /// VRRPv2, type 2: an IP authentication header with HMAC-MD5-96 over this key, zero-padded.
    Ah([u8; 8]),
    /// A trailer with HMAC-SHA256 behind the message (draft-cassen-vrrp-auth-hmac).
    Hmac(Box<Hmac>),
}

/// `auth_hmac_*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hmac {
    /// `auth_hmac_key`: at least one, each id once.
    pub keys: Vec<Key>,
    /// `auth_hmac_active_key`: the id of the key that signs, one of `keys`.
    pub active: u8,
    /// `auth_hmac_time_window`, 1 to 300 s; `None`: `auth_hmac_anti_replay = monotonic`.
    pub time_window: Option<u32>,
    /// `auth_hmac_mode`
    pub mode: HmacMode,
}

impl Hmac {
    /// The key with this id.
    pub fn key(&self, id: u8) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }
}

/// `auth_hmac_mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacMode {
    /// Signs, and takes only what is signed.
    Enforce,
    /// Signs, and takes what is not signed too.
    Permissive,
    /// Does not sign, and takes what is not signed too.
    ReceiveOnly,
}

impl HmacMode {
    /// Every mode's word, in the order of the variants.
    pub const WORDS: &str = "enforce, permissive, receive-only";

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            HmacMode::Enforce => "enforce",
            HmacMode::Permissive => "permissive",
            HmacMode::ReceiveOnly => "receive-only",
        }
    }
}

/// One `auth_hmac_key`; wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// 1 to 255.
    pub id: u8,
    octets: [u8; KEY_LEN],
}

impl Key {
    /// Shortest key, in octets; the longest has [`KEY_LEN`].
    pub const MIN: usize = 32;

    /// From 32 to 64 octets; `None`: not so many.
    pub fn new(id: u8, secret: &[u8]) -> Option<Self> {
        let mut octets = [0; KEY_LEN];
        let place = octets.get_mut(..secret.len()).filter(|place| place.len() >= Key::MIN)?;
        place.copy_from_slice(secret);
        let key = Key { id, octets };
        wipe(&mut octets);
        Some(key)
    }

    /// The key, padded with zeros.
    pub fn octets(&self) -> &[u8; KEY_LEN] {
        &self.octets
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        wipe(&mut self.octets);
    }
}

/// Never prints the password.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Auth::None => f.write_str("None"),
            Auth::Pass(_) => f.write_str("Pass(***)"),
            Auth::Ah(_) => f.write_str("Ah(***)"),
            Auth::Hmac(hmac) => hmac.fmt(f),
        }
    }
}

/// Never prints the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, ***)", self.id)
    }
}
