//! Nothing is silent (DESIGN.md §3.5).

use thence_core::{
    Deferred, Failure, Kind, Outcome, Stop, flow, restore_failure_hook, set_failure_hook, unhandled,
};

use crate::common::{Log, OnDrop, checked, outcome_of};

#[test]
fn a_failure_is_reported_at_the_instant_its_deferred_is_dropped() {
    checked(|reports| {
        let (trigger, d) = Deferred::<u8>::new();
        trigger.fail(Failure::msg("held"));
        assert!(reports.is_empty());
        drop(d);
        reports.expect(&["held"]);

        let (trigger, d) = Deferred::<u8>::new();
        drop(d.map(|n| n));
        assert!(reports.is_empty());
        trigger.fail(Failure::msg("left"));
        reports.expect(&["left"]);

        drop(Deferred::<u8>::err(Failure::msg("ready")));
        reports.expect(&["ready"]);
    });
}

#[test]
fn inside_a_callback_it_is_at_that_instant_too() {
    checked(|reports| {
        let seen = reports.clone();
        Deferred::<u8>::ok(1)
            .map(move |_| {
                drop(Deferred::<u8>::err(Failure::msg("inside")));
                seen.expect(&["inside"]);
            })
            .report();
    });
}

#[test]
fn a_report_names_every_site_from_first_to_last() {
    checked(|reports| {
        let from = line!();
        let (trigger, d) = Deferred::<u8>::new();
        let d = d.map(|n| n);
        let d = d.map(|n| n).named("second");
        d.report();
        trigger.fail(Failure::msg("told"));
        let report = reports.take().pop().unwrap();
        let lines: Vec<u32> = report.steps().iter().map(|step| step.site.line() - from).collect();
        assert_eq!(lines, [1, 2, 3, 4]);
        assert_eq!(report.steps()[2].label, Some("second"));
        assert_eq!(report.site().unwrap().line(), from + 1);
        assert_eq!((report.kind(), report.message()), (Kind::Failed, "told"));
        let text = report.to_string();
        assert!(text.starts_with("unhandled: told\n    at "), "{text}");
        assert!(text.contains("(second)"), "{text}");
    });
}

#[test]
fn lost_and_panicked_are_reported_and_cancelled_is_not() {
    checked(|reports| {
        let (trigger, d) = Deferred::<u8>::new();
        d.report();
        drop(trigger);
        reports.expect_kinds(&[Kind::Lost]);
        Deferred::<u8>::ok(1).map(|_| panic!("loud")).map(|()| ()).report();
        reports.expect(&["panicked: loud"]);
        let (_trigger, d) = Deferred::<u8>::new();
        d.cancel();
        drop(d);
        drop(Deferred::<u8>::ended(Outcome::Stop(Stop::Cancelled)));
        assert!(reports.is_empty());
        flow(async { Err::<(), _>(Failure::msg("flow")) }).report();
        reports.expect(&["flow"]);
    });
}

#[test]
fn what_somebody_handles_is_not_reported() {
    checked(|reports| {
        for ready in [false, true] {
            let make = || {
                let (trigger, d) = Deferred::<u8>::new();
                if ready {
                    trigger.fail(Failure::msg("no"));
                    return (None, d);
                }
                (Some(trigger), d)
            };
            let end = |trigger: Option<thence_core::Trigger<u8>>| {
                if let Some(trigger) = trigger {
                    trigger.fail(Failure::msg("no"));
                }
            };
            let (trigger, d) = make();
            d.recover(|_| 0).done(drop);
            end(trigger);
            let (trigger, d) = make();
            d.or_else(|_| Ok::<_, Failure>(0)).report();
            end(trigger);
            let (trigger, d) = make();
            d.then(|_| Ok::<_, Failure>(0)).report();
            end(trigger);
            let (trigger, d) = make();
            d.settled().done(drop);
            end(trigger);
            let (trigger, d) = make();
            flow(async move { Ok(d.await.is_err()) }).report();
            end(trigger);
        }
        assert!(reports.is_empty());
    });
}

