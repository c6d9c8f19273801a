//! Failures and their trails (DESIGN.md §3.1).

use std::error::Error;
use std::fmt;

use thence_core::{Context, Deferred, Failure, Never};

use crate::common::checked;

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

/// What `{:?}` shows, without the backtrace that it has when the test runs with one.
fn shown(failure: &Failure) -> String {
    format!("{failure:?}").split("\nbacktrace:").next().unwrap().to_owned()
}

/// What a chain of `steps` different sites, repeated as given, leaves as its trail.
fn trail_of(d: Deferred<u8>) -> Failure {
    let cell = crate::common::Cell::new();
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
    assert_eq!(shown(&failure), format!("{failure:#}"));
    let failure = trail_of(Deferred::err(outer()));
    let shown = shown(&failure);
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
    assert!(boxed.source().unwrap().is::<Outer>());
    let boxed: Box<dyn Error> = outer().context("one").context("two").context("three").into();
    let mut chain = vec![boxed.to_string()];
    let mut cause = boxed.source();
    while let Some(error) = cause {
        chain.push(error.to_string());
        cause = error.source();
    }
    assert_eq!(chain, ["three", "two", "one", "outer", "invalid digit found in string"]);
    assert!(format!("{boxed:?}").starts_with("three: two: one: outer: invalid digit"));
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
        assert!(shown(&failure).ends_with(" x1000"), "{failure:?}");
    });
}

#[test]
fn a_loop_of_some_steps_is_shown_once_and_how_often() {
    checked(|_| {
        let mut d = Deferred::<u8>::err(Failure::msg("no"));
        for n in 0..100 {
            d = if n % 2 == 0 { d.map(|n| n).named("even") } else { d.inspect(|_| ()) };
        }
        d = d.map(|n| n).named("after");
        let failure = trail_of(d);
        let shown = shown(&failure);
        let lines: Vec<&str> = shown.lines().map(str::trim).collect();
        assert_eq!(lines.len(), 1 + 1 + 2 + 1 + 1, "{shown}");
        assert!(lines[2].ends_with("(even)"), "{shown}");
        assert!(!lines[3].ends_with("(even)"), "{shown}");
        assert_eq!(lines[4], ".. the last 2 steps x50 ..", "{shown}");
        assert!(lines[5].ends_with("(after)"), "{shown}");
        assert_eq!(failure.sites().count(), 1 + 2 + 1);
    });
}

#[test]
fn a_flow_that_awaits_itself_a_thousand_deep_leaves_a_short_trail() {
    fn deep(levels: usize) -> Deferred<u8> {
        if levels == 0 {
            return Deferred::err(Failure::msg("at the bottom"));
        }
        thence_core::flow(async move { deep(levels - 1).await })
    }
    checked(|_| {
        let failure = trail_of(deep(1000));
        let shown = shown(&failure);
        assert!(shown.contains(".. the last 2 steps x1000 .."), "{shown}");
        assert_eq!(shown.lines().count(), 1 + 1 + 2 + 1, "{shown}");
    });
}

#[test]
fn a_long_trail_keeps_its_first_and_last_sixteen_and_their_number() {
    checked(|_| {
        let labels = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut d = Deferred::<u8>::err(Failure::msg("no"));
        for n in 0..labels.len() {
            d = d.map(|n| n).named(&labels[n..=n]);
        }
        let failure = trail_of(d);
        assert_eq!(failure.sites().count(), 32);
        let shown = shown(&failure);
        let lines: Vec<&str> = shown.lines().map(str::trim).collect();
        assert_eq!(lines.len(), 1 + 16 + 1 + 16, "{shown}");
        assert!(lines[16].ends_with("(o)"), "{shown}");
        // The error's own site stands before the 52.
        assert_eq!(lines[17], ".. 21 more ..", "{shown}");
        assert!(lines[18].ends_with("(K)"), "{shown}");
        assert!(lines[33].ends_with("(Z)"), "{shown}");
    });
}

#[test]
fn steps_carry_their_labels() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let failure = crate::common::Cell::new();
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
        let failure = crate::common::Cell::new();
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

/// The variables are read once a process: each way needs one of its own.
#[test]
fn it_keeps_a_backtrace_when_the_environment_asks_for_one() {
    let child = |asked: &str| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "failure::prints_a_failure", "--ignored", "--nocapture"])
            .env("RUST_BACKTRACE", asked)
            .env_remove("RUST_LIB_BACKTRACE")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let without = child("0");
    assert!(
        without.contains("outer: invalid digit") && !without.contains("backtrace:"),
        "{without}"
    );
    assert!(without.contains("kept: false"), "{without}");
    let with = child("1");
    // Its path is there only where the build kept more than lines.
    assert!(with.contains("backtrace:\n") && with.contains("outer\n"), "{with}");
    assert!(with.contains("kept: true"), "{with}");
}

#[test]
#[ignore = "a child process of the test above"]
fn prints_a_failure() {
    let failure = outer().context("main");
    let reports = thence_core::testing::expect_unhandled(1, {
        let failure = failure.clone();
        move || drop(Deferred::<u8>::err(failure))
    });
    let shown = [failure.without_backtrace().to_string(), format!("{:#}", reports[0])];
    assert!(shown.iter().all(|text| text.contains("outer") && !text.contains("backtrace:")));
    assert_eq!(reports[0].to_string().contains("backtrace:"), failure.backtrace().is_some());
    println!("{failure:?}\nkept: {}", failure.clone().backtrace().is_some());
}
