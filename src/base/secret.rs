//! Secrets in memory: wiped when they are dropped, and never printed.

use std::fmt;
use std::hint::black_box;

/// Overwrites a secret with zeros. The optimizer must assume that `black_box` reads them, so the writes stay.
pub fn wipe<T: Copy + Default>(secret: &mut [T]) {
    secret.fill(T::default());
    black_box(secret);
}

/// Whether two secrets are equal; takes as long whichever octet differs.
pub fn is_equal<const N: usize>(a: &[u8; N], b: &[u8]) -> bool {
    let diff = a.iter().zip(b).fold(0, |diff, (a, b)| diff | (a ^ b));
    black_box(diff) == 0 && b.len() == N
}

/// Octets that are wiped when they are dropped: a file that holds a secret, or a part of one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Never prints them.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_time_comparison_compares() {
        assert!(is_equal(b"12345678", b"12345678"));
        for i in 0..8 {
            let mut other = *b"12345678";
            other[i] ^= 0x80;
            assert!(!is_equal(b"12345678", &other));
        }
        assert!(!is_equal(b"12345678", b"1234567"));
        assert!(!is_equal(b"12345678", b"123456789"));
    }

    #[test]
    fn a_secret_is_wiped_and_never_printed() {
        let mut octets = *b"secret";
        wipe(&mut octets);
        assert_eq!(octets, [0; 6]);
        assert_eq!(format!("{:?}", Secret(b"secret".to_vec())), "***");
    }
}
