//! The node: one link of a chain, and the rules that hold a chain together.
//!
//! This folder is core's only room with unsafe code. A node is a header, a place for its work (a
//! closure, a flow's future) and a place for its outcome, which share their bytes. Everything
//! outside sees [`Node`] only through the safe functions of this folder.
//!
//! # Invariants
//!
//! * **I0** A [`Node`] value points at live memory: it is made from a fresh allocation, and
//!   whoever keeps one across a call that can release it holds a counted reference.
//! * **I1** A node is `PENDING`, `QUEUED` or `RUNNING` exactly while its producer (a trigger, an
//!   upstream's `next`, the queue, its own poll) holds one reference. No unfinished node is ever
//!   freed, so closures need no entry that only drops them.
//! * **I2** `up` of a `PENDING` step points at a live node whose `next` is it. Both are rewritten
//!   in the same breath (attach, take over, forward).
//! * **I3** What the bytes behind the header hold: the work while `PENDING` or `QUEUED` (a
//!   forwarder has none, a source its links and perhaps whom to ask), nothing while `RUNNING` (a flow: its future, until
//!   `CLOSED`, and its links, until it leaves the list of roots) or `TAKEN`, an outcome exactly
//!   while `DONE`. The state changes before user code can run.
//! * **I4** The outcome is the last thing a run writes. A panic that unwinds out of one finds
//!   either the payload empty (`RUNNING`: a stop is written) or the outcome whole (`DONE`).
//! * **I5** `next` has one consumer whose type fits: a step (attach), a forwarder (adopt), or a
//!   `Wait`'s flow or waker (`AWAITED`: the value stays, the `Wait` takes it).
//! * **I6** User code runs only with the thread held (`busy`) and every list whole.
//! * **I7** A `DONE` node that nobody holds or waits for goes through the list of graves, which
//!   keeps it with a reference: no recursion. Its outcome is the list's alone.
//! * **I8** `up` is a link of the queue or of what is handed on only in `DONE` and `QUEUED` nodes;
//!   `next` is a link of the graves only in a `BURIED` node, which nobody waits for. A request
//!   stops at any node that is not `PENDING`, so it follows neither. A node whose handle is alive
//!   may stand in the list of what is handed on, once: `LISTED` says so.
//! * **I9** Nodes belong to one thread. Of a flow only its `WakeCell` is seen by others.
//! * **I10** Memory goes back to the class it came from, whatever vtable the node has now.
//! * **I11** `context` of a node, and the thread's, is null or one count of an `Rc` of this thread.

mod alloc;
mod cancel;
mod carry;
mod context;
mod flow;
mod handle;
mod source;
mod step;
mod turn;
mod wait;
mod waker;

use std::any::Any;
use std::cell::Cell;
use std::ops::Deref;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::rc::{Rc, Weak};

pub(crate) use self::cancel::CancelRef;
pub(crate) use self::context::{Cx, cx};
pub use self::context::{Live, Unfinished};
pub(crate) use self::flow::spawn;
pub(crate) use self::handle::{Detacher, Handle, discard, tell};
pub(crate) use self::source::{Asked, Asking, Source};
pub use self::step::Next;
pub(crate) use self::step::{Passing, Work};
pub(crate) use self::turn::{Held, hold, run_guarded, site_of_beacon};
pub use self::wait::Wait;
pub(crate) use self::waker::WakeCell;

use crate::fault::{Fault, Step};
use crate::flow_context::Frame;
use crate::hosting::Home;
use crate::outcome::{Stop, lane};
use crate::slot::Slot;

pub(crate) type Site = &'static Location<'static>;

/// Where the caller of the caller stands. (Measured without by `bench/`.)
#[inline(always)]
#[track_caller]
pub(crate) fn here() -> Site {
    const NOWHERE: Site = Location::caller();
    if cfg!(thence_no_site) { NOWHERE } else { Location::caller() }
}

/// What is the same in every node. 56 bytes; with a `u64` and a `Failure` behind it, 72.
#[repr(C)]
pub(crate) struct Hdr {
    vt: Cell<&'static Vt>,
    /// Whoever waits for this node; a link of the graves later (I8).
    next: Cell<Option<Node>>,
    /// Whatever this node waits for; a link of the queue later (I8).
    up: Cell<Option<Node>>,
    site: Cell<Site>,
    /// Rare things: label, hooks. With `VIA` it is a site instead, see [`Node::note_via`].
    extra: Cell<*mut Extra>,
    /// What its callback runs in: the context of the code that made it.
    context: Cell<*const Frame>,
    rc: Cell<u32>,
    state: Cell<State>,
    flags: Cell<u8>,
    /// The free list it was born from (I10), and three bits: `RARE`, something is to be dropped with
    /// it; `LISTED` and `BURIED`, see I8.
    class: Cell<u8>,
    /// The lane of the outcome while `DONE`.
    lane: Cell<u8>,
}

