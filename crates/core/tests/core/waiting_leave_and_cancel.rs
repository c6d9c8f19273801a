//! Leaving and cancelling at every point of whatever one waits in line for (DESIGN.md §3.4):
//! nothing is lost, and the order is kept.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

use thence_core::{
    Deferred, Fault, Lock, Never, Outcome, Pool, Queue, QueueClosed, Semaphore, first, flow,
    hosting,
};

use crate::common::{Cell, Log, checked, outcome_of};

type Pass<T, E> = fn(Deferred<T, E>) -> Deferred<T, E>;

/// What one who waits may have attached.
fn passes<T: 'static, E: Fault>() -> Vec<(&'static str, Pass<T, E>)> {
    vec![
        ("nothing", |d| d),
        ("inspect", |d| d.inspect(|_| ())),
        ("inspect_err", |d| d.inspect_err(|_| ())),
        ("map_err", |d| d.map_err(|e| e)),
        ("finally", |d| d.finally(|| ())),
        ("named", |d| d.named("label")),
        ("shield", Deferred::shield),
        ("first", |d| first([d])),
        ("interruptible", |d| d.interruptible().1),
        ("returned", |d| Deferred::<(), E>::ok(()).and_then(move |()| d)),
        ("several", |d| d.finally(|| ()).shield().inspect(|_| ())),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Exit {
    Leave,
    Cancel,
    CancelAndStay,
}

const EXITS: [Exit; 3] = [Exit::Leave, Exit::Cancel, Exit::CancelAndStay];

/// Leaves, or asks for the end; whoever stays drops what he is given.
fn exit<T: 'static, E: Fault>(d: Deferred<T, E>, how: Exit) {
    match how {
        Exit::Leave => drop(d),
        Exit::Cancel => {
            d.cancel();
            drop(d);
        }
        Exit::CancelAndStay => {
            d.cancel();
            d.settled().done(drop);
        }
    }
}

/// When somebody goes.
#[derive(Clone, Copy, Debug)]
enum When {
    /// While he waits in line.
    Waiting,
    /// It has come to him, and he has not looked.
    Served,
    /// It was there when he asked.
    AtOnce,
    /// It was fired in this very turn.
    InATurn,
    /// It was fired in this very turn, in which he had not attached his steps.
    BeforeHeAttached,
}

const WHENS: [When; 5] =
    [When::Waiting, When::Served, When::AtOnce, When::InATurn, When::BeforeHeAttached];

/// For something that goes back by its drop: `new` gives what is held, and how to ask for it.
fn who_goes_is_passed_over<G: 'static, E: Fault>(
    name: &str,
    new: impl Fn() -> (Box<dyn Fn() -> Deferred<G, E>>, Box<dyn Fn() -> usize>),
) {
    for (pass_name, pass) in passes::<G, E>() {
        for how in EXITS {
            for when in WHENS {
                let (ask, waiting) = new();
                let log = Log::new();
                let next = |n: u32| {
                    let seen = log.clone();
                    ask().map(move |held| {
                        seen.add(n);
                        drop(held);
                    })
                };
                let held = Cell::new();
                let kept = held.clone();
                if !matches!(when, When::AtOnce) {
                    ask().settled().done(move |outcome| kept.put(outcome));
                }
                let leaver = ask();
                let attaches_later = matches!(when, When::BeforeHeAttached);
                let leaver = if attaches_later { leaver } else { pass(leaver) };
                let (one, two) = (outcome_of(next(1)), outcome_of(next(2)));
                match when {
                    When::Waiting => {
                        exit(leaver, how);
                        held.take();
                    }
                    When::Served => {
                        held.take();
                        assert!(one.is_empty());
                        exit(leaver, how);
                    }
                    When::AtOnce => exit(leaver, how),
                    When::InATurn => {
                        let hold = hosting::hold();
                        held.take();
                        exit(leaver, how);
                        log.expect(&[]);
                        drop(hold);
                    }
                    When::BeforeHeAttached => {
                        let hold = hosting::hold();
                        held.take();
                        exit(pass(leaver), how);
                        drop(hold);
                    }
                }
                hosting::run_until_idle();
                let case = format!("{name}: {pass_name}, {how:?} {when:?}");
                assert_eq!(log.take(), ["1", "2"], "{case}");
                assert_eq!((one.take().unwrap(), two.take().unwrap()), (ok(), ok()), "{case}");
                assert_eq!(waiting(), 0, "{case}");
                assert!(ask().is_ready(), "{case}: it is free again");
            }
        }
    }
}

