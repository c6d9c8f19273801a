//! What the whole process is warned of, for the watchdog warns from a thread of its own.

use std::{
    fmt::Write,
    sync::{Mutex, Once, mpsc},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// The warnings from here on. Only one test listens at a time ([`alone`](crate::alone)).
pub fn warnings() -> mpsc::Receiver<String> {
    static SET: Once = Once::new();
    let (tx, warnings) = mpsc::channel();
    *LISTENER.lock().unwrap() = Some(tx);
    SET.call_once(|| tracing::subscriber::set_global_default(Warnings).unwrap());
    warnings
}

static LISTENER: Mutex<Option<mpsc::Sender<String>>> = Mutex::new(None);

/// Sends every warning on.
struct Warnings;

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
        if let Some(listener) = &*LISTENER.lock().unwrap() {
            // Whoever listened may be gone.
            let _ = listener.send(text);
        }
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
