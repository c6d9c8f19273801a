//! `Lock`: one at a time, in the order they came.

use thence_core::{Deferred, Failure, Guard, Lock, Never, Outcome, Stop, flow, hosting};

use crate::common::{Cell, Log, OnDrop, checked, outcome_of};

/// Somebody who waits for the lock, says so when he has it, and lets go of it.
fn visit(lock: &Lock, log: &Log, name: &str) {
    lock.acquire().map(log_then_drop(log, name)).report();
}

fn log_then_drop(log: &Log, name: &str) -> impl FnOnce(Guard) + 'static {
    let seen = log.noting(name);
    move |guard| {
        seen();
        drop(guard);
    }
}

#[test]
fn one_holds_it_and_the_others_wait_in_the_order_they_came() {
    checked(|_| {
        let lock = Lock::new(());
        let log = Log::new();
        let held = lock.try_acquire().unwrap();
        assert!(lock.is_locked() && lock.clone().try_acquire().is_none());
        for name in ["first", "second", "third"] {
            visit(&lock, &log, name);
        }
        assert_eq!(lock.waiting(), 3);
        log.expect(&[]);
        drop(held);
        log.expect(&["first", "second", "third"]);
        assert_eq!((lock.is_locked(), lock.waiting()), (false, 0));
    });
}

#[test]
fn a_lock_that_nobody_holds_is_there_at_once() {
    checked(|_| {
        let lock = Lock::new(());
        let d = lock.acquire();
        assert!(d.is_ready());
        assert!(lock.is_locked());
        drop(d);
        assert!(!lock.is_locked());
    });
}

#[test]
fn the_value_goes_from_guard_to_guard() {
    checked(|_| {
        let lock = Lock::new(vec![1]);
        let mut held = lock.try_acquire().unwrap();
        let next = lock.acquire();
        held.push(2);
        drop(held);
        let seen = outcome_of(next.map(|mut list| {
            list.push(3);
            list.clone()
        }));
        assert_eq!(seen.take().unwrap(), "ok [1, 2, 3]");
        assert_eq!(format!("{:?}", lock.try_acquire()), "Some(Guard([1, 2, 3]))");
        assert_eq!(*Lock::<u8>::default().try_acquire().unwrap(), 0);
    });
}

#[test]
fn a_guard_is_awaited_and_held_across_awaits() {
    checked(|_| {
        let lock = Lock::new(0);
        let log = Log::new();
        let mut triggers = Vec::new();
        for _ in 0..2 {
            let (trigger, step) = Deferred::<u8>::new();
            let (lock, log) = (lock.clone(), log.clone());
            triggers.push(trigger);
            flow(async move {
                let mut total = lock.acquire().await;
                let read = *total;
                log.add(format!("read {read}"));
                *total = read + step.await?;
                Ok(())
            })
            .report();
        }
        let mut triggers = triggers.into_iter();
        log.expect(&["read 0"]);
        triggers.next().unwrap().fire(5);
        log.expect(&["read 5"]);
        triggers.next().unwrap().fire(6);
        assert_eq!(*lock.try_acquire().unwrap(), 11);
    });
}

#[test]
fn run_releases_however_it_ends() {
    checked(|reports| {
        let lock = Lock::new(0);
        let (pending, d) = Deferred::<u8>::new();
        let ended = outcome_of(lock.run(move |n| {
            *n += 1;
            d
        }));
        assert!(lock.is_locked() && ended.is_empty());
        pending.fire(7);
        assert_eq!((ended.take().unwrap().as_str(), lock.is_locked()), ("ok 7", false));

        let ends: [(&str, fn(&mut i32) -> Deferred<u8>); 5] = [
            ("ok 1", |_| Deferred::ok(1)),
            ("err no", |_| Deferred::err(Failure::msg("no"))),
            ("cancelled", |_| Deferred::ended(Outcome::Stop(Stop::Cancelled))),
            ("lost", |_| Deferred::new().1),
            ("panicked: in run", |_| panic!("in run")),
        ];
        for (expected, f) in ends {
            let seen = outcome_of(lock.run(f));
            assert_eq!(seen.take().unwrap(), expected);
            assert!(!lock.is_locked(), "{expected}");
        }
        let seen = outcome_of(lock.run(|n| Ok::<_, Failure>(*n)));
        assert_eq!(seen.take().unwrap(), "ok 1");
        assert!(!lock.is_locked() && reports.is_empty());
    });
}

