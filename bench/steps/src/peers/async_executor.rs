//! The same work on `async-executor`'s `LocalExecutor`.
//!
//! A task is spawned, polled once so that it is pending, woken and joined. The executor is ticked by
//! hand, and the task's handle polled with a waker that does nothing, which is the most favourable
//! way to drive it.

use std::cell::Cell;
use std::hint::black_box;
use std::mem::replace;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use async_executor::LocalExecutor;
use futures::channel::oneshot;
use futures::future::{self, FutureExt};

use super::{expect_ready, poll};
use crate::work::Work;

/// The one row with the executor's own loop round it.
pub const SPAWN_IN_RUN: Work =
    Work::repeated("executor-run", "async-executor: spawn, oneshot, join in its `run`", in_run);

pub const WORKS: [Work; 5] = [
    Work::repeated("executor-ten", "async-executor: ten `map` in a task, pending then fired", ten),
    Work::repeated("executor-ready", "async-executor: ten `map` on a ready value in a task", ready),
    Work::million(
        "executor-loop",
        "async-executor: `async` loop in a task, per level, pending",
        looped,
    ),
    Work::repeated("executor-spawn", "async-executor: spawn, oneshot, join", spawn),
    SPAWN_IN_RUN,
];

fn ten(times: u64) {
    let executor = LocalExecutor::new();
    for _ in 0..times {
        let (sender, receiver) = oneshot::channel::<u64>();
        let mut task = executor.spawn(super::ten_more(receiver.map(|value| value.unwrap_or(0))));
        executor.try_tick();
        let _ = sender.send(black_box(1));
        executor.try_tick();
        black_box(expect_ready(&mut task));
    }
}

fn ready(times: u64) {
    let executor = LocalExecutor::new();
    for _ in 0..times {
        let mut task = executor.spawn(super::ten_more(future::ready(black_box(1))));
        executor.try_tick();
        black_box(expect_ready(&mut task));
    }
}

fn looped(levels: u64) {
    let executor = LocalExecutor::new();
    let slot = Rc::new(Cell::new(None));
    let inner = slot.clone();
    let mut task = executor.spawn(async move {
        let mut sum = 0;
        for _ in 0..levels {
            let (sender, receiver) = oneshot::channel::<u64>();
            inner.set(Some(sender));
            sum += receiver.await.unwrap_or(0);
        }
        sum
    });
    executor.try_tick();
    while let Some(sender) = slot.take() {
        let _ = sender.send(black_box(1));
        executor.try_tick();
    }
    black_box(expect_ready(&mut task));
}

fn spawn(times: u64) {
    let executor = LocalExecutor::new();
    for _ in 0..times {
        let (sender, receiver) = oneshot::channel::<u64>();
        let mut task = executor.spawn(async move { receiver.await.unwrap_or(0) + 1 });
        executor.try_tick();
        let _ = sender.send(black_box(1));
        executor.try_tick();
        black_box(expect_ready(&mut task));
    }
}

fn in_run(times: u64) {
    let executor = LocalExecutor::new();
    let mut whole = pin!(executor.run(async {
        for _ in 0..times {
            let (sender, receiver) = oneshot::channel::<u64>();
            let task = executor.spawn(async move { receiver.await.unwrap_or(0) + 1 });
            give_way().await;
            let _ = sender.send(black_box(1));
            black_box(task.await);
        }
    }));
    while poll(&mut whole).is_pending() {}
}

/// Lets the other tasks be polled.
async fn give_way() {
    let mut given = false;
    future::poll_fn(|task| {
        if replace(&mut given, true) {
            return Poll::Ready(());
        }
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
