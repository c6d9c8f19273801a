//! Programs that the model test found, in the smallest form that shows what was wrong.

use std::cell::RefCell;

use thence_core::{Deferred, Ends, Failure, Fault, Scope, Step, Trigger, all, first, flow, join};

use crate::common::{Cell, Log, OnDrop, checked, outcome_of};

#[test]
fn an_error_that_a_panicking_inspect_err_looked_at_is_told() {
    checked(|reports| {
        let (trigger, d) = Deferred::<u8>::new();
        let d = d.inspect_err(|_| panic!("looking"));
        trigger.fail(Failure::msg("looked at"));
        reports.expect(&["looked at"]);
        assert_eq!(outcome_of(d).take().unwrap(), "panicked: looking");
    });
}

#[test]
fn of_inputs_that_have_ended_the_first_is_the_first() {
    checked(|_| {
        let back = Cell::new();
        let kept = back.clone();
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_unclaimed(move |n| kept.put(n));
        trigger.fire(7);
        // A value with a way back is handed on, a ready one is there at once.
        assert_eq!(outcome_of(first([d, Deferred::ok(8)])).take().unwrap(), "ok 7");
        assert!(back.is_empty());
    });
}

#[test]
fn an_await_that_a_request_ends_with_a_value_gives_it_to_the_flow() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let held = Cell::new();
        let too_late = held.clone();
        trigger.on_cancel(move || {
            let trigger: Trigger<u8> = too_late.take().unwrap();
            trigger.fire(7);
        });
        held.put(trigger);
        let seen = Cell::new();
        let kept = seen.clone();
        Deferred::<()>::ok(())
            .map(move |()| {
                let f = flow(async move { d.await });
                // It was asked before its first poll.
                f.cancel();
                kept.put(outcome_of(f));
            })
            .report();
        assert_eq!(seen.take().unwrap().take().unwrap(), "ok 7");
    });
}

#[test]
fn what_is_left_while_a_request_is_on_its_way_is_told_at_that_instant() {
    checked(|reports| {
        let held = Cell::<Deferred<u8>>::new();
        let (trigger, d) = Deferred::<u8>::new();
        let own = Cell::new();
        let (left, failing, told) = (held.clone(), own.clone(), reports.clone());
        trigger.on_cancel(move || {
            let trigger: Trigger<u8> = failing.take().unwrap();
            trigger.fail(Failure::msg("told"));
            drop(left.take());
            told.expect(&["told"]);
        });
        own.put(trigger);
        let canceller = d.canceller();
        held.put(d);
        canceller.cancel();
    });
}

#[test]
fn ends_are_handed_on_in_their_order_however_long_the_way() {
    checked(|_| {
        let log = Log::new();
        let (winner, w) = Deferred::<u8>::new();
        let (a, d) = Deferred::<u8>::new();
        let (b, e) = Deferred::<u8>::new();
        // The winner stops both, the first of them with steps to pass through.
        let d = d.map(|n| n).map(|n| n).finally(log.noting("first"));
        let e = e.finally(log.noting("second"));
        let end = outcome_of(first([w, d, e]));
        winner.fire(7);
        log.expect(&["first", "second"]);
        assert_eq!(end.take().unwrap(), "ok 7");
        drop((a, b));
    });
}

#[test]
fn ends_that_nobody_takes_are_told_in_their_order() {
    checked(|_| {
        let log = Log::new();
        let value = |text: &'static str| Some(OnDrop::new(log.noting(text)));
        let (first, second) = (value("first"), value("second"));
        let (a, d) = Deferred::<Option<OnDrop<_>>>::new();
        let (b, e) = Deferred::<Option<OnDrop<_>>>::new();
        let (outer, f) = Deferred::<u8>::new();
        drop((d, e, f));
        // While one is told, two more end.
        outer.on_unclaimed(move |_| {
            a.fire(first);
            b.fire(second);
        });
        outer.fire(1);
        log.expect(&["first", "second"]);
    });
}

#[test]
fn a_join_that_fails_at_once_gives_back_before_any_callback_runs() {
    checked(|_| {
        let log = Log::new();
        let back = log.clone();
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_unclaimed(move |n| back.add(format!("back {n}")));
        let own = Cell::new();
        let (too_late, next) = (own.clone(), Cell::new());
        let (other, e) = Deferred::<u8>::new();
        next.put(other);
        let seen = log.clone();
        e.map(move |_| seen.add("callback")).report();
        trigger.on_cancel(move || {
            let trigger: Trigger<u8> = too_late.take().unwrap();
            trigger.fire(7);
            next.take().unwrap().fire(1);
        });
        own.put(trigger);
        let joined = join((d, Deferred::<u8>::err(Failure::msg("no"))));
        log.expect(&["back 7", "callback"]);
        assert_eq!(outcome_of(joined).take().unwrap(), "err no");
    });
}

