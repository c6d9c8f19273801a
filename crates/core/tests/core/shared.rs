//! One work and many waiters (DESIGN.md §3.1, §3.4).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use thence_core::{Deferred, Failure, Kind, Outcome, Shared, Stop, Trigger, all, flow, hosting};

use crate::common::{Cell, Log, OnDrop, checked, outcome_of};

#[test]
fn every_waiter_has_a_copy_in_the_order_they_came_and_whoever_comes_late_too() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<String>::new();
        let shared = d.map(|text| text + "!").shared();
        for n in 0..3 {
            let seen = log.clone();
            shared.wait().map(move |text| seen.add(format!("{n} {text}"))).report();
        }
        assert_eq!((shared.waiting(), shared.is_ready()), (3, false));
        trigger.fire("beep".to_owned());
        log.expect(&["0 beep!", "1 beep!", "2 beep!"]);
        assert_eq!((shared.waiting(), shared.is_ready()), (0, true));
        assert_eq!(outcome_of(shared.clone().wait()).take().unwrap(), r#"ok "beep!""#);
        assert_eq!(outcome_of(Deferred::<u8>::ok(1).shared().wait()).take().unwrap(), "ok 1");
    });
}

#[test]
fn waiters_keep_their_order_however_many_steps_have_nothing_to_do() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let shared = d.shared();
        for n in 0..4_usize {
            let seen = log.clone();
            let d = (n..4).fold(shared.wait(), |d, _| d.map_err(|failure| failure));
            d.map(move |_| seen.add(n)).report();
        }
        trigger.fire(1);
        log.expect(&["0", "1", "2", "3"]);
    });
}

#[test]
fn waiters_that_go_on_take_turns_step_by_step() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let shared = d.shared();
        for n in 0..2 {
            let (one, two) = (log.clone(), log.clone());
            shared
                .wait()
                .inspect(move |_| one.add(format!("{n} one")))
                .inspect(move |_| two.add(format!("{n} two")))
                .report();
        }
        let seen = log.clone();
        Deferred::<()>::ok(())
            .map(move |()| {
                trigger.fire(1);
                seen.add("fired");
            })
            .report();
        log.expect(&["fired", "0 one", "1 one", "0 two", "1 two"]);
    });
}

#[test]
fn a_waiter_that_comes_while_the_copies_are_handed_out_is_last_in_line() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let shared = d.shared();
        for n in 0..2 {
            let (seen, again) = (log.clone(), shared.clone());
            shared
                .wait()
                .map(move |_| {
                    seen.add(n);
                    again.wait().map(move |_| seen.add(format!("{n} again"))).report();
                })
                .report();
        }
        trigger.fire(1);
        log.expect(&["0", "1", "0 again", "1 again"]);
    });
}

#[test]
fn a_waiter_that_left_is_passed_over_and_the_work_goes_on() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_cancel(log.noting("asked"));
        let seen = log.clone();
        let shared = d.inspect(move |_| seen.add("went on")).shared();
        let (first, second) = (shared.wait(), shared.wait());
        drop(first);
        assert_eq!(shared.waiting(), 1);
        drop(second);
        assert_eq!(shared.waiting(), 0);
        drop(shared);
        trigger.fire(1);
        log.expect(&["went on"]);
    });
}

#[test]
fn an_await_that_is_left_is_passed_over() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let shared = d.shared();
        let inside = shared.clone();
        let waiting = flow(async move { inside.wait().await });
        assert_eq!(shared.waiting(), 1);
        waiting.cancel();
        assert!(trigger.is_cancelled(), "it was the only one");
        assert_eq!(outcome_of(waiting).take().unwrap(), "cancelled");
    });
}

#[test]
fn one_of_several_that_asks_has_its_end_at_once_and_the_others_wait_on() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_cancel(log.noting("asked"));
        let shared = d.shared();
        let (one, other) = (shared.wait(), shared.wait());
        one.cancel();
        assert!(one.is_ready());
        assert_eq!(outcome_of(one).take().unwrap(), "cancelled");
        log.expect(&[]);
        assert!(!shared.is_cancelled());
        trigger.fire(1);
        assert_eq!(outcome_of(other).take().unwrap(), "ok 1");
    });
}

