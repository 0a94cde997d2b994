//! What holds of any advert and of any bytes.

use super::*;
use proptest::prelude::*;

fn any_scene() -> impl Strategy<Value = Scene> {
    let v4 = (1..=255u8, 1..=4095u16, prop::collection::vec(any::<[u8; 4]>(), 1..6), 1u8..=223);
    (v4, any::<(bool, bool, bool, u8, [u8; 8])>()).prop_map(|((vrid, cs, vips, src), rest)| {
        let (v2, pass, plain, priority, key) = rest;
        Scene {
            version: if v2 { Version::V2 } else { Version::V3 },
            vrid,
            priority,
            interval: if v2 { Duration::from_secs(u64::from(cs % 255) + 1) } else { centiseconds(cs) },
            auth: if pass && v2 { Auth::Pass(key) } else { Auth::None },
            vips: vips.into_iter().map(|[_, b, c, d]| IpAddr::V4([240, b, c, d].into())).collect(),
            peers: Vec::new(),
            own: None,
            unicast: false,
            replay: Replay::default(),
            src: IpAddr::V4([src, 1, 2, 3].into()),
            dst: GROUP_V4.into(),
            plain: plain && !v2,
            bytes: Vec::new(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn decode_of_encode(s in any_scene()) {
        prop_assert_eq!(s.decode(&s.encoded()), Ok(s.advert()));
    }

    #[test]
    fn never_panics(i in 0..VECTORS.len(), mut bytes: Vec<u8>, priority: u8, count in 0u8..9) {
        let s = scene(i);
        let _ = s.decode(&bytes);
        // Far enough down the ladder to read the list.
        if bytes.len() >= 8 {
            bytes[..4].copy_from_slice(&[s.bytes[0], s.vrid, priority, count]);
        }
        let _ = s.decode_fixed(bytes);
    }
}
