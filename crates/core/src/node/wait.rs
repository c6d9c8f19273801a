//! `.await` on a Deferred.

use std::alloc::Layout;
use std::cell::Cell;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::alloc::Shape;
use super::ending::Ended;
use super::flow::{self, delist, enlist, one_ended};
use super::header::{Counted, Kind, Node, State, Vt, flag};
use super::step::{cancel_nothing, no_detach};
use super::{Cx, Handle, Site, cx, hold, run_guarded, waker};
use crate::deferred::{Deferred, Inner};
use crate::fault::{Fault, Step};
use crate::guarded::Settling;
use crate::outcome::Stop;
use crate::slot::Slot;

/// A Deferred that is awaited. Dropping it leaves: the work goes on, nobody waits here any more.
#[must_use = "a future does nothing until it is awaited"]
pub struct Wait<T: 'static, E: Fault> {
    /// `None` once its outcome was given.
    deferred: Option<Deferred<T, E>>,
    link: Link,
    site: Site,
}

/// How the awaited node finds whoever waits.
enum Link {
    None,
    /// Straight to the flow that polls: nothing is allocated.
    Flow {
        f: Counted,
        entry: u32,
    },
    /// Through a small node that holds another executor's waker.
    Waker(Counted),
}

impl<T: 'static, E: Fault> Wait<T, E> {
    pub(crate) fn new(deferred: Deferred<T, E>, site: Site) -> Self {
        Self { deferred: Some(deferred), link: Link::None, site }
    }

    /// Makes the awaited node find whoever polls. False if it ended while a foreign waker's code ran
    /// here: nobody was there to be woken, so the poll goes on.
    #[inline]
    fn link(&mut self, cx: &Cx, task: &Context<'_>) -> bool {
        // SAFETY: what is being polled has its run's count for as long.
        let flow = cx.flow.get().map(|f| unsafe { f.node() });
        let Some(f) = flow.filter(|f| waker::is_local(task.waker(), f.ptr())) else {
            return self.link_foreign(cx, task, flow);
        };
        match &self.link {
            Link::None => {}
            Link::Flow { f: linked, .. } if linked.ptr() == f.ptr() => return true,
            _ => unlink(cx, &mut self.link, awaited(&self.deferred)),
        }
        let Some(n) = awaited(&self.deferred).filter(|n| !n.is_done()) else { return false };
        n.set(flag::AWAITED);
        n.next.set(Some(f.ptr()));
        // SAFETY: what is being polled is a flow.
        let (counted, entry) = unsafe { enlist(f, n) };
        self.link = Link::Flow { f: counted, entry };
        pass_request(cx, Some(f), n);
        true
    }

    #[inline(never)]
    fn link_foreign(&mut self, cx: &Cx, task: &Context<'_>, flow: Option<Node<'_>>) -> bool {
        let settling = Settling::begin();
        let held = hold();
        let linked = self.link_held(cx, task, flow);
        drop(held);
        settling.end();
        linked
    }

    fn link_held(&mut self, cx: &Cx, task: &Context<'_>, flow: Option<Node<'_>>) -> bool {
        if let Link::Waker(w) = &self.link {
            // SAFETY: a waker's node that is ours holds its body.
            let body = unsafe { body(w.node()) };
            if body.flow.as_ref().map(|(f, _)| f.ptr()) == flow.map(Node::ptr) {
                body.renew(task.waker());
                return is_pending(&self.deferred);
            }
        }
        unlink(cx, &mut self.link, awaited(&self.deferred));
        // Before anything is linked: cloning it runs what its executor wrote, which may panic.
        let waker = task.waker().clone();
        let w = cx.make(&WAKER_SHAPE, &WAKER, self.site, 0);
        let Some(n) = awaited(&self.deferred).filter(|n| !n.is_done()) else {
            w.node().state.set(State::Taken);
            cx.release(w);
            run_guarded(|| drop(waker));
            return false;
        };
        n.set(flag::AWAITED);
        n.next.set(Some(w.ptr()));
        // SAFETY: what is being polled is a flow; the node was made for a Body, and nothing is behind
        // its header yet.
        unsafe {
            let flow = flow.map(|f| enlist(f, n));
            w.node().work::<Body>().write(Body { waker: Cell::new(Some(waker)), flow });
        }
        self.link = Link::Waker(w);
        pass_request(cx, flow, n);
        true
    }
}

