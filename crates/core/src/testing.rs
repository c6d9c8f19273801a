//! For tests: what nobody handled and what was left behind fails them.
//!
//! ```
//! use thence_core::{Deferred, Failure, testing};
//!
//! testing::check(|| {
//!     let (trigger, d) = Deferred::<u8>::new();
//!     drop(d.map(|n| n + 1)); // left: nobody will handle its failure
//!     let reports = testing::expect_unhandled(1, || trigger.fail(Failure::msg("refused")));
//!     assert_eq!(reports[0].message(), "refused");
//! });
//! ```
//!
//! Users' code: the body of a test, with nothing borrowed.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use crate::hosting::{self, Live};
use crate::report::{Collecting, Report};
use crate::{Failure, Outcome, flow};

/// Runs a test's body, then whatever it set off on this thread until nothing more is due.
///
/// `thence::test` does the same around a reactor.
///
/// # Panics
///
/// When a failure went unhandled that [`expect_unhandled`] did not expect, or when a flow, a step
/// or a node is left that was not there before; the message lists them with their sites.
///
/// ```should_panic
/// use thence_core::{Deferred, testing};
///
/// testing::check(|| {
///     let (trigger, d) = Deferred::<u8>::new();
///     d.map(|n| n + 1).report();
///     std::mem::forget(trigger); // leaked: the chain never ends
/// });
/// ```
#[doc(alias = "flushLoggedErrors")]
pub fn check<R>(body: impl FnOnce() -> R) -> R {
    let before = hosting::live();
    let collecting = Collecting::begin();
    let result = body();
    hosting::run_until_idle();

    let wrong = faults(&collecting.take(), collecting.made(), before);
    assert!(wrong.is_empty(), "{wrong}");
    result
}

/// As [`check`], for a body that is an `async` block; gives the value it ends with.
///
/// # Panics
///
/// As [`check`]; when the block fails or is stopped; and when it still waits after all that can
/// happen on this thread has happened.
///
/// ```
/// use thence_core::{Deferred, flow, testing};
///
/// let sum = testing::check_flow(async {
///     let three = flow(async { Ok(3) });
///     Ok(4 + three.await?)
/// });
/// assert_eq!(sum, 7);
/// ```
pub fn check_flow<T: 'static>(body: impl Future<Output = Result<T, Failure>> + 'static) -> T {
    let outcome = check(|| {
        let end = Rc::new(RefCell::new(None));
        let slot = end.clone();
        let canceller = {
            let d = flow(body);
            let canceller = d.canceller();
            d.settled().done(move |outcome| drop(slot.replace(Some(outcome))));
            canceller
        };
        hosting::run_until_idle();
        let outcome = end.take();
        if outcome.is_none() {
            let waiting = unfinished();
            canceller.cancel();
            panic!("the block still waits, and nothing more can happen here:{waiting}");
        }
        outcome
    });
    match outcome {
        Some(Outcome::Ok(value)) => value,
        Some(Outcome::Err(failure)) => panic!("the block failed: {failure:?}"),
        Some(Outcome::Stop(stop)) => panic!("the block stopped: {stop}"),
        None => unreachable!("a block that waits has panicked above"),
    }
}

/// Runs `f`, in which `count` things are to go unhandled on this thread, and gives their reports.
/// They reach neither the failure hook nor the counter.
///
/// # Panics
///
/// When it was not that many; the message lists what was reported.
///
/// ```
/// use thence_core::{Deferred, testing::expect_unhandled};
///
/// let reports = expect_unhandled(1, || {
///     Deferred::<u8>::ok(1).map(|_| if true { panic!("oh") }).report();
/// });
/// assert_eq!(reports[0].message(), "panicked: oh");
/// ```
#[track_caller]
pub fn expect_unhandled(count: usize, f: impl FnOnce()) -> Vec<Report> {
    let collecting = Collecting::begin();
    // However `f` ends: what it was expected to make is no fault of the test around it.
    let ran = catch_unwind(AssertUnwindSafe(f));
    collecting.uncount();
    let reports = collecting.take();
    drop(collecting);
    if let Err(panic) = ran {
        resume_unwind(panic);
    }
    if reports.len() != count {
        let listed = list(&reports);
        panic!("expected {count} unhandled, there were {}:{listed}", reports.len());
    }
    reports
}

/// What is wrong at the end of a test; nothing if nothing is.
fn faults(reports: &[Report], unhandled: u64, before: Live) -> String {
    let mut wrong = String::new();
    if unhandled > 0 {
        wrong += &format!("{unhandled} unhandled:{}\n", list(reports));
    }
    let left = hosting::live();
    if left.flows > before.flows || left.steps > before.steps || left.nodes > before.nodes {
        wrong += &format!("left behind: {left:?}, before it was {before:?}:{}\n", unfinished());
    }
    wrong
}

fn list(reports: &[Report]) -> String {
    reports.iter().fold(String::new(), |mut text, report| {
        let _ = write!(text, "\n{report}");
        text
    })
}

fn unfinished() -> String {
    hosting::unfinished().iter().fold(String::new(), |mut text, unfinished| {
        let kind = if unfinished.is_flow { "flow" } else { "chain" };
        let _ = write!(text, "\n{kind} at {}", unfinished.site);
        if let Some(label) = unfinished.label {
            let _ = write!(text, " ({label})");
        }
        if let Some(waiter) = unfinished.waiter {
            let _ = write!(text, ", awaited at {waiter}");
        }
        text
    })
}
