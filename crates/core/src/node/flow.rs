//! Flow nodes: a future that runs to its end on this thread.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::pin::Pin;
use std::ptr::drop_in_place;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use super::alloc::Shape;
use super::context::Links;
use super::ending::{Ended, Ending, discard_done};
use super::header::{Counted, Kind, Node, Ptr, State, Vt, behind_header, flag};
use super::step::no_detach;
use super::waker::{self, WakeCell};
use super::{Cx, Handle, Site, cx, run_guarded};
use crate::fault::Fault;
use crate::outcome::Stop;
use crate::report::unclaimed;
use crate::slot::Slot;

/// Makes a node of a future and queues its first poll.
pub(crate) fn spawn<F, T, E>(future: F, site: Site) -> Handle<T, E>
where
    F: Future<Output = Result<T, E>> + 'static,
    T: 'static,
    E: Fault,
{
    let cx = cx();
    cx.look_for_context();
    let (f, handle, _) = cx.make_held(&Flow::<F, T, E>::SHAPE, &Flow::<F, T, E>::VT, site, 0);
    // SAFETY: SHAPE has room for both behind the header, and nothing is there yet. The common part
    // begins with the links.
    unsafe {
        f.node().work::<Common>().write(Common::new(cx.id(), site));
        Flow::<F, T, E>::future(f.node()).write(future);
        cx.link_root(f.node());
    }
    f.node().state.set(State::Queued);
    cx.flows.set(cx.flows.get() + 1);
    // SAFETY: QUEUED, and just made.
    unsafe { cx.enqueue(f) };
    cx.settle();
    // SAFETY: a flow of these types.
    unsafe { Handle::new(handle) }
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

    /// Whether anything outside could still wake it.
    fn has_wakers(&self) -> bool {
        self.cell.get().is_some_and(|cell| cell.is_live())
    }
}

/// The nodes it awaits. Each `Wait` keeps its node alive and takes its entry out (I5).
#[derive(Default)]
struct Waits {
    first: Cell<Option<Ptr>>,
    more: RefCell<Vec<Option<Ptr>>>,
    holes: RefCell<Vec<u32>>,
}

impl Waits {
    fn insert(&self, n: Ptr) -> u32 {
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

    fn pending(&self) -> Vec<Ptr> {
        self.first.get().into_iter().chain(self.more.borrow().iter().flatten().copied()).collect()
    }
}

/// The common part of a flow, while there is one.
///
/// # Safety
///
/// `f` is a flow. What it gives is not kept over code of a user's, unless that is the flow's own
/// poll: the end of the flow takes it away.
#[inline]
pub(super) unsafe fn open<'a>(f: Node<'a>) -> Option<&'a Common> {
    if f.has(flag::CLOSED) {
        return None;
    }
    // SAFETY: written by `spawn` right behind the header, and there until CLOSED.
    Some(unsafe { &*f.work::<Common>() })
}

/// The flow that is being polled stands at an await. False if it met a Stop in this poll: every
/// further await of the poll is pending then (§3.3).
///
/// # Safety
///
/// `f` is a flow.
#[inline]
pub(super) unsafe fn stands_at(f: Node<'_>, site: Site) -> bool {
    // SAFETY: the caller's promise; no user's code runs here.
    let Some(common) = (unsafe { open(f) }) else { return true };
    common.at.set(site);
    let stop = common.stop.take();
    let goes_on = stop.is_none();
    common.stop.set(stop);
    goes_on
}

/// Takes one ready await from what the poll may have. False if none is left: the flow goes to the
/// back of the queue.
///
/// # Safety
///
/// `f` is a flow.
#[inline]
pub(super) unsafe fn spend(f: Node<'_>) -> bool {
    // SAFETY: the caller's promise; no user's code runs here.
    let Some(common) = (unsafe { open(f) }) else { return true };
    let left = common.budget.get();
    if left == 0 {
        common.yielded.set(true);
        return false;
    }
    common.budget.set(left - 1);
    true
}

/// An await of the poll met a Stop, the first.
///
/// # Safety
///
/// `f` is a flow.
pub(super) unsafe fn meet(f: Node<'_>, stop: Stop) {
    // SAFETY: the caller's promise; the first one stays, and dropping another runs nothing before.
    if let Some(common) = unsafe { open(f) } {
        let first = common.stop.take();
        common.stop.set(Some(first.unwrap_or(stop)));
    }
}

