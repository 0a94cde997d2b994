//! The configuration: errors are where they say, and a good file is good twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipd::config::schema;

fuzz_target!(|text: &[u8]| {
    let lines = 1 + text.iter().filter(|b| **b == b'\n').count();
    let said = match schema::parse_bytes(text, &|_| Err("no file".to_owned())) {
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a reason");
            errors
        }
        Ok((cfg, warnings)) => {
            assert!(cfg.vrrp.iter().all(|v| v.vrid > 0 && v.priority > 0 && !v.advert_int.is_zero()));
            let vips = cfg.vrrp.iter().map(|v| v.vips.len() + v.excluded.len()).sum::<usize>();
            assert!(vips <= schema::MAX_VIPS);
            for v in &cfg.vrrp {
                let file = vipd::lease::state_file::render(v, false);
                assert!(vipd::lease::state_file::says_master(&file, v));
            }
            for g in &cfg.groups {
                assert!(g.members.iter().all(|m| *m < cfg.vrrp.len()));
            }
            let Ok((again, _)) = schema::parse_bytes(text, &|_| Err("no file".to_owned())) else {
                panic!("good once, bad twice")
            };
            assert_eq!(again.vrrp.len(), cfg.vrrp.len());
            warnings
        }
    };
    for d in said {
        assert!(d.line as usize <= lines, "line {} of {lines}: {}", d.line, d.message);
        assert!(!d.message.is_empty() && !d.message.contains('\n'), "one line each");
        assert!(d.message.len() < 20_000, "a message of {} octets", d.message.len());
    }
});
