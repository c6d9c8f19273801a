//! Leaving, cancelling, finishing (DESIGN.md §3.4).

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use thence_core::{Deferred, Failure, Trigger, all, all_settled, first, first_ok, flow, join};

use crate::common::{Cell, Log, OnDrop, checked, outcome_of};

/// A source that takes its value back.
fn stream() -> (Trigger<u8>, Deferred<u8>, Cell<u8>) {
    let (trigger, d) = Deferred::<u8>::new();
    let back = Cell::new();
    let kept = back.clone();
    trigger.on_unclaimed(move |value| kept.put(value));
    (trigger, d, back)
}

type Pass = fn(Deferred<u8>) -> Deferred<u8>;

/// Everything a value may pass unchanged.
const PASSES: [(&str, Pass); 12] = [
    ("nothing", |d| d),
    ("map_err", |d| d.map_err(|e| e)),
    ("err_into", Deferred::err_into),
    ("or_else", |d| d.or_else(Err::<u8, Failure>)),
    ("inspect", |d| d.inspect(|_| ())),
    ("inspect_err", |d| d.inspect_err(|_| ())),
    ("finally", |d| d.finally(|| ())),
    ("shield", Deferred::shield),
    ("named", |d| d.named("label")),
    ("two", |d| d.shield().map_err(|e| e)),
    ("first", |d| first([d])),
    ("returned", |d| Deferred::<()>::ok(()).and_then(move |()| d)),
];

#[test]
fn a_value_nobody_takes_goes_back_through_whatever_it_passed() {
    checked(|_| {
        for (name, pass) in PASSES {
            let (trigger, d, back) = stream();
            drop(pass(d));
            trigger.fire(7);
            assert_eq!(back.take(), Some(7), "{name}, left before");

            let (trigger, d, back) = stream();
            let d = pass(d);
            trigger.fire(7);
            assert_eq!(back.take(), None);
            drop(d);
            assert_eq!(back.take(), Some(7), "{name}, left after");

            let (trigger, d, back) = stream();
            trigger.fire(7);
            drop(pass(d));
            assert_eq!(back.take(), Some(7), "{name}, passed after");
        }
    });
}

#[test]
fn a_value_that_was_taken_does_not_go_back() {
    checked(|_| {
        for (name, pass) in PASSES {
            let (trigger, d, back) = stream();
            let seen = outcome_of(pass(d).map(|n| n));
            trigger.fire(7);
            assert_eq!(seen.take().unwrap(), "ok 7", "{name}");
            assert_eq!(back.take(), None, "{name}");
        }
    });
}

#[test]
fn a_value_that_comes_after_a_request_goes_back() {
    checked(|_| {
        for (name, pass) in
            PASSES.into_iter().filter(|(name, _)| !matches!(*name, "shield" | "two"))
        {
            let (trigger, d, back) = stream();
            let d = pass(d);
            d.cancel();
            trigger.fire(7);
            assert_eq!(outcome_of(d).take().unwrap(), "cancelled", "{name}");
            assert_eq!(back.take(), Some(7), "{name}");
        }
    });
}

#[test]
fn a_value_that_was_too_late_for_a_request_is_the_end() {
    checked(|_| {
        for (name, pass) in PASSES {
            let (trigger, d, back) = stream();
            trigger.on_cancel(|| ());
            let d = pass(d);
            d.cancel();
            trigger.fire(7);
            assert_eq!(outcome_of(d).take().unwrap(), "ok 7", "{name}");
            assert_eq!(back.take(), None, "{name}");
        }
    });
}

#[test]
fn an_await_that_is_left_gives_the_value_back() {
    checked(|_| {
        for fire_first in [false, true] {
            let (trigger, d, back) = stream();
            let mut wait = d.into_future();
            let mut task = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut wait).poll(&mut task).is_pending());
            if fire_first {
                trigger.fire(7);
                drop(wait);
            } else {
                drop(wait);
                trigger.fire(7);
            }
            assert_eq!(back.take(), Some(7));
        }
        let (trigger, d, back) = stream();
        drop(d.into_future());
        trigger.fire(7);
        assert_eq!(back.take(), Some(7));
    });
}

