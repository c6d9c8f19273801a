//! The firing rule (DESIGN.md §3.2).

use thence_core::{Deferred, Failure, Never, Trigger, flow, hosting};

use crate::common::{Cell, Log, OnDrop, checked, outcome_of};

/// A chain whose steps note their name and number.
fn noting(name: &str, steps: usize, log: &Log) -> (Trigger<(), Never>, Deferred<(), Never>) {
    let (trigger, d) = Deferred::infallible();
    let d = (0..steps).fold(d, |d, n| {
        let (log, what) = (log.clone(), format!("{name}{n}"));
        d.map(move |()| log.add(what))
    });
    (trigger, d)
}

#[test]
fn two_chains_fired_in_one_callback_interleave_step_by_step() {
    checked(|_| {
        let log = Log::new();
        let (a, d) = noting("a", 3, &log);
        let (b, e) = noting("b", 2, &log);
        let (go, f) = Deferred::<(), Never>::infallible();
        f.done(move |()| {
            a.fire(());
            b.fire(());
        });
        go.fire(());
        log.expect(&["a0", "b0", "a1", "b1", "a2"]);
        d.done(drop);
        e.done(drop);
    });
}

#[test]
fn handing_a_value_on_is_no_callback() {
    checked(|_| {
        let log = Log::new();
        // Ten lanes passed through, and then one step, against a chain of one step before it.
        let (a, d) = Deferred::<()>::new();
        let mut d = d.map_err(|e| e);
        for _ in 0..10 {
            d = d.or_else(Err::<(), Failure>);
        }
        let seen = log.clone();
        d.inspect(move |()| seen.add("a")).report();
        let (b, e) = noting("b", 2, &log);
        e.done(drop);
        let hold = hosting::hold();
        a.fire(());
        b.fire(());
        drop(hold);
        assert_eq!(hosting::run_queue(1), 1);
        log.expect(&["a"]);
        assert_eq!(hosting::run_queue(9), 3);
        log.expect(&["b0", "b1"]);
    });
}

#[test]
fn a_returned_deferred_hands_its_value_on_in_no_callback() {
    checked(|_| {
        let log = Log::new();
        let seen = log.clone();
        let (a, inner) = Deferred::<()>::new();
        // Returned through ten steps, and then one callback.
        let inner = (0..10).fold(inner, |d, _| {
            let (go, outer) = Deferred::<()>::new();
            let outer = outer.and_then(move |()| d);
            go.fire(());
            outer
        });
        inner.map(move |()| seen.add("a")).report();
        let (b, d) = noting("b", 1, &log);
        let hold = hosting::hold();
        a.fire(());
        b.fire(());
        drop(hold);
        assert_eq!(hosting::run_queue(9), 2);
        log.expect(&["a", "b0"]);
        d.done(drop);
    });
}

#[test]
fn under_a_hold_nothing_runs_and_the_queue_keeps_its_order() {
    checked(|_| {
        let log = Log::new();
        let (a, d) = noting("a", 2, &log);
        let (b, e) = noting("b", 1, &log);
        let hold = hosting::hold();
        let inner = hosting::hold();
        b.fire(());
        a.fire(());
        drop(inner);
        log.expect(&[]);
        assert!(!hosting::queue_is_empty());
        drop(hold);
        log.expect(&[]);
        assert_eq!(hosting::run_queue(100), 3);
        log.expect(&["b0", "a0", "a1"]);
        d.done(drop);
        e.done(drop);
    });
}

#[test]
fn a_budget_cuts_the_queue_anywhere_without_changing_the_order() {
    checked(|_| {
        let run = |budget: usize| {
            let log = Log::new();
            let chains: Vec<_> = ["a", "b", "c"].iter().map(|name| noting(name, 4, &log)).collect();
            let hold = hosting::hold();
            let ends: Vec<_> = chains
                .into_iter()
                .map(|(trigger, d)| {
                    trigger.fire(());
                    d
                })
                .collect();
            drop(hold);
            while hosting::run_queue(budget) > 0 {}
            drop(ends);
            log.take()
        };
        let whole = run(usize::MAX);
        assert_eq!(whole.len(), 12);
        for budget in 1..=12 {
            assert_eq!(run(budget), whole, "budget {budget}");
        }
    });
}

#[test]
fn what_is_left_of_a_budget_goes_before_what_is_fired_later() {
    checked(|_| {
        let log = Log::new();
        let (a, d) = noting("a", 1, &log);
        let (b, e) = noting("b", 1, &log);
        let (c, f) = noting("c", 1, &log);
        let hold = hosting::hold();
        a.fire(());
        b.fire(());
        drop(hold);
        hosting::run_queue(1);
        let hold = hosting::hold();
        c.fire(());
        drop(hold);
        hosting::run_queue(9);
        log.expect(&["a0", "b0", "c0"]);
        drop((d, e, f));
    });
}

