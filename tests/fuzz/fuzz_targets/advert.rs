//! Adverts as they come, and as somebody who knows the format makes them: what is accepted is encoded to the
//! same octets again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;
use std::time::Duration;
use vipd::config::{Auth, Version};
use vipd::vrrp::authentication::Authentication;
use vipd::vrrp::demux;
use vipd::vrrp::packet::{self, Advert, Expect, Outgoing, Received};
use vipd::wire::checksum::ones_complement;
use vipd::wire::vrrp::GROUP_V4;
use vipd::wire::vrrp::GROUP_V6;
use vipd::wire::vrrp::IpInfo;

fuzz_target!(|data: &[u8]| {
    let Some((&how, data)) = data.split_first() else { return };
    if how & 1 == 0 {
        if let Ok(r) = demux::receive(data) {
            try_all(&r.info, r.message);
        }
        return;
    }
    // Beyond the rungs that take a search through 2^n to get past.
    let (src, dst, message): (IpAddr, IpAddr, &[u8]) = match how & 2 {
        0 => match data.split_first_chunk::<4>() {
            Some((src, message)) => ((*src).into(), GROUP_V4.into(), message),
            None => return,
        },
        _ => match data.split_first_chunk::<16>() {
            Some((src, message)) => ((*src).into(), GROUP_V6.into(), message),
            None => return,
        },
    };
    let mut message = message.to_vec();
    if how & 4 != 0 && message.len() >= 8 {
        message[6..8].fill(0);
        let pseudo: Vec<u8> = match (src, dst) {
            (IpAddr::V4(s), IpAddr::V4(d)) if how & 8 != 0 => {
                vipd::wire::checksum::pseudo_v4(s, d, vipd::wire::vrrp::PROTOCOL, message.len() as u16)
                    .to_vec()
            }
            (IpAddr::V6(s), IpAddr::V6(d)) => {
                vipd::wire::checksum::pseudo_v6(s, d, vipd::wire::vrrp::PROTOCOL, message.len() as u32)
                    .to_vec()
            }
            _ => Vec::new(),
        };
        let sum = ones_complement(&[&pseudo, &message]).to_be_bytes();
        message[6..8].copy_from_slice(&sum);
    }
    try_all(&IpInfo { src, dst, ttl: 255 }, &message);
});

fn try_all(carrier: &IpInfo, message: &[u8]) {
    let pass = Auth::Pass(*b"1111\0\0\0\0");
    for (version, auth) in [(Version::V2, &Auth::None), (Version::V2, &pass), (Version::V3, &Auth::None)] {
        let expect = Expect {
            version,
            advert_int: Duration::from_secs(1),
            own_addr: Some([192, 168, 30, 117].into()),
            unicast: false,
            vips: &[[192, 168, 30, 230].into()],
            peers: &[],
        };
        let mut auth = Authentication::new(auth);
        let Ok(preamble) = packet::preamble(carrier, message) else { return };
        let r = Received { info: *carrier, ah: None, message, preamble };
        if let Ok(advert) = packet::decode(&r, Duration::ZERO, &expect, &mut auth) {
            again(&r, &expect, &advert, &mut auth);
        }
    }
}

fn again(r: &Received, expect: &Expect, advert: &Advert, auth: &mut Authentication) {
    let (carrier, message) = (&r.info, r.message);
    let width = if carrier.src.is_ipv4() { 4 } else { 16 };
    let (list, trailer) = message[8..].split_at(usize::from(message[3]) * width);
    let vips: Vec<IpAddr> = list
        .chunks_exact(width)
        .map(|octets| match octets.try_into() {
            Ok(v4) => <[u8; 4]>::into(v4),
            Err(_) => <[u8; 16]>::try_from(octets).unwrap().into(),
        })
        .collect();
    let outgoing = Outgoing {
        version: expect.version,
        vrid: advert.vrid,
        interval: advert.interval,
        vips: &vips,
        src: carrier.src,
        dst: carrier.dst,
        v3_checksum_as_v2: advert.notes.checksum_without_pseudo_header,
    };
    let mut out = Vec::new();
    packet::encode(&mut out, &outgoing, &auth.fields(), advert.priority);
    assert_eq!(out.len(), usize::from(outgoing.message_len()));
    assert_eq!(packet::decode(&Received { message: &out, ..*r }, Duration::ZERO, expect, auth), Ok(*advert));
    // What is not looked at: the reserve of v3, the authentication data where there is none. And of the two
    // zeros of the checksum's arithmetic only one is sent.
    let ignored = match expect.version {
        Version::V2 => auth.fields().kind == 0 && trailer.iter().any(|b| *b != 0),
        Version::V3 => message[4] & 0xf0 != 0,
    };
    if !ignored && message[6..8] != [0xff, 0xff] {
        assert_eq!(out, message);
    }
}
