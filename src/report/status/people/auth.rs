//! How adverts are signed, and the clocks that this needs. Keys are named by their ids and never shown.

use super::Page;
use crate::base::text::Write;
use crate::node::Router;
use crate::vrrp::authentication::hmac::Hmac;

impl Page<'_> {
    pub(super) fn authentication(&mut self, router: &Router) {
        let Some(hmac) = router.auth.hmac() else { return };
        let cfg = &hmac.cfg;
        self.row("auth");
        write!(self.s, "HMAC, {}", cfg.mode.word());
        if hmac.signs() {
            write!(self.s, ", signs with key {}", cfg.active);
        }
        let mut before = ", knows ";
        for key in &cfg.keys {
            write!(self.s, "{before}{}", key.id);
            before = " and ";
        }
        match cfg.time_window {
            Some(window) => {
                writeln!(self.s, ", time window {window} s");
                self.clocks(hmac);
            }
            None => self.s.push_str(", monotonic\n"),
        }
    }

    fn clocks(&mut self, hmac: &Hmac) {
        if self.node.is_clock_unset(self.c.now) {
            self.row("clock");
            self.state("NOT SET");
            self.s.push_str(": adverts of nodes whose clock is set are refused\n");
        }
        let Some(skew) = hmac.skew.filter(|s| s.seconds != 0) else { return };
        self.row("clock");
        if skew.stale {
            self.state("STALE");
            self.s.push_str(": ");
        }
        let how = if skew.seconds > 0 { "ahead of" } else { "behind" };
        write!(self.s, "{} is {} s {how} this node", skew.src, skew.seconds.unsigned_abs());
        self.s.push_str(if skew.stale { ": its adverts are refused\n" } else { "\n" });
    }
}
