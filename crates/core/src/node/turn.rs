//! Running: the firing rule (DESIGN.md §3.2), ends, and panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::context::List;
use super::ending::Ended;
use super::header::{Counted, Kind, Node, State, flag};
use super::{Cx, Site, cx, flow};
use crate::fault::Step;
use crate::outcome::{Panic, Stop};
use crate::report::{Report, hand_over};

/// Keeps callbacks from running while it lives; what is fired meanwhile queues.
pub(crate) struct Held(&'static Cx);

/// Holds the thread without running anything at the end: a reactor's turn.
pub(crate) fn hold() -> Held {
    let cx = cx();
    let holds = cx.busy.get();
    if holds == u32::MAX {
        // Who forgets holds may make more of them than can be counted.
        std::process::abort();
    }
    cx.busy.set(holds + 1);
    Held(cx)
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
    }
}

/// Keeps a panic of `f` from unwinding further. (Measured without by `bench/`.)
#[inline(always)]
fn guard<R>(f: impl FnOnce() -> R) -> std::thread::Result<R> {
    if cfg!(thence_no_guard) { Ok(f()) } else { catch_unwind(AssertUnwindSafe(f)) }
}

/// Runs user code that is no callback (a destructor, a hook): with the queue held, its panic
/// reported.
pub(crate) fn run_guarded(f: impl FnOnce()) {
    let cx = cx();
    cx.busy.set(cx.busy.get() + 1);
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        hand_over(&Report::destructor(payload, cx.running_site()));
    }
    cx.busy.set(cx.busy.get() - 1);
}

