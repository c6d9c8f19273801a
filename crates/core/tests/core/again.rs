//! Doing it again: `retry` and `repeat_until`.

use std::cell::RefCell;
use std::rc::Rc;

use thence_core::{
    Deferred, Failure, Fault, Never, Outcome, Stop, Trigger, hosting, repeat_until, retry, retry_if,
};

use crate::common::{Cell, Log, checked, outcome_of};

fn at_once(_: u32) -> Deferred<(), Never> {
    Deferred::ok(())
}

/// What `{:?}` shows, without the backtrace that it has when the test runs with one.
fn shown(failure: &Failure) -> String {
    format!("{failure:?}").split("\nbacktrace:").next().unwrap().to_owned()
}

/// The triggers of what was made, oldest first.
struct Pending<T: 'static, E: Fault>(Rc<RefCell<Vec<Trigger<T, E>>>>);

impl<T: 'static, E: Fault> Pending<T, E> {
    fn take_first(&self) -> Trigger<T, E> {
        self.0.borrow_mut().remove(0)
    }

    fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

/// Makes Deferreds that are pending.
fn pending<T: 'static, E: Fault>() -> (Pending<T, E>, impl FnMut() -> Deferred<T, E> + 'static) {
    let triggers = Rc::<RefCell<Vec<_>>>::default();
    let kept = triggers.clone();
    let make = move || {
        let (trigger, d) = Deferred::with_error();
        kept.borrow_mut().push(trigger);
        d
    };
    (Pending(triggers), make)
}

#[test]
fn it_is_tried_until_there_is_a_value() {
    checked(|_| {
        for inside in [false, true] {
            let log = Log::new();
            let (tries, delays) = (log.clone(), log.clone());
            let start = move || {
                let delay = move |n| {
                    delays.add(format!("delay {n}"));
                    Deferred::ok(())
                };
                retry(5, delay, move |n| {
                    tries.add(format!("try {n}"));
                    if n < 3 { Err(Failure::msg("busy")) } else { Ok(n) }
                })
            };
            let end = if inside {
                outcome_of(Deferred::<()>::ok(()).and_then(move |()| start()))
            } else {
                outcome_of(start())
            };
            assert_eq!(end.take().unwrap(), "ok 3");
            log.expect(&["try 1", "delay 1", "try 2", "delay 2", "try 3"]);
        }
    });
}

#[test]
fn attempts_and_delays_may_take_their_time() {
    checked(|_| {
        let (tries, mut work) = pending::<u8, Failure>();
        let (pauses, mut pause) = pending::<(), Never>();
        let end = outcome_of(retry(2, move |_| pause(), move |_| work()));
        tries.take_first().fail(Failure::msg("busy"));
        assert!(tries.is_empty(), "it waits first");
        pauses.take_first().fire(());
        tries.take_first().fire(7);
        assert_eq!(end.take().unwrap(), "ok 7");
    });
}

#[test]
fn the_last_error_is_the_end_and_its_trail_tells_how_often_it_was_tried() {
    checked(|_| {
        for (attempts, pends) in [(1, false), (1, true), (3, false), (3, true)] {
            let (tries, mut work) = pending::<u8, Failure>();
            let failure = Cell::<Failure>::new();
            let kept = failure.clone();
            let work = move |n| if pends { work() } else { Err(Failure::msg(n)).into() };
            let line = line!() + 1;
            let d = retry(attempts, at_once, work);
            d.recover(move |failure| (kept.put(failure), 0).1).done(drop);
            let mut n = 0;
            while !tries.is_empty() {
                let trigger = tries.take_first();
                n += 1;
                trigger.fail(Failure::msg(n));
            }
            let failure = failure.take().unwrap();
            assert_eq!(failure.to_string(), attempts.to_string());
            let shown = shown(&failure);
            let last = shown.lines().last().unwrap();
            let times = last.split_once(" x").map_or("1", |(_, times)| times);
            assert_eq!(times, attempts.to_string(), "{shown}");
            assert!(last.contains(&format!("again.rs:{line}:")), "{shown}");
            assert_eq!(shown.matches(&format!("again.rs:{line}:")).count(), 1, "{shown}");
        }
    });
}

#[test]
fn other_errors_are_handed_on_too() {
    checked(|reports| {
        let line = line!() + 1;
        let d = retry::<Result<u8, _>>(3, at_once, |_| Err(std::fmt::Error));
        d.report();
        let report = reports.take().pop().unwrap();
        assert_eq!(report.site().unwrap().line(), line);
    });
}

