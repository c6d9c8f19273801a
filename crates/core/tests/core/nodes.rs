//! What a step costs in nodes (DESIGN.md §3.6).

use std::cell::RefCell;
use std::rc::Rc;

use thence_core::{Deferred, Never, Trigger, flow, hosting};

use crate::common::{Cell, checked, outcome_of};

fn nodes() -> usize {
    hosting::live().nodes
}

#[test]
fn a_step_costs_one_node() {
    checked(|_| {
        let (trigger, mut d) = Deferred::<u8>::new();
        assert_eq!(nodes(), 1);
        for steps in 1..=10 {
            d = d.and_then(|n| Ok(n + 1));
            assert_eq!(nodes(), 1 + steps);
        }
        trigger.fire(0);
        assert_eq!(nodes(), 1, "one is left: the last, with the value");
        assert_eq!(outcome_of(d).take().unwrap(), "ok 10");
    });
}

#[test]
fn on_something_fired_and_outside_a_callback_a_step_costs_none() {
    checked(|_| {
        let d = Deferred::<u8>::ok(0).map(|n| n + 1).and_then(|n| Ok(n + 1)).inspect(|_| ());
        assert_eq!(nodes(), 0);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 2");

        let (trigger, d) = Deferred::<u8>::new();
        trigger.fire(0);
        assert_eq!(nodes(), 1);
        let d = d.map(|n| n + 1);
        assert_eq!(nodes(), 0, "the step took the value out of its node");
        assert_eq!(outcome_of(d).take().unwrap(), "ok 1");

        // Inside one it has to wait for its turn.
        let seen = Cell::new();
        let inside = seen.clone();
        Deferred::<(), Never>::ok(()).done(move |()| {
            let before = nodes();
            let d = Deferred::<u8>::ok(0).map(|n| n + 1);
            assert_eq!(nodes(), before + 1);
            inside.put(outcome_of(d));
        });
        assert_eq!(seen.take().unwrap().take().unwrap(), "ok 1");
    });
}

/// A loop whose every level waits for a trigger that is fired when its turn comes.
fn pending(n: usize, waiting: Rc<RefCell<Option<Trigger<usize>>>>) -> Deferred<usize> {
    let (trigger, d) = Deferred::new();
    *waiting.borrow_mut() = Some(trigger);
    d.and_then(move |step| if n == 0 { Deferred::ok(step) } else { pending(n - step, waiting) })
}

#[test]
fn where_nobody_waits_yet_or_an_await_does_the_outer_forwards_one_hop_and_never_two() {
    type Wait = fn(Deferred<usize>) -> Deferred<usize>;
    // The source, the step that waits for it, the one that forwards to that, and who awaits.
    let waits: [(Wait, usize); 3] = [
        (|d| d, 3),
        (|d| flow(async move { d.await }), 4),
        // A step is handed over: nothing forwards.
        (|d| d.map(|n| n), 3),
    ];
    checked(move |_| {
        for (n, (wait, most)) in waits.into_iter().enumerate() {
            let waiting = Rc::<RefCell<Option<Trigger<usize>>>>::default();
            let d = wait(pending(1000, waiting.clone()));
            while let Some(trigger) = waiting.take() {
                trigger.fire(1);
                assert!(nodes() <= most, "{n}: {} nodes", nodes());
            }
            assert_eq!(outcome_of(d).take().unwrap(), "ok 1");
        }
    });
}

#[test]
fn what_forwards_to_one_that_forwards_waits_for_what_that_one_waits_for() {
    checked(|_| {
        let (trigger, mut d) = Deferred::<usize>::new();
        for _ in 0..1000 {
            let (go, outer) = Deferred::<()>::new();
            let inner = d;
            d = outer.and_then(move |()| inner);
            go.fire(());
            // The source, and the one that forwards to it.
            assert_eq!(nodes(), 2);
        }
        trigger.fire(7);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 7");
    });
}

#[test]
fn memory_is_released_in_the_middle_of_everything_and_nodes_are_made_as_before() {
    fn hundred() {
        let waiting: Vec<_> = (0..100).map(|_| Deferred::<u8>::new()).collect();
        waiting.into_iter().for_each(|(trigger, d)| {
            drop(d);
            trigger.fire(1);
        });
    }
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let kept = d.map(|n| {
            hundred();
            let released = hosting::release_memory();
            assert_eq!(released > 0, !cfg!(thence_no_free_list));
            // From the allocator again, and into the lists again.
            hundred();
            n
        });
        trigger.fire(7);
        hosting::release_memory();
        kept.inspect(|n| assert_eq!(*n, 7)).report();
        assert_eq!(nodes(), 0);
        hosting::release_memory();
        assert_eq!(hosting::release_memory(), 0);
    });
}
