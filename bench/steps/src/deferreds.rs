//! The work by thence.

use std::cell::Cell;
use std::hint::black_box;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use thence_core::{Deferred, Failure, Trigger, flow, hosting};

use crate::work::Work;

pub const TEN: Work = Work::repeated("ten", "thence: ten `map`, pending then fired", ten);
pub const NONE: Work = Work::repeated("none", "thence: no step, pending then fired", none);
pub const READY: Work = Work::repeated("ready", "thence: ten `map` on a ready value", ten_ready);
pub const LOOP: Work =
    Work::million("loop", "thence: loop of returned Deferreds, per level, pending", pending_loop);

pub const SPAWN: Work = Work::repeated("spawn", "thence: flow, own Deferred fired, join", spawn);

pub const WORKS: [Work; 11] = [
    TEN,
    NONE,
    Work::repeated("one", "thence: one `map`, pending then fired", one),
    Work::repeated(
        "ten-and-then",
        "thence: ten `and_then` giving `Ok`, pending then fired",
        ten_and_then,
    ),
    Work::repeated("ten-done", "thence: ten `map` and `done`, pending then fired", ten_done),
    READY,
    Work::repeated(
        "ready-inside",
        "thence: ten `map` on a ready value inside a callback",
        ten_ready_inside,
    ),
    LOOP,
    Work::million("loop-ready", "thence: loop of returned Deferreds, per level, ready", ready_loop),
    Work::million("loop-flow", "thence: `async` loop in a flow, per level, pending", flow_loop),
    SPAWN,
];

/// The most nodes that are alive at once while the pending loop goes down `levels`.
pub fn most_live_nodes(levels: u64) -> usize {
    let slot = Slot::default();
    let whole = level(levels, slot.clone());
    let mut most = 0;
    while let Some(trigger) = slot.take() {
        most = most.max(hosting::live().nodes);
        trigger.fire(1);
    }
    expect_ready(whole);
    most
}

fn ten(times: u64) {
    for _ in 0..times {
        let (trigger, start) = Deferred::<u64>::new();
        let end = start
            .map(|value| value + 1)
            .map(|value| value + 2)
            .map(|value| value + 3)
            .map(|value| value + 4)
            .map(|value| value + 5)
            .map(|value| value + 6)
            .map(|value| value + 7)
            .map(|value| value + 8)
            .map(|value| value + 9)
            .map(|value| value + 10);
        trigger.fire(black_box(1));
        black_box(expect_ready(end));
    }
}

fn none(times: u64) {
    for _ in 0..times {
        let (trigger, end) = Deferred::<u64>::new();
        trigger.fire(black_box(1));
        black_box(expect_ready(end));
    }
}

fn one(times: u64) {
    for _ in 0..times {
        let (trigger, start) = Deferred::<u64>::new();
        let end = start.map(|value| value + 1);
        trigger.fire(black_box(1));
        black_box(expect_ready(end));
    }
}

fn ten_and_then(times: u64) {
    for _ in 0..times {
        let (trigger, start) = Deferred::<u64>::new();
        let end = start
            .and_then(|value| Ok(value + 1))
            .and_then(|value| Ok(value + 2))
            .and_then(|value| Ok(value + 3))
            .and_then(|value| Ok(value + 4))
            .and_then(|value| Ok(value + 5))
            .and_then(|value| Ok(value + 6))
            .and_then(|value| Ok(value + 7))
            .and_then(|value| Ok(value + 8))
            .and_then(|value| Ok(value + 9))
            .and_then(|value| Ok(value + 10));
        trigger.fire(black_box(1));
        black_box(expect_ready(end));
    }
}

fn ten_done(times: u64) {
    for _ in 0..times {
        let (trigger, start) = Deferred::<u64, _>::infallible();
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
            .done(|value| {
                black_box(value);
            });
        trigger.fire(black_box(1));
    }
}

fn ten_ready(times: u64) {
    for _ in 0..times {
        black_box(expect_ready(ten_on_ready(black_box(1))));
    }
}

fn ten_ready_inside(times: u64) {
    for _ in 0..times {
        let end = Deferred::<u64>::ok(black_box(1)).and_then(ten_on_ready);
        black_box(expect_ready(end));
    }
}

#[inline]
fn ten_on_ready(value: u64) -> Deferred<u64> {
    Deferred::<u64>::ok(value)
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

/// Where a pending level leaves its trigger.
type Slot = Rc<Cell<Option<Trigger<u64>>>>;

fn pending_loop(levels: u64) {
    let slot = Slot::default();
    let whole = level(levels, slot.clone());
    while let Some(trigger) = slot.take() {
        trigger.fire(black_box(1));
    }
    black_box(expect_ready(whole));
}

fn level(left: u64, slot: Slot) -> Deferred<u64> {
    let (trigger, fired) = Deferred::new();
    slot.set(Some(trigger));
    fired.and_then(move |value| if left <= 1 { Deferred::ok(value) } else { level(left - 1, slot) })
}

fn ready_loop(levels: u64) {
    black_box(expect_ready(ready_level(levels)));
}

fn ready_level(left: u64) -> Deferred<u64> {
    Deferred::ok(black_box(1))
        .and_then(move |value| if left <= 1 { Deferred::ok(value) } else { ready_level(left - 1) })
}

fn flow_loop(levels: u64) {
    let slot = Slot::default();
    let inner = slot.clone();
    let whole = flow(async move {
        let mut sum = 0;
        for _ in 0..levels {
            let (trigger, fired) = Deferred::<u64>::new();
            inner.set(Some(trigger));
            sum += fired.await?;
        }
        Ok::<u64, Failure>(sum)
    });
    while let Some(trigger) = slot.take() {
        trigger.fire(black_box(1));
    }
    black_box(expect_ready(whole));
}

fn spawn(times: u64) {
    for _ in 0..times {
        let (trigger, fired) = Deferred::<u64>::new();
        let joined = flow(async move { Ok(fired.await? + 1) });
        trigger.fire(black_box(1));
        black_box(expect_ready(joined));
    }
}

/// Takes the value out by one poll, as the peers do.
pub fn expect_ready(ended: Deferred<u64>) -> u64 {
    match pin!(ended.into_future()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(value)) => value,
        Poll::Ready(Err(failure)) => panic!("{failure}"),
        Poll::Pending => panic!("pending after it was fired"),
    }
}
