//! `Semaphore`: so many at a time, in the order they came.

use std::panic::catch_unwind;

use thence_core::{Deferred, Failure, Never, Outcome, Permit, Semaphore, Stop, hosting};

use crate::common::{Cell, Log, checked, outcome_of};

/// Asks for so many permits, says when they are there, and keeps them.
fn ask(semaphore: &Semaphore, count: usize, log: &Log, name: &str) -> Cell<Permit> {
    let kept = Cell::new();
    let (cell, seen) = (kept.clone(), log.noting(name));
    semaphore.acquire_many(count).done(move |permit| {
        seen();
        cell.put(permit);
    });
    kept
}

#[test]
fn so_many_hold_it_and_the_others_wait_in_the_order_they_came() {
    checked(|_| {
        let semaphore = Semaphore::new(2);
        let log = Log::new();
        let held: Vec<_> = (0..2).map(|n| ask(&semaphore, 1, &log, &n.to_string())).collect();
        let waiting: Vec<_> = (2..5).map(|n| ask(&semaphore, 1, &log, &n.to_string())).collect();
        log.expect(&["0", "1"]);
        assert_eq!((semaphore.available(), semaphore.limit(), semaphore.waiting()), (0, 2, 3));
        assert!(semaphore.try_acquire().is_none());
        held[1].take();
        log.expect(&["2"]);
        held[0].take();
        log.expect(&["3"]);
        waiting[0].take();
        log.expect(&["4"]);
        waiting.iter().for_each(|cell| drop(cell.take()));
        assert_eq!((semaphore.available(), semaphore.waiting()), (2, 0));
    });
}

#[test]
fn a_big_request_is_not_overtaken() {
    checked(|_| {
        let semaphore = Semaphore::new(3);
        let log = Log::new();
        let held: Vec<_> = (0..2).map(|_| semaphore.try_acquire().unwrap()).collect();
        let big = ask(&semaphore, 3, &log, "big");
        let small = ask(&semaphore, 1, &log, "small");
        assert!(semaphore.try_acquire().is_none(), "one is there, and it is the big one's");
        assert_eq!(semaphore.available(), 1);
        drop(held);
        log.expect(&["big"]);
        assert_eq!(big.with(|permit| permit.count()), 3);
        big.take();
        log.expect(&["small"]);
        small.take();
        assert_eq!(semaphore.available(), 3);
    });
}

#[test]
fn all_that_a_release_is_enough_for_are_served_before_the_first_of_them_runs() {
    checked(|_| {
        let semaphore = Semaphore::new(3);
        let log = Log::new();
        let held = ask(&semaphore, 3, &log, "held");
        let first = Cell::new();
        let (kept, seen, again) = (first.clone(), log.clone(), semaphore.clone());
        semaphore.acquire_many(2).done(move |permit| {
            seen.add(format!("two, {} left", again.available()));
            kept.put(permit);
        });
        let second = ask(&semaphore, 1, &log, "one");
        held.take();
        log.expect(&["held", "two, 0 left", "one"]);
        first.take();
        second.take();
    });
}

#[test]
fn a_big_request_that_goes_lets_those_behind_it_in() {
    checked(|_| {
        for cancel in [false, true] {
            let semaphore = Semaphore::new(3);
            let log = Log::new();
            let held = semaphore.try_acquire();
            let big = semaphore.acquire_many(3);
            let small = ask(&semaphore, 1, &log, "small");
            log.expect(&[]);
            if cancel {
                big.cancel();
                assert_eq!(outcome_of(big).take().unwrap(), "cancelled");
            } else {
                drop(big);
            }
            log.expect(&["small"]);
            drop((held, small.take()));
            assert_eq!((semaphore.available(), semaphore.waiting()), (3, 0));
        }
    });
}

#[test]
fn what_could_never_be_served_panics_at_once() {
    checked(|_| {
        assert!(catch_unwind(|| Semaphore::new(0)).is_err());
        assert!(catch_unwind(|| drop(Semaphore::new(2).acquire_many(3))).is_err());
    });
}