/// What is rare in a node, kept out of its way.
#[derive(Default)]
struct Extra {
    label: Option<&'static str>,
    via: Option<Step>,
    on_cancel: Vec<Box<dyn FnOnce()>>,
    /// Where cancellers look for this node.
    places: Vec<Rc<Cell<Option<Node>>>>,
    on_left: Option<Box<dyn FnOnce()>>,
    on_unclaimed: Option<WayBack>,
}

/// Where a value goes that nobody takes.
enum WayBack {
    /// To a source, with the place the value had there.
    Home(Weak<dyn Home>, u64),
    /// A `Box<dyn FnOnce(T)>` of the node's own `T`.
    Hook(Box<dyn Any>),
}

impl Extra {
    /// Drops what is in it.
    fn clear(&mut self) {
        self.label = None;
        self.via = None;
        self.on_cancel = Vec::new();
        self.places = Vec::new();
        self.on_left = None;
        self.on_unclaimed = None;
    }
}

/// A source's cancellers, and what it wants to know of its waiter.
type Hooks = (Vec<Box<dyn FnOnce()>>, Option<Box<dyn FnOnce()>>);

/// What a node of a kind does. One static per type.
struct Vt {
    /// Runs the work on what `up` holds. Gives the node back if it is `DONE` now.
    run: unsafe fn(&Cx, Node, Option<Node>) -> Option<Node>,
    /// Ends a `RUNNING` node whose run panicked.
    stop: unsafe fn(&Cx, Node, Stop),
    /// Drops or reports the outcome of a `DONE` node.
    discard: unsafe fn(&Cx, Node),
    /// Passes a request on: gives the node to ask next.
    cancel: unsafe fn(&Cx, Node) -> Option<Node>,
    /// Tells an awaiting flow or waker that the node it awaits is done.
    notice: unsafe fn(&Cx, Node),
    /// Takes a waiting step away from what it waits for.
    detach: unsafe fn(&Cx, Node),
    /// The lanes it has a callback for.
    lanes: u8,
    kind: Kind,
}

/// What a node is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Flow,
    Forward,
    Source,
    Step,
    Waker,
}

/// Where a node is in its life.
///
/// * `Pending` -> `Running` when its upstream is done and its turn has come; -> `Done` when a trigger
///   fires or a request stops it at once; -> `Queued`, a flow that is woken; -> `Taken` when it is
///   taken away from its upstream, or replaced while it forwards.
/// * `Queued` -> `Running` by the queue.
/// * `Running` -> `Done` with its outcome; -> `Pending` as a forwarder, or a flow whose poll was
///   pending; -> `Queued`, a flow woken during its poll; -> `Taken` when the Deferred it returned
///   takes its place.
/// * `Done` -> `Taken` when its waiter takes the outcome, or when it is discarded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Done,
    Pending,
    Queued,
    Running,
    Taken,
}

/// Flags of a node.
mod flag {
    /// A cancel request stands.
    pub(super) const CANCEL: u8 = 1;
    /// `next` is a flow or a waker that only wants to know.
    pub(super) const AWAITED: u8 = 2;
    /// It has links behind its header and stands in the list of roots.
    pub(super) const ROOT: u8 = 4;
    /// A flow that was woken while it ran.
    pub(super) const REWAKE: u8 = 8;
    /// A flow whose future is gone.
    pub(super) const CLOSED: u8 = 16;
    /// Somebody holds its Deferred.
    pub(super) const HANDLE: u8 = 32;
    /// A source that has, or had, a canceller.
    pub(super) const HOOKED: u8 = 64;
    /// `extra` is a site, not a box.
    pub(super) const VIA: u8 = 128;
}

/// A pointer to a live node (I0).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Node(NonNull<Hdr>);

impl Deref for Node {
    type Target = Hdr;

    #[inline]
    fn deref(&self) -> &Hdr {
        // SAFETY: I0, the memory is live. The header is only ever used through shared references
        // and its fields are cells; I9 keeps other threads away.
        unsafe { self.0.as_ref() }
    }
}

impl Node {
    #[inline]
    fn has(self, flag: u8) -> bool {
        self.flags.get() & flag != 0
    }

    #[inline]
    fn set(self, flag: u8) {
        self.flags.set(self.flags.get() | flag);
    }

    #[inline]
    fn clear(self, flag: u8) {
        self.flags.set(self.flags.get() & !flag);
    }

