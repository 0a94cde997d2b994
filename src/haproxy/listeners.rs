//! The command `_getsocks` of HAProxy's stats socket, with which a new HAProxy (`-x`) takes over the
//! listening sockets of an old one: the bytes. The same from 2.3 to 3.5 (`_getsocks` in src/cli.c,
//! `sock_get_old_sockets` in src/sock.c).
//!
//! The answer to the line is a count (an `int` of the machine), then messages of at most 252 descriptors
//! (SCM_RIGHTS), each acknowledged with four octets. With each descriptor comes a record: the length of a
//! network namespace's name in one octet, the name, the same for an interface, four zero octets.

/// The command.
pub const REQUEST: &[u8] = b"_getsocks\n";
/// Most descriptors in one message (`MAX_SEND_FD`); the kernel's limit is 253.
pub const MAX_FDS: usize = 252;
/// More listening sockets are not held.
pub const MAX_SOCKETS: usize = 2048;
/// Longest answer, in octets: without names, a record has six.
const MAX_ANSWER: usize = 128 * 1024;
/// Longest message that is sent, in octets: the kernel keeps it in one piece, so it arrives in one.
const MAX_MESSAGE: usize = 16 * 1024;

/// Why the listening sockets are not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// HAProxy could not read the path of the stats socket.
    NoPlace,
    /// The file that names the stats socket cannot be written: an errno.
    NoFile(i32),
    /// Nobody listens on the stats socket: an errno.
    Unreachable(i32),
    /// No answer, or not all of it.
    NoAnswer,
    /// It took too long.
    Timeout,
    /// Another process answered: an older worker, most likely.
    Stranger,
    /// More sockets than are held.
    TooMany,
    /// More than this process may have open.
    Truncated,
    /// Not an answer to `_getsocks`.
    Garbage,
}

/// An answer that is being received.
#[derive(Debug, Default)]
pub struct Answer {
    data: Vec<u8>,
    fds: usize,
}

impl Answer {
    /// Takes what one message brought. Returns whether the answer is complete.
    pub fn take(&mut self, octets: &[u8], fds: usize) -> Result<bool, Refusal> {
        self.data.extend_from_slice(octets);
        self.fds += fds;
        let Some((count, rest)) = self.data.split_first_chunk() else {
            return if self.fds == 0 { Ok(false) } else { Err(Refusal::Garbage) };
        };
        let count = usize::try_from(i32::from_ne_bytes(*count)).unwrap_or(0);
        if count > MAX_SOCKETS || self.data.len() > MAX_ANSWER {
            return Err(Refusal::TooMany);
        }
        let (mut known, mut rest) = (0, rest);
        while let Some((_, more)) = record(rest) {
            (known, rest) = (known + 1, more);
        }
        match (known == count, self.fds == count) {
            _ if count == 0 || known > count || self.fds > count => Err(Refusal::Garbage),
            (true, _) if !rest.is_empty() => Err(Refusal::Garbage),
            (known, fds) => Ok(known && fds),
        }
    }

    /// The records of a complete answer, in the order of the descriptors.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.data.get(4..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (one, more) = record(rest)?;
            rest = more;
            Some(one)
        })
    }
}

/// The first record, if it is complete, and what follows it.
fn record(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let namespace = usize::from(*data.first()?);
    let interface = usize::from(*data.get(1 + namespace)?);
    data.split_at_checked(1 + namespace + 1 + interface + 4)
}

