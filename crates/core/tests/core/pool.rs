//! Leases (DESIGN.md §3.4).

use std::cell::Cell as StdCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use thence_core::{Deferred, Failure, Lease, Pool, Trigger};

use crate::common::{Cell, Log, OnDrop, checked, outcome_of};

/// A pool of numbered things, ready at once.
fn numbered(max: usize) -> (Pool<u32>, Rc<StdCell<u32>>) {
    let made = Rc::new(StdCell::new(0));
    let count = made.clone();
    let pool = Pool::new(max, move || {
        count.set(count.get() + 1);
        Deferred::ok(count.get())
    });
    (pool, made)
}

fn take(pool: &Pool<u32>) -> Lease<u32> {
    let cell = Cell::new();
    let kept = cell.clone();
    pool.lease().map(move |lease| kept.put(lease)).report();
    cell.take().unwrap()
}

#[test]
fn what_is_given_back_is_leased_again_and_what_is_dropped_is_closed() {
    checked(|_| {
        let (pool, made) = numbered(1);
        let lease = take(&pool);
        assert_eq!((*lease, pool.open(), pool.idle()), (1, 1, 0));
        lease.give_back();
        assert_eq!((pool.open(), pool.idle()), (1, 1));
        let mut lease = take(&pool);
        *lease += 10;
        assert_eq!((*lease, made.get()), (11, 1));
        drop(lease);
        assert_eq!((pool.open(), pool.idle()), (0, 0));
        let lease = take(&pool);
        assert_eq!(*lease, 2);
        assert_eq!(lease.detach(), 2);
        assert_eq!((pool.open(), pool.idle()), (0, 0));
    });
}

#[test]
fn waiters_are_served_in_the_order_they_came() {
    checked(|_| {
        let (pool, made) = numbered(2);
        let log = Log::new();
        let held = [take(&pool), take(&pool)];
        for n in 0..3 {
            let log = log.clone();
            pool.lease()
                .map(move |lease| {
                    log.add(format!("{n} got {}", *lease));
                    lease.give_back();
                })
                .report();
        }
        assert_eq!((pool.waiting(), pool.open()), (3, 2));
        let [one, two] = held;
        two.give_back();
        log.expect(&["0 got 2", "1 got 2", "2 got 2"]);
        one.give_back();
        assert_eq!((pool.idle(), made.get()), (2, 2));
    });
}

#[test]
fn a_closed_one_makes_room_for_the_next_waiter() {
    checked(|_| {
        let (pool, _) = numbered(1);
        let lease = take(&pool);
        let seen = outcome_of(pool.lease().map(|lease| *lease));
        assert!(seen.is_empty());
        drop(lease);
        assert_eq!(seen.take().unwrap(), "ok 2");
    });
}

#[test]
fn who_left_or_was_cancelled_is_passed_over_at_every_point() {
    checked(|_| {
        for cancel in [false, true] {
            // While waiting.
            let (pool, _) = numbered(1);
            let lease = take(&pool);
            let leaver = pool.lease();
            let next = outcome_of(pool.lease().map(|lease| *lease));
            if cancel {
                leaver.cancel();
            }
            drop(leaver);
            lease.give_back();
            assert_eq!(next.take().unwrap(), "ok 1");

            // After it was served, before it looked.
            let (pool, made) = numbered(1);
            let leaver = pool.lease();
            let next = outcome_of(pool.lease().map(|lease| *lease));
            assert!(leaver.is_ready());
            if cancel {
                leaver.cancel();
            }
            drop(leaver);
            assert_eq!(next.take().unwrap(), "ok 1");
            assert_eq!((made.get(), pool.open()), (1, 0));

            // While the thing is made.
            let connecting = Cell::<Trigger<u32>>::new();
            let kept = connecting.clone();
            let pool = Pool::new(1, move || {
                let (trigger, d) = Deferred::new();
                kept.put(trigger);
                d
            });
            let leaver = pool.lease();
            let next = outcome_of(pool.lease().map(|lease| *lease));
            if cancel {
                leaver.cancel();
            }
            drop(leaver);
            connecting.take().unwrap().fire(5);
            assert_eq!(next.take().unwrap(), "ok 5");
            drop((pool, connecting.take()));
        }
    });
}

