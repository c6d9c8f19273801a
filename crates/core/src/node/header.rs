//! The header of a node, and the three ways to refer to one.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

use super::alloc;
use super::ending::Ended;
use super::extra::Extra;
use super::{Cx, Site, flow};
use crate::fault::{Fault, Step};
use crate::flow_context::Frame;
use crate::outcome::Stop;
use crate::slot::Slot;

/// What is the same in every node. 56 bytes; with a `u64` and a `Failure` behind it, 72.
#[repr(C)]
pub(super) struct Hdr {
    pub(super) vt: Cell<&'static Vt>,
    /// Whoever waits for this node, with his producer's count unless the node is `AWAITED`; a link
    /// of the graves later (I8). Stale once the node is `TAKEN`: see [`Node::waiter`].
    pub(super) next: Cell<Option<Ptr>>,
    /// Whatever this node waits for, with no count; a link of a list later (I8).
    pub(super) up: Cell<Option<Ptr>>,
    pub(super) site: Cell<Site>,
    /// Rare things: label, hooks. With `VIA` it is a site instead.
    pub(super) extra: Cell<*mut Extra>,
    /// What its callback runs in: the context of the code that made it.
    pub(super) context: Cell<*const Frame>,
    pub(super) rc: Cell<u32>,
    pub(super) state: Cell<State>,
    pub(super) flags: Cell<u8>,
    /// The free list it was born from (I10), and three bits: `RARE`, something is to be dropped with
    /// it; `LISTED` and `BURIED`, see I8.
    pub(super) class: Cell<u8>,
    /// The lane of the outcome while `DONE`.
    pub(super) lane: Cell<u8>,
}

/// What a node of a kind does. One static per type.
///
/// A count that goes in is given back, or has gone where the state says: into the queue, into the
/// link of whatever the node waits for now, or into nothing, if the node was replaced.
pub(super) struct Vt {
    /// Runs the work on what `up` holds. Gives the node back if it is `DONE` now.
    pub(super) run: unsafe fn(&Cx, Counted, Option<Node<'_>>) -> Option<Ended>,
    /// Ends a `RUNNING` node whose run panicked.
    pub(super) stop: unsafe fn(&Cx, Counted, Stop) -> Ended,
    /// Drops or reports the outcome of a `DONE` node.
    pub(super) discard: unsafe fn(Node<'_>),
    /// Passes a request on: gives the node to ask next. One that runs a user's code gives none.
    pub(super) cancel: unsafe fn(&Cx, Node<'_>) -> Option<Ptr>,
    /// Tells an awaiting flow or waker that the node it awaits is done.
    pub(super) notice: unsafe fn(&Cx, Node<'_>),
    /// Takes a waiting step away from what it waits for.
    pub(super) detach: unsafe fn(&Cx, Node<'_>),
    /// The lanes it has a callback for.
    pub(super) lanes: u8,
    pub(super) kind: Kind,
}

/// What a node is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Flow,
    Forward,
    Source,
    Step,
    Waker,
}

/// Where a node is in its life.
///
/// * `Pending` -> `Running` when its upstream is done and its turn has come, or when its end begins
///   (a trigger fires, a request stops it at once); -> `Queued`, a flow that is woken; -> `Taken`
///   when it is taken away from its upstream, or replaced while it forwards.
/// * `Queued` -> `Running` by the queue.
/// * `Running` -> `Done` with its outcome; -> `Pending` as a forwarder, or a flow whose poll was
///   pending; -> `Queued`, a flow woken during its poll; -> `Taken` when the Deferred it returned
///   takes its place.
/// * `Done` -> `Taken` when its waiter takes the outcome, or when it is discarded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    Done,
    Pending,
    Queued,
    Running,
    Taken,
}

/// Flags of a node.
pub(super) mod flag {
    /// A cancel request stands.
    pub(in crate::node) const CANCEL: u8 = 1;
    /// `next` is a flow or a waker that only wants to know.
    pub(in crate::node) const AWAITED: u8 = 2;
    /// It has links behind its header and stands in the list of roots.
    pub(in crate::node) const ROOT: u8 = 4;
    /// A flow that was woken while it ran.
    pub(in crate::node) const REWAKE: u8 = 8;
    /// A flow whose future is gone.
    pub(in crate::node) const CLOSED: u8 = 16;
    /// Somebody holds its Deferred.
    pub(in crate::node) const HANDLE: u8 = 32;
    /// A source that has, or had, a canceller.
    pub(in crate::node) const HOOKED: u8 = 64;
    /// `extra` is a site, not a box.
    pub(in crate::node) const VIA: u8 = 128;
}

/// The address of a node, as links keep it. It says nothing about whether the node is alive, and
/// safe code can do no more with it than compare.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Ptr(NonNull<Hdr>);

impl Ptr {
    pub(super) fn new(header: NonNull<Hdr>) -> Self {
        Self(header)
    }

    /// The node.
    ///
    /// # Safety
    ///
    /// The node is alive for `'a`: whoever holds a count of it, an invariant says who, keeps it that
    /// long. Over code of a user's, or the release of another count, only a count keeps a node.
    #[inline]
    pub(super) unsafe fn node<'a>(self) -> Node<'a> {
        Node { at: self.0, alive: PhantomData }
    }

    /// A count that a link, a list or a state owned.
    ///
    /// # Safety
    ///
    /// There is such a count, and nobody else takes or gives it.
    #[inline]
    pub(super) unsafe fn counted(self) -> Counted {
        Counted(self.0)
    }

    #[inline]
    pub(super) fn header(self) -> NonNull<Hdr> {
        self.0
    }
}

/// One count of a node, which keeps it alive.
///
/// It has no destructor: it is given on, to [`Cx::release`] at last. One that is forgotten, or lost
/// to a panic that unwinds, is a leak and nothing worse.
#[derive(Debug)]
#[must_use = "a count that is dropped keeps its node for ever"]
pub(super) struct Counted(NonNull<Hdr>);

impl Counted {
    #[inline]
    pub(super) fn node(&self) -> Node<'_> {
        Node { at: self.0, alive: PhantomData }
    }

    #[inline]
    pub(super) fn ptr(&self) -> Ptr {
        Ptr(self.0)
    }

    /// Leaves the count to a link, a list or a state.
    #[inline]
    pub(super) fn into_ptr(self) -> Ptr {
        Ptr(self.0)
    }

    /// Moves the count out of a value that is being dropped.
    ///
    /// # Safety
    ///
    /// What it is moved out of is not used again.
    #[inline]
    pub(super) unsafe fn move_out(&mut self) -> Self {
        Self(self.0)
    }
}

/// A node that is alive for `'a` (I0).
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    at: NonNull<Hdr>,
    alive: PhantomData<&'a Hdr>,
}

impl Deref for Node<'_> {
    type Target = Hdr;