impl Cx {
    /// `f`, and then, if nothing held the thread before, everything it set off.
    #[inline]
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        let held = hold();
        let result = f();
        drop(held);
        self.settle();
        result
    }

    /// Whether a step on a ready value may run at once: outside any callback, and nothing queued
    /// before it.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.busy.get() == 0 && self.queue.is_empty()
    }

    /// Whether ends are being handed on: what has ended waits its turn there.
    #[inline]
    pub(crate) fn is_handing(&self) -> bool {
        self.in_handing.get() || !self.handing.is_empty()
    }

    /// Runs one callback of a step on a ready value, as the queue would.
    #[inline]
    pub(crate) fn run_now<R>(&self, site: Site, f: impl FnOnce() -> R) -> Result<R, Panic> {
        self.busy.set(self.busy.get() + 1);
        if self.is_watched() {
            self.show(Some(site));
        }
        let result = guard(f);
        if self.is_watched() {
            self.show(None);
        }
        self.busy.set(self.busy.get() - 1);
        if !self.queue_is_empty() {
            self.settle();
        }
        result.map_err(|payload| Panic::new(payload, Some(Step { site, label: None })))
    }

    /// After something was completed: outside any callback runs all of it, inside one only hands
    /// on what is no callback.
    #[inline]
    pub(crate) fn settle(&self) {
        if self.busy.get() == 0 {
            if !self.queue_is_empty() {
                self.drain_all();
            }
        } else if !self.handing.is_empty() {
            self.hand_on();
        }
    }

    #[inline(never)]
    fn drain_all(&self) {
        // Once more where a subscriber that was told of a closed span has set something off.
        while !self.queue_is_empty() {
            self.drain(usize::MAX);
        }
    }

    /// Runs up to `budget` queued callbacks and says how many ran.
    pub(crate) fn drain(&self, budget: usize) -> usize {
        debug_assert_eq!(self.busy.get(), 0);
        let held = hold();
        let span = self.adopt_span();
        let outer = self.keep_context();
        let mut left = budget;
        loop {
            // One guard round the loop, not one a step: `running` says whose panic it was.
            let ran = guard(|| {
                loop {
                    if !self.handing.is_empty() {
                        self.hand_on();
                    }
                    if left == 0 {
                        return;
                    }
                    let Some(n) = self.queue.pop() else { return };
                    left -= 1;
                    let mut done = self.run(n);
                    // What would be pushed and popped again at once, alone in the queue, goes on
                    // without the detour.
                    while let Some(n) = done {
                        if left == 0 || !self.goes_next(n.node()) {
                            self.complete(n);
                            break;
                        }
                        left -= 1;
                        done = self.run_on(n);
                    }
                }
            });
            match ran {
                Ok(()) => {
                    // The last one to leave a context may set something off.
                    outer.come_back();
                    if left == 0 || self.queue_is_empty() {
                        break;
                    }
                }
                Err(payload) => self.recover(payload),
            }
        }
        self.show(None);
        drop(outer);
        drop(span);
        drop(held);
        budget - left
    }

    /// Runs `f` as if it were handing on: what ends meanwhile waits, and follows.
    pub(crate) fn while_handing<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Handing<'a>(&'a Cx, bool);
        impl Drop for Handing<'_> {
            fn drop(&mut self) {
                self.0.in_handing.set(self.1);
            }
        }
        self.enter(|| {
            let handing = Handing(self, self.in_handing.replace(true));
            let result = f();
            drop(handing);
            result
        })
    }

    /// Hands on what has ended, in the order of the ends: each as far as it goes without a
    /// callback, with all that it sets off, before the next. Iterative, and never inside itself.
    fn hand_on(&self) {
        if self.in_handing.replace(true) {
            return;
        }
        // Whoever drops a hold while this runs must not let it drain inside itself.
        let held = hold();
        let before = (self.running.get(), self.input.get());
        let outer = self.keep_context();
        let later = List::new();
        loop {
            let ran = catch_unwind(AssertUnwindSafe(|| {
                while let Some(n) = self.handing.pop().or_else(|| later.pop()) {
                    n.node().set_listed(false);
                    self.hand(n, &later);
                }
            }));
            match ran {
                Ok(()) => break,
                Err(payload) => self.recover(payload),
            }
        }
        drop(outer);
        self.running.set(before.0);
        self.input.set(before.1);
        self.in_handing.set(false);
        drop(held);
    }

    /// Hands one on that is `DONE`, down to a callback or an end. What else there is comes later.
    fn hand(&self, n: Counted, later: &List) {
        if n.node().state.get() == State::Queued {
            // SAFETY: QUEUED, and in no list since it was taken out of this one.
            unsafe { self.queue.push(n) };
            return;
        }
        if n.node().is_buried() {
            // Left meanwhile, and told where it was left; only this list's count is to go.
            self.release(n);
            return;
        }
        if !n.node().is_done() {
            // Whoever held its Deferred has taken the outcome meanwhile.
            self.release(n);
            return;
        }
        later.put_before(&self.handing);
        // SAFETY: DONE, and out of the list it stood in.
        let mut done = Some(unsafe { Ended::new(n) });
        while let Some(n) = done {
            if !self.handing.is_empty() {
                // What ended while this one did ended before it.
                self.hand_later(n);
                return;
            }
            let goes_on = match n.node().waiter() {
                Some(w) => {
                    !n.node().has(flag::AWAITED) && w.vt.get().lanes & n.node().lane.get() == 0
                }
                None => false,
            };
            if goes_on {
                done = self.run_on(n);
            } else {
                self.deliver(n);
                done = None;
            }
        }
    }

    /// Runs what stands at the front, and gives the node that has ended by it.
    #[inline(always)]
    fn run(&self, n: Counted) -> Option<Ended> {
        if n.node().is_done() {
            // SAFETY: DONE, and out of the queue.
            return self.run_on(unsafe { Ended::new(n) });
        }
        debug_assert_eq!(n.node().state.get(), State::Queued);
        self.running.set(Some(n.ptr()));
        self.input.set(None);
        self.run_in_context_of(n.node());
        self.show_node(n.node());
        let run = n.node().vt.get().run;
        // SAFETY: a QUEUED node runs on what it holds itself.
        let done = unsafe { run(self, n, None) };
        self.running.set(None);
        done
    }

    /// Runs the waiter of `n`, which has ended.
    #[inline(always)]
    fn run_on(&self, n: Ended) -> Option<Ended> {
        let Some(w) = n.node().next.get() else {
            // It was taken away while `n` stood in a list.
            self.let_go(n.into_counted());
            return None;
        };
        // SAFETY: I5, the waiter of what has ended; it is handed on once, so the count in its link is
        // ours.
        let w = unsafe { w.counted() };
        self.running.set(Some(w.ptr()));
        self.input.set(Some(n.node().ptr()));
        self.run_in_context_of(w.node());
        self.show_node(w.node());
        let run = w.node().vt.get().run;
        // SAFETY: `n` is DONE, and its waiter is of its types (I5).
        let done = unsafe { run(self, w, Some(n.node())) };
        self.running.set(None);
        self.release(n.into_counted());
        done
    }

    /// Whether the waiter of `n`, which has ended, would be the only one in the queue.
    #[inline(always)]
    fn goes_next(&self, n: Node<'_>) -> bool {
        let Some(w) = n.next.get() else { return false };
        // SAFETY: `n` ended a moment ago, so that its waiter has not run (I5).
        let w = unsafe { w.node() };
        // Whoever awaits has no lanes.
        w.vt.get().lanes & n.lane.get() != 0 && self.queue.is_empty() && self.handing.is_empty()
    }

    /// A callback panicked: ends its node, and puts right what `run` did not get to.
    #[cold]
    fn recover(&self, payload: Box<dyn std::any::Any + Send>) {
        let Some(w) = self.running.take() else {
            hand_over(&Report::destructor(payload, None));
            return;
        };
        // SAFETY: a run clears `running` before it gives its count away, so this one went down with
        // the stack that unwound.
        let w = unsafe { w.counted() };
        if w.node().vt.get().kind == Kind::Flow {
            self.flow.set(None);
        }
        if let Some(input) = self.input.take() {
            // SAFETY: as above; `run_on` held it.
            self.release(unsafe { input.counted() });
        }
        let n = w.node();
        if n.state.get() != State::Running {
            // The outcome is the last thing a run writes (I4): nothing panics behind it. A leak
            // would be the least harm.
            debug_assert!(false, "a run panicked when it was over");
            hand_over(&Report::destructor(payload, Some(n.site.get())));
            return;
        }
        let stop = Stop::Panicked(Panic::new(payload, Some(n.step())));
        let run_stop = n.vt.get().stop;
        // SAFETY: RUNNING, and an unwind finds the payload empty, or a flow's future that its
        // `stop` closes first (I4).
        let ended = unsafe { run_stop(self, w, stop) };
        self.complete(ended);
    }

    /// `n` is `DONE`, and the producer's count goes with it, once. While others are handed on it
    /// stands behind them.
    #[inline]
    pub(super) fn complete(&self, n: Ended) {
        if self.in_handing.get() || !self.handing.is_empty() {
            self.hand_later(n);
        } else {
            self.deliver(n);
        }
    }

    /// Queues a callback that nothing it waits for brings: behind what has ended before.
    ///
    /// # Safety
    ///
    /// A `QUEUED` node that stands in no list.
    #[inline]
    pub(super) unsafe fn enqueue(&self, n: Counted) {
        let list = if self.is_handing() { &self.handing } else { &self.queue };
        // SAFETY: the caller's promise.
        unsafe { list.push(n) };
    }

    fn hand_later(&self, n: Ended) {
        n.node().set_listed(true);
        // SAFETY: DONE, and in no list.
        unsafe { self.handing.push(n.into_counted()) };
    }

    #[inline(always)]
    fn deliver(&self, ended: Ended) {
        let n = ended.node();
        let Some(w) = n.waiter() else {
            self.let_go(ended.into_counted());
            return;
        };
        if n.has(flag::AWAITED) {
            n.clear(flag::AWAITED);
            n.next.set(None);
            // SAFETY: AWAITED says that `next` is a flow or a waker (I5), alive by its `Wait`.
            unsafe { (w.vt.get().notice)(self, w) };
            self.release(ended.into_counted());
        } else if w.vt.get().lanes & n.lane.get() != 0 {
            // SAFETY: DONE, and in no list.
            unsafe { self.queue.push(ended.into_counted()) };
        } else {
            self.hand_later(ended);
        }
    }

    /// As [`Cx::release`], for a producer or a handle. An outcome that nobody can take any more is
    /// told at that instant, even if a request on its way keeps the node, or the list of what is
    /// handed on.
    #[inline]
    pub(super) fn let_go(&self, held: Counted) {
        let n = held.node();
        if n.rc.get() > 1 && n.is_done() && !n.has(flag::HANDLE) && !n.is_buried() {
            // SAFETY: DONE, nobody holds it, and nobody waits for it or it would have been handed on.
            unsafe { self.bury(n.keep()) };
        }
        self.release(held);
    }

    /// Gives one count back.
    #[inline(always)]
    pub(super) fn release(&self, held: Counted) {
        let n = held.node();
        let rc = n.rc.get();
        if rc > 1 {
            n.rc.set(rc - 1);
        } else if n.state.get() == State::Taken {
            // SAFETY: the last count, and TAKEN.
            unsafe { self.free(held) };
        } else {
            self.dispose(held);
        }
    }

    #[inline(never)]
    fn dispose(&self, last: Counted) {
        // I1: whatever has not ended has a producer with a count.
        debug_assert_eq!(last.node().state.get(), State::Done);
        // SAFETY: as in `let_go`; not buried, or the graves' count would be there.
        unsafe { self.bury(last) };
    }

    /// Nobody can take this outcome any more: drop or report it. One after the other, however
    /// they nest (I7).
    ///
    /// # Safety
    ///
    /// `DONE`, without a handle or a waiter, and not buried before.
    #[inline(never)]
    unsafe fn bury(&self, n: Counted) {
        n.node().set_buried(true);
        // SAFETY: the caller's promise: `next` is free.
        unsafe { self.graves.push(n) };
        if self.burying.replace(true) {
            return;
        }
        self.bury_all();
        self.burying.set(false);
    }

    /// `f`, and the end of everything that it left to end, before what waited already.
    pub(crate) fn with_own_graves(&self, f: impl FnOnce()) {
        let older = List::new();
        older.put_before(&self.graves);
        let was_burying = self.burying.replace(true);
        f();
        self.bury_all();
        self.graves.put_before(&older);
        self.burying.set(was_burying);
    }

    fn bury_all(&self) {
        let held = hold();
        let outer = self.keep_context();
        while let Some(grave) = self.graves.pop() {
            let n = grave.node();
            self.run_in_context_of(n);
            let dropped = catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: a grave is DONE, and its outcome nobody's but ours.
                unsafe { (n.vt.get().discard)(n) };
            }));
            if let Err(payload) = dropped {
                hand_over(&Report::destructor(payload, Some(n.site.get())));
            }
            // The state is TAKEN from before the user's code ran.
            n.set_buried(false);
            self.release(grave);
        }
        drop(outer);
        drop(held);
    }

    pub(crate) fn queue_is_empty(&self) -> bool {
        self.queue.is_empty() && self.handing.is_empty()
    }

    fn running_site(&self) -> Option<Site> {
        // SAFETY: its run has a count as long as it stands here.
        self.running.get().map(|n| flow::standing_at(unsafe { n.node() }))
    }

    #[inline]
    fn show_node(&self, n: Node<'_>) {
        if self.is_watched() {
            self.show(Some(flow::standing_at(n)));
        }
    }
}
