//! Source nodes: what a trigger fires.

use std::alloc::Layout;
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::rc::Weak;

use super::alloc::Shape;
use super::context::Links;
use super::ending::{Ended, Ending, discard_done, stop};
use super::extra::WayBack;
use super::header::{Counted, Kind, Node, Ptr, State, Vt, flag};
use super::step::{no_detach, no_notice};
use super::{Cx, Handle, Site, cx, run_guarded};
use crate::fault::Fault;
use crate::guarded::let_go;
use crate::hosting::Home;
use crate::outcome::{Outcome, Stop};
use crate::slot::Slot;

/// The producer's end of a source node.
pub(crate) struct Source<T: 'static, E: Fault> {
    n: Counted,
    types: PhantomData<(T, E)>,
}

/// Whom a request calls, with two words for it: a canceller for which nothing is allocated.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) call: fn(u64, u64),
    pub(crate) home: u64,
    pub(crate) place: u64,
}

/// What stands behind the header of a source with an [`Asked`] while it is unfinished. Nothing of
/// it is to be dropped.
#[repr(C)]
struct Payload {
    links: Links,
    asked: Cell<Asked>,
}

impl Payload {
    #[inline]
    fn asked(n: Node<'_>) -> *mut Cell<Asked> {
        n.work::<Self>().wrapping_byte_add(std::mem::offset_of!(Self, asked)).cast()
    }
}

impl<T: 'static, E: Fault> Source<T, E> {
    const SHAPE: Shape = Shape::of(&[Layout::new::<Slot<T, E>>(), Layout::new::<Links>()]);
    const VT: Vt = Vt {
        run: run_nothing,
        stop: stop::<T, E>,
        discard: discard_done::<T, E>,
        cancel: Self::cancel,
        notice: no_notice,
        detach: no_detach,
        lanes: 0,
        kind: Kind::Source,
    };

    const SHAPE_ASKED: Shape = Shape::of(&[Layout::new::<Slot<T, E>>(), Layout::new::<Payload>()]);
    const VT_ASKED: Vt = Vt { cancel: Self::cancel_asked, ..Self::VT };

    /// A source, and the handle its Deferred holds.
    #[inline]
    pub(crate) fn new(site: Site) -> (Self, Handle<T, E>) {
        let cx = cx();
        cx.look_for_context();
        let (n, handle, captured) = cx.make_held(&Self::SHAPE, &Self::VT, site, 0);
        // SAFETY: SHAPE has room for the links, and nothing is there yet.
        unsafe { cx.link_root(n.node()) };
        if captured {
            cx.settle_after_capture();
        }
        // SAFETY: a source of these types.
        (Self { n, types: PhantomData }, unsafe { Handle::new(handle) })
    }

    /// The same, with a canceller. What is given here stands until `ask_at` says more.
    #[inline]
    pub(crate) fn asking(site: Site, asked: Asked) -> (Asking<T, E>, Handle<T, E>) {
        let cx = cx();
        cx.look_for_context();
        let (n, handle, captured) =
            cx.make_held(&Self::SHAPE_ASKED, &Self::VT_ASKED, site, flag::HOOKED);
        // SAFETY: made with room for a Payload, which begins with its links.
        unsafe {
            cx.link_root(n.node());
            Payload::asked(n.node()).write(Cell::new(asked));
        }
        if captured {
            cx.settle_after_capture();
        }
        // SAFETY: a source of these types.
        (Asking(Self { n, types: PhantomData }), unsafe { Handle::new(handle) })
    }

    /// Ends it. After a request has stopped it, the value goes back where it came from or is
    /// dropped, and the firing is ignored.
    #[inline]
    pub(crate) fn settle(self, outcome: Outcome<T, E>) {
        // The trail of an error is made here, before the look at the state.
        self.settle_slot(outcome.into());
    }

    /// As [`Source::settle`], with the trail so far.
    #[inline]
    pub(crate) fn settle_slot(self, slot: Slot<T, E>) {
        let n = self.into_counted();
        let cx = cx();
        if n.node().state.get() == State::Pending {
            // SAFETY: PENDING, of these types, and the count is its producer's.
            unsafe { Self::end(cx, n, slot) };
            cx.settle();
        } else {
            Self::ignore(cx, n, slot);
        }
    }

    /// # Safety
    ///
    /// A `PENDING` source of these types, and a count that goes with the outcome.
    #[inline]
    unsafe fn end(cx: &Cx, n: Counted, slot: Slot<T, E>) {
        // SAFETY: the caller's promise.
        let (ending, hooks) = unsafe { Ending::of_source(cx, n) };
        // SAFETY: the caller's promise.
        let n = unsafe { ending.put(slot) };
        cx.complete(n);
        if let Some(hooks) = hooks {
            hooks.let_go();
        }
    }

    #[cold]
    fn ignore(cx: &Cx, n: Counted, slot: Slot<T, E>) {
        cx.enter(|| {
            match (slot, n.node().take_unclaimed::<T>()) {
                (Slot::Ok(value), Some(hook)) => run_guarded(|| hook(value)),
                (slot, hook) => {
                    let_go(hook);
                    slot.let_go();
                }
            }
            cx.release(n);
        });
    }

    #[inline]
    fn into_counted(self) -> Counted {
        let mut source = ManuallyDrop::new(self);
        // SAFETY: what is not dropped is not used again.
        unsafe { source.n.move_out() }
    }

    pub(crate) fn on_cancel(&self, hook: Box<dyn FnOnce()>) {
        let n = self.n.node();
        n.set(flag::HOOKED);
        if self.is_cancelled() {
            cx().enter(|| run_guarded(hook));
            return;
        }
        n.extra_made().add_canceller(hook);
    }

    /// Runs `hook` when asked, without being a canceller: the source still stops at once.
    pub(crate) fn note_cancel(&self, hook: Box<dyn FnOnce()>) {
        self.n.node().extra_made().add_canceller(hook);
    }

    pub(crate) fn on_left(&self, hook: Box<dyn FnOnce()>) {
        self.n.node().set_left(hook);
    }

    pub(crate) fn on_unclaimed(&self, hook: Box<dyn FnOnce(T)>) {
        self.n.node().set_unclaimed(hook);
    }

    /// Ends it with a value that goes to `place` at `home` when nobody takes it.
    #[inline]
    pub(crate) fn fire_from(self, home: Weak<dyn Home>, place: u64, value: T) {
        self.n.node().set_way_back(WayBack::Home(home, place));
        self.settle_slot(Slot::Ok(value));
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.n.node().has(flag::CANCEL)
    }

    /// Whether anybody holds or waits for its Deferred.
    pub(crate) fn is_wanted(&self) -> bool {
        let n = self.n.node();
        n.state.get() == State::Pending && (n.has(flag::HANDLE) || n.next.get().is_some())
    }

    pub(crate) fn site(&self) -> Site {
        self.n.node().site.get()
    }

    /// # Safety
    ///
    /// `n` is a `PENDING` source of these types.
    unsafe fn cancel(cx: &Cx, n: Node<'_>) -> Option<Ptr> {
        // SAFETY: the caller's promise.
        unsafe { Self::cancel_after(cx, n, || ()) }
    }

    /// # Safety
    ///
    /// `n` is a `PENDING` source of these types that `asking` made.
    unsafe fn cancel_asked(cx: &Cx, n: Node<'_>) -> Option<Ptr> {
        // SAFETY: I3, what `asking` wrote is there until the source ends.
        let asked = unsafe { (*Payload::asked(n)).get() };
        // SAFETY: the caller's promise.
        unsafe { Self::cancel_after(cx, n, || (asked.call)(asked.home, asked.place)) }
    }

    /// # Safety
    ///
    /// `n` is a `PENDING` source of these types.
    unsafe fn cancel_after(cx: &Cx, n: Node<'_>, first: impl FnOnce()) -> Option<Ptr> {
        // A count of its own: the hooks may end the source and drop what else keeps it.
        let held = n.keep();
        let hooks = n.extra().map(|extra| extra.on_cancel.take()).unwrap_or_default();
        cx.within(n, || {
            run_guarded(first);
            hooks.into_iter().for_each(run_guarded);
        });
        if n.has(flag::HOOKED) || n.state.get() != State::Pending {
            cx.release(held);
            return None;
        }
        // The trigger keeps its count; its later firing is ignored.
        // SAFETY: PENDING, of these types; the count taken above goes with the outcome.
        unsafe { Self::end(cx, held, Slot::Stop(Stop::Cancelled)) };
        None
    }
}