#[test]
fn a_panic_keeps_neither_the_lock_nor_the_next_one_from_it() {
    checked(|_| {
        let lock = Lock::new(1);
        let held = lock.try_acquire().unwrap();
        let first = outcome_of(lock.run(|n| -> Result<(), Failure> {
            *n = 2;
            panic!("halfway")
        }));
        let second = outcome_of(lock.run(|n| Ok::<_, Failure>(*n)));
        drop(held);
        assert_eq!(first.take().unwrap(), "panicked: halfway");
        assert_eq!(second.take().unwrap(), "ok 2");
    });
}

#[test]
fn a_run_that_is_left_goes_on_and_releases() {
    checked(|_| {
        let lock = Lock::new(());
        let log = Log::new();
        let (answer, d) = Deferred::<()>::new();
        drop(lock.run(move |()| d));
        visit(&lock, &log, "next");
        log.expect(&[]);
        answer.fire(());
        log.expect(&["next"]);
    });
}

#[test]
fn a_run_that_is_cancelled_asks_what_it_waits_for() {
    checked(|_| {
        let lock = Lock::new(());
        let log = Log::new();
        let held = lock.try_acquire().unwrap();
        // In line: its closure never runs.
        let seen = log.clone();
        let waiting = lock.run(move |()| {
            seen.add("ran");
            Ok::<(), Failure>(())
        });
        waiting.cancel();
        assert_eq!(
            (outcome_of(waiting).take().unwrap().as_str(), lock.waiting()),
            ("cancelled", 0)
        );
        drop(held);
        log.expect(&[]);

        // At work: what it waits for is asked, and the lock is held until that has ended.
        let (answer, d) = Deferred::<()>::new();
        answer.on_cancel(log.noting("asked"));
        let working = lock.run(move |()| d);
        working.cancel();
        log.expect(&["asked"]);
        assert!(lock.is_locked());
        drop(answer);
        assert!(!lock.is_locked());
        assert_eq!(outcome_of(working).take().unwrap(), "cancelled");
    });
}

#[test]
fn a_release_inside_a_callback_queues() {
    checked(|_| {
        let lock = Lock::new(());
        let log = Log::new();
        let held = Cell::new();
        held.put(lock.try_acquire().unwrap());
        visit(&lock, &log, "next");
        let seen = log.clone();
        Deferred::<(), Never>::ok(()).done(move |()| {
            drop(held.take());
            seen.add("released");
        });
        log.expect(&["released", "next"]);
    });
}

#[test]
fn a_release_in_a_turn_runs_nothing_before_the_turn_is_over() {
    checked(|_| {
        let lock = Lock::new(());
        let log = Log::new();
        let guard = lock.try_acquire().unwrap();
        visit(&lock, &log, "next");
        let hold = hosting::hold();
        drop(guard);
        log.expect(&[]);
        drop(hold);
        hosting::run_until_idle();
        log.expect(&["next"]);
    });
}

#[test]
fn whoever_holds_it_may_ask_for_it_again_and_is_the_last_in_line() {
    checked(|_| {
        let lock = Lock::new(());
        let log = Log::new();
        let held = lock.try_acquire().unwrap();
        let (again, seen) = (lock.clone(), log.clone());
        lock.acquire()
            .map(move |guard| {
                visit(&again, &seen, "again");
                seen.add("holds");
                drop(guard);
            })
            .report();
        visit(&lock, &log, "other");
        drop(held);
        log.expect(&["holds", "other", "again"]);
    });
}

