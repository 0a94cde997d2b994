//! What the kernel says: of interfaces and addresses, of connections, and of nf_tables.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipd::base::time::Time;
use vipd::wire::diag;
use vipd::wire::nft;
use vipd::wire::rtnl::{self, AddrSpec, Lifetime, Msg};

fuzz_target!(|data: &[u8]| {
    // Each takes a header of 16 octets at least; one may come with Interrupted, and the last with Overrun.
    let most = data.len() / 16 * 2 + 1;
    let mut count = 0;
    for msg in rtnl::messages(data) {
        count += 1;
        assert!(count <= most, "more messages than octets");
        if let Msg::Addr(a) = msg {
            let _ = a.age(Time::from_nanos(1 << 40));
            again(&a);
        }
        if let Msg::Link(l) = msg {
            assert!(l.name.as_str().len() <= 15);
        }
    }
    for (n, msg) in nft::messages(data).enumerate() {
        assert!(n < most);
        if let nft::Msg::Generation { name, .. } = msg {
            assert!(name.as_str().len() <= 15);
        }
    }
    let mut requests = Vec::new();
    for (n, msg) in diag::messages(data).enumerate() {
        assert!(n < most);
        if let diag::Msg::Connection(c) = msg {
            let _ = (c.local(), c.ifindex());
            requests.clear();
            diag::destroy(&mut requests, 1, &c);
            assert_eq!(requests.len(), 72);
        }
    }
});

/// An address that the kernel may tell of can be asked for in the same words.
fn again(a: &rtnl::Addr) {
    let label = a.label.filter(|l| a.addr.is_ipv4() && !l.as_str().is_empty());
    let spec = AddrSpec {
        ifindex: a.ifindex,
        addr: a.addr,
        prefix: a.prefix,
        lifetime: Some(Lifetime { preferred: a.preferred, valid: a.valid }),
        label: label.as_ref().map(|l| l.as_str()),
        proto: a.proto,
        flags: a.flags,
    };
    let mut out = Vec::new();
    rtnl::new_addr(&mut out, 7, 0, &spec);
    let all: Vec<Msg> = rtnl::messages(&out).collect();
    let [Msg::Addr(b)] = all[..] else { panic!("{all:?}") };
    let want = rtnl::Addr { seq: 7, scope: 0, tstamp: 0, label, ..*a };
    assert_eq!(b, want);
}