/// Notes that a `Wait` of flow `f` waits for `n`. Gives a count of the flow, because a `Wait` can be
/// moved out of it.
///
/// # Safety
///
/// `f` is a flow.
pub(super) unsafe fn enlist(f: Node<'_>, n: Node<'_>) -> (Counted, u32) {
    // SAFETY: the caller's promise; no user's code runs here.
    let entry = unsafe { open(f) }.map_or(0, |common| {
        common.awaiting.set(common.awaiting.get() + 1);
        common.waits.insert(n.ptr())
    });
    (f.keep(), entry)
}

/// Takes the note back. `pending` says that the awaited node has not ended.
///
/// # Safety
///
/// `f` is a flow.
pub(super) unsafe fn delist(cx: &Cx, f: Counted, entry: u32, pending: bool) {
    // SAFETY: the caller's promise; no user's code runs here.
    if let Some(common) = unsafe { open(f.node()) } {
        if pending {
            common.awaiting.set(common.awaiting.get() - 1);
        }
        common.waits.remove(entry);
        // A wait that was moved out and dropped elsewhere may have been the last.
        // SAFETY: as above.
        unsafe { orphaned(cx, f.node()) };
    }
    cx.release(f);
}

/// One of its pending awaits ended.
///
/// # Safety
///
/// `f` is a flow.
pub(super) unsafe fn one_ended(cx: &Cx, f: Node<'_>) {
    // SAFETY: the caller's promise; no user's code runs here.
    if let Some(common) = unsafe { open(f) } {
        common.awaiting.set(common.awaiting.get() - 1);
        common.yielded.set(true);
        // SAFETY: as above.
        unsafe { rewake(cx, f) };
    }
}

/// Queues its next poll.
///
/// # Safety
///
/// `f` is a flow.
#[inline]
pub(super) unsafe fn rewake(cx: &Cx, f: Node<'_>) {
    match f.state.get() {
        State::Pending => {
            f.state.set(State::Queued);
            // SAFETY: I1, the producer's count was its state's and goes into the queue. QUEUED, and
            // in no list before.
            unsafe { cx.queue.push(f.ptr().counted()) };
        }
        State::Running => f.set(flag::REWAKE),
        _ => {}
    }
}

/// The nodes a flow awaits.
///
/// # Safety
///
/// `f` is a flow.
pub(super) unsafe fn pending_awaits(f: Node<'_>) -> Vec<Ptr> {
    // SAFETY: the caller's promise; no user's code runs here.
    unsafe { open(f) }.map_or_else(Vec::new, |common| common.waits.pending())
}

/// The last waker is gone. Polls once more, if nothing else could: the poll ends it `Lost`.
///
/// # Safety
///
/// `f` is a flow.
pub(super) unsafe fn orphaned(cx: &Cx, f: Node<'_>) {
    if f.state.get() != State::Pending {
        return;
    }
    // SAFETY: the caller's promise; no user's code runs here.
    let is_alone =
        unsafe { open(f) }.is_some_and(|common| common.awaiting.get() == 0 && !common.has_wakers());
    if is_alone {
        // SAFETY: as above.
        unsafe { rewake(cx, f) };
    }
}

/// Where a node stands: of a flow, its await.
#[inline]
pub(super) fn standing_at(n: Node<'_>) -> Site {
    if n.vt.get().kind != Kind::Flow {
        return n.site.get();
    }
    // SAFETY: a flow, and no user's code runs here.
    unsafe { open(n) }.map_or(n.site.get(), |common| common.at.get())
}