#[test]
fn a_flow_that_stops_gives_back_what_it_had_not_taken() {
    checked(|_| {
        let (trigger, d, back) = stream();
        let (other, e) = Deferred::<u8>::new();
        let f = flow(async move {
            let mut wait = d.into_future();
            let mut noop = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut wait).poll(&mut noop).is_pending());
            e.await?;
            wait.await
        });
        trigger.fire(7);
        f.cancel();
        assert_eq!(outcome_of(f).take().unwrap(), "cancelled");
        assert_eq!(back.take(), Some(7));
        drop(other);
    });
}

#[test]
fn losers_give_their_values_back() {
    checked(|reports| {
        for many in ["first", "first_ok", "all"] {
            let (a, d, back) = stream();
            a.on_cancel(|| ());
            let (b, e) = Deferred::<u8>::new();
            let end = match many {
                "first" => outcome_of(first([e, d])),
                "first_ok" => outcome_of(first_ok([e, d])),
                _ => outcome_of(all([e, d])),
            };
            let expected = if many == "all" {
                b.fail(Failure::msg("no"));
                "err no"
            } else {
                b.fire(1);
                "ok 1"
            };
            assert!(end.is_empty(), "{many}: a loser is waited for");
            a.fire(7);
            assert_eq!(end.take().unwrap(), expected, "{many}");
            assert_eq!(back.take(), Some(7), "{many}");
        }
        assert!(reports.is_empty());
    });
}

#[test]
fn winners_that_nobody_takes_go_back_too() {
    checked(|_| {
        for many in ["first", "first_ok", "all_settled", "settled", "all"] {
            let (a, d, back) = stream();
            match many {
                "first" => drop(first([d])),
                "first_ok" => drop(first_ok([d])),
                "all_settled" => drop(all_settled([d])),
                "settled" => drop(d.settled()),
                _ => drop(all([d])),
            }
            a.fire(7);
            assert_eq!(back.take(), Some(7), "{many}");
        }
    });
}

#[test]
fn an_outcome_that_nobody_takes_gives_its_value_back() {
    checked(|_| {
        type Settle = fn(Deferred<u8>);
        let settled: [(&str, Settle); 3] = [
            ("settled", |d| drop(d.settled())),
            ("settled twice", |d| drop(d.settled().settled())),
            ("all_settled", |d| drop(all_settled([d, Deferred::ok(1)]))),
        ];
        for (name, settle) in settled {
            for fired_first in [false, true] {
                let (trigger, d, back) = stream();
                if fired_first {
                    trigger.fire(7);
                    settle(d);
                } else {
                    settle(d);
                    trigger.fire(7);
                }
                assert_eq!(back.take(), Some(7), "{name}, fired first: {fired_first}");
            }
        }
        // One that was taken does not go back.
        let (trigger, d, back) = stream();
        let seen = outcome_of(d.settled().map(|outcome| outcome.ok()));
        trigger.fire(7);
        assert_eq!(seen.take().unwrap(), "ok Some(7)");
        assert_eq!(back.take(), None);
    });
}

#[test]
fn a_join_that_fails_or_is_left_gives_back_what_it_has() {
    checked(|_| {
        for fails in [false, true] {
            let (a, d, back) = stream();
            let (b, e) = Deferred::<u8>::new();
            let joined = join((d, e));
            a.fire(7);
            if fails {
                let seen = outcome_of(joined);
                b.fail(Failure::msg("no"));
                assert_eq!(seen.take().unwrap(), "err no");
            } else {
                drop(joined);
                b.fire(1);
            }
            assert_eq!(back.take(), Some(7), "fails: {fails}");
        }
    });
}

#[test]
fn leaving_runs_the_steps_that_are_attached() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let seen = log.clone();
        drop(d.map(move |n| seen.add(n)));
        trigger.fire(7);
        log.expect(&["7"]);
        let (trigger, d) = Deferred::<u8>::new();
        let seen = log.clone();
        drop(flow(async move {
            seen.add(d.await?);
            Ok(())
        }));
        trigger.fire(8);
        log.expect(&["8"]);
    });
}

