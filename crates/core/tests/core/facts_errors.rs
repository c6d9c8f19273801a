//! Facts 27 to 35 of docs/from-twisted.md: errors.
//!
//! | fact | why it has no test here |
//! |---|---|
//! | 33 | a failure never holds locals: only its error and the sites it passed |

use std::num::ParseIntError;
use std::rc::Rc;

use thence_core::{Deferred, Failure, Outcome, Stop};

use crate::common::{Log, checked, outcome_of};

#[test]
fn fact_27_an_error_goes_to_the_next_that_handles_errors_and_a_panic_is_a_stop() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let (skipped, seen) = (log.clone(), log.clone());
        let d = d
            .and_then(|_| Err::<u8, _>(Failure::msg("failed")))
            .inspect(move |_| skipped.add("skipped"))
            .or_else(move |failure| {
                seen.add(&failure);
                Ok::<_, Failure>(2)
            });
        trigger.fire(1);
        log.expect(&["failed"]);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 2");

        let seen = log.clone();
        let (trigger, d) = Deferred::<u8>::new();
        let d = d.map(|_| -> u8 { panic!("no error") }).recover(move |_| {
            seen.add("recover saw a panic");
            0
        });
        trigger.fire(1);
        assert_eq!(outcome_of(d).take().unwrap(), "panicked: no error");
        log.expect(&[]);
    });
}

#[test]
fn fact_28_returning_an_error_and_the_question_mark_are_the_same() {
    checked(|_| {
        let parse = |text: &str| text.parse::<u8>();
        let returned =
            Deferred::<&str>::ok("x").and_then(move |text| parse(text).map_err(Failure::from));
        let asked = Deferred::<&str>::ok("x").and_then(move |text| Ok(parse(text)?));
        assert_eq!(outcome_of(returned).take(), outcome_of(asked).take());
    });
}

#[test]
fn fact_29_recover_puts_the_chain_back_on_values() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let d = d.recover(|_| 9).map(|n| n + 1);
        trigger.fail(Failure::msg("no"));
        d.done(|n| assert_eq!(n, 10));
    });
}

#[test]
fn fact_30_or_else_may_replace_the_error_or_keep_the_very_same() {
    checked(|_| {
        let replaced =
            Deferred::<u8>::err(Failure::msg("old")).or_else(|_| Err(Failure::msg("new")));
        assert_eq!(outcome_of(replaced).take().unwrap(), "err new");
        let error = std::io::Error::other("kept");
        let address = std::ptr::from_ref(error.get_ref().unwrap()).addr();
        Deferred::<u8, _>::err(error)
            .or_else(Err)
            .recover(move |error: std::io::Error| {
                assert_eq!(std::ptr::from_ref(error.get_ref().unwrap()).addr(), address);
                0
            })
            .done(drop);
    });
}

#[test]
fn fact_31_a_panic_with_any_payload_is_caught_and_the_thread_goes_on() {
    checked(|_| {
        let d = Deferred::<u8>::ok(1).map(|_| -> u8 { std::panic::panic_any(42_i64) });
        d.settled().done(|outcome| {
            let Outcome::Stop(Stop::Panicked(panic)) = outcome else { panic!("{outcome:?}") };
            assert_eq!(panic.take_payload().unwrap().downcast_ref(), Some(&42_i64));
            assert!(panic.take_payload().is_none());
        });
        assert_eq!(outcome_of(Deferred::<u8>::ok(1).map(|n| n)).take().unwrap(), "ok 1");
    });
}

#[test]
fn fact_32_trap_takes_what_it_matches_and_gives_back_what_it_does_not() {
    checked(|_| {
        let failure = Failure::from("x".parse::<u8>().unwrap_err());
        assert!(failure.is::<ParseIntError>());
        assert!(failure.downcast_ref::<std::fmt::Error>().is_none());
        let failure = failure.trap::<std::fmt::Error>().unwrap_err();
        assert!(failure.trap::<ParseIntError>().is_ok());

        let d = Deferred::<u8>::err("x".parse::<u8>().unwrap_err().into())
            .or_else(|failure| {
                failure.trap::<std::fmt::Error>()?;
                Ok::<_, Failure>(0)
            })
            .or_else(|failure| {
                failure.trap::<ParseIntError>()?;
                Ok::<_, Failure>(1)
            });
        assert_eq!(outcome_of(d).take().unwrap(), "ok 1");
    });
}

#[test]
fn fact_34_differs_a_failure_keeps_no_frame_and_a_closure_that_failed_is_freed() {
    checked(|_| {
        let local = Rc::new(());
        let inside = local.clone();
        let d = Deferred::<u8>::ok(1).and_then(move |_| {
            let _here = inside;
            Err::<u8, _>(Failure::msg("no"))
        });
        assert_eq!(Rc::strong_count(&local), 1);
        assert_eq!(outcome_of(d).take().unwrap(), "err no");
    });
}

#[test]
fn fact_35_inspect_err_looks_and_the_same_error_goes_on() {
    checked(|_| {
        let log = Log::new();
        let seen = log.clone();
        let d = Deferred::<u8>::err(Failure::msg("logged"))
            .inspect_err(move |failure| seen.add(failure));
        assert_eq!(outcome_of(d).take().unwrap(), "err logged");
        log.expect(&["logged"]);
    });
}
