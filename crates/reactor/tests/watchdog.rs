//! A blocked loop is told, with the place of what blocks it.

use std::{
    fmt::Write,
    sync::{Mutex, mpsc},
    time::Duration,
};

use thence_core::Deferred;
use thence_reactor::Reactor;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Sends every warning on.
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
        let mut text = String::new();
        event.record(&mut Text(&mut text));
        // Whoever listened may be gone.
        let _ = self.0.lock().unwrap().send(text);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

#[test]
fn says_which_callback_blocks() {
    let (tx, warnings) = mpsc::channel();
    tracing::subscriber::set_global_default(Warnings(Mutex::new(tx))).unwrap();

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
    assert!(told.contains("tests/watchdog.rs"), "{told}");
    assert!(told.contains(&format!("line={line}")), "{told}");
}