#[test]
fn a_value_may_use_its_lock_when_it_is_dropped() {
    checked(|_| {
        let log = Log::new();
        let inner = Lock::new(());
        let guard = Cell::new();
        guard.put(inner.try_acquire().unwrap());
        visit(&inner, &log, "inner");
        // The last handle's end drops a guard of another lock, whose waiter takes this one's place.
        let outer = Lock::new(OnDrop::new(move || drop(guard.take())));
        let held = outer.try_acquire();
        drop(outer);
        log.expect(&[]);
        drop(held);
        log.expect(&["inner"]);

        // A guard that is replaced in its own lock's callback.
        let lock = Lock::new(Vec::<Box<dyn FnOnce()>>::new());
        let again = lock.clone();
        let seen = log.clone();
        let on_drop = OnDrop::new(move || {
            assert!(again.try_acquire().is_none());
            again.acquire().map(move |_| seen.add("asked in a destructor")).report();
        });
        let mut held = lock.try_acquire().unwrap();
        held.push(Box::new(move || drop(on_drop)));
        held.clear();
        log.expect(&[]);
        drop(held);
        log.expect(&["asked in a destructor"]);
    });
}

#[test]
fn who_waits_is_served_though_every_handle_is_gone() {
    checked(|_| {
        let lock = Lock::new(());
        let log = Log::new();
        let held = lock.try_acquire().unwrap();
        visit(&lock, &log, "first");
        visit(&lock, &log, "second");
        drop(lock);
        log.expect(&[]);
        drop(held);
        log.expect(&["first", "second"]);
    });
}

#[test]
fn the_value_is_dropped_with_the_last_of_handles_and_guards() {
    checked(|_| {
        let log = Log::new();
        let lock = Lock::new(OnDrop::new(log.noting("dropped")));
        let held = lock.try_acquire();
        drop(lock.clone());
        drop(lock);
        log.expect(&[]);
        drop(held);
        log.expect(&["dropped"]);
    });
}

#[test]
fn dump_says_who_holds_it_and_who_waits() {
    checked(|_| {
        let lock = Lock::new(());
        assert_eq!(lock.dump().to_string(), "lock: free");
        let held = lock.try_acquire();
        let line = line!() - 1;
        let waiters: Vec<_> = (0..2).map(|_| lock.acquire()).collect();
        let runs = lock.run(|()| Ok::<(), Failure>(()));
        let file = file!();
        let expected = format!(
            "lock: held, 3 waiting\n    held by {file}:{line}:25\n    waiting {file}:{}:51 x2\n    \
             waiting {file}:{}:25",
            line + 2,
            line + 3,
        );
        assert_eq!(lock.dump().to_string(), expected);
        drop(waiters);
        drop(held);
        runs.report();
        let before = lock.dump();
        let _held = lock.try_acquire();
        assert_eq!(before.to_string(), "lock: free");
        assert_eq!(format!("{lock:?}"), "Lock { locked: true, waiting: 0, .. }");
    });
}

#[test]
fn dump_names_the_waiter_that_was_served_as_the_holder() {
    checked(|_| {
        let lock = Lock::new(());
        let held = lock.try_acquire();
        let next = lock.acquire();
        let line = line!() - 1;
        drop(held);
        assert_eq!(
            lock.dump().to_string(),
            format!("lock: held, 0 waiting\n    held by {}:{line}:25", file!())
        );
        drop(next);
    });
}

#[test]
fn a_stop_that_reaches_everything_leaves_the_lock_free() {
    checked(|_| {
        let lock = Lock::new(());
        let (trigger, d) = Deferred::<()>::new();
        let working = lock.run(move |()| d);
        let waiting = lock.run(|()| Ok::<(), Failure>(()));
        let (ended, other) = (outcome_of(working), outcome_of(waiting));
        hosting::cancel_unfinished();
        assert_eq!(ended.take().unwrap(), "cancelled");
        assert_eq!(other.take().unwrap(), "cancelled");
        assert!(!lock.is_locked());
        drop(trigger);
    });
}
