//! For whoever drives a thread: a reactor, a host with a loop of its own, a test.
//!
//! One turn is: hold, deliver completions, due timers and the inbox, let go, run the queue.
//!
//! ```
//! use thence_core::{Deferred, hosting};
//!
//! let (trigger, d) = Deferred::<u8>::new();
//! d.inspect(|n| assert_eq!(*n, 7)).report();
//!
//! let hold = hosting::hold();
//! trigger.fire(7); // queues: a turn counts as a callback
//! drop(hold);
//! assert_eq!(hosting::run_queue(1024), 1);
//! ```

use std::cell::RefCell;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

pub use crate::inbox::{Closed, Inbox};
use crate::node::{self, cx};
pub use crate::node::{Live, Unfinished};

/// Keeps callbacks from running; see [`hold`].
#[must_use = "it holds the queue while it lives"]
pub struct Hold(#[expect(dead_code, reason = "held for its drop")] node::Held);

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hold")
    }
}

/// While the hold lives, what is fired queues. Letting go runs nothing.
pub fn hold() -> Hold {
    Hold(node::hold())
}

/// Runs up to `budget` queued callbacks and says how many ran. What is left keeps its place.
///
/// # Panics
///
/// While a [`Hold`] is alive or a callback runs: the queue is not run inside itself.
pub fn run_queue(budget: usize) -> usize {
    assert!(cx().is_idle(), "run_queue inside a callback or under a Hold");
    cx().drain(budget)
}

/// Whether nothing is queued on this thread.
pub fn queue_is_empty() -> bool {
    cx().queue_is_empty()
}

/// This thread's inbox.
pub fn inbox() -> Arc<Inbox> {
    crate::inbox::mine()
}

/// Runs up to `max` of what arrived from other threads; says how many that were.
pub fn deliver_inbox(max: usize) -> usize {
    cx().enter(|| crate::inbox::deliver(max))
}

/// Delivers the inbox and runs the queue until both are empty.
///
/// # Panics
///
/// As [`run_queue`].
pub fn run_until_idle() {
    loop {
        let delivered = deliver_inbox(usize::MAX);
        if run_queue(usize::MAX) + delivered == 0 {
            return;
        }
    }
}

/// How much is unfinished on this thread.
pub fn live() -> Live {
    cx().live()
}

/// Every flow that has not ended, and every source that a step or an await waits for.
pub fn unfinished() -> Vec<Unfinished> {
    cx().unfinished()
}

/// Sends a request to everything on this thread that has not ended.
pub fn cancel_unfinished() {
    cx().cancel_unfinished();
}

/// Says which callback a thread is running. Any thread may look.
#[derive(Debug, Default)]
pub struct Beacon {
    pub(crate) site: AtomicPtr<Location<'static>>,
}

impl Beacon {
    /// The site of the callback that runs right now: of a step the line that attached it, of a
    /// flow the await it went on from.
    pub fn running(&self) -> Option<&'static Location<'static>> {
        node::site_of_beacon(self.site.load(Ordering::Relaxed))
    }
}

/// This thread's beacon; the loop publishes on it from now on.
pub fn beacon() -> Arc<Beacon> {
    BEACON.with_borrow_mut(|kept| {
        let kept = kept.get_or_insert_with(|| {
            let beacon = Arc::<Beacon>::default();
            cx().set_beacon(Arc::as_ptr(&beacon));
            Lit(beacon)
        });
        kept.0.clone()
    })
}

/// Takes the beacon away from the loop before it is dropped.
struct Lit(Arc<Beacon>);

impl Drop for Lit {
    fn drop(&mut self) {
        cx().set_beacon(std::ptr::null());
    }
}

thread_local! {
    static BEACON: RefCell<Option<Lit>> = const { RefCell::new(None) };
}
