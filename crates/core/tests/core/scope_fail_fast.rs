//! Scopes whose first failure is the end of all (DESIGN.md §3.4).

use thence_core::{Deferred, Failure, Kind, Scope, Trigger, flow};

use crate::common::{Cell, Log, checked, outcome_of};

/// Triggers that end when they like, and their Deferreds.
fn slow(n: usize) -> (Vec<Trigger<u8>>, Vec<Deferred<u8>>) {
    let (triggers, members): (Vec<Trigger<u8>>, Vec<_>) =
        (0..n).map(|_| Deferred::<u8>::new()).unzip();
    triggers.iter().for_each(|trigger| trigger.on_cancel(|| ()));
    (triggers, members)
}

/// A scope that owns `members`, and whose body waits for `body`.
fn whole(members: Vec<Deferred<u8>>, body: Deferred<u8>) -> Deferred<u8> {
    Scope::run_fail_fast(|scope| async move {
        members.into_iter().for_each(|member| scope.add(member));
        body.await
    })
}

#[test]
fn the_first_member_that_fails_ends_the_rest_and_is_the_end_of_all() {
    checked(|_| {
        for how in ["err no", "panicked: boom", "lost"] {
            let (mut triggers, mut members) = slow(4);
            let body = members.pop().unwrap();
            let failing = members.remove(1);
            members.push(if how.starts_with("panic") {
                failing.inspect(|_| panic!("boom"))
            } else {
                failing
            });
            let end = outcome_of(whole(members, body));
            let first = triggers.remove(1);
            match how {
                "err no" => first.fail(Failure::msg("no")),
                "lost" => drop(first),
                _ => first.fire(1),
            }
            assert!(triggers.iter().all(Trigger::is_cancelled), "{how}");
            for trigger in triggers {
                assert!(end.is_empty(), "{how}: everything it owns ends first");
                drop(trigger);
            }
            assert_eq!(end.take().unwrap(), how);
        }
    });
}

#[test]
fn later_failures_of_members_and_of_the_body_are_reported() {
    checked(|reports| {
        let (mut triggers, mut members) = slow(3);
        let body = members.pop().unwrap();
        let end = outcome_of(whole(members, body));
        triggers.remove(0).fail(Failure::msg("first"));
        triggers.remove(0).fail(Failure::msg("second"));
        reports.expect(&["second"]);
        triggers.remove(0).fail(Failure::msg("body"));
        reports.expect(&["body"]);
        assert_eq!(end.take().unwrap(), "err first");

        let (mut triggers, mut members) = slow(3);
        let body = members.pop().unwrap().inspect(|_| panic!("in the body"));
        let end = outcome_of(whole(members, body));
        triggers.remove(0).fail(Failure::msg("first"));
        drop(triggers.remove(0));
        assert!(reports.is_empty(), "it was asked to end");
        triggers.remove(0).fire(1);
        reports.expect_kinds(&[Kind::Panicked]);
        assert_eq!(end.take().unwrap(), "err first");
    });
}

#[test]
fn a_body_that_fails_first_is_the_end_and_members_that_fail_later_are_reported() {
    checked(|reports| {
        let (mut triggers, mut members) = slow(2);
        let body = members.pop().unwrap();
        let end = outcome_of(whole(members, body));
        triggers.pop().unwrap().fail(Failure::msg("body"));
        let member = triggers.pop().unwrap();
        assert!(member.is_cancelled());
        member.fail(Failure::msg("member"));
        reports.expect(&["member"]);
        assert_eq!(end.take().unwrap(), "err body");
    });
}

#[test]
fn a_member_may_fail_after_the_body_is_done() {
    checked(|_| {
        let (mut triggers, members) = slow(2);
        let end = outcome_of(whole(members, Deferred::ok(5)));
        triggers.pop().unwrap().fail(Failure::msg("late"));
        assert!(triggers[0].is_cancelled());
        triggers.pop().unwrap().fire(1);
        assert_eq!(end.take().unwrap(), "err late");
    });
}

#[test]
fn with_no_failure_it_is_as_any_scope() {
    checked(|_| {
        let (mut triggers, members) = slow(2);
        let cut = members[0].canceller();
        let end = outcome_of(whole(members, Deferred::ok(5)));
        cut.cancel();
        drop(triggers.remove(0));
        assert!(!triggers[0].is_cancelled(), "a member that was cancelled has not failed");
        triggers.remove(0).fire(1);
        assert_eq!(end.take().unwrap(), "ok 5");
    });
}

