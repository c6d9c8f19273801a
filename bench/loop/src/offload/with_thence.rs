//! thence.

use thence_core::{all, flow};
use thence_reactor::{Reactor, offload};

use super::{MANY, ONE, TIMES, timed};

pub fn one() -> Vec<f64> {
    run(ONE, 1)
}

pub fn many() -> Vec<f64> {
    run(MANY * TIMES, MANY)
}

fn run(jobs: usize, at_a_time: usize) -> Vec<f64> {
    let mut reactor = Reactor::builder().build().expect("this thread has none");
    timed(jobs, |jobs| {
        let done = reactor.run(async move {
            let flows = (0..at_a_time).map(|_| {
                flow(async move {
                    for n in 0..jobs / at_a_time {
                        assert_eq!(offload(move || Ok(n)).await?, n);
                    }
                    Ok(())
                })
            });
            all(flows).await?;
            Ok(())
        });
        done.expect("no job fails");
    })
}