#[test]
fn a_ready_value_runs_at_once_outside_and_queues_inside_a_callback() {
    checked(|_| {
        let log = Log::new();
        let seen = log.clone();
        Deferred::<u8>::ok(1).map(move |_| seen.add("outside")).report();
        log.expect(&["outside"]);
        let seen = log.clone();
        Deferred::<(), Never>::ok(()).done(move |()| {
            let inner = seen.clone();
            Deferred::<u8>::ok(1).map(move |_| inner.add("one")).report();
            let inner = seen.clone();
            Deferred::<u8>::ok(1).map(move |_| inner.add("two")).report();
            seen.add("callback");
        });
        log.expect(&["callback", "one", "two"]);
    });
}

#[test]
fn a_ready_value_waits_for_what_was_queued_before_it() {
    checked(|_| {
        let log = Log::new();
        let (a, d) = noting("a", 1, &log);
        let hold = hosting::hold();
        a.fire(());
        drop(hold);
        let seen = log.clone();
        Deferred::<(), Never>::ok(()).done(move |()| seen.add("ready"));
        log.expect(&["a0", "ready"]);
        d.done(drop);
    });
}

#[test]
fn destructors_and_hooks_run_at_once_with_the_queue_held() {
    checked(|_| {
        let log = Log::new();
        let (fired, d) = noting("chain", 1, &log);
        let value = {
            let log = log.clone();
            OnDrop::new(move || {
                log.add("destructor begins");
                fired.fire(());
                log.add("destructor ends");
            })
        };
        drop(Deferred::<_>::ok(value));
        log.expect(&["destructor begins", "destructor ends", "chain0"]);
        d.done(drop);

        let (fired, d) = noting("chain", 1, &log);
        let (trigger, e) = Deferred::<u8>::new();
        let seen = log.clone();
        trigger.on_cancel(move || {
            seen.add("hook begins");
            fired.fire(());
            seen.add("hook ends");
        });
        e.cancel();
        log.expect(&["hook begins", "hook ends", "chain0"]);
        d.done(drop);
        trigger.fire(1);
        e.report();
    });
}

#[test]
fn a_flow_that_is_made_in_a_callback_is_polled_after_it() {
    checked(|_| {
        let log = Log::new();
        let seen = log.clone();
        Deferred::<(), Never>::ok(()).done(move |()| {
            let inner = seen.clone();
            flow(async move {
                inner.add("polled");
                Ok(())
            })
            .report();
            seen.add("callback");
        });
        log.expect(&["callback", "polled"]);
        let seen = log.clone();
        let d = flow(async move {
            seen.add("outside");
            Ok(())
        });
        log.expect(&["outside"]);
        d.report();
    });
}

#[test]
fn what_a_flow_fires_runs_at_its_next_pending_await() {
    checked(|_| {
        let log = Log::new();
        let (fired, d) = noting("chain", 1, &log);
        let (go, pending) = Deferred::<()>::new();
        let seen = log.clone();
        flow(async move {
            fired.fire(());
            seen.add("after the firing");
            Deferred::<()>::ok(()).await?;
            seen.add("after a ready await");
            pending.await?;
            seen.add("after the pending await");
            Ok(())
        })
        .report();
        log.expect(&["after the firing", "after a ready await", "chain0"]);
        go.fire(());
        log.expect(&["after the pending await"]);
        d.done(drop);
    });
}

#[test]
fn a_flow_with_many_ready_awaits_goes_to_the_back_of_the_queue() {
    checked(|_| {
        let log = Log::new();
        let (fired, d) = noting("chain", 1, &log);
        let seen = log.clone();
        flow(async move {
            fired.fire(());
            for n in 0..300 {
                Deferred::<()>::ok(()).await?;
                if n % 127 == 0 {
                    seen.add(n);
                }
            }
            Ok(())
        })
        .report();
        log.expect(&["0", "127", "chain0", "254"]);
        d.done(drop);
    });
}

#[test]
fn a_panic_in_the_middle_of_the_queue_keeps_the_rest() {
    checked(|reports| {
        let log = Log::new();
        let (a, d) = Deferred::<(), Never>::infallible();
        let (b, e) = noting("b", 2, &log);
        let hold = hosting::hold();
        a.fire(());
        b.fire(());
        drop(hold);
        d.done(|()| panic!("first"));
        assert_eq!(hosting::run_queue(10), 0, "attaching outside a callback ran it all");
        log.expect(&["b0", "b1"]);
        e.done(drop);
        reports.expect(&["panicked: first"]);
    });
}