#[test]
fn on_left_tells_of_a_deferred_dropped_unattached() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_left(log.noting("left"));
        assert!(trigger.is_wanted());
        drop(d);
        log.expect(&["left"]);
        assert!(!trigger.is_wanted());
        trigger.fire(1);

        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_left(log.noting("left"));
        drop(d.map(|n| n));
        assert!(trigger.is_wanted());
        log.expect(&[]);
        trigger.fire(1);
    });
}

#[test]
fn a_request_stands_until_it_is_told() {
    checked(|_| {
        for with_waiter in [false, true] {
            let (trigger, d) = Deferred::<u8>::new();
            trigger.on_cancel(|| ());
            let (inner_trigger, inner) = Deferred::<u8>::new();
            let mut d = d.and_then(move |_| inner);
            if with_waiter {
                d = d.inspect(|_| ());
            }
            d.cancel();
            trigger.fire(1);
            assert!(inner_trigger.is_cancelled());
            assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
        }
    });
}

#[test]
fn a_request_stands_in_flows_for_every_later_await() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_cancel(|| ());
        let (second, e) = Deferred::<u8>::new();
        let f = flow(async move { Ok(d.await? + e.await?) });
        f.cancel();
        trigger.fire(1);
        assert!(second.is_cancelled());
        assert_eq!(outcome_of(f).take().unwrap(), "cancelled");
    });
}

#[test]
fn once_it_was_told_clean_up_may_wait() {
    checked(|_| {
        // In a chain.
        let (trigger, d) = Deferred::<u8>::new();
        let (clean, up) = Deferred::<u8>::new();
        let d = d.then(move |outcome| {
            assert!(outcome.is_cancelled());
            up
        });
        d.cancel();
        assert!(!clean.is_cancelled());
        clean.fire(2);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 2");
        drop(trigger);

        // In a flow.
        let (trigger, d) = Deferred::<u8>::new();
        let (clean, up) = Deferred::<u8>::new();
        let f = flow(async move {
            assert!(d.settled().await.is_cancelled());
            up.await
        });
        f.cancel();
        assert!(!clean.is_cancelled());
        clean.fire(2);
        assert_eq!(outcome_of(f).take().unwrap(), "ok 2");
        drop(trigger);
    });
}

#[test]
fn a_request_after_the_clean_up_began_reaches_it() {
    checked(|_| {
        let (_trigger, d) = Deferred::<u8>::new();
        let (clean, up) = Deferred::<u8>::new();
        let d = d.then(move |_| up);
        d.cancel();
        assert!(!clean.is_cancelled());
        d.cancel();
        assert!(clean.is_cancelled());
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
    });
}

#[test]
fn a_shield_is_where_a_request_stops() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let d = d.shield();
        d.cancel();
        assert!(!trigger.is_cancelled());
        trigger.fire(1);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 1");

        let (trigger, d) = Deferred::<u8>::new();
        let (inner_trigger, inner) = Deferred::<u8>::new();
        let d = d.shield().and_then(move |_| inner);
        d.cancel();
        trigger.fire(1);
        assert!(inner_trigger.is_cancelled(), "below the shield it stands");
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");

        let (trigger, d) = Deferred::<u8>::new();
        let f = flow(async move { d.shield().await });
        f.cancel();
        assert!(!trigger.is_cancelled());
        trigger.fire(3);
        assert_eq!(outcome_of(f).take().unwrap(), "ok 3");
    });
}

#[test]
fn a_canceller_finds_what_took_its_place() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let (second, e) = Deferred::<u8>::new();
        let (third, f) = Deferred::<u8>::new();
        let d = d.and_then(move |_| e.and_then(move |_| f));
        let canceller = d.canceller();
        let d = d.map(|n| n).map(|n| n);
        trigger.fire(1);
        second.fire(2);
        canceller.clone().cancel();
        assert!(third.is_cancelled());
        drop(canceller);
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
    });
}

