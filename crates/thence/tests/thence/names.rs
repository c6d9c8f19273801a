//! Every name of docs/contract.md is at `thence::`, and what a program says day to day in its prelude.

#![allow(unused_imports, reason = "that they are there is the test")]

use std::time::Duration;

use thence::prelude::*;

/// If one of these is missing, this file does not compile.
mod at_the_root {
    use thence::{
        AllFailed, Canceller, Context, Deferred, DeferredExt, Delivered, Elapsed, Emitter, Failure,
        Fault, IntoDeferred, Lease, Never, Outcome, Panic, Pool, RemoteTrigger, Scope, Stop,
        Subscription, Trigger, after, all, all_settled, deliver, emit, every, first, first_ok,
        flow, join, next, offload, on, once, run, set_failure_hook,
    };
}

#[test]
fn the_prelude_has_what_a_program_says_day_to_day() {
    let seen = run(async {
        let quick: Deferred<u8> = offload(|| Ok(1)).timeout(Duration::from_secs(60));
        let late = after(Duration::from_millis(1)).await;
        let both = join((quick, Deferred::ok(late).delay(Duration::from_millis(1))));
        let (n, ()) = both.deadline(std::time::Instant::now() + Duration::from_secs(60)).await?;
        Ok(n)
    });
    assert_eq!(seen.unwrap(), 1);
}

#[test]
fn run_and_offload_take_any_error_by_the_question_mark() {
    let not_a_number = run(async {
        let n: u8 = "x".parse()?;
        Ok(n)
    });
    assert!(not_a_number.unwrap_err().is::<std::num::ParseIntError>());
    let no_file = run(async { offload(|| Ok(std::fs::read("no such file")?)).await });
    assert!(no_file.unwrap_err().is::<std::io::Error>());
}
