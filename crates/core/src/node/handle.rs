//! The typed end that a Deferred holds.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use super::ending::take;
use super::header::{Counted, Node, flag};
use super::{CancelRef, Cx, Site, Work, cx, run_guarded, step};
use crate::fault::Fault;
use crate::outcome::lane;
use crate::slot::Slot;

/// One count of a node that nobody waits for yet, with its types.
pub(crate) struct Handle<T: 'static, E: Fault> {
    n: Counted,
    types: PhantomData<(T, E)>,
}

impl<T: 'static, E: Fault> Handle<T, E> {
    /// # Safety
    ///
    /// The node ends with an outcome of these types, the count is for its handle, and there is no
    /// other handle.
    #[inline]
    pub(super) unsafe fn new(n: Counted) -> Self {
        Self { n, types: PhantomData }
    }

    #[inline]
    pub(super) fn node(&self) -> Node<'_> {
        self.n.node()
    }

    #[inline]
    pub(super) fn into_counted(self) -> Counted {
        let mut handle = ManuallyDrop::new(self);
        // SAFETY: what is not dropped is not used again.
        unsafe { handle.n.move_out() }
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.node().is_done()
    }

    /// Whether it has ended with an error.
    #[inline]
    pub(crate) fn has_failed(&self) -> bool {
        self.is_done() && self.node().lane.get() == lane::ERR
    }

    pub(crate) fn set_label(&self, label: &'static str) {
        self.node().set_label(label);
    }

    /// Puts a step behind it. Behind one that has ended the step runs in its turn, and the value's
    /// way back comes along.
    #[inline(always)]
    pub(crate) fn attach<W: Work<T, E>>(
        self,
        cx: &Cx,
        work: W,
        site: Site,
    ) -> Handle<W::Value, W::Error> {
        let is_done = self.is_done();
        let n = self.into_counted();
        // SAFETY: a handle's node has no waiter, and the types are the handle's.
        unsafe {
            Handle::new(if is_done {
                step::attach_ended(cx, n, work, site)
            } else {
                step::attach(cx, n, work, site)
            })
        }
    }

    /// Whether it has ended with a value that somebody would take back.
    #[inline]
    pub(crate) fn has_way_back(&self) -> bool {
        self.is_done() && self.node().lane.get() == lane::OK && self.node().has_way_back()
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
        // SAFETY: `queue` gives a step of the work's types, by the count for its handle.
        unsafe { Self::new(step::queue(cx, slot, work, site)) }
    }

    /// A handle on an outcome that is there.
    pub(crate) fn ended(cx: &Cx, slot: Slot<T, E>, site: Site) -> Self {
        // SAFETY: an ended node of these types, whose one count is the handle's.
        unsafe { Self::new(step::ended(cx, slot, site, flag::HANDLE)) }
    }

    /// Takes the outcome, if it has ended.
    #[inline]
    pub(crate) fn take_done(self) -> Result<Slot<T, E>, Self> {
        if !self.is_done() {
            return Err(self);
        }
        let n = self.into_counted();
        // SAFETY: DONE, of the handle's types; a handle's node has no waiter that could take it.
        let slot = unsafe { take::<T, E>(n.node()) };
        cx().release(n);
        Ok(slot)
    }

    /// Lets go of the handle, and keeps what can take its step away again.
    pub(crate) fn detacher(self) -> Detacher {
        Detacher(self.node().keep())
    }

    pub(crate) fn request(&self) {
        let cx = cx();
        cx.enter(|| cx.request(self.node()));
    }

    pub(crate) fn canceller(&self) -> CancelRef {
        CancelRef::new(self.node())
    }
}

impl<T: 'static, E: Fault> Drop for Handle<T, E> {
    fn drop(&mut self) {
        let cx = cx();
        // SAFETY: it is being dropped.
        let n = unsafe { self.n.move_out() };
        n.node().clear(flag::HANDLE);
        cx.enter(|| {
            if let Some(hook) = n.node().take_left() {
                cx.within(n.node(), || run_guarded(hook));
            }
            cx.let_go(n);
        });
    }
}

/// Can take a step away from what it waits for, so that this is left. Keeps memory alive.
pub(crate) struct Detacher(Counted);

impl Detacher {
    pub(crate) fn detach(self) {
        let (cx, n) = (cx(), self.0.node());
        // SAFETY: `detach` looks at the state itself; the node is alive by this count.
        cx.enter(|| unsafe { (n.vt.get().detach)(cx, n) });
    }
}

impl Drop for Detacher {
    fn drop(&mut self) {
        let cx = cx();
        // SAFETY: it is being dropped.
        let n = unsafe { self.0.move_out() };
        cx.enter(|| cx.release(n));
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
    run_guarded(|| crate::report::unclaimed(slot, site));
}