    /// Says that `extra` or `context` is not null any more.
    #[inline]
    fn set_rare(self) {
        self.set_in_class(alloc::RARE, true);
    }

    /// Whether it stands in the list of what is handed on, with its producer's reference.
    #[inline]
    fn is_listed(self) -> bool {
        self.class.get() & alloc::LISTED != 0
    }

    #[inline]
    fn set_listed(self, listed: bool) {
        self.set_in_class(alloc::LISTED, listed);
    }

    #[inline]
    fn is_buried(self) -> bool {
        self.class.get() & alloc::BURIED != 0
    }

    #[inline]
    fn set_buried(self, buried: bool) {
        self.set_in_class(alloc::BURIED, buried);
    }

    #[inline]
    fn set_in_class(self, bit: u8, on: bool) {
        let class = self.class.get() & !bit;
        self.class.set(if on { class | bit } else { class });
    }

    #[inline]
    fn keep(self) {
        self.rc.set(self.rc.get() + 1);
    }

    #[inline]
    fn slot<T, E: Fault>(self) -> *mut Slot<T, E> {
        let offset = const { behind_header(align_of::<Slot<T, E>>()) };
        self.0.as_ptr().wrapping_byte_add(offset).cast()
    }

    #[inline]
    fn work<W>(self) -> *mut W {
        let offset = const { behind_header(align_of::<W>()) };
        self.0.as_ptr().wrapping_byte_add(offset).cast()
    }

    /// Takes the outcome of a `DONE` node.
    ///
    /// # Safety
    ///
    /// The node is `DONE` with an outcome of these types.
    #[inline(always)]
    unsafe fn take<T, E: Fault>(self) -> Slot<T, E> {
        debug_assert_eq!(self.state.get(), State::Done);
        self.state.set(State::Taken);
        let slot = self.slot::<T, E>();
        // SAFETY: I3, a DONE node holds an outcome; its types by the caller's promise. TAKEN says
        // that it is gone. A value is read in parts, as `put` writes it.
        unsafe {
            match &*slot {
                Slot::Ok(value) => Slot::Ok(ptr::read(value)),
                _ => slot.read(),
            }
        }
    }

    /// Writes the outcome; an error records the step.
    ///
    /// # Safety
    ///
    /// The node was made for these types and its payload is empty (I3).
    #[inline(always)]
    unsafe fn put<T, E: Fault>(self, slot: Slot<T, E>) {
        match slot {
            // Built in place: moved as a whole it is read back wider than it was written, which
            // stalls every step by a dozen cycles.
            Slot::Ok(value) => {
                self.lane.set(lane::OK);
                // SAFETY: the caller's promise; the allocation was sized for work and outcome.
                unsafe { self.slot::<T, E>().write(Slot::Ok(value)) };
                self.state.set(State::Done);
            }
            // SAFETY: the caller's promise.
            slot => unsafe { self.put_other(slot) },
        }
    }

    /// # Safety
    ///
    /// As [`Node::put`].
    #[cold]
    #[inline(never)]
    unsafe fn put_other<T, E: Fault>(self, mut slot: Slot<T, E>) {
        self.record(&mut slot);
        self.lane.set(slot.lane());
        // SAFETY: the caller's promise; the allocation was sized for both work and outcome.
        unsafe { self.slot::<T, E>().write(slot) };
        self.state.set(State::Done);
    }

    /// Where it stands, and the label it was given.
    fn step(self) -> Step {
        Step { site: flow::standing_at(self), label: self.extra().and_then(|extra| extra.label) }
    }

    fn record<T, E: Fault>(self, slot: &mut Slot<T, E>) {
        let mut label = None;
        if self.has(flag::VIA) {
            // SAFETY: VIA says that `extra` holds a `&'static Location` (see note_via).
            let site: Site = unsafe { &*self.extra.get().cast_const().cast() };
            slot.passed(Step { site, label: None });
        } else if let Some(extra) = self.extra() {
            if let Some(via) = extra.via {
                slot.passed(via);
            }
            label = extra.label;
        }
        slot.passed(Step { site: self.site.get(), label });
    }