#[test]
fn the_last_request_is_passed_on_and_that_waiter_ends_with_the_work() {
    checked(|_| {
        for too_late in [false, true] {
            let log = Log::new();
            let (trigger, d) = Deferred::<u8>::new();
            trigger.on_cancel(log.noting("asked"));
            let shared = d.shared();
            let waiters: Vec<_> = (0..3).map(|_| shared.wait()).collect();
            waiters.iter().for_each(Deferred::cancel);
            log.expect(&["asked"]);
            assert!(shared.is_cancelled());
            let ready: Vec<_> = waiters.iter().map(Deferred::is_ready).collect();
            assert_eq!(ready, [true, true, false]);
            if too_late {
                trigger.fire(1);
            } else {
                drop(trigger);
            }
            let ends: Vec<_> = waiters.into_iter().map(|d| outcome_of(d).take().unwrap()).collect();
            let last = if too_late { "ok 1" } else { "cancelled" };
            assert_eq!(ends, ["cancelled", "cancelled", last]);
        }
    });
}

#[test]
fn the_request_is_passed_on_when_the_rest_has_left_in_whatever_order() {
    checked(|_| {
        for ask_first in [false, true] {
            let (trigger, d) = Deferred::<u8>::new();
            trigger.on_cancel(|| ());
            let shared = d.shared();
            let (asks, leaves) = (shared.wait(), shared.wait());
            if ask_first {
                asks.cancel();
                assert!(!trigger.is_cancelled());
                drop(leaves);
            } else {
                drop(leaves);
                assert!(!trigger.is_cancelled());
                asks.cancel();
            }
            assert!(trigger.is_cancelled());
            drop(trigger);
            assert_eq!(outcome_of(asks).take().unwrap(), "cancelled");
            assert_eq!(outcome_of(shared.wait()).take().unwrap(), "cancelled");
        }
    });
}

#[test]
fn whoever_comes_after_the_request_waits_for_the_same_end() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_cancel(|| ());
        let shared = d.shared();
        let asked = shared.wait();
        asked.cancel();
        let late = shared.wait();
        assert!(!late.is_ready());
        late.cancel();
        assert!(late.is_ready(), "another one waits");
        drop((late, trigger));
        assert_eq!(outcome_of(asked).take().unwrap(), "cancelled");
    });
}

#[test]
fn leaving_after_the_request_does_not_disturb_the_clean_up() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let (cleaned, clean_up) = Deferred::<u8>::new();
        let shared = d.then(move |_| clean_up).shared();
        let waiter = shared.wait();
        waiter.cancel();
        assert!(trigger.is_cancelled());
        drop(waiter);
        assert!(!cleaned.is_cancelled());
        cleaned.fire(2);
        assert_eq!(outcome_of(shared.wait()).take().unwrap(), "ok 2");
        drop(trigger);
    });
}

#[test]
fn an_error_that_no_waiter_took_is_reported_once_when_the_last_handle_goes() {
    checked(|reports| {
        for waiters_left in [0, 2] {
            let (trigger, d) = Deferred::<u8>::new();
            let shared = d.shared();
            let other = shared.clone();
            drop((0..waiters_left).map(|_| shared.wait()).collect::<Vec<_>>());
            trigger.fail(Failure::msg("nobody looks"));
            drop(other);
            assert!(reports.is_empty(), "somebody may still ask");
            drop(shared);
            reports.expect(&["nobody looks"]);
        }
        let (trigger, d) = Deferred::<u8>::new();
        drop(d.shared());
        trigger.fail(Failure::msg("nobody is left"));
        reports.expect(&["nobody is left"]);
    });
}

