//! MD5 (RFC 1321) and HMAC-MD5 (RFC 2104): for the authentication header of VRRPv2, which knows nothing
//! better.

/// The integer parts of 2^32 × |sin(i + 1)| (RFC 1321 §3.4).
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a,
    0xa830_4613, 0xfd46_9501, 0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be,
    0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821, 0xf61e_2562, 0xc040_b340,
    0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8,
    0x676f_02d9, 0x8d2a_4c8a, 0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c,
    0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70, 0x289b_7ec6, 0xeaa1_27fa,
    0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92,
    0xffef_f47d, 0x8584_5dd1, 0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1,
    0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];
/// Rotations of the four rounds.
const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
/// Octets of a block.
const BLOCK: usize = 64;

/// A digest in the making.
#[derive(Clone)]
struct Md5 {
    state: [u32; 4],
    block: [u8; BLOCK],
    /// Octets so far.
    len: u64,
}

impl Md5 {
    fn new() -> Self {
        let state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
        Md5 { state, block: [0; BLOCK], len: 0 }
    }

    fn update(&mut self, data: &[u8]) {
        for &octet in data {
            let at = self.len as usize % BLOCK;
            if let Some(slot) = self.block.get_mut(at) {
                *slot = octet;
            }
            self.len = self.len.wrapping_add(1);
            if at == BLOCK - 1 {
                self.compress();
            }
        }
    }

    fn compress(&mut self) {
        let mut words = [0; 16];
        for (word, octets) in words.iter_mut().zip(self.block.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*octets);
        }
        let [mut a, mut b, mut c, mut d] = self.state;
        for (i, sine) in SINES.iter().enumerate() {
            let (round, step) = (i >> 4, i & 15);
            let (mix, word) = match round {
                0 => (b & c | !b & d, step),
                1 => (d & b | !d & c, step.wrapping_mul(5).wrapping_add(1)),
                2 => (b ^ c ^ d, step.wrapping_mul(3).wrapping_add(5)),
                _ => (c ^ (b | !d), step.wrapping_mul(7)),
            };
            // Both are in bounds by their masks; 0 only pleases the compiler.
            let word = words.get(word & 15).copied().unwrap_or(0);
            let shift = SHIFTS.get(round).and_then(|s| s.get(i & 3)).copied().unwrap_or(0);
            let sum = a.wrapping_add(mix).wrapping_add(*sine).wrapping_add(word);
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(shift)));
        }
        for (state, x) in self.state.iter_mut().zip([a, b, c, d]) {
            *state = state.wrapping_add(x);
        }
    }

    fn finish(mut self) -> [u8; 16] {
        let bits = self.len.wrapping_mul(8);
        self.update(&[0x80]);
        while self.len as usize % BLOCK != BLOCK - 8 {
            self.update(&[0]);
        }
        self.update(&bits.to_le_bytes());
        let mut out = [0; 16];
        for (to, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(self.state) {
            *to = word.to_le_bytes();
        }
        out
    }
}

/// MD5 of all `parts`, taken as one run of octets.
pub fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut h = Md5::new();
    parts.iter().for_each(|p| h.update(p));
    h.finish()
}

/// HMAC-MD5 of all `parts`, taken as one run of octets (RFC 2104 §2).
pub fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let digest;
    let key = if key.len() > BLOCK {
        digest = md5(&[key]);
        &digest[..]
    } else {
        key
    };
    let padded = |pad: u8| {
        let mut block = [pad; BLOCK];
        block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
        let mut h = Md5::new();
        h.update(&block);
        h
    };
    let (mut inner, mut outer) = (padded(0x36), padded(0x5c));
    parts.iter().for_each(|p| inner.update(p));
    outer.update(&inner.finish());
    outer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(d: [u8; 16]) -> String {
        d.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn rfc1321_test_suite() {
        let digits = "1234567890".repeat(8);
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            (letters, "d174ab98d277d9f5a5611c2c9f419d9f"),
            (&digits, "57edf4a22be3c955ac49da2e2107b67a"),
        ] {
            assert_eq!(hex(md5(&[text.as_bytes()])), digest, "{text}");
        }
    }

    #[test]
    fn rfc2202_test_cases() {
        let count: Vec<u8> = (1..=25).collect();
        let larger: &[u8] = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let both: &[u8] = b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data";
        for (key, data, digest) in [
            (&[0x0b; 16][..], &b"Hi There"[..], "9294727a3638bb1c13f48ef8158bfc9d"),
            (b"Jefe", b"what do ya want for nothing?", "750c783e6ab0b503eaa86e310a5db738"),
            (&[0xaa; 16], &[0xdd; 50], "56be34521d144c88dbb8c733f0e8b3f6"),
            (&count, &[0xcd; 50], "697eaf0aca3a3aea3a75164746ffaa79"),
            (&[0x0c; 16], b"Test With Truncation", "56461ef2342edc00f9bab995690efd4c"),
            (&[0xaa; 80], larger, "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"),
            (&[0xaa; 80], both, "6f630fad67cda0ee1fb1f562db3aa53e"),
        ] {
            assert_eq!(hex(hmac(key, &[data])), digest);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn parts_are_one_run(data in prop::collection::vec(any::<u8>(), 0..300), cut: prop::sample::Index) {
            let (a, b) = data.split_at(cut.index(data.len() + 1));
            prop_assert_eq!(md5(&[a, b]), md5(&[&data]));
            prop_assert_eq!(hmac(a, &[b, a]), hmac(a, &[&[b, a].concat()]));
        }
    }
}
