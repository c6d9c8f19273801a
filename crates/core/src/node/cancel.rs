//! Requests: asking whatever is pending now to end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::{Cx, Node, State, cx, flag};

/// Keeps a node's memory, never its value, to ask it later.
pub(crate) struct CancelRef(Node);

impl CancelRef {
    pub(crate) fn new(n: Node) -> Self {
        n.keep();
        Self(n)
    }

    pub(crate) fn request(&self) {
        let cx = cx();
        cx.enter(|| cx.request(self.0));
    }
}

impl Clone for CancelRef {
    fn clone(&self) -> Self {
        Self::new(self.0)
    }
}

impl Drop for CancelRef {
    fn drop(&mut self) {
        let cx = cx();
        cx.enter(|| cx.release(self.0));
    }
}

impl Cx {
    /// Sends a request up from `n`. Requests that it sets off are sent after it, one by one:
    /// `all` of `all` of `all` needs no stack.
    pub(super) fn request(&self, n: Node) {
        n.keep();
        let busy = WAITING.try_with(|waiting| {
            waiting.borrow_mut().push_back(Asked(n));
            SENDING.replace(true)
        });
        if busy != Ok(false) {
            // Sent by the one who is sending; or the thread is ending and nothing is left to ask.
            return;
        }
        while let Some(Asked(n)) = WAITING.with_borrow_mut(VecDeque::pop_front) {
            self.walk(n);
            self.release(n);
        }
        SENDING.set(false);
    }

    /// Follows `up` while nodes are pending. A node that a request stands on already was asked,
    /// and so was all above it.
    fn walk(&self, n: Node) {
        let mut at = Some(n);
        while let Some(n) = at {
            match n.state.get() {
                State::Pending if n.has(flag::CANCEL) => return,
                State::Pending => {
                    n.set(flag::CANCEL);
                    // SAFETY: PENDING. User code runs only in a `cancel` that gives `None`, so
                    // the node it gives is alive (I2).
                    at = unsafe { (n.vt.get().cancel)(self, n) };
                }
                State::Queued | State::Running => {
                    n.set(flag::CANCEL);
                    return;
                }
                State::Moved => {
                    at = match n.next.get() {
                        Some(x) if x.state.get() == State::Pending => x.up.get(),
                        Some(x) if x.state.get() == State::Moved => Some(x),
                        _ => return,
                    };
                }
                State::Done | State::Taken => return,
            }
        }
    }

    /// Sends a request to everything unfinished on this thread.
    pub(crate) fn cancel_unfinished(&self) {
        self.enter(|| {
            for n in self.hold_roots() {
                self.request(n);
                self.release(n);
            }
        });
    }
}

/// A request that waits; holds a reference. (Without a destructor: the thread may be gone.)
struct Asked(Node);

thread_local! {
    static WAITING: RefCell<VecDeque<Asked>> = const { RefCell::new(VecDeque::new()) };
    static SENDING: Cell<bool> = const { Cell::new(false) };
}
