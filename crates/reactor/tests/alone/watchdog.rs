//! A blocked loop is told, with the place of what blocks it.

use std::time::Duration;

use thence_core::Deferred;
use thence_reactor::Reactor;

use crate::{alone, warnings::warnings};

#[test]
fn says_which_callback_blocks() {
    let _alone = alone();
    let warnings = warnings();

    let blocked = Reactor::builder().watchdog(Some(Duration::from_millis(2))).build().unwrap().run(
        async move {
            // It blocks until it is told on; a watchdog that says nothing fails the test.
            let (line, wait) = (line!() + 1, Duration::from_secs(60));
            let told = Deferred::<()>::ok(()).map(move |()| warnings.recv_timeout(wait).unwrap());
            Ok((line, told.await?))
        },
    );
    let (line, told) = blocked.unwrap();
    assert!(told.contains("blocked for"), "{told}");
    assert!(told.contains("tests/alone/watchdog.rs"), "{told}");
    assert!(told.contains(&format!("line={line}")), "{told}");
}
