//! A million timers at once: set, cancelled, set again and fired.
//!
//! They are cancelled in the order they were set, as the timeouts of requests that ended well are.
//! What is measured is processor time of the whole process: a driver's own thread counts, waiting
//! does not. The heap is warm: the million that was cancelled left it to the million that fires.

mod libuv;
mod with_async_io;
mod with_thence;
mod with_tokio;

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::subject::{By, Subject, process_nanos};

pub const SUBJECTS: [Subject; 5] = [
    Subject { name: "timers-tokio", what: "tokio, `sleep`", by: By::Here(with_tokio::run) },
    Subject {
        name: "timers-async-io",
        what: "async-io, `Timer`",
        by: By::Here(with_async_io::run),
    },
    Subject { name: "timers-libuv", what: "libuv, `uv_timer_t`", by: By::There(libuv::command) },
    Subject { name: "timers-after", what: "thence, `after`", by: By::Here(with_thence::after) },
    Subject { name: "timers-sleep", what: "thence, `sleep`", by: By::Here(with_thence::sleep) },
];

/// The places of the peer and of our own.
pub const TOKIO: usize = 0;
pub const THENCE: [usize; 2] = [3, 4];

const COUNT: usize = 1_000_000;

/// The shortest and the longest delay of those that fire: longer than it takes to set them.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_millis(1_200);

/// How much longer those are that are cancelled.
const FAR: Duration = Duration::from_secs(60);

/// The delay of each timer: spread evenly, in no order, the same for all subjects.
fn delays() -> impl Iterator<Item = Duration> {
    let width = (LONGEST - SHORTEST).as_nanos() as u64;
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    (0..COUNT).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        SHORTEST + Duration::from_nanos((state >> 11) % width)
    })
}

/// Nanoseconds a timer that `f` takes for all of them, and what it gives.
fn timed<R>(f: impl FnOnce() -> R) -> (f64, R) {
    let start = process_nanos();
    let result = f();
    ((process_nanos() - start) as f64 / COUNT as f64, result)
}

/// Nanoseconds that a look at the clock takes.
pub fn clock() -> f64 {
    let (nanos, ()) = timed(|| {
        for _ in 0..COUNT {
            black_box(Instant::now());
        }
    });
    nanos
}
