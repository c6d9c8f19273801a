//! Many waiters of one work run in constant stack (DESIGN.md §3.6).

use std::cell::Cell;
use std::rc::Rc;

use thence_core::{Deferred, Never, Outcome, Shared, Trigger, hosting};

use crate::common::{a_million, on_a_small_stack};

fn shared() -> (Trigger<usize, Never>, Shared<usize, Never>) {
    let (trigger, d) = Deferred::infallible();
    (trigger, d.shared())
}

#[test]
fn a_million_waiters_are_resumed_in_order() {
    on_a_small_stack(|| {
        let (trigger, shared) = shared();
        let next = Rc::new(Cell::new(0));
        for n in 0..a_million() {
            let next = next.clone();
            shared.wait().map(move |one| (one, next.replace(n + 1))).done(move |(one, last)| {
                assert_eq!((one, last), (1, n));
            });
        }
        assert_eq!(shared.waiting(), a_million());
        trigger.fire(1);
        assert_eq!(next.get(), a_million());
    });
}

#[test]
fn a_million_waiters_ask_to_end_and_leave() {
    on_a_small_stack(|| {
        let (trigger, shared) = shared();
        let mut asking: Vec<_> = (0..a_million()).map(|_| shared.wait()).collect();
        let leaving = asking.split_off(a_million() / 2);
        asking.iter().for_each(Deferred::cancel);
        assert!(!trigger.is_cancelled());
        drop(leaving);
        assert!(trigger.is_cancelled());
        assert_eq!(shared.waiting(), 0);
        drop((asking, shared));
        trigger.fire(1);
    });
}

#[test]
fn a_million_waiters_that_are_half_served_are_dropped() {
    on_a_small_stack(|| {
        let (trigger, shared) = shared();
        let resumed = Rc::new(Cell::new(0));
        for _ in 0..a_million() / 2 {
            let resumed = resumed.clone();
            shared.wait().done(move |_| resumed.set(resumed.get() + 1));
        }
        let waiters: Vec<_> = (0..a_million() / 2).map(|_| shared.wait()).collect();
        let hold = hosting::hold();
        trigger.fire(1);
        drop(hold);
        hosting::run_queue(a_million() / 4);
        assert_eq!(
            resumed.get() + 1,
            a_million() / 4,
            "one callback hands out, the rest are resumed"
        );
        drop((shared, waiters));
        hosting::run_until_idle();
        assert_eq!(resumed.get(), a_million() / 2);
    });
}

#[test]
fn a_million_shared_ones_on_top_of_the_other_end_and_are_dropped() {
    on_a_small_stack(|| {
        let pile = || {
            let (trigger, d) = Deferred::<usize, Never>::infallible();
            (trigger, (0..a_million() / 10).fold(d, |d, _| d.shared().wait()))
        };
        let (trigger, d) = pile();
        trigger.fire(1);
        d.done(|n| assert_eq!(n, 1));

        let (trigger, d) = pile();
        d.cancel();
        assert!(trigger.is_cancelled());
        d.settled().done(|outcome| assert!(matches!(outcome, Outcome::Stop(_))));

        let (trigger, d) = pile();
        drop(d);
        trigger.fire(1);
    });
}

#[test]
fn values_that_hold_shared_ones_are_dropped_without_recursion() {
    #[derive(Clone)]
    struct Next(#[expect(dead_code)] Option<Rc<Shared<Next, Never>>>);
    on_a_small_stack(|| {
        let mut shared = Deferred::<Next, Never>::ok(Next(None)).shared();
        for _ in 0..a_million() {
            shared = Deferred::ok(Next(Some(Rc::new(shared)))).shared();
        }
        drop(shared);
    });
}