#[test]
fn only_errors_that_are_worth_it_are_retried() {
    checked(|_| {
        let log = Log::new();
        let tries = log.clone();
        let worth = |failure: &Failure| failure.to_string() == "busy";
        let d = retry_if(9, at_once, worth, move |n| {
            tries.add(n);
            Err::<u8, _>(Failure::msg(if n == 2 { "gone" } else { "busy" }))
        });
        assert_eq!(outcome_of(d).take().unwrap(), "err gone");
        log.expect(&["1", "2"]);
    });
}

#[test]
fn a_stop_is_never_retried() {
    checked(|_| {
        for (stop, end) in [(Stop::lost(), "lost"), (Stop::Cancelled, "cancelled")] {
            let log = Log::new();
            let tries = log.clone();
            let d: Deferred<u8> = retry(3, at_once, move |_| {
                tries.add("try");
                Deferred::ended(Outcome::Stop(stop.clone()))
            });
            assert_eq!(outcome_of(d).take().unwrap(), end);
            log.expect(&["try"]);
        }
        let d = retry(3, at_once, |_| -> Result<u8, Failure> { panic!("in the work") });
        assert_eq!(outcome_of(d).take().unwrap(), "panicked: in the work");
        let fail = |_| Err::<u8, _>(Failure::msg("no"));
        let d = retry(3, |_| panic!("in the delay"), fail);
        assert_eq!(outcome_of(d).take().unwrap(), "panicked: in the delay");
        let d = retry_if(3, at_once, |_| panic!("in the question"), fail);
        assert_eq!(outcome_of(d).take().unwrap(), "panicked: in the question");
        let d = retry(3, |_| Deferred::ended(Outcome::Stop(Stop::lost())), fail);
        assert_eq!(outcome_of(d).take().unwrap(), "lost");
    });
}

#[test]
fn a_request_reaches_the_attempt_or_the_delay_that_is_pending() {
    checked(|_| {
        let (tries, mut work) = pending::<u8, Failure>();
        let d = retry(3, at_once, move |_| work());
        tries.take_first().fail(Failure::msg("busy"));
        d.cancel();
        assert!(tries.take_first().is_cancelled());
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");

        let (pauses, mut pause) = pending::<(), Never>();
        let d = retry(3, move |_| pause(), |_| Err::<u8, _>(Failure::msg("busy")));
        d.cancel();
        assert!(pauses.take_first().is_cancelled());
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
    });
}

#[test]
fn after_a_request_no_further_attempt_is_made() {
    checked(|_| {
        for end in ["ok 1", "err late"] {
            let (tries, mut work) = pending::<u8, Failure>();
            let d = retry(3, at_once, move |_| work());
            let trigger = tries.take_first();
            trigger.on_cancel(|| ());
            d.cancel();
            match end {
                "ok 1" => trigger.fire(1),
                _ => trigger.fail(Failure::msg("late")),
            }
            assert_eq!(outcome_of(d).take().unwrap(), end);
            assert!(tries.is_empty());
        }
        let (pauses, mut pause) = pending::<(), Never>();
        let log = Log::new();
        let seen = log.clone();
        let d = retry(
            3,
            move |_| pause(),
            move |_| {
                seen.add("try");
                Err::<u8, _>(Failure::msg("busy"))
            },
        );
        let trigger = pauses.take_first();
        trigger.on_cancel(|| ());
        d.cancel();
        trigger.fire(());
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
        log.expect(&["try"]);
    });
}

#[test]
fn a_request_from_inside_an_attempt_ends_a_retry_that_never_waits() {
    checked(|_| {
        let own = Cell::<thence_core::Canceller>::new();
        let inside = own.clone();
        let d = Deferred::<()>::ok(()).and_then(move |()| {
            let log = Rc::new(std::cell::Cell::new(0));
            let canceller = inside.clone();
            let d = retry(u32::MAX, at_once, move |_| {
                log.set(log.get() + 1);
                if log.get() == 5 {
                    canceller.take().unwrap().cancel();
                }
                Err::<u8, _>(Failure::msg(log.get()))
            });
            inside.put(d.canceller());
            d
        });
        assert_eq!(outcome_of(d).take().unwrap(), "err 5");
    });
}

