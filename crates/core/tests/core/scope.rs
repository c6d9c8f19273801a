//! Scopes (DESIGN.md §3.4).

use thence_core::{Deferred, Failure, Scope, flow};

use crate::common::{Cell, Log, checked, outcome_of};

#[test]
fn a_scope_ends_after_all_that_it_owns() {
    checked(|_| {
        let (a, d) = Deferred::<u8>::new();
        let (b, e) = Deferred::<u8>::new();
        let whole = outcome_of(Scope::run(|scope| async move {
            scope.add(d);
            scope.add(e.map(|n| n));
            assert_eq!(scope.live(), 2);
            Ok("body")
        }));
        a.fire(1);
        assert!(whole.is_empty());
        b.fire(2);
        assert_eq!(whole.take().unwrap(), r#"ok "body""#);
    });
}

#[test]
fn a_body_that_fails_or_panics_asks_what_it_owns_to_end_first() {
    checked(|_| {
        for panics in [false, true] {
            let log = Log::new();
            let (trigger, d) = Deferred::<u8>::new();
            trigger.on_cancel(log.noting("asked"));
            let whole = outcome_of(Scope::run(move |scope| async move {
                scope.add(d);
                if panics {
                    panic!("body");
                }
                Err::<(), _>(Failure::msg("body"))
            }));
            log.expect(&["asked"]);
            assert!(whole.is_empty());
            drop(trigger);
            let end = if panics { "panicked: body" } else { "err body" };
            assert_eq!(whole.take().unwrap(), end);
        }
    });
}

#[test]
fn a_request_reaches_the_body_and_then_what_it_owns() {
    checked(|_| {
        // While the body runs.
        let (member, d) = Deferred::<u8>::new();
        let (_trigger, e) = Deferred::<u8>::new();
        let whole = Scope::run(|scope| async move {
            scope.add(d);
            e.await
        });
        whole.cancel();
        assert!(member.is_cancelled());
        assert_eq!(outcome_of(whole).take().unwrap(), "cancelled");

        // After the body.
        let (member, d) = Deferred::<u8>::new();
        member.on_cancel(|| ());
        let whole = Scope::run(|scope| async move {
            scope.add(d);
            Ok(5)
        });
        whole.cancel();
        assert!(member.is_cancelled());
        assert!(!whole.is_ready(), "it does not cut the wait");
        member.fire(1);
        assert_eq!(outcome_of(whole).take().unwrap(), "ok 5");
    });
}

#[test]
fn dropping_a_scope_asks_and_what_ends_later_is_still_accounted_to_it() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_cancel(|| ());
        let scope = Scope::new();
        scope.add(d);
        let ended = outcome_of(scope.ended());
        drop(scope.clone());
        assert!(!trigger.is_cancelled());
        drop(scope);
        assert!(trigger.is_cancelled());
        assert!(ended.is_empty());
        trigger.fire(1);
        assert_eq!(ended.take().unwrap(), "ok ()");
    });
}

#[test]
fn a_failure_of_a_member_is_reported_with_the_scopes_site() {
    checked(|reports| {
        let scope = Scope::default();
        let (trigger, d) = Deferred::<u8>::new();
        let line = line!() + 1;
        scope.add(d);
        scope.add(Deferred::<u8>::err(Failure::msg("ready")));
        reports.expect(&["ready"]);
        trigger.fail(Failure::msg("member"));
        let report = reports.take().pop().unwrap();
        assert_eq!(report.message(), "member");
        assert_eq!(report.steps().last().unwrap().site.line(), line);
        assert_eq!(outcome_of(scope.ended()).take().unwrap(), "ok ()");
    });
}

#[test]
fn members_may_be_added_by_members_and_places_are_used_again() {
    checked(|_| {
        let log = Log::new();
        let seen = log.clone();
        let whole = outcome_of(Scope::run(move |scope| async move {
            for round in 0..50 {
                let (trigger, d) = Deferred::<u8>::new();
                let (inner, seen) = (scope.clone(), seen.clone());
                scope.add(flow(async move {
                    d.await?;
                    inner.add(flow(async move {
                        seen.add(round);
                        Ok(())
                    }));
                    Ok(())
                }));
                trigger.fire(1);
                Deferred::<()>::ok(()).await?;
            }
            Ok(())
        }));
        assert_eq!(whole.take().unwrap(), "ok ()");
        assert_eq!(log.take().len(), 50);
    });
}

#[test]
fn a_member_may_cancel_and_drop_its_own_scope() {
    checked(|_| {
        let own = Cell::<Scope>::new();
        let inside = own.clone();
        let (trigger, d) = Deferred::<u8>::new();
        let (other, e) = Deferred::<u8>::new();
        let scope = Scope::new();
        scope.add(d.map(move |_| drop(inside.take())));
        scope.add(e);
        own.put(scope);
        trigger.fire(1);
        assert!(other.is_cancelled());
        assert!(own.is_empty());
    });
}
