//! Step nodes: one closure between an upstream and a waiter.

use std::alloc::Layout;
use std::marker::PhantomData;

use super::alloc::Shape;
use super::{
    Cx, Kind, Node, Site, Slot, State, Vt, discard_done, flag, no_detach, no_notice, stop,
};
use crate::deferred::{Deferred, Inner};
use crate::fault::Fault;
use crate::outcome::{Outcome, Stop, lane};

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
    fn pass(&mut self, slot: Slot<T, E>, from: Passing) -> Slot<Self::Value, Self::Error>;
}

/// What a callback gave: an outcome, or something to wait for.
#[expect(missing_debug_implementations, reason = "crate-internal; public only to the sealed trait")]
pub enum Next<T: 'static, E: Fault> {
    Done(Slot<T, E>),
    Wait(Deferred<T, E>),
}

/// What stands behind a value that is handed on: its way back, if it has one.
#[derive(Clone, Copy)]
pub(crate) struct Passing {
    from: Option<Node>,
    to: Option<Node>,
}

impl Passing {
    /// A ready value, with no node behind it.
    pub(crate) const READY: Self = Self { from: None, to: None };

    /// The way back of a value from a stream of things. What is no value leaves it to the source,
    /// whose value may still come.
    pub(crate) fn way_back<T: 'static>(self) -> Option<Box<dyn FnOnce(T)>> {
        self.from.filter(|from| from.lane.get() == lane::OK)?.take_unclaimed()
    }

    /// As [`Passing::keep_way_back`], for a value that was only put in another order.
    pub(crate) fn keep_way_back_as<T: 'static, U: 'static>(
        self,
        as_it_was: impl FnOnce(U) -> T + 'static,
    ) {
        if let (Some(to), Some(hook)) = (self.to, self.way_back::<T>()) {
            to.set_unclaimed::<U>(Box::new(move |value| hook(as_it_was(value))));
        }
    }

    /// Nobody takes what has arrived: a value goes back or is dropped, the rest is reported.
    pub(crate) fn give_back<T: 'static, E: Fault>(self, slot: Slot<T, E>, site: Site) {
        match (slot, self.way_back::<T>()) {
            (Slot::Ok(value), Some(way_back)) => super::run_guarded(|| way_back(value)),
            (slot, _) => super::tell(slot, site),
        }
    }

    /// What is no value goes on as a value: if nobody takes that, it is still told.
    pub(crate) fn tell_if_left<T: 'static, E: Fault>(self, slot: &Slot<T, E>) {
        let Some(to) = self.to else { return };
        let (trail, site) = (slot.trail(), to.site.get());
        to.set_unclaimed::<Outcome<T, E>>(Box::new(move |outcome| {
            let slot = match (outcome, trail) {
                (Outcome::Err(error), Some(trail)) => Slot::Err(error, trail),
                (outcome, _) => outcome.into(),
            };
            crate::report::unclaimed(slot, site);
        }));
    }

    /// The value goes on unchanged, and so does its way back.
    pub(crate) fn keep_way_back<T: 'static>(self) {
        if let (Some(to), Some(hook)) = (self.to, self.way_back::<T>()) {
            to.set_unclaimed(hook);
        }
    }
}

/// Puts a step behind a node. The node's handle is consumed; the new one's is the caller's.
///
/// # Safety
///
/// `up` is unfinished, has no waiter, and will hold an outcome of `T` and `E`.
#[inline]
pub(super) unsafe fn attach<W: Work<T, E>, T: 'static, E: Fault>(
    cx: &Cx,
    up: Node,
    work: W,
    site: Site,
) -> Node {
    let w = cx.make(&Waiting::<W, T, E>::SHAPE, &Waiting::<W, T, E>::VT, site, 2, flag::HANDLE);
    // SAFETY: made for this work; nothing is behind the header yet.
    unsafe { w.work::<W>().write(work) };
    w.up.set(Some(up));
    up.next.set(Some(w));
    up.clear(flag::HANDLE);
    up.rc.set(up.rc.get() - 1);
    cx.steps.set(cx.steps.get() + 1);
    w
}

