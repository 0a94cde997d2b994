//! Capabilities (capabilities(7)): reading them, and giving up those that are not needed. A set is 64 bits,
//! one for each capability number.

use nix::errno::Errno;

/// `_LINUX_CAPABILITY_VERSION_3`: two words of each set.
const VERSION: u32 = 0x2008_0522;

/// `__user_cap_header_struct`
#[repr(C)]
struct Header {
    version: u32,
    /// 0 is this process.
    pid: libc::c_int,
}

/// `__user_cap_data_struct`: 32 bits of each set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Word {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn get() -> nix::Result<[Word; 2]> {
    let (header, mut words) = (Header { version: VERSION, pid: 0 }, [Word::default(); 2]);
    // SAFETY: both point to what the kernel expects of this version, and the second may be written to.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw const header, words.as_mut_ptr()) })?;
    Ok(words)
}

fn is_bounding(n: u32) -> bool {
    // SAFETY: plain system call without pointers; of a number that the kernel does not know it says EINVAL.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(n), 0, 0, 0) == 1 }
}

/// The capabilities of this process, and those of a program that it executes as root.
pub fn held() -> (u64, u64) {
    // If the kernel does not tell, assume all: a system call that lacks one fails and says so.
    let own =
        get().map_or(u64::MAX, |[low, high]| u64::from(high.effective) << 32 | u64::from(low.effective));
    (own, (0..64).filter(|n| is_bounding(*n)).fold(0, |set, n| set | 1 << n))
}

/// Puts only `own` into effect, and drops everything that is not `kept` for good, also for children (the
/// kernel adapts the ambient set). No capability is gained. Without CAP_SETPCAP, children of root keep the
/// bounding set.
pub fn restrict(own: u64, kept: u64) {
    for n in (0..64).filter(|n| kept >> n & 1 == 0 && is_bounding(*n)) {
        // SAFETY: plain system call without pointers.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(n), 0, 0, 0) };
    }
    let Ok(mut words) = get() else { return };
    for (word, shift) in words.iter_mut().zip([0, 32]) {
        let (own, kept) = ((own >> shift) as u32, (kept >> shift) as u32);
        word.permitted &= kept;
        word.inheritable &= kept;
        word.effective = word.permitted & own;
    }
    let header = Header { version: VERSION, pid: 0 };
    // SAFETY: both point to what the kernel expects of this version, and are only read.
    unsafe { libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr()) };
}
