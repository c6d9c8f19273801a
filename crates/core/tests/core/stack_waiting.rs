//! Waiting in line runs in constant stack (DESIGN.md §3.6): 256 KiB, however many wait.

use std::cell::Cell;
use std::rc::Rc;

use thence_core::{Deferred, Emitter, Fault, Lock, Outcome, Queue, QueueClosed, Semaphore};

use crate::common::{a_million, on_a_small_stack};

/// Counts those who were served, in their order.
#[derive(Clone, Default)]
struct Served(Rc<Cell<usize>>);

impl Served {
    fn next(&self, n: usize) {
        assert_eq!(self.0.replace(n + 1), n, "in order");
    }

    fn count(&self) -> usize {
        self.0.get()
    }
}

#[test]
fn a_million_waiters_are_released_from_one_lock() {
    on_a_small_stack(|| {
        let lock = Lock::new(());
        let served = Served::default();
        let held = lock.try_acquire();
        for n in 0..a_million() {
            let served = served.clone();
            lock.acquire().done(move |guard| {
                served.next(n);
                drop(guard);
            });
        }
        drop(held);
        assert_eq!((served.count(), lock.is_locked()), (a_million(), false));
    });
}

#[test]
fn a_million_runs_are_released_from_one_lock() {
    on_a_small_stack(|| {
        let lock = Lock::new(0);
        let held = lock.try_acquire();
        for _ in 0..a_million() {
            lock.run(|n| {
                *n += 1;
                Ok::<(), thence_core::Never>(())
            })
            .report();
        }
        drop(held);
        assert_eq!(*lock.try_acquire().unwrap(), a_million());
    });
}

/// Nobody looks at what he is given: no callback runs between one release and the next.
#[test]
fn a_million_who_left_with_steps_attached_are_released_from_one_lock() {
    on_a_small_stack(|| {
        let lock = Lock::new(());
        let held = lock.try_acquire();
        for n in 0..a_million() {
            let d = lock.acquire();
            if n % 2 == 0 { drop(d.shield()) } else { d.settled().report() }
        }
        assert_eq!(lock.waiting(), a_million());
        drop(held);
        assert_eq!((lock.waiting(), lock.is_locked()), (0, false));
    });
}

#[test]
fn a_lock_with_a_million_waiters_is_dropped() {
    on_a_small_stack(|| {
        let lock = Lock::new(());
        let served = Served::default();
        let held = lock.try_acquire();
        for n in 0..a_million() {
            let served = served.clone();
            lock.acquire().done(move |_| served.next(n));
        }
        drop(lock);
        assert_eq!(served.count(), 0);
        drop(held);
        assert_eq!(served.count(), a_million());
    });
}

#[test]
fn a_million_waiters_of_one_lock_are_cancelled_and_a_million_leave() {
    on_a_small_stack(|| {
        let lock = Lock::new(());
        let held = lock.try_acquire();
        // From the back, the front, and in between.
        let mut waiters: Vec<_> = (0..a_million()).map(|_| lock.acquire()).collect();
        waiters[..a_million() / 2].reverse();
        for d in waiters {
            d.cancel();
            d.settled().done(|outcome| assert!(outcome.is_cancelled()));
        }
        assert_eq!(lock.waiting(), 0);
        let waiters: Vec<_> = (0..a_million()).map(|_| lock.acquire()).collect();
        drop(waiters);
        assert_eq!(lock.waiting(), 0);
        drop(held);
        assert!(!lock.is_locked());
    });
}

#[test]
fn a_million_waiters_of_one_semaphore_are_released_and_let_in_by_one_that_goes() {
    on_a_small_stack(|| {
        let semaphore = Semaphore::new(2);
        let served = Served::default();
        let wait = |n: usize| {
            let served = served.clone();
            semaphore.acquire().done(move |_| served.next(n));
        };
        let held = semaphore.acquire_many(2);
        (0..a_million()).for_each(wait);
        drop(held);
        assert_eq!((served.count(), semaphore.available()), (a_million(), 2));

        let held = semaphore.try_acquire();
        let big = semaphore.acquire_many(2);
        (a_million()..a_million() + a_million()).for_each(wait);
        big.cancel();
        big.report();
        assert_eq!(served.count(), a_million() + a_million());
        drop(held);
    });
}

