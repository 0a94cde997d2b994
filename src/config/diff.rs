//! The difference of two configurations: what goes on as it is, and what is replaced.

use super::{Config, Haproxy, Vrrp};

/// Whether two sections are one virtual router to its peers, so that one may become the other in place. Its name is
/// not among what makes it one; nor are its addresses.
pub fn is_same_router(a: &Vrrp, b: &Vrrp) -> bool {
    let key = |v: &Vrrp| {
        ((v.vrid, v.version as u8, v.is_ipv6(), v.priority == 255), (v.unicast_peers.is_empty(), v.use_vmac))
    };
    a.interface == b.interface && key(a) == key(b)
}

/// Whether another command line is needed: HAProxy must be replaced, not reloaded.
pub fn is_same_command(a: &Haproxy, b: &Haproxy) -> bool {
    a.binary == b.binary && a.config == b.config && a.args == b.args
}

/// Whether the groups have the same names and members, wherever those are in the file.
pub fn are_same_groups(a: &Config, b: &Config) -> bool {
    let name = |c: &'_ Config, i: usize| c.vrrp.get(i).map(|v| v.name.clone());
    a.groups.len() == b.groups.len()
        && a.groups.iter().zip(&b.groups).all(|(x, y)| {
            let members = x.members.iter().map(|i| name(a, *i));
            x.name == y.name && members.eq(y.members.iter().map(|i| name(b, *i)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema;

    fn one(more: &str) -> Config {
        let text = format!(
            "[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\nversion = 3\n\
             virtual_ipaddress = 192.168.30.230/24\n{more}\n"
        );
        schema::parse(&text).unwrap_or_else(|e| panic!("{e:?}")).0
    }

    #[test]
    fn what_makes_another_virtual_router() {
        let before = one("");
        for more in ["use_vmac = yes", "unicast_peer = 192.168.30.1", "priority = 255"] {
            assert!(!is_same_router(&before.vrrp[0], &one(more).vrrp[0]), "{more}");
        }
        for change in [
            |v: &mut Vrrp| v.vrid = 52,
            |v: &mut Vrrp| v.interface = "eth1".to_owned(),
            |v: &mut Vrrp| v.version = crate::config::Version::V2,
            |v: &mut Vrrp| v.vips[0].addr = [0u16; 8].into(),
        ] {
            let mut other = before.vrrp[0].clone();
            change(&mut other);
            assert!(!is_same_router(&before.vrrp[0], &other));
        }
    }
}