#[test]
fn what_nobody_waits_for_any_more_is_idle() {
    checked(|_| {
        let connecting = Cell::<Trigger<u32>>::new();
        let kept = connecting.clone();
        let pool = Pool::new(1, move || {
            let (trigger, d) = Deferred::new();
            kept.put(trigger);
            d
        });
        drop(pool.lease());
        connecting.take().unwrap().fire(5);
        assert_eq!((pool.open(), pool.idle(), pool.waiting()), (1, 1, 0));
    });
}

#[test]
fn a_connect_that_fails_or_panics_reaches_the_waiter_and_makes_room() {
    checked(|reports| {
        let count = Rc::new(StdCell::new(0));
        let tries = count.clone();
        let pool = Pool::new(1, move || {
            tries.set(tries.get() + 1);
            match tries.get() {
                1 => Deferred::err(Failure::msg("refused")),
                2 => panic!("in connect"),
                n => Deferred::ok(n),
            }
        });
        assert_eq!(outcome_of(pool.lease().map(|l| *l)).take().unwrap(), "err refused");
        assert_eq!(outcome_of(pool.lease().map(|l| *l)).take().unwrap(), "panicked: in connect");
        assert_eq!(pool.open(), 0);
        assert_eq!(outcome_of(pool.lease().map(|l| *l)).take().unwrap(), "ok 3");
        assert!(reports.is_empty());
    });
}

#[test]
fn a_connect_that_fails_with_nobody_waiting_is_reported() {
    checked(|reports| {
        let connecting = Cell::<Trigger<u32>>::new();
        let kept = connecting.clone();
        let pool = Pool::new(1, move || {
            let (trigger, d) = Deferred::new();
            kept.put(trigger);
            d
        });
        drop(pool.lease());
        connecting.take().unwrap().fail(Failure::msg("refused"));
        reports.expect(&["refused"]);
        assert_eq!(pool.open(), 0);
    });
}

#[test]
fn a_lease_held_by_a_flow_that_is_cut_is_closed() {
    checked(|_| {
        let (pool, _) = numbered(1);
        let (_answer, d) = Deferred::<u8>::new();
        let leasing = pool.lease();
        let f = thence_core::flow(async move {
            let lease = leasing.await?;
            d.await?;
            lease.give_back();
            Ok(())
        });
        let next = outcome_of(pool.lease().map(|lease| *lease));
        assert_eq!(pool.open(), 1);
        f.cancel();
        assert_eq!(next.take().unwrap(), "ok 2");
        assert_eq!(outcome_of(f).take().unwrap(), "cancelled");
    });
}

#[test]
fn a_lease_outlives_its_pool() {
    checked(|_| {
        let (pool, _) = numbered(1);
        let (back, closed) = (take(&pool), pool.clone());
        drop((pool, closed));
        back.give_back();
        let (pool, _) = numbered(1);
        let lease = take(&pool);
        let waiting = outcome_of(pool.lease().map(|lease| *lease));
        drop(pool);
        assert_eq!(waiting.take().unwrap(), "lost");
        drop(lease);
    });
}

#[test]
fn retain_closes_what_is_not_fit_and_serves_who_waits() {
    checked(|_| {
        let (pool, _) = numbered(3);
        let held = [take(&pool), take(&pool), take(&pool)];
        held.into_iter().for_each(Lease::give_back);
        pool.retain(|n| *n != 2);
        assert_eq!((pool.open(), pool.idle()), (2, 2));
        // A thing whose destructor uses the pool.
        let cell = Cell::<Pool<OnDrop<Box<dyn FnOnce()>>>>::new();
        let inside = cell.clone();
        let pool = Pool::new(1, move || {
            let inside = inside.clone();
            Deferred::ok(OnDrop::new(Box::new(move || {
                if let Some(pool) = inside.take() {
                    assert_eq!(pool.idle(), 0);
                }
            }) as Box<dyn FnOnce()>))
        });
        cell.put(pool.clone());
        pool.lease().map(Lease::give_back).report();
        pool.retain(|_| false);
        assert_eq!((pool.open(), pool.idle()), (0, 0));
    });
}