/// A source that `Source::asking` made.
pub(crate) struct Asking<T: 'static, E: Fault>(Source<T, E>);

impl<T: 'static, E: Fault> Asking<T, E> {
    /// Says at which place of its home it is.
    #[inline]
    pub(crate) fn ask_at(self, place: u64) -> Source<T, E> {
        let n = self.0.n.node();
        if n.state.get() == State::Pending {
            // SAFETY: I3, the Payload is there while it is PENDING. A cell changes through a
            // shared reference, which does not reach the links.
            let asked = unsafe { &*Payload::asked(n) };
            asked.set(Asked { place, ..asked.get() });
        }
        self.0
    }
}

impl<T: 'static, E: Fault> Drop for Source<T, E> {
    fn drop(&mut self) {
        let cx = cx();
        // SAFETY: it is being dropped.
        let n = unsafe { self.n.move_out() };
        if n.node().state.get() == State::Pending {
            let is_asked = n.node().has(flag::CANCEL);
            let stop = if is_asked { Stop::Cancelled } else { Stop::lost_at(n.node().step()) };
            // SAFETY: PENDING, of these types, and the count is its producer's.
            unsafe { Self::end(cx, n, Slot::Stop(stop)) };
            cx.settle();
        } else {
            cx.enter(|| cx.release(n));
        }
    }
}

/// # Safety
///
/// None; a source is never `QUEUED`, so it never runs.
unsafe fn run_nothing(_: &Cx, _: Counted, _: Option<Node<'_>>) -> Option<Ended> {
    None
}