/// A step whose input is there already but whose turn has not come: it queues with its input.
#[inline]
pub(super) fn queue<W: Work<T, E>, T: 'static, E: Fault>(
    cx: &Cx,
    slot: Slot<T, E>,
    work: W,
    site: Site,
) -> Node {
    let w = cx.make(&Loaded::<W, T, E>::SHAPE, &Loaded::<W, T, E>::VT, site, 2, flag::HANDLE);
    // SAFETY: made for this pair; nothing is behind the header yet.
    unsafe { w.work::<(W, Slot<T, E>)>().write((work, slot)) };
    w.state.set(State::Queued);
    cx.steps.set(cx.steps.get() + 1);
    cx.queue.push(w);
    w
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
        detach: detach::<W, T, E>,
        lanes: W::LANES,
        kind: Kind::Step,
    };

    /// # Safety
    ///
    /// `w` is a `PENDING` step of these types and `up` its `DONE` upstream.
    unsafe fn run(cx: &Cx, w: Node, up: Option<Node>) -> Option<Node> {
        let up = up?;
        // SAFETY: a waiting step runs on a DONE upstream of its types (I5).
        let slot = unsafe { up.take::<T, E>() };
        w.state.set(State::Running);
        // SAFETY: PENDING until the line above, so the work was there; RUNNING says it is gone.
        let work = unsafe { w.work::<W>().read() };
        // SAFETY: RUNNING with an empty payload.
        unsafe { finish(cx, w, work, slot, Passing { from: Some(up), to: Some(w) }) }
    }
}

/// Takes a step away from what it waits for, which is left; drops the work.
///
/// # Safety
///
/// `w` is, or was, a waiting step of these types.
unsafe fn detach<W: Work<T, E>, T: 'static, E: Fault>(cx: &Cx, w: Node) {
    if w.state.get() != State::Pending || w.vt.get().kind != Kind::Step {
        return;
    }
    let Some(up) = w.up.take() else { return };
    up.next.set(None);
    cx.step_ended();
    w.state.set(State::Taken);
    // SAFETY: PENDING until the line above, so the work was there; TAKEN says it is gone.
    let work = unsafe { w.work::<W>().read() };
    // The upstream's `next` held the producer's reference.
    cx.release(w);
    super::run_guarded(|| drop(work));
    if let Some(hook) = up.take_left() {
        super::run_guarded(hook);
    }
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
    unsafe fn run(cx: &Cx, w: Node, _: Option<Node>) -> Option<Node> {
        w.state.set(State::Running);
        // SAFETY: QUEUED until the line above, so work and input were there.
        let (work, slot) = unsafe { w.work::<(W, Slot<T, E>)>().read() };
        // SAFETY: RUNNING with an empty payload.
        unsafe { finish(cx, w, work, slot, Passing { from: None, to: Some(w) }) }
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
    w: Node,
    mut work: W,
    slot: Slot<T, E>,
    from: Passing,
) -> Option<Node> {
    if W::ASKS && slot.is_cancelled() {
        discharge(w);
    }
    if W::LANES & slot.lane() == 0 {
        let slot = work.pass(slot, from);
        cx.step_ended();
        // SAFETY: the caller's promise. The work is dropped after: what is handed on is whole
        // before a destructor can panic.
        unsafe { w.put(slot) };
        return Some(w);
    }
    match work.call(slot) {
        Next::Done(slot) => {
            if W::KEEPS_WAY_BACK {
                from.keep_way_back::<T>();
            }
            cx.step_ended();
            // SAFETY: the caller's promise.
            unsafe { w.put(slot) };
            Some(w)
        }
        // SAFETY: the caller's promise.
        Next::Wait(inner) => unsafe { adopt(cx, w, inner) },
    }
}

