//! The user of a virtual address: a new TCP connection with an HTTP/1.0 request every few
//! milliseconds, whatever became of the ones before.

use super::lan::Node;
use super::{Board, Error, Result, ms, secs, since_start, sys};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, connect, getsockopt, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One request that came to its end.
#[derive(Clone, Debug)]
pub struct Request {
    /// When the connection was begun.
    pub start: Instant,
    /// When it was answered, or failed.
    pub end: Instant,
    /// How often the SYN was sent again.
    pub syn_retransmits: u32,
    /// How often any segment was sent again.
    pub retransmits: u32,
    /// The body of the answer (the name of the node), or how it failed.
    pub answer: std::result::Result<Arc<str>, &'static str>,
}

/// What clients noticed between two moments.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests begun.
    pub requests: usize,
    /// The longest time between two answers, the ends of the window included.
    pub silence: Duration,
    /// The slowest answered request.
    pub slowest: Duration,
    /// Requests whose SYN had to be sent again.
    pub syn_retransmits: usize,
    /// Requests without an answer, by what became of them.
    pub failed: BTreeMap<&'static str, usize>,
    /// Answers, by who gave them.
    pub by: BTreeMap<String, usize>,
}

impl Report {
    /// Requests without an answer.
    pub fn failures(&self) -> usize {
        self.failed.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, answered by {:?}, silence {:.1} ms, slowest {:.1} ms, {} SYN retransmissions, failed {:?}",
            self.requests,
            self.by,
            self.silence.as_secs_f64() * 1e3,
            self.slowest.as_secs_f64() * 1e3,
            self.syn_retransmits,
            self.failed,
        )
    }
}

/// A client, asking until it is dropped.
pub struct Client {
    target: SocketAddr,
    deadline: Duration,
    done: Arc<Board<Request>>,
    /// Nothing that was begun before is still in flight.
    settled: Arc<Mutex<Instant>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Asks `target` every 4 ms, and waits up to 5 s for an answer.
    pub fn start(node: &Node, target: &str) -> Result<Client> {
        Client::start_with(node, target, ms(4), secs(5))
    }

    /// Asks `target` once every `interval`, and waits up to `deadline` for each answer.
    pub fn start_with(node: &Node, target: &str, interval: Duration, deadline: Duration) -> Result<Client> {
        let target: SocketAddr = target.parse().map_err(|_| Error(format!("{target}: not ADDR:PORT")))?;
        let (done, stop) = (Arc::new(Board::new()), Arc::new(AtomicBool::new(false)));
        let settled = Arc::new(Mutex::new(Instant::now()));
        let thread = std::thread::spawn({
            let (node, done, stop, settled) = (node.clone(), done.clone(), stop.clone(), settled.clone());
            move || {
                node.join();
                sys::realtime();
                let ask = || Asker::new(target, deadline, done.clone(), settled)?.run(interval, &stop);
                if let Err(e) = ask() {
                    done.broken(format!("client: {e}"));
                }
            }
        });
        Ok(Client { target, deadline, done, settled, stop, thread: Some(thread) })
    }

    /// Waits for the next answer to a request begun from now on; says who gave it.
    pub fn wait_answer(&self, timeout: Duration) -> Result<String> {
        let now = Instant::now();
        let what = || format!("an answer from {}", self.target);
        self.done
            .wait(timeout, what, |done| {
                let fresh = done.iter().rev().take_while(|request| request.end >= now);
                fresh.filter(|request| request.start >= now).find_map(|request| request.answer.clone().ok())
            })
            .map(|node| node.to_string())
    }

    /// Waits until that node answers a request begun from now on.
    pub fn wait_answer_by(&self, node: &str, timeout: Duration) -> Result<Instant> {
        let now = Instant::now();
        let what = || format!("an answer from {} given by {node}", self.target);
        self.done.wait(timeout, what, |done| {
            let fresh = done.iter().rev().take_while(|request| request.end >= now);
            let hits = fresh.filter(|request| request.start >= now && request.answer.as_deref() == Ok(node));
            hits.last().map(|request| request.end)
        })
    }

