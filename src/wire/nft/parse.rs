//! What the kernel says.

use super::{Family, Msg, SUBSYS, TABLE, kind};
use crate::wire::rtnl::{Attrs, Header, IfName, errno, split, u32_at};

/// The messages of one datagram. Unknown ones are [`Msg::Other`]; the caller has checked that the sender is
/// the kernel (port 0).
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Msg> + '_ {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((header, body, next)) = split(rest) else {
            rest = &[];
            return Some(Msg::Overrun);
        };
        rest = next;
        Some(message(&header, body))
    })
}

fn message(header: &Header, body: &[u8]) -> Msg {
    const ERROR: u16 = libc::NLMSG_ERROR as u16;
    const OVERRUN: u16 = libc::NLMSG_OVERRUN as u16;
    const ELEMENT: u16 = SUBSYS << 8 | kind::NEWSETELEM;
    const TABLE_IS: u16 = SUBSYS << 8 | kind::NEWTABLE;
    const TABLE_GONE: u16 = SUBSYS << 8 | kind::DELTABLE;
    const GENERATION: u16 = SUBSYS << 8 | kind::NEWGEN;
    let seq = header.seq;
    let attrs = || Attrs(body.get(4..).unwrap_or_default()); // behind nfgenmsg
    match header.kind {
        ERROR => u32_at(body, 0).map_or(Msg::Other, |e| Msg::Ack { seq, errno: errno(e) }),
        OVERRUN => Msg::Overrun,
        ELEMENT => Msg::Element { seq, rest: rest(attrs()) },
        TABLE_IS => Msg::Table { seq },
        TABLE_GONE if is_ours(body, attrs()) => Msg::TableGone,
        GENERATION => generation(attrs()),
        _ => Msg::Other,
    }
}

/// `NFTA_SET_ELEM_LIST_ELEMENTS` { `NFTA_LIST_ELEM` { `NFTA_SET_ELEM_EXPIRATION` (be64) } }, of the first
/// element.
fn rest(mut attrs: Attrs<'_>) -> Option<u64> {
    let mut list = Attrs(attrs.find(|a| a.0 == 3)?.1);
    let mut element = Attrs(list.find(|a| a.0 == 1)?.1);
    let ms = element.find(|a| a.0 == 5)?.1;
    ms.first_chunk().map(|ms| u64::from_be_bytes(*ms))
}

/// `NFTA_TABLE_NAME`.
fn is_ours(body: &[u8], mut attrs: Attrs<'_>) -> bool {
    let family = body.first().is_some_and(|f| Family::BOTH.iter().any(|x| *x as u8 == *f));
    let name = attrs.find(|a| a.0 == 1).map_or(&[][..], |a| a.1);
    family && name.strip_suffix(&[0]) == Some(TABLE.as_bytes())
}

/// `NFTA_GEN_PROC_PID` and `NFTA_GEN_PROC_NAME`.
fn generation(attrs: Attrs<'_>) -> Msg {
    let (mut pid, mut name) = (0, IfName::from_bytes(&[]));
    for (kind, value) in attrs {
        match kind {
            2 => pid = u32_at(value, 0).map_or(0, u32::from_be),
            3 => name = IfName::from_bytes(value),
            _ => {}
        }
    }
    Msg::Generation { pid, name }
}
