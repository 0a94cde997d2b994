//! `http`: where metrics and health are served.

use super::MAX_SOCKET_PATH;
use super::check::socket;
use super::notify::is_name;
use super::reader::Reader;
use crate::base::text::words;
use crate::config::report::Shown;
use crate::config::{HTTP, Http, HttpAt};
use std::net::IpAddr;

const FORM: &str = "ADDR:PORT or unix:PATH [mode MODE] [group GROUP]";

/// `ADDR:PORT`, `[ADDR]:PORT` or `unix:PATH [mode MODE] [group GROUP]`
pub fn http(r: &mut Reader<'_, '_>) -> Option<Http> {
    let entry = r.entry("http")?;
    let Some(built_in) = HTTP else {
        r.report.error(entry.line, format_args!("http: this vipd was built without HTTP"));
        return None;
    };
    let at = match entry.value.strip_prefix("unix:") {
        None => HttpAt::Tcp(socket(r, entry, entry.value, FORM, any)?),
        Some(rest) => {
            let mut words = words(rest);
            let path = words.next().unwrap_or_default();
            let (mut mode, mut group) = (None, None);
            while let Some(word) = words.next() {
                let value = words.next().unwrap_or_default();
                let octal = u32::from_str_radix(value, 8).ok().filter(|m| *m <= 0o777);
                match word {
                    "mode" if mode.is_none() && octal.is_some() => mode = octal,
                    "group" if group.is_none() && is_name(value) => group = Some(value.to_owned()),
                    _ => {
                        let example = "mode 660 group haproxy";
                        r.wrong(
                            entry,
                            format_args!("is not {FORM}, e.g. unix:/run/vipd-http/socket {example}"),
                        );
                        return None;
                    }
                }
            }
            if !r.is_path(entry.line, "http", path, MAX_SOCKET_PATH) {
                return None;
            }
            let mode = mode.unwrap_or(if group.is_some() { 0o660 } else { 0o600 });
            HttpAt::Unix { path: path.into(), mode, group }
        }
    };
    Some(Http { text: entry.value.to_owned(), at, built_in })
}

/// An address of this host, or all.
fn any(r: &mut Reader<'_, '_>, line: u32, text: &str) -> Option<IpAddr> {
    let addr = text.parse().ok();
    if addr.is_none() {
        let text = Shown(text);
        r.report.error(line, format_args!("http: {text} is not an IP address: write e.g. 127.0.0.1:9112"));
    }
    addr
}
