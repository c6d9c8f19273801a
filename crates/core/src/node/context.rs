//! What a thread knows: its queue, its free lists, its counts, its roots.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Beacon;
use super::Site;
use super::alloc::Lists;
use super::header::{Counted, Hdr, Kind, Node, Ptr, State, flag};
use crate::flow_context::Frame;

/// The thread's state. It has no destructor, so that reaching it costs no check.
pub(crate) struct Cx {
    /// How many holds there are; zero outside any callback.
    pub(super) busy: Cell<u32>,
    /// The FIFO queue: `DONE` nodes whose waiter has a callback to run, and `QUEUED` nodes.
    pub(super) queue: List,
    /// `DONE` nodes to hand on without a callback.
    pub(super) handing: List,
    pub(super) in_handing: Cell<bool>,
    /// The node whose callback runs, and the one it took its input from. Their counts are the
    /// run's. `running` is cleared before it gives them away, and `input` is nothing without it.
    pub(super) running: Cell<Option<Ptr>>,
    pub(super) input: Cell<Option<Ptr>>,
    /// The flow that is being polled; its count is its run's.
    pub(super) flow: Cell<Option<Ptr>>,
    /// `DONE` nodes that nobody can take any more (I7).
    pub(super) graves: List<true>,
    pub(super) burying: Cell<bool>,
    /// The context that code runs in now (I11).
    pub(super) context: Cell<*const Frame>,
    /// Whether what is made now has to look for its context.
    pub(super) captures: Cell<bool>,
    /// Whether the subscriber that was asked last has set anything off.
    pub(super) was_set_off: Cell<bool>,
    pub(super) free: Lists,
    /// Null, or one count of an `Arc`.
    pub(super) beacon: Cell<*const Beacon>,
    /// Pieces of memory that came from the allocator and have not gone back.
    pub(super) outside: Cell<usize>,
    pub(super) steps: Cell<usize>,
    pub(super) flows: Cell<usize>,
    pub(super) roots: Cell<Option<NonNull<Links>>>,
    id: Cell<u64>,
}

/// The links of a root: of a source in its payload, which is empty while it is in the list; of a
/// flow the first thing there.
pub(super) struct Links {
    prev: Cell<Option<NonNull<Links>>>,
    next: Cell<Option<NonNull<Links>>>,
}

/// How much is unfinished on a thread.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Live {
    /// Flows that have not ended.
    pub flows: usize,
    /// Steps that wait for something.
    pub steps: usize,
    /// Nodes in memory: these, the sources they wait for, and outcomes nobody took yet.
    pub nodes: usize,
}

/// Something that has not ended, and where it was made.
#[derive(Clone, Copy, Debug)]
pub struct Unfinished {
    /// Where it was made; of a flow, the await it stands at.
    pub site: Site,
    /// The last step that waits for it, if any does.
    pub waiter: Option<Site>,
    /// What `named` said of it.
    pub label: Option<&'static str>,
    /// Whether it is a flow.
    pub is_flow: bool,
}

/// A first-in first-out list through `up`, or through `next` (I8). It owns a count of each node.
pub(super) struct List<const BY_NEXT: bool = false> {
    head: Cell<Option<Ptr>>,
    tail: Cell<Option<Ptr>>,
}

impl<const BY_NEXT: bool> List<BY_NEXT> {
    pub(super) const fn new() -> Self {
        Self { head: Cell::new(None), tail: Cell::new(None) }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head.get().is_none()
    }

    /// # Safety
    ///
    /// The link is free: `up` of a `DONE` or `QUEUED` node that stands in no list, `next` of one
    /// that is about to be `BURIED` (I8).
    #[inline]
    pub(super) unsafe fn push(&self, n: Counted) {
        debug_assert!(matches!(n.node().state.get(), State::Done | State::Queued));
        Self::link(&n.node()).set(None);
        let n = n.into_ptr();
        match self.tail.replace(Some(n)) {
            // SAFETY: the list's count keeps it.
            Some(tail) => Self::link(&unsafe { tail.node() }).set(Some(n)),
            None => self.head.set(Some(n)),
        }
    }

    #[inline]
    pub(super) fn pop(&self) -> Option<Counted> {
        // SAFETY: the list's count, which goes to the caller.
        let n = unsafe { self.head.get()?.counted() };
        let next = Self::link(&n.node()).take();
        self.head.set(next);
        if next.is_none() {
            self.tail.set(None);
        }
        Some(n)
    }

    /// Takes all of `others`, and puts them before what it has.
    pub(super) fn put_before(&self, others: &Self) {
        let Some(tail) = others.tail.take() else { return };
        // SAFETY: the list's count keeps it.
        Self::link(&unsafe { tail.node() }).set(self.head.replace(others.head.take()));
        if self.tail.get().is_none() {
            self.tail.set(Some(tail));
        }
    }

    #[inline(always)]
    fn link<'n>(n: &'n Node<'_>) -> &'n Cell<Option<Ptr>> {
        if BY_NEXT { &n.next } else { &n.up }
    }
}

impl Cx {
    const fn new() -> Self {
        Self {
            busy: Cell::new(0),
            queue: List::new(),
            handing: List::new(),
            in_handing: Cell::new(false),
            running: Cell::new(None),
            input: Cell::new(None),
            flow: Cell::new(None),
            graves: List::new(),
            burying: Cell::new(false),
            context: Cell::new(std::ptr::null()),
            captures: Cell::new(false),
            was_set_off: Cell::new(false),
            free: Lists::new(),
            beacon: Cell::new(std::ptr::null()),
            outside: Cell::new(0),
            steps: Cell::new(0),
            flows: Cell::new(0),
            roots: Cell::new(None),
            id: Cell::new(0),
        }
    }

