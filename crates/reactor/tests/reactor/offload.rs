//! Jobs on the pool, with the manual driver running them when told, and on real threads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use thence_core::{Failure, FlowContext, all};
use thence_reactor::{QueueFull, Reactor, offload, offload_when_free, run};

use crate::common::{Log, World, watch};

#[test]
fn runs_in_order_when_told() {
    let mut world = World::new();
    let first = watch(offload(|| Ok(1)));
    let second = watch(offload(|| Ok(2)));
    world.settle();
    assert_eq!(world.manual.jobs_waiting(), 2);
    assert!(!first.has_ended());
    assert!(world.manual.run_job());
    world.settle();
    assert_eq!(first.ok(), 1);
    assert!(!second.has_ended());
    assert!(world.manual.run_job());
    assert!(!world.manual.run_job());
    world.settle();
    assert_eq!(second.ok(), 2);
}

#[test]
fn a_result_fires_in_a_turn_not_where_the_job_ended() {
    let mut world = World::new();
    let log = Log::new();
    let seen = log.clone();
    offload(|| Ok(())).inspect(move |()| seen.push("fired")).report();
    world.manual.run_job();
    assert_eq!(log.all().len(), 0);
    world.settle();
    assert_eq!(log.all(), ["fired"]);
}

#[test]
fn failures_and_panics_come_back() {
    let mut world = World::new();
    let failed = watch(offload(|| Err::<(), _>(Failure::msg("no such row"))));
    let panicked = watch(offload(|| -> Result<(), Failure> { panic!("index 7") }));
    while world.manual.run_job() {}
    world.settle();
    assert_eq!(failed.err().to_string(), "no such row");
    assert!(panicked.stop().contains("index 7"));
}

#[test]
fn a_full_queue_is_a_failure_one_can_see() {
    let mut world = World::with(|builder| builder.pool_queue(2));
    let taken = [watch(offload(|| Ok(1))), watch(offload(|| Ok(2)))];
    let refused = watch(offload(|| Ok(3)));
    world.settle();
    assert!(refused.err().is::<QueueFull>());
    while world.manual.run_job() {}
    world.settle();
    assert_eq!(taken.map(|job| job.ok()), [1, 2]);
}

#[test]
fn a_job_cancelled_before_it_starts_leaves_the_queue() {
    let mut world = World::with(|builder| builder.pool_queue(1));
    let job = offload(|| -> Result<(), Failure> { panic!("it must not run") });
    let canceller = job.canceller();
    let job = watch(job);
    canceller.cancel();
    assert_eq!(world.manual.jobs_waiting(), 0);
    world.settle();
    assert!(job.is_cancelled());
    assert!(!world.manual.run_job());
    // Its place is free.
    let next = watch(offload(|| Ok(1)));
    world.manual.run_job();
    world.settle();
    assert_eq!(next.ok(), 1);
}

#[test]
fn a_job_cancelled_after_it_ended_keeps_its_result() {
    let mut world = World::new();
    let job = offload(|| Ok(1));
    let canceller = job.canceller();
    let job = watch(job);
    world.manual.run_job();
    canceller.cancel();
    world.settle();
    assert_eq!(job.ok(), 1);
}

#[test]
fn a_job_that_was_left_runs_all_the_same() {
    let mut world = World::new();
    let ran = Arc::new(AtomicUsize::new(0));
    let count = ran.clone();
    drop(offload(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Err::<(), _>(Failure::msg("and its failure is seen"))
    }));
    world.manual.run_job();
    world.settle();
    assert_eq!(ran.load(Ordering::Relaxed), 1);
    world.expect_unhandled(1);
}

#[test]
fn whoever_waits_for_room_goes_in_order() {
    let mut world = World::with(|builder| builder.pool_queue(1));
    let log = Log::new();
    let jobs: Vec<_> = (0..5)
        .map(|n| {
            let log = log.clone();
            offload_when_free(move || Ok(n)).inspect(move |n| log.push(*n))
        })
        .collect();
    let cancelled = jobs[2].canceller();
    let jobs: Vec<_> = jobs.into_iter().map(watch).collect();
    world.settle();
    assert_eq!(world.manual.jobs_waiting(), 1);
    cancelled.cancel();
    world.settle();
    assert!(jobs[2].is_cancelled());
    for _ in 0..4 {
        assert!(world.manual.run_job());
        world.settle();
    }
    assert!(!world.manual.run_job());
    assert_eq!(log.all(), [0, 1, 3, 4]);
}

#[test]
fn one_of_those_cancelled_in_the_queue_makes_room_for_the_next() {
    let mut world = World::with(|builder| builder.pool_queue(1));
    let first = offload_when_free(|| Ok(1));
    let second = watch(offload_when_free(|| Ok(2)));
    first.cancel();
    drop(first);
    world.settle();
    assert!(world.manual.run_job());
    world.settle();
    assert_eq!(second.ok(), 2);
}

#[test]
fn on_real_threads_everything_comes_back_to_this_one() {
    let here = thread::current().id();
    let sum = run(async move {
        let jobs = (0..200).map(|n| {
            offload(move || {
                assert_ne!(thread::current().id(), here);
                Ok(n)
            })
            .inspect(move |_| assert_eq!(thread::current().id(), here))
        });
        Ok(all(jobs).await?.into_iter().sum::<u32>())
    });
    assert_eq!(sum.unwrap(), 199 * 200 / 2);
}

#[test]
fn on_real_threads_waiting_for_room_lets_all_through() {
    let mut reactor = Reactor::builder().pool_threads(2).pool_queue(1).build().unwrap();
    let sum = reactor.run(async {
        let jobs = (0..100).map(|n| offload_when_free(move || Ok(n)));
        Ok(all(jobs).await?.into_iter().sum::<u32>())
    });
    assert_eq!(sum.unwrap(), 4950);
}

#[test]
fn a_job_runs_in_the_context_of_its_caller_and_what_follows_it_too() {
    fn asked() -> String {
        FlowContext::current().request_id().unwrap_or("none").to_owned()
    }
    let seen = run(async {
        let context = FlowContext::current().with_request_id("r-1");
        let (now, later) = context.enter(|| {
            (
                offload(|| Ok(asked())).map(|there| (there, asked())),
                offload_when_free(|| Ok(asked())),
            )
        });
        Ok((now.await?, later.await?, asked()))
    });
    let (now, later, outside) = seen.unwrap();
    assert_eq!(now, ("r-1".to_owned(), "r-1".to_owned()));
    assert_eq!((later.as_str(), outside.as_str()), ("r-1", "none"));
}
