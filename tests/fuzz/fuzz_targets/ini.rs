//! The configuration: errors are where they say, and a good file is good twice. The first line is what the
//! environment has in each variable; a line of three minuses begins the next file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use vipd::base::secret::Secret;
use vipd::config::Config;
use vipd::config::report::{Diagnostic, Report};
use vipd::config::schema;
use vipd::config::source::Source;

/// Splits at each line `---`.
fn files(mut text: &[u8]) -> Vec<&[u8]> {
    let mut files = Vec::new();
    while let Some(at) = text.windows(5).position(|w| w == b"\n---\n") {
        files.push(&text[..at]);
        text = &text[at + 5..];
    }
    files.push(text);
    files
}

fn read(text: &[u8]) -> (Source, Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>>) {
    let (mut source, mut report) = (Source::default(), Report::default());
    let value = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let env = |name: &str| (name != "UNSET").then(|| Secret(value.to_vec()));
    for (i, file) in files(text).into_iter().enumerate() {
        source.add(Path::new(&format!("file{i}")), file, &env, &mut report);
    }
    let read = schema::read(&source, &|_| Err("no file".to_owned()), report);
    (source, read)
}

fuzz_target!(|text: &[u8]| {
    let (source, result) = read(text);
    let lines = source.text().split('\n').count();
    // No variable brings a line with it.
    assert!(lines <= 1 + files(text).len() + text.iter().filter(|b| **b == b'\n').count());
    let said = match result {
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
            let Ok((again, _)) = read(text).1 else { panic!("good once, bad twice") };
            assert_eq!(again, cfg);
            warnings
        }
    };
    for d in said {
        assert!(d.line as usize <= lines, "line {} of {lines}: {}", d.line, d.message);
        assert!(source.files.place(d.line).starts_with("file"));
        assert!(!d.message.is_empty() && !d.message.contains('\n'), "one line each");
        assert!(d.message.len() < 20_000, "a message of {} octets", d.message.len());
    }
});
