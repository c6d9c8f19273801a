//! The context that a node carries, and the one that the thread is in.

use std::ptr::null;
use std::rc::Rc;

use super::header::Node;
use super::{Cx, hold, run_guarded};
use crate::flow_context::Frame;
use crate::report::quietly;

impl Cx {
    /// Gives a node that is made now the frame it is made in (I11). Says whether it looked for one.
    #[inline(always)]
    pub(super) fn capture(&self, n: Node<'_>) -> bool {
        let captures = !cfg!(thence_no_context) && self.captures.get();
        if captures {
            self.capture_frame(n);
        }
        captures
    }

    /// Looks again whether anything is to be captured: with every source, flow and drain, so that
    /// a step need not ask whether there is a subscriber by now.
    #[inline(always)]
    pub(super) fn look_for_context(&self) {
        if !cfg!(thence_no_context) {
            let is_traced = tracing::dispatcher::has_been_set();
            self.captures.set(is_traced || !self.context.get().is_null());
        }
    }

    /// What a subscriber set off while a node was made outside any callback runs now that the node
    /// is whole.
    #[cold]
    #[inline(never)]
    pub(super) fn settle_after_capture(&self) {
        if self.was_set_off.take() {
            self.settle();
        }
    }

    #[inline(never)]
    fn capture_frame(&self, n: Node<'_>) {
        let had_nothing = self.queue_is_empty();
        let frame = self.captured();
        self.was_set_off.set(had_nothing && !self.queue_is_empty());
        if let Some(frame) = frame {
            n.context.set(Rc::into_raw(frame));
            n.set_rare();
        }
    }

    /// The frame of code that is written now, with the span it is in.
    pub(crate) fn captured(&self) -> Option<Rc<Frame>> {
        let frame = self.current_frame();
        Frame::in_span_of_now(frame.as_ref()).or(frame)
    }

    /// The frame that the thread is in.
    pub(crate) fn current_frame(&self) -> Option<Rc<Frame>> {
        let frame = self.context.get();
        if frame.is_null() {
            return None;
        }
        // SAFETY: I11, the thread's slot holds a count of its own; one is added for the caller.
        unsafe {
            Rc::increment_strong_count(frame);
            Some(Rc::from_raw(frame))
        }
    }

    /// Runs `f` in `frame`, and then, if nothing held the thread, what the end of `frame` set off.
    pub(crate) fn in_context<R>(&self, frame: Option<&Rc<Frame>>, f: impl FnOnce() -> R) -> R {
        struct Settled<'a>(&'a Cx, Outer);
        impl Drop for Settled<'_> {
            fn drop(&mut self) {
                self.1.come_back();
                self.0.settle();
            }
        }
        let _settled = Settled(self, self.keep_context());
        // SAFETY: the caller's frame.
        unsafe { self.switch(frame.map_or(null(), Rc::as_ptr)) };
        f()
    }

    /// Makes the span that the caller has entered part of the frame the thread is in, so that it
    /// is left while steps run that were not written in it, and entered again at the end.
    #[inline(always)]
    pub(super) fn adopt_span(&self) -> Option<Adopted> {
        self.look_for_context();
        if self.captures.get() { self.adopt_span_of_now() } else { None }
    }

    #[inline(never)]
    fn adopt_span_of_now(&self) -> Option<Adopted> {
        let adopted = Frame::in_span_of_now(self.current_frame().as_ref())?;
        self.captures.set(true);
        Some(Adopted { before: self.context.replace(Rc::into_raw(adopted)) })
    }

    /// Remembers the frame the thread is in, to come back to it.
    #[inline(always)]
    pub(super) fn keep_context(&self) -> Outer {
        let frame = self.context.get();
        if !frame.is_null() {
            // SAFETY: I11, the slot's count keeps it alive until here.
            unsafe { Rc::increment_strong_count(frame) };
        }
        Outer(frame)
    }

    /// Puts the thread into the frame of `n`, which is about to run.
    #[inline(always)]
    pub(super) fn run_in_context_of(&self, n: Node<'_>) {
        if !cfg!(thence_no_context) && n.context.get() != self.context.get() {
            // SAFETY: I11, the node has a count of its own.
            unsafe { self.switch(n.context.get()) };
        }
    }

    /// Runs `f` in the frame of `n`.
    pub(super) fn within(&self, n: Node<'_>, f: impl FnOnce()) {
        let outer = self.keep_context();
        self.run_in_context_of(n);
        f();
        drop(outer);
    }

    /// Leaves one frame and its span for another.
    ///
    /// # Safety
    ///
    /// `to` is null or alive by a count of the caller's, who keeps it until this returns.
    #[cold]
    #[inline(never)]
    unsafe fn switch(&self, to: *const Frame) {
        let from = self.context.get();
        if from == to {
            return;
        }
        // SAFETY: I11. `to` is alive by the caller's node or frame and gets the slot's count;
        // `from` is alive by the slot's, which is given back last.
        let (left, entered) = unsafe {
            if !to.is_null() {
                Rc::increment_strong_count(to);
            }
            (from.as_ref(), to.as_ref())
        };
        // A subscriber may panic, and is no callback of anybody here. One that panics when a span is
        // left is told all the same that the next is entered.
        let held = hold();
        if let Some(frame) = left {
            quietly(|| frame.exit_span());
        }
        if let Some(frame) = entered {
            quietly(|| frame.enter_span());
        }
        drop(held);
        self.context.set(to);
        self.look_for_context();
        // SAFETY: the slot's count, which `to` has replaced.
        unsafe { release(from) };
    }
}

/// The frame to come back to; holds a count of it.
pub(super) struct Outer(*const Frame);

impl Outer {
    #[inline(always)]
    pub(super) fn come_back(&self) {
        let cx = super::cx();
        if self.0 != cx.context.get() {
            // SAFETY: it has a count of its own.
            unsafe { cx.switch(self.0) };
        }
    }
}

impl Drop for Outer {
    #[inline(always)]
    fn drop(&mut self) {
        self.come_back();
        if !self.0.is_null() {
            // SAFETY: the count that `keep_context` took.
            unsafe { release(self.0) };
        }
    }
}

/// The frame that was the thread's before its caller's span was adopted; holds the slot's count.
pub(super) struct Adopted {
    before: *const Frame,
}

impl Drop for Adopted {
    fn drop(&mut self) {
        // SAFETY: the slot's count, which `before` has replaced.
        unsafe { release(super::cx().context.replace(self.before)) };
    }
}

/// Gives a count back that a node or the thread held.
#[inline(never)]
///
/// # Safety
///
/// Null, or there is such a count, and nobody else gives it back.
pub(super) unsafe fn release(frame: *const Frame) {
    if frame.is_null() {
        return;
    }
    // SAFETY: I11, the count is the caller's to give.
    let frame = unsafe { Rc::from_raw(frame) };
    // The last one drops what its user put there.
    if Rc::strong_count(&frame) == 1 {
        run_guarded(|| drop(frame));
    }
}
