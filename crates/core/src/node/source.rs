//! Source nodes: what a trigger fires.

use std::alloc::Layout;
use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Weak;

use super::alloc::Shape;
use super::context::Links;
use super::{
    Cx, Handle, Kind, Node, Site, Slot, Vt, WayBack, cx, discard_done, flag, no_detach, no_notice,
    stop,
};
use crate::fault::Fault;
use crate::hosting::Home;
use crate::outcome::{Outcome, Stop};

/// The producer's end of a source node. Holds one reference.
pub(crate) struct Source<T: 'static, E: Fault> {
    n: Node,
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
    fn asked(n: Node) -> *mut Cell<Asked> {
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
        let n = cx.make(&Self::SHAPE, &Self::VT, site, 2, flag::HANDLE | flag::ROOT);
        cx.link_root(n);
        // SAFETY: a source of these types; one of its two references is the handle's.
        (Self { n, types: PhantomData }, unsafe { Handle::new(n) })
    }

    /// The same, with a canceller. What is given here stands until `ask_at` says more.
    #[inline]
    pub(crate) fn asking(site: Site, asked: Asked) -> (Asking<T, E>, Handle<T, E>) {
        let cx = cx();
        cx.look_for_context();
        let flags = flag::HANDLE | flag::ROOT | flag::HOOKED;
        let n = cx.make(&Self::SHAPE_ASKED, &Self::VT_ASKED, site, 2, flags);
        cx.link_root(n);
        // SAFETY: made with room for a Payload, whose links are not touched by this.
        unsafe { Payload::asked(n).write(Cell::new(asked)) };
        // SAFETY: a source of these types; one of its two references is the handle's.
        (Asking(Self { n, types: PhantomData }), unsafe { Handle::new(n) })
    }

    /// Ends it. After a request has stopped it, the value goes back where it came from or is
    /// dropped, and the firing is ignored.
    #[inline]
    pub(crate) fn settle(self, outcome: Outcome<T, E>) {
        self.settle_slot(outcome.into());
    }

    /// As [`Source::settle`], with the trail so far.
    #[inline]
    pub(crate) fn settle_slot(self, slot: Slot<T, E>) {
        let n = self.n;
        std::mem::forget(self);
        let cx = cx();
        if n.state.get() == super::State::Pending {
            let hooks = n.take_hooks();
            cx.end_of(n);
            // SAFETY: a PENDING source of these types; its payload is empty.
            unsafe { n.put(slot) };
            cx.complete(n);
            if hooks.is_some() {
                super::run_guarded(|| drop(hooks));
            }
            cx.settle();
        } else {
            Self::ignore(cx, n, slot);
        }
    }

    #[cold]
    fn ignore(cx: &Cx, n: Node, slot: Slot<T, E>) {
        cx.enter(|| {
            let hook = n.take_unclaimed::<T>();
            super::run_guarded(|| match (slot, hook) {
                (Slot::Ok(value), Some(hook)) => hook(value),
                (slot, _) => drop(slot),
            });
            cx.release(n);
        });
    }

    pub(crate) fn on_cancel(&self, hook: Box<dyn FnOnce()>) {
        self.n.set(flag::HOOKED);
        if self.is_cancelled() {
            cx().enter(|| super::run_guarded(hook));
            return;
        }
        self.n.extra_mut().on_cancel.push(hook);
    }

    /// Runs `hook` when asked, without being a canceller: the source still stops at once.
    pub(crate) fn note_cancel(&self, hook: Box<dyn FnOnce()>) {
        self.n.extra_mut().on_cancel.push(hook);
    }

    pub(crate) fn on_left(&self, hook: Box<dyn FnOnce()>) {
        let old = self.n.extra_mut().on_left.replace(hook);
        if old.is_some() {
            super::run_guarded(|| drop(old));
        }
    }

    pub(crate) fn on_unclaimed(&self, hook: Box<dyn FnOnce(T)>) {
        self.n.set_unclaimed(hook);
    }

    /// Ends it with a value that goes to `place` at `home` when nobody takes it.
    #[inline]
    pub(crate) fn fire_from(self, home: Weak<dyn Home>, place: u64, value: T) {
        self.n.set_way_back(WayBack::Home(home, place));
        self.settle(Outcome::Ok(value));
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.n.has(flag::CANCEL)
    }

    /// Whether anybody holds or waits for its Deferred.
    pub(crate) fn is_wanted(&self) -> bool {
        self.n.state.get() == super::State::Pending
            && (self.n.has(flag::HANDLE) || self.n.next.get().is_some())
    }

    pub(crate) fn site(&self) -> Site {
        self.n.site.get()
    }

    /// # Safety
    ///
    /// `n` is a `PENDING` source of these types.
    unsafe fn cancel(cx: &Cx, n: Node) -> Option<Node> {
        // SAFETY: the caller's promise.
        unsafe { Self::cancel_after(cx, n, || ()) }
    }

    /// # Safety
    ///
    /// `n` is a `PENDING` source of these types that `asking` made.
    unsafe fn cancel_asked(cx: &Cx, n: Node) -> Option<Node> {
        // SAFETY: I3, what `asking` wrote is there until the source ends.
        let asked = unsafe { (*Payload::asked(n)).get() };
        // SAFETY: the caller's promise.
        unsafe { Self::cancel_after(cx, n, || (asked.call)(asked.home, asked.place)) }
    }

    /// # Safety
    ///
    /// `n` is a `PENDING` source of these types.
    unsafe fn cancel_after(cx: &Cx, n: Node, first: impl FnOnce()) -> Option<Node> {
        let hooks = n.extra().map(|extra| std::mem::take(&mut extra.on_cancel));
        n.keep();
        cx.within(n, || {
            super::run_guarded(first);
            hooks.into_iter().flatten().for_each(super::run_guarded);
        });
        let is_over = n.has(flag::HOOKED) || n.state.get() != super::State::Pending;
        cx.release(n);
        if is_over {
            return None;
        }
        // The trigger keeps its reference; its later firing is ignored.
        n.keep();
        // SAFETY: a PENDING source of these types; its payload is empty.
        unsafe { stop::<T, E>(cx, n, Stop::Cancelled) };
        cx.complete(n);
        None
    }
}

