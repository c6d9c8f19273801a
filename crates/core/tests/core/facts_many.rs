//! Facts 96 to 113 of docs/from-twisted.md: waiting for many, and the helpers.
//!
//! | fact | why it has no test here |
//! |---|---|
//! | 112 | Rust has no current exception: `Deferred::err` names its error |
//! | 113 | there is nothing deprecated: `timeout` is a method of the reactor's extension trait |

use std::rc::Rc;

use thence_core::{
    Deferred, Failure, Kind, Outcome, Trigger, all, all_settled, first, first_ok, flow,
};

use crate::common::{Cell, Log, checked, ending, outcome_of};

fn some(n: usize) -> (Vec<Trigger<u8>>, Vec<Deferred<u8>>) {
    (0..n).map(|_| Deferred::<u8>::new()).unzip()
}

/// As [`some`], with triggers that say how they end after a request.
fn slow(n: usize) -> (Vec<Trigger<u8>>, Vec<Deferred<u8>>) {
    let (triggers, inputs) = some(n);
    triggers.iter().for_each(|trigger| trigger.on_cancel(|| ()));
    (triggers, inputs)
}

#[test]
fn fact_96_every_outcome_comes_in_the_order_of_the_inputs() {
    checked(|_| {
        let (mut triggers, inputs) = some(3);
        let log = Log::new();
        let seen = log.clone();
        all_settled(inputs).done(move |outcomes| {
            outcomes.iter().for_each(|outcome| seen.add(ending(outcome)));
        });
        triggers.pop().unwrap().fire(3);
        triggers.pop().unwrap().fail(Failure::msg("two"));
        log.expect(&[]);
        triggers.pop().unwrap().fire(1);
        log.expect(&["ok 1", "err two", "ok 3"]);
    });
}

#[test]
fn fact_97_differs_of_nothing_all_is_empty_and_the_first_is_lost() {
    checked(|_| {
        assert_eq!(outcome_of(all_settled::<u8, Failure>([])).take().unwrap(), "ok []");
        assert_eq!(outcome_of(all::<u8, Failure>([])).take().unwrap(), "ok []");
        assert_eq!(outcome_of(first::<u8, Failure>([])).take().unwrap(), "lost");
        assert_eq!(outcome_of(first_ok::<u8, Failure>([])).take().unwrap(), "lost");
    });
}

#[test]
fn fact_98_differs_the_first_value_comes_alone_and_a_step_adds_its_index() {
    checked(|_| {
        let (mut triggers, inputs) = some(3);
        let numbered = inputs.into_iter().enumerate().map(|(n, d)| d.map(move |value| (n, value)));
        let seen = outcome_of(first_ok(numbered));
        triggers.remove(1).fire(7);
        drop(triggers);
        assert_eq!(seen.take().unwrap(), "ok (1, 7)");
    });
}

#[test]
fn fact_99_differs_the_first_error_is_the_end_itself_and_not_wrapped() {
    #[derive(Debug)]
    struct Own(Rc<u8>);
    impl std::fmt::Display for Own {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("own")
        }
    }
    impl std::error::Error for Own {}
    checked(|_| {
        let (mut triggers, inputs): (Vec<_>, Vec<_>) =
            (0..2).map(|_| Deferred::<u8, Own>::with_error()).unzip();
        let identity = Rc::new(1);
        let error = Cell::new();
        let kept = error.clone();
        all(inputs).recover(move |own| (kept.put(own), Vec::new()).1).done(drop);
        triggers.pop().unwrap().fail(Own(identity.clone()));
        drop(triggers);
        assert!(Rc::ptr_eq(&error.take().unwrap().0, &identity));
    });
}

#[test]
fn fact_100_inputs_that_have_ended_already_work() {
    checked(|_| {
        let ended = || {
            let (trigger, d) = Deferred::<u8>::new();
            trigger.fire(2);
            [Deferred::ok(1), d]
        };
        assert_eq!(outcome_of(all(ended())).take().unwrap(), "ok [1, 2]");
        assert_eq!(outcome_of(first(ended())).take().unwrap(), "ok 1");
        assert_eq!(outcome_of(first_ok(ended())).take().unwrap(), "ok 1");
        let failed = || [Deferred::err(Failure::msg("no")), Deferred::<u8>::ok(1)];
        assert_eq!(outcome_of(all(failed())).take().unwrap(), "err no");
        assert_eq!(outcome_of(first_ok(failed())).take().unwrap(), "ok 1");
        let seen = outcome_of(all_settled(failed()).map(|outcomes| outcomes.len()));
        assert_eq!(seen.take().unwrap(), "ok 2");
    });
}

