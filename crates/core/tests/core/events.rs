//! Events (DESIGN.md §3.9).

use std::rc::Rc;

use thence_core::{Deferred, Emitter, Failure, Never, Subscription, deliver, emit, next, on, once};

use crate::common::{Cell, Log, OnDrop, checked, outcome_of};

#[derive(Clone, Debug)]
struct Beep(u32);

struct Other;

#[test]
fn handlers_of_a_type_run_in_the_order_they_were_added() {
    checked(|_| {
        let log = Log::new();
        for n in 0..3 {
            let seen = log.clone();
            on(move |beep: &Beep| seen.add(format!("{n}: {}", beep.0)));
        }
        let seen = log.clone();
        on(move |_: &Other| seen.add("other"));
        emit(Beep(7));
        log.expect(&["0: 7", "1: 7", "2: 7"]);
        emit(String::from("nobody listens"));
    });
}

#[test]
fn an_emit_inside_a_callback_queues() {
    checked(|_| {
        let log = Log::new();
        let seen = log.clone();
        on(move |beep: &Beep| {
            seen.add(format!("{} begins", beep.0));
            if beep.0 < 2 {
                emit(Beep(beep.0 + 1));
            }
            seen.add(format!("{} ends", beep.0));
        });
        let seen = log.clone();
        on(move |beep: &Beep| seen.add(format!("second {}", beep.0)));
        emit(Beep(1));
        log.expect(&["1 begins", "1 ends", "second 1", "2 begins", "2 ends", "second 2"]);
    });
}

#[test]
fn dropping_a_subscription_keeps_the_handler_and_cancel_removes_it() {
    checked(|_| {
        let log = Log::new();
        let owned = Rc::new(());
        let inside = owned.clone();
        let seen = log.clone();
        let subscription = on(move |_: &Beep| {
            let _ = &inside;
            seen.add("heard");
        });
        drop(subscription.clone());
        emit(Beep(1));
        log.expect(&["heard"]);
        subscription.cancel();
        assert_eq!(Rc::strong_count(&owned), 1);
        emit(Beep(1));
        subscription.cancel();
        log.expect(&[]);
    });
}

#[test]
fn a_removed_handler_does_not_get_what_is_queued_already() {
    checked(|_| {
        let log = Log::new();
        let second = Cell::<Subscription>::new();
        let (inside, seen) = (second.clone(), log.clone());
        on(move |_: &Beep| {
            seen.add("first");
            if let Some(second) = inside.take() {
                second.cancel();
            }
        });
        let seen = log.clone();
        second.put(on(move |_: &Beep| seen.add("second")));
        emit(Beep(1));
        log.expect(&["first"]);
    });
}

#[test]
fn a_handler_that_is_added_by_another_gets_the_next_event() {
    checked(|_| {
        let log = Log::new();
        let seen = log.clone();
        once(move |_: &Beep| {
            let inner = seen.clone();
            on(move |beep: &Beep| inner.add(beep.0));
        });
        emit(Beep(1));
        log.expect(&[]);
        emit(Beep(2));
        log.expect(&["2"]);
    });
}

#[test]
fn once_runs_once_even_when_two_events_are_queued() {
    checked(|_| {
        let log = Log::new();
        let seen = log.clone();
        once(move |beep: &Beep| seen.add(beep.0));
        Deferred::<(), Never>::ok(()).done(|()| {
            emit(Beep(1));
            emit(Beep(2));
        });
        log.expect(&["1"]);
        let seen = log.clone();
        once(move |_: &Beep| seen.add("removed")).cancel();
        emit(Beep(3));
        log.expect(&[]);
    });
}

#[test]
fn one_failure_or_panic_is_reported_and_keeps_no_other_from_running() {
    checked(|reports| {
        let log = Log::new();
        on(|_: &Beep| Err::<(), _>(Failure::msg("failed")));
        on(|_: &Beep| -> () { panic!("panicked there") });
        on(|_: &Beep| Deferred::<()>::err(Failure::msg("later")));
        let seen = log.clone();
        on(move |_: &Beep| seen.add("ran"));
        emit(Beep(1));
        log.expect(&["ran"]);
        let told = reports.take();
        assert!(told.iter().all(|report| report.cause().unwrap().ends_with("Beep")));
        let mut messages: Vec<_> = told.iter().map(|report| report.message()).collect();
        messages.sort_unstable();
        assert_eq!(messages, ["failed", "later", "panicked: panicked there"]);
    });
}

#[test]
fn a_handlers_failure_begins_where_the_handler_was_added() {
    checked(|reports| {
        let line = line!() + 1;
        on(|_: &Beep| Err::<(), _>(Failure::msg("failed")));
        emit(Beep(1));
        let told = reports.take();
        let site = told[0].site().unwrap();
        assert!(site.file().ends_with("tests/core/events.rs"), "{}", told[0]);
        assert_eq!(site.line(), line);
    });
}

#[test]
fn deliver_tells_when_all_handlers_have_ended() {
    checked(|reports| {
        let (trigger, d) = Deferred::<(), Never>::infallible();
        let pending = Cell::new();
        pending.put(d);
        on(move |_: &Beep| pending.take().unwrap());
        on(|_: &Beep| Err::<(), _>(Failure::msg("no")));
        on(|_: &Beep| ());
        let d = deliver(Beep(1));
        assert!(!d.is_ready());
        trigger.fire(());
        d.done(|delivered| assert_eq!((delivered.handlers, delivered.failed), (3, 1)));
        reports.expect(&["no"]);
        deliver(Other).done(|delivered| assert_eq!(delivered.handlers, 0));
    });
}

#[test]
fn next_is_the_next_event_and_no_other() {
    checked(|_| {
        let d = next::<Beep>();
        assert!(!d.is_ready());
        emit(Beep(1));
        emit(Beep(2));
        assert_eq!(outcome_of(d).take().unwrap(), "ok Beep(1)");
        let d = next::<Beep>();
        d.cancel();
        emit(Beep(3));
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
        drop(next::<Beep>());
        emit(Beep(4));
    });
}

#[test]
fn an_emitter_of_ones_own_is_apart_and_its_end_is_the_end_of_its_handlers() {
    checked(|reports| {
        let log = Log::new();
        let emitter = Emitter::new();
        let seen = log.clone();
        emitter.on(move |_: &Beep| seen.add("own"));
        emit(Beep(1));
        log.expect(&[]);
        emitter.clone().emit(Beep(1));
        log.expect(&["own"]);
        let waiting = outcome_of(emitter.next::<Beep>());
        drop(emitter);
        assert_eq!(waiting.take().unwrap(), "lost");
        assert!(reports.is_empty());
    });
}

#[test]
fn events_and_handlers_may_use_their_emitter_when_dropped() {
    checked(|_| {
        struct Loud(#[expect(dead_code)] OnDrop<Box<dyn FnOnce()>>);
        let log = Log::new();
        let seen = log.clone();
        on(move |beep: &Beep| seen.add(beep.0));
        let seen = log.clone();
        on(move |_: &Loud| seen.add("loud"));
        emit(Loud(OnDrop::new(Box::new(|| emit(Beep(9))))));
        log.expect(&["loud", "9"]);
        let guard = OnDrop::new(|| emit(Beep(10)));
        let subscription = on(move |_: &Other| {
            let _ = &guard;
        });
        subscription.cancel();
        log.expect(&["10"]);
    });
}
