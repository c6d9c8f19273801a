//! Timers, timeouts and beats, on a clock that the tests move.

use std::time::Duration;

use thence_core::{Deferred, Failure, Never, flow, hosting};
use thence_reactor::{DeferredExt, Elapsed, Sleep, after, every, now, sleep};

use crate::common::{Log, World, ms, watch};

#[test]
fn never_early_and_in_order_of_deadline_then_creation() {
    let mut world = World::new();
    let log = Log::new();
    for (n, delay) in [(0, 20), (1, 10), (2, 20), (3, 0), (4, 10)] {
        let log = log.clone();
        after(ms(delay)).done(move |()| log.push(n));
    }
    world.settle();
    assert_eq!(log.all(), [3]);
    world.pass(Duration::from_micros(9_999));
    assert_eq!(log.all(), [3]);
    world.pass(Duration::from_micros(1));
    assert_eq!(log.all(), [3, 1, 4]);
    world.pass(ms(100));
    assert_eq!(log.all(), [3, 1, 4, 0, 2]);
}

#[test]
fn a_timer_set_by_a_timer_fires_in_a_later_turn() {
    let mut world = World::new();
    let log = Log::new();
    let inner = log.clone();
    after(ms(0)).done(move |()| {
        inner.push("first");
        let inner = inner.clone();
        after(ms(0)).done(move |()| inner.push("second"));
    });
    world.reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(log.all(), ["first"]);
    world.settle();
    assert_eq!(log.all(), ["first", "second"]);
}

#[test]
fn a_cancelled_timer_is_gone_at_once() {
    let mut world = World::new();
    let waiting = after(ms(10));
    let canceller = waiting.canceller();
    let waiting = watch(waiting);
    canceller.cancel();
    assert!(waiting.is_cancelled());
    assert_eq!(world.reactor.next_timeout(), None);
    canceller.cancel();
    world.pass(ms(20));
}

#[test]
fn a_timer_that_was_left_fires_for_nobody() {
    let mut world = World::new();
    drop(after(ms(10)));
    world.pass(ms(20));
    assert_eq!(hosting::live().nodes, 0);
}

#[test]
fn more_timers_than_a_turn_fires_keep_their_order() {
    let mut world = World::new();
    let log = Log::new();
    for n in 0..2000_u64 {
        let log = log.clone();
        after(ms(5 + n % 3)).done(move |()| log.push((n % 3, n)));
    }
    world.pass(ms(100));
    let all = log.all();
    assert_eq!(all.len(), 2000);
    assert!(all.is_sorted());
}

#[test]
fn for_ever_is_a_delay() {
    let mut world = World::new();
    let waiting = after(Duration::MAX);
    world.pass(Duration::from_secs(1 << 20));
    assert!(!waiting.is_ready());
}

#[test]
fn a_timeout_gives_elapsed_at_once_and_sends_the_request_up() {
    let mut world = World::new();
    let log = Log::new();
    let (trigger, slow) = Deferred::<u8>::new();
    let asked = log.clone();
    // A source that takes its time to end.
    trigger.on_cancel(move || asked.push("asked"));
    let limited = watch(slow.timeout(ms(10)));
    world.pass(ms(9));
    assert!(!limited.has_ended());
    world.pass(ms(1));
    let elapsed = limited.err().trap::<Elapsed>().unwrap();
    assert_eq!(elapsed.limit, ms(10));
    assert_eq!(log.all(), ["asked"]);
    let came = log.clone();
    trigger.on_unclaimed(move |_| came.push("came back"));
    trigger.fire(1);
    assert_eq!(log.all(), ["asked", "came back"]);
}

#[test]
fn a_timeout_that_is_not_needed_leaves_nothing() {
    let mut world = World::new();
    let (trigger, quick) = Deferred::<u8>::new();
    let limited = watch(quick.timeout(ms(10)));
    trigger.fire(1);
    world.settle();
    assert_eq!(limited.ok(), 1);
    assert_eq!(world.reactor.next_timeout(), None);
    let failing = watch(Deferred::<u8>::err(Failure::msg("no")).timeout(ms(10)));
    world.settle();
    assert_eq!(failing.err().to_string(), "no");
    assert_eq!(world.reactor.next_timeout(), None);
}

#[test]
fn cancelling_a_timeout_asks_what_it_was_put_on_and_keeps_its_answer() {
    let mut world = World::new();
    let (trigger, slow) = Deferred::<u8>::new();
    trigger.on_cancel(|| ());
    let limited = slow.timeout(ms(10));
    let canceller = limited.canceller();
    let limited = watch(limited);
    canceller.cancel();
    world.settle();
    assert!(!limited.has_ended(), "the producer says how it ends");
    assert!(trigger.is_cancelled());
    trigger.fire(5);
    world.settle();
    assert_eq!(limited.ok(), 5, "it was too late to cancel");
    assert_eq!(world.reactor.next_timeout(), None);
}

