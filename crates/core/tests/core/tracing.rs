//! What is told where nobody has set a hook: `tracing` (DESIGN.md §3.5, §3.9).

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use thence_core::{Deferred, Emitter, Failure};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps the level and the message of every event.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(Level, String)>>>);

impl Heard {
    /// What was told while `body` ran.
    fn during(body: impl FnOnce()) -> Vec<(Level, String)> {
        let heard = Self::default();
        tracing::subscriber::with_default(heard.clone(), body);
        std::mem::take(&mut *heard.0.lock().unwrap())
    }
}

impl Subscriber for Heard {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push((*event.metadata().level(), text.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").expect("a string takes anything");
        }
    }
}

#[test]
fn without_a_hook_a_report_is_one_error() {
    let line = line!() + 1;
    let heard = Heard::during(|| Deferred::<u8>::err(Failure::msg("nobody looks")).report());
    let [(level, text)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(*level, Level::ERROR);
    assert!(text.starts_with("unhandled: nobody looks\n    at "), "{text}");
    assert!(text.contains(&format!("tracing.rs:{line}:")), "{text}");
}

#[test]
fn handlers_of_one_type_that_pile_up_are_warned_of_with_their_sites() {
    struct Beep;
    let emitter = Emitter::new();
    let add = |count: usize| {
        Heard::during(|| {
            for _ in 0..count {
                drop(emitter.on(|_: &Beep| ()));
            }
        })
    };
    assert!(add(63).is_empty());
    let heard = add(1);
    let [(level, text)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(*level, Level::WARN);
    assert!(text.starts_with("64 handlers of ") && text.contains("Beep"), "{text}");
    assert!(text.contains("tracing.rs:") && text.ends_with("x64"), "{text}");
    assert!(add(63).is_empty(), "not at every one more");
    assert_eq!(add(1).len(), 1);
}