#[test]
fn a_member_that_has_failed_when_it_is_added_ends_the_body_at_its_next_await() {
    checked(|_| {
        for inside in [false, true] {
            let log = Log::new();
            let (trigger, never) = Deferred::<u8>::new();
            let seen = log.clone();
            let start = move || {
                Scope::run_fail_fast(|scope| async move {
                    scope.add(Deferred::<u8>::err(Failure::msg("ready")));
                    seen.add("goes on to its next await");
                    never.await
                })
            };
            let end = if inside {
                outcome_of(Deferred::<()>::ok(()).and_then(move |()| start()))
            } else {
                outcome_of(start())
            };
            assert_eq!(end.take().unwrap(), "err ready");
            assert!(trigger.is_cancelled());
            log.expect(&["goes on to its next await"]);
        }
    });
}

#[test]
fn a_request_for_the_whole_ends_it_cancelled_unless_a_member_fails_meanwhile() {
    checked(|_| {
        for fails in [false, true] {
            let (mut triggers, mut members) = slow(2);
            let body = members.pop().unwrap();
            let whole = whole(members, body);
            whole.cancel();
            drop(triggers.pop());
            assert!(triggers[0].is_cancelled());
            let member = triggers.pop().unwrap();
            if fails {
                member.fail(Failure::msg("no"));
            } else {
                drop(member);
            }
            let end = if fails { "err no" } else { "cancelled" };
            assert_eq!(outcome_of(whole).take().unwrap(), end);
        }
    });
}

#[test]
fn any_error_becomes_a_failure_with_its_message_and_trail() {
    checked(|_| {
        let line = line!();
        let (trigger, d) = Deferred::<u8, std::fmt::Error>::with_error();
        let (_other, never) = Deferred::<u8>::new();
        let whole = Scope::run_fail_fast(|scope| async move {
            scope.add(d);
            never.await
        });
        let failure = Cell::<Failure>::new();
        let kept = failure.clone();
        whole.recover(move |failure| (kept.put(failure), 0).1).done(drop);
        trigger.fail(std::fmt::Error);
        let failure = failure.take().unwrap();
        assert_eq!(failure.to_string(), std::fmt::Error.to_string());
        let lines: Vec<u32> = failure.sites().map(|site| site.line() - line).collect();
        assert_eq!(lines, [1, 4, 3], "where it was made, added, and waited for");
        assert!(failure.sites().all(|site| site.file().ends_with("scope_fail_fast.rs")));
    });
}

#[test]
fn an_error_that_panics_when_it_is_told_still_ends_the_scope() {
    #[derive(Debug)]
    struct Mute;
    impl std::fmt::Display for Mute {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("mute");
        }
    }
    impl std::error::Error for Mute {}
    checked(|reports| {
        let (trigger, d) = Deferred::<u8, Mute>::with_error();
        let (other, never) = Deferred::<u8>::new();
        let end = outcome_of(Scope::run_fail_fast(|scope| async move {
            scope.add(d);
            never.await
        }));
        trigger.fail(Mute);
        assert!(other.is_cancelled());
        reports.expect_kinds(&[Kind::DestructorPanicked]);
        assert!(end.take().unwrap().starts_with("err a member failed"));
    });
}

#[test]
fn members_that_members_add_are_ended_too() {
    checked(|_| {
        let (added, d) = Deferred::<u8>::new();
        let (trigger, e) = Deferred::<u8>::new();
        let end = outcome_of(Scope::run_fail_fast(|scope| async move {
            let inner = scope.clone();
            scope.add(flow(async move {
                inner.add(d);
                e.await
            }));
            Ok(())
        }));
        trigger.fail(Failure::msg("no"));
        assert!(added.is_cancelled());
        assert_eq!(end.take().unwrap(), "err no");
    });
}

#[test]
fn a_member_that_is_added_after_the_first_failure_is_asked_to_end() {
    checked(|_| {
        let (triggers, mut members) = slow(2);
        let (late, early) = (members.pop().unwrap(), Deferred::<u8>::err(Failure::msg("no")));
        let body = members.pop().unwrap();
        let end = outcome_of(Scope::run_fail_fast(|scope| async move {
            scope.add(early);
            scope.add(late);
            body.await
        }));
        assert!(triggers.iter().all(Trigger::is_cancelled));
        assert!(end.is_empty(), "everything it owns ends first");
        drop(triggers);
        assert_eq!(end.take().unwrap(), "err no");
    });
}
