//! The lines of the control socket: one request in; one digit, the exit status, a line end and a text out.

use crate::report::status::Form;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// A client that takes longer is dropped.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long a client may wait for an answer that comes later.
pub const LATER: Duration = Duration::from_secs(120);
/// Longest request.
pub(super) const MAX_LINE: usize = 256;
/// The longest `resign --for`, in seconds: a day.
pub const MAX_NO_PREEMPT: u64 = 86_400;

/// What a reload does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// Whatever has changed is taken up.
    Changes,
    /// The same, and HAProxy is reloaded in any case.
    Haproxy,
    /// Only tells what it would change.
    DryRun,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `status [plain|colour|json|metrics|check] [NAME]`: of a virtual router or a group, or of all.
    Status(Form, Option<String>),
    /// `watch`: the answer goes on with a line for each event.
    Watch,
    /// `reload [haproxy|dry-run]`
    Reload(Reload),
    /// `upgrade`: the program file that is there now takes this one's place.
    Upgrade,
    /// `resign SECONDS yes|no [NAME]`
    Resign {
        /// A virtual router or a group; none: all.
        name: Option<String>,
        /// How long not to preempt afterwards, 0 to 86400 s.
        no_preempt_for: Duration,
        /// Even without a successor.
        force: bool,
    },
}

impl Request {
    /// `status FORM [NAME]`
    fn status(line: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(line).ok()?.split(' ').skip(1);
        let form = match words.next()? {
            "plain" => Form::Plain,
            "colour" => Form::Colour,
            "json" => Form::Json,
            "metrics" => Form::Metrics,
            "check" => Form::Check,
            _ => return None,
        };
        let name = words.next().map(str::to_owned);
        // Programs get all.
        let whole = matches!(form, Form::Json | Form::Metrics) && name.is_some();
        (words.next().is_none() && !whole).then_some(Request::Status(form, name))
    }

    /// Parses a line.
    pub fn parse(line: &[u8]) -> Option<Self> {
        Some(match line.trim_ascii() {
            b"status" => Request::Status(Form::Plain, None),
            line if line.starts_with(b"status ") => return Self::status(line),
            b"watch" => Request::Watch,
            b"upgrade" => Request::Upgrade,
            b"reload" => Request::Reload(Reload::Changes),
            b"reload haproxy" => Request::Reload(Reload::Haproxy),
            b"reload dry-run" => Request::Reload(Reload::DryRun),
            line => {
                let mut words = std::str::from_utf8(line.strip_prefix(b"resign ")?).ok()?.split(' ');
                let no_preempt_for = words.next()?.parse().ok().filter(|s| *s <= MAX_NO_PREEMPT)?;
                let force = words.next()? == "yes";
                let name = words.next().map(str::to_owned);
                if words.next().is_some() {
                    return None;
                }
                Request::Resign { name, no_preempt_for: Duration::from_secs(no_preempt_for), force }
            }
        })
    }
}

/// EAGAIN or EINTR: try again later.
pub(super) fn is_patient(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// The bytes of an answer.
pub(super) fn answer(status: u8, text: &str) -> Vec<u8> {
    format!("{status}\n{text}").into_bytes()
}

/// The status of an answer, and the rest of its first octets.
pub(super) fn split(answer: &[u8]) -> Option<(u8, &[u8])> {
    match answer.split_first_chunk() {
        Some(([digit @ b'0'..=b'9', b'\n'], rest)) => Some((digit - b'0', rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let resign = |name: Option<&str>, no_preempt_for, force| {
            let name = name.map(str::to_owned);
            Some(Request::Resign { name, no_preempt_for: Duration::from_secs(no_preempt_for), force })
        };
        for (line, request) in [
            (&b"status"[..], Some(Request::Status(Form::Plain, None))),
            (b" status json\r", Some(Request::Status(Form::Json, None))),
            (b"status metrics", Some(Request::Status(Form::Metrics, None))),
            (b"status colour", Some(Request::Status(Form::Colour, None))),
            (b"status plain VI_1", Some(Request::Status(Form::Plain, Some("VI_1".into())))),
            (b"status check", Some(Request::Status(Form::Check, None))),
            (b"status metrics VI_1", None),
            (b"status plain VI_1 VI_2", None),
            (b"status yaml", None),
            (b"status json json", None),
            (b"watch", Some(Request::Watch)),
            (b"watch json", None),
            (b" reload \r", Some(Request::Reload(Reload::Changes))),
            (b"reload haproxy", Some(Request::Reload(Reload::Haproxy))),
            (b"reload dry-run", Some(Request::Reload(Reload::DryRun))),
            (b"resign 60 no", resign(None, 60, false)),
            (b"resign 0 yes VI_1", resign(Some("VI_1"), 0, true)),
            (b"resign 86400 no", resign(None, 86_400, false)),
            (b"resign 86401 no", None),
            (b"resign", None),
            (b"resign -1 no", None),
            (b"resign 60 no VI_1 VI_2", None),
            (b"reload now", None),
            (b"upgrade", Some(Request::Upgrade)),
            (b"upgrade now", None),
            (b"\xff\xfe", None),
            (b"", None),
        ] {
            assert_eq!(Request::parse(line), request, "{line:?}");
        }
    }
}