/// The tail rule (DESIGN.md §3.6): the Deferred that a step returned takes over the step's
/// waiter. Where there is none yet, or it is an await, the step's node forwards, one hop.
///
/// # Safety
///
/// `w` is a `RUNNING` step made for these types, its payload empty.
#[inline(never)]
unsafe fn adopt<T: 'static, E: Fault>(cx: &Cx, w: Node, inner: Deferred<T, E>) -> Option<Node> {
    let mut i = match inner.into_inner() {
        Inner::Node(handle) => handle.into_node(),
        Inner::Ready(ready) => {
            cx.end_of(w);
            // SAFETY: the caller's promise.
            unsafe { w.put(ready.into_slot()) };
            return Some(w);
        }
    };
    if w.has(flag::CANCEL) && !i.is_done() {
        // The request stands: what is waited for now is asked too.
        cx.request(i);
    }
    if i.is_done() {
        Passing { from: Some(i), to: Some(w) }.keep_way_back::<T>();
        // SAFETY: DONE, of these types, and the handle that was ours says nobody else takes it.
        let slot = unsafe { i.take::<T, E>() };
        cx.release(i);
        cx.end_of(w);
        // SAFETY: the caller's promise.
        unsafe { w.put(slot) };
        return Some(w);
    }
    let waiter = w.next.get();
    if waits_for(i, w) {
        // Returned into itself: it would wait for itself for ever (DESIGN.md §3.6).
        cx.end_of(w);
        // SAFETY: the caller's promise.
        unsafe { w.put::<T, E>(Slot::Stop(Stop::lost_at(w.step()))) };
        i.clear(flag::HANDLE);
        cx.release(i);
        return Some(w);
    }
    if let Some(x) = waiter
        && !w.has(flag::AWAITED)
    {
        x.note_via(w);
        w.bequeath(i);
        link(i, x);
        cx.end_of(w);
        w.state.set(State::Taken);
        cx.release(w);
        return None;
    }
    if i.vt.get().kind == Kind::Forward
        && i.state.get() == State::Pending
        && let Some(source) = i.up.get()
    {
        // One hop and never two: wait for what the other forwarder waits for. The link from
        // there held its producer's reference.
        source.rc.set(source.rc.get() + 1);
        i.bequeath(source);
        cx.end_of(i);
        i.state.set(State::Taken);
        i.up.set(None);
        cx.release(i);
        cx.release(i);
        i = source;
    }
    w.vt.set(&Forward::<T, E>::VT);
    w.state.set(State::Pending);
    link(i, w);
    None
}

/// Whether `i` is `w`, or waits for it a few steps up.
fn waits_for(i: Node, w: Node) -> bool {
    let mut at = i;
    for _ in 0..LONGEST_CYCLE {
        if at == w || Some(at) == w.next.get() {
            return true;
        }
        match at.up.get() {
            Some(up) if at.state.get() == State::Pending => at = up,
            _ => return false,
        }
    }
    false
}

/// Makes `w` wait for `i`; consumes one reference of `i`, its handle's.
fn link(i: Node, w: Node) {
    i.next.set(Some(w));
    w.up.set(Some(i));
    i.clear(flag::HANDLE);
    i.rc.set(i.rc.get() - 1);
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
    unsafe fn run(cx: &Cx, w: Node, up: Option<Node>) -> Option<Node> {
        let up = up?;
        Passing { from: Some(up), to: Some(w) }.keep_way_back::<T>();
        // SAFETY: a forwarder runs on a DONE upstream of its types (I5).
        let slot = unsafe { up.take::<T, E>() };
        w.state.set(State::Running);
        w.up.set(None);
        cx.end_of(w);
        // SAFETY: a forwarder's payload is empty (I3).
        unsafe { w.put(slot) };
        Some(w)
    }
}

/// `Stop(Cancelled)` has reached somebody who asked for outcomes: the request is fulfilled, here
/// and for all that waits below.
pub(super) fn discharge(w: Node) {
    let mut at = Some(w);
    while let Some(n) = at
        && n.has(flag::CANCEL)
    {
        n.clear(flag::CANCEL);
        at = match n.next.get() {
            Some(next) if n.has(flag::AWAITED) => super::flow::awaiting(next),
            next => next,
        };
    }
}

/// # Safety
///
/// None beyond I2.
unsafe fn cancel_up(_: &Cx, n: Node) -> Option<Node> {
    n.up.get()
}

/// # Safety
///
/// None.
unsafe fn cancel_nothing(_: &Cx, _: Node) -> Option<Node> {
    None
}

/// Gives an outcome a node of its own for its end, so that it waits its turn there (I7).
pub(super) fn bury_slot<T: 'static, E: Fault>(cx: &Cx, slot: Slot<T, E>, site: Site) {
    cx.release(ended(cx, slot, site, 0));
}

/// A node of an outcome that is there.
pub(super) fn ended<T: 'static, E: Fault>(
    cx: &Cx,
    slot: Slot<T, E>,
    site: Site,
    flags: u8,
) -> Node {
    const fn shape<T, E: Fault>() -> Shape {
        Shape::of(&[Layout::new::<Slot<T, E>>()])
    }
    let n = cx.make(const { &shape::<T, E>() }, &Forward::<T, E>::VT, site, 1, flags);
    n.lane.set(slot.lane());
    // SAFETY: made for these types; nothing is behind the header yet. Its site is on the trail
    // already, so it is not put but written.
    unsafe { n.slot::<T, E>().write(slot) };
    n.state.set(State::Done);
    n
}

/// How far up a step looks for itself before it waits for a Deferred that it returned: farther than
/// anybody writes by hand, and not so far that a loop over a long chain takes its square.
const LONGEST_CYCLE: usize = 1_024;
