//! Facts 74 to 87 of docs/from-twisted.md: cancellation.
//!
//! | fact | why it has no test here |
//! |---|---|
//! | 86 | chains have no pause |

use thence_core::{Deferred, Failure, Kind};

use crate::common::{Cell, Log, checked, outcome_of};

#[test]
fn fact_74_without_a_canceller_it_stops_at_once() {
    checked(|_| {
        let (_trigger, d) = Deferred::<u8>::new();
        d.cancel();
        assert!(d.is_ready());
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
    });
}

#[test]
fn fact_75_the_later_firing_is_ignored() {
    checked(|_| {
        for fails in [false, true] {
            let (trigger, d) = Deferred::<u8>::new();
            d.cancel();
            if fails {
                trigger.fail(Failure::msg("late"))
            } else {
                trigger.fire(1)
            }
            assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
        }
    });
}

#[test]
fn fact_76_further_requests_do_nothing() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_cancel(log.noting("asked"));
        let canceller = d.canceller();
        d.cancel();
        d.cancel();
        canceller.cancel();
        log.expect(&["asked"]);
        trigger.fire(1);
        canceller.cancel();
        assert_eq!(outcome_of(d).take().unwrap(), "ok 1");
        drop(canceller.clone());
    });
}

#[test]
fn fact_77_the_canceller_runs_once_at_most_with_what_it_captured() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_cancel(log.noting("id 7"));
        let d = d.map(|n| n);
        d.cancel();
        d.cancel();
        log.expect(&["id 7"]);
        drop(trigger);
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
    });
}

#[test]
fn fact_78_differs_a_canceller_that_fires_nothing_leaves_the_end_to_the_producer() {
    checked(|_| {
        for end in ["ok 1", "err own", "cancelled"] {
            let (trigger, d) = Deferred::<u8>::new();
            trigger.on_cancel(|| ());
            d.cancel();
            assert!(!d.is_ready());
            match end {
                "ok 1" => trigger.fire(1),
                "err own" => trigger.fail(Failure::msg("own")),
                _ => drop(trigger),
            }
            assert_eq!(outcome_of(d).take().unwrap(), end);
        }
    });
}

#[test]
fn fact_79_a_canceller_may_fire_and_that_result_stands() {
    checked(|_| {
        for fails in [false, true] {
            let held = Cell::new();
            let (trigger, d) = Deferred::<u8>::new();
            let inside = held.clone();
            trigger.on_cancel(move || {
                let trigger: thence_core::Trigger<u8> = inside.take().unwrap();
                if fails { trigger.fail(Failure::msg("own")) } else { trigger.fire(1) }
            });
            held.put(trigger);
            d.cancel();
            let end = if fails { "err own" } else { "ok 1" };
            assert_eq!(outcome_of(d).take().unwrap(), end);
        }
    });
}

#[test]
fn fact_80_cancelling_after_the_firing_does_nothing() {
    checked(|_| {
        for fails in [false, true] {
            let log = Log::new();
            let (trigger, d) = Deferred::<u8>::new();
            trigger.on_cancel(log.noting("asked"));
            let canceller = d.canceller();
            if fails {
                trigger.fail(Failure::msg("no"))
            } else {
                trigger.fire(1)
            }
            d.cancel();
            canceller.cancel();
            let end = if fails { "err no" } else { "ok 1" };
            assert_eq!(outcome_of(d).take().unwrap(), end);
            log.expect(&[]);
        }
    });
}

#[test]
fn fact_81_while_it_waits_on_an_inner_one_that_one_is_cancelled() {
    checked(|_| {
        for with_waiter in [false, true] {
            let log = Log::new();
            let (inner_trigger, inner) = Deferred::<u8>::new();
            inner_trigger.on_cancel(log.noting("inner"));
            let (trigger, d) = Deferred::<()>::new();
            trigger.on_cancel(log.noting("outer"));
            let mut d = d.and_then(move |()| inner);
            let canceller = d.canceller();
            if with_waiter {
                d = d.map(|n| n);
            }
            trigger.fire(());
            canceller.cancel();
            log.expect(&["inner"]);
            drop(inner_trigger);
            assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
        }
    });
}

#[test]
fn fact_82_a_request_reaches_only_the_innermost() {
    checked(|_| {
        let log = Log::new();
        let (c, d) = Deferred::<u8>::new();
        c.on_cancel(log.noting("c"));
        let (b, e) = Deferred::<()>::new();
        b.on_cancel(log.noting("b"));
        let e = e.and_then(move |()| d);
        let (a, f) = Deferred::<()>::new();
        a.on_cancel(log.noting("a"));
        let f = f.and_then(move |()| e);
        a.fire(());
        b.fire(());
        f.cancel();
        log.expect(&["c"]);
        drop(c);
        assert_eq!(outcome_of(f).take().unwrap(), "cancelled");
    });
}

#[test]
fn fact_83_the_later_result_of_an_inner_one_without_a_canceller_is_ignored() {
    checked(|_| {
        let (inner_trigger, inner) = Deferred::<u8>::new();
        let (trigger, d) = Deferred::<()>::new();
        let d = d.and_then(move |()| inner);
        trigger.fire(());
        d.cancel();
        inner_trigger.fire(1);
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
    });
}

#[test]
fn fact_84_differs_a_panic_in_a_canceller_is_reported_and_the_producer_owes_its_end() {
    checked(|reports| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_cancel(|| panic!("in the hook"));
        trigger.on_cancel(log.noting("second hook"));
        d.cancel();
        reports.expect_kinds(&[Kind::DestructorPanicked]);
        log.expect(&["second hook"]);
        assert!(!d.is_ready());
        trigger.fire(1);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 1");
    });
}

#[test]
fn fact_85_differs_only_those_who_ask_for_the_outcome_may_go_on_from_a_cancellation() {
    checked(|_| {
        let log = Log::new();
        let (_trigger, d) = Deferred::<u8>::new();
        let (one, two) = (log.clone(), log.clone());
        let d = d
            .or_else(move |failure| {
                one.add("or_else");
                Err::<u8, _>(failure)
            })
            .recover(move |_| {
                two.add("recover");
                0
            })
            .then(|outcome| Ok::<_, Failure>(u8::from(outcome.is_cancelled())))
            .map(|n| n + 1);
        d.cancel();
        log.expect(&[]);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 2");
    });
}

#[test]
fn fact_87_differs_a_request_from_inside_the_callback_reaches_what_it_returns() {
    checked(|_| {
        let (inner_trigger, inner) = Deferred::<u8>::new();
        let (trigger, d) = Deferred::<()>::new();
        let own = Cell::<thence_core::Canceller>::new();
        let inside = own.clone();
        let log = Log::new();
        let went_on = log.clone();
        let d = d.and_then(move |()| {
            inside.take().unwrap().cancel();
            went_on.add("not cut");
            inner
        });
        own.put(d.canceller());
        trigger.fire(());
        log.expect(&["not cut"]);
        assert!(inner_trigger.is_cancelled());
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
    });
}