fn ok() -> String {
    "ok ()".to_owned()
}

#[test]
fn a_lock_goes_to_the_next() {
    checked(|_| {
        who_goes_is_passed_over("lock", || {
            let lock = Lock::new(());
            let same = lock.clone();
            (Box::new(move || lock.acquire()), Box::new(move || same.waiting()))
        });
    });
}

#[test]
fn a_permit_goes_to_the_next() {
    checked(|_| {
        for count in [1, 2] {
            who_goes_is_passed_over("semaphore", move || {
                let semaphore = Semaphore::new(count);
                let same = semaphore.clone();
                (Box::new(move || semaphore.acquire_many(count)), Box::new(move || same.waiting()))
            });
        }
    });
}

#[test]
fn a_leases_room_goes_to_the_next() {
    checked(|_| {
        who_goes_is_passed_over("pool", || {
            let pool = Pool::new(1, || Deferred::ok(()));
            let same = pool.clone();
            (Box::new(move || pool.lease()), Box::new(move || same.waiting()))
        });
    });
}

#[test]
fn an_item_goes_to_the_next() {
    checked(|_| {
        for (name, pass) in passes::<u32, QueueClosed>() {
            for how in EXITS {
                for size in [Some(0), Some(1), Some(3), None] {
                    for when in WHENS {
                        let queue = size.map_or_else(Queue::unbounded, Queue::bounded);
                        let put = |n| drop(queue.put(n));
                        let case = format!("{name}, {how:?} {when:?}, size {size:?}");
                        // Whoever is asked to end but is too late has the item.
                        let mut has_it = matches!(how, Exit::CancelAndStay);
                        match when {
                            When::Waiting => {
                                let leaver = pass(queue.get());
                                exit(leaver, how);
                                // A shield keeps him in line.
                                has_it &= matches!(name, "shield" | "several");
                                put(1);
                                put(2);
                            }
                            When::Served => {
                                let leaver = pass(queue.get());
                                put(1);
                                put(2);
                                exit(leaver, how);
                            }
                            When::AtOnce => {
                                put(1);
                                put(2);
                                exit(pass(queue.get()), how);
                            }
                            When::InATurn => {
                                let leaver = pass(queue.get());
                                let hold = hosting::hold();
                                put(1);
                                put(2);
                                exit(leaver, how);
                                drop(hold);
                            }
                            When::BeforeHeAttached => {
                                let leaver = queue.get();
                                let hold = hosting::hold();
                                put(1);
                                put(2);
                                exit(pass(leaver), how);
                                drop(hold);
                            }
                        }
                        hosting::run_until_idle();
                        let left: Vec<u32> = std::iter::from_fn(|| queue.try_get()).collect();
                        let expected: &[u32] = if has_it { &[2] } else { &[1, 2] };
                        assert_eq!(left, expected, "{case}");
                        assert_eq!(queue.waiting_getters(), 0, "{case}");
                    }
                }
            }
        }
    });
}

#[test]
fn an_item_that_comes_back_goes_to_whoever_waits_longest() {
    checked(|_| {
        let queue = Queue::unbounded();
        let leaver = queue.get().inspect(|_| ());
        let (one, two) = (outcome_of(queue.get()), outcome_of(queue.get()));
        // He had left with a step attached: it still runs, and then the item goes on.
        drop(leaver);
        queue.put(1).report();
        assert_eq!(one.take().unwrap(), "ok 1");
        queue.put(2).report();
        assert_eq!(two.take().unwrap(), "ok 2");
    });
}