#[test]
fn an_error_is_each_waiters_own() {
    checked(|reports| {
        let (trigger, d) = Deferred::<u8>::new();
        let shared = d.shared();
        let handled = outcome_of(shared.wait());
        shared.wait().map(|_| ()).report();
        shared.wait().report();
        trigger.fail(Failure::msg("no"));
        assert_eq!(handled.take().unwrap(), "err no");
        reports.expect(&["no", "no"]);
        drop(shared.wait());
        reports.expect(&["no"]);
        assert_eq!(outcome_of(shared.wait().recover(|_| 5)).take().unwrap(), "ok 5");
        drop(shared);
    });
}

#[test]
fn a_trail_shows_the_way_to_the_fork_and_then_the_waiters_own_steps() {
    checked(|_| {
        let line = line!() + 1;
        let (trigger, d) = Deferred::<u8>::new();
        let mapped = d.map(|n| n);
        let shared = mapped.shared();
        let one = shared.wait();
        let other = shared.wait();
        let other = other.map(|n| n);
        trigger.fail(Failure::msg("no"));
        assert_eq!(lines_of(one, line), [0, 1, 2, 3]);
        assert_eq!(lines_of(other, line), [0, 1, 2, 4, 5]);
    });
}

/// The lines of a failure's trail, counted from `line`.
fn lines_of(d: Deferred<u8>, line: u32) -> Vec<u32> {
    let kept = Cell::new();
    let inside = kept.clone();
    d.or_else(move |failure| {
        let lines = failure.sites().map(|site| site.line() - line);
        inside.put(lines.collect::<Vec<_>>());
        Ok::<_, Failure>(0)
    })
    .report();
    kept.take().unwrap()
}

#[test]
fn other_errors_keep_both_ends_of_their_trail() {
    checked(|reports| {
        let first = line!() + 1;
        let (trigger, d) = Deferred::<u8, std::fmt::Error>::with_error();
        let shared = d.shared();
        let waiter = shared.wait();
        let last = line!() + 1;
        waiter.report();
        trigger.fail(std::fmt::Error);
        let report = reports.take().pop().unwrap();
        let lines: Vec<u32> = report.steps().iter().map(|step| step.site.line()).collect();
        assert_eq!(lines, [first, last]);
    });
}

#[test]
fn stops_reach_every_waiter_and_are_reported_once_an_end() {
    checked(|reports| {
        for panics in [false, true] {
            let (trigger, d) = Deferred::<u8>::new();
            let shared = d.inspect(|_| panic!("boom")).shared();
            let asked = outcome_of(shared.wait());
            shared.wait().report();
            shared.wait().map(|_| ()).report();
            let (kind, end) = if panics {
                trigger.fire(1);
                (Kind::Panicked, "panicked: boom")
            } else {
                drop(trigger);
                (Kind::Lost, "lost")
            };
            assert_eq!(asked.take().unwrap(), end);
            reports.expect_kinds(&[kind, kind]);
            drop(shared);
            assert!(reports.is_empty());
        }
        let (trigger, d) = Deferred::<u8>::new();
        let shared = d.shared();
        drop(trigger);
        drop(shared);
        reports.expect_kinds(&[Kind::Lost]);
    });
}

/// A source whose value goes into the cell when nobody takes it.
fn stream() -> (Trigger<u8>, Deferred<u8>, Cell<u8>) {
    let (trigger, d) = Deferred::<u8>::new();
    let back = Cell::new();
    let taken = back.clone();
    trigger.on_unclaimed(move |n| taken.put(n));
    (trigger, d, back)
}

