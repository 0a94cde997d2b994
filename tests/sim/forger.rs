//! Signed adverts, and an attacker on the LAN who knows everything but the key: what he sends changes nothing
//! but counters. He records adverts and sends them again, unchanged and changed in every way. He does not
//! deliver adverts that the network kept from a machine: a slow network can do that as well.

use crate::mutant::Mutant;
use crate::plan::US;
use crate::rng::Rng;
use crate::shell::{Packet, Proc};
use crate::world::{Ev, World};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use vipd::base::time::Time;
use vipd::config::{Auth, HmacMode};
use vipd::wire::checksum::{ones_complement, pseudo_v4};

/// Octets of an IPv4 header and of a trailer.
const HEADER: usize = 20;
const TRAILER: usize = 28;
/// What a machine heard last is what he can send to it again.
pub const HEARD: usize = 16;
/// All adverts of so long a time that none of those is older.
pub const SENT: usize = 2000;

/// The lines of a signed virtual router.
pub fn lines(rng: &mut Rng) -> String {
    let key = "auth_hmac_key = 1 thirty-two-octets-or-more-of-key-one\nauth_hmac_active_key = 1\n";
    key.to_owned() + rng.pick(&["", "auth_hmac_time_window = 300\n", "auth_hmac_anti_replay = monotonic\n"])
}

impl World {
    /// Time since 1970 on a machine; clocks differ by up to 2 s.
    pub fn wall(&self, h: usize, t: u64) -> Duration {
        Duration::from_nanos(1_800_000_000_000_000_000 + t + self.plan.machines[h].skew)
    }

    /// Behind an advert, now and then.
    pub fn forge(&mut self, t: u64, packet: &Packet) {
        if !self.plan.signed || !self.forger.chance(400) {
            return;
        }
        let to = self.forger.below(self.hosts.len() as u64) as usize;
        let routers = self.plan.routers.len() as u64;
        let longest = self.plan.longest();
        let heard = self.hosts[to].proc.as_ref().map_or(0, |p| p.heard.len());
        let rng = &mut self.forger;
        let mut bytes = packet.bytes.clone();
        match rng.below(6) {
            0 if heard > 0 => {
                let i = rng.below(heard as u64) as usize;
                if let Some(p) = &self.hosts[to].proc {
                    bytes.clone_from(&p.heard[i].bytes);
                }
            }
            // To its sender, too.
            0 => return,
            1 => bytes[22] = rng.pick(&[0, 1, 254, 255]) ^ u8::from(bytes[22] == 255),
            2 => {
                bytes[22] = rng.pick(&[0, 200, 255]);
                bytes.truncate(bytes.len() - TRAILER);
                let len = (bytes.len() as u16).to_be_bytes();
                bytes[2..4].copy_from_slice(&len);
            }
            3 => bytes[15] = 10 + (bytes[15] - 10 + 1 + rng.below(4) as u8) % 6,
            4 => {
                bytes[21] = 51 + ((u64::from(bytes[21]) - 51 + 1 + rng.below(routers)) % (routers + 1)) as u8
            }
            _ => {
                let at = HEADER + rng.below((bytes.len() - HEADER) as u64) as usize;
                bytes[at] ^= 1 << rng.below(8);
            }
        }
        // As it was: to who did not hear it yet, that is no forgery.
        if bytes == packet.bytes && heard == 0 {
            return;
        }
        if bytes != packet.bytes {
            fix(&mut bytes);
        }
        let at = t + self.forger.range(10 * US, 2 * longest);
        self.at(at, Ev::Forged { to, bytes: bytes.into() });
    }

    pub fn forged(&mut self, to: usize, bytes: Rc<[u8]>) {
        let up = self.hosts[to].kernel.up;
        if let Some(p) = self.hosts[to].proc.as_mut().filter(|p| p.open && up) {
            p.forged.push_back(bytes);
            self.nudge(to);
        }
    }

    fn breaks(&self, p: &mut Proc) {
        for r in &mut p.node.routers {
            match (self.mutant, &mut std::rc::Rc::make_mut(&mut r.cfg).auth) {
                (Mutant::Credulous, Auth::Hmac(hmac)) => {
                    hmac.mode = HmacMode::Permissive;
                    r.auth.reconfigure(&r.cfg.auth);
                }
                (Mutant::ForgetsMarks, Auth::Hmac(_)) => r.auth.restore(Some("192.168.30.9 0\n")),
                _ => {}
            }
        }
    }

    /// What somebody without the key sent is read, and moves nothing.
    pub fn read_forged(&mut self, h: usize, p: &mut Proc, now: Time) {
        while let Some(bytes) = p.forged.pop_front() {
            // He may have sent what a process before this one heard.
            let genuine = |packet: &Rc<Packet>| packet.bytes[..] == bytes[..];
            if bytes.len() > HEADER + TRAILER && self.sent.iter().any(genuine) && !p.heard.iter().any(genuine)
            {
                continue;
            }
            let state = |p: &Proc| -> Vec<_> {
                p.node.routers.iter().map(|r| (r.machine.state().clone(), r.stats.adverts_received)).collect()
            };
            let before = state(p);
            self.breaks(p);
            p.node.packet(now, 0, &bytes);
            if state(p) != before {
                self.fail(h, "a forged advert was believed".into());
            }
            self.forgeries += 1;
        }
    }
}

/// A genuine advert was heard, or sent.
pub fn record(all: &mut VecDeque<Rc<Packet>>, most: usize, packet: &Rc<Packet>) {
    all.push_back(packet.clone());
    if all.len() > most {
        all.pop_front();
    }
}

/// A checksum that is right, so that only the signature can tell.
fn fix(bytes: &mut [u8]) {
    let [_, _, _, count, ..] = bytes[HEADER..] else { return };
    let v2 = bytes[HEADER] >> 4 == 2;
    let len = 8 + 4 * usize::from(count) + if v2 { 8 } else { 0 };
    if bytes.len() < HEADER + len {
        return;
    }
    let addr = |at: usize| <[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap_or_default();
    let pseudo = pseudo_v4(addr(12).into(), addr(16).into(), 112, len as u16);
    let message = &mut bytes[HEADER..HEADER + len];
    message[6..8].fill(0);
    let sum = if v2 { ones_complement(&[message]) } else { ones_complement(&[&pseudo, message]) };
    message[6..8].copy_from_slice(&sum.to_be_bytes());
}
