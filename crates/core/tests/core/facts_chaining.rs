//! Facts 36 to 54 of docs/from-twisted.md: returning a Deferred from a step.
//!
//! | fact | why it has no test here |
//! |---|---|
//! | 41, 48 | do not compile: a Deferred that was returned was moved (E0382) |
//! | 46, 47 | chains have no pause |
//! | 51, 54 | tests/stack.rs, at a million |
//! | 52 | does not compile: only `Result` and `Deferred` are `IntoDeferred` (E0277) |

use std::rc::Rc;

use thence_core::{Deferred, Failure, Trigger, hosting};

use crate::common::{Cell, Log, checked, outcome_of};

fn waiting_on<T: 'static>(inner: Deferred<T>) -> (Trigger<()>, Deferred<T>) {
    let (trigger, d) = Deferred::<()>::new();
    (trigger, d.and_then(move |()| inner))
}

#[test]
fn fact_36_the_next_step_waits_for_a_returned_deferred() {
    checked(|_| {
        for with_waiter in [false, true] {
            let log = Log::new();
            let (inner_trigger, inner) = Deferred::<u8>::new();
            let (trigger, mut d) = waiting_on(inner);
            if with_waiter {
                let seen = log.clone();
                d = d.inspect(move |n| seen.add(n));
            }
            trigger.fire(());
            assert!(!d.is_ready());
            log.expect(&[]);
            inner_trigger.fire(4);
            assert!(d.is_ready());
            assert_eq!(outcome_of(d).take().unwrap(), "ok 4");
        }
    });
}

#[test]
fn fact_37_a_returned_deferred_that_has_ended_is_taken_at_once() {
    checked(|_| {
        let (inner_trigger, inner) = Deferred::<u8>::new();
        inner_trigger.fire(4);
        let (trigger, d) = waiting_on(inner);
        trigger.fire(());
        assert_eq!(outcome_of(d).take().unwrap(), "ok 4");
        let (trigger, d) = waiting_on(Deferred::ok(5_u8));
        trigger.fire(());
        assert_eq!(outcome_of(d).take().unwrap(), "ok 5");
    });
}

#[test]
fn fact_38_its_failure_is_taken_too_and_not_reported_for_the_inner_one() {
    checked(|reports| {
        for fire_first in [false, true] {
            let (inner_trigger, inner) = Deferred::<u8>::new();
            let (trigger, d) = waiting_on(inner);
            if fire_first {
                trigger.fire(());
                inner_trigger.fail(Failure::msg("inner"));
            } else {
                inner_trigger.fail(Failure::msg("inner"));
                trigger.fire(());
            }
            assert!(reports.is_empty());
            assert_eq!(outcome_of(d).take().unwrap(), "err inner");
        }
    });
}

#[test]
fn fact_39_or_else_and_then_may_return_deferreds() {
    checked(|_| {
        let (a, b) = (Deferred::<u8>::new(), Deferred::<u8>::new());
        let d = Deferred::<u8>::err(Failure::msg("no")).or_else(move |_| a.1);
        let e = Deferred::<u8>::err(Failure::msg("no")).then(move |_| b.1);
        assert!(!d.is_ready() && !e.is_ready());
        a.0.fire(1);
        b.0.fire(2);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 1");
        assert_eq!(outcome_of(e).take().unwrap(), "ok 2");
    });
}

#[test]
fn fact_40_steps_put_on_the_inner_one_before_it_is_returned_run_first() {
    checked(|_| {
        let log = Log::new();
        let (inner_trigger, inner) = Deferred::<u8>::new();
        let (one, two) = (log.clone(), log.clone());
        let (trigger, d) = waiting_on(inner.map(move |n| {
            one.add("inner");
            n * 10
        }));
        let d = d.inspect(move |n| two.add(format!("outer {n}")));
        trigger.fire(());
        inner_trigger.fire(4);
        log.expect(&["inner", "outer 40"]);
        d.report();
    });
}

#[test]
fn fact_42_the_step_that_goes_on_need_not_be_the_inners_first() {
    checked(|_| {
        let log = Log::new();
        let (inner_trigger, inner) = Deferred::<u8>::new();
        let (one, two) = (log.clone(), log.clone());
        let inner = inner.inspect(move |_| one.add("first")).inspect(move |_| two.add("second"));
        let (trigger, d) = waiting_on(inner);
        trigger.fire(());
        inner_trigger.fire(1);
        log.expect(&["first", "second"]);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 1");
    });
}

