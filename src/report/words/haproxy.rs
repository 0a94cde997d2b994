//! Lines about HAProxy.

use super::names::ms;
use super::{Out, errno, exit, refusal, say};
use crate::base::exit::Exit;
use crate::haproxy::supervisor::Event as Haproxy;
use log::Level::{self, Error, Info, Warn};
use std::net::IpAddr;
use std::time::Duration;

pub(super) fn write(out: &mut Out, e: &Haproxy) -> Level {
    match e {
        Haproxy::Started { pid } => say!(out, Info, "haproxy[{pid}] started"),
        Haproxy::Adopted { pid } => say!(out, Info, "haproxy[{pid}] already runs: taking it over"),
        Haproxy::Ready { pid, worker, version, after } => {
            say!(
                out,
                Info,
                "haproxy[{pid}] ready after {} ms (worker {worker}, version {version})",
                ms(after)
            )
        }
        Haproxy::SpawnFailed { errno, retry } => spawn_failed(out, *errno, retry),
        Haproxy::StartFailed { exit: x, retry } => {
            say!(out, Error, "haproxy failed to start: {}; next try in {} ms", exit(*x), ms(retry))
        }
        Haproxy::Killed { retry } => say!(out, Warn, "haproxy was killed; next try in {} ms", ms(retry)),
        Haproxy::StartTimeout { limit, next } => start_timeout(out, limit, next),
        Haproxy::NoListener { retry } => no_listener(out, retry),
        Haproxy::Died { exit: x } => say!(out, Error, "haproxy died: {}; starting it again", exit(*x)),
        Haproxy::Hung { misses } => {
            say!(out, Error, "haproxy missed {misses} answers: it hangs and is killed")
        }
        Haproxy::CrashLoop { deaths, window } => crash_loop(out, *deaths, window),
        Haproxy::Steady => say!(out, Info, "haproxy has not died for crash_window: the fault ends"),
        Haproxy::Checking => say!(out, Info, "haproxy: reload: checking its configuration"),
        Haproxy::ReloadBusy => {
            say!(out, Warn, "haproxy: no reload: it is not ready; its next start reads its files")
        }
        Haproxy::ReloadLater => say!(out, Info, "haproxy: another reload follows the one that is under way"),
        Haproxy::Copy => say!(out, Error, "{COPY}"),
        Haproxy::Plain => say!(out, Warn, "{PLAIN}"),
        Haproxy::ReloadPlain => say!(out, Error, "{RELOAD_PLAIN}"),
        Haproxy::ReloadRefused { exit, reason } => reload_refused(out, *exit, reason.as_deref()),
        Haproxy::Reloaded { worker, after } => {
            say!(out, Info, "haproxy reloaded: worker {worker} answers after {} ms", ms(after))
        }
        Haproxy::ReloadFailed { reason } => reload_failed(out, reason.as_deref()),
        Haproxy::ListenersHeld { count } => {
            say!(out, Info, "haproxy: {count} listening socket(s) held over a crash")
        }
        Haproxy::ListenersNotHeld { why } => say!(
            out,
            Warn,
            "haproxy: its listening sockets cannot be held ({}): if it dies, connections are refused until it \
             is started again",
            refusal(*why)
        ),
        Haproxy::Unbound { vip } => unbound(out, *vip),
        Haproxy::Stopping => say!(out, Info, "haproxy: soft stop"),
        Haproxy::Stopped { exit: x, after } => {
            say!(out, Info, "haproxy stopped after {} ms: {}", ms(after), exit(*x))
        }
        Haproxy::StopForced { kill: false } => {
            say!(out, Warn, "haproxy still has connections: terminating it")
        }
        Haproxy::StopForced { kill: true } => say!(out, Warn, "haproxy does not stop: killing it"),
    }
}

const COPY: &str = "haproxy refuses its configuration, or nothing listens in it: it serves with the LAST GOOD COPY of it; \
                    other nodes are preferred until the files are mended";
const PLAIN: &str =
    "haproxy runs without a master process (-W and -S have no effect): it can be restarted, not reloaded";
const RELOAD_PLAIN: &str =
    "haproxy: no reload: it runs without a master process; `kill PID` makes vipd start it again at once";

fn spawn_failed(out: &mut Out, e: i32, retry: &Duration) -> Level {
    let binary = out.node.haproxy.as_ref().map_or("haproxy".into(), |h| h.binary().to_string_lossy());
    say!(out, Error, "{binary} cannot be executed: {}; next try in {} ms", errno(e), ms(retry))
}

fn crash_loop(out: &mut Out, deaths: usize, window: &Duration) -> Level {
    let s = window.as_secs();
    say!(
        out,
        Error,
        "haproxy died {deaths} times within {s} s: other nodes are preferred until it has run for {s} s"
    )
}

fn start_timeout(out: &mut Out, limit: &Duration, next: &Duration) -> Level {
    let (limit, next) = (ms(limit), next.as_secs());
    say!(
        out,
        Error,
        "haproxy was not ready within {limit} ms (start_timeout): killing it; the next start gets {next} s"
    )
}

fn no_listener(out: &mut Out, retry: &Duration) -> Level {
    let retry = ms(retry);
    say!(
        out,
        Error,
        "haproxy is not started: its configuration has no `bind`, it would serve nobody; next try in {retry} ms"
    )
}

fn reload_refused(out: &mut Out, how: Option<Exit>, reason: Option<&str>) -> Level {
    write!(out, "haproxy: no reload: ");
    match (how, reason) {
        (Some(x), _) => write!(out, "it refuses its configuration ({})", exit(x)),
        (None, Some(_)) => write!(out, "its configuration cannot be used"),
        (None, None) => write!(out, "checking its configuration takes too long"),
    }
    write!(out, "; the old configuration stays in use");
    own_words(out, reason)
}

fn reload_failed(out: &mut Out, reason: Option<&str>) -> Level {
    write!(out, "haproxy: reload failed: no new worker answers");
    own_words(out, reason)
}

/// HAProxy's own reason.
fn own_words(out: &mut Out, reason: Option<&str>) -> Level {
    match reason {
        Some(text) => say!(out, Error, ": {text}"),
        None => Error,
    }
}

fn unbound(out: &mut Out, vip: IpAddr) -> Level {
    say!(
        out,
        Error,
        "haproxy cannot bind to {vip} before this node holds it: write `bind {vip}:PORT transparent` or \
         `bind :PORT`, or allow it with nonlocal_bind = yes (net.ipv4.ip_nonlocal_bind, net.ipv6.ip_nonlocal_bind)"
    )
}
