//! async-io, which has one sorted map for all timers and a thread of its own.

use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use async_io::{Timer, block_on};

use super::{COUNT, FAR, LONGEST, delays, process_nanos, timed};

pub fn run() -> Vec<f64> {
    block_on(async {
        let mut all = Vec::with_capacity(COUNT);
        delays().for_each(|delay| set(delay + FAR, &mut all));
        let (cancelled, ()) = timed(|| drop(all));
        let mut all = Vec::with_capacity(COUNT);
        let (inserted, ()) = timed(|| delays().for_each(|delay| set(delay, &mut all)));
        let start = process_nanos();
        Timer::after(LONGEST).await;
        let fired = (process_nanos() - start) as f64 / COUNT as f64;
        vec![inserted, fired, cancelled]
    })
}

fn set(delay: Duration, all: &mut Vec<Pin<Box<Timer>>>) {
    let mut timer = Box::pin(Timer::after(delay));
    let pending = timer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
    assert!(pending, "the shortest is longer than that");
    all.push(timer);
}