#[test]
fn inside_another_such_drop_the_report_comes_before_the_outermost_returns() {
    struct Owns(#[expect(dead_code)] Deferred<u8>, #[expect(dead_code)] OnDrop<Box<dyn FnOnce()>>);
    checked(|reports| {
        let log = Log::new();
        let noted = log.noting("destructor");
        let hook = set_failure_hook({
            let log = log.clone();
            move |report| log.add(report.message())
        });
        let inner = Deferred::<u8>::err(Failure::msg("inner"));
        drop(Deferred::<Owns>::ok(Owns(inner, OnDrop::new(Box::new(noted)))));
        // Both before the drop returned; the inner report after the destructor that let go of it.
        log.expect(&["destructor", "inner"]);
        restore_failure_hook(hook);
        let nested = Deferred::<Deferred<u8>>::ok(Deferred::err(Failure::msg("nested")));
        drop(nested);
        reports.expect(&["nested"]);
        assert_eq!(unhandled(), 2);
        reports.missed(1);
    });
}

#[test]
fn a_panicking_destructor_is_reported_and_nothing_unwinds() {
    checked(|reports| {
        drop(Deferred::<_>::ok(OnDrop::new(|| panic!("destructor"))));
        reports.expect_kinds(&[Kind::DestructorPanicked]);

        let (trigger, d) = Deferred::<_>::new();
        trigger.fire(OnDrop::new(|| panic!("destructor")));
        drop(d);
        reports.expect_kinds(&[Kind::DestructorPanicked]);

        let (trigger, d) = Deferred::<_>::new();
        drop(d);
        trigger.fire(OnDrop::new(|| panic!("destructor")));
        reports.expect_kinds(&[Kind::DestructorPanicked]);

        // A closure that never ran.
        let bomb = OnDrop::new(|| panic!("closure"));
        let (trigger, d) = Deferred::<u8>::new();
        let d = d.map(move |_| drop(bomb));
        trigger.fail(Failure::msg("goes on"));
        assert_eq!(outcome_of(d).take().unwrap(), "err goes on");
        reports.expect_kinds(&[Kind::DestructorPanicked]);
        let bomb = OnDrop::new(|| panic!("closure"));
        let d = Deferred::<u8>::err(Failure::msg("goes on")).map(move |_| drop(bomb));
        assert_eq!(outcome_of(d).take().unwrap(), "err goes on");
        reports.expect_kinds(&[Kind::DestructorPanicked]);

        // A hook that never ran, and one that did.
        let bomb = OnDrop::new(|| panic!("hook"));
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_cancel(move || drop(bomb));
        trigger.fire(1);
        d.report();
        reports.expect_kinds(&[Kind::DestructorPanicked]);
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_unclaimed(|_| panic!("hook"));
        drop(d);
        trigger.fire(1);
        reports.expect_kinds(&[Kind::DestructorPanicked]);

        // A flow's own, at its end and when it is cut.
        let f = flow(async {
            let _bomb = OnDrop::new(|| panic!("flow"));
            std::future::pending::<()>().await;
            Ok(())
        });
        drop(f);
        reports.expect_kinds(&[Kind::DestructorPanicked, Kind::Lost]);
    });
}

#[test]
fn after_any_panic_the_rest_of_a_drop_goes_on() {
    checked(|reports| {
        let values: Vec<Deferred<OnDrop<Box<dyn FnOnce()>>>> = (0..3)
            .map(|n| -> OnDrop<Box<dyn FnOnce()>> {
                OnDrop::new(Box::new(move || panic!("destructor {n}")))
            })
            .map(Deferred::ok)
            .collect();
        drop(Deferred::<_>::ok(values));
        assert_eq!(reports.take().len(), 3);
    });
}

#[test]
fn a_panics_payload_may_panic_in_its_own_destructor() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("payload");
        }
    }
    checked(|reports| {
        drop(Deferred::<_>::ok(OnDrop::new(|| std::panic::panic_any(Bomb))));
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_cancel(|| std::panic::panic_any(Bomb));
        d.cancel();
        trigger.fire(1);
        d.report();
        drop(Deferred::<u8>::ok(1).map(|_| -> u8 { std::panic::panic_any(Bomb) }));
        reports.take();
        drop(Deferred::<u8>::err(Failure::msg("still told")));
        reports.expect(&["still told"]);
        assert_eq!(outcome_of(Deferred::<u8>::ok(1).map(|n| n)).take().unwrap(), "ok 1");
    });
}

#[test]
fn a_hook_that_panics_or_fails_goes_to_the_default_one() {
    checked(|reports| {
        let before = set_failure_hook(|_| panic!("the hook"));
        drop(Deferred::<u8>::err(Failure::msg("told")));
        drop(set_failure_hook(|_| drop(Deferred::<u8>::err(Failure::msg("in the hook")))));
        drop(Deferred::<u8>::err(Failure::msg("told")));
        restore_failure_hook(before);
        assert_eq!(unhandled(), 3);
        reports.missed(3);
        drop(Deferred::<u8>::err(Failure::msg("again")));
        reports.expect(&["again"]);
    });
}

#[test]
fn what_a_hook_fires_queues() {
    checked(|reports| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let seen = log.clone();
        d.map(move |_| seen.add("fired")).report();
        let held = std::cell::RefCell::new(Some(trigger));
        let hook_log = log.clone();
        let before = set_failure_hook(move |_| {
            if let Some(trigger) = held.borrow_mut().take() {
                trigger.fire(1);
            }
            hook_log.add("hook ends");
        });
        drop(Deferred::<u8>::err(Failure::msg("told")));
        log.expect(&["hook ends", "fired"]);
        restore_failure_hook(before);
        reports.missed(1);
    });
}

