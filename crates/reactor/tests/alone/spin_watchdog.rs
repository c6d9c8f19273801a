//! The watchdog does not take a loop that spins for one that is blocked.

use std::time::Duration;

use thence_reactor::Reactor;

use crate::{alone, warnings::warnings};

#[test]
fn the_watchdog_does_not_take_it_for_a_blocked_loop() {
    let _alone = alone();
    let warnings = warnings();
    let builder = Reactor::builder().spin(Duration::from_secs(3600));
    let limit = Duration::from_millis(40);
    let mut reactor = builder.watchdog(Some(limit)).build().unwrap();
    for _ in 0..3 {
        reactor.turn(Some(limit * 4)).unwrap();
    }
    assert_eq!(warnings.try_iter().count(), 0);
}
