//! Adverts that go to nobody: who cannot send is no master, and does not try that again and again.

use crate::base::backoff::Backoff;
use crate::base::time::{Time, earlier};
use crate::node::Node;
use crate::vrrp::machine::Input;
use std::time::Duration;

/// The first pause in FAULT; each further one is twice as long, up to the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(16);

/// What an instance knows of adverts that could not be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// The last advert went to nobody.
    pub last: bool,
    /// Masterships in a row that ended for that.
    terms: Backoff,
    /// In FAULT until then.
    until: Option<Time>,
}

impl Unsent {
    /// An advert went out.
    pub fn sent(&mut self) {
        (self.last, self.terms) = (false, Backoff::default());
    }

    /// A mastership has ended without adverts. The first time may be a moment's trouble, and is no fault.
    fn gave_up(&mut self, now: Time) {
        let pause = self.terms.fail(FIRST / 2, LONGEST);
        self.until = (self.terms.failures() > 1).then(|| now + pause);
    }

    /// Whether it is a fault for now.
    pub fn is_fault(&self) -> bool {
        self.until.is_some()
    }
}

impl Node {
    /// An advert went to nobody.
    pub fn unsent(&mut self, router: usize, now: Time) {
        self.end_last_word(router);
        let i = &mut self.routers[router];
        i.unsent.last = true;
        if i.is_master() && i.group.is_some() && self.addrs.last_advert(router).is_none() {
            // A group takes over on all LANs or on none.
            self.step(router, now, Input::Stall);
            self.pause_unsent(router, now);
        }
    }

    /// A mastership has ended because no advert went out. Back off only if sending failed.
    pub(crate) fn pause_unsent(&mut self, router: usize, now: Time) {
        let u = &mut self.routers[router].unsent;
        if u.last {
            u.gave_up(now);
            self.evaluate_all(now);
        }
    }

    /// When the first pause ends.
    pub(crate) fn unsent_deadline(&self) -> Option<Time> {
        self.routers.iter().fold(None, |at, i| earlier(at, i.unsent.until))
    }

    /// Those whose pause is over take part again.
    pub(crate) fn tick_unsent(&mut self, now: Time) {
        let mut over = false;
        for i in &mut self.routers {
            over |= i.unsent.until.take_if(|t| now >= *t).is_some();
        }
        if over {
            self.evaluate_all(now);
        }
    }

    /// Something about an interface has changed, so it may be well again.
    pub(crate) fn clear_unsent(&mut self, link: usize) {
        for i in self.routers.iter_mut().filter(|i| i.link == link) {
            i.unsent = Unsent::default();
        }
    }
}