/// The flow behind whoever awaits: itself, or the one a waker was given in.
pub(super) fn awaiting(n: Node<'_>) -> Option<Node<'_>> {
    match n.vt.get().kind {
        Kind::Flow => Some(n),
        // SAFETY: PENDING until its `Wait` takes the body.
        Kind::Waker if n.state.get() == State::Pending => unsafe { super::wait::flow_of(n) },
        _ => None,
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

    fn future(f: Node<'_>) -> *mut F {
        f.ptr().header().as_ptr().wrapping_byte_add(Self::FUTURE).cast()
    }

    /// # Safety
    ///
    /// `f` is a `QUEUED` flow of these types.
    unsafe fn run(cx: &Cx, f: Counted, _: Option<Node<'_>>) -> Option<Ended> {
        let n = f.node();
        n.state.set(State::Running);
        n.clear(flag::REWAKE);
        // SAFETY: an unfinished flow is closed only in its last run; RUNNING, it is ended by nobody
        // but this.
        let common = unsafe { &*n.work::<Common>() };
        common.budget.set(READY_AWAITS);
        common.yielded.set(false);
        cx.flow.set(Some(n.ptr()));
        // SAFETY: the local waker is only lent for this poll, and the flow outlives it.
        let waker = ManuallyDrop::new(unsafe { waker::local(n.ptr()) });
        // SAFETY: the future stays where `spawn` put it until `close` drops it there.
        let future = unsafe { Pin::new_unchecked(&mut *Self::future(n)) };
        let polled = future.poll(&mut Context::from_waker(&waker));
        cx.flow.set(None);

        if let Some(stop) = common.stop.take() {
            // The Stop wins over whatever the poll gave; an error among it is still told.
            if let Poll::Ready(result) = polled {
                run_guarded(|| {
                    let mut slot = Slot::from(result);
                    n.record(&mut slot);
                    unclaimed(slot, n.site.get());
                });
            }
            // SAFETY: RUNNING and not closed.
            return Some(unsafe { Self::end(cx, f, Slot::Stop(stop)) });
        }
        if let Poll::Ready(result) = polled {
            // SAFETY: as above.
            return Some(unsafe { Self::end(cx, f, result.into()) });
        }
        let foreign = common.awaiting.get() == 0;
        if foreign && n.has(flag::CANCEL) && !common.yielded.get() {
            // SAFETY: as above.
            return Some(unsafe { Self::end(cx, f, Slot::Stop(Stop::Cancelled)) });
        }
        if n.has(flag::REWAKE) {
            n.state.set(State::Queued);
            // SAFETY: QUEUED, and in no list since it was taken out to run.
            unsafe { cx.queue.push(f) };
            return None;
        }
        if foreign && !common.has_wakers() {
            let stop = Stop::lost_at(n.step());
            // SAFETY: as above.
            return Some(unsafe { Self::end(cx, f, Slot::Stop(stop)) });
        }
        n.state.set(State::Pending);
        // From here on the count is its state's (I1).
        let _ = f.into_ptr();
        None
    }

    /// Drops the future and writes the outcome.
    ///
    /// # Safety
    ///
    /// `f` is `RUNNING` and of these types, and the count goes with the outcome.
    unsafe fn end(cx: &Cx, f: Counted, slot: Slot<T, E>) -> Ended {
        // SAFETY: the caller's promise.
        unsafe { Self::close(f.node()) };
        cx.end_of(f.node());
        // SAFETY: closed, so the payload is empty.
        unsafe { Ending::of_running(f).put(slot) }
    }

    /// Drops the future, then the common part, once.
    ///
    /// # Safety
    ///
    /// `f` is `RUNNING` and of these types.
    unsafe fn close(f: Node<'_>) {
        if f.has(flag::CLOSED) {
            return;
        }
        // What it still awaits reaches the common part while the future is dropped.
        // SAFETY: not closed before, and never again: CLOSED is set below, whatever happens.
        cx().within(f, || run_guarded(|| unsafe { drop_in_place(Self::future(f)) }));
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
    unsafe fn stop(cx: &Cx, f: Counted, stop: Stop) -> Ended {
        // SAFETY: the caller's promise.
        unsafe { Self::end(cx, f, Slot::Stop(stop)) }
    }

    /// # Safety
    ///
    /// `f` is `PENDING` and of these types.
    unsafe fn cancel(cx: &Cx, f: Node<'_>) -> Option<Ptr> {
        // SAFETY: the caller's promise; no user's code runs here.
        let awaited = unsafe { pending_awaits(f) };
        // SAFETY: as above.
        if unsafe { open(f) }.is_some_and(|common| common.awaiting.get() > 0) {
            for n in awaited {
                // SAFETY: each `Wait` keeps its node, and a request in a request only gets in line.
                cx.request(unsafe { n.node() });
            }
            return None;
        }
        // A foreign future has no canceller: it stops here.
        f.state.set(State::Running);
        // SAFETY: I1, the producer's count was its state's; RUNNING.
        let ended = unsafe { Self::end(cx, f.ptr().counted(), Slot::Stop(Stop::Cancelled)) };
        cx.complete(ended);
        None
    }

    /// # Safety
    ///
    /// `f` is a flow.
    unsafe fn notice(cx: &Cx, f: Node<'_>) {
        // SAFETY: the caller's promise.
        unsafe { one_ended(cx, f) };
    }
}

/// How many awaits that are ready one poll may have before the flow goes to the back of the queue
/// (DESIGN.md §3.2).
const READY_AWAITS: u32 = 128;
