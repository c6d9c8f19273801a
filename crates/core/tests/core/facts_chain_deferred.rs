//! Facts 55 to 60 of docs/from-twisted.md: chaining by hand.
//!
//! | fact | why it has no test here |
//! |---|---|
//! | 57 | does not compile: the trigger that fired is gone (E0382) |
//! | 58 | nothing to keep: every node knows what it waits for |

use thence_core::{Deferred, Failure, Outcome};

use crate::common::{checked, outcome_of};

#[test]
fn fact_55_the_value_moves_to_the_second() {
    checked(|_| {
        for by_hand in [false, true] {
            let (trigger, d) = Deferred::<u8>::new();
            let (second, e) = Deferred::<u8>::new();
            if by_hand {
                d.then(move |outcome| {
                    second.settle(outcome);
                    Ok::<(), Failure>(())
                })
                .report();
            } else {
                second.follow(d);
            }
            trigger.fire(3);
            assert_eq!(outcome_of(e).take().unwrap(), "ok 3");
        }
    });
}

#[test]
fn fact_56_a_failure_moves_too_and_the_first_is_clean() {
    checked(|reports| {
        let (trigger, d) = Deferred::<u8>::new();
        let (second, e) = Deferred::<u8>::new();
        second.follow(d);
        trigger.fail(Failure::msg("moved"));
        assert!(reports.is_empty());
        assert_eq!(outcome_of(e).take().unwrap(), "err moved");
    });
}

#[test]
fn fact_59_by_hand_a_request_does_not_travel_and_the_late_value_is_ignored() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let (second, e) = Deferred::<u8>::new();
        d.then(move |outcome| {
            second.settle(outcome);
            Ok::<(), Failure>(())
        })
        .report();
        e.cancel();
        assert!(!trigger.is_cancelled());
        trigger.fire(3);
        assert_eq!(outcome_of(e).take().unwrap(), "cancelled");
    });
}

#[test]
fn fact_59_differs_what_follows_passes_a_request_up() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_cancel(|| ());
        let (second, e) = Deferred::<u8>::new();
        second.follow(d);
        e.cancel();
        assert!(trigger.is_cancelled());
        trigger.fire(3);
        assert_eq!(outcome_of(e).take().unwrap(), "ok 3");
    });
}

#[test]
fn fact_60_differs_a_hundred_thousand_links_need_no_stack() {
    checked(|_| {
        let (trigger, mut d) = Deferred::<u32>::new();
        for by_hand in [false, true].into_iter().cycle().take(100_000) {
            let (second, e) = Deferred::<u32>::new();
            if by_hand {
                d.then(move |outcome: Outcome<u32>| {
                    second.settle(outcome);
                    Ok::<(), Failure>(())
                })
                .report();
            } else {
                second.follow(d);
            }
            d = e;
        }
        trigger.fire(1);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 1");
    });
}