#[test]
fn a_step_that_returns_the_far_end_of_its_own_long_chain_is_lost_at_once() {
    checked(|reports| {
        let end = Cell::new();
        let returned = end.clone();
        let (trigger, d) = Deferred::<u8>::new();
        let step = d.and_then(move |_| -> Deferred<u8> { returned.take().unwrap() });
        end.put((0..100).fold(step, |d, _| d.map(|n| n)));
        trigger.fire(1);
        reports.expect(&["lost: nothing is left that could finish it"]);
    });
}

/// Runs `hook` while a request is on its way, in the middle of what is handed on.
fn while_handing_on(hook: impl FnOnce() + 'static) {
    let (trigger, d) = Deferred::<u8>::new();
    trigger.on_cancel(hook);
    drop(all([d, Deferred::err(Failure::msg("no"))]).recover(|_| Vec::new()));
    drop(trigger);
}

#[test]
fn dropping_one_that_waits_to_be_handed_on_keeps_the_others_in_their_place() {
    checked(|_| {
        let log = Log::new();
        let (one, left) = Deferred::<u8>::new();
        let (two, d) = Deferred::<u8>::new();
        let (back, seen) = (log.clone(), log.clone());
        one.on_unclaimed(move |n| back.add(format!("back {n}")));
        d.map(move |n| seen.add(n)).report();
        while_handing_on(move || {
            one.fire(1);
            two.fire(2);
            drop(left);
        });
        log.expect(&["back 1", "2"]);
    });
}

#[test]
fn a_step_on_one_that_waits_to_be_handed_on_keeps_the_others_in_their_place() {
    checked(|_| {
        let log = Log::new();
        let (one, d) = Deferred::<u8>::new();
        let (two, e) = Deferred::<u8>::new();
        one.on_unclaimed(|_| ());
        let (first, second) = (log.clone(), log.clone());
        e.map(move |n| second.add(n)).report();
        while_handing_on(move || {
            one.fire(1);
            two.fire(2);
            d.shield().map(move |n| first.add(n)).report();
        });
        log.expect(&["1", "2"]);
    });
}

#[test]
fn a_scope_asks_its_members_in_the_order_they_were_added() {
    checked(|_| {
        let log = Log::new();
        let scope = Scope::new();
        let member = |n: u8| {
            let (trigger, d) = Deferred::<u8>::new();
            let seen = log.clone();
            trigger.on_cancel(move || seen.add(n));
            scope.add(d);
            trigger
        };
        let (ends, stays) = (member(1), member(2));
        ends.fire(0);
        let last = member(3);
        scope.cancel();
        log.expect(&["2", "3"]);
        drop((stays, last));
    });
}

#[test]
fn what_first_gives_up_inside_another_drop_is_told_in_the_order_it_arrives() {
    checked(|reports| {
        let log = Log::new();
        let (fails, d) = Deferred::<u8>::new();
        let (yields, e) = Deferred::<u8>::new();
        fails.on_cancel(|| ());
        yields.on_cancel(|| ());
        let (back, told) = (log.clone(), reports.clone());
        yields.on_unclaimed(move |n| back.add(format!("back {n} after {} reports", told.len())));
        let end = outcome_of(first([Deferred::ok(1), d, e]));
        let (outer, left) = Deferred::<u8>::new();
        drop(left);
        outer.on_unclaimed(move |_| {
            fails.fail(Failure::msg("too late"));
            yields.fire(2);
        });
        outer.fire(0);
        log.expect(&["back 2 after 1 reports"]);
        reports.expect(&["too late"]);
        assert_eq!(end.take().unwrap(), "ok 1");
    });
}

#[test]
fn a_returned_forwarder_whose_source_ends_at_the_request_is_waited_for() {
    checked(|_| {
        let (first, d) = Deferred::<u8>::new();
        let (_source, inner) = Deferred::<u8>::new();
        let (second, e) = Deferred::<u8>::new();
        let forwards = d.and_then(move |_| inner);
        first.fire(1);
        let asked = e.and_then(move |_| forwards);
        let seen = Cell::new();
        let kept = seen.clone();
        Deferred::<()>::ok(())
            .map(move |()| {
                second.fire(2);
                // It was asked before it ran, so what it returns is asked too, and ends at once.
                asked.cancel();
                kept.put(asked);
            })
            .report();
        assert_eq!(outcome_of(seen.take().unwrap()).take().unwrap(), "cancelled");
    });
}

