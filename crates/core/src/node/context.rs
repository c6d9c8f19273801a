//! What a thread knows: its queue, its free lists, its counts, its roots.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::alloc::Lists;
use super::{Kind, Node, Site, State, flag};
use crate::flow_context::Frame;
use crate::hosting::Beacon;

/// The thread's state. It has no destructor, so that reaching it costs no check.
pub(crate) struct Cx {
    /// How many holds there are; zero outside any callback.
    pub(super) busy: Cell<u32>,
    /// The FIFO queue: `DONE` nodes whose waiter has a callback to run, and `QUEUED` nodes.
    pub(super) queue: List,
    /// `DONE` nodes to hand on without a callback.
    pub(super) handing: List,
    pub(super) in_handing: Cell<bool>,
    /// The node whose callback runs, and the one it took its input from.
    pub(super) running: Cell<Option<Node>>,
    pub(super) input: Cell<Option<Node>>,
    /// The flow that is being polled.
    pub(super) flow: Cell<Option<Node>>,
    /// `DONE` nodes that nobody can take any more (I7).
    pub(super) graves: List<true>,
    pub(super) burying: Cell<bool>,
    /// The context that code runs in now (I11).
    pub(super) context: Cell<*const Frame>,
    /// Whether what is made now has to look for its context.
    pub(super) captures: Cell<bool>,
    pub(super) free: Lists,
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

/// A first-in first-out list through `up`, or through `next` (I8).
pub(super) struct List<const BY_NEXT: bool = false> {
    head: Cell<Option<Node>>,
    tail: Cell<Option<Node>>,
}

impl<const BY_NEXT: bool> List<BY_NEXT> {
    pub(super) const fn new() -> Self {
        Self { head: Cell::new(None), tail: Cell::new(None) }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head.get().is_none()
    }

    #[inline]
    pub(super) fn push(&self, n: Node) {
        debug_assert!(matches!(n.state.get(), State::Done | State::Queued));
        Self::link(&n).set(None);
        match self.tail.replace(Some(n)) {
            Some(tail) => Self::link(&tail).set(Some(n)),
            None => self.head.set(Some(n)),
        }
    }

    #[inline]
    pub(super) fn pop(&self) -> Option<Node> {
        let n = self.head.get()?;
        let next = Self::link(&n).take();
        self.head.set(next);
        if next.is_none() {
            self.tail.set(None);
        }
        Some(n)
    }

    /// Takes all of `others`, and puts them before what it has.
    pub(super) fn put_before(&self, others: &Self) {
        let Some(tail) = others.tail.take() else { return };
        Self::link(&tail).set(self.head.replace(others.head.take()));
        if self.tail.get().is_none() {
            self.tail.set(Some(tail));
        }
    }

    #[inline(always)]
    fn link(n: &Node) -> &Cell<Option<Node>> {
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

    pub(crate) fn set_beacon(&self, beacon: *const Beacon) {
        self.beacon.set(beacon);
    }

    /// As [`Cx::end_of`], for a step that runs.
    #[inline(always)]
    pub(super) fn step_ended(&self) {
        self.steps.set(self.steps.get() - 1);
    }

    /// Counts a node that stops being unfinished.
    #[inline]
    pub(super) fn end_of(&self, n: Node) {
        match n.vt.get().kind {
            Kind::Step | Kind::Forward => self.steps.set(self.steps.get() - 1),
            Kind::Flow => self.flows.set(self.flows.get() - 1),
            Kind::Source | Kind::Waker => {}
        }
        if n.has(flag::ROOT) {
            self.unlink_root(n);
        }
    }

    #[inline]
    pub(super) fn link_root(&self, n: Node) {
        let links = links_of(n);
        let first = self.roots.replace(Some(links));
        // SAFETY: a ROOT node has room for links behind its header, and nothing else is there yet.
        unsafe { links.write(Links { prev: Cell::new(None), next: Cell::new(first) }) };
        if let Some(first) = first {
            // SAFETY: roots in the list are unfinished nodes, which are never freed (I1).
            unsafe { first.as_ref() }.prev.set(Some(links));
        }
    }

    #[inline]
    fn unlink_root(&self, n: Node) {
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

    /// Every unfinished source and flow, newest first, each with a reference of its own.
    pub(super) fn hold_roots(&self) -> Vec<Node> {
        let mut held = Vec::new();
        let mut at = self.roots.get();
        while let Some(links) = at {
            // SAFETY: a link of the list belongs to a live root, whose header stands before it.
            let (next, header) =
                unsafe { (links.as_ref().next.get(), links.cast::<super::Hdr>().sub(1)) };
            let n = Node(header);
            n.keep();
            held.push(n);
            at = next;
        }
        held
    }

    pub(crate) fn unfinished(&self) -> Vec<Unfinished> {
        let held = self.hold_roots();
        let mut found = Vec::new();
        for n in held {
            let is_flow = n.vt.get().kind == Kind::Flow;
            let mut waiter = None;
            let mut at = n.next.get();
            let mut steps = 0_usize;
            let mut behind_a_flow = false;
            while let Some(step) = at
                && steps < LONGEST_WALK
            {
                waiter = Some(step.site.get());
                behind_a_flow |= step.vt.get().kind == Kind::Flow;
                at = step.next.get();
                steps += 1;
            }
            // What a flow awaits shows as the await that the flow stands at.
            if is_flow || (waiter.is_some() && !behind_a_flow) {
                found.push(Unfinished {
                    site: super::flow::standing_at(n),
                    waiter,
                    label: n.extra().and_then(|extra| extra.label),
                    is_flow,
                });
            }
            self.release(n);
        }
        found
    }
}

#[inline]
fn links_of(n: Node) -> NonNull<Links> {
    debug_assert!(n.has(flag::ROOT));
    // SAFETY: a ROOT node was allocated with room for Links behind its header.
    unsafe { n.0.add(1).cast() }
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