    /// A number no other thread has or had.
    pub(crate) fn id(&self) -> u64 {
        if self.id.get() == 0 {
            static LAST: AtomicU64 = AtomicU64::new(0);
            self.id.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
        }
        self.id.get()
    }

    /// Whether code that runs now stands outside any callback.
    pub(crate) fn is_idle(&self) -> bool {
        self.busy.get() == 0
    }

    pub(crate) fn live(&self) -> Live {
        Live { flows: self.flows.get(), steps: self.steps.get(), nodes: self.count_nodes() }
    }

    /// As [`Cx::end_of`], for a step that runs.
    #[inline(always)]
    pub(super) fn step_ended(&self) {
        self.steps.set(self.steps.get() - 1);
    }

    /// Counts a node that stops being unfinished.
    #[inline]
    pub(super) fn end_of(&self, n: Node<'_>) {
        match n.vt.get().kind {
            Kind::Step | Kind::Forward => self.steps.set(self.steps.get() - 1),
            Kind::Flow => self.flows.set(self.flows.get() - 1),
            Kind::Source | Kind::Waker => {}
        }
        if n.has(flag::ROOT) {
            n.clear(flag::ROOT);
            // SAFETY: ROOT says that it stands in the list; it does so no more.
            unsafe { self.unlink_root(n) };
        }
    }

    /// Puts a node into the list of roots, where it stays until [`Cx::end_of`].
    ///
    /// # Safety
    ///
    /// It was made with room for [`Links`] right behind its header, and nothing is there yet.
    #[inline]
    pub(super) unsafe fn link_root(&self, n: Node<'_>) {
        n.set(flag::ROOT);
        let links = links_of(n);
        let first = self.roots.replace(Some(links));
        // SAFETY: the caller's promise.
        unsafe { links.write(Links { prev: Cell::new(None), next: Cell::new(first) }) };
        if let Some(first) = first {
            // SAFETY: roots in the list are unfinished nodes, which are never freed (I1).
            unsafe { first.as_ref() }.prev.set(Some(links));
        }
    }

    /// # Safety
    ///
    /// `link_root` put it into the list, and it is there still.
    #[inline]
    unsafe fn unlink_root(&self, n: Node<'_>) {
        // SAFETY: written by link_root, and only there once; unfinished until this call.
        let links = unsafe { links_of(n).as_ref() };
        let (prev, next) = (links.prev.take(), links.next.take());
        match prev {
            // SAFETY: neighbours in the list are unfinished and so live (I1).
            Some(prev) => unsafe { prev.as_ref() }.next.set(next),
            None => self.roots.set(next),
        }
        if let Some(next) = next {
            // SAFETY: as above.
            unsafe { next.as_ref() }.prev.set(prev);
        }
    }

    /// Every unfinished source and flow, newest first, each with a count of its own.
    pub(super) fn hold_roots(&self) -> Vec<Counted> {
        let mut held = Vec::new();
        let mut at = self.roots.get();
        while let Some(links) = at {
            // SAFETY: a link of the list belongs to a live root, whose header stands before it.
            let (next, header) = unsafe { (links.as_ref().next.get(), links.cast::<Hdr>().sub(1)) };
            // SAFETY: as above.
            held.push(unsafe { Ptr::new(header).node() }.keep());
            at = next;
        }
        held
    }

    pub(crate) fn unfinished(&self) -> Vec<Unfinished> {
        let held = self.hold_roots();
        let mut found = Vec::new();
        for root in held {
            let n = root.node();
            let is_flow = n.vt.get().kind == Kind::Flow;
            let mut waiter = None;
            let mut at = n.waiter();
            let mut steps = 0_usize;
            let mut behind_a_flow = false;
            while let Some(step) = at
                && steps < LONGEST_WALK
            {
                waiter = Some(step.site.get());
                behind_a_flow |= step.vt.get().kind == Kind::Flow;
                at = step.waiter();
                steps += 1;
            }
            // What a flow awaits shows as the await that the flow stands at.
            if is_flow || (waiter.is_some() && !behind_a_flow) {
                found.push(Unfinished {
                    site: super::flow::standing_at(n),
                    waiter,
                    label: n.label(),
                    is_flow,
                });
            }
            self.release(root);
        }
        found
    }
}

/// Where a root's links are, if it has any.
#[inline]
fn links_of(n: Node<'_>) -> NonNull<Links> {
    const { assert!(align_of::<Links>() <= align_of::<Hdr>()) };
    // SAFETY: what stands behind a header is not at null.
    unsafe { NonNull::new_unchecked(n.work::<Links>()) }
}

/// This thread's state.
#[inline]
pub(crate) fn cx() -> &'static Cx {
    // SAFETY: a thread-local without a destructor lives as long as its thread, and `Cx` is not
    // `Sync`, so the reference cannot leave it.
    CX.with(|cx| unsafe { &*std::ptr::from_ref(cx) })
}

thread_local! {
    static CX: Cx = const { Cx::new() };
}

/// A cycle that a user built must not hang the one who looks for it.
const LONGEST_WALK: usize = 1_000_000;