#[test]
fn a_timeout_after_the_end_of_what_it_was_put_on_is_cancelled_with_it() {
    let mut world = World::new();
    let (trigger, slow) = Deferred::<u8>::new();
    let limited = slow.timeout(ms(10));
    let canceller = limited.canceller();
    let limited = watch(limited);
    canceller.cancel();
    world.settle();
    assert!(limited.is_cancelled());
    assert_eq!(world.reactor.next_timeout(), None);
    drop(trigger);
}

#[test]
fn a_timeout_covers_what_was_attached_before_it() {
    let mut world = World::new();
    let log = Log::new();
    let seen = log.clone();
    let (trigger, inner) = Deferred::<u8>::new();
    let limited = after(ms(5))
        .map_err(|never: Never| match never {})
        .and_then(|()| inner)
        .finally(move || seen.push("ended"))
        .timeout(ms(10))
        .and_then(|n| after(ms(100)).map(move |()| n).map_err(|never| match never {}));
    let limited = watch(limited);
    world.pass(ms(5));
    world.pass(ms(5));
    assert!(limited.err().is::<Elapsed>());
    assert!(trigger.is_cancelled());
    assert_eq!(log.all(), ["ended"]);
}

#[test]
fn a_deadline_is_a_timeout_with_the_moment() {
    let mut world = World::new();
    let at = now() + ms(30);
    let (_trigger, slow) = Deferred::<u8>::new();
    world.pass(ms(10));
    let limited = watch(slow.deadline(at));
    world.pass(ms(19));
    assert!(!limited.has_ended());
    world.pass(ms(1));
    assert_eq!(limited.err().trap::<Elapsed>().unwrap().limit, ms(20));
}

#[test]
fn delay_hands_a_value_on_later_and_an_error_at_once() {
    let mut world = World::new();
    let late = watch(Deferred::<u8>::ok(1).delay(ms(10)));
    let failed = watch(Deferred::<u8>::err(Failure::msg("no")).delay(ms(10)));
    world.settle();
    assert_eq!(failed.err().to_string(), "no");
    world.pass(ms(9));
    assert!(!late.has_ended());
    world.pass(ms(1));
    assert_eq!(late.ok(), 1);
}

#[test]
fn a_beat_does_not_drift_and_leaves_out_what_has_passed() {
    let mut world = World::new();
    let begun = now();
    let log = Log::new();
    let beats = log.clone();
    let every = every(ms(10), move || {
        beats.push((now() - begun).as_millis());
        Ok::<(), Failure>(())
    });
    world.pass(ms(13));
    world.pass(ms(7));
    world.pass(ms(35));
    world.pass(ms(5));
    assert_eq!(log.all(), [13, 20, 55, 60]);
    every.stop();
    world.pass(ms(100));
    assert_eq!(log.all().len(), 4);
    assert_eq!(world.reactor.next_timeout(), None);
}

#[test]
fn a_beat_waits_for_what_it_returns_and_goes_on_after_a_failure() {
    let mut world = World::new();
    let log = Log::new();
    let beats = log.clone();
    every(ms(10), move || {
        beats.push("begins");
        let beats = beats.clone();
        flow(async move {
            after(ms(25)).await;
            beats.push("ends");
            Err::<(), _>(Failure::msg("this beat failed"))
        })
    });
    for _ in 0..6 {
        world.pass(ms(10));
    }
    assert_eq!(log.all(), ["begins", "ends", "begins"]);
    world.expect_unhandled(1);
    world.pass(ms(30));
    world.expect_unhandled(1);
}

#[test]
fn a_sleep_belongs_to_whoever_polls_it() {
    let mut world = World::new();
    let sleeping = watch(flow(async {
        sleep(ms(10)).await;
        Ok(1)
    }));
    let unused: Sleep = sleep(ms(5));
    world.pass(ms(9));
    assert!(!sleeping.has_ended());
    world.pass(ms(1));
    assert_eq!(sleeping.ok(), 1);
    drop(unused);
    assert_eq!(world.reactor.next_timeout(), None);
}

#[test]
fn a_sleep_that_is_polled_late_ends_in_the_next_turn() {
    let mut world = World::new();
    let (late, none) = (sleep(ms(5)), sleep(ms(0)));
    world.pass(ms(6));
    let both = watch(flow(async move {
        none.await;
        late.await;
        Ok(now())
    }));
    let before = now();
    world.settle();
    assert_eq!(both.ok(), before);
    assert_eq!(world.reactor.next_timeout(), None);
}

#[test]
fn a_sleep_can_be_reset_and_dropped() {
    let mut world = World::new();
    let end = now() + ms(50);
    let sleeping = watch(flow(async move {
        let mut slow = Box::pin(sleep(ms(1000)));
        let mut first = Box::pin(sleep(ms(10)));
        std::future::poll_fn(|cx| {
            let _ = slow.as_mut().poll(cx);
            first.as_mut().poll(cx)
        })
        .await;
        slow.reset(end);
        slow.await;
        Ok(())
    }));
    world.pass(ms(10));
    assert!(!sleeping.has_ended());
    assert_eq!(world.reactor.next_timeout(), Some(ms(40)));
    world.pass(ms(40));
    sleeping.ok();
    assert_eq!(world.reactor.next_timeout(), None);
}
