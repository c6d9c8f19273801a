//! What each step does with each way to end (DESIGN.md §3.1).

use thence_core::{Deferred, Failure, Never, Outcome, Stop};

use crate::common::{Cell, Log, checked, outcome_of};

type Attach = fn(Deferred<u8>, Ran) -> Cell<String>;

/// A step whose callback notes that it ran, and how it ends after the value 1, after the error
/// `no`, and after a lost trigger. `*` says that the callback ran.
const STEPS: [(&str, Attach, [&str; 3]); 15] = [
    ("map", |d, ran| outcome_of(d.map(|n| ran.and(n + 1))), ["*ok 2", "err no", "lost"]),
    ("and_then", |d, ran| outcome_of(d.and_then(|n| ran.and(up(n)))), ["*ok 2", "err no", "lost"]),
    (
        "and_then_try",
        |d, ran| outcome_of(d.and_then_try(|n| ran.and(Ok(Deferred::ok(n + 1))))),
        ["*ok 2", "err no", "lost"],
    ),
    (
        "map_err",
        |d, ran| outcome_of(d.map_err(|e| ran.and(worse(e)))),
        ["ok 1", "*err worse", "lost"],
    ),
    ("err_into", |d, _| outcome_of(d.err_into::<Failure>()), ["ok 1", "err no", "lost"]),
    ("or_else", |d, ran| outcome_of(d.or_else(|_| ran.and(up(8)))), ["ok 1", "*ok 9", "lost"]),
    ("recover", |d, ran| outcome_of(d.recover(|_| ran.and(9))), ["ok 1", "*ok 9", "lost"]),
    (
        "then",
        |d, ran| outcome_of(d.then(|outcome| ran.and(Ok::<_, Never>(outcome.is_ok())))),
        ["*ok true", "*ok false", "*ok false"],
    ),
    (
        "branch",
        |d, ran| {
            let other = ran.clone();
            outcome_of(d.branch(|n| ran.and(up(n)), |e| other.and(Err(worse(e)))))
        },
        ["*ok 2", "*err worse", "lost"],
    ),
    ("inspect", |d, ran| outcome_of(d.inspect(|_| ran.and(()))), ["*ok 1", "err no", "lost"]),
    (
        "inspect_err",
        |d, ran| outcome_of(d.inspect_err(|_| ran.and(()))),
        ["ok 1", "*err no", "lost"],
    ),
    ("finally", |d, ran| outcome_of(d.finally(|| ran.and(()))), ["*ok 1", "*err no", "*lost"]),
    ("named", |d, _| outcome_of(d.named("label")), ["ok 1", "err no", "lost"]),
    ("shield", |d, _| outcome_of(d.shield()), ["ok 1", "err no", "lost"]),
    (
        "settled",
        |d, _| outcome_of(d.settled().map(|outcome| outcome.is_ok())),
        ["ok true", "ok false", "ok false"],
    ),
];

#[derive(Clone)]
struct Ran(Log);

impl Ran {
    fn and<T>(self, given: T) -> T {
        self.0.add("ran");
        given
    }
}

fn up(n: u8) -> Result<u8, Failure> {
    Ok(n + 1)
}

fn worse(_: Failure) -> Failure {
    Failure::msg("worse")
}

#[test]
fn each_step_takes_its_own_lane_and_passes_the_others_on() {
    checked(|_| {
        for (name, attach, ends) in STEPS {
            for (n, expected) in ends.into_iter().enumerate() {
                for ready in [false, true] {
                    let log = Log::new();
                    let (trigger, d) = Deferred::<u8>::new();
                    let end = || match n {
                        0 => trigger.fire(1),
                        1 => trigger.fail(Failure::msg("no")),
                        _ => trigger.settle(Outcome::Stop(Stop::lost())),
                    };
                    let seen = if ready {
                        end();
                        attach(d, Ran(log.clone()))
                    } else {
                        let seen = attach(d, Ran(log.clone()));
                        end();
                        seen
                    };
                    let ran = if log.take().is_empty() { "" } else { "*" };
                    let seen = format!("{ran}{}", seen.take().unwrap());
                    assert_eq!(seen, expected, "{name}, ready: {ready}");
                }
            }
        }
    });
}

#[test]
fn or_else_and_then_may_change_the_error() {
    checked(|_| {
        let d = Deferred::<u8>::err(Failure::msg("no"));
        let d: Deferred<u8, std::io::Error> = d.or_else(|_| Err(std::io::Error::other("io")));
        let d: Deferred<u8, std::fmt::Error> = d.then(|_| Err(std::fmt::Error));
        assert_eq!(outcome_of(d).take().unwrap(), format!("err {}", std::fmt::Error));
    });
}

#[test]
fn the_closures_of_and_then_or_else_and_then_may_wait() {
    type Wait = fn(Deferred<u8>, Deferred<u8>) -> Deferred<u8>;
    let waits: [(bool, Wait); 5] = [
        (true, |d, inner| d.and_then(move |_| inner)),
        (true, |d, inner| d.and_then_try(move |_| Ok(inner))),
        (false, |d, inner| d.or_else(move |_| inner)),
        (true, |d, inner| d.then(move |_| inner)),
        (true, |d, inner| Deferred::ok(inner).and_then(|inner| d.and_then(|_| inner))),
    ];
    checked(move |_| {
        for (value, wait) in waits {
            let (trigger, d) = Deferred::<u8>::new();
            let (inner, e) = Deferred::<u8>::new();
            let seen = outcome_of(wait(d, e));
            if value {
                trigger.fire(1)
            } else {
                trigger.fail(Failure::msg("no"))
            }
            assert!(seen.is_empty());
            inner.fire(5);
            assert_eq!(seen.take().unwrap(), "ok 5");
        }
    });
}
