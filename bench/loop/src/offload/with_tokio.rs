//! tokio: tasks on one thread, jobs on its pool.

use tokio::runtime::Builder;
use tokio::task::{JoinSet, spawn_blocking};

use super::{MANY, ONE, TIMES, timed};

pub fn one() -> Vec<f64> {
    run(ONE, 1)
}

pub fn many() -> Vec<f64> {
    run(MANY * TIMES, MANY)
}

fn run(jobs: usize, at_a_time: usize) -> Vec<f64> {
    let runtime = Builder::new_current_thread().build().expect("it opens nothing");
    timed(jobs, |jobs| {
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..at_a_time {
                tasks.spawn(async move {
                    for n in 0..jobs / at_a_time {
                        assert_eq!(spawn_blocking(move || n).await.expect("no job panics"), n);
                    }
                });
            }
            tasks.join_all().await;
        });
    })
}