/// The next message of an answer: with how many of these records, and its octets.
pub fn message<'a>(records: impl Iterator<Item = &'a [u8]>) -> (usize, Vec<u8>) {
    let (mut count, mut data) = (0, Vec::new());
    for r in records.take(MAX_FDS) {
        if data.len() + r.len() > MAX_MESSAGE {
            break;
        }
        data.extend_from_slice(r);
        count += 1;
    }
    (count, data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn made(namespace: &[u8], interface: &[u8]) -> Vec<u8> {
        let len = |name: &[u8]| vec![u8::try_from(name.len()).unwrap_or(0)];
        [len(namespace), namespace.to_vec(), len(interface), interface.to_vec(), vec![0; 4]].concat()
    }

    /// As it is sent: the count, then the messages with their numbers of descriptors.
    fn sent(records: &[Vec<u8>]) -> Vec<(Vec<u8>, usize)> {
        let count = i32::try_from(records.len()).unwrap_or(0);
        let mut all = vec![(count.to_ne_bytes().to_vec(), 0)];
        let mut done = 0;
        while done < records.len() {
            let (n, data) = message(records[done..].iter().map(Vec::as_slice));
            assert!((1..=MAX_FDS).contains(&n) && data.len() <= MAX_MESSAGE);
            done += n;
            all.push((data, n));
        }
        all
    }

    #[test]
    fn an_answer_as_haproxy_sends_it() {
        let mut answer = Answer::default();
        assert_eq!(answer.take(&2i32.to_ne_bytes(), 0), Ok(false));
        assert_eq!(answer.take(b"\0\0\0\0\0\0\x03red\x04eth0\0\0\0\0", 2), Ok(true));
        let records: Vec<&[u8]> = answer.records().collect();
        assert_eq!(records, [&b"\0\0\0\0\0\0"[..], b"\x03red\x04eth0\0\0\0\0"]);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let refused = |data: &[u8], fds| Answer::default().take(data, fds);
        assert_eq!(refused(b"Unknown command", 0), Err(Refusal::TooMany), "text reads as a great number");
        assert_eq!(refused(&0i32.to_ne_bytes(), 0), Err(Refusal::Garbage));
        assert_eq!(refused(&(-1i32).to_ne_bytes(), 0), Err(Refusal::Garbage));
        assert_eq!(refused(b"\x01", 1), Err(Refusal::Garbage), "descriptors before the count");
        let one = [&1i32.to_ne_bytes()[..], &[0; 6]].concat();
        assert_eq!(refused(&one, 2), Err(Refusal::Garbage), "one descriptor too many");
        assert_eq!(refused(&one, 0), Ok(false), "one too few: still to come");
        assert_eq!(refused(&[&one[..], &[0]].concat(), 1), Err(Refusal::Garbage), "an octet too many");
        let mut answer = Answer::default();
        assert_eq!(answer.take(&2000i32.to_ne_bytes(), 0), Ok(false));
        let long = made(&[b'x'; 255], &[b'y'; 255]).repeat(1000);
        assert_eq!(answer.take(&long, 252), Err(Refusal::TooMany), "names without end");
    }

    proptest! {
        #[test]
        fn what_is_sent_is_received(
            names in prop::collection::vec((0..256usize, 0..16usize), 1..600),
            cut in 1..5000usize,
        ) {
            let records: Vec<Vec<u8>> =
                names.iter().map(|(a, b)| made(&vec![b'n'; *a], &vec![b'i'; *b])).collect();
            prop_assume!(records.iter().map(Vec::len).sum::<usize>() < MAX_ANSWER - 4);
            let mut answer = Answer::default();
            let messages = sent(&records);
            for (i, (data, fds)) in messages.iter().enumerate() {
                // The descriptors come with the first piece.
                let mut fds = *fds;
                let pieces = data.chunks(cut);
                let last = pieces.len() - 1;
                for (n, piece) in pieces.enumerate() {
                    let complete = answer.take(piece, std::mem::take(&mut fds));
                    prop_assert_eq!(complete, Ok(i == messages.len() - 1 && n == last));
                }
            }
            prop_assert!(answer.records().eq(records.iter().map(Vec::as_slice)));
        }

        #[test]
        fn no_answer_is_too_odd(pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..700), 0..300usize), 0..40), count in 0..300i32) {
            let mut answer = Answer::default();
            let mut over = answer.take(&count.to_ne_bytes(), 0).is_err();
            for (data, fds) in pieces {
                if over {
                    break;
                }
                over = answer.take(&data, fds) != Ok(false);
                prop_assert!(over || answer.data.len() <= MAX_ANSWER);
            }
        }
    }
}
