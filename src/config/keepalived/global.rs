//! `global_defs`, and mail.

use super::out::Out;
use super::parse::Node;
use super::tables::GLOBAL;
use super::text::{number, seconds, truth};

/// Most recipients of a mail.
const MAX_TO: usize = 32;

/// Writes `[global]`.
pub(super) fn write(out: &mut Out<'_>) {
    out.begin("global");
    let mut defs = Vec::new();
    for n in out.tree.nodes.iter().filter(|n| n.keyword() == "global_defs") {
        defs.extend_from_slice(&n.block);
    }
    let defs = out.settle(&defs, "", "notification_email");
    for d in &defs {
        match d.keyword() {
            "vrrp_version" => version(out, d),
            "vrrp_garp_interval" | "vrrp_gna_interval" => garp_interval(out, d),
            "script_user" => {
                d.word(1).clone_into(&mut out.user);
                if !d.word(2).is_empty() {
                    out.told(d, "the group is that of the user");
                }
                let hooks = out.tree.nodes.iter().flat_map(|n| &n.block);
                if hooks.into_iter().any(|h| h.keyword().starts_with("notify")) {
                    out.key("notify_user", d.word(1));
                }
            }
            "v3_checksum_as_v2" => out.defaults.push(("v3_checksum_as_v2", d.word(1).to_owned())),
            "notification_email" | "notification_email_from" | "smtp_server" | "smtp_connect_timeout" => {}
            "smtp_alert" | "smtp_alert_vrrp" => {}
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
        _ => out.dropped(d, "neither 2 nor 3: keepalived ignores it, too"),
    }
}

/// keepalived has one for ARP and one for neighbour advertisements, in seconds with six decimals, and pauses
/// only if it is given.
fn garp_interval(out: &mut Out<'_>, d: &Node) {
    match number(d.word(1), 6) {
        None | Some(0) => {
            out.dropped(d, "no pause in keepalived; vipd keeps its default of 0.1 seconds between rounds")
        }
        Some(_) if out.defaults.iter().any(|(key, _)| *key == "garp_interval") => {
            out.dropped(
                d,
                "vipd has one interval for ARP and for neighbour advertisements: the first one counts",
            );
        }
        Some(us) => {
            let ms = us.div_ceil(1000).clamp(10, 10_000);
            if ms * 1000 != us {
                out.told(d, "vipd takes 0.01 to 10, in steps of 0.001");
            }
            out.defaults.push(("garp_interval", seconds(ms)));
        }
    }
}

/// Whether keepalived mails about virtual routers at all, and whether about some only.
fn alerts(out: &Out<'_>, defs: &[&Node]) -> (bool, bool) {
    let on = |d: &Node| truth(d.word(1)).unwrap_or(false);
    let find = |key: &str| defs.iter().find(|d| d.keyword() == key).map(|d| on(d));
    let default = find("smtp_alert_vrrp").or(find("smtp_alert")).unwrap_or(false);
    let mut any = false;
    let mut all = true;
    for n in out.tree.nodes.iter().filter(|n| matches!(n.keyword(), "vrrp_instance" | "vrrp_sync_group")) {
        let own = n.block.iter().rfind(|d| d.keyword() == "smtp_alert").map_or(default, on);
        any |= own;
        all &= own || n.keyword() == "vrrp_sync_group";
    }
    (any, all)
}

/// `notification_email` and what belongs to it.
fn mail(out: &mut Out<'_>, defs: &[&Node]) {
    let all = |key: &str| defs.iter().copied().filter(move |d| d.keyword() == key).collect::<Vec<&Node>>();
    let Some(&first) = all("notification_email").first() else { return };
    let (any, every) = alerts(out, defs);
    let server = all("smtp_server").first().copied();
    let Some(server) = server.filter(|_| any) else {
        let why = if any {
            "there is no `smtp_server`, so keepalived sends no mail: left out"
        } else {
            "keepalived sends mail about VRRP only with `smtp_alert`, which is not set: left out"
        };
        return out.dropped(first, why);
    };
    if !every {
        out.comment("`smtp_alert` is set for some virtual routers only: vipd sends mail about all or none");
    }
    let mut to: Vec<&str> = Vec::new();
    for word in all("notification_email").iter().flat_map(|d| &d.block).flat_map(|d| &d.words) {
        match plain(word) {
            Some(one) if to.len() < MAX_TO && !to.contains(&one) => to.push(one),
            Some(_) => out.line(&["# ", word, ": given twice, or more than 32 recipients"]),
            None => out.line(&["# ", word, ": not a mail address of the form local@domain: left out"]),
        }
    }
    if to.is_empty() {
        return out.dropped(first, "no recipient is left");
    }
    out.key("notification_email", &to.join(", "));
    match (server.word(1), server.word(2)) {
        (host, "") => out.key("smtp_server", host),
        (host, port) if host.contains(':') => out.key("smtp_server", &["[", host, "]:", port].concat()),
        (host, port) => out.key("smtp_server", &[host, ":", port].concat()),
    }
    if let Some(from) = all("notification_email_from").first() {
        let text = from.words.get(1..).unwrap_or_default().join(" ");
        match plain(&text) {
            Some(one) => out.key("notification_email_from", one),
            None => out.dropped(from, "not a mail address of the form local@domain: left out"),
        }
    }
    if let Some(d) = all("smtp_connect_timeout").first()
        && let Some(value) = out.number(d, 0, 1, 300)
    {
        out.key("smtp_connect_timeout", &value);
    }
}

/// The address of `Name <local@domain>`, or of itself.
fn plain(text: &str) -> Option<&str> {
    let text = text.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(text, |(one, _)| one);
    let good = |c: char| c.is_ascii_graphic() && !matches!(c, ',' | '"' | '(' | ')' | '<' | '>' | ';' | '\\');
    let (local, domain) = text.rsplit_once('@')?;
    Some(text)
        .filter(|t| !local.is_empty() && !domain.is_empty() && !local.contains('@') && t.chars().all(good))
}
