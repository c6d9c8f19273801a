//! An event loop in which whatever finishes later is a typed [`Deferred`].
//!
//! > Started work finishes. Cancelled work says so. Nothing fails in silence.
//!
//! ```
//! use std::time::Duration;
//! use thence::prelude::*;
//!
//! fn main() -> Result<(), Failure> {
//!     thence::run(async {
//!         after(Duration::from_millis(1)).await;
//!         let answer = offload(|| Ok(6 * 7)).await?;
//!         assert_eq!(answer, 42);
//!         Ok(())
//!     })
//! }
//! ```
//!
//! [`core`] has Deferreds, events, flows, locks and queues; [`reactor`] the loop, timers, the pool
//! and sockets; [`http`] servers and clients. Everything people name day to day is here at the root.

pub use thence_core as core;
#[cfg(feature = "http")]
pub use thence_http as http;
pub use thence_reactor as reactor;

pub use thence_core::*;
pub use thence_reactor::*;

/// What a program usually wants in scope: `use thence::prelude::*;`.
pub mod prelude {
    pub use thence_core::{
        Context, Deferred, Failure, Never, Outcome, Scope, Stop, Trigger, all, all_settled,
        deliver, emit, first, first_ok, flow, join, next, on, once, retry,
    };
    pub use thence_reactor::{DeferredExt, Elapsed, after, backoff, offload, run};
}
