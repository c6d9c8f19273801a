//! `.await` on a Deferred.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::alloc::Shape;
use super::flow::{common, delist, enlist, one_ended};
use super::{Cx, Kind, Node, Site, Slot, State, Vt, cx, flag, no_detach, run_guarded, waker};
use crate::deferred::{Deferred, Inner};
use crate::fault::{Fault, Step};
use crate::outcome::Stop;

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
        f: Node,
        entry: u32,
    },
    /// Through a small node that holds another executor's waker.
    Waker(Node),
}

impl<T: 'static, E: Fault> Wait<T, E> {
    pub(crate) fn new(deferred: Deferred<T, E>, site: Site) -> Self {
        Self { deferred: Some(deferred), link: Link::None, site }
    }

    fn link(&mut self, cx: &Cx, n: Node, task: &Context<'_>) {
        let flow = cx.flow.get();
        match (&self.link, flow) {
            (Link::Flow { f, .. }, Some(flow))
                if *f == flow && waker::is_local(task.waker(), flow) =>
            {
                return;
            }
            (Link::Waker(w), flow) if body(w).flow.get().map(|(f, _)| f) == flow => {
                let local = flow.is_some_and(|f| waker::is_local(task.waker(), f));
                if !local {
                    let mut kept = body(w).waker.borrow_mut();
                    if !kept.as_ref().is_some_and(|waker| waker.will_wake(task.waker())) {
                        let old = kept.replace(task.waker().clone());
                        drop(kept);
                        run_guarded(|| drop(old));
                    }
                    return;
                }
            }
            _ => {}
        }
        self.unlink(cx);
        n.set(flag::AWAITED);
        match flow {
            Some(f) if waker::is_local(task.waker(), f) => {
                n.next.set(Some(f));
                self.link = Link::Flow { f, entry: enlist(f, n) };
            }
            flow => {
                let w = cx.make(&WAKER_SHAPE, &WAKER, self.site, 1, 0);
                let flow = flow.map(|f| (f, enlist(f, n)));
                let body =
                    Body { waker: RefCell::new(Some(task.waker().clone())), flow: Cell::new(flow) };
                // SAFETY: made for a Body, nothing is behind the header yet.
                unsafe { w.work::<Body>().write(body) };
                n.next.set(Some(w));
                self.link = Link::Waker(w);
            }
        }
        if flow.is_some_and(|f| f.has(flag::CANCEL)) {
            // The request stands: what is awaited now is asked too.
            cx.request(n);
        }
    }

    fn unlink(&mut self, cx: &Cx) {
        let link = std::mem::replace(&mut self.link, Link::None);
        if matches!(link, Link::None) {
            return;
        }
        // An awaited node that has ended has let go of `next` itself.
        let pending = match self.deferred.as_ref().and_then(Deferred::node) {
            Some(n) if n.has(flag::AWAITED) => {
                n.clear(flag::AWAITED);
                n.next.set(None);
                true
            }
            _ => false,
        };
        match link {
            Link::None => {}
            Link::Flow { f, entry } => delist(cx, f, entry, pending),
            Link::Waker(w) => {
                w.state.set(State::Taken);
                // SAFETY: a waker's node holds its body until its Wait, its one owner, takes it.
                let body = unsafe { w.work::<Body>().read() };
                if let Some((f, entry)) = body.flow.get() {
                    delist(cx, f, entry, pending);
                }
                run_guarded(|| drop(body));
                cx.release(w);
            }
        }
    }
}

impl<T: 'static, E: Fault> Future for Wait<T, E> {
    type Output = E::Awaited<T>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let cx = cx();
        let flow = cx.flow.get();
        if let Some(f) = flow {
            // SAFETY: `f` is being polled, so not closed.
            let common = unsafe { common(f) };
            common.at.set(this.site);
            if common.is_stopping() {
                // Once an await of a poll met a Stop, every further one is pending (§3.3).
                return Poll::Pending;
            }
        }
        let deferred = this.deferred.as_ref().expect("`Wait` polled after it gave its outcome");
        if let Some(n) = deferred.node()
            && !n.is_done()
        {
            this.link(cx, n, task);
            return Poll::Pending;
        }
        if let Some(f) = flow {
            // SAFETY: as above.
            let common = unsafe { common(f) };
            let left = common.budget.get();
            if left == 0 {
                common.yielded.set(true);
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            common.budget.set(left - 1);
        }
        this.unlink(cx);
        let deferred = this.deferred.take().expect("it was there above");
        let mut slot = match deferred.into_inner() {
            Inner::Ready(ready) => ready.into_slot(),
            Inner::Node(handle) => match handle.take_done() {
                // Straight from where it was: one that is put together first stalls.
                Slot::Ok(value) => {
                    return Poll::Ready(E::awaited(Ok(value)));
                }
                slot => slot,
            },
        };
        slot.passed(Step { site: this.site, label: None });
        match slot {
            Slot::Ok(value) => Poll::Ready(E::awaited(Ok(value))),
            Slot::Err(error, _) => Poll::Ready(E::awaited(Err(error))),
            Slot::Stop(stop) => {
                let Some(f) = flow else { unwind(stop) };
                // SAFETY: as above.
                unsafe { common(f) }.stop.set(Some(stop));
                Poll::Pending
            }
        }
    }
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
            self.unlink(cx);
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
    waker: RefCell<Option<Waker>>,
    /// The flow in whose poll it was given, if any: requests reach it through that.
    flow: Cell<Option<(Node, u32)>>,
}

fn body(w: &Node) -> &Body {
    // SAFETY: only called by the Wait that owns the node, before it takes the body out, and by
    // `notice`, which an unlinked node never gets.
    unsafe { &*w.work::<Body>() }
}

pub(super) fn flow_of(w: Node) -> Option<Node> {
    body(&w).flow.get().map(|(f, _)| f)
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
unsafe fn notice_waker(cx: &Cx, w: Node) {
    let waker = body(&w).waker.borrow_mut().take();
    if let Some((f, _)) = body(&w).flow.get() {
        one_ended(cx, f);
    }
    if let Some(waker) = waker {
        run_guarded(|| waker.wake());
    }
}

/// # Safety
///
/// None; a waker's node is never in a list.
unsafe fn run_nothing(_: &Cx, _: Node, _: Option<Node>) -> Option<Node> {
    None
}

/// # Safety
///
/// None; a waker's node never runs.
unsafe fn stop_nothing(_: &Cx, _: Node, _: Stop) {}

/// # Safety
///
/// None; a waker's node is never `DONE`.
unsafe fn discard_nothing(_: &Cx, _: Node) {}

/// # Safety
///
/// None; nothing waits through a waker's node.
unsafe fn cancel_nothing(_: &Cx, _: Node) -> Option<Node> {
    None
}
