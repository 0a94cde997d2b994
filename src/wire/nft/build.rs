//! Requests to the kernel.

use super::{Family, SUBSYS, TABLE, kind};
use crate::wire::rtnl::{attr, begin, finish};

/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`.
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const ACK: u16 = libc::NLM_F_ACK as u16;
const CREATE: u16 = libc::NLM_F_CREATE as u16;
const APPEND: u16 = libc::NLM_F_APPEND as u16;
/// Type bit of an attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// Type of a verdict as data (`NFT_DATA_VERDICT`).
const VERDICT: u32 = 0xffff_ff00;

/// What a rule ends with (`NF_DROP`, `NFT_JUMP` and so on; the number is that of the kernel).
#[derive(Clone, Copy)]
pub(super) enum Verdict {
    Drop = 0,
    Accept = 1,
    Jump = -3,
    Goto = -4,
    Return = -5,
}

/// What a packet tells of itself (`NFT_META_*`).
#[derive(Clone, Copy)]
pub(super) enum Meta {
    Protocol = 1,
    Mark = 3,
    Iif = 4,
    Oif = 5,
    Nfproto = 15,
    L4proto = 16,
}

/// Where an offset counts from (`NFT_PAYLOAD_*`).
#[derive(Clone, Copy)]
pub(super) enum Base {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// Register 1, of 16 octets, which every expression uses; `SECOND` holds what follows 4 octets in it.
pub(super) const FIRST: u32 = 1;
pub(super) const SECOND: u32 = 9;

/// What a set holds.
pub(super) enum Elements {
    /// Verdicts by key: nft's type of the key, and its octets.
    Verdicts(u32, u32),
    /// Nothing but keys.
    Keys(u32, u32),
    /// Leases: one element of 4 octets, with a timeout.
    Leases,
}

/// An attribute of an expression.
enum Value<'a> {
    Int(u32),
    Long(u64),
    Name(&'a str),
    /// A value to compare or to mask with.
    Data(&'a [u8]),
}

/// A transaction, appended to a buffer of the caller: nothing of it is applied if anything is refused.
#[derive(Debug)]
pub struct Batch<'a> {
    buf: &'a mut Vec<u8>,
    seq: u32,
    /// The name of both tables.
    pub(super) table: &'static str,
    /// Where the message that is being written, or was written last, starts; its list of expressions as well.
    message: usize,
    list: usize,
}

impl<'a> Batch<'a> {
    /// Empties the buffer. `seq` is the sequence number of the batch itself, which an error bears that is
    /// about the whole of it (EPERM, EOPNOTSUPP); its messages have those that follow.
    pub fn begin(buf: &'a mut Vec<u8>, seq: u32) -> Self {
        buf.clear();
        let mut batch = Batch { buf, seq, table: TABLE, message: 0, list: 0 };
        batch.frame(BATCH_BEGIN);
        batch
    }

    /// Completes it. Returns the sequence number of the last message, the only one that is acknowledged.
    pub fn end(mut self) -> u32 {
        let last = self.seq;
        if let Some(flags) =
            self.buf.get_mut(self.message..).and_then(|m| m.get_mut(6..8)?.first_chunk_mut::<2>())
        {
            *flags = (u16::from_ne_bytes(*flags) | ACK).to_ne_bytes();
        }
        self.seq = self.seq.wrapping_add(1);
        self.frame(BATCH_END);
        last
    }

    fn frame(&mut self, kind: u16) {
        let start = begin(self.buf, kind, REQUEST, self.seq);
        self.buf.extend_from_slice(&[0, 0]);
        self.buf.extend_from_slice(&SUBSYS.to_be_bytes());
        finish(self.buf, start);
    }

    fn start(&mut self, kind: u16, flags: u16, family: Family) {
        self.seq = self.seq.wrapping_add(1);
        self.message = header(self.buf, kind, flags, self.seq, family);
    }

    fn stop(&mut self) {
        finish(self.buf, self.message);
    }

    fn nest(&mut self, kind: u16) -> usize {
        let at = self.buf.len();
        attr(self.buf, kind | NESTED, &[]);
        at
    }

    /// Fills the length of a nested attribute in.
    fn unnest(&mut self, at: usize) {
        let len = self.buf.len().saturating_sub(at) as u16;
        if let Some(field) = self.buf.get_mut(at..).and_then(|m| m.first_chunk_mut::<2>()) {
            *field = len.to_ne_bytes();
        }
    }

    fn int(&mut self, kind: u16, value: u32) {
        attr(self.buf, kind, &[&value.to_be_bytes()]);
    }

    fn long(&mut self, kind: u16, value: u64) {
        attr(self.buf, kind, &[&value.to_be_bytes()]);
    }

    // ---- objects ----

    /// Adds a table, unless it is there with the same flags: 0 or [`super::OWNED`].
    pub fn table(&mut self, family: Family, flags: u32) {
        self.start(kind::NEWTABLE, CREATE, family);
        name(self.buf, 1, self.table);
        self.int(2, flags);
        self.stop();
    }

    /// Removes a table with all that is in it. ENOENT: there is none.
    pub fn del_table(&mut self, family: Family) {
        self.start(kind::DELTABLE, 0, family);
        name(self.buf, 1, self.table);
        self.stop();
    }

    pub(super) fn chain(&mut self, family: Family, chain: &str) {
        self.base_chain(family, chain, None);
    }

    /// `hook`: its number, the priority, and the interface if it is of one.
    pub(super) fn base_chain(&mut self, family: Family, chain: &str, hook: Option<(u32, i32, Option<&str>)>) {
        self.start(kind::NEWCHAIN, CREATE, family);
        name(self.buf, 1, self.table);
        name(self.buf, 3, chain);
        if let Some((number, priority, dev)) = hook {
            let at = self.nest(4);
            self.int(1, number);
            self.int(2, priority as u32);
            if let Some(dev) = dev {
                name(self.buf, 3, dev);
            }
            self.unnest(at);
            self.int(5, 1); // policy accept
            name(self.buf, 7, "filter");
        }
        self.stop();
    }

    pub(super) fn set(&mut self, family: Family, set: &str, holds: &Elements) {
        const MAP: u32 = 0x08;
        const TIMEOUT: u32 = 0x10;
        const DYNAMIC: u32 = 0x20;
        const MARK: u32 = 19;
        const GC_MS: u32 = 10_000;
        let (flags, key, len) = match holds {
            Elements::Verdicts(key, len) => (MAP, *key, *len),
            Elements::Keys(key, len) => (0, *key, *len),
            Elements::Leases => (TIMEOUT | DYNAMIC, MARK, 4),
        };
        self.start(kind::NEWSET, CREATE, family);
        name(self.buf, 1, self.table);
        name(self.buf, 2, set);
        self.int(3, flags);
        self.int(4, key);
        self.int(5, len);
        match holds {
            Elements::Verdicts(..) => {
                self.int(6, VERDICT);
                self.int(7, 16); // octets of struct nft_verdict
            }
            Elements::Keys(..) => {}
            // An element that has ended is there until it is collected. No size: with one, it would count.
            Elements::Leases => self.int(12, GC_MS),
        }
        self.int(10, self.seq); // any number that no other set of this batch has
        self.stop();
    }

    /// A verdict of a map: to a chain.
    pub(super) fn verdict_of(&mut self, family: Family, set: &str, key: &[&[u8]], chain: &str) {
        let (list, element) = self.start_element(kind::NEWSETELEM, CREATE, family, set, key);
        let data = self.nest(2);
        self.verdict_data(Verdict::Goto, Some(chain));
        self.unnest(data);
        self.stop_element(list, element);
    }

    /// A key of a set.
    pub(super) fn key(&mut self, family: Family, set: &str, key: &[&[u8]]) {
        let (list, element) = self.start_element(kind::NEWSETELEM, CREATE, family, set, key);
        self.stop_element(list, element);
    }

    /// A lease; milliseconds. The kernel ignores it where one runs.
    pub(super) fn lease(&mut self, family: Family, set: &str, timeout: u64, rest: u64) {
        let (list, element) = self.start_element(kind::NEWSETELEM, CREATE, family, set, &[&[0; 4]]);
        self.long(4, timeout);
        self.long(5, rest);
        self.stop_element(list, element);
    }

    /// Ends a lease. ENOENT: it has ended by itself.
    pub(super) fn del_lease(&mut self, family: Family, set: &str) {
        let (list, element) = self.start_element(kind::DELSETELEM, 0, family, set, &[&[0; 4]]);
        self.stop_element(list, element);
    }

    fn start_element(
        &mut self,
        kind: u16,
        flags: u16,
        family: Family,
        set: &str,
        key: &[&[u8]],
    ) -> (usize, usize) {
        self.start(kind, flags, family);
        name(self.buf, 1, self.table);
        name(self.buf, 2, set);
        let list = self.nest(3);
        let element = self.nest(1);
        let at = self.nest(1);
        attr(self.buf, 1, key);
        self.unnest(at);
        (list, element)
    }

    fn stop_element(&mut self, list: usize, element: usize) {
        self.unnest(element);
        self.unnest(list);
        self.stop();
    }

    // ---- rules ----

    /// Starts a rule at the end of a chain: expressions follow, then `end_rule`.
    pub(super) fn rule(&mut self, family: Family, chain: &str) {
        self.start(kind::NEWRULE, CREATE | APPEND, family);
        name(self.buf, 1, self.table);
        name(self.buf, 2, chain);
        self.list = self.nest(4);
    }

    pub(super) fn end_rule(&mut self) {
        self.unnest(self.list);
        self.stop();
    }

    fn expression(&mut self, kind: &str, values: &[(u16, Value<'_>)]) {
        let element = self.nest(1);
        name(self.buf, 1, kind);
        let data = self.nest(2);
        for (kind, value) in values {
            match value {
                Value::Int(n) => self.int(*kind, *n),
                Value::Long(n) => self.long(*kind, *n),
                Value::Name(s) => name(self.buf, *kind, s),
                Value::Data(octets) => {
                    let at = self.nest(*kind);
                    attr(self.buf, 1, &[octets]);
                    self.unnest(at);
                }
            }
        }
        self.unnest(data);
        self.unnest(element);
    }

    pub(super) fn meta(&mut self, key: Meta) {
        self.expression("meta", &[(2, Value::Int(key as u32)), (1, Value::Int(FIRST))]);
    }

    pub(super) fn payload(&mut self, base: Base, offset: u32, len: u32, register: u32) {
        let (base, offset, len) = (Value::Int(base as u32), Value::Int(offset), Value::Int(len));
        self.expression("payload", &[(1, Value::Int(register)), (2, base), (3, offset), (4, len)]);
    }

    /// Goes on if the register is `value`.
    pub(super) fn equal(&mut self, value: &[u8]) {
        let eq = Value::Int(0);
        self.expression("cmp", &[(1, Value::Int(FIRST)), (2, eq), (3, Value::Data(value))]);
    }

    pub(super) fn meta_is(&mut self, key: Meta, value: &[u8]) {
        self.meta(key);
        self.equal(value);
    }

    pub(super) fn octet_is(&mut self, offset: u32, value: u8) {
        self.payload(Base::Transport, offset, 1, FIRST);
        self.equal(&[value]);
    }

    /// An address of the packet, to be looked up in a map of verdicts.
    pub(super) fn network(&mut self, offset: u32, len: u32) {
        self.payload(Base::Network, offset, len, FIRST);
    }

    /// Loads 4 zero octets: the key of the only element of a set of leases. A register has to be loaded with
    /// something that every packet has, and nft(8) cannot list a constant as a key.
    pub(super) fn zero(&mut self) {
        self.meta(Meta::Mark);
        let (register, len) = (|| Value::Int(FIRST), Value::Int(4));
        let (mask, xor) = (Value::Data(&[0; 4]), Value::Data(&[0; 4]));
        self.expression("bitwise", &[(1, register()), (2, register()), (3, len), (4, mask), (5, xor)]);
    }

    /// Goes on if the register is in a set, or else if it is not.
    pub(super) fn is_in(&mut self, set: &str, wanted: bool) {
        let (set, register, inverted) = (Value::Name(set), Value::Int(FIRST), Value::Int(u32::from(!wanted)));
        self.expression("lookup", &[(1, set), (2, register), (5, inverted)]);
    }

    /// The verdict that a map has for the register.
    pub(super) fn verdict_map(&mut self, set: &str) {
        let (set, register) = (Value::Name(set), Value::Int(FIRST));
        self.expression("lookup", &[(1, set), (2, register), (3, Value::Int(0))]);
    }

    /// Adds the register to a set, or renews what is there.
    pub(super) fn update(&mut self, set: &str, timeout: u64) {
        const UPDATE: u32 = 1;
        let (set, register) = (Value::Name(set), Value::Int(FIRST));
        let timeout = Value::Long(timeout);
        self.expression("dynset", &[(1, set), (3, Value::Int(UPDATE)), (4, register), (6, timeout)]);
    }

    /// Goes on if the packet's source, or else its destination, is an address of this node.
    pub(super) fn is_local(&mut self, source: bool) {
        const TYPE: u32 = 3;
        const LOCAL: u32 = libc::RTN_LOCAL as u32;
        let of = Value::Int(if source { 1 } else { 2 });
        self.expression("fib", &[(1, Value::Int(FIRST)), (2, Value::Int(TYPE)), (3, of)]);
        self.equal(&LOCAL.to_ne_bytes());
    }

    pub(super) fn counter(&mut self) {
        self.expression("counter", &[]);
    }

    pub(super) fn verdict(&mut self, verdict: Verdict, chain: Option<&str>) {
        let element = self.nest(1);
        name(self.buf, 1, "immediate");
        let data = self.nest(2);
        self.int(1, 0);
        let value = self.nest(2);
        self.verdict_data(verdict, chain);
        self.unnest(value);
        self.unnest(data);
        self.unnest(element);
    }

    fn verdict_data(&mut self, verdict: Verdict, chain: Option<&str>) {
        let at = self.nest(2);
        self.int(1, verdict as i32 as u32);
        if let Some(chain) = chain {
            name(self.buf, 2, chain);
        }
        self.unnest(at);
    }
}

/// Appends a request for one of our tables: [`super::Msg::Table`], or an error of ENOENT.
pub fn get_table(buf: &mut Vec<u8>, seq: u32, family: Family) {
    let start = header(buf, kind::GETTABLE, 0, seq, family);
    name(buf, 1, TABLE);
    finish(buf, start);
}

/// Appends a request for a lease: [`super::Msg::Element`], or an error of ENOENT.
pub(super) fn get_lease(buf: &mut Vec<u8>, seq: u32, family: Family, set: &str) {
    let mut batch = Batch { buf, seq: seq.wrapping_sub(1), table: TABLE, message: 0, list: 0 };
    let (list, element) = batch.start_element(kind::GETSETELEM, 0, family, set, &[&[0; 4]]);
    batch.stop_element(list, element);
}

/// Header and `nfgenmsg`. Returns where it starts.
fn header(buf: &mut Vec<u8>, kind: u16, flags: u16, seq: u32, family: Family) -> usize {
    let start = begin(buf, SUBSYS << 8 | kind, REQUEST | flags, seq);
    buf.extend_from_slice(&[family as u8, 0, 0, 0]);
    start
}

fn name(buf: &mut Vec<u8>, kind: u16, name: &str) {
    attr(buf, kind, &[name.as_bytes(), &[0]]);
}