#[test]
fn a_value_that_nobody_took_goes_back_where_it_came_from() {
    checked(|_| {
        // No waiter ever.
        let (trigger, d, back) = stream();
        let shared = d.shared();
        trigger.fire(7);
        assert!(back.is_empty(), "somebody may still ask");
        drop(shared);
        assert_eq!(back.take(), Some(7));

        // All waiters left, before and after the end.
        let (trigger, d, back) = stream();
        let shared = d.shared();
        let (before, after) = (shared.wait(), shared.wait());
        drop(before);
        trigger.fire(7);
        drop(after);
        let late = shared.wait();
        drop(shared);
        assert!(back.is_empty());
        drop(late);
        assert_eq!(back.take(), Some(7));

        // Ended when it is shared.
        let (trigger, d, back) = stream();
        trigger.fire(7);
        drop(d.shared());
        assert_eq!(back.take(), Some(7));

        // One waiter took it.
        let (trigger, d, back) = stream();
        let shared = d.shared();
        drop(shared.wait());
        let end = outcome_of(shared.wait().map(|n| n + 1));
        let unclaimed = shared.wait();
        trigger.fire(7);
        assert_eq!(end.take().unwrap(), "ok 8");
        drop((shared, unclaimed));
        assert!(back.is_empty());
    });
}

#[test]
fn a_clone_that_panics_is_the_end_of_its_waiter_alone() {
    #[derive(Debug)]
    struct Touchy(Rc<RefCell<u8>>);
    impl Clone for Touchy {
        fn clone(&self) -> Self {
            let mut clones = self.0.borrow_mut();
            *clones += 1;
            let n = *clones;
            drop(clones);
            assert!(n != 2, "touchy");
            Self(self.0.clone())
        }
    }
    checked(|_| {
        let (trigger, d) = Deferred::<Touchy>::new();
        let shared = d.shared();
        let ends: Vec<_> = (0..3).map(|_| outcome_of(shared.wait().map(|_| ()))).collect();
        trigger.fire(Touchy(Rc::default()));
        let ends: Vec<_> = ends.iter().map(|end| end.take().unwrap()).collect();
        assert_eq!(ends, ["ok ()", "panicked: touchy", "ok ()"]);
    });
}

#[test]
fn a_clone_may_wait_leave_and_ask() {
    struct Meddler(Cell<Shared<Meddler>>, Cell<Deferred<Meddler>>, Log);
    impl Clone for Meddler {
        fn clone(&self) -> Self {
            if let Some(shared) = self.0.take() {
                drop(self.1.take());
                let seen = self.2.clone();
                shared.wait().map(move |_| seen.add("late")).report();
            }
            Self(self.0.clone(), self.1.clone(), self.2.clone())
        }
    }
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<Meddler>::new();
        let shared = d.shared();
        let (kept, leaves) = (Cell::new(), Cell::new());
        let seen = log.clone();
        shared.wait().map(move |_| seen.add("first")).report();
        leaves.put(shared.wait());
        let seen = log.clone();
        shared.wait().map(move |_| seen.add("third")).report();
        kept.put(shared.clone());
        trigger.fire(Meddler(kept, leaves, log.clone()));
        log.expect(&["first", "third", "late"]);
    });
}

#[test]
fn a_waiter_may_ask_for_another_ones_end_while_both_are_served() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let shared = d.shared();
        let canceller = Cell::<thence_core::Canceller>::new();
        let inside = canceller.clone();
        shared.wait().map(move |_| inside.take().unwrap().cancel()).report();
        let other = shared.wait();
        canceller.put(other.canceller());
        trigger.fire(1);
        assert_eq!(outcome_of(other).take().unwrap(), "ok 1", "it was too late");
    });
}

#[test]
fn waiters_do_not_keep_a_work_that_nobody_can_end() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let log = Log::new();
        let noted = OnDrop::new(log.noting("freed"));
        let shared = d.map(move |n| (n, Rc::new(noted)).0).shared();
        let waiter = outcome_of(shared.wait());
        drop(shared);
        drop(trigger);
        log.expect(&["freed"]);
        assert_eq!(waiter.take().unwrap(), "lost");
        assert_eq!(hosting::live(), hosting::Live::default());
    });
}

