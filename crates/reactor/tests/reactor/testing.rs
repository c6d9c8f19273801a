//! A test that runs on a reactor fails on what it left (DESIGN.md §3.7).

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use thence_core::{Deferred, Failure, flow, testing::expect_unhandled};
use thence_reactor::{after, offload};

fn panic_of(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it was to panic");
    *payload.downcast::<String>().unwrap()
}

#[test]
fn a_test_gives_its_value_after_all_it_started_has_ended() {
    let n = thence_reactor::test(async {
        after(Duration::from_millis(1)).done(|()| ());
        offload(|| Ok(3)).await
    });
    assert_eq!(n, 3);
}

#[test]
fn a_test_that_fails_shows_the_trail() {
    let said = panic_of(|| thence_reactor::test(async { Err(Failure::msg("no such row")) }));
    assert!(said.starts_with("the test failed: no such row\n    at "), "{said}");
}

#[test]
fn a_test_fails_on_what_nobody_handled() {
    let said = panic_of(|| {
        thence_reactor::test(async {
            flow(async { Err::<(), _>(Failure::msg("refused")) }).report();
            Ok(())
        });
    });
    assert!(said.starts_with("1 unhandled:\nunhandled: refused\n    at "), "{said}");
    thence_reactor::test(async {
        let reports = expect_unhandled(1, || drop(Deferred::<u8>::err(Failure::msg("expected"))));
        assert_eq!(reports.len(), 1);
        Ok(())
    });
}

#[test]
fn a_test_fails_on_what_it_left_running() {
    let said = panic_of(|| {
        thence_reactor::test(async {
            let (trigger, d) = Deferred::<()>::new();
            flow(async move {
                let kept = trigger;
                d.await?;
                drop(kept);
                Ok(())
            })
            .named("stuck")
            .report();
            Ok(())
        });
    });
    assert!(
        said.starts_with("2s after the test had ended:\nunfinished flow `stuck` at "),
        "{said}"
    );
}