/// The request stands: what is awaited now is asked too.
#[inline]
fn pass_request(cx: &Cx, flow: Option<Node<'_>>, n: Node<'_>) {
    if flow.is_some_and(|f| f.has(flag::CANCEL)) {
        cx.request(n);
    }
}

/// The node behind what is awaited.
#[inline]
fn awaited<T: 'static, E: Fault>(deferred: &Option<Deferred<T, E>>) -> Option<Node<'_>> {
    deferred.as_ref().and_then(Deferred::handle).map(Handle::node)
}

/// Undoes what `link` did.
fn unlink(cx: &Cx, link: &mut Link, n: Option<Node<'_>>) {
    let link = std::mem::replace(link, Link::None);
    if matches!(link, Link::None) {
        return;
    }
    // An awaited node that has ended has let go of `next` itself.
    let pending = match n {
        Some(n) if n.has(flag::AWAITED) => {
            n.clear(flag::AWAITED);
            n.next.set(None);
            true
        }
        _ => false,
    };
    match link {
        Link::None => {}
        // SAFETY: `link` made it of a flow.
        Link::Flow { f, entry } => unsafe { delist(cx, f, entry, pending) },
        Link::Waker(w) => {
            w.node().state.set(State::Taken);
            // SAFETY: a waker's node holds its body until its Wait, its one owner, takes it.
            let body = unsafe { w.node().work::<Body>().read() };
            if let Some((f, entry)) = body.flow {
                // SAFETY: `link_foreign` had it of a flow.
                unsafe { delist(cx, f, entry, pending) };
            }
            run_guarded(|| drop(body.waker));
            cx.release(w);
        }
    }
}

impl<T: 'static, E: Fault> Future for Wait<T, E> {
    type Output = E::Awaited<T>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let cx = cx();
        // SAFETY: what is being polled has its run's count for as long.
        let flow = cx.flow.get().map(|f| unsafe { f.node() });
        // SAFETY: what is being polled is a flow.
        if flow.is_some_and(|f| unsafe { !flow::stands_at(f, this.site) }) {
            return Poll::Pending;
        }
        assert!(this.deferred.is_some(), "`Wait` polled after it gave its outcome");
        if is_pending(&this.deferred) {
            if this.link(cx, task) {
                return Poll::Pending;
            }
            // The waker's code may have polled another await of this flow, which met a Stop.
            // SAFETY: as above.
            if flow.is_some_and(|f| unsafe { !flow::stands_at(f, this.site) }) {
                return Poll::Pending;
            }
        }
        // SAFETY: as above.
        if flow.is_some_and(|f| unsafe { !flow::spend(f) }) {
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        unlink(cx, &mut this.link, awaited(&this.deferred));
        let slot = match this.deferred.take().map(Deferred::into_inner) {
            Some(Inner::Ready(ready)) => ready.into_slot(),
            Some(Inner::Node(handle)) => match handle.take_done() {
                // Straight from where it was: one that is put together first stalls.
                Ok(Slot::Ok(value)) => return Poll::Ready(E::awaited(Ok(value))),
                Ok(slot) => slot,
                Err(_) => unreachable!("it had ended, and nobody else can take it"),
            },
            None => unreachable!("it was there above"),
        };
        match slot {
            Slot::Ok(value) => Poll::Ready(E::awaited(Ok(value))),
            Slot::Stop(stop) => {
                let Some(f) = flow else { unwind(stop) };
                // SAFETY: as above.
                unsafe { flow::meet(f, stop) };
                Poll::Pending
            }
            mut slot => {
                slot.passed(Step { site: this.site, label: None });
                Poll::Ready(E::awaited(Err(slot.into_error())))
            }
        }
    }
}

#[inline]
fn is_pending<T: 'static, E: Fault>(deferred: &Option<Deferred<T, E>>) -> bool {
    awaited(deferred).is_some_and(|n| !n.is_done())
}