#[test]
fn combinators_take_waiters() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let shared = d.shared();
        let twice = outcome_of(all([shared.wait(), shared.wait()]));
        let inside = shared.clone();
        let sum = flow(async move { Ok(inside.wait().await? + inside.wait().await?) });
        trigger.fire(4);
        assert_eq!(twice.take().unwrap(), "ok [4, 4]");
        assert_eq!(outcome_of(sum).take().unwrap(), "ok 8");

        let (trigger, d) = Deferred::<u8>::new();
        let shared = d.shared();
        let cut = all([shared.wait(), shared.wait()]);
        cut.cancel();
        assert!(trigger.is_cancelled(), "all of its waiters were asked");
        assert_eq!(outcome_of(cut).take().unwrap(), "cancelled");
    });
}

type Flights = Rc<RefCell<HashMap<&'static str, Shared<u8>>>>;

fn single(
    flights: &Flights,
    key: &'static str,
    fetch: impl FnOnce() -> Deferred<u8>,
) -> Deferred<u8> {
    if let Some(flight) = flights.borrow().get(key).filter(|flight| !flight.is_cancelled()) {
        return flight.wait();
    }
    let all = flights.clone();
    let flight = fetch().finally(move || drop(all.borrow_mut().remove(key))).shared();
    if !flight.is_ready() {
        flights.borrow_mut().insert(key, flight.clone());
    }
    flight.wait()
}

#[test]
fn many_who_ask_for_one_key_cause_one_fetch() {
    checked(|_| {
        let flights = Flights::default();
        let fetches = Rc::new(RefCell::new(Vec::new()));
        let ask = |key| {
            let fetches = fetches.clone();
            single(&flights, key, move || {
                let (trigger, d) = Deferred::new();
                trigger.on_cancel(|| ());
                fetches.borrow_mut().push(trigger);
                d
            })
        };
        let ends: Vec<_> = ["a", "a", "b", "a"].map(|key| outcome_of(ask(key))).into();
        assert_eq!(fetches.borrow().len(), 2);
        for (n, trigger) in (1..).zip(fetches.take()) {
            trigger.fire(n);
        }
        let ends: Vec<_> = ends.iter().map(|end| end.take().unwrap()).collect();
        assert_eq!(ends, ["ok 1", "ok 1", "ok 2", "ok 1"]);
        assert!(flights.borrow().is_empty(), "the keys are forgotten");

        // One that was asked to end is not joined.
        let cut = ask("a");
        cut.cancel();
        let fresh = outcome_of(ask("a"));
        assert_eq!(fetches.borrow().len(), 2);
        fetches.borrow_mut().pop().unwrap().fire(9);
        assert_eq!(fresh.take().unwrap(), "ok 9");
        drop(fetches.take());
        assert_eq!(outcome_of(cut).take().unwrap(), "cancelled");
        assert!(flights.borrow().is_empty());
    });
}

#[test]
fn a_ready_fetch_is_forgotten_too_inside_a_callback_and_outside() {
    checked(|_| {
        let flights = Flights::default();
        assert_eq!(outcome_of(single(&flights, "a", || Deferred::ok(1))).take().unwrap(), "ok 1");
        assert!(flights.borrow().is_empty());

        let inside = flights.clone();
        let count = Log::new();
        let fetched = count.clone();
        let d = Deferred::<()>::ok(()).and_then(move |()| {
            let ask = || {
                let fetched = fetched.clone();
                single(&inside, "a", move || {
                    fetched.add("fetch");
                    Deferred::ok(1)
                })
            };
            all([ask(), ask()])
        });
        assert_eq!(outcome_of(d).take().unwrap(), "ok [1, 1]");
        count.expect(&["fetch"]);
        assert!(flights.borrow().is_empty());
    });
}

#[test]
fn a_shared_one_is_settled_like_any_other() {
    checked(|_| {
        let shared = Deferred::<u8>::ended(Outcome::Stop(Stop::Cancelled)).shared();
        assert!(shared.is_ready());
        assert_eq!(outcome_of(shared.wait()).take().unwrap(), "cancelled");
        assert_eq!(format!("{shared:?}"), "Shared { ready: true, waiting: 0, .. }");
    });
}
