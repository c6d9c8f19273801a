//! A job that does nothing, on another thread and back: one at a time, and 64 at a time.

mod with_blocking;
mod with_thence;
mod with_tokio;

use std::time::Instant;

use crate::subject::{By, Subject};

pub const SUBJECTS: [Subject; 6] = [
    Subject {
        name: "offload-tokio-1",
        what: "tokio, `spawn_blocking`",
        by: By::Here(with_tokio::one),
    },
    Subject { name: "offload-blocking-1", what: "`blocking`", by: By::Here(with_blocking::one) },
    Subject { name: "offload-thence-1", what: "thence, `offload`", by: By::Here(with_thence::one) },
    Subject {
        name: "offload-tokio-64",
        what: "tokio, `spawn_blocking`",
        by: By::Here(with_tokio::many),
    },
    Subject { name: "offload-blocking-64", what: "`blocking`", by: By::Here(with_blocking::many) },
    Subject {
        name: "offload-thence-64",
        what: "thence, `offload`",
        by: By::Here(with_thence::many),
    },
];

/// How many subjects there are for each number of jobs at a time; ours is the last of them.
pub const EACH: usize = 3;

/// Jobs one at a time.
const ONE: usize = 10_000;

/// At a time, and each of these so many times.
const MANY: usize = 64;
const TIMES: usize = 2_000;

/// Nanoseconds a job that `f` takes for so many. The first thousand start threads and fill caches.
fn timed(jobs: usize, mut f: impl FnMut(usize)) -> Vec<f64> {
    f(jobs / 10);
    let start = Instant::now();
    f(jobs);
    vec![start.elapsed().as_nanos() as f64 / jobs as f64]
}
