//! Whatever was built, whole or by half, is dropped in constant stack (DESIGN.md §3.6).

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use thence_core::{Deferred, Failure, Never, Trigger, all, first, flow, hosting};

use crate::common::{OnDrop, a_million, on_a_small_stack, on_a_small_stack_with_reports};

/// So many inputs, and then a panic where the next one is asked for.
fn breaking_off(
    count: usize,
    triggers: &mut Vec<Trigger<usize>>,
) -> impl Iterator<Item = Deferred<usize>> {
    (0..a_million()).map(move |n| {
        assert!(n < count, "no more inputs");
        let (trigger, d) = Deferred::new();
        triggers.push(trigger);
        d
    })
}

#[test]
fn half_an_all_or_a_first_is_dropped() {
    on_a_small_stack(|| {
        for is_all in [false, true] {
            let mut triggers = Vec::new();
            let built = catch_unwind(AssertUnwindSafe(|| {
                let inputs = breaking_off(a_million() / 2, &mut triggers);
                if is_all { drop(all(inputs)) } else { drop(first(inputs)) }
            }));
            assert!(built.is_err());
            assert_eq!(triggers.len(), a_million() / 2);
            assert!(!triggers.iter().any(Trigger::is_wanted));
            triggers.into_iter().for_each(|trigger| trigger.fire(1));
        }
    });
}

#[test]
fn an_all_that_has_half_of_its_inputs_is_dropped() {
    on_a_small_stack(|| {
        let (mut triggers, inputs): (Vec<_>, Vec<_>) =
            (0..a_million()).map(|_| Deferred::<usize>::new()).unzip();
        let d = all(inputs);
        triggers.drain(a_million() / 2..).for_each(|trigger| trigger.fire(1));
        drop(d);
        triggers.into_iter().for_each(|trigger| trigger.fire(1));
    });
}

#[test]
fn a_chain_that_runs_while_it_is_built_is_dropped() {
    on_a_small_stack(|| {
        // The first half waits; what is attached from then on stands behind it in the queue.
        let (trigger, d) = Deferred::<usize, Never>::infallible();
        let d = (0..a_million() / 2).fold(d, |d, _| d.map(|n| n + 1));
        let hold = hosting::hold();
        trigger.fire(0);
        let d = (0..a_million() / 2).fold(d, |d, _| d.map(|n| n + 1));
        drop(d);
        drop(hold);
        hosting::run_until_idle();
    });
}

#[test]
fn a_million_ready_values_that_wait_for_their_turn_are_dropped() {
    on_a_small_stack(|| {
        let hold = hosting::hold();
        let d = (0..a_million()).fold(Deferred::<usize>::ok(0), |d, _| d.map(|n| n + 1));
        drop(d);
        drop(hold);
        hosting::run_until_idle();
    });
}

/// A million flows, each of which awaits the one before it.
fn nest(d: Deferred<usize>) -> Deferred<usize> {
    (0..a_million()).fold(d, |d, _| flow(async move { Ok(d.await? + 1) }))
}

#[test]
fn a_million_flows_that_await_one_another_are_left() {
    on_a_small_stack(|| {
        let (trigger, d) = Deferred::new();
        drop(nest(d));
        assert_eq!(hosting::live().flows, a_million());
        trigger.fire(0);
    });
}

#[test]
fn a_million_flows_that_await_one_another_lose_what_they_wait_for() {
    // One report: the outermost flow is the only one whose end nobody takes.
    on_a_small_stack_with_reports(1, || {
        let (trigger, d) = Deferred::new();
        drop(nest(d));
        drop(trigger);
    });
}

#[test]
fn flows_that_have_come_half_way_are_left_and_asked_to_end() {
    // Each waits for the one before it, and then for something of its own.
    fn two_waits(d: Deferred<usize>, own: &mut Vec<Trigger<usize>>) -> Deferred<usize> {
        (0..a_million() / 2).fold(d, |d, _| {
            let (trigger, second) = Deferred::<usize>::new();
            own.push(trigger);
            flow(async move { Ok(d.await? + second.await?) })
        })
    }
    on_a_small_stack(|| {
        for is_asked in [false, true] {
            let (trigger, d) = Deferred::new();
            let mut own = Vec::new();
            let d = two_waits(d, &mut own);
            trigger.fire(0);
            let mut own = own.into_iter();
            own.by_ref().take(a_million() / 4).for_each(|trigger| trigger.fire(1));
            if is_asked {
                d.cancel();
                d.settled().done(|outcome| assert!(outcome.is_cancelled()));
            } else {
                drop(d);
            }
            own.for_each(|trigger| trigger.fire(1));
        }
    });
}

#[test]
fn a_million_steps_own_deferreds_and_run_or_are_passed_over() {
    on_a_small_stack(|| {
        for fails in [false, true] {
            let dropped = Rc::new(Cell::new(0));
            let (trigger, d) = Deferred::<usize>::new();
            let d = (0..a_million()).fold(d, |d, _| {
                let dropped = dropped.clone();
                let owned = Deferred::<_>::ok(OnDrop::new(move || dropped.set(dropped.get() + 1)));
                d.map(move |n| {
                    drop(owned);
                    n
                })
            });
            if fails {
                trigger.fail(Failure::msg("passes all of them"));
            } else {
                trigger.fire(0);
            }
            assert_eq!(dropped.get(), a_million());
            d.settled().done(move |outcome| assert_eq!(outcome.is_err(), fails));
        }
    });
}

#[test]
fn a_million_closures_own_one_another() {
    on_a_small_stack(|| {
        for lost in [false, true] {
            // Each step owns the trigger of the chain before it.
            let (mut last, d) = Deferred::<usize>::new();
            d.settled().done(drop);
            for _ in 0..a_million() {
                let (trigger, d) = Deferred::new();
                let owned = std::mem::replace(&mut last, trigger);
                d.map(move |n| owned.fire(n)).settled().done(drop);
            }
            if lost {
                drop(last)
            } else {
                last.fire(1)
            }
            assert_eq!(hosting::live(), hosting::Live::default());
        }
    });
}

#[test]
fn a_panic_in_the_middle_of_a_million_drops_keeps_none_of_them() {
    struct Link(
        #[expect(dead_code, reason = "owned for its drop")] Option<Box<Deferred<Link>>>,
        #[expect(dead_code, reason = "owned for its drop")] OnDrop<Box<dyn FnOnce()>>,
    );
    on_a_small_stack_with_reports(2, || {
        for in_a_row in [false, true] {
            let dropped = Rc::new(Cell::new(0));
            let link = |n, next| {
                let dropped = dropped.clone();
                let noted = OnDrop::new(Box::new(move || {
                    dropped.set(dropped.get() + 1);
                    assert_ne!(n, a_million() / 2, "in the middle");
                }) as Box<dyn FnOnce()>);
                Deferred::<Link>::ok(Link(next, noted))
            };
            if in_a_row {
                drop(Deferred::<Vec<_>>::ok((0..a_million()).map(|n| link(n, None)).collect()));
            } else {
                let first = link(0, None);
                drop((1..a_million()).fold(first, |d, n| link(n, Some(Box::new(d)))));
            }
            assert_eq!(dropped.get(), a_million());
        }
    });
}
