//! What an address leaves behind: connections that cannot move are told.

use super::*;
use std::io::Read;
use std::net::{TcpListener, TcpStream};

pub const TESTS: &[(&str, Test)] = &[
    ("resets_connections_on_a_planned_stop", |w| resets(w, |one| one.terminate())),
    ("resets_connections_when_preempted", resets_when_preempted),
];

/// A server that never answers and a client that waits for it: only a reset ends that.
struct Waiting {
    client: TcpStream,
    _server: (TcpListener, TcpStream),
}

impl Waiting {
    fn new(w: &World) -> Result<Waiting> {
        // Of IPv6, as many servers are: the connection is IPv4 all the same.
        let listener = w.one.enter(|| TcpListener::bind("[::]:5000"))?;
        let client = w.client.enter(|| TcpStream::connect(SERVICE))?;
        let (served, _) = listener.accept()?;
        Ok(Waiting { client, _server: (listener, served) })
    }

    /// The client hears of it within a time.
    fn hears_of_it(mut self, within: Duration) -> Result<()> {
        self.client.set_read_timeout(Some(within))?;
        match self.client.read(&mut [0]) {
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
            other => fail!("the waiting client got {other:?} within {within:?}"),
        }
    }
}

fn resets(w: &World, leave: fn(&Daemon)) -> Result<()> {
    let one = Daemon::start(Kind::Vipd, &w.one, &[router(100)])?;
    w.node1_is_master()?;
    let two = Daemon::start(Kind::Vipd, &w.two, &[router(90)])?;
    two.wait_log(words::BACKUP, secs(2))?;
    let waiting = Waiting::new(w)?;
    leave(&one);
    waiting.hears_of_it(secs(4))?;
    w.watcher.wait_holder(VIP, "node2", secs(1))?;
    one.wait_log("1 connections to 192.168.30.230 are reset", secs(2))?;
    Ok(())
}

fn resets_when_preempted(w: &World) -> Result<()> {
    let _one = Daemon::start(Kind::Vipd, &w.one, &[router(100)])?;
    w.node1_is_master()?;
    let waiting = Waiting::new(w)?;
    let _two = Daemon::start(Kind::Vipd, &w.two, &[router(150)])?;
    waiting.hears_of_it(ELECTION)?;
    w.watcher.wait_holder(VIP, "node2", secs(1))?;
    Ok(())
}
