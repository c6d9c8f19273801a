//! The same work by others.

mod async_executor;
mod futures;
mod node;
mod tokio;
mod twisted;

use std::task::{Context, Poll, Waker};

use ::futures::future::FutureExt;

pub use self::async_executor::SPAWN_IN_RUN;
pub use self::futures::REFERENCE;
use crate::work::Work;

pub fn works() -> Vec<Work> {
    let rust = [&futures::WORKS[..], &tokio::WORKS, &async_executor::WORKS].concat();
    [&rust[..], &node::WORKS, &twisted::WORKS].concat()
}

/// Ten `map` known at compile time.
fn ten_more(start: impl Future<Output = u64>) -> impl Future<Output = u64> {
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

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    future.poll_unpin(&mut Context::from_waker(Waker::noop()))
}

fn expect_ready<F: Future + Unpin>(future: &mut F) -> F::Output {
    match poll(future) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("pending after it was fired"),
    }
}