    #[inline]
    fn deref(&self) -> &Hdr {
        // SAFETY: I0, whoever made this value answers for its lifetime. The header is only ever
        // used through shared references and its fields are cells; I9 keeps other threads away.
        unsafe { self.at.as_ref() }
    }
}

impl<'a> Node<'a> {
    #[inline]
    pub(super) fn ptr(self) -> Ptr {
        Ptr(self.at)
    }

    /// One more count.
    #[inline]
    pub(super) fn keep(self) -> Counted {
        let rc = self.rc.get();
        if rc == u32::MAX {
            // As `Rc` does: who forgets counts may make more of them than there is memory.
            std::process::abort();
        }
        self.rc.set(rc + 1);
        Counted(self.at)
    }

    #[inline]
    pub(super) fn has(self, flag: u8) -> bool {
        self.flags.get() & flag != 0
    }

    #[inline]
    pub(super) fn set(self, flag: u8) {
        self.flags.set(self.flags.get() | flag);
    }

    #[inline]
    pub(super) fn clear(self, flag: u8) {
        self.flags.set(self.flags.get() & !flag);
    }

    #[inline]
    pub(super) fn is_done(self) -> bool {
        self.state.get() == State::Done
    }

    /// Whoever waits for it and has not run yet. What was `TAKEN` had its waiter run, and the
    /// memory behind the link may be another node by now; a grave's `next` is a link.
    #[inline]
    pub(super) fn waiter(self) -> Option<Node<'a>> {
        if self.state.get() == State::Taken || self.is_buried() {
            return None;
        }
        // SAFETY: I5, a waiter is alive as long as what it waits for has not been taken: by the
        // count in this link or, where it is AWAITED, by its `Wait`.
        self.next.get().map(|next| unsafe { next.node() })
    }

    /// Says that `extra` or `context` is not null any more.
    #[inline]
    pub(super) fn set_rare(self) {
        self.set_in_class(alloc::RARE, true);
    }

    /// Whether it stands in the list of what is handed on, with its producer's count.
    #[inline]
    pub(super) fn is_listed(self) -> bool {
        self.class.get() & alloc::LISTED != 0
    }

    #[inline]
    pub(super) fn set_listed(self, listed: bool) {
        self.set_in_class(alloc::LISTED, listed);
    }

    #[inline]
    pub(super) fn is_buried(self) -> bool {
        self.class.get() & alloc::BURIED != 0
    }

    #[inline]
    pub(super) fn set_buried(self, buried: bool) {
        self.set_in_class(alloc::BURIED, buried);
    }

    #[inline]
    fn set_in_class(self, bit: u8, on: bool) {
        let class = self.class.get() & !bit;
        self.class.set(if on { class | bit } else { class });
    }

    #[inline]
    pub(super) fn slot<T, E: Fault>(self) -> *mut Slot<T, E> {
        let offset = const { behind_header(align_of::<Slot<T, E>>()) };
        self.at.as_ptr().wrapping_byte_add(offset).cast()
    }

    #[inline]
    pub(super) fn work<W>(self) -> *mut W {
        let offset = const { behind_header(align_of::<W>()) };
        self.at.as_ptr().wrapping_byte_add(offset).cast()
    }

    /// Where it stands, and the label it was given.
    pub(super) fn step(self) -> Step {
        Step { site: flow::standing_at(self), label: self.label() }
    }
}

/// The first offset behind the header that is aligned to `align`.
pub(super) const fn behind_header(align: usize) -> usize {
    size_of::<Hdr>().next_multiple_of(align)
}
