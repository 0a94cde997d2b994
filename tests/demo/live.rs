//! A line that says who answers right now, while a step waits.

use super::{Client, ms, secs, since_start};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// On a terminal the line is written again and again; elsewhere it is a line of its own at times.
const AGAIN: Duration = ms(200);
const ELSEWHERE: Duration = secs(2);

/// Writes until it is dropped.
pub struct Live {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    pub fn start(client: &Arc<Client>) -> Live {
        let (stop, client) = (Arc::new(AtomicBool::new(false)), client.clone());
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let terminal = std::io::stdout().is_terminal();
                let mut next = Instant::now() + if terminal { AGAIN } else { ELSEWHERE };
                while !stop.load(Ordering::Relaxed) {
                    std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
                    if Instant::now() < next {
                        continue;
                    }
                    let text = line(&client);
                    match terminal {
                        true => print!("\r\x1b[K{text}"),
                        false => println!("{text}"),
                    }
                    let _ = std::io::stdout().flush();
                    next += if terminal { AGAIN } else { ELSEWHERE };
                }
                clear();
            }
        });
        Live { stop, thread: Some(thread) }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Removes the line, for another one in its place.
pub fn clear() {
    if std::io::stdout().is_terminal() {
        print!("\r\x1b[K");
        let _ = std::io::stdout().flush();
    }
}

fn line(client: &Client) -> String {
    let now = Instant::now();
    let last = client.answerers(now - ms(300), now).pop();
    let who = last.map_or("nobody answers".to_owned(), |(_, node, _)| format!("{node} answers"));
    format!("   {:8.3} s  ... {who}", since_start(now))
}
