//! Sources that are a place at a home: asked by a call, with nothing allocated for it.

use std::cell::RefCell;

use thence_core::hosting::{self, Unplaced};
use thence_core::{Deferred, Failure, Trigger};

use crate::common::{checked, outcome_of};

thread_local! {
    static ASKED: RefCell<Vec<(u64, u64)>> = const { RefCell::new(Vec::new()) };
    static KEPT: RefCell<Option<Trigger<u8>>> = const { RefCell::new(None) };
}

fn asked() -> Vec<(u64, u64)> {
    ASKED.take()
}

/// A source that keeps its trigger, and lets go of it when asked.
#[track_caller]
fn yielding(home: u64, place: u64) -> Deferred<u8> {
    let (trigger, d) = hosting::source(
        |home, place| {
            ASKED.with_borrow_mut(|asked| asked.push((home, place)));
            drop(KEPT.take());
        },
        home,
    );
    KEPT.set(Some(trigger.at(place)));
    d
}

/// One that only notes that it was asked.
fn stubborn() -> (Unplaced<u8, Failure>, Deferred<u8>) {
    hosting::source(|home, place| ASKED.with_borrow_mut(|asked| asked.push((home, place))), 3)
}

#[test]
fn a_request_calls_once_with_home_and_place_and_the_drop_of_the_trigger_ends_it() {
    checked(|_| {
        let d = yielding(7, 9);
        let canceller = d.canceller();
        let end = outcome_of(d);
        canceller.cancel();
        assert_eq!(asked(), [(7, 9)]);
        assert_eq!(end.take().unwrap(), "cancelled");
        canceller.cancel();
        assert!(asked().is_empty());
    });
}

#[test]
fn one_that_fires_or_is_lost_is_not_asked() {
    checked(|_| {
        let fired = outcome_of(yielding(1, 1));
        KEPT.take().unwrap().fire(5);
        assert_eq!(fired.take().unwrap(), "ok 5");
        let lost = outcome_of(yielding(1, 2));
        drop(KEPT.take());
        assert_eq!(lost.take().unwrap(), "lost");
        assert!(asked().is_empty());
    });
}

#[test]
fn whoever_leaves_asks_nobody() {
    checked(|_| {
        drop(yielding(1, 1));
        assert!(asked().is_empty());
        KEPT.take().unwrap().fire(5);
    });
}

#[test]
fn the_home_says_how_it_ends() {
    checked(|_| {
        let (trigger, d) = stubborn();
        let trigger = trigger.at(4);
        let canceller = d.canceller();
        let end = outcome_of(d);
        canceller.cancel();
        assert_eq!(asked(), [(3, 4)]);
        assert!(end.is_empty(), "the home has not said how it ends");
        assert!(trigger.is_cancelled());
        trigger.fire(8);
        assert_eq!(end.take().unwrap(), "ok 8");
    });
}

#[test]
fn a_hook_beside_it_runs_after_it() {
    checked(|_| {
        let (trigger, d) = stubborn();
        let trigger = trigger.at(4);
        trigger.on_cancel(|| ASKED.with_borrow_mut(|asked| asked.push((0, 0))));
        d.cancel();
        assert_eq!(asked(), [(3, 4), (0, 0)]);
        trigger.fire(1);
        drop(d);
    });
}

#[test]
fn a_request_before_there_is_a_place_is_told_the_last_one() {
    checked(|_| {
        let (trigger, d) = stubborn();
        d.cancel();
        assert_eq!(asked(), [(3, u64::MAX)]);
        let end = outcome_of(d);
        drop(trigger.at(1));
        assert_eq!(end.take().unwrap(), "cancelled");
        let (trigger, d) = stubborn();
        let end = outcome_of(d);
        drop(trigger);
        assert_eq!(end.take().unwrap(), "lost");
    });
}

#[test]
fn it_is_listed_with_the_place_in_the_program_while_it_is_unfinished() {
    checked(|_| {
        let d = yielding(1, 1);
        let line = line!() - 1;
        let end = outcome_of(d);
        assert_eq!(hosting::unfinished()[0].site.line(), line);
        hosting::cancel_unfinished();
        assert_eq!(end.take().unwrap(), "cancelled");
        assert_eq!(asked(), [(1, 1)]);
        assert!(hosting::unfinished().is_empty());
    });
}
