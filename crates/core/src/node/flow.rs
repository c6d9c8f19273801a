//! Flow nodes: a future that runs to its end on this thread.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use super::alloc::Shape;
use super::context::Links;
use super::waker::{self, WakeCell};
use super::{
    Cx, Handle, Kind, Node, Site, Slot, State, Vt, behind_header, cx, discard_done, flag,
    no_detach, run_guarded,
};
use crate::fault::Fault;
use crate::outcome::{Outcome, Stop};

/// Makes a node of a future and queues its first poll.
pub(crate) fn spawn<F, T, E>(future: F, site: Site) -> Handle<T, E>
where
    F: Future<Output = Result<T, E>> + 'static,
    T: 'static,
    E: Fault,
{
    let cx = cx();
    cx.look_for_context();
    let f =
        cx.make(&Flow::<F, T, E>::SHAPE, &Flow::<F, T, E>::VT, site, 2, flag::HANDLE | flag::ROOT);
    // SAFETY: SHAPE has room for both behind the header, and nothing is there yet.
    unsafe {
        f.work::<Common>().write(Common::new(cx.id(), site));
        Flow::<F, T, E>::future(f).write(future);
    }
    f.state.set(State::Queued);
    cx.link_root(f);
    cx.flows.set(cx.flows.get() + 1);
    cx.queue.push(f);
    cx.settle();
    // SAFETY: a flow of these types; one of its two references is the handle's.
    unsafe { Handle::new(f) }
}

/// What every flow has right behind its header, whatever its future, until it is `CLOSED`.
#[repr(C)]
pub(super) struct Common {
    /// First, where those of every root are. Written when it enters the list.
    links: MaybeUninit<Links>,
    /// The thread it belongs to; read from others through a borrowed waker.
    pub(super) home: u64,
    /// Made when somebody clones the waker.
    pub(super) cell: OnceLock<Arc<WakeCell>>,
    /// The Stop that an await of this poll met.
    pub(super) stop: Cell<Option<Stop>>,
    /// Awaits that are pending.
    pub(super) awaiting: Cell<u32>,
    /// Ready awaits this poll may still have.
    pub(super) budget: Cell<u32>,
    /// It is pending at an await that is ready: the budget ended, or the await did meanwhile.
    pub(super) yielded: Cell<bool>,
    /// The await it stands at, or stood at last.
    pub(super) at: Cell<Site>,
    waits: Waits,
}

impl Common {
    fn new(home: u64, site: Site) -> Self {
        Self {
            links: MaybeUninit::uninit(),
            home,
            cell: OnceLock::new(),
            stop: Cell::new(None),
            awaiting: Cell::new(0),
            budget: Cell::new(0),
            yielded: Cell::new(false),
            at: Cell::new(site),
            waits: Waits::default(),
        }
    }

    /// Whether it met a Stop in this poll.
    pub(super) fn is_stopping(&self) -> bool {
        let stop = self.stop.take();
        let stopping = stop.is_some();
        self.stop.set(stop);
        stopping
    }

    /// Whether anything outside could still wake it.
    fn has_wakers(&self) -> bool {
        self.cell.get().is_some_and(|cell| cell.is_live())
    }
}

/// The nodes it awaits. Each `Wait` keeps its node alive and takes its entry out (I0).
#[derive(Default)]
struct Waits {
    first: Cell<Option<Node>>,
    more: RefCell<Vec<Option<Node>>>,
    holes: RefCell<Vec<u32>>,
}

impl Waits {
    fn insert(&self, n: Node) -> u32 {
        if self.first.get().is_none() {
            self.first.set(Some(n));
            return 0;
        }
        let mut more = self.more.borrow_mut();
        if let Some(hole) = self.holes.borrow_mut().pop() {
            more[hole as usize - 1] = Some(n);
            return hole;
        }
        more.push(Some(n));
        u32::try_from(more.len()).expect("a flow awaits fewer than 2^32 Deferreds at once")
    }

    fn remove(&self, entry: u32) {
        if entry == 0 {
            self.first.set(None);
            return;
        }
        self.more.borrow_mut()[entry as usize - 1] = None;
        self.holes.borrow_mut().push(entry);
    }

    fn pending(&self) -> Vec<Node> {
        self.first.get().into_iter().chain(self.more.borrow().iter().flatten().copied()).collect()
    }
}