#[test]
fn fact_101_differs_an_error_is_the_end_or_reported_and_never_left_on_an_input() {
    checked(|reports| {
        let (mut triggers, inputs) = slow(2);
        let seen = outcome_of(all(inputs));
        triggers.pop().unwrap().fail(Failure::msg("the end"));
        triggers.pop().unwrap().fail(Failure::msg("reported"));
        assert_eq!(seen.take().unwrap(), "err the end");
        reports.expect(&["reported"]);

        // In outcomes they are values, and whoever has them has handled them.
        let (mut triggers, inputs) = some(1);
        let seen = outcome_of(all_settled(inputs).map(|outcomes| ending(&outcomes[0])));
        triggers.pop().unwrap().fail(Failure::msg("a value"));
        assert_eq!(seen.take().unwrap(), r#"ok "err a value""#);
    });
}

#[test]
fn fact_102_a_request_reaches_every_input_and_a_panicking_canceller_stops_none() {
    checked(|reports| {
        for many in ["all", "all_settled", "first", "first_ok"] {
            let log = Log::new();
            let (triggers, inputs) = some(3);
            triggers[0].on_cancel(log.noting("one"));
            triggers[1].on_cancel(|| panic!("in the hook"));
            triggers[2].on_cancel(log.noting("three"));
            let end = match many {
                "all" => asked(all(inputs)),
                "all_settled" => asked(all_settled(inputs).map(|outcomes| outcomes.len())),
                "first" => asked(first(inputs)),
                _ => asked(first_ok(inputs)),
            };
            log.expect(&["one", "three"]);
            reports.expect_kinds(&[Kind::DestructorPanicked]);
            drop(triggers);
            let cancelled = if many == "all_settled" { "ok 3" } else { "cancelled" };
            assert_eq!(end.take().unwrap(), cancelled, "{many}");
        }
    });
}

fn asked<T: std::fmt::Debug, E: thence_core::Fault>(d: Deferred<T, E>) -> Cell<String> {
    d.cancel();
    outcome_of(d)
}

#[test]
fn fact_103_differs_when_it_has_ended_there_is_no_rest_to_ask() {
    checked(|_| {
        let log = Log::new();
        let (mut triggers, inputs) = some(2);
        triggers[0].on_cancel(log.noting("asked"));
        let d = first(inputs);
        triggers.pop().unwrap().fire(2);
        log.expect(&["asked"]);
        assert!(!d.is_ready(), "decided, but the rest has not ended");
        d.cancel();
        log.expect(&[]);
        triggers.pop().unwrap().fire(1);
        d.cancel();
        assert_eq!(outcome_of(d).take().unwrap(), "ok 2");
    });
}

#[test]
fn fact_104_differs_one_work_fills_two_places_when_it_is_shared() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let shared = d.shared();
        let seen = outcome_of(all([shared.wait(), shared.wait()]));
        trigger.fire(7);
        assert_eq!(seen.take().unwrap(), "ok [7, 7]");
    });
}

#[test]
fn fact_105_all_gives_the_values_alone_or_the_first_failure_and_can_be_cancelled() {
    checked(|_| {
        let (mut triggers, inputs) = some(2);
        let seen = outcome_of(all(inputs));
        triggers.pop().unwrap().fire(2);
        triggers.pop().unwrap().fire(1);
        assert_eq!(seen.take().unwrap(), "ok [1, 2]");

        let (mut triggers, inputs) = some(2);
        let seen = outcome_of(all(inputs));
        triggers.pop().unwrap().fail(Failure::msg("no"));
        assert_eq!(seen.take().unwrap(), "err no");

        let (triggers, inputs) = some(2);
        let d = all(inputs);
        d.cancel();
        assert!(triggers.iter().all(Trigger::is_cancelled));
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
    });
}

