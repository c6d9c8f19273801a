//! The same work on tokio's `LocalSet`, in its `current_thread` runtime.
//!
//! A task is spawned, polled once so that it is pending, woken and joined. What spawns it is the
//! runtime's main future, and gives way once for the task to be polled.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;

use futures::future::{self, FutureExt};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local, yield_now};

use crate::work::Work;

pub const WORKS: [Work; 4] = [
    Work::repeated("tokio-ten", "tokio: ten `map` in a local task, pending then fired", ten),
    Work::repeated("tokio-ready", "tokio: ten `map` on a ready value in a local task", ready),
    Work::million("tokio-loop", "tokio: `async` loop in a local task, per level, pending", looped),
    Work::repeated("tokio-spawn", "tokio: spawn_local, oneshot, join", spawn),
];

fn ten(times: u64) {
    run(async move {
        for _ in 0..times {
            let (sender, receiver) = oneshot::channel::<u64>();
            let task = spawn_local(super::ten_more(receiver.map(|value| value.unwrap_or(0))));
            yield_now().await;
            let _ = sender.send(black_box(1));
            black_box(task.await.expect("it does not panic"));
        }
    });
}

fn ready(times: u64) {
    run(async move {
        for _ in 0..times {
            let task = spawn_local(super::ten_more(future::ready(black_box(1))));
            black_box(task.await.expect("it does not panic"));
        }
    });
}

fn looped(levels: u64) {
    run(async move {
        let slot = Rc::new(Cell::new(None));
        let inner = slot.clone();
        let task = spawn_local(async move {
            let mut sum = 0;
            for _ in 0..levels {
                let (sender, receiver) = oneshot::channel::<u64>();
                inner.set(Some(sender));
                sum += receiver.await.unwrap_or(0);
            }
            sum
        });
        yield_now().await;
        while let Some(sender) = slot.take() {
            let _ = sender.send(black_box(1));
            yield_now().await;
        }
        black_box(task.await.expect("it does not panic"));
    });
}

fn spawn(times: u64) {
    run(async move {
        for _ in 0..times {
            let (sender, receiver) = oneshot::channel::<u64>();
            let task = spawn_local(async move { receiver.await.unwrap_or(0) + 1 });
            yield_now().await;
            let _ = sender.send(black_box(1));
            black_box(task.await.expect("it does not panic"));
        }
    });
}

fn run(main: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().build().expect("it opens nothing");
    LocalSet::new().block_on(&runtime, main);
}
