//! The state files: only what was written for this very virtual router is believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use vipd::config::{Vrrp, schema};
use vipd::lease::state_file;
use vipd::vrrp::replay::Replay;

static ROUTER: LazyLock<Vrrp> = LazyLock::new(|| {
    let text =
        "[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.168.30.230/24\n";
    (*schema::parse(text).unwrap().0.vrrp[0]).clone()
});

fuzz_target!(|content: &[u8]| {
    let Ok(content) = std::str::from_utf8(content) else { return };
    assert_eq!(state_file::says_master(content, &ROUTER), content == state_file::render(&ROUTER, false));
    if let Some(replay) = Replay::parse(content) {
        assert!(replay.has_mark());
        let file = replay.render();
        let again = Replay::parse(&file).expect("our own file");
        assert_eq!(again.render(), file);
    }
});
