//! What somebody with the right password can make a node say and do.

use super::*;
use crate::vrrp::machine::Note;

const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 168, 30, 10);

fn noted(w: &World) -> usize {
    w.events.iter().filter(|e| matches!(e, Event::Noted { .. })).count()
}

#[test]
fn notes_are_bounded_in_time() {
    let mut master = World::new(&one(""));
    master.begin(false);
    master.run(ms(5000));
    assert!(master.node.routers[0].is_master());
    let mut backup = World::new(&one(""));
    backup.begin(false);
    backup.hear(PEER, 200);
    for w in [&mut master, &mut backup] {
        w.events.clear();
        w.did.clear();
        for _ in 0..500 {
            w.hear(STRANGER, 50);
            w.hear(STRANGER, 0);
            w.now += ms(1);
        }
        assert_eq!(noted(w), 1, "one reason each, said once: {:?}", w.events);
        let adverts = w.did.iter().filter(|(_, d)| matches!(d, Did::Advert(..))).count();
        assert!(adverts <= 4, "{adverts} adverts in half a second");
        assert_eq!(w.node.routers[0].stats.priority_zero_received, 500, "but all are counted");
    }
    assert_eq!(master.node.routers[0].stats.lower_adverts, 500);
    // After a while it is said again.
    master.run(ms(10_000));
    master.hear(STRANGER, 50);
    let lower = |e: &&Event| matches!(e, Event::Noted { note: Note::LowerAdvert(_), .. });
    assert_eq!(master.events.iter().filter(lower).count(), 2);
}