#[test]
fn the_oldest_are_closed_and_the_others_are_not_looked_at() {
    checked(|_| {
        let (pool, _) = numbered(4);
        let held = [take(&pool), take(&pool), take(&pool), take(&pool)];
        held.into_iter().for_each(Lease::give_back);
        let mut looked_at = Vec::new();
        pool.close_oldest(|n| {
            looked_at.push(*n);
            *n < 3
        });
        assert_eq!((looked_at.as_slice(), pool.open(), pool.idle()), (&[1, 2, 3][..], 2, 2));
        assert_eq!(*take(&pool), 4);
        let (pool, _) = numbered(1);
        take(&pool).give_back();
        let caught = catch_unwind(AssertUnwindSafe(|| pool.close_oldest(|_| panic!("stale"))));
        assert!(caught.is_err());
        assert_eq!((pool.open(), pool.idle()), (0, 0));
    });
}

#[test]
fn a_panic_in_retain_loses_no_room() {
    checked(|_| {
        let (pool, _) = numbered(1);
        take(&pool).give_back();
        let caught = catch_unwind(AssertUnwindSafe(|| pool.retain(|_| panic!("fit"))));
        assert!(caught.is_err());
        assert!(outcome_of(pool.lease().map(|lease| *lease)).take().is_some());
    });
}

#[test]
fn a_hundred_thousand_waiters_are_served_one_after_the_other() {
    checked(|_| {
        let (pool, made) = numbered(1);
        let lease = take(&pool);
        let served = Rc::new(StdCell::new(0));
        for _ in 0..100_000 {
            let served = served.clone();
            pool.lease()
                .map(move |lease| {
                    served.set(served.get() + 1);
                    lease.give_back();
                })
                .report();
        }
        lease.give_back();
        assert_eq!((served.get(), made.get()), (100_000, 1));
        // And as many that leave.
        let lease = take(&pool);
        let leavers: Vec<_> = (0..100_000).map(|_| pool.lease()).collect();
        drop(leavers);
        lease.give_back();
        assert_eq!((pool.idle(), pool.waiting()), (1, 0));
    });
}

fn take_new(pool: &Pool<u32>) -> Lease<u32> {
    let cell = Cell::new();
    let kept = cell.clone();
    pool.lease_new().map(move |lease| kept.put(lease)).report();
    cell.take().unwrap()
}

#[test]
fn a_new_one_is_made_beside_those_that_idle_or_in_the_place_of_the_oldest() {
    checked(|_| {
        let (pool, made) = numbered(3);
        let held = [take(&pool), take(&pool)];
        held.into_iter().for_each(Lease::give_back);
        let third = take_new(&pool);
        assert_eq!((*third, pool.open(), pool.idle()), (3, 3, 2));
        let fourth = take_new(&pool);
        assert_eq!((*fourth, pool.open(), pool.idle()), (4, 3, 1), "the first was closed");
        assert_eq!(*take(&pool), 2);
        assert_eq!((made.get(), pool.open()), (4, 2));
        drop((third, fourth));
        assert_eq!((pool.open(), pool.idle()), (0, 0));
    });
}

#[test]
fn where_none_idles_and_there_may_be_no_more_a_new_one_is_the_next_that_comes() {
    checked(|_| {
        let (pool, _) = numbered(1);
        let held = take(&pool);
        let waits = pool.lease_new();
        assert_eq!((waits.is_ready(), pool.waiting()), (false, 1));
        held.give_back();
        let got = Cell::new();
        let kept = got.clone();
        waits.map(move |lease| kept.put(*lease)).report();
        assert_eq!(got.take(), Some(1));
        assert_eq!(pool.open(), 0);
    });
}

#[test]
fn a_new_one_that_comes_to_nothing_makes_room() {
    checked(|_| {
        let (trigger, connection) = Deferred::<u32>::new();
        let ways = std::cell::RefCell::new(vec![connection, Deferred::err(Failure::msg("no"))]);
        let pool = Pool::new(1, move || ways.borrow_mut().pop().unwrap());
        assert_eq!(outcome_of(pool.lease_new().map(|lease| *lease)).take().unwrap(), "err no");
        assert_eq!(pool.open(), 0);
        // Left while it is made: it is closed when it is there.
        drop(pool.lease_new());
        assert_eq!(pool.open(), 1);
        trigger.fire(7);
        assert_eq!((pool.open(), pool.idle()), (0, 0));
    });
}
