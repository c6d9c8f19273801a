//! Facts 114 to 123 of docs/from-twisted.md: locks, semaphores and queues.
//!
//! | fact | why it has no test here |
//! |---|---|
//! | 121 | how a line is kept is no behaviour: here going out of its middle costs O(log n), not O(n) |
//! | 123 | there is no lock in the file system here |

use std::panic::catch_unwind;

use thence_core::{Deferred, Failure, Lock, Queue, QueueClosed, Rejected, Semaphore, flow};

use crate::common::{Cell, Log, checked, outcome_of};

#[test]
fn fact_114_a_lock_is_first_in_first_out_and_says_whether_it_is_held() {
    checked(|_| {
        let lock = Lock::new(());
        let log = Log::new();
        assert!(!lock.is_locked());
        let held = lock.try_acquire();
        assert!(lock.is_locked());
        for n in 0..3 {
            let seen = log.clone();
            lock.acquire().map(move |_| seen.add(n)).report();
        }
        drop(held);
        log.expect(&["0", "1", "2"]);
        assert!(!lock.is_locked());
    });
}

#[test]
fn fact_114_run_acquires_runs_and_releases_on_success_and_failure() {
    checked(|_| {
        let lock = Lock::new(());
        let (answer, d) = Deferred::<u8>::new();
        let later = outcome_of(lock.run(move |()| d));
        let fails = outcome_of(lock.run(|()| Err::<u8, _>(Failure::msg("no"))));
        let panics = outcome_of(lock.run(|()| -> Result<u8, Failure> { panic!("at once") }));
        assert!(lock.is_locked() && fails.is_empty());
        answer.fire(1);
        assert_eq!(later.take().unwrap(), "ok 1");
        assert_eq!(fails.take().unwrap(), "err no");
        assert_eq!(panics.take().unwrap(), "panicked: at once");
        assert!(!lock.is_locked());
    });
}

/// Not the lock itself, which somebody could forget to release, or release for another.
#[test]
fn fact_114_differs_acquire_gives_a_guard() {
    checked(|_| {
        let lock = Lock::new(7);
        let seen = lock.acquire().map(|guard| *guard);
        assert_eq!(outcome_of(seen).take().unwrap(), "ok 7");
        assert!(!lock.is_locked());
    });
}

#[test]
fn fact_115_cancelling_after_it_was_served_does_nothing_and_before_takes_it_out_of_line() {
    checked(|_| {
        let lock = Lock::new(());
        let served = lock.acquire();
        let waiting = lock.acquire();
        served.cancel();
        assert!(lock.is_locked());
        waiting.cancel();
        assert_eq!(
            (outcome_of(waiting).take().unwrap().as_str(), lock.waiting()),
            ("cancelled", 0)
        );
        assert_eq!(outcome_of(served.map(drop)).take().unwrap(), "ok ()");

        let semaphore = Semaphore::new(1);
        let served = semaphore.acquire();
        let waiting = semaphore.acquire();
        served.cancel();
        waiting.cancel();
        assert_eq!(outcome_of(waiting).take().unwrap(), "cancelled");
        assert_eq!((semaphore.available(), semaphore.waiting()), (0, 0));
        served.done(drop);
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn fact_116_a_semaphore_of_no_permits_is_refused() {
    checked(|_| {
        assert!(catch_unwind(|| Semaphore::new(0)).is_err());
        let semaphore = Semaphore::new(2);
        let held = semaphore.try_acquire();
        assert_eq!((semaphore.available(), semaphore.limit()), (1, 2));
        drop(held);
    });
}

/// What is released is consumed: doing it twice, or without holding it, does not compile.
#[test]
fn fact_117_differs_nothing_is_released_that_is_not_held() {
    checked(|_| {
        let semaphore = Semaphore::new(2);
        for _ in 0..3 {
            let permits: Vec<_> = std::iter::from_fn(|| semaphore.try_acquire()).collect();
            assert_eq!(permits.len(), 2);
        }
        assert_eq!(semaphore.available(), 2);
        let lock = Lock::new(());
        lock.try_acquire().map(drop).unwrap();
        assert!(!lock.is_locked());
    });
}

/// A million of them, on a small stack: tests/stack_waiting.rs.
#[test]
fn fact_118_differs_a_release_never_runs_inside_another() {
    checked(|_| {
        let lock = Lock::new(());
        let log = Log::new();
        let held = lock.try_acquire();
        for n in 0..2 {
            let seen = log.clone();
            lock.acquire()
                .map(move |guard| {
                    drop(guard);
                    seen.add(format!("{n} has released"));
                })
                .report();
        }
        drop(held);
        log.expect(&["0 has released", "1 has released"]);
    });
}

#[test]
fn fact_119_a_waiting_getter_is_served_at_once_and_size_0_is_valid() {
    checked(|_| {
        let queue = Queue::bounded(0);
        let waiting = outcome_of(queue.get());
        assert!(queue.try_put(1).is_ok());
        assert_eq!(waiting.take().unwrap(), "ok 1");
    });
}

/// The item comes back instead of an exception, and whoever likes can wait for room.
#[test]
fn fact_119_differs_a_put_over_the_size_waits_or_gives_the_item_back() {
    checked(|_| {
        let queue = Queue::bounded(1);
        queue.put(1).report();
        assert!(matches!(queue.try_put(2), Err(Rejected::Full(2))));
        let waits = queue.put(3);
        assert!(!waits.is_ready());
        // Nor is there a limit on how many may wait to get.
        assert_eq!((queue.try_get(), queue.try_get()), (Some(1), Some(3)));
        waits.report();
        let getters: Vec<_> = (0..100).map(|_| queue.get()).collect();
        assert_eq!((queue.try_get(), queue.waiting_getters()), (None, 100));
        drop(getters);
    });
}

#[test]
fn fact_120_cancelling_a_get_takes_it_out_of_line_unless_it_was_served() {
    checked(|_| {
        let queue = Queue::unbounded();
        let waiting = queue.get();
        waiting.cancel();
        assert_eq!(outcome_of(waiting).take().unwrap(), "cancelled");
        queue.put(1).report();
        let served = queue.get();
        served.cancel();
        assert_eq!(outcome_of(served).take().unwrap(), "ok 1");
    });
}

#[test]
fn fact_122_a_guard_in_a_flow_is_released_however_the_block_is_left() {
    checked(|reports| {
        let (lock, semaphore) = (Lock::new(()), Semaphore::new(1));
        let held = Cell::new();
        for fails in [false, true] {
            let (lock_in, semaphore_in, inside) = (lock.clone(), semaphore.clone(), held.clone());
            let f = flow(async move {
                let _guard = lock_in.acquire().await;
                let _permit = semaphore_in.acquire().await;
                inside.put((lock_in.is_locked(), semaphore_in.available()));
                if fails { Err(QueueClosed.into()) } else { Ok(()) }
            });
            let expected = if fails { "err closed: nothing more comes" } else { "ok ()" };
            assert_eq!(outcome_of(f).take().unwrap(), expected);
            assert_eq!(held.take().unwrap(), (true, 0));
            assert_eq!((lock.is_locked(), semaphore.available()), (false, 1));
        }
        assert!(reports.is_empty());
    });
}