#[test]
fn a_putters_item_is_in_line_until_he_asks_for_the_end() {
    checked(|_| {
        for (name, pass) in passes::<(), thence_core::Rejected<u32>>() {
            for how in EXITS {
                for size in [0, 1] {
                    let queue = Queue::bounded(size);
                    (0..size).for_each(|_| queue.put(0).report());
                    let goes = pass(queue.put(1));
                    let stays = outcome_of(queue.put(2));
                    exit(goes, how);
                    let asked =
                        !matches!(how, Exit::Leave) && !matches!(name, "shield" | "several");
                    let left: Vec<u32> =
                        std::iter::from_fn(|| queue.try_get()).filter(|n| *n > 0).collect();
                    let expected: &[u32] = if asked { &[2] } else { &[1, 2] };
                    assert_eq!(left, expected, "{name}, {how:?}, size {size}");
                    assert_eq!(stays.take().unwrap(), "ok ()");
                }
            }
        }
    });
}

#[test]
fn the_loser_of_a_race_has_taken_nothing() {
    checked(|_| {
        // Cancelled while it waits.
        let queue = Queue::unbounded();
        let (other, d) = Deferred::<u32, QueueClosed>::with_error();
        let race = outcome_of(first([queue.get(), d]));
        other.fire(7);
        assert_eq!((race.take().unwrap().as_str(), queue.waiting_getters()), ("ok 7", 0));
        queue.put(1).report();
        assert_eq!(queue.try_get(), Some(1));

        // Served in the same turn, after the winner and before it.
        for item_first in [false, true] {
            let (a, b) = (Queue::unbounded(), Queue::unbounded());
            let race = outcome_of(first([a.get(), b.get()]));
            let hold = hosting::hold();
            if item_first {
                a.put(1).report();
                b.put(2).report();
            } else {
                b.put(2).report();
                a.put(1).report();
            }
            drop(hold);
            hosting::run_until_idle();
            let expected =
                if item_first { ("ok 1", None, Some(2)) } else { ("ok 2", Some(1), None) };
            let won = race.take().unwrap();
            assert_eq!((won.as_str(), a.try_get(), b.try_get()), expected);
        }

        // A lock against a lock.
        let (a, b) = (Lock::new(()), Lock::new(()));
        let held = (a.try_acquire(), b.try_acquire());
        let race = first([a.acquire(), b.acquire()]);
        let hold = hosting::hold();
        drop(held);
        drop(hold);
        hosting::run_until_idle();
        assert_eq!((a.is_locked(), b.is_locked()), (true, false));
        drop(race);
        assert!(!a.is_locked());
    });
}

#[test]
fn an_interruption_leaves_the_line_and_gives_back_what_had_come() {
    checked(|_| {
        for served in [false, true] {
            // As a timeout does it.
            let queue = Queue::unbounded();
            let (interrupt, d) = queue.get().interruptible();
            let hold = hosting::hold();
            if served {
                queue.put(1).report();
            }
            interrupt.settle(Outcome::Err(QueueClosed));
            drop(hold);
            hosting::run_until_idle();
            let end = outcome_of(d).take().unwrap();
            assert_eq!(queue.waiting_getters(), 0);
            if !served {
                assert_eq!(end, "err closed: nothing more comes");
                queue.put(1).report();
            }
            let had = if end == "ok 1" { None } else { Some(1) };
            assert_eq!(queue.try_get(), had, "served: {served}");

            let lock = Lock::new(());
            let mut held = lock.try_acquire();
            let (interrupt, d) = lock.acquire().interruptible();
            let hold = hosting::hold();
            if served {
                held.take();
            }
            interrupt.settle(Outcome::Stop(thence_core::Stop::Cancelled));
            drop(hold);
            hosting::run_until_idle();
            drop(d);
            drop(held);
            assert_eq!((lock.is_locked(), lock.waiting()), (false, 0));
        }
    });
}

