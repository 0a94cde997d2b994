//! Somebody on the LAN who sends as many bad packets as he can.

use super::lan::Node;
use super::{Error, Result, advert, sys};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// The source MAC of every frame: captures leave such frames out, which nobody could store.
pub(super) const MAC: [u8; 6] = [6, 0, 0, 0, 0, 1];
/// Frames in one system call.
const BATCH: usize = 64;

/// What is flooded with: whom it pretends to be and what is known of the virtual router.
pub struct Target<'a> {
    /// Its VRID.
    pub vrid: u8,
    /// Its password.
    pub pass: &'a str,
    /// Its address.
    pub vip: Ipv4Addr,
    /// The address of its backup, to be forged.
    pub backup: Ipv4Addr,
    /// A priority below that of both nodes.
    pub lower: u8,
}

/// Every kind of bad frame by name. `from`: the sender's own address.
pub fn bad_frames(t: &Target, from: Ipv4Addr) -> Vec<(&'static str, Vec<u8>)> {
    let good = |priority| advert(t.vrid, priority, 1, Some(t.pass), &[t.vip]);
    let ip = |ttl, message: &[u8]| frame(from, ttl, message);
    let mut checksum = good(250);
    checksum[6] ^= 0x55;
    let mut version = good(250);
    version[0] = 0x11;
    let mut long = good(250);
    long.extend([0; 400]);
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let garbage: Vec<u8> = (0..60)
        .map(|_| {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (x >> 56) as u8
        })
        .collect();
    let mut of_our_vrid = garbage.clone();
    of_our_vrid[1] = t.vrid;
    let mut ah = vec![112, 4, 0, 0];
    ah.extend(from.octets());
    ah.extend([0xff; 16]); // sequence number and ICV
    ah.extend(good(250));
    vec![
        ("checksum", ip(255, &checksum)),
        ("TTL", ip(64, &good(250))),
        ("VRID", ip(255, &advert(99, 250, 1, None, &[t.vip]))),
        ("short", ip(255, &[0x21, t.vrid, 250])),
        ("version", ip(255, &version)),
        ("length", ip(255, &long)),
        ("password", ip(255, &advert(t.vrid, 250, 1, Some("2222"), &[t.vip]))),
        ("no password", ip(255, &advert(t.vrid, 250, 1, None, &[t.vip]))),
        ("interval", ip(255, &advert(t.vrid, 250, 9, Some(t.pass), &[t.vip]))),
        ("lower priority", ip(255, &good(t.lower))),
        ("priority 0", ip(255, &good(0))),
        ("authentication header", frame_of(from, 255, 51, &ah)),
        ("garbage", ip(255, &garbage)),
        ("garbage of our VRID", ip(255, &of_our_vrid)),
        ("ARP for the VIP", arp(t.vip)),
        ("own source", frame(t.backup, 255, &good(t.lower))),
    ]
}

fn frame(src: Ipv4Addr, ttl: u8, message: &[u8]) -> Vec<u8> {
    frame_of(src, ttl, 112, message)
}

fn frame_of(src: Ipv4Addr, ttl: u8, protocol: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![1, 0, 0x5e, 0, 0, 18];
    frame.extend(MAC);
    frame.extend([0x08, 0x00]);
    frame.extend(super::wire::ipv4_packet(src, GROUP, ttl, protocol, message));
    frame
}

fn arp(vip: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(MAC);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(MAC);
    frame.extend(vip.octets());
    frame.extend([0xff; 6]);
    frame.extend(vip.octets());
    frame
}

/// A flood that is going on.
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<u64>>,
    start: Instant,
}

impl Flood {
    /// Begins to send these frames in turn from `eth0` of the node, `rate` of them a second or as many as it
    /// can.
    pub fn start(node: &Node, frames: Vec<Vec<u8>>, rate: u32) -> Result<Flood> {
        let (fd, index) = node.enter(|| -> Result<_> {
            let index = if_nametoindex("eth0")?;
            Ok((socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?, index))
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let mut sent: u64 = 0;
                let mut next = frames.iter().cycle();
                while !stop.load(Ordering::Relaxed) {
                    let due = start.elapsed().as_nanos() as u64 * u64::from(rate) / 1_000_000_000;
                    if sent >= due {
                        std::thread::sleep(Duration::from_micros(200));
                        continue;
                    }
                    let batch: Vec<&[u8]> = next.by_ref().take(BATCH).map(Vec::as_slice).collect();
                    sent += sys::send_frames(fd.as_fd(), index as i32, &batch)? as u64;
                }
                Ok(sent)
            }
        });
        Ok(Flood { stop, thread, start })
    }

    /// Ends it; how many frames a second it was.
    pub fn stop(self) -> Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.thread.join().map_err(|_| Error("the flood's thread".to_owned()))??;
        Ok(sent as f64 / self.start.elapsed().as_secs_f64())
    }
}
