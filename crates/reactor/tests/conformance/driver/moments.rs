//! What may happen to an operation: the columns of the table.

use std::time::Duration;

use thence_reactor::driver::is_cancelled;

use super::subject::{Finishes, Resets, ShutsDown, Subject};
use crate::bench::Bench;

pub fn completes<S: Subject>(bench: &mut Bench) {
    let mut subject = S::open(bench);
    for _ in 0..3 {
        let key = subject.start(bench);
        bench.settle();
        subject.provide(bench);
        let done = bench.done(key);
        subject.took(bench, key, done);
    }
    subject.check_rest(bench);
}

pub fn found_there<S: Subject>(bench: &mut Bench) {
    let mut subject = S::open(bench);
    for _ in 0..3 {
        subject.provide(bench);
        let key = subject.start(bench);
        assert!(!bench.has_ended(key), "its end comes in a later turn");
        let done = bench.done(key);
        subject.took(bench, key, done);
    }
    subject.check_rest(bench);
}

pub fn cancelled_before<S: Subject>(bench: &mut Bench) {
    let mut subject = S::open(bench);
    let key = subject.start(bench);
    bench.assert_pending(key);
    bench.take_back(key);
    subject.was_cut(key);
    subject.provide(bench);
    subject.check_rest(bench);
}

/// It could end, and nobody has looked.
pub fn cancelled_during<S: Subject>(bench: &mut Bench) {
    let mut subject = S::open(bench);
    let key = subject.start(bench);
    bench.assert_pending(key);
    subject.provide(bench);
    bench.cancel(key);
    let result = bench.end(key);
    subject.ended(bench, key, result);
    subject.check_rest(bench);
}

pub fn cancelled_at_any_turn<S: Subject>(bench: &mut Bench) {
    let mut subject = S::open(bench);
    for turns in 0..5 {
        for there in [true, false] {
            if there {
                subject.provide(bench);
            }
            let key = subject.start(bench);
            (0..turns).for_each(|_| bench.turn(Duration::ZERO));
            bench.cancel(key);
            let result = bench.end(key);
            subject.ended(bench, key, result);
        }
    }
    subject.check_rest(bench);
}

/// It has ended, and its slot is another's by now, whom a stale key must not meet.
pub fn cancelled_after<S: Subject>(bench: &mut Bench) {
    let mut subject = S::open(bench);
    let old = subject.start(bench);
    subject.provide(bench);
    let done = bench.done(old);
    subject.took(bench, old, done);
    bench.cancel(old);
    bench.settle();
    let next = subject.start(bench);
    bench.cancel(old);
    bench.settle();
    subject.provide(bench);
    let done = bench.done(next);
    subject.took(bench, next, done);
    subject.check_rest(bench);
}

pub fn cancelled_twice<S: Subject>(bench: &mut Bench) {
    let mut subject = S::open(bench);
    let key = subject.start(bench);
    bench.assert_pending(key);
    bench.cancel(key);
    bench.take_back(key);
    bench.cancel(key);
    subject.was_cut(key);
    subject.provide(bench);
    subject.check_rest(bench);
}

/// What comes is the other's.
pub fn one_of_two_cancelled<S: Subject>(bench: &mut Bench) {
    let mut subject = S::open(bench);
    for last in [false, true] {
        let mut keys = [subject.start(bench), subject.start(bench)];
        if last {
            keys.reverse();
        }
        let [cut, stays] = keys;
        bench.cancel(cut);
        let mut results = [
            (cut, bench.end(cut)),
            (stays, {
                subject.provide(bench);
                bench.end(stays)
            }),
        ];
        if last {
            results.reverse();
        }
        for (key, result) in results {
            assert!(key == cut || result.is_ok(), "{result:?}");
            subject.ended(bench, key, result);
        }
    }
    subject.check_rest(bench);
}

pub fn peer_finishes<S: Finishes>(bench: &mut Bench) {
    let mut subject = S::open(bench);
    let key = subject.start(bench);
    bench.settle();
    subject.finish(bench);
    let result = bench.end(key);
    subject.finished(bench, key, result);
}

pub fn peer_resets<S: Resets>(bench: &mut Bench) {
    let mut subject = S::open(bench);
    let key = subject.start(bench);
    bench.settle();
    subject.reset(bench);
    let result = bench.end(key);
    subject.was_reset(bench, key, result);
}

pub fn shut_down_under_it<S: ShutsDown>(bench: &mut Bench) {
    let mut subject = S::open(bench);
    let key = subject.start(bench);
    bench.assert_pending(key);
    subject.shut_down();
    let result = bench.end(key);
    subject.was_shut_down(bench, key, result);
}

/// The operation keeps its socket open, until it has ended and no longer.
pub fn let_go_under_it<S: Subject>(bench: &mut Bench) {
    let mut subject = S::open(bench);
    let key = subject.start(bench);
    let open = bench.live().sockets;
    subject.let_go();
    assert_eq!(bench.live().sockets, open);
    bench.settle();
    subject.provide(bench);
    let done = bench.done(key);
    subject.took(bench, key, done);
}

pub fn let_go_and_cancelled<S: Subject>(bench: &mut Bench) {
    let mut subject = S::open(bench);
    let key = subject.start(bench);
    bench.assert_pending(key);
    let open = bench.live().sockets;
    subject.let_go();
    assert_eq!(bench.live().sockets, open);
    bench.cancel(key);
    assert!(is_cancelled(&bench.end(key).unwrap_err()));
    assert_eq!(bench.live().sockets, open - 1, "it has closed with its operation");
}

pub fn driver_dropped<S: Subject>(bench: &mut Bench) {
    let mut subject = S::open(bench);
    subject.start(bench);
    bench.settle();
    subject.start(bench);
    bench.drop_driver();
    // Handles are good for nothing now but for being dropped.
    drop(subject);
}