    /// What was noticed of the time between `from` and `to`; waits until the last request begun in it has
    /// ended.
    pub fn report(&self, from: Instant, to: Instant) -> Result<Report> {
        let what = || format!("the requests to {} to end", self.target);
        self.done.wait(self.deadline + secs(1), what, |_| {
            (*self.settled.lock().unwrap_or_else(PoisonError::into_inner) > to).then_some(())
        })?;
        self.done.read(|done| {
            let mut report = Report::default();
            let mut answers = vec![from, to];
            for request in done {
                if request.answer.is_ok() && (from..=to).contains(&request.end) {
                    answers.push(request.end);
                }
                if !(from..=to).contains(&request.start) {
                    continue;
                }
                report.requests += 1;
                report.syn_retransmits += usize::from(request.syn_retransmits > 0);
                match &request.answer {
                    Ok(node) => {
                        *report.by.entry(node.to_string()).or_default() += 1;
                        report.slowest = report.slowest.max(request.end - request.start);
                    }
                    Err(kind) => *report.failed.entry(kind).or_default() += 1,
                }
            }
            answers.sort_unstable();
            report.silence = answers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
            Ok(report)
        })
    }

    /// The times without an answer that were longer than `min`, by their beginnings, the ends of the window
    /// included.
    pub fn silences(&self, from: Instant, to: Instant, min: Duration) -> Vec<(Instant, Duration)> {
        self.done.read(|done| {
            let answered =
                done.iter().filter(|r| r.answer.is_ok() && (from..=to).contains(&r.end)).map(|r| r.end);
            let mut answers: Vec<Instant> = answered.chain([from, to]).collect();
            answers.sort_unstable();
            let spans = answers.windows(2).map(|pair| (pair[0], pair[1] - pair[0]));
            spans.filter(|(_, length)| *length > min).collect()
        })
    }

    /// Who began to answer when in the window, and how long after the last answer of the one before.
    pub fn answerers(&self, from: Instant, to: Instant) -> Vec<(Instant, String, Duration)> {
        self.done.read(|done| {
            let mut answers: Vec<(Instant, &str)> = done
                .iter()
                .filter(|request| (from..=to).contains(&request.end))
                .filter_map(|request| Some((request.end, request.answer.as_deref().ok()?)))
                .collect();
            answers.sort_unstable();
            let mut turns: Vec<(Instant, String, Duration)> = Vec::new();
            let mut last = from;
            for (at, node) in answers {
                if turns.last().is_none_or(|(_, name, _)| name != node) {
                    turns.push((at, node.to_owned(), at - last));
                }
                last = at;
            }
            turns
        })
    }

