//! Step nodes: one closure between an upstream and a waiter.

use std::alloc::Layout;
use std::marker::PhantomData;

use super::alloc::Shape;
use super::ending::{Ended, Ending, discard_done, stop, take};
use super::header::{Counted, Kind, Node, Ptr, State, Vt, flag};
use super::{Cx, Passing, Site, flow, run_guarded};
use crate::deferred::{Deferred, Inner};
use crate::fault::Fault;
use crate::outcome::Stop;
use crate::slot::Slot;

/// What a step does with what comes down to it.
pub(crate) trait Work<T: 'static, E: Fault>: 'static {
    /// The value it gives.
    type Value: 'static;
    /// The error it gives.
    type Error: Fault;
    /// The lanes it has a callback for. The others it hands on, at once and in no callback.
    const LANES: u8;
    /// It asks for the whole outcome: a `Stop(Cancelled)` that reaches it discharges the request.
    const ASKS: bool = false;
    /// A request stops here.
    const SHIELDS: bool = false;
    /// Its value is the whole outcome, which has to be told if nobody takes that value.
    const GIVES_OUTCOME: bool = false;
    /// Its callback gives the value on unchanged, so that its way back stays with it.
    const KEEPS_WAY_BACK: bool = false;

    /// The callback. Only called for a lane of `LANES`.
    fn call(self, slot: Slot<T, E>) -> Next<Self::Value, Self::Error>;

    /// Hands a lane on that it has no callback for.
    fn pass(&mut self, slot: Slot<T, E>, from: Passing<'_>) -> Slot<Self::Value, Self::Error>;
}

/// What a callback gave: an outcome, or something to wait for.
#[expect(missing_debug_implementations, reason = "crate-internal; public only to the sealed trait")]
pub enum Next<T: 'static, E: Fault> {
    Done(Slot<T, E>),
    Wait(Deferred<T, E>),
}

/// Puts a step behind an unfinished node, by its handle's count. The new handle's count is the
/// caller's.
///
/// # Safety
///
/// `up` has no waiter, will hold an outcome of `T` and `E`, and the count is its handle's.
#[inline]
pub(super) unsafe fn attach<W: Work<T, E>, T: 'static, E: Fault>(
    cx: &Cx,
    up: Counted,
    work: W,
    site: Site,
) -> Counted {
    let (w, handle, captured) = waiting::<W, T, E>(cx, work, site);
    // SAFETY: the caller's promise.
    unsafe { if captured { link_after_capture(cx, up, w) } else { link(up, w) } }
    handle
}

/// As [`link`], after a subscriber was asked for its span: it may have ended `up`.
///
/// # Safety
///
/// As [`link`], but that `up` may be `DONE`.
#[cold]
#[inline(never)]
unsafe fn link_after_capture(cx: &Cx, up: Counted, w: Counted) {
    // SAFETY: the caller's promise, and the state is looked at.
    unsafe { if up.node().is_done() { hand_to(cx, up, w) } else { link(up, w) } }
    cx.settle_after_capture();
}

/// As [`attach`], for a node that has ended: the step runs in its turn.
///
/// # Safety
///
/// `up` has no waiter, holds an outcome of `T` and `E`, and the count is its handle's.
pub(super) unsafe fn attach_ended<W: Work<T, E>, T: 'static, E: Fault>(
    cx: &Cx,
    up: Counted,
    work: W,
    site: Site,
) -> Counted {
    let (w, handle, _) = waiting::<W, T, E>(cx, work, site);
    // SAFETY: the caller's promise.
    unsafe { hand_to(cx, up, w) };
    handle
}

/// A step that waits for nothing yet, by two counts, and whether it captured a context.
#[inline(always)]
fn waiting<W: Work<T, E>, T: 'static, E: Fault>(
    cx: &Cx,
    work: W,
    site: Site,
) -> (Counted, Counted, bool) {
    let (w, handle, captured) =
        cx.make_held(&Waiting::<W, T, E>::SHAPE, &Waiting::<W, T, E>::VT, site, 0);
    // SAFETY: made for this work; nothing is behind the header yet.
    unsafe { w.node().work::<W>().write(work) };
    cx.steps.set(cx.steps.get() + 1);
    (w, handle, captured)
}

