//! Fixed texts in half of their room, for those that are shown once at most: the usage, and what the import
//! says, which is 15 KB.
//! [`packed!`](crate::packed) packs a text at compile time.

/// What is frequent in those texts, sorted. Each is two characters, or two pieces, or one of each.
const PIECES: [&str; 128] = [
    "  ",
    "    ",
    "        ",
    "! ",
    ", ",
    ": ",
    ": keepalived ",
    "_ip",
    "_s",
    "a ",
    "ac",
    "ack",
    "ad",
    "add",
    "addres",
    "al",
    "an",
    "an ",
    "and ",
    "as ",
    "at ",
    "au",
    "ca",
    "ces",
    "ch",
    "chec",
    "check",
    "d ",
    "de",
    "do",
    "ds ",
    "e ",
    "ec",
    "ep",
    "er",
    "er ",
    "er_",
    "es",
    "es ",
    "ex",
    "f ",
    "fi",
    "ga",
    "garp_",
    "grou",
    "ig",
    "igno",
    "ignore",
    "in",
    "ing",
    "inter",
    "ip",
    "is ",
    "it",
    "it ",
    "ive",
    "ke",
    "keep",
    "keepal",
    "keepalive",
    "keepalived ",
    "l ",
    "la",
    "le",
    "lo",
    "ma",
    "mast",
    "me",
    "me ",
    "na",
    "ne",
    "no",
    "no ",
    "not ",
    "noti",
    "notif",
    "notify_",
    "o ",
    "of ",
    "on",
    "on ",
    "or",
    "or ",
    "ou",
    "p ",
    "p_",
    "pe",
    "pri",
    "pro",
    "rc",
    "re",
    "res",
    "ri",
    "ro",
    "rou",
    "rp_",
    "rt",
    "rtu",
    "s ",
    "s_",
    "se",
    "st",
    "sta",
    "t ",
    "ta",
    "ter",
    "th",
    "that ",
    "the ",
    "ti",
    "to",
    "to ",
    "tr",
    "track",
    "un",
    "ve",
    "ver",
    "vi",
    "vip",
    "vipd ",
    "virtu",
    "virtual",
    "vr",
    "vrrp_",
    "wi",
    "with",
    "y ",
    "y_",
];

/// Each piece as its two halves: ASCII, or 128 + the index of another piece.
static PAIRS: [[u8; 2]; PIECES.len()] = pairs();

/// The index of the first piece that begins with this octet, or with a greater one.
const STARTS: [usize; 129] = starts();

/// A text that [`packed!`](crate::packed) has packed: ASCII, and 128 + the index of a piece.
#[derive(Clone, Copy, Debug)]
pub struct Packed(pub &'static [u8]);

impl Packed {
    /// The text.
    pub fn text(self) -> String {
        let mut text = String::new();
        for code in self.0 {
            unpack(*code, &mut text);
        }
        text
    }

    /// Its lines.
    pub fn lines(self) -> impl Iterator<Item = Packed> {
        self.0.split(|code| *code == b'\n').map(Packed)
    }
}

/// The halves of a piece are shorter than it, so this ends.
fn unpack(code: u8, text: &mut String) {
    match PAIRS.get(usize::from(code).wrapping_sub(128)) {
        None => text.push(char::from(code)),
        Some(pair) => pair.iter().for_each(|half| unpack(*half, text)),
    }
}

/// Packs a text of ASCII.
#[macro_export]
macro_rules! packed {
    ($text:expr) => {{
        const ALL: ([u8; $text.len()], usize) = $crate::base::packed::pack($text.as_bytes());
        const CODES: [u8; ALL.1] = $crate::base::packed::first(&ALL.0);
        $crate::base::packed::Packed(&CODES)
    }};
}

/// For [`packed!`](crate::packed): the codes of a text, and how many they are.
pub const fn pack<const N: usize>(text: &[u8]) -> ([u8; N], usize) {
    let (mut codes, mut count, mut at) = ([0; N], 0, 0);
    while at < text.len() {
        let (code, len) = longest(text, at, text.len() - at);
        codes[count] = code;
        count += 1;
        at += len;
    }
    (codes, count)
}

/// The code of the longest piece of at most `most` octets that is at this place of a text, and its length.
const fn longest(text: &[u8], at: usize, most: usize) -> (u8, usize) {
    let octet = text[at];
    let (mut code, mut len) = (octet, 1);
    let mut piece = STARTS[octet as usize];
    while piece < STARTS[octet as usize + 1] {
        let this = PIECES[piece].as_bytes();
        if this.len() > len && this.len() <= most && begins(text, at, this) {
            (code, len) = (128 + piece as u8, this.len());
        }
        piece += 1;
    }
    (code, len)
}

/// For [`packed!`](crate::packed): the first octets of an array.
pub const fn first<const N: usize>(all: &[u8]) -> [u8; N] {
    let (mut first, mut i) = ([0; N], 0);
    while i < N {
        first[i] = all[i];
        i += 1;
    }
    first
}

const fn begins(text: &[u8], at: usize, start: &[u8]) -> bool {
    let mut i = 0;
    while i < start.len() {
        if at + i == text.len() || text[at + i] != start[i] {
            return false;
        }
        i += 1;
    }
    true
}

const fn starts() -> [usize; 129] {
    let (mut starts, mut octet) = ([0; 129], 0);
    while octet < 128 {
        let mut piece = starts[octet];
        while piece < PIECES.len() && PIECES[piece].as_bytes()[0] as usize == octet {
            piece += 1;
        }
        octet += 1;
        starts[octet] = piece;
    }
    starts
}

const fn pairs() -> [[u8; 2]; PIECES.len()] {
    let (mut pairs, mut i) = ([[0; 2]; PIECES.len()], 0);
    while i < PIECES.len() {
        let piece = PIECES[i].as_bytes();
        let mut half = 1;
        while longest(piece, 0, half).1 != half || longest(piece, half, 64).1 != piece.len() - half {
            half += 1;
            assert!(half < piece.len(), "a piece is not joined from two others");
        }
        pairs[i] = [longest(piece, 0, half).0, longest(piece, half, 64).0];
        i += 1;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_as_it_was() {
        const TEXT: &str = "keepalived ignores it, too.\n`virtual_ipaddress` {x}\n";
        let packed = packed!(TEXT);
        assert_eq!(packed.text(), TEXT);
        let lines: Vec<String> = packed.lines().map(Packed::text).collect();
        assert_eq!(lines, ["keepalived ignores it, too.", "`virtual_ipaddress` {x}", ""]);
        assert!(packed.0.len() < TEXT.len() * 6 / 10, "{}", packed.0.len());
        assert_eq!(packed!("").text(), "");
        for (i, piece) in PIECES.iter().enumerate() {
            let mut text = String::new();
            unpack(128 + i as u8, &mut text);
            assert_eq!(text, *piece);
        }
    }
}