#[test]
fn retries_that_were_left_go_on_and_are_reported() {
    checked(|reports| {
        let (tries, mut work) = pending::<u8, Failure>();
        drop(retry(2, at_once, move |_| work()));
        tries.take_first().fail(Failure::msg("first"));
        tries.take_first().fail(Failure::msg("second"));
        reports.expect(&["second"]);
    });
}

#[test]
fn a_value_that_nobody_took_goes_back() {
    checked(|_| {
        for repeats in [false, true] {
            let back = Cell::<u8>::new();
            let source = || {
                let (trigger, d) = Deferred::<u8>::new();
                let kept = back.clone();
                trigger.on_unclaimed(move |n| kept.put(n));
                (trigger, d)
            };
            let (trigger, d) = source();
            let mut once = Some(d);
            if repeats {
                drop(repeat_until(move || once.take().unwrap(), |_| true));
            } else {
                drop(retry(1, at_once, move |_| once.take().unwrap()));
            }
            trigger.fire(7);
            assert_eq!(back.take(), Some(7), "repeats: {repeats}");
        }
    });
}

#[test]
#[should_panic = "would never try"]
fn zero_attempts_are_refused() {
    drop(retry(0, at_once, |_| Ok::<u8, Failure>(1)));
}

#[test]
fn it_repeats_until_the_value_will_do() {
    checked(|_| {
        let mut n = 0;
        let count = move || {
            n += 1;
            Ok::<_, Failure>(n)
        };
        assert_eq!(outcome_of(repeat_until(count, |n| *n == 4)).take().unwrap(), "ok 4");

        let (rounds, work) = pending::<u8, Never>();
        let end = outcome_of(repeat_until(work, |n| *n > 2));
        for n in 1..=3 {
            assert!(end.is_empty());
            let trigger = rounds.take_first();
            trigger.fire(n);
        }
        assert!(rounds.is_empty());
        assert_eq!(end.take().unwrap(), "ok 3");
    });
}

#[test]
fn an_error_or_a_stop_is_the_end_of_a_repetition() {
    checked(|_| {
        let (rounds, work) = pending::<u8, Failure>();
        let failure = Cell::<Failure>::new();
        let kept = failure.clone();
        let line = line!() + 1;
        let d = repeat_until(work, |_| false);
        d.recover(move |failure| (kept.put(failure), 0).1).done(drop);
        rounds.take_first().fire(1);
        rounds.take_first().fail(Failure::msg("no"));
        let shown = shown(&failure.take().unwrap());
        assert!(shown.starts_with("no"), "{shown}");
        assert!(shown.lines().last().unwrap().contains(&format!("again.rs:{line}:")), "{shown}");
        assert!(shown.ends_with(" x2"), "{shown}");

        let (rounds, work) = pending::<u8, Failure>();
        let end = outcome_of(repeat_until(work, |_| false));
        drop(rounds.take_first());
        assert_eq!(end.take().unwrap(), "lost");
        let d = repeat_until(|| Ok::<u8, Failure>(1), |_| panic!("in the question"));
        assert_eq!(outcome_of(d).take().unwrap(), "panicked: in the question");
    });
}

#[test]
fn a_request_ends_a_repetition_between_two_rounds_too() {
    checked(|_| {
        let (rounds, work) = pending::<u8, Failure>();
        let d = repeat_until(work, |_| false);
        d.cancel();
        assert!(rounds.take_first().is_cancelled());
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");

        // One that never waits, on a thread that runs a few callbacks at a time.
        let hold = hosting::hold();
        let d = repeat_until(|| Ok::<u8, Failure>(1), |_| false);
        let canceller = d.canceller();
        let end = outcome_of(d);
        drop(hold);
        assert_eq!(hosting::run_queue(10), 10);
        assert!(end.is_empty());
        let hold = hosting::hold();
        canceller.cancel();
        drop(hold);
        hosting::run_queue(10);
        assert_eq!(end.take().unwrap(), "cancelled");
    });
}

#[test]
fn a_loop_that_never_waits_lets_others_run() {
    checked(|_| {
        let log = Log::new();
        let (one, other) = (log.clone(), log.clone());
        Deferred::<()>::ok(())
            .map(move |()| {
                let mut n = 0;
                repeat_until(move || (n += 1, Ok::<_, Failure>(n)).1, |n| *n == 3)
                    .map(move |_| one.add("loop"))
                    .report();
                Deferred::<()>::ok(()).map(move |()| other.add("other")).report();
            })
            .report();
        log.expect(&["other", "loop"]);
    });
}
