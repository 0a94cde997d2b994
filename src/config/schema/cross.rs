//! Checks over several sections.

use super::Names;
use super::group::{self, Lined};
use super::vips::{ADVERTISED, EXCLUDED};
use super::vrrp::Router;
use crate::config::report::{Report, Shown};
use crate::config::{Haproxy, Vip};
use std::time::Duration;

/// Most virtual addresses of a file. One lease renewal of all must fit into a few milliseconds.
pub const MAX_VIPS: usize = 4096;

/// One virtual address on its device.
struct Place<'a> {
    router: &'a Router,
    line: u32,
    vip: &'a Vip,
    device: &'a str,
}

/// Reports what contradicts itself.
pub fn check(
    routers: &[Router],
    haproxy: Option<&Haproxy>,
    names: &Names<'_>,
    groups: &[Lined],
    report: &mut Report,
) {
    each_router(routers, report);
    addresses(routers, report);
    untracked(routers, names, report);
    for (index, group) in groups.iter().enumerate() {
        group::check(group, groups.get(..index).unwrap_or_default(), routers, report);
    }
    if let Some(haproxy) = haproxy {
        handover(routers, haproxy.stop_timeout, report);
    }
}

/// A virtual router is its number on an interface; IPv4 and IPv6 count apart (RFC 9568 §1.1).
fn each_router(routers: &[Router], report: &mut Report) {
    for (index, again) in routers.iter().enumerate() {
        let (vrid, interface) = (again.vrrp.vrid, &again.vrrp.interface);
        let mut before = routers.iter().take(index).filter(|i| i.ipv6 == again.ipv6);
        // 0 and "" stand for what was wrong, and is reported already.
        if vrid != 0
            && !interface.is_empty()
            && let Some(first) = before.find(|i| i.vrrp.vrid == vrid && i.vrrp.interface == *interface)
        {
            let (name, line) = (&first.vrrp.name, report.files.line(first.vrid_line));
            let text = format_args!(
                "virtual_router_id = {vrid} on {} is that of [vrrp {name}] on line {line}: take another",
                Shown(interface)
            );
            report.error(again.vrid_line, text);
        }
    }
}

/// An address on a device is there once.
fn addresses(routers: &[Router], report: &mut Report) {
    let mut places: Vec<Place<'_>> = Vec::new();
    for router in routers {
        let vrrp = &router.vrrp;
        let advertised = vrrp.vips.iter().zip(&router.vip_lines).map(|pair| (ADVERTISED, pair));
        let excluded = vrrp.excluded.iter().zip(&router.excluded_lines).map(|pair| (EXCLUDED, pair));
        for (key, (vip, &line)) in advertised.chain(excluded) {
            let device = vip.dev.as_ref().unwrap_or(&vrrp.interface);
            if places.len() == MAX_VIPS {
                report.error(line, format_args!("too many virtual addresses in all: at most {MAX_VIPS}"));
                return;
            }
            let first = places.iter().find(|p| p.vip.addr == vip.addr && p.device == device);
            if let Some(first) = first.filter(|_| !device.is_empty()) {
                let (name, at) = (&first.router.vrrp.name, report.files.line(first.line));
                let text = format_args!(
                    "{key}: {} on {} is already in [vrrp {name}] on line {at}: remove one",
                    vip.addr,
                    Shown(device)
                );
                report.error(line, text);
            } else {
                places.push(Place { router, line, vip, device });
            }
        }
    }
}

/// A check costs something only if somebody wants to know.
fn untracked(routers: &[Router], names: &Names<'_>, report: &mut Report) {
    for (index, name) in names.checks.iter().enumerate() {
        let tracked = |i: &Router| i.vrrp.track_checks.iter().any(|t| t.check == index);
        if !routers.iter().any(tracked) {
            let text =
                format_args!("[check {name}] is tracked by no router: add track = {name} to a [vrrp NAME]");
            report.warning(names.first("check", name).map_or(0, |s| s.line), text);
        }
    }
}

/// The hand-over is part of the stop.
fn handover(routers: &[Router], stop: Duration, report: &mut Report) {
    for router in routers {
        let vrrp = &router.vrrp;
        if vrrp.make_before_break && vrrp.handover_timeout > stop {
            let (own, stop) = (super::reader::seconds(vrrp.handover_timeout), super::reader::seconds(stop));
            let text = format_args!(
                "handover_timeout = {own} of [vrrp {}] is longer than stop_timeout = {stop} of [haproxy], which cuts it short",
                vrrp.name
            );
            report.warning(router.handover_line, text);
        }
    }
}