/// A source that `Source::asking` made.
pub(crate) struct Asking<T: 'static, E: Fault>(Source<T, E>);

impl<T: 'static, E: Fault> Asking<T, E> {
    /// Says at which place of its home it is.
    #[inline]
    pub(crate) fn ask_at(self, place: u64) -> Source<T, E> {
        if self.0.n.state.get() == super::State::Pending {
            // SAFETY: I3, the Payload is there while it is PENDING. A cell changes through a
            // shared reference, which does not reach the links.
            let asked = unsafe { &*Payload::asked(self.0.n) };
            asked.set(Asked { place, ..asked.get() });
        }
        self.0
    }
}

impl<T: 'static, E: Fault> Drop for Source<T, E> {
    fn drop(&mut self) {
        let (cx, n) = (cx(), self.n);
        if n.state.get() != super::State::Pending {
            cx.enter(|| cx.release(n));
            return;
        }
        let stop = if self.is_cancelled() { Stop::Cancelled } else { Stop::lost_at(n.step()) };
        let hooks = n.take_hooks();
        cx.end_of(n);
        // SAFETY: a PENDING source of these types; its payload is empty.
        unsafe { n.put::<T, E>(Slot::Stop(stop)) };
        cx.complete(n);
        if hooks.is_some() {
            super::run_guarded(|| drop(hooks));
        }
        cx.settle();
    }
}

/// # Safety
///
/// None; a source is never in a list.
unsafe fn run_nothing(_: &Cx, _: Node, _: Option<Node>) -> Option<Node> {
    None
}