/// Makes `w` wait for `up`, by the count of its handle.
///
/// # Safety
///
/// `up` is unfinished, has no waiter, and will hold what `w` takes; `w` waits for nothing else.
#[inline]
unsafe fn link(up: Counted, w: Counted) {
    let n = up.node();
    debug_assert!(!n.is_done() && n.rc.get() > 1);
    w.node().up.set(Some(up.ptr()));
    n.next.set(Some(w.into_ptr()));
    n.clear(flag::HANDLE);
    // The producer's count is left.
    n.rc.set(n.rc.get() - 1);
}

/// Makes `w` the waiter of a node that has ended, and hands it on.
///
/// # Safety
///
/// `up` is `DONE`, has no waiter, and holds what `w` takes; `w` waits for nothing else.
unsafe fn hand_to(cx: &Cx, up: Counted, w: Counted) {
    w.node().up.set(Some(up.ptr()));
    up.node().next.set(Some(w.into_ptr()));
    up.node().clear(flag::HANDLE);
    if up.node().is_listed() {
        // It is handed on with its producer's count.
        cx.release(up);
        return;
    }
    // The handle's count goes with the outcome through the queue, as a producer's would.
    // SAFETY: DONE by the caller's promise. It was handed on before, to nobody, and is not LISTED.
    cx.complete(unsafe { Ended::new(up) });
    cx.settle();
}

/// A step whose input is there already but whose turn has not come: it queues with its input.
#[inline]
pub(super) fn queue<W: Work<T, E>, T: 'static, E: Fault>(
    cx: &Cx,
    slot: Slot<T, E>,
    work: W,
    site: Site,
) -> Counted {
    let (w, handle, _) = cx.make_held(&Loaded::<W, T, E>::SHAPE, &Loaded::<W, T, E>::VT, site, 0);
    // SAFETY: made for this pair; nothing is behind the header yet.
    unsafe { w.node().work::<(W, Slot<T, E>)>().write((work, slot)) };
    w.node().state.set(State::Queued);
    cx.steps.set(cx.steps.get() + 1);
    // SAFETY: QUEUED, and just made.
    unsafe { cx.enqueue(w) };
    handle
}

/// A step that waits for an upstream.
struct Waiting<W, T, E>(PhantomData<(W, T, E)>);

impl<W: Work<T, E>, T: 'static, E: Fault> Waiting<W, T, E> {
    const SHAPE: Shape =
        Shape::of(&[Layout::new::<W>(), Layout::new::<Slot<W::Value, W::Error>>()]);
    const VT: Vt = Vt {
        run: Self::run,
        stop: stop::<W::Value, W::Error>,
        discard: discard_done::<W::Value, W::Error>,
        cancel: if W::SHIELDS { cancel_nothing } else { cancel_up },
        notice: no_notice,
        detach: detach::<W>,
        lanes: W::LANES,
        kind: Kind::Step,
    };

    /// # Safety
    ///
    /// `w` is a `PENDING` step of these types and `up` its `DONE` upstream.
    unsafe fn run(cx: &Cx, w: Counted, up: Option<Node<'_>>) -> Option<Ended> {
        let up = up?;
        // SAFETY: a waiting step runs on a DONE upstream of its types (I5).
        let slot = unsafe { take::<T, E>(up) };
        w.node().state.set(State::Running);
        // SAFETY: PENDING until the line above, so the work was there; RUNNING says it is gone.
        let work = unsafe { w.node().work::<W>().read() };
        // SAFETY: RUNNING with an empty payload.
        unsafe { finish(cx, w, work, slot, Some(up)) }
    }
}

