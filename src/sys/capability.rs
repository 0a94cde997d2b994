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

/// `option` is `PR_CAPBSET_READ` or `PR_CAPBSET_DROP`. `None`: the kernel refuses, or knows no capability
/// `n`, and so none above it.
fn bounding(option: libc::c_int, n: u32) -> Option<bool> {
    // SAFETY: plain system call without pointers.
    match unsafe { libc::prctl(option, libc::c_ulong::from(n), 0, 0, 0) } {
        -1 => None,
        is_there => Some(is_there == 1),
    }
}

/// The capabilities of this process, and those of a program that it executes as root.
pub fn held() -> (u64, u64) {
    // If the kernel does not tell, assume all: a system call that lacks one fails and says so.
    let own =
        get().map_or(u64::MAX, |[low, high]| u64::from(high.effective) << 32 | u64::from(low.effective));
    let all = (0..64).map_while(|n| bounding(libc::PR_CAPBSET_READ, n));
    (own, all.zip(0..).fold(0, |set, (is_there, n)| set | u64::from(is_there) << n))
}

/// Puts only `own` into effect, and drops everything that is not `kept` for good, also for children (the
/// kernel adapts the ambient set). No capability is gained. Without CAP_SETPCAP, children of root keep the
/// bounding set.
pub fn restrict(own: u64, kept: u64) {
    let dropped = (0..64).filter(|n| kept >> n & 1 == 0);
    dropped.map_while(|n| bounding(libc::PR_CAPBSET_DROP, n)).for_each(drop);
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
