//! Flows: async blocks that run to their end.

use crate::node::here;
use crate::{Deferred, Failure};

/// Runs an async block to its end on this thread, whoever stops waiting for it.
///
/// The first poll follows the firing rule: outside any callback it has happened when this
/// returns, inside one it queues. Dropping the Deferred leaves; `cancel` asks every await that is
/// pending in the block. When a Stop arrives at an await, the block is dropped there and the flow
/// ends with it. Any `Future` can be awaited inside; one that is pending with no Deferred awaited
/// and no waker alive ends `Stop(Lost)`.
///
/// ```
/// use thence_core::{Deferred, Failure, flow};
///
/// let (trigger, port) = Deferred::<&str>::new();
/// let d = flow(async move {
///     let port: u16 = port.await?.parse()?;
///     Ok(port + 1)
/// });
/// trigger.fire("80");
/// d.inspect(|n| assert_eq!(*n, 81)).report();
/// ```
#[doc(alias = "inlineCallbacks")]
#[doc(alias = "ensureDeferred")]
#[doc(alias = "spawn")]
#[doc(alias = "spawn_local")]
#[track_caller]
pub fn flow<T: 'static>(
    block: impl Future<Output = Result<T, Failure>> + 'static, // write `async move { .. Ok(value) }`
) -> Deferred<T> {
    Deferred::from_future_at(block, here())
}
