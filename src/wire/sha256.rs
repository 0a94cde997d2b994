//! SHA-256 (FIPS 180-4 §6.2) and HMAC-SHA256 (RFC 2104).

use crate::base::secret::wipe;

/// Octets of a block, and of the longest key that needs no digest of its own.
pub const BLOCK: usize = 64;
/// Octets of a digest.
pub const DIGEST: usize = 32;

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4 §4.2.2).
#[rustfmt::skip]
const ROOTS: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1,
    0x923f_82a4, 0xab1c_5ed5, 0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3,
    0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174, 0xe49b_69c1, 0xefbe_4786,
    0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147,
    0x06ca_6351, 0x1429_2967, 0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13,
    0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85, 0xa2bf_e8a1, 0xa81a_664b,
    0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a,
    0x5b9c_ca4f, 0x682e_6ff3, 0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208,
    0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// A digest in the making. It is wiped when it is dropped: its block may hold a key.
struct Sha256 {
    state: [u32; 8],
    block: [u8; BLOCK],
    /// Octets so far.
    len: u64,
}

impl Sha256 {
    fn new() -> Self {
        let state = [
            0x6a09_e667,
            0xbb67_ae85,
            0x3c6e_f372,
            0xa54f_f53a,
            0x510e_527f,
            0x9b05_688c,
            0x1f83_d9ab,
            0x5be0_cd19,
        ];
        Sha256 { state, block: [0; BLOCK], len: 0 }
    }

    fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let at = self.len as usize % BLOCK;
            let place = self.block.get_mut(at..).unwrap_or_default();
            let n = place.len().min(data.len());
            let (now, later) = data.split_at(n);
            place.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            self.len = self.len.wrapping_add(n as u64);
            data = later;
            if (self.len as usize).is_multiple_of(BLOCK) {
                self.compress();
            }
        }
    }

    fn compress(&mut self) {
        // The last sixteen words of the message schedule, that of round i at i modulo 16.
        let mut words = [0u32; 16];
        for (word, octets) in words.iter_mut().zip(self.block.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*octets);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = self.state;
        for (i, root) in ROOTS.iter().enumerate() {
            // In bounds by its mask; 0 only pleases the compiler.
            let word = |n: usize| words.get(i.wrapping_add(n) & 15).copied().unwrap_or(0);
            let (w0, w1, w14) = (word(0), word(1), word(14));
            let small0 = w1.rotate_right(7) ^ w1.rotate_right(18) ^ (w1 >> 3);
            let small1 = w14.rotate_right(17) ^ w14.rotate_right(19) ^ (w14 >> 10);
            let next = w0.wrapping_add(small0).wrapping_add(word(9)).wrapping_add(small1);
            if let Some(place) = words.get_mut(i & 15) {
                *place = next;
            }
            let big1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let t1 = h.wrapping_add(big1).wrapping_add(e & f ^ !e & g).wrapping_add(*root).wrapping_add(w0);
            let big0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let t2 = big0.wrapping_add(a & b ^ a & c ^ b & c);
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
        }
        for (state, x) in self.state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *state = state.wrapping_add(x);
        }
    }

    fn finish(mut self) -> [u8; DIGEST] {
        let bits = self.len.wrapping_mul(8);
        self.update(&[0x80]);
        while self.len as usize % BLOCK != BLOCK - 8 {
            self.update(&[0]);
        }
        self.update(&bits.to_be_bytes());
        let mut out = [0; DIGEST];
        for (to, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(self.state) {
            *to = word.to_be_bytes();
        }
        out
    }
}

impl Drop for Sha256 {
    fn drop(&mut self) {
        wipe(&mut self.block);
        wipe(&mut self.state);
    }
}

/// SHA-256 of all `parts`, taken as one run of octets.
pub fn sha256(parts: &[&[u8]]) -> [u8; DIGEST] {
    let mut h = Sha256::new();
    parts.iter().for_each(|p| h.update(p));
    h.finish()
}

/// HMAC-SHA256 of all `parts`, taken as one run of octets (RFC 2104 §2). `key`: padded with zeros to a block.
pub fn hmac(key: &[u8; BLOCK], parts: &[&[u8]]) -> [u8; DIGEST] {
    let padded = |pad: u8| {
        let mut h = Sha256::new();
        let mut block = key.map(|octet| octet ^ pad);
        h.update(&block);
        wipe(&mut block);
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

    fn hex(d: [u8; DIGEST]) -> String {
        d.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// A key of any length as [`hmac`] wants it.
    fn padded(key: &[u8]) -> [u8; BLOCK] {
        let digest = sha256(&[key]);
        let key = if key.len() > BLOCK { &digest[..] } else { key };
        let mut block = [0; BLOCK];
        block[..key.len()].copy_from_slice(key);
        block
    }

    /// NIST's examples for FIPS 180-4.
    #[test]
    fn fips180_examples() {
        let two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        for (text, digest) in [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (two_blocks, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
        ] {
            assert_eq!(hex(sha256(&[text.as_bytes()])), digest, "{text}");
        }
        let million = [b'a'; 1000];
        let parts = [&million[..]; 1000];
        let digest = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(hex(sha256(&parts)), digest);
    }

    #[test]
    fn rfc4231_test_cases() {
        let count: Vec<u8> = (1..=25).collect();
        let larger: &[u8] = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let both: &[u8] = b"This is a test using a larger than block-size key and a larger than block-size \
            data. The key needs to be hashed before being used by the HMAC algorithm.";
        for (key, data, digest) in [
            (
                &[0x0b; 20][..],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (&count, &[0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
            (&[0xaa; 131], larger, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
            (&[0xaa; 131], both, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
        ] {
            assert_eq!(hex(hmac(&padded(key), &[data])), digest);
        }
        // Test case 5 has only the first 128 bits.
        let truncated = hmac(&padded(&[0x0c; 20]), &[b"Test With Truncation"]);
        assert!(hex(truncated).starts_with("a3b6167473100ee06e0c796c2955552b"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn parts_are_one_run(data in prop::collection::vec(any::<u8>(), 0..300), cut: prop::sample::Index) {
            let (a, b) = data.split_at(cut.index(data.len() + 1));
            prop_assert_eq!(sha256(&[a, b]), sha256(&[&data]));
            let key = padded(b);
            prop_assert_eq!(hmac(&key, &[b, a]), hmac(&key, &[&[b, a].concat()]));
        }
    }
}