/// The common part of a flow.
///
/// # Safety
///
/// `f` is a flow that is not `CLOSED`, or is being closed.
#[inline]
pub(super) unsafe fn common<'a>(f: Node) -> &'a Common {
    // SAFETY: written by `spawn` right behind the header; lives until the flow is closed.
    unsafe { &*f.work::<Common>() }
}

/// The common part, while there is one.
#[inline]
pub(super) fn open(f: &Node) -> Option<&Common> {
    if f.has(flag::CLOSED) {
        return None;
    }
    // SAFETY: not CLOSED; the borrow of `f` keeps callers from holding on to it.
    Some(unsafe { common(*f) })
}

/// Notes that a `Wait` of flow `f` waits for `n`. Holds a reference on the flow, because a `Wait`
/// can be moved out of it.
pub(super) fn enlist(f: Node, n: Node) -> u32 {
    f.keep();
    // SAFETY: called from a poll of `f`.
    let common = unsafe { common(f) };
    common.awaiting.set(common.awaiting.get() + 1);
    common.waits.insert(n)
}

/// Takes the note back. `pending` says that `n` has not ended.
pub(super) fn delist(cx: &Cx, f: Node, entry: u32, pending: bool) {
    if let Some(common) = open(&f) {
        if pending {
            common.awaiting.set(common.awaiting.get() - 1);
        }
        common.waits.remove(entry);
        // A wait that was moved out and dropped elsewhere may have been the last.
        orphaned(cx, f);
    }
    cx.release(f);
}

/// One of its pending awaits ended.
pub(super) fn one_ended(cx: &Cx, f: Node) {
    if let Some(common) = open(&f) {
        common.awaiting.set(common.awaiting.get() - 1);
        common.yielded.set(true);
        rewake(cx, f);
    }
}

/// Queues its next poll.
#[inline]
pub(super) fn rewake(cx: &Cx, f: Node) {
    match f.state.get() {
        State::Pending => {
            f.state.set(State::Queued);
            cx.queue.push(f);
        }
        State::Running => f.set(flag::REWAKE),
        _ => {}
    }
}

/// The nodes a flow awaits.
pub(super) fn pending_awaits(f: Node) -> Vec<Node> {
    open(&f).map_or_else(Vec::new, |common| common.waits.pending())
}

/// The last waker is gone. Polls once more, if nothing else could: the poll ends it `Lost`.
pub(super) fn orphaned(cx: &Cx, f: Node) {
    if f.state.get() == State::Pending
        && let Some(common) = open(&f)
        && common.awaiting.get() == 0
        && !common.has_wakers()
    {
        rewake(cx, f);
    }
}

/// Where a node stands: of a flow, its await.
pub(super) fn standing_at(n: Node) -> Site {
    match n.vt.get().kind {
        Kind::Flow => open(&n).map_or(n.site.get(), |common| common.at.get()),
        _ => n.site.get(),
    }
}

/// The flow behind whoever awaits: itself, or the one a waker was given in.
pub(super) fn awaiting(n: Node) -> Option<Node> {
    match n.vt.get().kind {
        Kind::Flow => Some(n),
        _ => super::wait::flow_of(n),
    }
}

/// A flow's node.
struct Flow<F, T, E>(PhantomData<(F, T, E)>);

