//! The message of a vipd that aborts because of a fault of its own.
//!
//! Small builds abort by an illegal instruction (on some processors a trap) where others print Rust's
//! message, which costs 57 KB. The handler prints the place of the instruction; `addr2line` on an unstripped
//! build of the same version turns it into a line of the source.

use std::fmt::Write;

/// The signals by which the kernel reports an abort.
const SIGNALS: [libc::c_int; 2] = [libc::SIGILL, libc::SIGTRAP];

unsafe extern "C" {
    /// The beginning of the program, from the linker.
    static __ehdr_start: u8;
}

/// From now on, an abort writes its place to stderr before it ends the process.
pub fn announce() {
    // SAFETY: an all-zero sigaction is a valid value of that plain C structure, and the handler has the
    // signature that SA_SIGINFO asks for. It is called at a fault of ours only, after which nothing goes on.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = last_words as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESETHAND | libc::SA_NODEFER;
        for signal in SIGNALS {
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// The kernel has restored the default action, which the raised signal takes.
extern "C" fn last_words(signal: libc::c_int, info: *const libc::siginfo_t, _: *const libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo_t, whose address is that of the instruction for these
    // signals.
    let at = unsafe { (*info).si_addr() } as usize;
    let mut line = Line { text: [0; 96], len: 0 };
    let place = at.wrapping_sub((&raw const __ehdr_start) as usize);
    let _ = writeln!(line, "vipd {}: internal error at {place:#x}", env!("CARGO_PKG_VERSION"));
    // SAFETY: `text` has at least `len` octets; both calls are allowed in a handler.
    unsafe {
        libc::write(2, line.text.as_ptr().cast(), line.len);
        libc::raise(signal);
    }
}

/// A line on the stack: nothing is allocated in a signal handler.
struct Line {
    text: [u8; 96],
    len: usize,
}

impl std::fmt::Write for Line {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        for (to, from) in self.text.iter_mut().skip(self.len).zip(s.bytes()) {
            *to = from;
            self.len += 1;
        }
        Ok(())
    }
}
