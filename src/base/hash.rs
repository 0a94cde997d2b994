//! A hash that recognises what has changed. Not for secrets.

/// FNV-1a, 64 bits: to recognise, not to protect.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}
