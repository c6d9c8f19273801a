//! The ten steps with what is rare about them: a context, a canceller, a failure.

use std::hint::black_box;

use thence_core::{Deferred, Failure, FlowContext, restore_failure_hook, set_failure_hook};

use crate::deferreds::expect_ready;
use crate::work::Work;

pub const WORKS: [Work; 4] = [
    Work::repeated(
        "ten-context",
        "thence: ten `map`, written in a context with a request id",
        context,
    ),
    Work::repeated("ten-hooked", "thence: ten `map` and an `on_cancel` hook", hooked),
    Work::repeated("ten-recovered", "thence: ten `map` passed by a failure, `recover`", recovered),
    Work::repeated(
        "ten-reported",
        "thence: ten `map` passed by a failure, `report`, a failure hook",
        reported,
    ),
];

fn context(times: u64) {
    FlowContext::current().with_request_id("4711").enter(|| {
        for _ in 0..times {
            let (trigger, start) = Deferred::<u64>::new();
            let end = ten_more(start);
            trigger.fire(black_box(1));
            black_box(expect_ready(end));
        }
    });
}

fn hooked(times: u64) {
    for _ in 0..times {
        let (trigger, start) = Deferred::<u64>::new();
        let asked = black_box(1u64);
        trigger.on_cancel(move || {
            black_box(asked);
        });
        let end = ten_more(start);
        trigger.fire(black_box(1));
        black_box(expect_ready(end));
    }
}

fn recovered(times: u64) {
    for _ in 0..times {
        let (trigger, start) = Deferred::<u64>::new();
        ten_more(start).recover(|_| 0).done(|value| {
            black_box(value);
        });
        trigger.fail(Failure::msg("refused"));
    }
}

fn reported(times: u64) {
    let before = set_failure_hook(|report| {
        black_box(report.message());
    });
    for _ in 0..times {
        let (trigger, start) = Deferred::<u64>::new();
        ten_more(start).report();
        trigger.fail(Failure::msg("refused"));
    }
    restore_failure_hook(before);
}

#[inline]
fn ten_more(start: Deferred<u64>) -> Deferred<u64> {
    start
        .map(|value| value + 1)
        .map(|value| value + 2)
        .map(|value| value + 3)
        .map(|value| value + 4)
        .map(|value| value + 5)
        .map(|value| value + 6)
        .map(|value| value + 7)
        .map(|value| value + 8)
        .map(|value| value + 9)
        .map(|value| value + 10)
}