#[test]
fn fact_43_later_steps_of_the_outer_run_after_all_of_the_inners() {
    checked(|_| {
        let log = Log::new();
        let (inner_trigger, inner) = Deferred::<u8>::new();
        let inner = (0..3).fold(inner, |d, n| {
            let seen = log.clone();
            d.inspect(move |_| seen.add(format!("inner {n}")))
        });
        let (trigger, d) = waiting_on(inner);
        trigger.fire(());
        let seen = log.clone();
        let d = d.inspect(move |_| seen.add("outer"));
        inner_trigger.fire(1);
        log.expect(&["inner 0", "inner 1", "inner 2", "outer"]);
        d.report();
    });
}

#[test]
fn fact_44_waiting_is_transitive() {
    checked(|_| {
        let log = Log::new();
        let (c, d) = Deferred::<u8>::new();
        let (b, d) = waiting_on(d.inspect({
            let log = log.clone();
            move |_| log.add("c")
        }));
        let (a, d) = waiting_on(d.inspect({
            let log = log.clone();
            move |_| log.add("b")
        }));
        let d = d.inspect({
            let log = log.clone();
            move |_| log.add("a")
        });
        a.fire(());
        b.fire(());
        log.expect(&[]);
        c.fire(7);
        log.expect(&["c", "b", "a"]);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 7");
    });
}

#[test]
fn fact_45_differs_what_was_put_on_the_middle_one_before_it_was_returned_runs() {
    checked(|_| {
        let log = Log::new();
        let seen = log.clone();
        let (b, middle) = waiting_on(Deferred::ok(3_u8));
        let (a, d) = waiting_on(middle.inspect(move |n| seen.add(format!("middle {n}"))));
        a.fire(());
        b.fire(());
        log.expect(&["middle 3"]);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 3");
    });
}

#[test]
fn fact_49_differs_a_deferred_returned_into_itself_ends_lost() {
    checked(|reports| {
        let own = Cell::<Deferred<u8>>::new();
        let inside = own.clone();
        let (trigger, d) = Deferred::<()>::new();
        let d = d.and_then(move |()| inside.take().unwrap());
        own.put(d);
        trigger.fire(());
        assert!(own.is_empty());
        reports.expect_kinds(&[thence_core::Kind::Lost]);
    });
}

#[test]
fn fact_49_differs_one_step_further_it_ends_lost_too() {
    checked(|reports| {
        let own = Cell::<Deferred<u8>>::new();
        let inside = own.clone();
        let (trigger, d) = Deferred::<()>::new();
        let d = d.and_then(move |()| inside.take().unwrap());
        own.put(d.map(|n| n + 1));
        trigger.fire(());
        reports.expect_kinds(&[thence_core::Kind::Lost]);
    });
}

#[test]
fn fact_50_two_that_return_each_other_end_lost() {
    checked(|reports| {
        let (first, second) = (Cell::<Deferred<u8>>::new(), Cell::<Deferred<u8>>::new());
        let (a, d) = Deferred::<()>::new();
        let (b, e) = Deferred::<()>::new();
        let (of_first, of_second) = (first.clone(), second.clone());
        first.put(d.and_then(move |()| of_second.take().unwrap()));
        second.put(e.and_then(move |()| of_first.take().unwrap()));
        a.fire(());
        b.fire(());
        reports.expect_kinds(&[thence_core::Kind::Lost]);
    });
}

/// A cycle of steps is found when it would close.
#[test]
fn fact_50_differs_a_longer_cycle_of_steps_is_lost_at_once() {
    checked(|reports| {
        let own = Cell::<Deferred<u8>>::new();
        let inside = own.clone();
        let (trigger, d) = Deferred::<()>::new();
        let d = d.and_then(move |()| inside.take().unwrap());
        own.put(d.map(|n| n + 1).map(|n| n + 1));
        trigger.fire(());
        assert_eq!(hosting::live(), hosting::Live::default());
        reports.expect_kinds(&[thence_core::Kind::Lost]);
    });
}

#[test]
fn fact_53_differs_an_abandoned_wait_is_freed_when_its_trigger_goes() {
    checked(|reports| {
        let owned = Rc::new(());
        let inside = owned.clone();
        let (inner_trigger, inner) = Deferred::<u8>::new();
        let (trigger, d) = waiting_on(inner);
        drop(d.map(move |_| drop(inside)));
        trigger.fire(());
        assert_eq!(Rc::strong_count(&owned), 2);
        drop(inner_trigger);
        assert_eq!(Rc::strong_count(&owned), 1);
        reports.expect_kinds(&[thence_core::Kind::Lost]);
    });
}
