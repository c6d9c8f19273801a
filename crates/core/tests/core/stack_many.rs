//! A million at once in constant stack (DESIGN.md §3.6): inputs, requests, members.

use std::cell::Cell;
use std::rc::Rc;

use thence_core::{
    Canceller, Deferred, Failure, Outcome, Scope, Trigger, all, all_settled, first, first_ok,
};

use crate::common::{a_million, on_a_small_stack};

fn many() -> (Vec<Trigger<usize>>, Vec<Deferred<usize>>) {
    (0..a_million()).map(|_| Deferred::new()).unzip()
}

fn fire(triggers: Vec<Trigger<usize>>) {
    triggers.into_iter().enumerate().for_each(|(n, trigger)| trigger.fire(n));
}

fn is_cancelled(d: Deferred<impl Sized + 'static>) {
    d.settled().done(|outcome| assert!(outcome.is_cancelled()));
}

#[test]
fn a_million_inputs_of_all_end() {
    on_a_small_stack(|| {
        let (triggers, inputs) = many();
        let d = all(inputs);
        fire(triggers);
        d.inspect(|values| assert!(values.iter().copied().eq(0..a_million()))).report();
    });
}

#[test]
fn one_failure_asks_the_rest_of_a_million_inputs_to_end() {
    on_a_small_stack(|| {
        let (mut triggers, inputs) = many();
        let d = all(inputs);
        triggers.swap_remove(a_million() / 2).fail(Failure::msg("asks all others"));
        assert!(triggers.iter().all(Trigger::is_cancelled));
        d.settled().done(|outcome| assert!(outcome.is_err()));
    });
}

#[test]
fn a_million_ready_inputs_of_all_end() {
    on_a_small_stack(|| {
        let d = all((0..a_million()).map(Deferred::<usize>::ok));
        d.inspect(|values| assert!(values.iter().copied().eq(0..a_million()))).report();
    });
}

#[test]
fn a_million_inputs_of_all_settled_end_in_every_way() {
    on_a_small_stack(|| {
        let (triggers, inputs) = many();
        let d = all_settled(inputs);
        for (n, trigger) in triggers.into_iter().enumerate() {
            match n % 3 {
                0 => trigger.fire(n),
                1 => trigger.fail(Failure::msg("told")),
                _ => drop(trigger),
            }
        }
        d.done(|outcomes| {
            assert_eq!(outcomes.len(), a_million());
            assert!(outcomes.iter().step_by(3).all(Outcome::is_ok));
        });
    });
}

#[test]
fn a_million_inputs_of_first_ok_fail_but_the_last() {
    on_a_small_stack(|| {
        let (mut triggers, inputs) = many();
        let d = first_ok(inputs);
        let last = triggers.pop().unwrap();
        triggers.into_iter().for_each(|trigger| trigger.fail(Failure::msg("passed over")));
        last.fire(7);
        d.inspect(|n| assert_eq!(*n, 7)).report();
    });
}

/// A million sources with a hook each, asked through what `gather` makes of them.
fn ask(gather: impl FnOnce(Vec<Deferred<usize>>) -> Deferred<usize> + Send + 'static) {
    on_a_small_stack(|| {
        let asked = Rc::new(Cell::new(0));
        let (triggers, inputs) = many();
        for trigger in &triggers {
            let asked = asked.clone();
            trigger.on_cancel(move || asked.set(asked.get() + 1));
        }
        let d = gather(inputs);
        d.cancel();
        assert_eq!(asked.get(), a_million());
        drop(triggers);
        is_cancelled(d);
    });
}

#[test]
fn a_request_reaches_a_million_inputs_of_all() {
    ask(|inputs| all(inputs).map(|values| values.len()));
}

#[test]
fn a_request_reaches_a_million_inputs_of_first() {
    ask(|inputs| first(inputs));
}

#[test]
fn a_million_requests_ask_each_once() {
    on_a_small_stack(|| {
        let asked = Rc::new(Cell::new(0));
        let count = asked.clone();
        let (trigger, d) = Deferred::<usize>::new();
        trigger.on_cancel(move || count.set(count.get() + 1));
        let canceller = d.canceller();
        for _ in 0..a_million() {
            canceller.clone().cancel();
        }
        assert_eq!(asked.take(), 1);
        drop(trigger);
        is_cancelled(d);

        let (triggers, ds) = many();
        ds.iter().map(Deferred::canceller).for_each(|canceller| canceller.cancel());
        assert!(triggers.iter().all(Trigger::is_cancelled));
        ds.into_iter().for_each(is_cancelled);
    });
}

#[test]
fn a_million_hooks_ask_one_another() {
    on_a_small_stack(|| {
        let (trigger, d) = Deferred::<usize>::new();
        let (mut triggers, mut next) = (vec![trigger], d.canceller());
        let mut ds = vec![d];
        for _ in 1..a_million() {
            let (trigger, d) = Deferred::new();
            let asks: Canceller = std::mem::replace(&mut next, d.canceller());
            trigger.on_cancel(move || asks.cancel());
            triggers.push(trigger);
            ds.push(d);
        }
        next.cancel();
        assert!(triggers.iter().all(Trigger::is_cancelled));
        drop(triggers);
        ds.into_iter().for_each(is_cancelled);
    });
}

fn a_scope_of_many() -> (Scope, Vec<Trigger<usize>>) {
    let (triggers, members) = many();
    let scope = Scope::new();
    members.into_iter().for_each(|d| scope.add(d));
    (scope, triggers)
}

#[test]
fn a_million_members_of_a_scope_end() {
    on_a_small_stack(|| {
        let (scope, triggers) = a_scope_of_many();
        let ended = scope.ended();
        fire(triggers);
        assert!(ended.is_ready());
        ended.done(drop);
    });
}

#[test]
fn a_million_members_of_a_scope_are_asked_to_end() {
    on_a_small_stack(|| {
        let (scope, triggers) = a_scope_of_many();
        scope.cancel();
        assert!(triggers.iter().all(Trigger::is_cancelled));
        assert_eq!(scope.live(), 0);
    });
}

#[test]
fn a_scope_of_a_million_is_dropped() {
    on_a_small_stack(|| {
        let (scope, triggers) = a_scope_of_many();
        let ended = scope.ended();
        drop(scope);
        assert!(triggers.iter().all(Trigger::is_cancelled));
        assert!(ended.is_ready());
        ended.done(drop);
    });
}

#[test]
fn a_million_scopes_stand_one_in_the_other() {
    on_a_small_stack(|| {
        let (trigger, d) = Deferred::<()>::new();
        let whole = (0..a_million()).fold(d, |d, _| {
            Scope::run(|scope| async move {
                scope.add(d);
                Ok(())
            })
        });
        trigger.fire(());
        assert!(whole.is_ready());
        whole.report();
    });
}