/// Takes a step away from what it waits for, which is left; drops the work.
///
/// # Safety
///
/// `w` is, or was, a waiting step with this work, and the caller has a count of it.
unsafe fn detach<W>(cx: &Cx, w: Node<'_>) {
    if w.state.get() != State::Pending {
        return;
    }
    let Some(up) = w.up.take() else { return };
    // SAFETY: I2. The count keeps it over what is dropped below.
    let up = unsafe { up.node() }.keep();
    up.node().next.set(None);
    cx.step_ended();
    w.state.set(State::Taken);
    // SAFETY: PENDING until the line above, so the work was there; TAKEN says it is gone.
    let work = unsafe { w.work::<W>().read() };
    // SAFETY: the upstream's `next`, which was cleared above, held the producer's count.
    cx.release(unsafe { w.ptr().counted() });
    run_guarded(|| drop(work));
    if let Some(hook) = up.node().take_left() {
        run_guarded(hook);
    }
    cx.release(up);
}

/// A step that holds its input itself.
struct Loaded<W, T, E>(PhantomData<(W, T, E)>);

impl<W: Work<T, E>, T: 'static, E: Fault> Loaded<W, T, E> {
    const SHAPE: Shape =
        Shape::of(&[Layout::new::<(W, Slot<T, E>)>(), Layout::new::<Slot<W::Value, W::Error>>()]);
    const VT: Vt = Vt {
        run: Self::run,
        stop: stop::<W::Value, W::Error>,
        discard: discard_done::<W::Value, W::Error>,
        cancel: cancel_nothing,
        notice: no_notice,
        detach: no_detach,
        lanes: W::LANES,
        kind: Kind::Step,
    };

    /// # Safety
    ///
    /// `w` is a `QUEUED` step of these types.
    unsafe fn run(cx: &Cx, w: Counted, _: Option<Node<'_>>) -> Option<Ended> {
        w.node().state.set(State::Running);
        // SAFETY: QUEUED until the line above, so work and input were there.
        let (work, slot) = unsafe { w.node().work::<(W, Slot<T, E>)>().read() };
        // SAFETY: RUNNING with an empty payload.
        unsafe { finish(cx, w, work, slot, None) }
    }
}

/// Runs the work and writes what it gave.
///
/// # Safety
///
/// `w` is a `RUNNING` step made for this work, its payload empty.
#[inline(always)]
unsafe fn finish<W: Work<T, E>, T: 'static, E: Fault>(
    cx: &Cx,
    w: Counted,
    work: W,
    slot: Slot<T, E>,
    up: Option<Node<'_>>,
) -> Option<Ended> {
    if W::ASKS && slot.is_cancelled() {
        discharge(w.node());
    }
    if W::LANES & slot.lane() == 0 {
        // SAFETY: the caller's promise.
        return Some(unsafe { pass_by(cx, w, work, slot, up) });
    }
    match work.call(slot) {
        Next::Done(slot) => {
            if W::KEEPS_WAY_BACK {
                Passing::new(up, w.node()).keep_way_back::<T>();
            }
            // SAFETY: the caller's promise.
            Some(unsafe { put(cx, w, slot) })
        }
        // SAFETY: the caller's promise.
        Next::Wait(inner) => unsafe { adopt(cx, w, inner) },
    }
}

/// Hands a lane on that the work has no callback for. Out of line, where it costs the callback's
/// way no registers.
///
/// # Safety
///
/// As [`finish`].
#[inline(never)]
unsafe fn pass_by<W: Work<T, E>, T: 'static, E: Fault>(
    cx: &Cx,
    w: Counted,
    mut work: W,
    slot: Slot<T, E>,
    up: Option<Node<'_>>,
) -> Ended {
    let slot = work.pass(slot, Passing::new(up, w.node()));
    if std::mem::needs_drop::<W>() {
        // Before the outcome is there: a destructor may take or extend this very Deferred.
        run_guarded(|| drop(work));
    }
    // SAFETY: the caller's promise.
    unsafe { put(cx, w, slot) }
}

