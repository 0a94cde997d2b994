//! The authentication header: anything as one; a sealed packet that is changed; a run of sequence numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;
use std::net::IpAddr;
use vipd::vrrp::demux;
use vipd::vrrp::replay::Replay;
use vipd::wire::ah;
use vipd::wire::ipv4;

fuzz_target!(|data: &[u8]| {
    if let Ok(r) = demux::receive(data)
        && let Some(ah) = r.ah
    {
        assert_eq!(data[9], ah::PROTOCOL);
        let _ = ah.verify(b"1111\0\0\0\0", r.message);
    }
    sequence(data);
    let Some((&[k0, k1, s0, s1, d0, d1, at0, at1, change], message)) = data.split_first_chunk::<9>() else {
        return;
    };
    let message = message.get(..1036).unwrap_or(message);
    let key = [k0, k1, 3, 4, 5, 6, 7, 8];
    let seq = u32::from_be_bytes([s0, s1, d0, d1]);
    let dst = if k0 & 1 == 0 { [224, 0, 0, 18] } else { [10, 0, d0, d1] };
    let mut packet = Vec::new();
    let len = message.len() as u16 + ah::AH_LEN;
    ipv4::header(&mut packet, [10, 0, s0, s1].into(), dst.into(), seq as u16, ah::PROTOCOL, len);
    ah::header(&mut packet, seq);
    packet.extend_from_slice(message);
    ah::seal(&mut packet, &key);
    if let Ok(r) = demux::receive(&packet) {
        let ah = r.ah.unwrap();
        assert_eq!(ah.seq, seq);
        assert_eq!(r.message, message);
        assert!(ah.verify(&key, r.message), "our own seal");
        assert!(!ah.verify(&[k0 ^ 1, k1, 3, 4, 5, 6, 7, 8], r.message), "another key");
    }
    let at = usize::from(u16::from_be_bytes([at0, at1])) % packet.len();
    // Not covered: type of service, fragment field, checksum of the IP header.
    if change == 0 || [1, 6, 7, 10, 11].contains(&at) {
        return;
    }
    packet[at] ^= change;
    if let Ok(r) = demux::receive(&packet)
        && let Some(ah) = r.ah
    {
        assert!(!ah.verify(&key, r.message), "octet {at} changed and not noticed");
    }
});

/// No number of any sender passes twice, what is sent is above everything that passed, and above everything
/// that was sent before a restart.
fn sequence(data: &[u8]) {
    let mut replay = Replay::default();
    let mut seen = HashSet::new();
    let mut file = None;
    let mut sent = 0;
    for chunk in data.chunks_exact(5).take(400) {
        let src = IpAddr::from([10, 0, 0, chunk[0]]);
        let seq = u32::from_be_bytes([chunk[1], chunk[2], chunk[3], chunk[4]]);
        if seq > u32::MAX - 0x2_0000 {
            continue; // the end of the range, behind which numbers begin anew, has tests of its own
        }
        if chunk[0] == 0 {
            if replay.reserve() {
                file = Some(replay.render());
            }
            assert!(file.is_some(), "sent before anything was written");
            sent = replay.take_next();
        } else if replay.is_new(src, seq) {
            assert!(seen.insert((src, seq)), "{seq} of {src} a second time");
            if replay.accept(src, seq) {
                file = Some(replay.render());
            }
            assert!(replay.last() >= seq);
        }
    }
    if let Some(file) = file {
        let mut again = Replay::parse(&file).expect("our own file");
        assert!(again.has_mark());
        again.reserve();
        assert!(again.take_next() > sent, "a number that may have been sent before the restart: {file}");
    }
}