impl<F, T, E> Flow<F, T, E>
where
    F: Future<Output = Result<T, E>> + 'static,
    T: 'static,
    E: Fault,
{
    const FUTURE: usize = (behind_header(align_of::<Common>()) + size_of::<Common>())
        .next_multiple_of(align_of::<F>());
    const SHAPE: Shape = Shape::of(&[Layout::new::<Slot<T, E>>(), Layout::new::<Common>()])
        .and(Self::FUTURE, Layout::new::<F>());
    const VT: Vt = Vt {
        run: Self::run,
        stop: Self::stop,
        discard: discard_done::<T, E>,
        cancel: Self::cancel,
        notice: Self::notice,
        detach: no_detach,
        lanes: 0,
        kind: Kind::Flow,
    };

    fn future(f: Node) -> *mut F {
        f.0.as_ptr().wrapping_byte_add(Self::FUTURE).cast()
    }

    /// # Safety
    ///
    /// `f` is a `QUEUED` flow of these types.
    unsafe fn run(cx: &Cx, f: Node, _: Option<Node>) -> Option<Node> {
        f.state.set(State::Running);
        f.clear(flag::REWAKE);
        // SAFETY: not closed: an unfinished flow is closed only in its last run.
        let common = unsafe { common(f) };
        common.budget.set(READY_AWAITS);
        common.yielded.set(false);
        cx.flow.set(Some(f));
        // SAFETY: the local waker is only lent for this poll, and the flow outlives it.
        let waker = ManuallyDrop::new(unsafe { waker::local(f) });
        // SAFETY: the future stays where `spawn` put it until `close` drops it there.
        let future = unsafe { Pin::new_unchecked(&mut *Self::future(f)) };
        let polled = future.poll(&mut Context::from_waker(&waker));
        cx.flow.set(None);

        if let Some(stop) = common.stop.take() {
            // SAFETY: RUNNING and not closed.
            unsafe { Self::end(cx, f, Outcome::Stop(stop)) };
            // The Stop wins over whatever the poll gave; an error among it is still told.
            if let Poll::Ready(result) = polled {
                run_guarded(|| {
                    let mut slot = Slot::from(result);
                    f.record(&mut slot);
                    crate::report::unclaimed(slot, f.site.get());
                });
            }
            return Some(f);
        }
        if let Poll::Ready(result) = polled {
            // SAFETY: as above.
            unsafe { Self::end(cx, f, result.into()) };
            return Some(f);
        }
        let foreign = common.awaiting.get() == 0;
        if foreign && f.has(flag::CANCEL) && !common.yielded.get() {
            // SAFETY: as above.
            unsafe { Self::end(cx, f, Outcome::Stop(Stop::Cancelled)) };
            return Some(f);
        }
        if f.has(flag::REWAKE) {
            f.state.set(State::Queued);
            cx.queue.push(f);
            return None;
        }
        if foreign && !common.has_wakers() {
            // SAFETY: as above.
            unsafe { Self::end(cx, f, Outcome::Stop(Stop::lost_at(f.step()))) };
            return Some(f);
        }
        f.state.set(State::Pending);
        None
    }

    /// Drops the future and writes the outcome.
    ///
    /// # Safety
    ///
    /// `f` is `RUNNING` and of these types.
    unsafe fn end(cx: &Cx, f: Node, outcome: Outcome<T, E>) {
        // SAFETY: the caller's promise.
        unsafe { Self::close(f) };
        cx.end_of(f);
        // SAFETY: closed, so the payload is empty.
        unsafe { f.put(outcome.into()) };
    }

    /// Drops the future, then the common part, once.
    ///
    /// # Safety
    ///
    /// `f` is `RUNNING` and of these types.
    unsafe fn close(f: Node) {
        if f.has(flag::CLOSED) {
            return;
        }
        // What it still awaits reaches the common part while the future is dropped.
        // SAFETY: not closed before, and never again: CLOSED is set below, whatever happens.
        cx().within(f, || run_guarded(|| unsafe { std::ptr::drop_in_place(Self::future(f)) }));
        // SAFETY: not closed yet.
        let common = unsafe { f.work::<Common>().read() };
        f.set(flag::CLOSED);
        if let Some(cell) = common.cell.get() {
            cell.forget();
        }
        run_guarded(|| drop(common));
    }

    /// # Safety
    ///
    /// `f` is `RUNNING` and of these types.
    unsafe fn stop(cx: &Cx, f: Node, stop: Stop) {
        // SAFETY: the caller's promise.
        unsafe { Self::end(cx, f, Outcome::Stop(stop)) };
    }

    /// # Safety
    ///
    /// `f` is `PENDING` and of these types.
    unsafe fn cancel(cx: &Cx, f: Node) -> Option<Node> {
        // SAFETY: PENDING, so not closed.
        let common = unsafe { common(f) };
        if common.awaiting.get() > 0 {
            for n in common.waits.pending() {
                cx.request(n);
            }
            return None;
        }
        // A foreign future has no canceller: it stops here.
        f.state.set(State::Running);
        // SAFETY: RUNNING.
        unsafe { Self::end(cx, f, Outcome::Stop(Stop::Cancelled)) };
        cx.complete(f);
        None
    }

    /// # Safety
    ///
    /// `f` is a flow.
    unsafe fn notice(cx: &Cx, f: Node) {
        one_ended(cx, f);
    }
}

/// How many awaits that are ready one poll may have before the flow goes to the back of the queue
/// (DESIGN.md §3.2).
const READY_AWAITS: u32 = 128;
