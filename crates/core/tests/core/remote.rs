//! Firing from other threads (DESIGN.md §3.1).

use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;

use thence_core::{Deferred, Failure, hosting};

use crate::common::{Log, checked, outcome_of};

#[test]
fn another_thread_fires_and_the_next_delivery_brings_it_home() {
    checked(|_| {
        for fails in [false, true] {
            let (trigger, d) = Deferred::<u8>::new();
            let remote = trigger.remote();
            let seen = outcome_of(d);
            thread::spawn(move || {
                if fails { remote.fail(Failure::msg("far away")) } else { remote.fire(7) }
            })
            .join()
            .unwrap();
            assert!(seen.is_empty());
            assert_eq!(hosting::deliver_inbox(10), 1);
            assert_eq!(seen.take().unwrap(), if fails { "err far away" } else { "ok 7" });
        }
    });
}

#[test]
fn dropped_over_there_it_is_lost_or_cancelled() {
    checked(|_| {
        for cancel in [false, true] {
            let (trigger, d) = Deferred::<u8>::new();
            trigger.on_cancel(|| ());
            let remote = trigger.remote();
            assert!(!remote.is_cancelled());
            if cancel {
                d.cancel();
                assert!(remote.is_cancelled());
            }
            thread::spawn(move || drop(remote)).join().unwrap();
            hosting::run_until_idle();
            let end = if cancel { "cancelled" } else { "lost" };
            assert_eq!(outcome_of(d).take().unwrap(), end);
        }
    });
}

#[test]
fn without_a_canceller_it_stops_at_once_and_the_late_value_goes_back() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let back = log.clone();
        trigger.on_unclaimed(move |n| back.add(n));
        let remote = trigger.remote();
        d.cancel();
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
        thread::spawn(move || {
            assert!(remote.is_cancelled());
            remote.fire(9);
        })
        .join()
        .unwrap();
        log.expect(&[]);
        hosting::run_until_idle();
        log.expect(&["9"]);
    });
}

#[test]
fn a_delivery_is_bounded_and_keeps_the_order() {
    checked(|_| {
        let log = Log::new();
        let mut remotes = Vec::new();
        for _ in 0..5 {
            let (trigger, d) = Deferred::<u8>::new();
            let seen = log.clone();
            d.map(move |n| seen.add(n)).report();
            remotes.push(trigger.remote());
        }
        thread::spawn(move || {
            for (n, remote) in (0..).zip(remotes) {
                remote.fire(n);
            }
        })
        .join()
        .unwrap();
        assert_eq!(hosting::deliver_inbox(2), 2);
        log.expect(&["0", "1"]);
        assert_eq!(hosting::deliver_inbox(9), 3);
        log.expect(&["2", "3", "4"]);
    });
}

#[test]
fn many_threads_fire_at_once() {
    checked(|_| {
        let barrier = Arc::new(Barrier::new(8));
        let (mut threads, mut ends) = (Vec::new(), Vec::new());
        for n in 0..8_usize {
            let barrier = barrier.clone();
            let remotes: Vec<_> = (0..50)
                .map(|_| {
                    let (trigger, d) = Deferred::<usize>::new();
                    ends.push((n, outcome_of(d)));
                    trigger.remote()
                })
                .collect();
            threads.push(thread::spawn(move || {
                barrier.wait();
                remotes.into_iter().for_each(|remote| remote.fire(n));
            }));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        hosting::run_until_idle();
        for (n, end) in ends {
            assert_eq!(end.take().unwrap(), format!("ok {n}"));
        }
    });
}

#[test]
fn the_host_is_told_once_while_the_inbox_is_not_empty() {
    checked(|_| {
        let (told, calls) = mpsc::channel();
        let inbox = hosting::inbox();
        let told = std::sync::Mutex::new(told);
        inbox.set_waker(Arc::new(move || told.lock().unwrap().send(()).unwrap()));
        let far = inbox.clone();
        thread::spawn(move || {
            far.post(Box::new(|| ())).unwrap();
            far.post(Box::new(|| ())).unwrap();
        })
        .join()
        .unwrap();
        assert_eq!(calls.try_iter().count(), 1);
        assert_eq!(hosting::deliver_inbox(9), 2);
        inbox.clear_waker();
        inbox.post(Box::new(|| ())).unwrap();
        assert_eq!(calls.try_iter().count(), 0);
        hosting::run_until_idle();
    });
}

#[test]
fn a_panic_in_what_was_posted_is_reported() {
    checked(|reports| {
        hosting::inbox().post(Box::new(|| panic!("posted"))).unwrap();
        hosting::run_until_idle();
        reports.expect(&["panicked in a destructor or a hook: posted"]);
    });
}

#[test]
fn a_thread_that_ends_loses_what_was_to_come_and_takes_nothing_more() {
    checked(|_| {
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let (trigger, d) = Deferred::<u8>::new();
            d.settled().done(drop);
            send.send((trigger.remote(), hosting::inbox())).unwrap();
        })
        .join()
        .unwrap();
        let (remote, inbox) = receive.recv().unwrap();
        remote.fire(1);
        assert_eq!(inbox.post(Box::new(|| ())), Err(hosting::Closed));
    });
}
