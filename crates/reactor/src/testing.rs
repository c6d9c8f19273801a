//! A test that needs a reactor.

use std::time::Duration;

use thence_core::{Failure, flow, testing};

use crate::{DeferredExt, reactor::Reactor};

/// Runs a test's body as [`run`](crate::run) does, and gives the value it ends with.
///
/// ```
/// use std::time::Duration;
/// use thence_reactor::{after, offload};
///
/// let sum = thence_reactor::test(async {
///     after(Duration::from_millis(1)).await;
///     Ok(offload(|| Ok(3)).await? + 4)
/// });
/// assert_eq!(sum, 7);
/// ```
///
/// # Panics
///
/// When the body fails or is stopped, or takes more than a minute; when something it started has
/// not ended two seconds after it; and, as [`testing::check`], when a failure went unhandled or
/// something was leaked. The message says what and where.
#[track_caller]
pub fn test<T: 'static>(body: impl Future<Output = Result<T, Failure>> + 'static) -> T {
    testing::check(|| {
        let built = Reactor::builder().signals(false).drain(DRAIN).build();
        let mut reactor = built.expect("a test has no reactor around it");
        let result = reactor.run(async { flow(body).timeout(LIMIT).await });
        let cut = std::mem::take(&mut reactor.cut);
        drop(reactor);
        match result {
            Err(failure) => panic!("the test failed: {failure:?}"),
            Ok(_) if !cut.is_empty() => {
                panic!("{DRAIN:?} after the test had ended:\n{}", cut.join("\n"))
            }
            Ok(value) => value,
        }
    })
}

/// A body that waits for what never comes fails, where it would hang.
const LIMIT: Duration = Duration::from_secs(60);

/// What a test leaves running has this long to end.
const DRAIN: Duration = Duration::from_secs(2);
