//! What may happen to a Deferred and whoever waits for it: the columns of the table.

use thence_reactor::{DeferredExt, Elapsed};

use super::asked::{Asked, Quit};
use crate::{
    common::{ms, watch},
    stage::Stage,
};

pub fn completes<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    for _ in 0..3 {
        let waiting = watch(asked.ask());
        stage.settle();
        asked.provide(stage);
        stage.until(&waiting);
        asked.took(stage, waiting.ok());
    }
    asked.check_rest(stage);
}

pub fn found_there<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    for _ in 0..3 {
        asked.provide(stage);
        stage.settle();
        let value = stage.ok(asked.ask());
        asked.took(stage, value);
    }
    asked.check_rest(stage);
}

pub fn cancelled_before<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    let deferred = asked.ask();
    let canceller = deferred.canceller();
    let waiting = watch(deferred);
    stage.settle();
    assert!(!waiting.has_ended(), "nothing was there for it");
    canceller.cancel();
    canceller.cancel();
    stage.settle();
    assert!(waiting.is_cancelled(), "whoever waits is told");
    asked.quit(Quit::Cancelled);
    asked.provide(stage);
    asked.check_rest(stage);
}

/// At any turn, with something there for it and without.
pub fn cancelled_during<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    for turns in 0..5 {
        for there in [true, false] {
            if there {
                asked.provide(stage);
            }
            let deferred = asked.ask();
            let canceller = deferred.canceller();
            let waiting = watch(deferred);
            (0..turns).for_each(|_| stage.turn());
            canceller.cancel();
            stage.until(&waiting);
            asked.ended(stage, waiting.take().expect("it has ended"));
        }
    }
    asked.check_rest(stage);
}

/// It has ended, and nobody has looked.
pub fn cancelled_after<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    asked.provide(stage);
    let deferred = asked.ask();
    for _ in 0..1000 {
        if deferred.is_ready() {
            break;
        }
        stage.turn();
    }
    assert!(deferred.is_ready());
    deferred.cancel();
    let waiting = watch(deferred);
    stage.until(&waiting);
    asked.ended(stage, waiting.take().expect("it has ended"));
    asked.check_rest(stage);
}

pub fn left_before<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    let deferred = asked.ask();
    stage.settle();
    assert!(!deferred.is_ready(), "nothing was there for it");
    drop(deferred);
    asked.quit(Quit::Left);
    stage.settle();
    asked.provide(stage);
    asked.check_rest(stage);
}

/// At any turn, with something there for it and without.
pub fn left_during<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    for turns in 0..5 {
        for there in [true, false] {
            if there {
                asked.provide(stage);
            }
            let deferred = asked.ask();
            (0..turns).for_each(|_| stage.turn());
            drop(deferred);
            asked.quit(Quit::Left);
        }
    }
    asked.check_rest(stage);
}

/// It has ended, and nobody has looked.
pub fn left_after<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    for _ in 0..3 {
        asked.provide(stage);
        let deferred = asked.ask();
        for _ in 0..1000 {
            if deferred.is_ready() {
                break;
            }
            stage.turn();
        }
        assert!(deferred.is_ready());
        drop(deferred);
        asked.quit(Quit::Left);
    }
    asked.check_rest(stage);
}

/// Whoever waits behind the one that left has what comes.
pub fn one_of_two_left<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    for turns in 0..3 {
        let (left, stays) = (asked.ask(), watch(asked.ask()));
        (0..turns).for_each(|_| stage.turn());
        drop(left);
        asked.quit(Quit::Left);
        asked.provide(stage);
        stage.until(&stays);
        asked.took(stage, stays.ok());
    }
    asked.check_rest(stage);
}

pub fn times_out<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    let failure = stage.err(asked.ask().timeout(ms(1)));
    assert!(failure.is::<Elapsed>());
    asked.quit(Quit::Cancelled);
    assert_eq!(stage.live().timers, 0);
    asked.provide(stage);
    asked.check_rest(stage);
}

pub fn ends_in_time<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    let waiting = watch(asked.ask().timeout(ms(3_600_000)));
    stage.settle();
    asked.provide(stage);
    stage.until(&waiting);
    asked.took(stage, waiting.ok());
    assert_eq!(stage.live().timers, 0, "its timer was taken back");
    drop(asked.ask().timeout(ms(3_600_000)));
    asked.quit(Quit::Left);
    assert_eq!(stage.live().timers, 0, "as was that of one who left");
    asked.check_rest(stage);
}

pub fn peer_finishes<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    let waiting = watch(asked.ask());
    stage.settle();
    asked.finish(stage);
    stage.until(&waiting);
    asked.finished(stage, waiting.take().expect("it has ended"));
}

pub fn peer_resets<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    let waiting = watch(asked.ask());
    stage.settle();
    asked.reset(stage);
    stage.until(&waiting);
    asked.was_reset(stage, waiting.take().expect("it has ended"));
}

/// Somebody waits, and has what comes.
pub fn source_dropped<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    let waiting = watch(asked.ask());
    asked.let_go();
    stage.settle();
    assert!(!waiting.has_ended());
    asked.provide(stage);
    stage.until(&waiting);
    asked.took(stage, waiting.ok());
}

/// It closes as soon as nobody waits.
pub fn source_dropped_and_left<A: Asked>(stage: &mut Stage) {
    for turns in 0..3 {
        let mut asked = A::open(stage);
        stage.settle();
        let open = stage.live().driver.sockets;
        let deferred = asked.ask();
        (0..turns).for_each(|_| stage.turn());
        asked.let_go();
        stage.settle();
        assert_eq!(stage.live().driver.sockets, open);
        drop(deferred);
        stage.settle();
        assert_eq!(stage.live().driver.sockets, open - 1);
    }
}

pub fn source_aborted<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    let waiting = watch(asked.ask());
    stage.settle();
    asked.abort();
    stage.until(&waiting);
    asked.was_aborted(waiting.take().expect("it has ended"));
}

pub fn reactor_dropped<A: Asked>(stage: &mut Stage) {
    let mut asked = A::open(stage);
    let (waiting, left) = (watch(asked.ask()), asked.ask());
    stage.drop_reactor();
    assert!(waiting.is_cancelled());
    drop(left);
    if let Some(late) = asked.ask_late() {
        assert!(watch(late).has_ended(), "nothing will ever end it");
    }
    drop(asked);
}