#[test]
fn an_error_of_ones_own_is_reported_with_its_causes_and_ends() {
    checked(|reports| {
        let from = line!();
        let (trigger, d) = Deferred::<u8, std::num::ParseIntError>::with_error();
        d.map(|n| n).map(|n| n).report();
        trigger.fail("x".parse::<u8>().unwrap_err());
        let report = reports.take().pop().unwrap();
        assert_eq!(report.message(), "invalid digit found in string");
        let lines: Vec<u32> = report.steps().iter().map(|step| step.site.line() - from).collect();
        assert_eq!(lines, [1, 2]);
    });
}

#[test]
fn an_error_that_panics_when_it_is_told_of_a_step_still_ends_its_chain() {
    #[derive(Debug)]
    struct Picky;
    impl thence_core::Fault for Picky {
        type Trail = thence_core::Ends;
        type Awaited<T> = Result<T, Self>;
        fn passed(&mut self, _: &mut thence_core::Ends, _: thence_core::Step) {
            panic!("passed");
        }
        fn message(&self) -> String {
            "picky".to_owned()
        }
        fn steps(&self, trail: &thence_core::Ends) -> Vec<thence_core::Step> {
            trail.steps()
        }
        fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
            result
        }
    }
    checked(|reports| {
        let (trigger, d) = Deferred::<u8, Picky>::with_error();
        let seen = outcome_of(d.map(|n| n));
        trigger.fail(Picky);
        assert_eq!(seen.take().unwrap(), "err picky");
        assert!(reports.take().iter().all(|report| report.kind() == Kind::DestructorPanicked));
    });
}

#[test]
fn an_outcome_that_nobody_takes_is_told() {
    checked(|reports| {
        drop(Deferred::<u8>::err(Failure::msg("ready")).settled());
        reports.expect(&["ready"]);
        let (trigger, d) = Deferred::<u8>::new();
        drop(d.settled());
        trigger.fail(Failure::msg("left before"));
        reports.expect(&["left before"]);
        let (trigger, d) = Deferred::<u8>::new();
        let d = d.settled().inspect(|_| ());
        trigger.fail(Failure::msg("left after"));
        assert!(reports.is_empty());
        drop(d);
        reports.expect(&["left after"]);

        drop(Deferred::<u8>::ok(1).map(|_| -> u8 { panic!("oh") }).settled());
        reports.expect(&["panicked: oh"]);
        let (trigger, d) = Deferred::<u8>::new();
        let d = d.settled();
        drop(trigger);
        drop(d);
        reports.expect_kinds(&[Kind::Lost]);

        // Asked for; taken; and taken by a flow.
        let (trigger, d) = Deferred::<u8>::new();
        d.cancel();
        drop(d.settled());
        drop(trigger);
        let seen = outcome_of(Deferred::<u8>::err(Failure::msg("taken")));
        assert_eq!(seen.take().unwrap(), "err taken");
        flow(async {
            let outcome = Deferred::<u8>::err(Failure::msg("awaited")).settled().await;
            assert!(outcome.is_err());
            Ok(())
        })
        .report();
    });
}

#[test]
fn a_lost_one_names_where_it_was_made_and_where_that_arrived() {
    checked(|reports| {
        let line = line!() + 1;
        let (trigger, d) = Deferred::<u8>::new();
        let d = d.named("answer").map(|n| n);
        d.report();
        drop(trigger);
        let steps: Vec<_> =
            reports.take()[0].steps().iter().map(|s| (s.site.line() - line, s.label)).collect();
        assert_eq!(steps, [(0, Some("answer")), (2, None)]);

        // A flow that nothing can wake any more.
        let line = line!() + 1;
        flow(async {
            std::future::pending::<()>().await;
            Ok(())
        })
        .named("waits")
        .report();
        let report = reports.take().pop().unwrap();
        assert_eq!(report.kind(), Kind::Lost);
        assert_eq!(report.site().unwrap().line(), line);

        let failure = Outcome::<u8>::Stop(Stop::lost()).into_result().unwrap_err();
        assert_eq!(failure.sites().count(), 1);
    });
}

#[test]
fn a_panic_names_its_step_and_the_label_of_that() {
    checked(|reports| {
        let (trigger, d) = Deferred::<u8>::new();
        d.map(|n| 10 / n).named("divide").report();
        trigger.fire(0);
        let report = reports.take().pop().unwrap();
        assert_eq!(report.steps()[0].label, Some("divide"));
        assert_eq!(report.steps().len(), 2);
    });
}