#[test]
fn a_request_for_none_waits_its_turn() {
    checked(|_| {
        let semaphore = Semaphore::new(1);
        let log = Log::new();
        drop(ask(&semaphore, 0, &log, "none"));
        log.expect(&["none"]);
        let held = semaphore.try_acquire();
        let one = ask(&semaphore, 1, &log, "one");
        let none = ask(&semaphore, 0, &log, "none");
        log.expect(&[]);
        drop(held);
        log.expect(&["one", "none"]);
        drop((one.take(), none.take()));
    });
}

#[test]
fn run_gives_the_permit_back_however_it_ends() {
    checked(|reports| {
        let semaphore = Semaphore::new(1);
        let ends: [(&str, fn() -> Deferred<u8>); 5] = [
            ("ok 1", || Deferred::ok(1)),
            ("err no", || Deferred::err(Failure::msg("no"))),
            ("cancelled", || Deferred::ended(Outcome::Stop(Stop::Cancelled))),
            ("lost", || Deferred::new().1),
            ("panicked: in run", || panic!("in run")),
        ];
        for (expected, f) in ends {
            let seen = outcome_of(semaphore.run(f));
            assert_eq!((seen.take().unwrap().as_str(), semaphore.available()), (expected, 1));
        }
        let (pending, d) = Deferred::<u8>::new();
        let first = outcome_of(semaphore.run(move || d));
        let second = outcome_of(semaphore.run(|| Ok::<_, Failure>(2)));
        assert_eq!((semaphore.available(), second.is_empty()), (0, true));
        pending.fire(1);
        assert_eq!(first.take().unwrap() + " " + &second.take().unwrap(), "ok 1 ok 2");
        assert!(reports.is_empty());
    });
}

#[test]
fn a_release_inside_a_callback_queues() {
    checked(|_| {
        let semaphore = Semaphore::new(1);
        let log = Log::new();
        let held = ask(&semaphore, 1, &log, "held");
        let next = ask(&semaphore, 1, &log, "next");
        let seen = log.clone();
        Deferred::<(), Never>::ok(()).done(move |()| {
            held.take();
            seen.add("released");
        });
        log.expect(&["held", "released", "next"]);
        next.take();
    });
}

#[test]
fn who_waits_is_served_though_every_handle_is_gone() {
    checked(|_| {
        let semaphore = Semaphore::new(1);
        let log = Log::new();
        let held = semaphore.try_acquire();
        let first = ask(&semaphore, 1, &log, "first");
        let second = ask(&semaphore, 1, &log, "second");
        drop(semaphore);
        drop(held);
        log.expect(&["first"]);
        first.take();
        log.expect(&["second"]);
        second.take();
    });
}

#[test]
fn everything_that_is_cancelled_at_once_gives_its_permits_back() {
    checked(|_| {
        let semaphore = Semaphore::new(2);
        let (_trigger, d) = Deferred::<()>::new();
        let working = outcome_of(semaphore.run(move || d));
        let waiting = outcome_of(semaphore.acquire_many(2).map(|permit| permit.count()));
        hosting::cancel_unfinished();
        assert_eq!(working.take().unwrap(), "cancelled");
        // Asked first or served first: either way nothing is lost.
        assert_eq!(waiting.take().unwrap(), "cancelled");
        assert_eq!((semaphore.available(), semaphore.waiting()), (2, 0));
    });
}

#[test]
fn dump_says_who_holds_permits_and_who_waits() {
    checked(|_| {
        let semaphore = Semaphore::new(3);
        assert_eq!(semaphore.dump().to_string(), "semaphore: 3 of 3 available, 0 waiting");
        let held = semaphore.try_acquire();
        let line = line!() - 1;
        let big = semaphore.acquire_many(3);
        let one = semaphore.acquire();
        let file = file!();
        assert_eq!(
            semaphore.dump().to_string(),
            format!(
                "semaphore: 2 of 3 available, 2 waiting\n    1 held by {file}:{line}:30\n    \
                 waiting for 3 {file}:{}:29\n    waiting for 1 {file}:{}:29",
                line + 2,
                line + 3,
            )
        );
        drop((big, one, held));
        assert_eq!(format!("{semaphore:?}"), "Semaphore { available: 3, limit: 3, waiting: 0 }");
    });
}
