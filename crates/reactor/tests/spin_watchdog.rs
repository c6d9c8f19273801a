//! The watchdog does not take a loop that spins for one that is blocked.

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use thence_reactor::Reactor;
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Sends a word for every warning.
struct Warnings(Mutex<mpsc::Sender<String>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let _ = self.0.lock().unwrap().send(event.metadata().target().to_owned());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn the_watchdog_does_not_take_it_for_a_blocked_loop() {
    let (tx, warnings) = mpsc::channel();
    tracing::subscriber::set_global_default(Warnings(Mutex::new(tx))).unwrap();
    let builder = Reactor::builder().spin(Duration::from_secs(3600));
    let limit = Duration::from_millis(40);
    let mut reactor = builder.watchdog(Some(limit)).build().unwrap();
    for _ in 0..3 {
        reactor.turn(Some(limit * 4)).unwrap();
    }
    assert_eq!(warnings.try_iter().count(), 0);
}
