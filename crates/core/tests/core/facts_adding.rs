//! Facts 14 to 26 of docs/from-twisted.md: adding steps, and their order.
//!
//! | fact | why it has no test here |
//! |---|---|
//! | 24 | does not compile: what cannot be called is no `FnOnce` (E0277) |
//! | 26 | Python's affair: there is no list of callbacks to see |

use std::rc::Rc;

use thence_core::{Deferred, Failure, Never};

use crate::common::{Cell, Log, checked, outcome_of};

#[test]
fn fact_14_differs_a_step_consumes_the_deferred_and_gives_one_of_another_type() {
    checked(|_| {
        let d: Deferred<u8> = Deferred::ok(7);
        let d: Deferred<String> = d.map(|n| n.to_string());
        let d: Deferred<usize, Never> = d.map(|text| text.len()).recover(|_| 0);
        d.done(|n| assert_eq!(n, 1));
    });
}

#[test]
fn fact_15_on_a_fired_one_a_callback_runs_at_once() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8, Never>::with_error();
        trigger.fire(1);
        let seen = log.clone();
        d.done(move |n| seen.add(n));
        log.expect(&["1"]);
        let (trigger, d) = Deferred::<u8>::new();
        trigger.fail(Failure::msg("no"));
        let seen = log.clone();
        d.recover(move |failure| {
            seen.add(failure);
            0
        })
        .done(drop);
        log.expect(&["no"]);
    });
}

#[test]
fn fact_16_callbacks_run_in_order_each_with_the_last_ones_value() {
    checked(|_| {
        let log = Log::new();
        let (trigger, mut d) = Deferred::<u8>::new();
        for _ in 0..3 {
            let seen = log.clone();
            d = d.map(move |n| {
                seen.add(n);
                n + 1
            });
        }
        trigger.fire(1);
        log.expect(&["1", "2", "3"]);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 4");
    });
}

#[test]
fn fact_17_a_closure_has_what_it_captured_beside_the_value() {
    checked(|_| {
        let (extra, named) = (String::from("extra"), 3);
        let (trigger, d) = Deferred::<u8>::new();
        let d = d.map(move |n| format!("{n} {extra} {named}"));
        trigger.fire(1);
        assert_eq!(outcome_of(d).take().unwrap(), r#"ok "1 extra 3""#);
    });
}

#[test]
fn fact_18_without_a_branch_for_errors_they_pass() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let (one, two) = (log.clone(), log.clone());
        let d = d.map(move |_| one.add("map")).and_then(move |()| {
            two.add("and_then");
            Ok(())
        });
        trigger.fail(Failure::msg("through"));
        assert_eq!(outcome_of(d).take().unwrap(), "err through");
        log.expect(&[]);
    });
}

#[test]
fn fact_19_a_lane_that_nobody_handles_hands_on_the_identical_object() {
    checked(|_| {
        // Neither `Clone` nor wrapped: the address of what is boxed stays.
        let value = Box::new(5_u8);
        let address = std::ptr::from_ref(&*value).addr();
        let (trigger, d) = Deferred::<Box<u8>>::new();
        let d = d.map_err(|e| e).or_else(Err::<_, Failure>).recover(|_| Box::new(0));
        trigger.fire(value);
        d.done(move |value| assert_eq!(std::ptr::from_ref(&*value).addr(), address));

        let error = std::io::Error::other("boxed");
        let address = std::ptr::from_ref(error.get_ref().unwrap()).addr();
        let (trigger, d) = Deferred::<u8, std::io::Error>::with_error();
        let d = d.map(|n| n + 1).and_then(Ok).inspect(|_| ());
        trigger.fail(error);
        d.recover(move |error| {
            assert_eq!(std::ptr::from_ref(error.get_ref().unwrap()).addr(), address);
            0
        })
        .done(drop);
    });
}

#[test]
fn fact_20_a_branch_does_not_see_the_error_of_its_other_side_and_the_next_step_does() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let (own, next) = (log.clone(), log.clone());
        d.branch(
            |_| Err::<u8, _>(Failure::msg("of ok")),
            move |failure| {
                own.add("own side");
                Err(failure)
            },
        )
        .recover(move |failure| {
            next.add(failure);
            0
        })
        .done(drop);
        trigger.fire(1);
        log.expect(&["of ok"]);
    });
}

#[test]
fn fact_21_what_a_callback_attaches_queues_behind_what_was_queued() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let (other, e) = Deferred::<u8>::new();
        let seen = log.clone();
        e.map(move |_| seen.add("queued before")).report();
        let seen = log.clone();
        d.map(move |_| {
            other.fire(0);
            let added = seen.clone();
            Deferred::<u8>::ok(0).map(move |_| added.add("attached")).report();
            seen.add("callback ends");
        })
        .report();
        trigger.fire(1);
        log.expect(&["callback ends", "queued before", "attached"]);
    });
}

#[test]
fn fact_22_an_error_or_a_panic_in_a_callback_added_inside_one_reaches_its_chain() {
    checked(|_| {
        let cells = Cell::new();
        let kept = cells.clone();
        let (trigger, d) = Deferred::<u8>::new();
        d.map(move |n| {
            let failing = Deferred::<u8>::ok(n).and_then(|_| Err::<u8, _>(Failure::msg("inside")));
            let panicking = Deferred::<u8>::ok(n).map(|_| -> u8 { panic!("in there") });
            kept.put((outcome_of(failing), outcome_of(panicking)));
        })
        .report();
        trigger.fire(1);
        let (failing, panicking) = cells.take().unwrap();
        assert_eq!(failing.take().unwrap(), "err inside");
        assert_eq!(panicking.take().unwrap(), "panicked: in there");
    });
}

#[test]
fn fact_23_a_closure_is_freed_by_its_run_even_if_the_deferred_is_kept() {
    checked(|_| {
        let owned = Rc::new(());
        let (trigger, d) = Deferred::<u8>::new();
        let inside = owned.clone();
        let kept = d.map(move |n| {
            let _ = &inside;
            n
        });
        let passed = owned.clone();
        let kept = kept.map_err(move |e| {
            let _ = &passed;
            e
        });
        assert_eq!(Rc::strong_count(&owned), 3);
        trigger.fire(1);
        assert_eq!(Rc::strong_count(&owned), 1);
        drop(kept);
    });
}

#[test]
fn fact_25_the_same_function_may_be_added_any_number_of_times() {
    fn twice(n: u32) -> u32 {
        n * 2
    }
    checked(|_| {
        let plus = |n: u32| n + 1;
        let (trigger, d) = Deferred::<u32>::new();
        let d = d.map(twice).map(twice).map(plus).map(plus);
        trigger.fire(1);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 6");
    });
}
