//! Events as a stream (DESIGN.md §3.9).

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;

use futures_core::Stream;
use thence_core::{
    Deferred, Emitter, Events, Never, deliver, emit, events, first, flow, hosting, next, on,
};

use crate::common::{Cell, Log, OnDrop, checked, outcome_of};

#[derive(Clone, Debug, PartialEq)]
struct Beep(u32);

/// How many handlers an event of this type has.
fn handlers() -> usize {
    let count = Cell::new();
    let kept = count.clone();
    deliver(Beep(0)).done(move |delivered| kept.put(delivered.handlers));
    count.take().unwrap()
}

fn take(events: &Events<Beep>) -> String {
    outcome_of(events.next()).take().unwrap_or_else(|| "pending".to_owned())
}

#[test]
fn every_event_from_now_on_comes_in_order_and_none_is_lost_between_two_nexts() {
    checked(|_| {
        emit(Beep(0));
        let beeps = events::<Beep>();
        emit(Beep(1));
        emit(String::from("another type"));
        emit(Beep(2));
        assert_eq!((take(&beeps), take(&beeps)), ("ok Beep(1)".into(), "ok Beep(2)".into()));
        let waiting = outcome_of(beeps.next());
        assert!(waiting.is_empty());
        emit(Beep(3));
        emit(Beep(4));
        assert_eq!(waiting.take().unwrap(), "ok Beep(3)");
        assert_eq!(take(&beeps), "ok Beep(4)");
    });
}

#[test]
fn an_event_that_is_emitted_before_it_was_asked_for_but_not_delivered_yet_is_none_of_it() {
    checked(|_| {
        let kept = Cell::new();
        let cell = kept.clone();
        Deferred::<(), Never>::ok(()).done(move |()| {
            emit(Beep(1));
            cell.put(events::<Beep>());
            emit(Beep(2));
        });
        let beeps = kept.take().unwrap();
        assert_eq!(take(&beeps), "ok Beep(2)");
    });
}

#[test]
fn each_has_every_event() {
    checked(|_| {
        let (a, b) = (events::<Beep>(), events::<Beep>());
        emit(Beep(1));
        assert_eq!((take(&a), take(&b)), ("ok Beep(1)".into(), "ok Beep(1)".into()));
    });
}

#[test]
fn as_a_stream_it_feeds_a_flow() {
    checked(|_| {
        let log = Log::new();
        let seen = log.clone();
        let mut beeps = events::<Beep>();
        let f = flow(async move {
            while let Some(beep) = poll_fn(|task| Pin::new(&mut beeps).poll_next(task)).await {
                seen.add(beep.0);
            }
            Ok(())
        });
        Deferred::<(), Never>::ok(()).done(|()| (1..=3).for_each(|n| emit(Beep(n))));
        log.expect(&["1", "2", "3"]);
        assert_eq!(handlers(), 1);
        f.cancel();
        assert_eq!(outcome_of(f).take().unwrap(), "cancelled");
        assert_eq!(handlers(), 0);
    });
}

#[test]
fn dropping_it_unsubscribes_and_drops_what_nobody_took() {
    checked(|_| {
        #[derive(Clone)]
        struct Loud(#[expect(dead_code)] Rc<OnDrop<Box<dyn FnOnce()>>>);
        let log = Log::new();
        let beeps = events::<Beep>();
        let louds = events::<Loud>();
        assert_eq!(handlers(), 1);
        emit(Loud(Rc::new(OnDrop::new(Box::new(log.noting("dropped"))))));
        log.expect(&[]);
        drop((beeps, louds));
        log.expect(&["dropped"]);
        assert_eq!(handlers(), 0);
    });
}

#[test]
fn a_next_that_waits_ends_when_its_events_are_dropped() {
    checked(|_| {
        let beeps = events::<Beep>();
        let waiting = outcome_of(beeps.next());
        drop(beeps);
        assert_eq!(waiting.take().unwrap(), "err closed: nothing more comes");
    });
}

#[test]
fn with_its_emitter_gone_it_gives_what_it_has_and_ends() {
    checked(|_| {
        let emitter = Emitter::new();
        let beeps = emitter.events::<Beep>();
        emitter.emit(Beep(1));
        emitter.emit(Beep(2));
        drop(emitter);
        assert_eq!((take(&beeps), take(&beeps)), ("ok Beep(1)".into(), "ok Beep(2)".into()));
        assert_eq!(take(&beeps), "err closed: nothing more comes");
    });
}

#[test]
fn it_may_be_dropped_by_a_handler_of_its_own_event() {
    checked(|_| {
        let kept = Cell::new();
        let inside = kept.clone();
        on(move |_: &Beep| drop(inside.take()));
        kept.put(events::<Beep>());
        emit(Beep(1));
        assert!(kept.is_empty());
        assert_eq!(handlers(), 1);
    });
}

#[test]
fn a_next_of_events_that_leaves_or_is_cancelled_loses_none() {
    checked(|_| {
        for cancel in [false, true] {
            for served in [false, true] {
                let beeps = events::<Beep>();
                let leaver = beeps.next();
                if served {
                    emit(Beep(1));
                }
                if cancel {
                    leaver.cancel();
                }
                drop(leaver);
                if !served {
                    emit(Beep(1));
                }
                emit(Beep(2));
                let seen = (take(&beeps), take(&beeps));
                assert_eq!(seen, ("ok Beep(1)".into(), "ok Beep(2)".into()), "{cancel} {served}");
            }
        }
        // The loser of a race.
        let beeps = events::<Beep>();
        let (other, d) = Deferred::<Beep, _>::with_error();
        let race = first([d, beeps.next()]);
        let hold = hosting::hold();
        other.fire(Beep(7));
        emit(Beep(1));
        drop(hold);
        hosting::run_until_idle();
        assert_eq!(outcome_of(race).take().unwrap(), "ok Beep(7)");
        assert_eq!(take(&beeps), "ok Beep(1)");
    });
}

#[test]
fn a_next_that_leaves_or_is_cancelled_takes_its_handler_along() {
    checked(|reports| {
        for cancel in [false, true] {
            let d = next::<Beep>();
            if cancel {
                d.cancel();
                assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
            } else {
                drop(d);
            }
            assert_eq!(handlers(), 0, "cancel: {cancel}");
        }
        // With a step attached it is not left: the step still runs.
        let log = Log::new();
        let seen = log.clone();
        drop(next::<Beep>().map(move |beep| seen.add(beep.0)));
        emit(Beep(5));
        log.expect(&["5"]);
        // Nor by the loser of a race, which is asked to end.
        drop(first([next::<Beep>(), Deferred::ok(Beep(1))]));
        assert_eq!(handlers(), 0);
        assert!(reports.is_empty());
    });
}

#[test]
fn a_next_that_is_left_while_its_event_is_queued_does_not_hear_it() {
    checked(|_| {
        for cancel in [false, true] {
            let d = next::<Beep>();
            let hold = hosting::hold();
            emit(Beep(1));
            if cancel {
                d.cancel();
            }
            drop(d);
            drop(hold);
            hosting::run_until_idle();
            assert_eq!(handlers(), 0);
        }
    });
}

#[test]
fn a_next_that_is_left_may_outlive_its_emitter() {
    checked(|reports| {
        let emitter = Emitter::new();
        let d = emitter.next::<Beep>();
        drop(emitter);
        assert_eq!(outcome_of(d).take().unwrap(), "lost");
        let emitter = Emitter::new();
        drop(emitter.next::<Beep>());
        drop(emitter);
        assert!(reports.is_empty());
    });
}
