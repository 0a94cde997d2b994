//! `global_defs`, and mail.

use super::out::Out;
use super::parse::{Node, find};
use super::tables::GLOBAL;
use super::text::{join, number, seconds, truth};
use crate::packed;

/// Most recipients of a mail.
const MAX_TO: usize = 32;

/// Writes `[global]`.
pub(super) fn write(out: &mut Out<'_>) {
    out.begin("global");
    let root = &out.tree.root;
    let defs = out.settle(&root.all("global_defs"), "", "notification_email");
    for d in &defs {
        match d.keyword() {
            "vrrp_version" => version(out, d),
            "vrrp_garp_interval" | "vrrp_gna_interval" => garp_interval(out, d),
            "script_user" => {
                d.word(1).clone_into(&mut out.user);
                if !d.word(2).is_empty() {
                    out.told(d, packed!("the group is that of the user"));
                }
                let hooks = |n: &Node| n.block.iter().any(|h| h.keyword().starts_with("notify"));
                if root.block.iter().any(hooks) {
                    out.key("notify_user", d.word(1));
                }
            }
            "v3_checksum_as_v2" => out.defaults.push(("v3_checksum_as_v2".to_owned(), d.word(1).to_owned())),
            "vrrp_strict" => {
                out.strict = truth(d.word(1)).unwrap_or(false);
                out.by(GLOBAL, d);
            }
            _ => out.by(GLOBAL, d),
        }
    }
    mail(out, &defs);
}

fn version(out: &mut Out<'_>, d: &Node) {
    match d.word(1) {
        version @ ("2" | "3") => version.clone_into(&mut out.version),
        _ => out.dropped(d, packed!("neither 2 nor 3: keepalived ignores it, too")),
    }
}

/// keepalived has one for ARP and one for neighbour advertisements, in seconds with six decimals, and pauses
/// only if it is given.
fn garp_interval(out: &mut Out<'_>, d: &Node) {
    match number(d.word(1), 6) {
        None | Some(0) => out.dropped(
            d,
            packed!("no pause in keepalived; vipd keeps its default of 0.1 seconds between rounds"),
        ),
        Some(_) if out.defaults.iter().any(|(key, _)| key == "garp_interval") => {
            out.dropped(
                d,
                packed!(
                    "vipd has one interval for ARP and for neighbour advertisements: the first one counts"
                ),
            );
        }
        Some(us) => {
            let ms = us.div_ceil(1000).clamp(10, 10_000);
            if ms * 1000 != us {
                out.told(d, packed!("vipd takes 0.01 to 10, in steps of 0.001"));
            }
            out.defaults.push(("garp_interval".to_owned(), seconds(ms)));
        }
    }
}

/// Whether keepalived mails about virtual routers at all, and whether about some only.
fn alerts(out: &Out<'_>, defs: &[&Node]) -> (bool, bool) {
    let on = |d: &Node| truth(d.word(1)).unwrap_or(false);
    let default = find(defs, "smtp_alert_vrrp").or(find(defs, "smtp_alert")).is_some_and(on);
    let mut any = false;
    let mut all = true;
    for n in out.tree.root.all("vrrp_instance vrrp_sync_group") {
        let own = n.last("smtp_alert").map_or(default, on);
        any |= own;
        all &= own || n.is("vrrp_sync_group");
    }
    (any, all)
}

/// `notification_email` and what belongs to it.
fn mail(out: &mut Out<'_>, defs: &[&Node]) {
    let Some(first) = find(defs, "notification_email") else { return };
    let (any, every) = alerts(out, defs);
    let Some(server) = find(defs, "smtp_server").filter(|_| any) else {
        let why = if any {
            packed!("there is no `smtp_server`, so keepalived sends no mail: left out")
        } else {
            packed!("keepalived sends mail about VRRP only with `smtp_alert`, which is not set: left out")
        };
        return out.dropped(first, why);
    };
    if !every {
        out.comment(packed!(
            "`smtp_alert` is set for some virtual routers only: vipd sends mail about all or none"
        ));
    }
    let mut to: Vec<String> = Vec::new();
    for d in defs.iter().filter(|d| d.is("notification_email")).flat_map(|d| &d.block) {
        for word in &d.words {
            let why = match plain(word) {
                Some(one) if to.len() < MAX_TO && !to.iter().any(|other| other == one) => {
                    to.push(one.to_owned());
                    continue;
                }
                Some(_) => packed!(": given twice, or more than 32 recipients"),
                None => packed!(": not a mail address of the form local@domain: left out"),
            };
            out.line(&["# ", word, &why.text()]);
        }
    }
    if to.is_empty() {
        return out.dropped(first, packed!("no recipient is left"));
    }
    out.key("notification_email", &join(&to, ", "));
    let (host, port) = (server.word(1), server.word(2));
    let value = match port {
        "" => host.to_owned(),
        _ if host.as_bytes().contains(&b':') => ["[", host, "]:", port].concat(),
        _ => [host, ":", port].concat(),
    };
    out.key("smtp_server", &value);
    if let Some(from) = find(defs, "notification_email_from") {
        let text = join(from.words.get(1..).unwrap_or_default(), " ");
        match plain(&text) {
            Some(one) => out.key("notification_email_from", one),
            None => out.dropped(from, packed!("not a mail address of the form local@domain: left out")),
        }
    }
    if let Some(d) = find(defs, "smtp_connect_timeout") {
        out.number_key("smtp_connect_timeout", d, 0, 1, 300);
    }
}

/// The address of `Name <local@domain>`, or of itself.
fn plain(text: &str) -> Option<&str> {
    let text = text.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(text, |(one, _)| one);
    let good = |b: u8| b.is_ascii_graphic() && !b",\"()<>;\\".contains(&b);
    let (local, domain) = text.split_once('@')?;
    let whole = !local.is_empty() && !domain.is_empty() && !domain.as_bytes().contains(&b'@');
    Some(text).filter(|t| whole && t.bytes().all(good))
}