/// Awaited on a foreign executor, where there is no flow to end (§3.3).
fn unwind(stop: Stop) -> ! {
    if let Stop::Panicked(panic) = &stop
        && let Some(payload) = panic.take_payload()
    {
        resume_unwind(payload);
    }
    resume_unwind(Box::new(stop))
}

impl<T: 'static, E: Fault> Drop for Wait<T, E> {
    fn drop(&mut self) {
        if matches!(self.link, Link::None) {
            return;
        }
        let cx = cx();
        cx.enter(|| {
            unlink(cx, &mut self.link, awaited(&self.deferred));
            drop(self.deferred.take());
        });
    }
}

// Nothing of it is ever pinned: the value is moved out whole.
impl<T: 'static, E: Fault> Unpin for Wait<T, E> {}

impl<T: 'static, E: Fault> std::fmt::Debug for Wait<T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wait").field("site", &format_args!("{}", self.site)).finish_non_exhaustive()
    }
}

impl<T: 'static, E: Fault> IntoFuture for Deferred<T, E> {
    type Output = E::Awaited<T>;
    type IntoFuture = Wait<T, E>;

    #[track_caller]
    fn into_future(self) -> Wait<T, E> {
        Wait::new(self, super::here())
    }
}

/// What the node of a foreign waker holds.
struct Body {
    waker: Cell<Option<Waker>>,
    /// The flow in whose poll it was given, if any: requests reach it through that.
    flow: Option<(Counted, u32)>,
}

impl Body {
    /// Takes the waker of a later poll. It is out of its cell while a waker's code runs.
    fn renew(&self, waker: &Waker) {
        let kept = self.waker.take();
        if kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            self.waker.set(kept);
            return;
        }
        let between = self.waker.replace(Some(waker.clone()));
        run_guarded(|| drop(kept));
        run_guarded(|| drop(between));
    }
}

/// # Safety
///
/// A waker's node whose `Wait` has not taken its body, nor does while it is looked at.
unsafe fn body<'a>(w: Node<'a>) -> &'a Body {
    // SAFETY: written when it was linked; the caller's promise.
    unsafe { &*w.work::<Body>() }
}

/// The flow in whose poll a waker was given.
///
/// # Safety
///
/// A waker's node whose `Wait` has not taken its body.
pub(super) unsafe fn flow_of(w: Node<'_>) -> Option<Node<'_>> {
    // SAFETY: the caller's promise; the body has a count of the flow.
    unsafe { body(w) }.flow.as_ref().map(|(f, _)| unsafe { f.ptr().node() })
}

const WAKER_SHAPE: Shape = Shape::of(&[Layout::new::<Body>()]);

const WAKER: Vt = Vt {
    run: run_nothing,
    stop: stop_nothing,
    discard: discard_nothing,
    cancel: cancel_nothing,
    notice: notice_waker,
    detach: no_detach,
    lanes: 0,
    kind: Kind::Waker,
};

/// # Safety
///
/// `w` is a waker's node whose `Wait` has not taken its body.
unsafe fn notice_waker(cx: &Cx, w: Node<'_>) {
    // SAFETY: the caller's promise; the body is not used once the waker's code runs.
    let body = unsafe { body(w) };
    let waker = body.waker.take();
    if let Some((f, _)) = &body.flow {
        // SAFETY: `link_foreign` had it of a flow.
        unsafe { one_ended(cx, f.node()) };
    }
    if let Some(waker) = waker {
        run_guarded(|| waker.wake());
    }
}

/// # Safety
///
/// None; a waker's node is never `QUEUED`, so it never runs.
unsafe fn run_nothing(_: &Cx, _: Counted, _: Option<Node<'_>>) -> Option<Ended> {
    None
}

/// # Safety
///
/// None; a waker's node never runs.
unsafe fn stop_nothing(_: &Cx, _: Counted, _: Stop) -> Ended {
    unreachable!("a waker's node never runs")
}

/// # Safety
///
/// None; a waker's node is never `DONE`.
unsafe fn discard_nothing(_: Node<'_>) {}