/// Ends a step that runs.
///
/// # Safety
///
/// As [`finish`].
#[inline(always)]
unsafe fn put<T: 'static, E: Fault>(cx: &Cx, w: Counted, slot: Slot<T, E>) -> Ended {
    cx.step_ended();
    // SAFETY: the caller's promise.
    unsafe { Ending::of_running(w).put(slot) }
}

/// The tail rule (DESIGN.md §3.6): the Deferred that a step returned takes over the step's
/// waiter. Where there is none yet, or it is an await, the step's node forwards, one hop.
///
/// # Safety
///
/// `w` is a `RUNNING` step made for these types, its payload empty.
#[inline(never)]
unsafe fn adopt<T: 'static, E: Fault>(cx: &Cx, w: Counted, inner: Deferred<T, E>) -> Option<Ended> {
    let i = match inner.into_inner() {
        Inner::Node(handle) => handle.into_counted(),
        // SAFETY: the caller's promise.
        Inner::Ready(ready) => return Some(unsafe { put(cx, w, ready.into_slot()) }),
    };
    if w.node().has(flag::CANCEL) && !i.node().is_done() {
        // The request stands: what is waited for now is asked too.
        cx.request(i.node());
    }
    if i.node().is_done() {
        Passing::new(Some(i.node()), w.node()).keep_way_back::<T>();
        // SAFETY: DONE, of these types, and the handle that was ours says nobody else takes it.
        let slot = unsafe { take::<T, E>(i.node()) };
        cx.release(i);
        // SAFETY: the caller's promise.
        return Some(unsafe { put(cx, w, slot) });
    }
    if waits_for(i.node(), w.node()) {
        // Returned into itself: it would wait for itself for ever (DESIGN.md §3.6).
        i.node().clear(flag::HANDLE);
        cx.release(i);
        let stop = Stop::lost_at(w.node().step());
        // SAFETY: the caller's promise.
        return Some(unsafe { put::<T, E>(cx, w, Slot::Stop(stop)) });
    }
    // From here on the run gives its count away: what panics later is no panic of this step.
    cx.running.set(None);
    if let Some(x) = w.node().next.get()
        && !w.node().has(flag::AWAITED)
    {
        // SAFETY: I5, the waiter of an unfinished node; its producer's count was this link's and
        // goes into the link of `i`.
        let x = unsafe { x.counted() };
        x.node().note_via(w.node());
        w.node().bequeath(i.node());
        // SAFETY: unfinished, our handle's; `x` waited for `w` and takes the same.
        unsafe { link(i, x) };
        cx.step_ended();
        w.node().state.set(State::Taken);
        cx.release(w);
        return None;
    }
    let n = w.node();
    n.vt.set(&Forward::<T, E>::VT);
    n.state.set(State::Pending);
    let other = i.node();
    if other.vt.get().kind == Kind::Forward
        && other.state.get() == State::Pending
        && let Some(source) = other.up.get()
        // SAFETY: I2.
        && !unsafe { source.node() }.is_done()
    {
        // One hop and never two: wait for what the other forwarder waits for. (If that has ended, at
        // the request above, the other one is about to.)
        // SAFETY: I2.
        let source = unsafe { source.node() }.keep();
        other.up.set(None);
        other.bequeath(source.node());
        cx.end_of(other);
        other.state.set(State::Taken);
        // SAFETY: unfinished as what it is forwarded by; the other forwarder waits no more.
        unsafe { link(source, w) };
        // Last, when every link is whole: the end of its context may run anything.
        // SAFETY: the link from the source, which was rewritten above, held its producer's count.
        cx.release(unsafe { other.ptr().counted() });
        cx.release(i);
        return None;
    }
    // SAFETY: unfinished, our handle's; a forwarder of its types.
    unsafe { link(i, w) };
    None
}

/// Whether `i` is `w` or its waiter, or waits for one of them up to [`LONGEST_CYCLE`] steps up.
fn waits_for(i: Node<'_>, w: Node<'_>) -> bool {
    let mut at = i.ptr();
    for _ in 0..LONGEST_CYCLE {
        if at == w.ptr() || Some(at) == w.next.get() {
            return true;
        }
        // SAFETY: the caller's `i`, and from there what PENDING nodes wait for (I2). No user's code
        // runs here.
        let n = unsafe { at.node() };
        match n.up.get() {
            Some(up) if n.state.get() == State::Pending => at = up,
            _ => return false,
        }
    }
    false
}

