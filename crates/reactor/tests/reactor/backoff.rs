//! Retries that wait longer each time, on a clock that the tests move.

use std::time::{Duration, Instant};

use thence_core::{Deferred, Failure, Never, retry};
use thence_reactor::{Jitter, backoff, backoff_with, now};

use crate::common::{Log, World, ms, watch};

/// How long each delay after the attempts from 1 to `count` lasts, in ticks of the clock.
fn delays(
    world: &mut World,
    count: u32,
    mut delay: impl FnMut(u32) -> Deferred<(), Never>,
) -> Vec<Duration> {
    let mut lasted = Vec::new();
    for attempt in 1..=count {
        let began = now();
        let end = watch(delay(attempt));
        world.settle();
        while !end.has_ended() {
            world.pass(ms(1));
        }
        end.ok();
        lasted.push(now() - began);
    }
    lasted
}

#[test]
fn each_delay_is_twice_the_one_before_and_none_is_longer_than_the_most() {
    let mut world = World::new();
    let lasted = delays(&mut world, 7, backoff(ms(10), ms(100)));
    assert_eq!(lasted, [10, 20, 40, 80, 100, 100, 100].map(ms));
}

#[test]
fn the_hundredth_delay_is_the_most_too() {
    let mut world = World::new();
    let mut delay = backoff(ms(1), ms(5));
    for attempt in [33, 34, 65, 100, u32::MAX] {
        let end = watch(delay(attempt));
        world.pass(ms(4));
        assert!(!end.has_ended(), "{attempt}");
        world.pass(ms(1));
        end.ok();
    }
}

#[test]
fn jitter_draws_from_zero_to_the_whole_delay_and_the_same_for_a_seed() {
    let mut world = World::new();
    let with = |jitter| backoff_with(ms(100), ms(100), jitter);
    let lasted = delays(&mut world, 64, with(Jitter::seeded(7)));
    assert_eq!(lasted, delays(&mut world, 64, with(Jitter::seeded(7))));
    assert_ne!(lasted, delays(&mut world, 64, with(Jitter::seeded(8))));
    assert_ne!(lasted, delays(&mut world, 64, with(Jitter::random())));
    assert!(lasted.iter().all(|lasted| *lasted <= ms(100)));
    let (short, long) = (lasted.iter().min().unwrap(), lasted.iter().max().unwrap());
    assert!(*short < ms(20) && *long > ms(80), "{short:?} to {long:?}");
}

#[test]
fn a_retry_waits_between_its_attempts() {
    let mut world = World::new();
    let log = Log::<Instant>::new();
    let tries = log.clone();
    let began = now();
    let end = watch(retry(3, backoff(ms(10), ms(1000)), move |attempt| {
        tries.push(now());
        if attempt < 3 { Err(Failure::msg("busy")) } else { Ok(attempt) }
    }));
    for _ in 0..40 {
        world.pass(ms(1));
    }
    assert_eq!(end.ok(), 3);
    let at: Vec<_> = log.all().iter().map(|tried| *tried - began).collect();
    assert_eq!(at, [0, 10, 30].map(ms));
}

#[test]
fn a_request_ends_the_delay_and_takes_its_timer_back() {
    let mut world = World::new();
    let d = retry(3, backoff(ms(10), ms(1000)), |_| Err::<u8, _>(Failure::msg("busy")));
    let canceller = d.canceller();
    let end = watch(d);
    world.settle();
    assert!(world.reactor.next_timeout().is_some());
    canceller.cancel();
    assert!(end.is_cancelled());
    assert_eq!(world.reactor.next_timeout(), None);
}