/// So many who each expect one item, or the end.
fn getters(many: usize, queue: &Queue<usize>, served: &Served) {
    for n in 0..many {
        let served = served.clone();
        queue
            .get()
            .inspect(move |item| assert_eq!(*item, n))
            .settled()
            .done(move |_| served.next(n));
    }
}

#[test]
fn a_million_getters_are_served_by_as_many_putters() {
    on_a_small_stack(|| {
        let (queue, served) = (Queue::bounded(0), Served::default());
        getters(a_million(), &queue, &served);
        (0..a_million()).for_each(|n| queue.put(n).report());
        assert_eq!((served.count(), queue.waiting_getters()), (a_million(), 0));

        let (queue, served) = (Queue::bounded(0), Served::default());
        (0..a_million()).for_each(|n| queue.put(n).report());
        assert_eq!(queue.waiting_putters(), a_million());
        getters(a_million(), &queue, &served);
        assert_eq!((served.count(), queue.waiting_putters()), (a_million(), 0));
    });
}

#[test]
fn a_queue_with_a_million_getters_is_closed_and_dropped() {
    on_a_small_stack(|| {
        for close in [false, true] {
            let (queue, served) = (Queue::unbounded(), Served::default());
            getters(a_million(), &queue, &served);
            if close {
                queue.close();
                assert_eq!(served.count(), a_million());
            }
            drop(queue);
            assert_eq!(served.count(), a_million());
        }
    });
}

#[test]
fn a_queue_with_a_million_putters_and_items_is_closed_and_dropped() {
    on_a_small_stack(|| {
        for close in [false, true] {
            let (queue, ended) = (Queue::bounded(0), Served::default());
            for n in 0..a_million() {
                let ended = ended.clone();
                queue.put(n).settled().done(move |outcome| {
                    assert!(outcome.is_err());
                    ended.next(n);
                });
            }
            if close {
                queue.close();
                assert_eq!(ended.count(), a_million());
            }
            drop(queue);
            assert_eq!(ended.count(), a_million());
        }
        let queue = Queue::unbounded();
        (0..a_million()).for_each(|n| queue.put(n).report());
        drop(queue);
    });
}

#[test]
fn a_million_items_come_back() {
    on_a_small_stack(|| {
        let queue = Queue::unbounded();
        let getters: Vec<_> = (0..a_million()).map(|_| queue.get()).collect();
        (0..a_million()).for_each(|n| queue.put(n).report());
        drop(getters);
        for n in 0..a_million() {
            assert_eq!(queue.try_get(), Some(n));
        }
    });
}

/// Each item that comes back goes to one who left, too.
#[test]
fn an_item_passes_a_million_getters_that_left() {
    on_a_small_stack(|| {
        let queue = Queue::unbounded();
        (0..a_million()).for_each(|_| drop(queue.get().shield()));
        queue.put(7).report();
        assert_eq!((queue.waiting_getters(), queue.try_get()), (0, Some(7)));
    });
}

#[test]
fn a_million_getters_and_putters_are_cancelled() {
    on_a_small_stack(|| {
        fn cancel<T: 'static, E: Fault>(all: Vec<Deferred<T, E>>) {
            for d in all {
                d.cancel();
                d.settled().done(|outcome: Outcome<T, E>| assert!(outcome.is_cancelled()));
            }
        }
        let queue = Queue::<usize>::bounded(0);
        let getters: Vec<Deferred<_, QueueClosed>> =
            (0..a_million()).map(|_| queue.get()).collect();
        cancel(getters);
        let putters: Vec<_> = (0..a_million()).map(|n| queue.put(n)).collect();
        cancel(putters);
        assert_eq!((queue.waiting_getters(), queue.waiting_putters()), (0, 0));
    });
}

#[test]
fn a_million_events_wait_and_are_taken() {
    on_a_small_stack(|| {
        let emitter = Emitter::new();
        let events = emitter.events::<usize>();
        (0..a_million()).for_each(|n| emitter.emit(n));
        for n in 0..a_million() {
            events.next().inspect(move |event| assert_eq!(*event, n)).report();
        }
    });
}