#[test]
fn a_canceller_does_nothing_once_its_deferred_has_ended() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let (second, e) = Deferred::<u8>::new();
        let (later, f) = Deferred::<u8>::new();
        let d = d.and_then(move |_| e);
        let canceller = d.canceller();
        let d = d.and_then(move |_| f);
        trigger.fire(1);
        second.fire(2);
        canceller.cancel();
        assert!(!later.is_cancelled());
        later.fire(3);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 3");
    });
}

#[test]
fn a_canceller_keeps_no_value_and_delays_no_report() {
    checked(|reports| {
        let value = Rc::new(());
        let (trigger, d) = Deferred::<Rc<()>>::new();
        let canceller = d.canceller();
        trigger.fire(value.clone());
        drop(d);
        assert_eq!(Rc::strong_count(&value), 1);
        drop(canceller);

        let (trigger, d) = Deferred::<u8>::new();
        let canceller = d.canceller();
        trigger.fail(Failure::msg("at that instant"));
        drop(d);
        reports.expect(&["at that instant"]);
        drop(canceller);

        // One whose place was taken.
        let (trigger, d) = Deferred::<u8>::new();
        let (second, e) = Deferred::<u8>::new();
        let d = d.and_then(move |_| e);
        let canceller = d.canceller();
        let kept = value.clone();
        let d = d.map(move |_| kept);
        trigger.fire(1);
        second.fire(2);
        drop(d);
        assert_eq!(Rc::strong_count(&value), 1);
        drop(canceller);
    });
}

#[test]
fn hooks_that_are_replaced_are_dropped_whole() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let owned = OnDrop::new(log.noting("first hook dropped"));
        trigger.on_unclaimed(move |_| drop(owned));
        trigger.on_unclaimed(|_| ());
        log.expect(&["first hook dropped"]);
        drop(d);
        trigger.fire(1);
    });
}

#[test]
fn a_hook_may_be_replaced_from_the_destructor_of_the_one_it_replaces() {
    checked(|_| {
        type Set = fn(&Trigger<u8>, Box<dyn FnOnce()>);
        let sets: [Set; 3] = [
            |trigger, hook| trigger.on_unclaimed(move |_| hook()),
            |trigger, hook| trigger.on_left(hook),
            |trigger, hook| trigger.on_cancel(hook),
        ];
        for set in sets {
            let (trigger, d) = Deferred::<u8>::new();
            let trigger = Rc::new(trigger);
            let weak = Rc::downgrade(&trigger);
            let owned = OnDrop::new(move || {
                if let Some(trigger) = weak.upgrade() {
                    set(&trigger, Box::new(|| ()));
                }
            });
            set(&trigger, Box::new(move || drop(owned)));
            set(&trigger, Box::new(|| ()));
            Rc::try_unwrap(trigger).unwrap().fire(1);
            d.report();
        }
    });
}

#[test]
fn a_hook_may_drop_attach_and_cancel_what_it_is_asked_for() {
    checked(|_| {
        // It drops the very Deferred.
        let held = Cell::new();
        let (trigger, d) = Deferred::<u8>::new();
        let inside = held.clone();
        trigger.on_cancel(move || drop(inside.take()));
        let canceller = d.canceller();
        held.put(d);
        canceller.cancel();
        assert!(held.is_empty());
        trigger.fire(1);

        // It attaches to it.
        let held = Cell::<Deferred<u8>>::new();
        let (trigger, d) = Deferred::<u8>::new();
        let inside = held.clone();
        trigger.on_cancel(move || {
            let d = inside.take().unwrap();
            inside.put(d.map(|n| n + 1));
        });
        let canceller = d.canceller();
        held.put(d);
        canceller.cancel();
        trigger.fire(1);
        assert_eq!(outcome_of(held.take().unwrap()).take().unwrap(), "ok 2");

        // It cancels another, whose hook cancels this one again.
        let cancellers = Rc::new(RefCell::new(Vec::new()));
        let log = Log::new();
        let mut all = Vec::new();
        for n in 0..3 {
            let (trigger, d) = Deferred::<u8>::new();
            let (others, log) = (cancellers.clone(), log.clone());
            trigger.on_cancel(move || {
                log.add(n);
                let others: Vec<thence_core::Canceller> = others.borrow().clone();
                others.iter().for_each(thence_core::Canceller::cancel);
            });
            cancellers.borrow_mut().push(d.canceller());
            all.push((trigger, d));
        }
        all[0].1.cancel();
        log.expect(&["0", "1", "2"]);
        for (trigger, d) in all {
            drop(trigger);
            assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
        }
        cancellers.borrow_mut().clear();
    });
}

