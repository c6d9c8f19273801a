//! How a node gets its outcome, and how it is taken out again.

use std::ptr;

use super::Cx;
use super::extra::Hooks;
use super::header::{Counted, Node, State};
use crate::fault::Fault;
use crate::outcome::{Stop, lane};
use crate::report::unclaimed;
use crate::slot::Slot;

/// A node whose end has begun: it is `RUNNING`, its payload is empty, it stands in no list, and its
/// hooks are taken. The only way to put an outcome into a node.
///
/// A user's code runs between this and the end (an error is told of its step), and finds the node
/// where nothing can end it: a trigger is ignored, a request only leaves its flag. None runs
/// between the outcome and [`Cx::complete`], which hands it on once.
pub(super) struct Ending(Counted);

/// A node that has just got its outcome, and the count that goes with it. It stands in no list, and
/// is handed on once, by [`Cx::complete`].
#[must_use = "whoever waits is never told"]
pub(super) struct Ended(Counted);

impl Ended {
    /// # Safety
    ///
    /// `DONE`, in no list, and no other value of this type is there for it.
    #[inline]
    pub(super) unsafe fn new(n: Counted) -> Self {
        debug_assert_eq!(n.node().state.get(), State::Done);
        Self(n)
    }

    #[inline]
    pub(super) fn node(&self) -> Node<'_> {
        self.0.node()
    }

    #[inline]
    pub(super) fn into_counted(self) -> Counted {
        self.0
    }
}

impl Ending {
    /// Begins the end of a source. The slot that ends it is built before: a trail's `Default` may
    /// end the same source.
    ///
    /// # Safety
    ///
    /// A `PENDING` source, and a count that goes with the outcome.
    #[inline]
    pub(super) unsafe fn of_source(cx: &Cx, n: Counted) -> (Self, Option<Hooks>) {
        debug_assert_eq!(n.node().state.get(), State::Pending);
        let hooks = n.node().take_hooks();
        cx.end_of(n.node());
        n.node().state.set(State::Running);
        (Self(n), hooks)
    }

    /// The end of a step or flow that runs.
    ///
    /// # Safety
    ///
    /// A `RUNNING` node with an empty payload, which counts as unfinished no more.
    #[inline(always)]
    pub(super) unsafe fn of_running(n: Counted) -> Self {
        Self(n)
    }

    /// Writes the outcome; an error records the step.
    ///
    /// # Safety
    ///
    /// The node was made for these types.
    #[inline(always)]
    pub(super) unsafe fn put<T, E: Fault>(self, slot: Slot<T, E>) -> Ended {
        debug_assert_eq!(self.0.node().state.get(), State::Running);
        match slot {
            // Built in place: moved as a whole it is read back wider than it was written, which
            // stalls every step by a dozen cycles.
            Slot::Ok(value) => {
                let n = self.0.node();
                n.lane.set(lane::OK);
                // SAFETY: the caller's promise; the allocation was sized for work and outcome.
                unsafe { n.slot::<T, E>().write(Slot::Ok(value)) };
                n.state.set(State::Done);
            }
            // SAFETY: the caller's promise.
            slot => unsafe { self.put_other(slot) },
        }
        Ended(self.0)
    }

    /// # Safety
    ///
    /// As [`Ending::put`].
    #[cold]
    #[inline(never)]
    unsafe fn put_other<T, E: Fault>(&self, mut slot: Slot<T, E>) {
        let n = self.0.node();
        if let Slot::Err(..) = slot {
            n.record(&mut slot);
            debug_assert_eq!(n.state.get(), State::Running);
        }
        n.lane.set(slot.lane());
        // SAFETY: the caller's promise; the allocation was sized for both work and outcome.
        unsafe { n.slot::<T, E>().write(slot) };
        n.state.set(State::Done);
    }
}

/// Takes the outcome of a `DONE` node.
///
/// # Safety
///
/// The node is `DONE` with an outcome of these types.
#[inline(always)]
pub(super) unsafe fn take<T, E: Fault>(n: Node<'_>) -> Slot<T, E> {
    debug_assert_eq!(n.state.get(), State::Done);
    n.state.set(State::Taken);
    let slot = n.slot::<T, E>();
    // SAFETY: I3, a DONE node holds an outcome; its types by the caller's promise. TAKEN says
    // that it is gone. A value is read in parts, as `put` writes it.
    unsafe {
        match &*slot {
            Slot::Ok(value) => Slot::Ok(ptr::read(value)),
            _ => slot.read(),
        }
    }
}

/// The `discard` of every node with an outcome of these types.
///
/// # Safety
///
/// The node is `DONE` with an outcome of these types.
pub(super) unsafe fn discard_done<T: 'static, E: Fault>(n: Node<'_>) {
    // SAFETY: the caller's promise.
    let slot = unsafe { take::<T, E>(n) };
    match slot {
        Slot::Ok(value) => match n.take_unclaimed::<T>() {
            Some(hook) => hook(value),
            None => drop(value),
        },
        slot => unclaimed(slot, n.site.get()),
    }
}

/// The `stop` of nodes whose payload is empty while they run.
///
/// # Safety
///
/// The node is `RUNNING`, its payload is empty, and it was made for these types.
pub(super) unsafe fn stop<T: 'static, E: Fault>(cx: &Cx, n: Counted, stop: Stop) -> Ended {
    cx.end_of(n.node());
    // SAFETY: the caller's promise.
    unsafe { Ending::of_running(n).put::<T, E>(Slot::Stop(stop)) }
}
