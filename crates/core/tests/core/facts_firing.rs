//! Facts 1 to 13 of docs/from-twisted.md: firing.
//!
//! | fact | why it has no test here |
//! |---|---|
//! | 3 | does not compile: `fire` and `fail` consume the trigger (compile_fail doctest at `Trigger`) |
//! | 4 | there is no `AlreadyCalledError` |
//! | 5 | does not compile either: a callback cannot own a trigger that was consumed |
//! | 9 | Rust has no current exception: `fail` names its error |

use std::cell::Cell as StdCell;
use std::rc::Rc;

use thence_core::{Deferred, Failure, Kind, Never, Outcome, Stop};

use crate::common::{Log, checked, ending, outcome_of};

#[test]
fn fact_01_a_new_deferred_has_no_result() {
    checked(|_| {
        let (trigger, d) = Deferred::<Option<u8>>::new();
        assert!(!d.is_ready());
        trigger.fire(None);
        assert!(d.is_ready());
        assert_eq!(outcome_of(d).take().unwrap(), "ok None");
    });
}

#[test]
fn fact_02_firing_runs_the_chain_before_it_returns_and_inside_a_callback_it_queues() {
    checked(|_| {
        let log = Log::new();
        let (outer, d) = Deferred::<u8>::new();
        let (inner, e) = Deferred::<u8>::new();
        let of_inner = log.clone();
        e.map(move |n| of_inner.add(format!("inner {n}"))).report();
        let of_outer = log.clone();
        d.map(move |n| {
            of_outer.add("before");
            inner.fire(n + 1);
            of_outer.add("after");
        })
        .report();
        outer.fire(1);
        log.expect(&["before", "after", "inner 2"]);
    });
}

#[test]
fn fact_06_settling_with_an_error_is_failing() {
    checked(|reports| {
        let (failed, d) = Deferred::<u8>::new();
        let (settled, e) = Deferred::<u8>::new();
        failed.fail(Failure::msg("same"));
        settled.settle(Outcome::Err(Failure::msg("same")));
        assert_eq!(outcome_of(d).take(), outcome_of(e).take());
        let (settled, d) = Deferred::<u8>::new();
        settled.settle(Outcome::Err(Failure::msg("told")));
        drop(d);
        reports.expect(&["told"]);
    });
}

#[test]
fn fact_07_differs_a_deferred_as_a_value_is_a_type_of_its_own_and_flatten_waits_for_it() {
    checked(|_| {
        let (outer, d) = Deferred::<Deferred<u8>>::new();
        let (inner, e) = Deferred::<u8>::new();
        let seen = outcome_of(d.flatten());
        outer.fire(e);
        assert!(seen.is_empty());
        inner.fire(3);
        assert_eq!(seen.take().unwrap(), "ok 3");
    });
}

#[test]
fn fact_08_failing_hands_on_that_very_error() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        trigger.fail("x".parse::<u8>().unwrap_err().into());
        d.recover(|failure| {
            assert_eq!(failure.trap().ok(), "x".parse::<u8>().err());
            0
        })
        .done(|n| assert_eq!(n, 0));
    });
}

#[test]
fn fact_10_anything_that_can_be_shown_is_a_failure() {
    checked(|reports| {
        let (trigger, d) = Deferred::<u8>::new();
        trigger.fail(Failure::msg("anything"));
        drop(d);
        reports.expect(&["anything"]);
    });
}

#[test]
fn fact_11_every_end_lets_go_of_the_canceller() {
    checked(|reports| {
        for end in 0..3 {
            let (trigger, d) = Deferred::<u8>::new();
            let owned = Rc::new(());
            let hook = owned.clone();
            trigger.on_cancel(move || drop(hook));
            match end {
                0 => trigger.fire(1),
                1 => trigger.fail(Failure::msg("no")),
                _ => drop(trigger),
            }
            assert_eq!(Rc::strong_count(&owned), 1, "end {end}");
            drop(d);
        }
        reports.expect_kinds(&[Kind::Failed, Kind::Lost]);
    });
}

#[test]
fn fact_12_differs_a_dropped_trigger_ends_lost_and_a_dropped_deferred_keeps_its_steps() {
    checked(|reports| {
        let (trigger, d) = Deferred::<u8>::new();
        drop(trigger);
        d.settled().done(|outcome| assert!(matches!(outcome, Outcome::Stop(Stop::Lost(_)))));
        assert!(reports.is_empty(), "somebody asked");

        let (trigger, d) = Deferred::<u8>::new();
        drop(d);
        drop(trigger);
        reports.expect_kinds(&[Kind::Lost]);

        let ran = Rc::new(StdCell::new(0));
        let seen = ran.clone();
        let (trigger, d) = Deferred::<u8>::new();
        drop(d.map(move |n| seen.set(n)));
        trigger.fire(5);
        assert_eq!(ran.get(), 5);
    });
}

#[test]
fn fact_13_a_ready_one_is_as_one_that_was_fired() {
    checked(|reports| {
        for ready in [false, true] {
            let make = || -> Deferred<u8> {
                if ready {
                    return Deferred::ok(2);
                }
                let (trigger, d) = Deferred::new();
                trigger.fire(2);
                d
            };
            assert!(make().is_ready());
            assert_eq!(outcome_of(make().map(|n| n * 2)).take().unwrap(), "ok 4");
            let d = make();
            d.cancel();
            assert_eq!(outcome_of(d).take().unwrap(), "ok 2");
            make().and_then(|_| Err::<u8, _>(Failure::msg("same"))).report();
            reports.expect(&["same"]);
        }
        let never: Deferred<u8, Never> = Deferred::ok(1);
        never.settled().done(|outcome| assert_eq!(ending(&outcome), "ok 1"));
    });
}