    /// The rare part, if there is one.
    #[inline]
    fn extra(self) -> Option<&'static mut Extra> {
        if self.has(flag::VIA) {
            return None;
        }
        // SAFETY: without VIA `extra` is null or a box that this node owns and that lives as long
        // as it. Users in this folder hold the reference for a statement, never across user code.
        unsafe { self.extra.get().as_mut() }
    }

    /// The rare part, made if there is none.
    fn extra_mut(self) -> &'static mut Extra {
        if self.has(flag::VIA) || self.extra.get().is_null() {
            let mut extra = alloc::extra();
            if self.has(flag::VIA) {
                // SAFETY: as in `record`.
                let site: Site = unsafe { &*self.extra.get().cast_const().cast() };
                extra.via = Some(Step { site, label: None });
                self.clear(flag::VIA);
            }
            self.extra.set(Box::into_raw(extra));
            self.set_rare();
        }
        // SAFETY: as in `extra`; it was made above if there was none.
        unsafe { &mut *self.extra.get() }
    }

    /// Notes that a step stood between this node and its upstream until the Deferred it returned
    /// took its place, so that the trail can still name it. The first one stays.
    #[inline]
    fn note_via(self, replaced: Node) {
        if self.has(flag::VIA) {
            return;
        }
        let labelled = replaced.extra().and_then(|extra| extra.label);
        if labelled.is_none() && self.extra.get().is_null() {
            self.extra.set(ptr::from_ref(replaced.site.get()).cast_mut().cast());
            self.set_rare();
            self.set(flag::VIA);
            return;
        }
        let extra = self.extra_mut();
        if extra.via.is_none() {
            extra.via = Some(Step { site: replaced.site.get(), label: labelled });
        }
    }

    /// The hooks of a source that is about to end: it needs no canceller any more, and lets go of
    /// what that owns.
    #[inline]
    fn take_hooks(self) -> Option<Hooks> {
        let extra = self.extra()?;
        if extra.on_cancel.is_empty() && extra.on_left.is_none() {
            return None;
        }
        Some((std::mem::take(&mut extra.on_cancel), extra.on_left.take()))
    }

    #[inline]
    fn has_way_back(self) -> bool {
        self.extra().is_some_and(|extra| extra.on_unclaimed.is_some())
    }

    pub(crate) fn set_label(self, label: &'static str) {
        self.extra_mut().label = Some(label);
    }

    fn set_unclaimed<T: 'static>(self, hook: Box<dyn FnOnce(T)>) {
        self.set_way_back(WayBack::Hook(Box::new(hook)));
    }

    fn set_way_back(self, way_back: WayBack) {
        let old = self.extra_mut().on_unclaimed.replace(way_back);
        // What it owned may call back into this node; the field is whole again by now.
        if old.is_some() {
            run_guarded(|| drop(old));
        }
    }

    fn take_unclaimed<T: 'static>(self) -> Option<Box<dyn FnOnce(T)>> {
        match self.extra()?.on_unclaimed.take()? {
            WayBack::Hook(hook) => hook.downcast::<Box<dyn FnOnce(T)>>().ok().map(|hook| *hook),
            WayBack::Home(home, place) => Some(Box::new(move |value| {
                if let Some(home) = home.upgrade() {
                    home.take_back(place, Box::new(value));
                }
            })),
        }
    }

    /// What a source wants to know when its Deferred is dropped before it has ended.
    #[inline]
    fn take_left(self) -> Option<Box<dyn FnOnce()>> {
        if self.state.get() == State::Done { None } else { self.extra()?.on_left.take() }
    }

    pub(crate) fn is_done(self) -> bool {
        self.state.get() == State::Done
    }
}

/// The first offset behind the header that is aligned to `align`.
const fn behind_header(align: usize) -> usize {
    size_of::<Hdr>().next_multiple_of(align)
}

/// The `discard` of every node with an outcome of these types.
///
/// # Safety
///
/// The node is `DONE` with an outcome of these types.
unsafe fn discard_done<T: 'static, E: Fault>(_: &Cx, n: Node) {
    // SAFETY: the caller's promise.
    let slot = unsafe { n.take::<T, E>() };
    match slot {
        Slot::Ok(value) => match n.take_unclaimed::<T>() {
            Some(hook) => hook(value),
            None => drop(value),
        },
        slot => crate::report::unclaimed(slot, n.site.get()),
    }
}

/// The `stop` of nodes whose payload is empty while they run.
///
/// # Safety
///
/// The node is `RUNNING`, its payload is empty, and it was made for these types.
unsafe fn stop<T: 'static, E: Fault>(cx: &Cx, n: Node, stop: Stop) {
    cx.end_of(n);
    // SAFETY: the caller's promise.
    unsafe { n.put::<T, E>(Slot::Stop(stop)) };
}

/// The `detach` of nodes that are no waiting step.
///
/// # Safety
///
/// None.
unsafe fn no_detach(_: &Cx, _: Node) {}

/// The `notice` of nodes that nobody awaits through.
///
/// # Safety
///
/// None; it is never called (I5).
unsafe fn no_notice(_: &Cx, _: Node) {
    debug_assert!(false, "only flows and wakers await");
}
