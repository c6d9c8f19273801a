//! Requests: asking whatever is pending now to end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::{Cx, Kind, Node, State, cx, flag};
use crate::outcome::Stop;

/// Finds a node for as long as it has not ended: what stands in its place now, if it was replaced.
/// Keeps neither the node nor its value.
#[derive(Clone)]
pub(crate) struct CancelRef(Rc<Cell<Option<Node>>>);

impl CancelRef {
    pub(crate) fn new(n: Node) -> Self {
        let places = &mut n.extra_mut().places;
        if let Some(place) = places.first() {
            return Self(place.clone());
        }
        let place = Rc::new(Cell::new(Some(n)));
        places.push(place.clone());
        Self(place)
    }

    pub(crate) fn request(&self) {
        let Some(n) = self.0.get() else { return };
        // One that has ended may be on its way out with no reference left: it is not kept again.
        if matches!(n.state.get(), State::Done | State::Taken) {
            return;
        }
        let cx = cx();
        cx.enter(|| cx.request(n));
    }
}

impl Node {
    /// `heir` stands in this node's place from now on.
    pub(super) fn bequeath(self, heir: Node) {
        let Some(extra) = self.extra() else { return };
        let places = std::mem::take(&mut extra.places);
        if places.is_empty() {
            return;
        }
        places.iter().for_each(|place| place.set(Some(heir)));
        heir.extra_mut().places.extend(places);
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
            // Flows that await each other, and nobody else, ask each other for ever.
            for n in self.hold_roots() {
                if n.state.get() == State::Pending && n.vt.get().kind == Kind::Flow && awaits(n, n)
                {
                    n.state.set(State::Running);
                    // SAFETY: RUNNING, its future not closed.
                    unsafe { (n.vt.get().stop)(self, n, Stop::lost_at(n.step())) };
                    self.complete(n);
                }
                self.release(n);
            }
        });
    }
}

/// Whether the flow `f` waits, through steps and other flows, for `wanted`.
fn awaits(f: Node, wanted: Node) -> bool {
    let mut seen = Vec::new();
    let mut flows = vec![f];
    while let Some(f) = flows.pop() {
        for awaited in super::flow::pending_awaits(f) {
            let mut at = Some(awaited);
            while let Some(n) = at
                && n.state.get() == State::Pending
            {
                if n == wanted {
                    return true;
                }
                if n.vt.get().kind == Kind::Flow {
                    if !seen.contains(&n) {
                        seen.push(n);
                        flows.push(n);
                    }
                    break;
                }
                at = n.up.get();
            }
        }
    }
    false
}

/// A request that waits; holds a reference. (Without a destructor: the thread may be gone.)
struct Asked(Node);

thread_local! {
    static WAITING: RefCell<VecDeque<Asked>> = const { RefCell::new(VecDeque::new()) };
    static SENDING: Cell<bool> = const { Cell::new(false) };
}
