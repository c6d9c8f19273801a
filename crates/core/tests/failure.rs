//! Failures and their trails (DESIGN.md §3.1).

mod common;

use std::error::Error;
use std::fmt;

use common::checked;
use thence_core::{Context, Deferred, Failure, Never};

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("outer")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn outer() -> Failure {
    Outer("x".parse::<u8>().unwrap_err()).into()
}

/// What a chain of `steps` different sites, repeated as given, leaves as its trail.
fn trail_of(d: Deferred<u8>) -> Failure {
    let cell = common::Cell::new();
    let kept = cell.clone();
    d.recover(move |failure| {
        kept.put(failure);
        0
    })
    .done(drop);
    cell.take().unwrap()
}

#[test]
fn it_is_one_word_and_send_and_sync() {
    fn is_send_sync<T: Send + Sync + Clone + 'static>() {}
    is_send_sync::<Failure>();
    assert_eq!(size_of::<Failure>(), size_of::<usize>());
    assert_eq!(size_of::<Never>(), 0);
}

#[test]
fn the_three_ways_to_show_it() {
    let failure = outer().context("while starting").context("main");
    assert_eq!(failure.to_string(), "main");
    assert_eq!(
        format!("{failure:#}"),
        "main: while starting: outer: invalid digit found in string"
    );
    assert_eq!(format!("{failure:?}"), format!("{failure:#}"));
    let failure = trail_of(Deferred::err(outer()));
    let shown = format!("{failure:?}");
    assert!(shown.starts_with("outer: invalid digit found in string\n    at "), "{shown}");
    assert!(shown.contains("failure.rs:"), "{shown}");
}

#[test]
fn the_error_inside_is_found_and_taken_out() {
    let failure = outer();
    assert!(failure.is::<Outer>() && !failure.is::<fmt::Error>());
    assert!(failure.downcast_ref::<Outer>().is_some());
    let clone = failure.clone();
    let failure = failure.trap::<Outer>().unwrap_err();
    drop(clone);
    assert_eq!(failure.trap::<Outer>().unwrap().to_string(), "outer");
    let failure = outer().context("kept").trap::<fmt::Error>().unwrap_err();
    assert_eq!(failure.to_string(), "kept");
    assert!(failure.trap::<Outer>().is_ok());
}

#[test]
fn it_is_a_standard_error_where_one_is_asked_for() {
    let boxed: Box<dyn Error + Send + Sync> = outer().into();
    assert_eq!(boxed.to_string(), "outer");
    assert_eq!(boxed.source().unwrap().to_string(), "invalid digit found in string");
    let boxed: Box<dyn Error> = outer().context("above").into();
    assert_eq!(boxed.to_string(), "above");
    assert_eq!(boxed.source().unwrap().to_string(), "outer");
    let again: Result<(), Failure> = Err("x".parse::<u8>().unwrap_err()).context("reading");
    assert_eq!(format!("{:#}", again.unwrap_err()), "reading: invalid digit found in string");
    let boxed = Failure::boxed(Box::from("only a text"));
    assert_eq!(boxed.to_string(), "only a text");
    assert_eq!(Failure::msg(7).to_string(), "7");
}

#[test]
fn repeats_are_folded() {
    checked(|_| {
        let mut d = Deferred::<u8>::err(Failure::msg("no"));
        for _ in 0..1000 {
            d = d.map(|n| n);
        }
        let failure = trail_of(d);
        assert_eq!(failure.sites().count(), 2);
        assert!(format!("{failure:?}").ends_with(" x1000"), "{failure:?}");
    });
}

#[test]
fn a_long_trail_keeps_its_first_and_last_sixteen_and_their_number() {
    checked(|_| {
        // Two sites in turn do not fold.
        let mut d = Deferred::<u8>::err(Failure::msg("no"));
        for n in 0..100 {
            d = if n % 2 == 0 { d.map(|n| n).named("even") } else { d.inspect(|_| ()) };
        }
        let failure = trail_of(d);
        assert_eq!(failure.sites().count(), 32);
        let shown = format!("{failure:?}");
        assert!(shown.contains("more .."), "{shown}");
        assert_eq!(shown.lines().count(), 1 + 16 + 1 + 16);
    });
}

#[test]
fn steps_carry_their_labels() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let failure = common::Cell::new();
        let kept = failure.clone();
        d.map(|n| n)
            .named("double")
            .recover(move |error| {
                kept.put(error);
                0
            })
            .done(drop);
        trigger.fail(Failure::msg("no"));
        let failure: Failure = failure.take().unwrap();
        let labels: Vec<_> = failure.steps().map(|step| step.label).collect();
        assert_eq!(labels, [None, Some("double")]);
    });
}

#[test]
fn an_error_that_becomes_a_failure_keeps_its_trail() {
    checked(|_| {
        let from = line!();
        let (trigger, d) = Deferred::<u8, std::num::ParseIntError>::with_error();
        let d: Deferred<u8> = d.map(|n| n).err_into();
        trigger.fail("x".parse::<u8>().unwrap_err());
        let failure = trail_of(d);
        let lines: Vec<u32> = failure.sites().map(|site| site.line() - from).collect();
        assert_eq!(lines, [1, 2, 2]);
    });
}

#[test]
fn a_step_whose_place_was_taken_is_named() {
    checked(|_| {
        let (inner, e) = Deferred::<u8>::new();
        let (trigger, d) = Deferred::<u8>::new();
        let failure = common::Cell::new();
        let kept = failure.clone();
        let from = line!();
        let d = d.and_then(move |_| e).named("asks");
        let d = d.map(|n| n);
        d.recover(move |error| {
            kept.put(error);
            0
        })
        .done(drop);
        trigger.fire(1);
        inner.fail(Failure::msg("no"));
        let failure: Failure = failure.take().unwrap();
        let steps: Vec<_> =
            failure.steps().skip(1).map(|step| (step.site.line() - from, step.label)).collect();
        assert_eq!(steps, [(1, Some("asks")), (2, None)]);
    });
}
