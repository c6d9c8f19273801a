//! Requests: asking whatever is pending now to end.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use super::header::{Counted, Kind, Node, Ptr, State, flag};
use super::{Cx, cx, flow};
use crate::outcome::Stop;

/// Finds a node for as long as it has not ended: what stands in its place now, if it was replaced.
/// Keeps neither the node nor its value.
#[derive(Clone)]
pub(crate) struct CancelRef(Rc<Cell<Option<Ptr>>>);

impl CancelRef {
    pub(super) fn new(n: Node<'_>) -> Self {
        let extra = n.extra_made();
        let mut places = extra.places.take();
        if places.is_empty() {
            places.push(Rc::new(Cell::new(Some(n.ptr()))));
        }
        let place = places[0].clone();
        extra.places.set(places);
        Self(place)
    }

    pub(crate) fn request(&self) {
        let Some(n) = self.0.get() else { return };
        // SAFETY: a node empties the places it stands in before its memory goes (`drop_rare`).
        let n = unsafe { n.node() };
        // One that has ended may be on its way out with its last count: it is not kept again.
        if matches!(n.state.get(), State::Done | State::Taken) {
            return;
        }
        let cx = cx();
        cx.enter(|| cx.request(n));
    }
}

impl Node<'_> {
    /// `heir` stands in this node's place from now on.
    pub(super) fn bequeath(self, heir: Node<'_>) {
        let Some(extra) = self.extra() else { return };
        let places = extra.places.take();
        if places.is_empty() {
            return;
        }
        places.iter().for_each(|place| place.set(Some(heir.ptr())));
        let extra = heir.extra_made();
        let mut all = extra.places.take();
        all.extend(places);
        extra.places.set(all);
    }
}

impl Cx {
    /// Sends a request up from `n`. Requests that it sets off are sent after it, one by one:
    /// `all` of `all` of `all` needs no stack.
    pub(super) fn request(&self, n: Node<'_>) {
        let busy = WAITING.try_with(|waiting| {
            waiting.borrow_mut().push_back(n.keep());
            SENDING.replace(true)
        });
        if busy != Ok(false) {
            // Sent by the one who is sending; or the thread is ending and nothing is left to ask.
            return;
        }
        while let Some(n) = WAITING.with_borrow_mut(VecDeque::pop_front) {
            self.walk(n.node());
            self.release(n);
        }
        SENDING.set(false);
    }

    /// Follows `up` while nodes are pending. A node that a request stands on already was asked,
    /// and so was all above it.
    fn walk(&self, n: Node<'_>) {
        let mut at = Some(n.ptr());
        while let Some(n) = at {
            // SAFETY: the caller's `n`, and from there what PENDING nodes wait for (I2): a `cancel`
            // that runs a user's code gives `None`.
            let n = unsafe { n.node() };
            match n.state.get() {
                State::Pending if n.has(flag::CANCEL) => return,
                State::Pending => {
                    n.set(flag::CANCEL);
                    // SAFETY: PENDING.
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
                self.request(n.node());
                self.release(n);
            }
            // Flows that await each other, and nobody else, ask each other for ever.
            for f in self.hold_roots() {
                let n = f.node();
                if n.state.get() == State::Pending && n.vt.get().kind == Kind::Flow && awaits(n, n)
                {
                    let stop = Stop::lost_at(n.step());
                    n.state.set(State::Running);
                    // SAFETY: I1, the producer's count was its state's; RUNNING, its future not
                    // closed.
                    let ended = unsafe { (n.vt.get().stop)(self, n.ptr().counted(), stop) };
                    self.complete(ended);
                }
                self.release(f);
            }
        });
    }
}

/// Whether the flow `f` waits, through steps and other flows, for `wanted`.
fn awaits(f: Node<'_>, wanted: Node<'_>) -> bool {
    // Only looked into, never gone through: no order hangs on it.
    let mut seen = HashSet::new();
    let mut flows = vec![f.ptr()];
    while let Some(f) = flows.pop() {
        // SAFETY: no user's code runs here, so that what is awaited stays: each `Wait` keeps its node,
        // and a PENDING node what it waits for (I2). The list has flows only.
        let awaited = unsafe { flow::pending_awaits(f.node()) };
        for awaited in awaited {
            let mut at = Some(awaited);
            while let Some(ptr) = at {
                // SAFETY: as above.
                let n = unsafe { ptr.node() };
                if n.state.get() != State::Pending {
                    break;
                }
                if ptr == wanted.ptr() {
                    return true;
                }
                if n.vt.get().kind == Kind::Flow {
                    if seen.insert(ptr) {
                        flows.push(ptr);
                    }
                    break;
                }
                at = n.up.get();
            }
        }
    }
    false
}

thread_local! {
    /// Requests that wait, each with a count. What is left when the thread ends is leaked: a count
    /// has no destructor that could look for a thread which is gone.
    static WAITING: RefCell<VecDeque<Counted>> = const { RefCell::new(VecDeque::new()) };
    static SENDING: Cell<bool> = const { Cell::new(false) };
}
