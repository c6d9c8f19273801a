//! smol's: tasks of an executor of this thread, jobs on the pool of `blocking`.

use async_executor::LocalExecutor;
use blocking::unblock;

use super::{MANY, ONE, TIMES, timed};

pub fn one() -> Vec<f64> {
    run(ONE, 1)
}

pub fn many() -> Vec<f64> {
    run(MANY * TIMES, MANY)
}

fn run(jobs: usize, at_a_time: usize) -> Vec<f64> {
    let executor = LocalExecutor::new();
    timed(jobs, |jobs| {
        let tasks: Vec<_> = (0..at_a_time)
            .map(|_| {
                executor.spawn(async move {
                    for n in 0..jobs / at_a_time {
                        assert_eq!(unblock(move || n).await, n);
                    }
                })
            })
            .collect();
        async_io::block_on(executor.run(async {
            for task in tasks {
                task.await;
            }
        }));
    })
}