#[test]
fn a_flow_that_is_cut_or_left_loses_nothing() {
    checked(|_| {
        for served in [false, true] {
            for how in EXITS {
                let (lock, queue, log) = (Lock::new(()), Queue::unbounded(), Log::new());
                let mut held = lock.try_acquire();
                let (in_flow, items, seen) = (lock.clone(), queue.clone(), log.clone());
                let f = flow(async move {
                    let guard = in_flow.acquire().await;
                    seen.add("locked");
                    let item: u32 = items.get().await?;
                    seen.add(item);
                    drop(guard);
                    Ok(())
                });
                let hold = hosting::hold();
                if served {
                    held.take();
                    queue.put(1).report();
                }
                exit(f, how);
                held.take();
                if !served {
                    queue.put(1).report();
                }
                drop(hold);
                hosting::run_until_idle();
                let taken = log.take().contains(&"1".to_owned());
                assert_eq!(queue.try_get().is_none(), taken, "{how:?}, served: {served}");
                // What is there already when the request comes is not cut.
                assert_eq!(taken, served || matches!(how, Exit::Leave), "{how:?}, {served}");
                assert_eq!((lock.is_locked(), lock.waiting()), (false, 0));
                assert_eq!(queue.waiting_getters(), 0);
            }
        }
    });
}

#[test]
fn an_await_that_is_dropped_loses_nothing() {
    checked(|_| {
        let mut task = Context::from_waker(Waker::noop());
        for served in [false, true] {
            let (lock, queue) = (Lock::new(()), Queue::unbounded());
            let held = lock.try_acquire();
            let (mut guard, mut item) = (lock.acquire().into_future(), queue.get().into_future());
            assert!(Pin::new(&mut guard).poll(&mut task).is_pending());
            assert!(Pin::new(&mut item).poll(&mut task).is_pending());
            if served {
                drop(held);
                queue.put(1).report();
                drop((guard, item));
            } else {
                drop((guard, item));
                assert_eq!((lock.waiting(), queue.waiting_getters()), (0, 0));
                drop(held);
                queue.put(1).report();
            }
            assert!(!lock.is_locked());
            assert_eq!(queue.try_get(), Some(1));
        }
    });
}

#[test]
fn whoever_goes_may_ask_again_in_his_own_hooks() {
    checked(|_| {
        let lock = Lock::new(());
        let log = Log::new();
        let held = lock.try_acquire().unwrap();
        // Cancelled: his end asks again, at the end of the line.
        let (again, seen) = (lock.clone(), log.clone());
        let d = lock.acquire().then(move |outcome| {
            assert!(outcome.is_cancelled());
            again.acquire().map(move |_| seen.add("again")).report();
            Ok::<(), Never>(())
        });
        let seen = log.clone();
        lock.acquire().map(move |_| seen.add("other")).report();
        d.cancel();
        assert_eq!(lock.waiting(), 2);
        d.report();
        drop(held);
        log.expect(&["other", "again"]);
    });
}

#[test]
fn everything_on_the_thread_is_asked_at_once() {
    checked(|_| {
        let (lock, semaphore, queue) = (Lock::new(()), Semaphore::new(1), Queue::<u32>::bounded(0));
        let held = (lock.try_acquire(), semaphore.try_acquire());
        let ends = [
            outcome_of(lock.acquire()),
            outcome_of(semaphore.acquire().map(drop)),
            outcome_of(lock.acquire()),
            outcome_of(queue.get().map(drop)),
        ];
        hosting::cancel_unfinished();
        for end in ends {
            assert_eq!(end.take().unwrap(), "cancelled");
        }
        assert_eq!((lock.waiting(), semaphore.waiting(), queue.waiting_getters()), (0, 0, 0));
        drop(held);
    });
}
