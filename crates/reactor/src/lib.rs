//! The reactor under thence: waits for something to happen, does what you wanted, repeats.
//!
//! ```
//! use thence_core::{Failure, flow};
//! use thence_reactor::net::{TcpListener, TcpStream};
//!
//! # fn main() -> Result<(), Failure> {
//! thence_reactor::run(async {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let addr = listener.local_addr();
//!     flow(async move {
//!         let (stream, _from) = listener.accept().await?;
//!         loop {
//!             let bytes = stream.read(4096).await?;
//!             if bytes.is_empty() {
//!                 return Ok(());
//!             }
//!             stream.write(bytes).await?;
//!         }
//!     })
//!     .report();
//!
//!     let stream = TcpStream::connect(addr).await?;
//!     stream.write("hello").await?;
//!     assert_eq!(stream.read_exact(5).await?, "hello");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! ```text
//!   kernel ──► driver ──completions──► turn ──► sources ──► Deferred ──► your code
//!               ▲                       │        (net, timers, offload, signals)
//!               └──────operations───────┴───────────┘
//! ```
//!
//! # One turn
//!
//! The driver waits, until the next timer at most; then completions, due timers and the inbox from
//! other threads are delivered with the queue held, and the queue runs up to its budget. Each part
//! is bounded, so none keeps another waiting.
//!
//! # Ownership of buffers
//!
//! An operation owns its descriptor and its buffer until its last completion. Whoever waits for it
//! holds neither, so leaving is always safe.
//!
//! # Cancellation
//!
//! Dropping a Deferred only stops waiting, and what comes goes back where it came from: bytes to
//! the connection's buffer, sockets to the listener. A request ends what has not begun and tells the
//! rest. See [`TcpStream`](net::TcpStream) and [`offload`] for what that means to each.
//!
//! # Threads
//!
//! A reactor and all that belongs to it stay on one thread. [`Handle`] and
//! [`RemoteTrigger`](thence_core::RemoteTrigger) reach it from others.
//!
//! # Platforms
//!
//! Linux 5.10 and later. Other Unixes, through mio, should work and are not tested.

#![deny(unsafe_code)]

pub mod dns;
pub mod driver;
pub mod fs;
pub mod net;
pub mod process;

mod backoff;
mod drain;
mod every;
mod hub;
mod jobs;
mod offload;
mod reactor;
mod run;
mod signals;
mod sleep;
mod testing;
mod time;
mod timers;
mod turn;
mod watchdog;

pub use self::{
    backoff::{Jitter, backoff, backoff_with},
    drain::{Drained, Why, draining},
    driver::manual,
    every::{Every, every},
    offload::{QueueFull, offload, offload_when_free},
    reactor::{Builder, Handle, Live, Reactor},
    run::{has_reactor, run},
    signals::{Signal, signal},
    sleep::{Sleep, sleep, sleep_until},
    testing::test,
    time::{DeferredExt, Elapsed, after, now},
};
pub use thence_core::hosting::Closed;
