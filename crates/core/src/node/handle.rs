//! The typed end that a Deferred holds.

use std::marker::PhantomData;

use super::{CancelRef, Cx, Node, Site, Slot, Work, cx, flag, step};
use crate::fault::Fault;

/// One reference to a node that nobody waits for yet, with its types.
pub(crate) struct Handle<T: 'static, E: Fault> {
    n: Node,
    types: PhantomData<(T, E)>,
}

impl<T: 'static, E: Fault> Handle<T, E> {
    /// # Safety
    ///
    /// The node ends with an outcome of these types, one reference is given away with it, and
    /// there is no other handle.
    #[inline]
    pub(super) unsafe fn new(n: Node) -> Self {
        Self { n, types: PhantomData }
    }

    #[inline]
    pub(crate) fn node(&self) -> Node {
        self.n
    }

    /// The node, and with it the reference.
    #[inline]
    pub(super) fn into_node(self) -> Node {
        let n = self.n;
        std::mem::forget(self);
        n
    }

    /// Puts a step behind it.
    #[inline]
    pub(crate) fn attach<W: Work<T, E>>(
        self,
        cx: &Cx,
        work: W,
        site: Site,
    ) -> Handle<W::Value, W::Error> {
        debug_assert!(!self.n.is_done());
        let n = self.into_node();
        // SAFETY: a handle's node has no waiter, and the types are the handle's.
        unsafe { Handle::new(step::attach(cx, n, work, site)) }
    }

    /// Whether it has ended with a value that somebody would take back.
    #[inline]
    pub(crate) fn has_way_back(&self) -> bool {
        self.n.has_way_back()
    }

    /// Puts a step behind one that has ended, so that the value's way back comes along.
    pub(crate) fn attach_ended<W: Work<T, E>>(
        self,
        cx: &Cx,
        work: W,
        site: Site,
    ) -> Handle<W::Value, W::Error> {
        debug_assert!(self.n.is_done());
        let n = self.into_node();
        let waits_already = n.is_listed();
        if !waits_already {
            // The handle's reference goes with the outcome through the queue, as a producer's would.
            n.keep();
        }
        // SAFETY: a handle's node has no waiter, and the types are the handle's.
        let w = unsafe { Handle::new(step::attach(cx, n, work, site)) };
        if !waits_already {
            cx.complete(n);
            cx.settle();
        }
        w
    }

    /// Makes a step of a value that is there, to run when its turn comes.
    #[inline]
    pub(crate) fn queue<V: 'static, F: Fault, W>(
        cx: &Cx,
        slot: Slot<V, F>,
        work: W,
        site: Site,
    ) -> Self
    where
        W: Work<V, F, Value = T, Error = E>,
    {
        // SAFETY: `queue` gives a step of the work's types with a reference for its handle.
        unsafe { Self::new(step::queue(cx, slot, work, site)) }
    }

    /// A handle on an outcome that is there.
    pub(crate) fn ended(cx: &Cx, slot: Slot<T, E>, site: Site) -> Self {
        // SAFETY: an ended node of these types, whose one reference is the handle's.
        unsafe { Self::new(step::ended(cx, slot, site, flag::HANDLE)) }
    }

    /// Takes the outcome of one that has ended.
    #[inline]
    pub(crate) fn take_done(self) -> Slot<T, E> {
        let cx = cx();
        let n = self.into_node();
        // SAFETY: the handle's types. A handle's node has no waiter, so DONE stays DONE.
        let slot = unsafe { n.take::<T, E>() };
        cx.release(n);
        slot
    }

    /// Lets go of the handle, and keeps what can take its step away again.
    pub(crate) fn detacher(self) -> Detacher {
        let n = self.n;
        n.keep();
        drop(self);
        Detacher(n)
    }

    pub(crate) fn request(&self) {
        let cx = cx();
        cx.enter(|| cx.request(self.n));
    }

    pub(crate) fn canceller(&self) -> CancelRef {
        CancelRef::new(self.n)
    }
}

impl<T: 'static, E: Fault> Drop for Handle<T, E> {
    fn drop(&mut self) {
        let cx = cx();
        self.n.clear(flag::HANDLE);
        cx.enter(|| {
            if let Some(hook) = self.n.take_left() {
                cx.within(self.n, || super::run_guarded(hook));
            }
            cx.let_go(self.n);
        });
    }
}

/// Can take a step away from what it waits for, so that this is left. Keeps memory alive.
pub(crate) struct Detacher(Node);

impl Detacher {
    pub(crate) fn detach(self) {
        let cx = cx();
        // SAFETY: `detach` looks at the state itself; the node is alive by this reference.
        cx.enter(|| unsafe { (self.0.vt.get().detach)(cx, self.0) });
    }
}

impl Drop for Detacher {
    fn drop(&mut self) {
        let cx = cx();
        cx.enter(|| cx.release(self.0));
    }
}

/// Ends an outcome that never had a node, as a node's end would: one after the other, however
/// they nest.
pub(crate) fn discard<T: 'static, E: Fault>(slot: Slot<T, E>, site: Site) {
    let cx = cx();
    cx.enter(|| step::bury_slot(cx, slot, site));
}

/// Ends an outcome that has arrived where nobody wants it: at once, inside another drop too, so that
/// failures are told and values go back in the order in which they arrive.
pub(crate) fn tell<T: 'static, E: Fault>(slot: Slot<T, E>, site: Site) {
    super::run_guarded(|| crate::report::unclaimed(slot, site));
}
