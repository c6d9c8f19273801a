//! Facts 66 to 73 of docs/from-twisted.md: errors that nobody handled.
//!
//! | fact | why it has no test here |
//! |---|---|
//! | 72 | the drop of the Deferred is what reports; there is no object beside it |

use std::fmt;
use std::sync::{Arc, Mutex};

use thence_core::{Deferred, Failure, Kind, all, all_settled, flow};
use tracing::field::{Field, Visit};
use tracing::span;

use crate::common::{Cell, Log, OnDrop, checked, outcome_of};

#[test]
fn fact_66_an_unhandled_failure_is_one_error_in_the_log() {
    // Without a hook of its own a thread reports to `tracing`.
    std::thread::spawn(|| {
        let lines = Lines::default();
        tracing::subscriber::with_default(lines.clone(), || {
            let (trigger, d) = Deferred::<u8>::new();
            d.report();
            trigger.fail(Failure::msg("nobody looks"));
        });
        let lines = lines.0.lock().unwrap();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let (level, text) = &lines[0];
        assert_eq!(*level, tracing::Level::ERROR);
        assert!(text.starts_with("unhandled: nobody looks\n    at "), "{text}");
        assert!(text.contains("facts_unhandled.rs:"), "{text}");
    })
    .join()
    .unwrap();
}

#[test]
fn fact_67_differs_it_is_reported_when_it_fails_and_nobody_can_handle_it_any_more() {
    checked(|reports| {
        // Left first: in the very call that fails it, though a canceller is still held.
        let (trigger, d) = Deferred::<u8>::new();
        let canceller = d.canceller();
        d.map(|n| n).report();
        trigger.fail(Failure::msg("left"));
        reports.expect(&["left"]);

        // Failed first: somebody may handle it as long as it is held, and no longer.
        let (trigger, d) = Deferred::<u8>::new();
        trigger.fail(Failure::msg("held"));
        assert!(reports.is_empty());
        drop(d);
        reports.expect(&["held"]);
        canceller.cancel();
    });
}

#[test]
fn fact_68_differs_what_a_failed_step_held_makes_no_cycle_that_keeps_it() {
    checked(|reports| {
        // The failing closure owns a way back to its own chain, as a Twisted frame does.
        let log = Log::new();
        let own = Cell::new();
        let (inside, freed) = (own.clone(), OnDrop::new(log.noting("closure freed")));
        let (trigger, d) = Deferred::<u8>::new();
        let d = d.and_then(move |_| {
            let _kept = (&inside, &freed);
            Err::<u8, _>(Failure::msg("from inside"))
        });
        own.put(d.canceller());
        drop(d);
        trigger.fire(1);
        log.expect(&["closure freed"]);
        reports.expect(&["from inside"]);
    });
}

#[test]
fn fact_69_it_is_handled_by_an_errback_by_being_returned_and_by_an_await() {
    checked(|reports| {
        for ready in [false, true] {
            let ended = |take: &dyn Fn(Deferred<u8>)| {
                let (trigger, d) = Deferred::<u8>::new();
                if ready {
                    trigger.fail(Failure::msg("no"));
                    take(d);
                } else {
                    take(d);
                    trigger.fail(Failure::msg("no"));
                }
            };
            ended(&|d| d.recover(|_| 0).done(drop));
            ended(&|d| {
                // The outer one has it now, and there it is handled.
                let outer = Deferred::<()>::ok(()).and_then(move |()| d);
                outer.recover(|_| 0).done(drop);
            });
            ended(&|d| {
                let (later, inner) = Deferred::<u8>::new();
                d.or_else(move |_| inner).report();
                later.fire(1);
            });
            ended(&|d| flow(async move { Ok(d.await.is_err()) }).report());
        }
        assert!(reports.is_empty());
    });
}

#[test]
fn fact_70_steps_for_values_do_not_handle_it_and_it_is_reported_once() {
    checked(|reports| {
        for ready in [false, true] {
            let (trigger, d) = Deferred::<u8>::new();
            let mut trigger = Some(trigger);
            if ready {
                trigger.take().unwrap().fail(Failure::msg("once"));
            }
            let d = d.map(|n| n + 1).inspect_err(|_| ()).and_then(Ok).map(|n| n).finally(|| ());
            d.report();
            if let Some(trigger) = trigger {
                trigger.fail(Failure::msg("once"));
            }
            reports.expect(&["once"]);
        }
    });
}

#[test]
fn fact_71_a_report_has_the_message_and_the_sites_and_no_debug_of_the_error() {
    #[derive(Debug)]
    struct Denied {
        #[expect(dead_code, reason = "only `Debug` would show it")]
        password: &'static str,
    }
    impl fmt::Display for Denied {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("denied")
        }
    }
    impl std::error::Error for Denied {}

    checked(|reports| {
        let line = line!() + 1;
        let d = Deferred::<u8>::err(Failure::from(Denied { password: "hunter2" }));
        d.report();
        let (trigger, d) = Deferred::<u8, Denied>::with_error();
        d.report();
        trigger.fail(Denied { password: "hunter2" });
        let made = [line, line + 2];
        for (report, made) in reports.take().iter().zip(made) {
            assert_eq!(report.message(), "denied");
            assert_eq!(report.site().unwrap().line(), made, "where it was made");
            assert!(!report.to_string().contains("hunter2"), "{report}");
        }
    });
}

#[test]
fn fact_73_differs_a_gathering_takes_its_inputs_and_reports_what_it_leaves_out() {
    checked(|reports| {
        let failing = || (1..=2).map(|n| Deferred::<u8>::err(Failure::msg(n)));
        // The first is its end; the second nobody asked about.
        let seen = outcome_of(all(failing()));
        assert_eq!(seen.take().unwrap(), "err 1");
        reports.expect(&["2"]);
        // Every outcome was asked for, so nothing is left out.
        all_settled(failing()).done(|outcomes| assert_eq!(outcomes.len(), 2));
        assert!(reports.is_empty());
        // A panic that is left out is told as well.
        let (trigger, d) = Deferred::<u8>::new();
        let (other, e) = Deferred::<u8>::new();
        other.on_cancel(|| ());
        let seen = outcome_of(all([d, e.map(|_| panic!("left out"))]));
        trigger.fail(Failure::msg("first"));
        other.fire(1);
        assert_eq!(seen.take().unwrap(), "err first");
        reports.expect_kinds(&[Kind::Panicked]);
    });
}

/// Keeps the level and the message of each event.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(tracing::Level, String)>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = Message(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push((*event.metadata().level(), text.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