#[test]
fn a_callback_may_drop_its_own_deferred_and_its_own_upstreams_canceller() {
    checked(|_| {
        let held = Cell::new();
        let inside = held.clone();
        let (trigger, d) = Deferred::<u8>::new();
        let up = d.canceller();
        let d = d.map(move |n| {
            drop(inside.take());
            up.cancel();
            drop(up);
            n
        });
        held.put(d);
        trigger.fire(1);
        assert!(held.is_empty());

        // And one that waits on a Deferred dropped inside it.
        let held = Cell::<Deferred<u8>>::new();
        let inside = held.clone();
        let (inner_trigger, inner) = Deferred::<u8>::new();
        let (trigger, d) = Deferred::<u8>::new();
        held.put(d.and_then(move |_| {
            drop(inside.take());
            inner
        }));
        trigger.fire(1);
        inner_trigger.fire(2);
    });
}

/// Each of these asks a node that is at its end, or stands in the list of those that are.
#[test]
fn a_canceller_called_by_the_end_of_its_own_deferred_does_nothing() {
    checked(|reports| {
        type Guard = OnDrop<Box<dyn FnOnce()>>;
        for replaced in [false, true] {
            // The value asks when it is dropped.
            let (trigger, d) = Deferred::<Guard>::new();
            if replaced {
                let (second, e) = Deferred::<Guard>::new();
                let d = d.and_then(move |_| e);
                let canceller = d.canceller();
                let d = d.map(|guard| guard);
                trigger.fire(OnDrop::new(Box::new(|| ())));
                second.fire(OnDrop::new(Box::new(move || canceller.cancel())));
                drop(d);
            } else {
                let canceller = d.canceller();
                trigger.fire(OnDrop::new(Box::new(move || canceller.cancel())));
                drop(d);
            }

            // A destructor drops a Deferred, whose end waits for its own, and asks it.
            let (trigger, d) = Deferred::<Guard>::new();
            let canceller = d.canceller();
            trigger.fire(OnDrop::new(Box::new(|| ())));
            drop(Deferred::<_>::ok(OnDrop::new(move || {
                drop(d);
                canceller.cancel();
            })));
        }

        // The failure hook asks what it is told of.
        let (trigger, d) = Deferred::<u8>::new();
        let canceller = d.canceller();
        let before = thence_core::set_failure_hook(move |_| canceller.cancel());
        trigger.fail(Failure::msg("told"));
        drop(d);
        thence_core::restore_failure_hook(before);
        reports.missed(1);

        // What is free now is free once.
        let many: Vec<_> = (0..8_u64)
            .map(|n| {
                let (trigger, d) = Deferred::<u64>::new();
                trigger.fire(n);
                outcome_of(d)
            })
            .collect();
        for (n, end) in many.into_iter().enumerate() {
            assert_eq!(end.take().unwrap(), format!("ok {n}"));
        }
    });
}

#[test]
fn a_thread_local_that_is_destroyed_late_may_make_and_drop_deferreds() {
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            let (trigger, d) = Deferred::<u8>::new();
            let d = d.map(|n| n + 1);
            trigger.fire(1);
            drop(d);
            drop(Deferred::<u8>::err(Failure::msg("nobody is left to tell")));
        }
    }
    thread_local!(static LATE: RefCell<Option<Late>> = const { RefCell::new(None) });
    // First the thread's own, so that it goes last.
    let thread = std::thread::spawn(|| {
        LATE.with(|late| *late.borrow_mut() = Some(Late));
        drop(Deferred::<u8>::ok(1));
        let (trigger, d) = Deferred::<u8>::new();
        d.report();
        trigger.fire(1);
    });
    thread.join().unwrap();
}
