//! How Deferreds are made, and with which errors (DESIGN.md §3.1).

use std::io;
use std::num::ParseIntError;
use std::panic::Location;
use std::process::{ExitCode, Termination};

use thence_core::{Deferred, Failure, Fault, Never, Outcome, Step, Stop, Trigger, emit, flow, on};

use crate::common::{Cell, checked, outcome_of};

fn not_a_number() -> ParseIntError {
    "x".parse::<u8>().unwrap_err()
}

#[test]
fn new_fails_with_a_failure_infallible_cannot_and_with_error_takes_any() {
    checked(|_| {
        let (trigger, d): (Trigger<u8, Failure>, Deferred<u8, Failure>) = Deferred::new();
        let seen = outcome_of(d);
        trigger.fail(Failure::msg("no"));
        assert_eq!(seen.take().unwrap(), "err no");

        let (trigger, d): (Trigger<u8, Never>, Deferred<u8, Never>) = Deferred::infallible();
        d.done(|n| assert_eq!(n, 1));
        trigger.fire(1);

        let (trigger, d): (Trigger<u8, io::Error>, Deferred<u8, io::Error>) =
            Deferred::with_error();
        let seen = outcome_of(d);
        trigger.fail(io::Error::other("refused"));
        assert_eq!(seen.take().unwrap(), "err refused");
    });
}

/// An error type of one's own that is no `std::error::Error`.
#[derive(Debug, PartialEq)]
struct Code(u16);

impl Fault for Code {
    type Trail = Vec<u32>;
    /// Its await gives the code where there is no value.
    type Awaited<T> = (Option<T>, u16);

    fn passed(&mut self, trail: &mut Vec<u32>, step: Step) {
        trail.push(step.site.line());
    }

    fn message(&self) -> String {
        format!("code {}", self.0)
    }

    fn steps(&self, trail: &Vec<u32>) -> Vec<Step> {
        let here = Step { site: Location::caller(), label: None };
        vec![here; trail.len()]
    }

    fn awaited<T>(result: Result<T, Self>) -> (Option<T>, u16) {
        match result {
            Ok(value) => (Some(value), 200),
            Err(code) => (None, code.0),
        }
    }
}

#[test]
fn a_fault_says_how_it_prints_where_sites_go_and_what_await_gives() {
    checked(|reports| {
        let (trigger, d) = Deferred::<u8, Code>::with_error();
        d.map(|n| n).map(|n| n).report();
        trigger.fail(Code(503));
        let report = reports.take().pop().unwrap();
        assert_eq!(report.message(), "code 503");
        // Where the Deferred was made, two steps, and the end.
        assert_eq!(report.steps().len(), 4);

        flow(async {
            assert_eq!(Deferred::<u8, Code>::ok(7).await, (Some(7), 200));
            assert_eq!(Deferred::<u8, Code>::err(Code(404)).await, (None, 404));
            Ok(())
        })
        .report();
    });
}

#[test]
fn ok_err_and_ended_have_ended() {
    checked(|_| {
        let made = [
            (Deferred::<u8>::ok(1), "ok 1"),
            (Deferred::err(Failure::msg("no")), "err no"),
            (Deferred::ended(Outcome::Stop(Stop::lost())), "lost"),
        ];
        for (d, end) in made {
            assert!(d.is_ready());
            assert_eq!(outcome_of(d).take().unwrap(), end);
        }
    });
}

#[test]
fn attempt_runs_and_a_panic_is_a_stop() {
    checked(|_| {
        let value = Deferred::<u8>::attempt(|| Ok(1));
        assert_eq!(outcome_of(value).take().unwrap(), "ok 1");
        let error = Deferred::<u8>::attempt(|| Err(not_a_number().into()));
        assert_eq!(outcome_of(error).take().unwrap(), "err invalid digit found in string");
        let (trigger, d) = Deferred::<u8>::new();
        let seen = outcome_of(Deferred::attempt(|| d));
        assert!(seen.is_empty());
        trigger.fire(2);
        assert_eq!(seen.take().unwrap(), "ok 2");
        let panicked = Deferred::<u8>::attempt(|| -> Result<u8, Failure> { panic!("here") });
        assert_eq!(outcome_of(panicked).take().unwrap(), "panicked: here");
    });
}

#[test]
fn from_callback_gives_the_trigger_away() {
    checked(|_| {
        let now = Deferred::<u8>::from_callback(|trigger| trigger.fire(1));
        assert_eq!(outcome_of(now).take().unwrap(), "ok 1");
        let kept = Cell::new();
        let later = Deferred::<u8>::from_callback(|trigger| kept.put(trigger));
        assert!(!later.is_ready());
        kept.take().unwrap().fire(2);
        assert_eq!(outcome_of(later).take().unwrap(), "ok 2");
        let never = Deferred::<u8>::from_callback(drop);
        assert_eq!(outcome_of(never).take().unwrap(), "lost");
    });
}

#[test]
fn any_future_becomes_a_deferred_with_any_error() {
    checked(|_| {
        let ready = Deferred::from_future(std::future::ready(Ok::<u8, io::Error>(1)));
        assert_eq!(outcome_of(ready).take().unwrap(), "ok 1");
        let (trigger, d) = Deferred::<u8, Code>::with_error();
        let seen = outcome_of(Deferred::from_future(async move {
            match d.await {
                (Some(n), _) => Ok(n),
                (None, code) => Err(io::Error::other(code.to_string())),
            }
        }));
        trigger.fail(Code(404));
        assert_eq!(seen.take().unwrap(), "err 404");
    });
}

#[test]
fn flows_and_handlers_take_any_error_by_the_question_mark() {
    struct Text(&'static str);
    checked(|reports| {
        let f = flow(async {
            let n: u8 = "x".parse()?;
            std::fs::read("no such file")?;
            Ok(n)
        });
        assert_eq!(outcome_of(f).take().unwrap(), "err invalid digit found in string");
        on(|text: &Text| {
            let _: u8 = text.0.parse()?;
            Ok(())
        });
        emit(Text("y"));
        reports.expect(&["invalid digit found in string"]);
    });
}

#[test]
fn the_step_records_the_site_and_not_the_conversion() {
    checked(|_| {
        let failure = Failure::from(not_a_number());
        assert_eq!(failure.sites().count(), 0);
        let (trigger, d) = Deferred::<u8>::new();
        let seen = Cell::new();
        let kept = seen.clone();
        d.recover(move |failure| {
            kept.put(failure.sites().count());
            0
        })
        .done(drop);
        trigger.fail(failure);
        assert_eq!(seen.take().unwrap(), 1);
    });
}

#[test]
fn a_failure_may_be_the_error_of_main() {
    fn main() -> Result<(), Failure> {
        let _: u8 = "x".parse()?;
        Ok(())
    }
    assert_eq!(main().report(), ExitCode::FAILURE);
}