#[test]
fn a_callback_never_runs_inside_another() {
    checked(|_| {
        let depth = std::rc::Rc::new(std::cell::Cell::new(0));
        let most = std::rc::Rc::new(std::cell::Cell::new(0));
        let (mut triggers, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            let (trigger, d) = Deferred::<Vec<Trigger<Vec<()>, Never>>, Never>::infallible();
            let (depth, most) = (depth.clone(), most.clone());
            ends.push(d.map(move |inner| {
                depth.set(depth.get() + 1);
                most.set(most.get().max(depth.get()));
                inner.into_iter().for_each(|trigger| trigger.fire(Vec::new()));
                depth.set(depth.get() - 1);
            }));
            triggers.push(trigger);
        }
        for trigger in triggers {
            let (inner, d) = Deferred::infallible();
            let (depth, most) = (depth.clone(), most.clone());
            d.done(move |_: Vec<()>| {
                depth.set(depth.get() + 1);
                most.set(most.get().max(depth.get()));
                depth.set(depth.get() - 1);
            });
            trigger.fire(vec![inner]);
        }
        assert_eq!(most.get(), 1);
        ends.into_iter().for_each(|d| d.done(drop));
    });
}

#[test]
fn a_hold_that_leaves_its_callback_holds_on() {
    checked(|_| {
        let held = Cell::new();
        let keep = held.clone();
        Deferred::<(), Never>::ok(()).done(move |()| keep.put(hosting::hold()));
        let log = Log::new();
        let seen = log.clone();
        Deferred::<(), Never>::ok(()).done(move |()| seen.add("ran"));
        log.expect(&[]);
        drop(held.take());
        hosting::run_queue(9);
        log.expect(&["ran"]);
    });
}

/// Order never depends on depth, budget or on how a value got there: against a model that is a
/// queue of numbers and nothing else.
mod against_a_model {
    use std::collections::VecDeque;

    use super::*;

    /// A tree of chains: each step may fire the chains below it.
    #[derive(Clone)]
    struct Chain {
        id: usize,
        steps: Vec<Vec<Chain>>,
        pad: usize,
    }

    /// A small generator with a fixed seed: the same trees at every run.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % sides as u64).unwrap()
        }
    }

    fn tree(dice: &mut Dice, depth: usize, next: &mut usize) -> Chain {
        let id = *next;
        *next += 1;
        let steps = (0..1 + dice.roll(3))
            .map(|_| {
                let below = if depth == 0 { 0 } else { dice.roll(3) };
                (0..below).map(|_| tree(dice, depth - 1, next)).collect()
            })
            .collect();
        Chain { id, steps, pad: dice.roll(4) }
    }

    fn model(roots: &[Chain]) -> Vec<String> {
        let mut queue: VecDeque<(&Chain, usize)> = roots.iter().map(|root| (root, 0)).collect();
        let mut order = Vec::new();
        while let Some((chain, step)) = queue.pop_front() {
            order.push(format!("{}.{step}", chain.id));
            queue.extend(chain.steps[step].iter().map(|below| (below, 0)));
            if step + 1 < chain.steps.len() {
                queue.push_back((chain, step + 1));
            }
        }
        order
    }

    fn build(chain: &Chain, log: &Log) -> Trigger<(), Never> {
        let (trigger, mut d) = Deferred::infallible();
        for (n, below) in chain.steps.iter().enumerate() {
            let below: Vec<_> = below.iter().map(|chain| build(chain, log)).collect();
            let (log, what) = (log.clone(), format!("{}.{n}", chain.id));
            for _ in 0..chain.pad {
                // No callback for a value: it is handed on.
                d = d.map_err(|never: Never| never);
            }
            d = d.map(move |()| {
                log.add(what);
                below.into_iter().for_each(|trigger| trigger.fire(()));
            });
        }
        d.done(drop);
        trigger
    }

    #[test]
    fn the_order_is_the_models() {
        checked(|_| {
            let mut dice = Dice(0x2545_F491_4F6C_DD1D);
            for round in 0..200 {
                let mut next = 0;
                let roots: Vec<_> =
                    (0..1 + dice.roll(3)).map(|_| tree(&mut dice, 3, &mut next)).collect();
                let log = Log::new();
                let triggers: Vec<_> = roots.iter().map(|chain| build(chain, &log)).collect();
                let hold = hosting::hold();
                triggers.into_iter().for_each(|trigger| trigger.fire(()));
                drop(hold);
                let budget = if round % 2 == 0 { usize::MAX } else { 1 + dice.roll(5) };
                while hosting::run_queue(budget) > 0 {}
                assert_eq!(log.take(), model(&roots), "round {round}, budget {budget}");
            }
        });
    }
}

#[test]
fn the_end_of_a_chain_is_a_step_of_its_own() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        d.map(|n| n).report();
        let hold = hosting::hold();
        trigger.fire(1);
        drop(hold);
        assert_eq!(hosting::run_queue(9), 1, "report has no callback");
        assert_eq!(outcome_of(Deferred::<u8>::ok(1)).take().unwrap(), "ok 1");
    });
}
