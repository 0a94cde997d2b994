//! x
mod lab;
use lab::*;
fn main() {
    match isolate() {
        Isolation::Inside => {}
        Isolation::Impossible(s) => {
            println!("skip {s}");
            return;
        }
    }
    go().unwrap();
}
fn go() -> Result<()> {
    let t = std::time::Instant::now();
    let lan = Lan::new(&[
        ("node1", "192.168.30.116/24"),
        ("node2", "192.168.30.117/24"),
        ("client", "192.168.30.10/24"),
    ])?;
    println!("lan {:?}", t.elapsed());
    let w = Watcher::start(&lan)?;
    let cap = Capture::start(&lan)?;
    let (n1, n2) = (lan.node("node1"), lan.node("node2"));
    let vip = "192.168.30.230";
    let h1 = Haproxy::start(&n1, &haproxy_cfg(&n1, "192.168.30.230:5000")?)?;
    let h2 = Haproxy::start(&n2, &haproxy_cfg(&n2, "192.168.30.230:5000")?)?;
    let k1 = Keepalived::run(&n1, &[Router::new(51, 100, "192.168.30.230/24")])?;
    let k2 = Keepalived::run(&n2, &[Router::new(51, 99, "192.168.30.230/24")])?;
    println!("watch {:?}", w.wait_holder(vip, "node1", secs(8)).map(since_start));
    let c = Client::start(&lan.node("client"), "192.168.30.230:5000")?;
    println!("{:?}", c.wait_answer(secs(5)));
    let t0 = std::time::Instant::now();
    k1.terminate();
    println!("{:?}", c.wait_answer_by("node2", secs(5)));
    let t1 = std::time::Instant::now();
    println!("{}", c.report(t0, t1)?);
    println!("{}", c.odd(t0, t1, ms(20)));
    println!("{:?}", k1.wait_exit(secs(5)));
    println!("{:?} {:?}", n1.haproxy_master(), n1.haproxy_workers());
    for s in cap.all(t, |_| true).iter() {
        println!("{s}");
    }
    println!("{:?}", w.timeline(vip));
    println!("{:?}", haproxy_start_time(&lan, "192.168.30.230:5000".parse().unwrap(), 5));
    n1.inject(n1.addr(), 255, &advert(51, 1, 1, Some("1111"), &["192.168.30.230".parse().unwrap()]))?;
    let t2 = std::time::Instant::now();
    lan.node("client").send_frame(&arp_request(&lan.node("client"), "192.168.30.230".parse().unwrap()))?;
    println!("{}", cap.wait("arp answer", t2, secs(1), |s| matches!(s.what, What::Arp { op: 2, .. }))?);
    println!("{}", lan.tails(40));
    Ok(())
}