    /// The requests of the window that failed or were slow, one per line: for the report of a failure.
    pub fn odd(&self, from: Instant, to: Instant, slow: Duration) -> String {
        let odd = |r: &&Request| {
            (from..=to).contains(&r.start)
                && (r.answer.is_err() || r.end - r.start > slow || r.retransmits > 0)
        };
        self.done.read(|done| {
            let lines = done.iter().filter(odd).take(20).map(|r| {
                format!(
                    "{:9.3}  {:7.1} ms  {} retransmissions ({} SYN)  {:?}\n",
                    since_start(r.start),
                    (r.end - r.start).as_secs_f64() * 1e3,
                    r.retransmits,
                    r.syn_retransmits,
                    r.answer
                )
            });
            lines.collect()
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection under way.
struct Flight {
    fd: OwnedFd,
    start: Instant,
    syn_retransmits: Option<u32>,
    data: Vec<u8>,
}

struct Asker {
    target: SocketAddr,
    deadline: Duration,
    epoll: Epoll,
    timer: TimerFd,
    flights: HashMap<u64, Flight>,
    /// All flights are in here, by start, and some that have landed.
    queue: VecDeque<(u64, Instant)>,
    next: u64,
    names: HashMap<String, Arc<str>>,
    done: Arc<Board<Request>>,
    settled: Arc<Mutex<Instant>>,
}

const TIMER: u64 = u64::MAX;

impl Asker {
    fn new(
        target: SocketAddr,
        deadline: Duration,
        done: Arc<Board<Request>>,
        settled: Arc<Mutex<Instant>>,
    ) -> Result<Asker> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        let (flights, queue, names) = (HashMap::new(), VecDeque::new(), HashMap::new());
        Ok(Asker { target, deadline, epoll, timer, flights, queue, next: 0, names, done, settled })
    }

    fn run(&mut self, interval: Duration, stop: &AtomicBool) -> Result<()> {
        let nanos = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX);
        let every = Expiration::Interval(TimeSpec::nanoseconds(nanos));
        self.timer.set(every, TimerSetTimeFlags::empty())?;
        let mut events = [EpollEvent::empty(); 64];
        while !stop.load(Ordering::Relaxed) {
            let ready = match self.epoll.wait(&mut events, nix::sys::epoll::EpollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            for event in &events[..ready] {
                match event.data() {
                    TIMER => {
                        self.timer.wait()?;
                        self.expire();
                        self.launch()?;
                    }
                    key => self.advance(key),
                }
            }
        }
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        let family = if self.target.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let start = Instant::now();
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(family, SockType::Stream, flags, None)?;
        // Closing after the answer leaves no TIME_WAIT on either side: at these rates ports would run out.
        setsockopt(&fd, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
        let key = self.next;
        self.next += 1;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        self.epoll.add(&fd, EpollEvent::new(flags, key))?;
        let result = connect(fd.as_raw_fd(), &SockaddrStorage::from(self.target));
        self.flights.insert(key, Flight { fd, start, syn_retransmits: None, data: Vec::new() });
        self.queue.push_back((key, start));
        match result {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(e) => self.land(key, Err(kind(e))),
        }
        Ok(())
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(&(key, start)) = self.queue.front() {
            if self.flights.contains_key(&key) {
                if now - start < self.deadline {
                    break;
                }
                self.land(key, Err("timeout"));
            }
            self.queue.pop_front();
        }
        let oldest = self.queue.front().map_or(now, |(_, start)| *start);
        *self.settled.lock().unwrap_or_else(PoisonError::into_inner) = oldest;
    }

    fn advance(&mut self, key: u64) {
        let Some(flight) = self.flights.get_mut(&key) else { return };
        match flight.advance() {
            Ok(None) => {}
            Ok(Some(body)) => {
                let name = self.names.entry(body.clone()).or_insert_with(|| body.into()).clone();
                self.land(key, Ok(name));
            }
            Err(why) => self.land(key, Err(why)),
        }
    }

    fn land(&mut self, key: u64, answer: std::result::Result<Arc<str>, &'static str>) {
        let end = Instant::now();
        let Some(flight) = self.flights.remove(&key) else { return };
        let retransmits = sys::tcp_retransmits(flight.fd.as_fd());
        let syn_retransmits = flight.syn_retransmits.unwrap_or(retransmits);
        self.done.push(Request { start: flight.start, end, syn_retransmits, retransmits, answer });
    }
}

impl Flight {
    /// As far as it goes now; the body of the answer once it is complete.
    fn advance(&mut self) -> std::result::Result<Option<String>, &'static str> {
        if self.syn_retransmits.is_none() {
            match getsockopt(&self.fd, sockopt::SocketError) {
                Ok(0) => {}
                Ok(e) => return Err(kind(Errno::from_raw(e))),
                Err(e) => return Err(kind(e)),
            }
            match send(self.fd.as_raw_fd(), b"GET / HTTP/1.0\r\n\r\n", MsgFlags::MSG_NOSIGNAL) {
                Ok(_) => self.syn_retransmits = Some(sys::tcp_retransmits(self.fd.as_fd())),
                Err(Errno::EAGAIN | Errno::ENOTCONN) => return Ok(None),
                Err(e) => return Err(kind(e)),
            }
        }
        let mut buf = [0; 2048];
        loop {
            match recv(self.fd.as_raw_fd(), &mut buf, MsgFlags::empty()) {
                Ok(0) => return Err("closed"),
                Ok(n) => self.data.extend(&buf[..n]),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(e) => return Err(kind(e)),
            }
            if let Some(body) = body(&self.data)? {
                return Ok(Some(body));
            }
        }
    }
}

/// The body of a complete 200 answer.
fn body(data: &[u8]) -> std::result::Result<Option<String>, &'static str> {
    let text = String::from_utf8_lossy(data);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    if head.split(' ').nth(1) != Some("200") {
        return Err("not 200");
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Ok((body.len() >= length.unwrap_or(1)).then(|| body.trim().to_owned()))
}

fn kind(e: Errno) -> &'static str {
    match e {
        Errno::ECONNREFUSED => "refused",
        Errno::ECONNRESET | Errno::EPIPE => "reset",
        Errno::ETIMEDOUT => "timeout",
        Errno::EHOSTUNREACH | Errno::ENETUNREACH => "unreachable",
        Errno::EADDRNOTAVAIL | Errno::EMFILE => "client out of sockets",
        _ => e.desc(),
    }
}
