//! keepalived.conf: whatever it says, what comes out is harmless for a terminal and of a bounded length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipd::config::keepalived::{Outside, import};
use vipd::config::schema;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut includes = 0;
    let mut outside = Outside {
        include: &mut |pattern| {
            includes += 1;
            match pattern.len() % 3 {
                0 => Err("No such file or directory".to_owned()),
                1 => Ok(Vec::new()),
                _ => Ok(vec![("other.conf".to_owned(), "include other.conf\n}\n".to_owned())]),
            }
        },
        program: &|name| name.starts_with('k').then(|| format!("/usr/bin/{name}")),
        id: "node1".to_owned(),
        id_given: data.len() % 2 == 0,
    };
    let said = match import("keepalived.conf", &text, &mut outside) {
        Ok(out) => {
            // What vipd refuses of it, it says where.
            if let Err(errors) = schema::parse(&out) {
                assert!(!errors.is_empty());
            }
            out
        }
        Err(e) => e,
    };
    let harmful = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!said.contains(harmful), "{said:?}");
    assert!(said.len() < 64 * 1024 * 1024 && includes < 100_000, "{} octets, {includes}", said.len());
});
