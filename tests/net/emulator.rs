//! What keepalived 2.4.3 does with `auth_hmac`, as far as adverts go. That version is in no registry, so this
//! stands in for it: written from its wire format, of vipd's code it uses the HMAC itself and nothing else.
//! (Captures of a real one are in `tests/captures.rs`.)

use super::lab::{Advert, checksum};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{SystemTime, UNIX_EPOCH};
use vipd::wire::sha256::hmac;

/// One instance with `auth_hmac`, version 3 over IPv4, mode `enforce`, anti-replay by time.
pub struct Emulator {
    /// Ids and keys.
    pub keys: Vec<(u8, Vec<u8>)>,
    /// Id of the key that signs.
    pub active: u8,
    /// Seconds.
    pub window: i64,
    last: u64,
    marks: HashMap<IpAddr, u64>,
}

/// Seconds, fraction and counter.
fn clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = u64::from(now.subsec_nanos()) * 65536 / 1_000_000_000;
    (now.as_secs() & 0xffff_ffff) << 32 | fraction << 16
}

impl Emulator {
    pub fn new(keys: &[(u8, &[u8])], active: u8) -> Emulator {
        let keys = keys.iter().map(|(id, key)| (*id, key.to_vec())).collect();
        Emulator { keys, active, window: 5, last: 0, marks: HashMap::new() }
    }

    fn mac(&self, id: u8, src: Ipv4Addr, message: &[u8], head: &[u8]) -> Option<[u8; 16]> {
        let (_, key) = self.keys.iter().find(|(known, _)| *known == id)?;
        let mut padded = [0; 64];
        padded[..key.len()].copy_from_slice(key);
        let mut covered = vec![4, message[0] >> 4, message[1], 0];
        covered.extend(src.octets());
        covered.extend([0; 12]);
        covered.extend(&message[..6]);
        covered.extend([0; 2]);
        covered.extend(&message[8..]);
        covered.extend(head);
        covered.extend([0; 16]);
        hmac(&padded, &[&covered])[..16].try_into().ok()
    }

    /// What it sends: message and trailer.
    pub fn advert(&mut self, src: Ipv4Addr, vrid: u8, priority: u8, cs: u16, vip: Ipv4Addr) -> Vec<u8> {
        let mut m = vec![0x31, vrid, priority, 1];
        m.extend(cs.to_be_bytes());
        m.extend([0, 0]);
        m.extend(vip.octets());
        let pseudo = [&src.octets()[..], &[224, 0, 0, 18, 0, 112, 0, m.len() as u8], &m].concat();
        let sum = checksum(&pseudo).to_be_bytes();
        m[6..8].copy_from_slice(&sum);
        self.last = clock().max(self.last + 1);
        let mut head = vec![1, self.active, 0, 0];
        head.extend(self.last.to_be_bytes());
        let mac = self.mac(self.active, src, &m, &head).expect("the active key");
        m.extend(head);
        m.extend(mac);
        m
    }

    /// What it says of an advert, in its words.
    pub fn hear(&mut self, advert: &Advert) -> Result<(), &'static str> {
        let (all, IpAddr::V4(src)) = (&advert.message, advert.src) else { return Err("no IPv4") };
        let length = 8 + 4 * usize::from(all[3]);
        if all.len() == length {
            return Err("missing authentication trailer");
        }
        if all.len() != length + 28 {
            return Err("length");
        }
        if advert.ttl != 255 {
            return Err("ttl");
        }
        let (message, trailer) = all.split_at(length);
        if trailer[0] != 1 || trailer[2..4] != [0, 0] {
            return Err("malformed authentication trailer");
        }
        let seq = trailer[4..12].iter().fold(0u64, |seq, b| seq << 8 | u64::from(*b));
        if ((seq >> 32) as i64 - (clock() >> 32) as i64).abs() > self.window {
            return Err("stale authentication trailer");
        }
        let Some(mac) = self.mac(trailer[1], src, message, &trailer[..12]) else {
            return Err("unknown authentication key id");
        };
        if mac != trailer[12..] {
            return Err("invalid authentication HMAC");
        }
        let mark = self.marks.entry(advert.src).or_default();
        if seq <= *mark {
            return Err("replayed authentication trailer");
        }
        *mark = seq;
        let IpAddr::V4(dst) = advert.dst else { return Err("no IPv4") };
        let pseudo = [&src.octets()[..], &dst.octets(), &[0, 112, 0, length as u8], message].concat();
        if checksum(&pseudo) == 0 { Ok(()) } else { Err("checksum") }
    }
}