/// An error that acts when it is told of a step.
struct Acting(RefCell<Option<Box<dyn FnOnce()>>>);

impl Acting {
    fn once(act: impl FnOnce() + 'static) -> Self {
        Self(RefCell::new(Some(Box::new(act))))
    }
}

impl Fault for Acting {
    type Trail = Ends;
    type Awaited<T> = Result<T, Self>;

    fn passed(&mut self, trail: &mut Ends, step: Step) {
        trail.push(step);
        if let Some(act) = self.0.take() {
            act();
        }
    }

    fn message(&self) -> String {
        "acting".to_owned()
    }

    fn steps(&self, trail: &Ends) -> Vec<Step> {
        trail.steps()
    }

    fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
        result
    }
}

#[test]
fn what_an_error_fires_when_it_is_made_ready_has_run_before_that_returns() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let seen = log.clone();
        d.map(move |n| seen.add(n)).report();
        let failed = Deferred::<u8, Acting>::err(Acting::once(move || trigger.fire(1)));
        log.expect(&["1"]);
        failed.recover(|_| 0).done(drop);
    });
}

#[test]
fn an_error_is_told_of_its_step_before_what_that_step_fired_runs() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let (seen, told) = (log.clone(), log.clone());
        d.map(move |n| seen.add(n)).report();
        let failed = Deferred::<u8, Acting>::ok(0).and_then(move |_| {
            trigger.fire(1);
            Err::<u8, _>(Acting::once(move || told.add("told")))
        });
        log.expect(&["told", "1"]);
        failed.recover(|_| 0).done(drop);
    });
}

#[test]
fn a_step_that_returns_what_has_failed_is_on_the_trail_though_it_ran_at_once() {
    checked(|reports| {
        let (trigger, d) = Deferred::<u8>::new();
        trigger.fail(Failure::msg("no"));
        let line = line!() + 1;
        let failed = Deferred::<u8>::ok(0).and_then(move |_| d);
        failed
            .recover(move |failure| {
                assert!(failure.steps().any(|step| step.site.line() == line));
                0
            })
            .done(drop);
        reports.expect(&[]);
    });
}

#[test]
fn a_destructor_that_panics_in_a_scope_keeps_nobody_from_its_end() {
    checked(|reports| {
        let scope = Scope::new();
        let (trigger, d) = Deferred::<Option<OnDrop<_>>>::new();
        scope.add(d);
        let ended = outcome_of(scope.ended().map_err(|never| match never {}));
        trigger.fire(Some(OnDrop::new(|| panic!("in a destructor"))));
        assert_eq!(ended.take().unwrap(), "ok ()");
        reports.expect(&["panicked in a destructor or a hook: in a destructor"]);
    });
}

#[test]
fn a_destructor_that_fires_does_so_with_the_queue_held_though_its_value_was_ready() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let (seen, dropped) = (log.clone(), log.clone());
        d.map(move |n| seen.add(n)).report();
        let value = OnDrop::new(move || {
            trigger.fire(1);
            dropped.add("dropped");
        });
        Deferred::<_>::ok(value).report();
        log.expect(&["dropped", "1"]);
    });
}

#[test]
fn what_a_dropped_closure_fires_is_handed_on_before_its_step() {
    checked(|_| {
        let log = Log::new();
        let (own, d) = Deferred::<u8>::new();
        let (other, e) = Deferred::<u8>::new();
        let (first, second) = (log.clone(), log.clone());
        let fires = OnDrop::new(move || other.fire(1));
        e.map(move |n| first.add(n)).report();
        d.or_else(move |error| {
            drop(fires);
            Err::<u8, _>(error)
        })
        .map(move |n| second.add(n))
        .report();
        own.fire(2);
        log.expect(&["1", "2"]);
    });
}

#[test]
fn a_flow_that_a_hook_starts_waits_behind_what_it_fired() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let (fired, started) = (log.clone(), log.clone());
        d.map(move |n| fired.add(n)).report();
        while_handing_on(move || {
            trigger.fire(1);
            flow(async move {
                started.add("flow");
                Ok(())
            })
            .report();
        });
        log.expect(&["1", "flow"]);
    });
}

#[test]
fn a_step_on_a_ready_value_in_a_hook_waits_behind_what_that_fired() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let (fired, ready) = (log.clone(), log.clone());
        d.map(move |n| fired.add(n)).report();
        while_handing_on(move || {
            trigger.fire(1);
            Deferred::<u8>::ok(2).map(move |n| ready.add(n)).report();
        });
        log.expect(&["1", "2"]);
    });
}
