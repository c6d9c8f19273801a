//! Any shape runs in constant stack (DESIGN.md §3.6): a million of everything on 256 KiB.

use std::cell::RefCell;
use std::rc::Rc;

use thence_core::{Deferred, Never, Outcome, Stop, Trigger, first, flow, hosting};

use crate::common::{a_million, on_a_small_stack};

fn chain(d: Deferred<usize, Never>) -> Deferred<usize, Never> {
    (0..a_million()).fold(d, |d, _| d.map(|n| n + 1))
}

#[test]
fn a_chain_of_a_million_steps_runs() {
    on_a_small_stack(|| {
        let (trigger, d) = Deferred::infallible();
        let d = chain(d);
        trigger.fire(0);
        d.done(|n| assert_eq!(n, a_million()));
    });
}

#[test]
fn a_chain_of_a_million_steps_is_dropped_at_either_end() {
    on_a_small_stack(|| {
        let (trigger, d) = Deferred::<usize>::new();
        let d = (0..a_million()).fold(d, |d, _| d.map(|n| n + 1));
        drop(d);
        trigger.fire(0);

        let (trigger, d) = Deferred::<usize>::new();
        let d = (0..a_million()).fold(d, |d, _| d.map(|n| n + 1));
        drop(trigger);
        d.settled().done(|outcome| assert!(matches!(outcome, Outcome::Stop(Stop::Lost(_)))));
    });
}

#[test]
fn a_request_travels_up_a_million_steps() {
    on_a_small_stack(|| {
        let (trigger, d) = Deferred::<usize>::new();
        let d = (0..a_million()).fold(d, |d, _| d.map(|n| n + 1));
        d.cancel();
        assert!(trigger.is_cancelled());
        d.settled().done(|outcome| assert!(outcome.is_cancelled()));
    });
}

#[test]
fn a_million_ready_deferreds_are_returned_one_from_the_other() {
    fn count(n: usize, most: Rc<RefCell<usize>>) -> Deferred<usize> {
        let live = hosting::live().nodes;
        let seen = (*most.borrow()).max(live);
        *most.borrow_mut() = seen;
        if n == 0 {
            return Deferred::ok(0);
        }
        Deferred::ok(n - 1).and_then(move |n| count(n, most))
    }
    on_a_small_stack(|| {
        let most = Rc::default();
        count(a_million(), Rc::clone(&most)).inspect(|n| assert_eq!(*n, 0)).report();
        assert!(*most.borrow() <= 8, "{most:?} live nodes");
    });
}

/// A loop whose every level waits for a trigger that is fired when its turn comes.
fn pending(n: usize, waiting: Rc<RefCell<Option<Trigger<usize>>>>) -> Deferred<usize> {
    let (trigger, d) = Deferred::new();
    *waiting.borrow_mut() = Some(trigger);
    d.and_then(move |step| if n == 0 { Deferred::ok(step) } else { pending(n - step, waiting) })
}

#[test]
fn a_million_pending_deferreds_are_returned_one_from_the_other() {
    on_a_small_stack(|| {
        for with_waiter in [false, true] {
            let waiting = Rc::<RefCell<Option<Trigger<usize>>>>::default();
            let mut d = pending(a_million(), waiting.clone());
            if with_waiter {
                d = d.map(|n| n);
            }
            let mut most = 0;
            while let Some(trigger) = waiting.take() {
                trigger.fire(1);
                most = most.max(hosting::live().nodes);
            }
            assert!(most <= 8, "{most} live nodes");
            d.inspect(|n| assert_eq!(*n, 1)).report();
        }
    });
}

#[test]
fn a_million_nested_pending_deferreds_are_dropped() {
    on_a_small_stack(|| {
        let waiting = Rc::<RefCell<Option<Trigger<usize>>>>::default();
        let d = pending(a_million(), waiting.clone());
        for _ in 0..a_million() / 2 {
            let trigger = waiting.take().unwrap();
            trigger.fire(1);
        }
        drop(d);
        // Left, not cut: the work goes on to its end.
        while let Some(trigger) = waiting.take() {
            trigger.fire(1);
        }
    });
}

#[test]
fn values_that_hold_deferreds_are_dropped_without_recursion() {
    struct Next(#[expect(dead_code)] Option<Box<Deferred<Next>>>);
    on_a_small_stack(|| {
        let mut d = Deferred::<Next>::ok(Next(None));
        for _ in 0..a_million() {
            d = Deferred::ok(Next(Some(Box::new(d))));
        }
        drop(d);

        let (trigger, mut d) = Deferred::<Next>::new();
        trigger.fire(Next(None));
        for _ in 0..a_million() {
            let (trigger, next) = Deferred::new();
            trigger.fire(Next(Some(Box::new(d))));
            d = next;
        }
        drop(d);
    });
}

#[test]
fn a_million_inputs_of_first_end() {
    on_a_small_stack(|| {
        let (triggers, inputs): (Vec<_>, Vec<_>) =
            (0..a_million()).map(|_| Deferred::<usize>::new()).unzip();
        let d = first(inputs);
        for (n, trigger) in triggers.into_iter().enumerate() {
            trigger.fire(n);
        }
        d.inspect(|n| assert_eq!(*n, 0)).report();
    });
}

/// A million flows, each of which awaits the one before it.
fn nest(d: Deferred<usize>) -> Deferred<usize> {
    (0..a_million()).fold(d, |d, _| flow(async move { Ok(d.await? + 1) }))
}

#[test]
fn a_million_nested_flows_end_and_are_asked_to_end() {
    on_a_small_stack(|| {
        let (trigger, d) = Deferred::new();
        let d = nest(d);
        trigger.fire(0);
        d.inspect(|n| assert_eq!(*n, a_million())).report();

        let (trigger, d) = Deferred::new();
        let d = nest(d);
        d.cancel();
        assert!(trigger.is_cancelled());
        d.settled().done(|outcome| assert!(outcome.is_cancelled()));
    });
}

#[test]
fn a_million_nested_firsts_are_asked_to_end() {
    on_a_small_stack(|| {
        let (trigger, mut d) = Deferred::<usize>::new();
        for _ in 0..a_million() {
            d = first([d]);
        }
        d.cancel();
        assert!(trigger.is_cancelled());
        d.settled().done(|outcome| assert!(outcome.is_cancelled()));
    });
}
