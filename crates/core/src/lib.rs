//! Deferreds, failures, events and flows: whatever finishes later, ended exactly once.
//!
//! This crate has no I/O, no threads and no clock; `thence` is what people depend on.
//!
//! ```
//! use thence_core::Deferred;
//!
//! let (trigger, d) = Deferred::<i32>::new();
//! d.map(|n| n * 2).map(|n| n * 3).inspect(|n| assert_eq!(*n, 6)).report();
//! trigger.fire(1);
//! ```
//!
//! ```text
//!   Trigger ──fire──▶ node ──▶ step ──▶ step ──▶ done | report | .await
//!                              ▲  one FIFO queue per thread; a callback never runs
//!                              │  inside another
//!                     cancel ──┘  a request travels up to whatever is pending
//! ```

#![deny(unsafe_code)]

mod again;
mod crossing;
mod deferred;
mod dump;
mod events;
mod failure;
mod fault;
mod flow;
mod flow_context;
mod guarded;
pub mod hosting;
mod inbox;
mod interrupt;
mod join;
mod lock;
mod many;
#[allow(unsafe_code, reason = "core's one room for it; its invariants stand at its head")]
mod node;
mod outcome;
mod pool;
mod queue;
mod report;
mod scope;
mod semaphore;
mod shared;
mod slot;
mod steps;
pub mod testing;
mod trigger;
mod waiters;

pub use self::again::{repeat_until, retry, retry_if};
pub use self::deferred::{CallFlattenFirst, Canceller, Deferred, End, IntoDeferred};
pub use self::events::{
    Delivered, Emitter, Events, Reaction, Subscription, deliver, emit, events, next, on, once,
};
pub use self::failure::{Context, Failure};
pub use self::fault::{CannotFail, Ends, Fault, Step};
pub use self::flow::flow;
pub use self::flow_context::{FlowContext, FlowLocal, RemoteContext};
pub use self::interrupt::Interrupt;
pub use self::join::{Join, join};
pub use self::lock::{Guard, Lock};
pub use self::many::{AllFailed, all, all_settled, first, first_ok};
pub use self::node::Wait;
pub use self::outcome::{Lost, Never, Outcome, Panic, Stop};
pub use self::pool::{Lease, Pool};
pub use self::queue::{Queue, QueueClosed, QueueStream, Rejected};
pub use self::report::{
    FailureHook, Kind, Report, raise, restore_failure_hook, set_failure_hook, unhandled,
};
pub use self::scope::Scope;
pub use self::semaphore::{Permit, Semaphore};
pub use self::shared::Shared;
pub use self::trigger::{RemoteTrigger, Trigger};
