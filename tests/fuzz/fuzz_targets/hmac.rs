//! Signed adverts: anything as one; a sealed message that is changed; and adverts of several senders,
//! genuine, forged and recorded, through restarts: none is taken twice, and none that the key did not make.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;
use vipd::config::{Auth, Hmac, HmacMode, Key, Version};
use vipd::vrrp::authentication::{Authentication, Copy, detail};
use vipd::vrrp::packet::{self, Discard, Expect, Outgoing, Received};
use vipd::wire::vrrp::{GROUP_V4, GROUP_V6, IpInfo};

const VIP4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 30, 230));
const VIP6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x230));

fn auth(octet: u8, time_window: Option<u32>, mode: HmacMode) -> Authentication {
    let keys = vec![Key::new(1, &[octet; 32]).unwrap(), Key::new(2, &[octet ^ 1; 64]).unwrap()];
    Authentication::new(&Auth::Hmac(Box::new(Hmac { keys, active: 1, time_window, mode })))
}

/// One virtual router, as a sender and as a receiver.
struct Router {
    version: Version,
    vips: [IpAddr; 1],
    window: Option<u32>,
}

impl Router {
    fn new(how: u8) -> Router {
        let (version, vip) = match how % 3 {
            0 => (Version::V2, VIP4),
            1 => (Version::V3, VIP4),
            _ => (Version::V3, VIP6),
        };
        Router { version, vips: [vip], window: (how & 8 == 0).then_some(5) }
    }

    fn src(&self, n: u8) -> IpAddr {
        match self.vips[0] {
            IpAddr::V4(_) => [192, 168, 30, n].into(),
            IpAddr::V6(_) => [0xfe80, 0, 0, 0, 0, 0, 0, u16::from(n)].into(),
        }
    }

    fn group(&self) -> IpAddr {
        if self.vips[0].is_ipv4() { GROUP_V4.into() } else { GROUP_V6.into() }
    }

    fn seal(&self, sender: &mut Authentication, src: IpAddr, priority: u8, wall: Duration) -> Vec<u8> {
        let o = Outgoing {
            version: self.version,
            vrid: 51,
            interval: Duration::from_secs(1),
            vips: &self.vips,
            src,
            dst: self.group(),
            v3_checksum_as_v2: false,
        };
        let mut out = Vec::new();
        sender.seal(&mut out, &o, &Copy { priority, ip_id: 1, again: false, wall });
        if src.is_ipv4() { out.split_off(20) } else { out }
    }

    fn hear(&self, r: &mut Authentication, src: IpAddr, bytes: &[u8], wall: Duration) -> Result<u8, Discard> {
        let info = IpInfo { src, dst: self.group(), ttl: 255 };
        let preamble = packet::preamble(&info, bytes)?;
        let expect = Expect {
            version: self.version,
            advert_int: Duration::from_secs(1),
            own_addr: None,
            unicast: false,
            vips: &self.vips,
            peers: &[],
        };
        let packet = Received { info, ah: None, message: bytes, preamble };
        packet::decode(&packet, wall, &expect, r).map(|a| a.priority)
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[how, octet, at0, at1, change], rest)) = data.split_first_chunk::<5>() else { return };
    let router = Router::new(how);
    let wall = Duration::new(1_800_000_000, 500_000_000);
    for mode in [HmacMode::Enforce, HmacMode::Permissive, HmacMode::ReceiveOnly] {
        let _ = router.hear(&mut auth(octet, router.window, mode), router.src(1), rest, wall);
        let _ = detail(Discard::HmacStale, rest, wall);
    }
    // A sealed message is taken, and one that was changed anywhere is not.
    let mut sender = auth(octet, router.window, HmacMode::Enforce);
    let good = router.seal(&mut sender, router.src(1), 100, wall);
    let hear = |bytes: &[u8], wall| {
        router.hear(&mut auth(octet, router.window, HmacMode::Enforce), router.src(1), bytes, wall)
    };
    assert_eq!(hear(&good, wall), Ok(100));
    let at = usize::from(u16::from_be_bytes([at0, at1])) % good.len();
    let mut bent = good.clone();
    bent[at] ^= change;
    assert_eq!(hear(&bent, wall).is_ok(), change == 0, "octet {at}");
    story(&router, octet, rest);
});

/// Two senders and a forger; the receiver is now and then started again from its file.
fn story(router: &Router, octet: u8, data: &[u8]) {
    let mut wall = Duration::from_secs(1_800_000_000);
    let mut senders = [(); 2].map(|()| auth(octet, router.window, HmacMode::Enforce));
    let mut receiver = auth(octet, router.window, HmacMode::Enforce);
    let mut recorded: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut taken = HashSet::new();
    for step in data.chunks_exact(4).take(200) {
        let n = step[1] & 1;
        match step[0] % 6 {
            // The clock goes on; it never goes back here.
            0 | 1 => wall += Duration::from_millis(u64::from(step[2]) * 8),
            2 => {
                let sealed = router.seal(&mut senders[usize::from(n)], router.src(10 + n), step[2], wall);
                recorded.push((n, sealed));
            }
            // Delivered, perhaps again, perhaps late.
            3 if !recorded.is_empty() => {
                let i = usize::from(step[2]) % recorded.len();
                let (n, bytes) = &recorded[i];
                if router.hear(&mut receiver, router.src(10 + n), bytes, wall).is_ok() {
                    assert!(taken.insert(i), "advert {i} was taken twice");
                    // Written before it is acted upon, unless the last write was just now.
                    let _ = receiver.must_save();
                }
            }
            4 if !recorded.is_empty() => {
                let (n, bytes) = &recorded[usize::from(step[2]) % recorded.len()];
                let mut forged = bytes.clone();
                let at = usize::from(step[3]) % forged.len();
                forged[at] ^= step[2] | 1;
                assert!(router.hear(&mut receiver, router.src(10 + n), &forged, wall).is_err());
                assert!(router.hear(&mut receiver, router.src(10 + (n ^ 1)), bytes, wall).is_err());
                assert!(
                    router.hear(&mut receiver, router.src(10 + n), &bytes[..bytes.len() - 28], wall).is_err()
                );
            }
            5 => {
                let file = receiver.render();
                receiver = auth(octet, router.window, HmacMode::Enforce);
                receiver.restore(Some(&file));
            }
            _ => {}
        }
    }
}