#[test]
fn fact_106_differs_a_failure_asks_the_siblings_to_end_and_waits_for_them() {
    checked(|_| {
        let (mut triggers, inputs) = slow(2);
        let seen = outcome_of(all(inputs));
        triggers.pop().unwrap().fail(Failure::msg("no"));
        assert!(triggers[0].is_cancelled());
        assert!(seen.is_empty(), "a sibling is still at work");
        drop(triggers);
        assert_eq!(seen.take().unwrap(), "err no");
    });
}

#[test]
fn fact_107_the_first_value_ends_the_others_and_all_failures_come_in_order() {
    checked(|_| {
        let (mut triggers, inputs) = slow(3);
        let seen = outcome_of(first_ok(inputs));
        triggers.remove(1).fire(2);
        assert!(triggers.iter().all(Trigger::is_cancelled));
        triggers.pop().unwrap().fire(3);
        triggers.pop().unwrap().fail(Failure::msg("late"));
        assert_eq!(seen.take().unwrap(), "ok 2", "late results are ignored");

        let (mut triggers, inputs) = some(2);
        let seen = outcome_of(first_ok(inputs));
        triggers.pop().unwrap().fail(Failure::msg("b"));
        triggers.pop().unwrap().fail(Failure::msg("a"));
        assert_eq!(seen.take().unwrap(), "err none of 2 succeeded: a; b");

        let (triggers, inputs) = some(2);
        let d = first_ok(inputs);
        d.cancel();
        assert!(triggers.iter().all(Trigger::is_cancelled));
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
    });
}

#[test]
fn fact_108_differs_the_winner_is_not_asked_and_only_first_ok_has_no_use_for_errors() {
    checked(|reports| {
        for ok_only in [true, false] {
            let log = Log::new();
            let (mut triggers, inputs) = some(2);
            triggers[0].on_cancel(log.noting("winner"));
            triggers[1].on_cancel(log.noting("loser"));
            let seen =
                if ok_only { outcome_of(first_ok(inputs)) } else { outcome_of(first(inputs)) };
            triggers.remove(0).fire(1);
            triggers.remove(0).fail(Failure::msg("loser"));
            log.expect(&["loser"]);
            assert_eq!(seen.take().unwrap(), "ok 1");
            reports.expect(if ok_only { &[] } else { &["loser"] });
        }
    });
}

#[test]
fn fact_109_attempt_makes_a_deferred_of_a_value_an_error_a_panic_or_a_deferred() {
    checked(|_| {
        let d = Deferred::<u8>::attempt(|| Ok(1));
        assert_eq!(outcome_of(d).take().unwrap(), "ok 1");
        let d = Deferred::<u8>::attempt(|| Err(Failure::msg("no")));
        assert_eq!(outcome_of(d).take().unwrap(), "err no");
        let d = Deferred::<u8>::attempt(|| -> Result<u8, Failure> { panic!("boom") });
        assert_eq!(outcome_of(d).take().unwrap(), "panicked: boom");
        let (trigger, inner) = Deferred::<u8>::new();
        let seen = outcome_of(Deferred::attempt(move || inner));
        trigger.fire(2);
        assert_eq!(seen.take().unwrap(), "ok 2");
        let d = Deferred::attempt(|| flow(async { Ok(3) }));
        assert_eq!(outcome_of(d).take().unwrap(), "ok 3");
    });
}

#[test]
fn fact_110_differs_any_future_becomes_a_deferred_when_it_is_asked_by_name() {
    checked(|_| {
        let d = Deferred::<u8>::from_future(std::future::ready(Ok(4)));
        assert_eq!(outcome_of(d).take().unwrap(), "ok 4");
    });
}

#[test]
fn fact_111_differs_attempt_waits_for_the_deferred_that_is_returned() {
    checked(|_| {
        let (trigger, inner) = Deferred::<u8>::new();
        let d: Deferred<u8> = Deferred::attempt(move || inner);
        assert!(!d.is_ready());
        trigger.settle(Outcome::Ok(5));
        assert_eq!(outcome_of(d).take().unwrap(), "ok 5");
    });
}
