//! Reads many packets in one system call, so that a flood of packets that are refused costs little.

use super::REST;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Packets taken in one call.
const PACKETS: usize = 32;
/// Octets of the longest packet that is read whole. The longest advert over IPv4 has 255 addresses: 20 octets
/// of IP header and 40 of options, 24 of authentication header, 8, 1020 and 8 of VRRP. A longer packet is cut
/// off and then refused.
const OCTETS: usize = 2048;

/// Buffers for the packets of one call, and the packets of the last one.
#[derive(Debug)]
pub struct Batch {
    buf: Vec<u8>,
    lens: [usize; PACKETS],
    count: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Batch { buf: vec![0; PACKETS * OCTETS + REST], lens: [0; PACKETS], count: 0 }
    }
}

impl Batch {
    /// Reads what is queued, without waiting; returns whether there may be more.
    pub fn receive(&mut self, fd: BorrowedFd<'_>) -> bool {
        self.count = 0;
        let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; PACKETS];
        // SAFETY: all-zero mmsghdrs are valid values of that plain C structure: no name, no control data.
        let mut headers: [libc::mmsghdr; PACKETS] = unsafe { std::mem::zeroed() };
        for ((slot, part), header) in self.buf.chunks_exact_mut(OCTETS).zip(&mut parts).zip(&mut headers) {
            *part = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
            header.msg_hdr.msg_iov = std::ptr::from_mut(part);
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: each header has one part, each part is a slot of `buf` with its length, all slots are
        // apart, and all of them outlive the call.
        let got = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                headers.as_mut_ptr(),
                PACKETS as _,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        match usize::try_from(got) {
            Ok(n) => self.count = n.min(PACKETS),
            // An error of an earlier packet; the queue is unchanged.
            Err(_) => return Errno::last() == Errno::EINTR,
        }
        for (len, header) in self.lens.iter_mut().zip(&headers) {
            *len = usize::try_from(header.msg_len).unwrap_or(0);
        }
        self.count == PACKETS
    }

    /// The same memory, for one packet or frame of any length.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.buf
    }

    /// The packets of the last call.
    pub fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let slots = self.buf.chunks_exact(OCTETS).zip(&self.lens).take(self.count);
        slots.map(|(slot, len)| slot.get(..*len).unwrap_or(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn takes_what_is_queued_in_order_and_cuts_what_is_too_long() {
        let (a, b) = UnixDatagram::pair().unwrap();
        let mut batch = Batch::default();
        assert!(!batch.receive(b.as_fd()));
        assert_eq!(batch.packets().count(), 0, "nothing there, and it did not wait");
        a.send(&[7; 3000]).unwrap();
        a.send(&[]).unwrap();
        a.send(&[8; 20]).unwrap();
        assert!(!batch.receive(b.as_fd()));
        let lens: Vec<usize> = batch.packets().map(<[u8]>::len).collect();
        assert_eq!(lens, [OCTETS, 0, 20]);
        assert!(batch.packets().last().unwrap().iter().all(|o| *o == 8));
        b.set_nonblocking(true).unwrap();
        a.set_nonblocking(true).unwrap();
        let sent = (0..PACKETS + 3).take_while(|i| a.send(&[*i as u8]).is_ok()).count();
        let mut got = Vec::new();
        loop {
            let more = batch.receive(b.as_fd());
            got.extend(batch.packets().map(|p| p[0] as usize));
            if !more {
                break;
            }
        }
        assert_eq!(got, (0..sent).collect::<Vec<_>>());
    }
}
