//! What a test is held to (DESIGN.md §3.5, §3.7).

use std::panic::{AssertUnwindSafe, catch_unwind};

use thence_core::{Deferred, Failure, flow, hosting, testing, unhandled};

use crate::common::checked;

/// What `f` panics with.
fn panic_of(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it was to panic");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&'static str>().unwrap()).to_owned(),
    }
}

fn fail() {
    Deferred::<u8>::err(Failure::msg("refused")).report();
}

#[test]
fn a_check_gives_what_its_body_gives_and_runs_what_is_still_due() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let remote = trigger.remote();
        let n = testing::check(|| {
            d.report();
            std::thread::spawn(|| remote.fire(1)).join().unwrap();
            7
        });
        assert_eq!(n, 7);
        assert_eq!(hosting::live(), hosting::Live::default());
    });
}

#[test]
fn a_check_fails_on_what_nobody_handled() {
    checked(|reports| {
        let said = panic_of(|| testing::check(fail));
        assert!(said.starts_with("1 unhandled:\nunhandled: refused\n    at "), "{said}");
        assert!(said.contains("testing.rs:"), "{said}");
        // Its hook took the place of ours, and ours is back.
        assert!(reports.is_empty());
        reports.missed(1);
        fail();
        reports.expect(&["refused"]);
    });
}

#[test]
fn a_body_that_panics_leaves_the_hook_as_it_was() {
    checked(|reports| {
        let said = panic_of(|| testing::check(|| panic!("the test's own")));
        assert_eq!(said, "the test's own");
        fail();
        reports.expect(&["refused"]);
    });
}

#[test]
fn a_check_fails_on_what_went_to_a_hook_of_the_tests_own() {
    checked(|reports| {
        let said = panic_of(|| {
            testing::check(|| {
                let hook = thence_core::set_failure_hook(|_| ());
                fail();
                thence_core::restore_failure_hook(hook);
            });
        });
        assert_eq!(said, "1 unhandled:\n");
        reports.missed(1);
    });
}

#[test]
fn a_check_fails_on_what_is_left_and_says_where_it_is() {
    checked(|_| {
        let mut kept = None;
        let said = panic_of(|| {
            testing::check(|| {
                let (trigger, d) = Deferred::<u8>::new();
                d.map(|n| n).named("kept").report();
                kept = Some(trigger);
            });
        });
        assert!(said.starts_with("left behind: Live {"), "{said}");
        assert!(said.contains("\nchain at ") && said.contains("awaited at "), "{said}");
        kept.unwrap().fire(1);
        // What was there before is not the body's.
        let (trigger, d) = Deferred::<u8>::new();
        testing::check(|| ());
        drop(d);
        trigger.fire(1);
    });
}

#[test]
fn a_block_is_checked_in_the_same_way() {
    checked(|_| {
        let n = testing::check_flow(async { Ok(flow(async { Ok(3) }).await? + 4) });
        assert_eq!(n, 7);
        let said = panic_of(|| testing::check_flow(async { Err(Failure::msg("no")) }));
        assert!(said.starts_with("the block failed: no\n    at "), "{said}");
        let said = panic_of(|| testing::check_flow(async { panic!("oh") }));
        assert_eq!(said, "the block stopped: panicked: oh");

        let mut kept = None;
        let said = panic_of(|| {
            let (trigger, d) = Deferred::<u8>::new();
            kept = Some(trigger);
            testing::check_flow(async move { d.await });
        });
        assert!(said.starts_with("the block still waits"), "{said}");
        assert!(said.contains("\nflow at ") && said.contains("testing.rs:"), "{said}");
        drop(kept);
    });
}

#[test]
fn what_is_expected_reaches_neither_hook_nor_counter() {
    checked(|reports| {
        let before = unhandled();
        let got = testing::expect_unhandled(2, || {
            fail();
            Deferred::<u8>::ok(1)
                .map(|_| {
                    if unhandled() > 0 {
                        panic!("oh")
                    }
                })
                .report();
        });
        let messages: Vec<&str> = got.iter().map(thence_core::Report::message).collect();
        assert_eq!(messages, ["refused", "panicked: oh"]);
        assert_eq!(unhandled(), before);
        assert!(testing::expect_unhandled(0, || ()).is_empty());
        reports.expect(&[]);
        testing::check(|| testing::expect_unhandled(1, fail));
    });
}

#[test]
fn expecting_another_number_fails_and_lists_what_there_was() {
    checked(|reports| {
        let said = panic_of(|| drop(testing::expect_unhandled(2, fail)));
        assert!(
            said.starts_with("expected 2 unhandled, there were 1:\nunhandled: refused"),
            "{said}"
        );
        let said = panic_of(|| drop(testing::expect_unhandled(0, || panic!("the test's own"))));
        assert_eq!(said, "the test's own");
        fail();
        reports.expect(&["refused"]);
    });
}
