//! Facts 88 to 95 of docs/from-twisted.md: `timeout`, on the manual clock.

use thence_core::{Deferred, Failure, Outcome};
use thence_reactor::{DeferredExt, Elapsed, after};

use crate::common::{Log, World, ms, watch};

#[test]
fn fact_88_a_timeout_is_a_step_and_its_error_says_how_long_it_was_given() {
    let mut world = World::new();
    let (_trigger, slow) = Deferred::<u8>::new();
    let limited = watch(slow.timeout(ms(10)).map(|n| n + 1));
    world.pass(ms(10));
    let failure = limited.err();
    assert_eq!(failure.to_string(), "not done within 10ms");
    assert_eq!(failure.trap::<Elapsed>().unwrap().limit, ms(10));
}

#[test]
fn fact_89_what_ends_in_time_stays_and_its_timer_is_gone() {
    let mut world = World::new();
    for fails in [false, true] {
        let (trigger, quick) = Deferred::<u8>::new();
        let limited = watch(quick.timeout(ms(10)));
        world.pass(ms(9));
        if fails {
            trigger.fail(Failure::msg("its own"));
            assert_eq!(limited.err().to_string(), "its own");
        } else {
            trigger.fire(1);
            assert_eq!(limited.ok(), 1);
        }
        assert_eq!(world.reactor.next_timeout(), None);
        world.pass(ms(10));
    }
}

#[test]
fn fact_90_what_comes_of_a_timeout_is_up_to_the_next_step() {
    let mut world = World::new();
    let (_trigger, slow) = Deferred::<u8>::new();
    let limited = watch(slow.timeout(ms(10)).or_else(|failure| match failure.trap::<Elapsed>() {
        Ok(_) => Ok(9),
        Err(other) => Err(other),
    }));
    world.pass(ms(10));
    assert_eq!(limited.ok(), 9);
}

#[test]
fn fact_91_differs_what_a_canceller_still_yields_goes_back_and_the_waiter_has_elapsed() {
    let mut world = World::new();
    for fails in [false, true] {
        let log = Log::new();
        let (trigger, slow) = Deferred::<u8>::new();
        let back = log.clone();
        trigger.on_unclaimed(move |n| back.push(n));
        let held = std::rc::Rc::new(std::cell::RefCell::new(None));
        let own = held.clone();
        trigger.on_cancel(move || {
            let trigger: thence_core::Trigger<u8> = own.take().unwrap();
            if fails { trigger.fail(Failure::msg("its own")) } else { trigger.fire(1) }
        });
        held.replace(Some(trigger));
        let limited = watch(slow.timeout(ms(10)));
        world.pass(ms(10));
        assert!(limited.err().is::<Elapsed>());
        if fails {
            world.expect_unhandled(1);
        } else {
            assert_eq!(log.all(), [1]);
        }
    }
}

#[test]
fn fact_92_a_request_before_the_timeout_stays_a_cancellation_and_is_not_repeated() {
    let mut world = World::new();
    let log = Log::new();
    let (trigger, slow) = Deferred::<u8>::new();
    let asked = log.clone();
    trigger.on_cancel(move || asked.push("asked"));
    let limited = slow.timeout(ms(10));
    let canceller = limited.canceller();
    let seen = log.clone();
    let limited = watch(limited.inspect_err(move |_| seen.push("an error")));
    canceller.cancel();
    drop(trigger);
    assert!(limited.is_cancelled());
    assert_eq!(world.reactor.next_timeout(), None);
    world.pass(ms(20));
    assert_eq!(log.all(), ["asked"]);
}

#[test]
fn fact_93_differs_a_step_before_the_timeout_sees_no_error_and_cannot_swallow_it() {
    let mut world = World::new();
    let log = Log::new();
    let (_trigger, slow) = Deferred::<u8>::new();
    let (errors, ends) = (log.clone(), log.clone());
    let limited = slow
        .inspect_err(move |_| errors.push("an error"))
        .then(move |outcome| {
            ends.push(if outcome.is_cancelled() { "cancelled" } else { "something else" });
            Ok::<_, Failure>(0) // too late: whoever waits has his answer
        })
        .timeout(ms(10));
    let limited = watch(limited);
    world.pass(ms(10));
    assert!(limited.err().is::<Elapsed>());
    assert_eq!(log.all(), ["cancelled"]);
}

#[test]
fn fact_94_differs_a_step_before_it_still_runs_with_what_the_canceller_fires() {
    let mut world = World::new();
    let log = Log::new();
    let (trigger, slow) = Deferred::<u8>::new();
    let held = std::rc::Rc::new(std::cell::RefCell::new(None));
    let own = held.clone();
    trigger.on_cancel(move || {
        let trigger: thence_core::Trigger<u8> = own.take().unwrap();
        trigger.fire(1);
    });
    held.replace(Some(trigger));
    let seen = log.clone();
    let limited = watch(slow.inspect(move |n| seen.push(*n)).timeout(ms(10)));
    world.pass(ms(10));
    assert!(limited.err().is::<Elapsed>());
    assert_eq!(log.all(), [1], "started work goes on to its end");
}

#[test]
fn fact_95_it_covers_what_stands_before_it_and_no_more() {
    let mut world = World::new();
    let (inner_trigger, inner) = Deferred::<u8>::new();
    let (trigger, first) = Deferred::<()>::new();
    let before = watch(first.and_then(move |()| inner).timeout(ms(10)));
    trigger.fire(());
    world.pass(ms(10));
    assert!(before.err().is::<Elapsed>());
    assert!(inner_trigger.is_cancelled(), "what an earlier step returned is covered");

    let (trigger, first) = Deferred::<u8>::new();
    let behind = first
        .timeout(ms(10))
        .and_then(|n| after(ms(100)).then(move |_| Outcome::<u8>::Ok(n).into_result()));
    let behind = watch(behind);
    trigger.fire(3);
    world.pass(ms(50));
    assert!(!behind.has_ended());
    world.pass(ms(50));
    assert_eq!(behind.ok(), 3, "what a later step returned is not");
}
