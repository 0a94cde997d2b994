//! The how-to's two keepalived.conf files, taken over by `vipd import`: the pair that they make fails over.

use super::*;

pub const TESTS: &[(&str, Test)] =
    &[("import_of_the_how_to_fails_over", fails_over), ("import_joins_the_other_keepalived", joins)];

/// As the how-to has it, `!` comments, tabs and all.
fn keepalived_conf(router_id: &str, state: &str, priority: u8) -> String {
    format!(
        "! Configuration File for keepalived\n\
         global_defs {{\n   router_id {router_id}\n   script_user root\n   enable_script_security\n}}\n\n\
         vrrp_script chk_haproxy {{\n    script \"killall -0 haproxy\"   # cheaper than pidof\n    \
         interval 2              # check every 2 seconds\n    weight 2\n}}\n\n\
         vrrp_instance VI_1 {{\n    state {state}\n    interface eth0\n    virtual_router_id 51\n    \
         priority {priority}\n    advert_int 1\n    authentication {{\n        auth_type PASS\n        \
         auth_pass 1111\n    }}\n    virtual_ipaddress {{\n        192.168.30.230\n    }}\n    \
         track_script {{\n        chk_haproxy\n    }}\n}}\n"
    )
}

/// A node that had keepalived, and has vipd now.
fn imported(node: &Node, state: &str, priority: u8) -> Result<(Host, Proc)> {
    let host = Host::start(node)?;
    let conf = keepalived_conf(node.name(), state, priority);
    host.write("/etc/keepalived/keepalived.conf", &conf)?;
    let cfg = haproxy_cfg(node, SERVICE)?;
    host.write("/etc/haproxy/haproxy.cfg", &std::fs::read_to_string(cfg)?)?;
    host.sh("target/vipd import /etc/keepalived/keepalived.conf >/etc/vipd.ini; chmod 600 /etc/vipd.ini")?;
    let ini = host.sh("cat /etc/vipd.ini")?;
    for line in [
        "[haproxy]",
        "[vrrp VI_1]",
        "virtual_router_id = 51",
        &format!("priority = {priority}"),
        "auth_type = PASS",
        "auth_pass = 1111",
        "virtual_ipaddress = 192.168.30.230",
        "track_haproxy = weight 2",
    ] {
        ensure!(ini.lines().any(|l| l == line), "no {line:?} in\n{ini}");
    }
    ensure!(!ini.contains("\ntype = exec"), "the script is HAProxy's affair:\n{ini}");
    let said = host.sh("target/vipd -t 2>&1")?;
    ensure!(said.contains("/etc/vipd.ini: valid"), "{said}");
    let daemon = host.start_program("vipd", &["target/vipd"])?;
    Ok((host, daemon))
}

fn fails_over(w: &World) -> Result<()> {
    let (_host1, one) = imported(&w.one, "MASTER", 100)?;
    w.node1_is_master()?;
    let (_host2, two) = imported(&w.two, "BACKUP", 99)?;
    two.wait_log(words::BACKUP, secs(8))?;
    let client = w.client()?;
    ensure!(client.wait_answer(secs(5))? == "node1", "not node1");
    // The machine dies.
    one.kill_tree();
    client.wait_answer_by("node2", secs(8))?;
    // Its kernel keeps the address for a while, fenced: tests/net/fence.rs looks who answers.
    // It is back, and a planned move costs nobody anything.
    let (_host1, one) = {
        let again = _host1;
        let daemon = again.start_program("vipd", &["target/vipd"])?;
        (again, daemon)
    };
    client.wait_answer_by("node1", secs(10))?;
    one.wait_log("held over a crash", secs(5))?;
    let start = Instant::now();
    one.terminate();
    client.wait_answer_by("node2", secs(8))?;
    one.wait_exit(secs(10))?;
    let report = client.report(start, Instant::now())?;
    ensure!(report.failures() <= 1, "{report}");
    at_peace(&[&two])?;
    Ok(())
}

/// One node is taken over first: beside the keepalived of the other, which still has its file.
fn joins(w: &World) -> Result<()> {
    // Without HAProxy its script would cost it the weight of 2, which it has for nothing else either.
    let conf = keepalived_conf("node2", "BACKUP", 99).replace("    weight 2\n", "");
    let conf = conf.replace("killall -0 haproxy", "/bin/true");
    let (_host, one) = imported(&w.one, "MASTER", 100)?;
    w.node1_is_master()?;
    let two = Keepalived::start(&w.two, &conf)?;
    two.wait_log(words::BACKUP, secs(8))?;
    one.terminate();
    w.watcher.wait_holder(VIP, "node2", secs(8))?;
    at_peace(&[&one, &two])
}
