//! Retries and loops run in constant stack and with a constant number of live nodes
//! (DESIGN.md §3.6).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use thence_core::{Deferred, Never, Trigger, hosting, repeat_until, retry};

use crate::common::on_a_small_stack;

fn a_million() -> u32 {
    u32::try_from(crate::common::a_million()).expect("a few million")
}

/// The most nodes that were alive when it was asked.
#[derive(Clone, Default)]
struct Most(Rc<Cell<usize>>);

impl Most {
    fn look(&self) {
        self.0.set(self.0.get().max(hosting::live().nodes));
    }

    fn expect(&self, most: usize) {
        assert!(self.0.get() <= most, "{} live nodes", self.0.get());
    }
}

fn at_once(_: u32) -> Deferred<(), Never> {
    Deferred::ok(())
}

#[test]
fn a_million_ready_attempts_fail() {
    on_a_small_stack(|| {
        for inside in [false, true] {
            let most = Most::default();
            let seen = most.clone();
            let start = move || {
                retry(a_million(), at_once, move |n| {
                    seen.look();
                    if n < a_million() { Err(std::fmt::Error) } else { Ok(n) }
                })
            };
            let d = if inside { Deferred::ok(()).and_then(move |()| start()) } else { start() };
            d.inspect(|n| assert_eq!(*n, a_million())).report();
            most.expect(8);
        }
    });
}

#[test]
fn a_million_pending_attempts_and_delays_end() {
    type Waiting<T, E> = Rc<RefCell<Option<Trigger<T, E>>>>;
    on_a_small_stack(|| {
        for is_left in [false, true] {
            let tries = Waiting::<u32, std::fmt::Error>::default();
            let pauses = Waiting::<(), Never>::default();
            let (most, seen) = (Most::default(), Rc::new(Cell::new(0)));
            let (try_next, pause_next, last) = (tries.clone(), pauses.clone(), seen.clone());
            let delay = move |_| {
                let (trigger, d) = Deferred::infallible();
                pause_next.replace(Some(trigger));
                d
            };
            let d = retry(a_million(), delay, move |n| {
                last.set(n);
                let (trigger, d) = Deferred::with_error();
                try_next.replace(Some(trigger));
                d
            });
            if is_left {
                drop(d);
            } else {
                d.inspect(|n| assert_eq!(*n, 7)).report();
            }
            while seen.get() < a_million() {
                tries.take().unwrap().fail(std::fmt::Error);
                most.look();
                pauses.take().unwrap().fire(());
            }
            tries.take().unwrap().fire(7);
            most.expect(8);
        }
    });
}

#[test]
fn a_million_rounds_are_repeated() {
    on_a_small_stack(|| {
        let most = Most::default();
        let (seen, mut n) = (most.clone(), 0);
        let count = move || {
            seen.look();
            n += 1;
            Ok::<_, std::fmt::Error>(n)
        };
        repeat_until(count, |n| *n == a_million())
            .inspect(|n| assert_eq!(*n, a_million()))
            .report();
        most.expect(8);

        let waiting = Rc::<RefCell<Option<Trigger<u32, Never>>>>::default();
        let (next, most) = (waiting.clone(), Most::default());
        let wait = move || {
            let (trigger, d) = Deferred::infallible();
            next.replace(Some(trigger));
            d
        };
        repeat_until(wait, |n| *n == a_million()).done(|n| assert_eq!(n, a_million()));
        for n in 1..=a_million() {
            most.look();
            let trigger = waiting.take().unwrap();
            trigger.fire(n);
        }
        most.expect(8);
    });
}