/// A node that only hands on what another one ends with.
struct Forward<T, E>(PhantomData<(T, E)>);

impl<T: 'static, E: Fault> Forward<T, E> {
    const VT: Vt = Vt {
        run: Self::run,
        stop: stop::<T, E>,
        discard: discard_done::<T, E>,
        cancel: cancel_up,
        notice: no_notice,
        detach: no_detach,
        lanes: 0,
        kind: Kind::Forward,
    };

    /// # Safety
    ///
    /// `w` is a `PENDING` forwarder of these types and `up` its `DONE` upstream.
    unsafe fn run(cx: &Cx, w: Counted, up: Option<Node<'_>>) -> Option<Ended> {
        let up = up?;
        // SAFETY: a forwarder runs on a DONE upstream of its types (I5).
        let slot = unsafe { take::<T, E>(up) };
        let n = w.node();
        n.state.set(State::Running);
        n.up.set(None);
        Passing::new(Some(up), n).keep_way_back::<T>();
        // SAFETY: a forwarder's payload is empty (I3).
        Some(unsafe { put(cx, w, slot) })
    }
}

/// `Stop(Cancelled)` has reached somebody who asked for outcomes: the request is fulfilled, here
/// and for all that waits below.
pub(super) fn discharge(w: Node<'_>) {
    let mut at = Some(w);
    while let Some(n) = at
        && n.has(flag::CANCEL)
    {
        n.clear(flag::CANCEL);
        let is_awaited = n.has(flag::AWAITED);
        // A flow that ended while one of its awaits lives on elsewhere has no waiter any more.
        at = match n.waiter() {
            Some(waiter) if is_awaited => flow::awaiting(waiter),
            waiter => waiter,
        };
    }
}

/// # Safety
///
/// None beyond I2.
unsafe fn cancel_up(_: &Cx, n: Node<'_>) -> Option<Ptr> {
    n.up.get()
}

/// # Safety
///
/// None.
pub(super) unsafe fn cancel_nothing(_: &Cx, _: Node<'_>) -> Option<Ptr> {
    None
}

/// The `detach` of nodes that are no waiting step.
///
/// # Safety
///
/// None.
pub(super) unsafe fn no_detach(_: &Cx, _: Node<'_>) {}

/// The `notice` of nodes that nobody awaits through.
///
/// # Safety
///
/// None; it is never called (I5).
pub(super) unsafe fn no_notice(_: &Cx, _: Node<'_>) {
    debug_assert!(false, "only flows and wakers await");
}

/// Gives an outcome a node of its own for its end, so that it waits its turn there (I7).
pub(super) fn bury_slot<T: 'static, E: Fault>(cx: &Cx, slot: Slot<T, E>, site: Site) {
    cx.release(ended(cx, slot, site, 0));
}

/// A node of an outcome that is there, and its one count.
pub(super) fn ended<T: 'static, E: Fault>(
    cx: &Cx,
    slot: Slot<T, E>,
    site: Site,
    flags: u8,
) -> Counted {
    const fn shape<T, E: Fault>() -> Shape {
        Shape::of(&[Layout::new::<Slot<T, E>>()])
    }
    let counted = cx.make(const { &shape::<T, E>() }, &Forward::<T, E>::VT, site, flags);
    let n = counted.node();
    n.lane.set(slot.lane());
    // SAFETY: made for these types; nothing is behind the header yet. Its site is on the trail
    // already, so it is not put but written.
    unsafe { n.slot::<T, E>().write(slot) };
    n.state.set(State::Done);
    counted
}

/// How far up a step looks for itself before it waits for a Deferred that it returned: farther than
/// anybody writes by hand, and not so far that a loop over a long chain takes its square.
const LONGEST_CYCLE: usize = 1_024;
