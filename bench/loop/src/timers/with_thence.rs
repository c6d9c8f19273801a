//! thence: as Deferreds, and as the plain futures that hyper is given.

use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use thence_core::{Deferred, Never};
use thence_reactor::Sleep;

use super::{COUNT, FAR, LONGEST, delays, process_nanos, timed};

pub fn after() -> Vec<f64> {
    run(
        |delay, all: &mut Vec<Deferred<(), Never>>| all.push(thence_reactor::after(delay)),
        |all| {
            for timer in &all {
                timer.cancel();
            }
            drop(all);
        },
    )
}

pub fn sleep() -> Vec<f64> {
    run(
        |delay, all: &mut Vec<Pin<Box<Sleep>>>| {
            let mut timer = Box::pin(thence_reactor::sleep(delay));
            let pending = timer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
            assert!(pending, "the shortest is longer than that");
            all.push(timer);
        },
        drop,
    )
}

fn run<T: 'static>(set: fn(Duration, &mut Vec<T>), cancel: fn(Vec<T>)) -> Vec<f64> {
    let figures = thence_reactor::run(async move {
        let mut all = Vec::with_capacity(COUNT);
        delays().for_each(|delay| set(delay + FAR, &mut all));
        let (cancelled, ()) = timed(|| cancel(all));
        let mut all = Vec::with_capacity(COUNT);
        let (inserted, ()) = timed(|| delays().for_each(|delay| set(delay, &mut all)));
        let start = process_nanos();
        thence_reactor::after(LONGEST).await;
        let fired = (process_nanos() - start) as f64 / COUNT as f64;
        Ok(vec![inserted, fired, cancelled])
    });
    figures.expect("nothing fails here")
}
