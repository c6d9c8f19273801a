//! The same work by the `futures` crate.
//!
//! Everything is polled by hand with a waker that does nothing: no executor's cost is in these
//! figures, which is the most favourable way to drive a future.

use std::cell::Cell;
use std::hint::black_box;
use std::pin::pin;
use std::rc::Rc;

use futures::channel::oneshot;
use futures::future::{self, FutureExt, LocalBoxFuture};

use super::{expect_ready, poll};
use crate::work::Work;

/// What every ratio is taken to: ten `map` known at compile time on a oneshot that is pending when
/// it is polled first, and is polled again after it was fired.
pub const REFERENCE: Work =
    Work::repeated("futures-ten", "futures: ten `map`, static, pending then fired", ten_static);

pub const WORKS: [Work; 8] = [
    REFERENCE,
    Work::repeated("futures-none", "futures: oneshot alone, pending then fired", none),
    Work::repeated(
        "futures-boxed",
        "futures: ten `map`, each boxed, pending then fired",
        ten_boxed,
    ),
    Work::repeated("futures-ready", "futures: ten `map`, static, on a ready value", ten_ready),
    Work::repeated(
        "futures-ready-boxed",
        "futures: ten `map`, each boxed, on a ready value",
        ten_ready_boxed,
    ),
    Work::million(
        "futures-loop",
        "futures: `async` loop over oneshots, per level, pending",
        async_loop,
    ),
    Work {
        slice: 20 * DEPTH,
        sizes: (2 * DEPTH, 12 * DEPTH),
        ..Work::million(
            "futures-nest",
            "futures: boxed recursion, 1,000 deep, per level, pending",
            nest,
        )
    },
    Work {
        slice: 200 * DEPTH,
        sizes: (20 * DEPTH, 120 * DEPTH),
        ..Work::million(
            "futures-nest-ready",
            "futures: boxed recursion, 1,000 deep, per level, ready",
            nest_ready,
        )
    },
];

/// How deep boxed recursion goes here. Every poll walks down all levels on the stack, so that a
/// million would need a stack of hundreds of megabytes, and half a million steps for each level.
const DEPTH: u64 = 1_000;

fn ten_static(times: u64) {
    for _ in 0..times {
        let (sender, receiver) = oneshot::channel::<u64>();
        let chain = receiver
            .map(|value| value.unwrap_or(0) + 1)
            .map(|value| value + 2)
            .map(|value| value + 3)
            .map(|value| value + 4)
            .map(|value| value + 5)
            .map(|value| value + 6)
            .map(|value| value + 7)
            .map(|value| value + 8)
            .map(|value| value + 9)
            .map(|value| value + 10);
        let mut chain = pin!(chain);
        assert!(poll(&mut chain).is_pending());
        let _ = sender.send(black_box(1));
        black_box(expect_ready(&mut chain));
    }
}

fn none(times: u64) {
    for _ in 0..times {
        let (sender, receiver) = oneshot::channel::<u64>();
        let mut receiver = pin!(receiver);
        assert!(poll(&mut receiver).is_pending());
        let _ = sender.send(black_box(1));
        let _ = black_box(expect_ready(&mut receiver));
    }
}

fn ten_boxed(times: u64) {
    for _ in 0..times {
        let (sender, receiver) = oneshot::channel::<u64>();
        let mut chain = boxed(receiver.map(|value| value.unwrap_or(0) + 1).boxed_local());
        assert!(poll(&mut chain).is_pending());
        let _ = sender.send(black_box(1));
        black_box(expect_ready(&mut chain));
    }
}

fn ten_ready(times: u64) {
    for _ in 0..times {
        let chain = future::ready(black_box(1u64))
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
        black_box(expect_ready(&mut pin!(chain)));
    }
}

fn ten_ready_boxed(times: u64) {
    for _ in 0..times {
        let first = future::ready(black_box(1u64)).map(|value| value + 1).boxed_local();
        black_box(expect_ready(&mut boxed(first)));
    }
}

/// Nine more steps, each in a box of its own.
fn boxed(first: LocalBoxFuture<'static, u64>) -> LocalBoxFuture<'static, u64> {
    let chain = first.map(|value| value + 2).boxed_local();
    let chain = chain.map(|value| value + 3).boxed_local();
    let chain = chain.map(|value| value + 4).boxed_local();
    let chain = chain.map(|value| value + 5).boxed_local();
    let chain = chain.map(|value| value + 6).boxed_local();
    let chain = chain.map(|value| value + 7).boxed_local();
    let chain = chain.map(|value| value + 8).boxed_local();
    let chain = chain.map(|value| value + 9).boxed_local();
    chain.map(|value| value + 10).boxed_local()
}

fn async_loop(levels: u64) {
    let slot = Rc::new(Cell::new(None));
    let inner = slot.clone();
    let mut whole = pin!(async move {
        let mut value = 0;
        for _ in 0..levels {
            let (sender, receiver) = oneshot::channel::<u64>();
            inner.set(Some(sender));
            value += receiver.await.unwrap_or(0);
        }
        value
    });
    while poll(&mut whole).is_pending() {
        let sender: Option<oneshot::Sender<u64>> = slot.take();
        let _ = sender.expect("a pending level has a sender").send(black_box(1));
    }
}

fn nest(levels: u64) {
    let slot = Rc::new(Cell::new(None));
    for _ in 0..levels / DEPTH {
        let mut whole = level(DEPTH, slot.clone());
        while poll(&mut whole).is_pending() {
            let sender = slot.take().expect("a pending level has a sender");
            let _ = sender.send(black_box(1));
        }
    }
}

fn level(left: u64, slot: Rc<Cell<Option<oneshot::Sender<u64>>>>) -> LocalBoxFuture<'static, u64> {
    async move {
        let (sender, receiver) = oneshot::channel();
        slot.set(Some(sender));
        let value = receiver.await.unwrap_or(0);
        if left == 1 { value } else { level(left - 1, slot).await }
    }
    .boxed_local()
}

fn nest_ready(levels: u64) {
    for _ in 0..levels / DEPTH {
        black_box(expect_ready(&mut level_ready(DEPTH)));
    }
}

fn level_ready(left: u64) -> LocalBoxFuture<'static, u64> {
    async move {
        let value = future::ready(black_box(1)).await;
        if left == 1 { value } else { level_ready(left - 1).await }
    }
    .boxed_local()
}
