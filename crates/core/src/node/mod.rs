//! The node: one link of a chain, and the rules that hold a chain together.
//!
//! This folder is core's only room with unsafe code. A node is a header, a place for its work (a
//! closure, a flow's future) and a place for its outcome, which share their bytes. Everything
//! outside sees nodes only through [`Handle`], [`Source`], [`CancelRef`], [`Detacher`], [`Passing`]
//! and [`Wait`], which are safe: no address leaves the room.
//!
//! # Who refers to a node
//!
//! Three types of `header.rs`, and what each lets safe code do:
//!
//! * `Ptr`, an address, is what links and lists hold. It can be compared, no more.
//! * `Counted` is one count. It lends the node, and is given on: to a link, to a list, to
//!   `Cx::release`. It has no destructor, so that it costs nothing: one that is lost is a leak.
//! * `Node<'a>` is a node that is alive for `'a`, lent by a count or vouched for by an invariant.
//!
//! # Invariants
//!
//! * **I0** A [`Node`](header::Node) is alive for its lifetime. It was lent by a `Counted`, or read
//!   from a link while an invariant below says who keeps it; the latter never lasts over code of a
//!   user's or the release of another count.
//! * **I1** A node is `PENDING`, `QUEUED` or `RUNNING` exactly while its producer has one count: a
//!   trigger, an upstream's `next`, the queue, its own run, or, of a `PENDING` flow, its state: whoever
//!   takes it out of that state takes the count. No unfinished node is ever freed, so closures need no
//!   entry that only drops them.
//! * **I2** `up` of a `PENDING` step points at a live node whose `next` is it. Both are rewritten
//!   in the same breath (attach, take over, forward).
//! * **I3** What the bytes behind the header hold: the work while `PENDING` or `QUEUED` (a
//!   forwarder has none, a source its links and perhaps whom to ask), nothing while `RUNNING` (a flow: its future, until
//!   `CLOSED`, and its links, until it leaves the list of roots) or `TAKEN`, an outcome exactly
//!   while `DONE`. The state changes before a user's code can run.
//! * **I4** The outcome is the last thing a run writes, and only an [`Ending`](ending::Ending) writes
//!   one (but for a node that is made of an outcome): the node is `RUNNING` and in no list by then. A panic that unwinds out of a run finds the
//!   payload empty, and a stop is written. From the outcome to `Cx::complete` no user's code runs.
//! * **I5** `next` has one consumer whose type fits: a step (attach), a forwarder (adopt), or a
//!   `Wait`'s flow or waker (`AWAITED`: the value stays, the `Wait` takes it and keeps both alive). It
//!   is stale from the moment the consumer has run: the node is `TAKEN`.
//! * **I6** A user's code runs only with the thread held (`busy`) and every list whole.
//! * **I7** A `DONE` node that nobody holds or waits for goes through the list of graves, which
//!   keeps it with a count: no recursion. Its outcome is the list's alone.
//! * **I8** `up` is a link of the queue or of what is handed on only in `DONE` and `QUEUED` nodes;
//!   `next` is a link of the graves only in a `BURIED` node, which nobody waits for. A request
//!   stops at any node that is not `PENDING`, so it follows neither. A node whose handle is alive
//!   may stand in the list of what is handed on, once: `LISTED` says so; a `QUEUED` one that was made
//!   while others are handed on stands there too, on its way to the queue. A list owns one count of
//!   each node in it.
//! * **I9** Nodes belong to one thread. Of a flow only its `WakeCell` is seen by others.
//! * **I10** Memory goes back to the class it came from, whatever vtable the node has now.
//! * **I11** `context` of a node, and the thread's, is null or one count of an `Rc` of this thread.
//!
//! # Where a user's code runs
//!
//! In 25 places of this room, and nowhere else in it. In each the code may fire, cancel, attach, leave,
//! emit, panic, or drop the last handle of the very node; what keeps that harmless stands beside it.
//! Outside the room there are 75 more; the head of each file says which (`Users' code:`).
//!
//! | # | place | what runs | in which state |
//! |---|---|---|---|
//! | 1 | `make` | a subscriber is asked for its span | nothing refers to the node yet; `attach` looks again at what it is attached to, and settles |
//! | 2 | `step::finish` | the closure, called | `RUNNING`, its payload empty |
//! | 3 | `step::finish` | the closure, dropped because it was passed by | `RUNNING`, before the outcome is there |
//! | 4 | `Ending::put` | `Fault::passed` | `RUNNING`, in no list, hooks taken; guarded |
//! | 5 | `Source::end` | hooks, dropped | after the node was handed on; each guarded |
//! | 6 | `Source::settle` | `Default` of a trail | before the look at the state |
//! | 7 | `Source::cancel_after` | `on_cancel` hooks, called | `PENDING`, the hooks out of it, a count held; the state is looked at again |
//! | 8 | `Source::ignore` | a late outcome: its way back, its drop | ended before; guarded |
//! | 9 | `set_left`, `set_way_back` | the hook before, dropped | the cell is whole again; guarded |
//! | 10 | `Handle::drop`, `detach` | an `on_left` hook, called | out of its cell, a count held; guarded |
//! | 11 | `detach` | the closure, dropped | `TAKEN`, both links cut; guarded |
//! | 12 | `bury_all` | an outcome nobody takes: its way back, its drop, `Fault::message` | `TAKEN`; the list of graves is whole, and goes on behind it |
//! | 13 | `Passing` | a way back, called or replaced | `RUNNING`; guarded |
//! | 14 | `Flow::run` | one poll | `RUNNING`; ended by nobody but this run |
//! | 15 | `Flow::run` | an error that a Stop overtook is told and dropped | `RUNNING`, before the outcome; guarded |
//! | 16 | `Flow::run` | `Default` of a trail | `RUNNING`, not closed |
//! | 17 | `Flow::close` | the future, dropped | `RUNNING`, not `CLOSED`: its awaits still find their entries; guarded |
//! | 18 | `Wait::link_foreign` | a waker's `clone` | nothing is linked; what is awaited is looked at again |
//! | 19 | `Body::renew` | a waker's `clone` and drop | the waker is out of its cell |
//! | 20 | `unlink` | a waker's drop | every link is cut; guarded |
//! | 21 | `notice_waker` | a waker's `wake` | the awaited node is `DONE` and knows nobody; the waker's node is not used again; guarded |
//! | 22 | `Wait::poll` | `wake_by_ref`, `Fault::passed`, `Fault::awaited` | the outcome is out of its node |
//! | 23 | `Cx::switch` | a subscriber's `exit` and `enter` | both contexts have a count; held, each caught |
//! | 24 | `carry::release` | flow-locals, dropped | the slot has another context already; guarded |
//! | 25 | `drop_rare` | hooks and way back, dropped with a node | no canceller finds the node any more; each guarded |
//!
//! All of them on every kind of node are rows of `tests/lifecycle`, and operations of the model that
//! the fuzzer drives; each fault that was found is a test in `tests/core/hostile_moments.rs`.

mod alloc;
mod beacon;
mod cancel;
mod carry;
mod context;
mod ending;
mod extra;
mod flow;
mod handle;
mod header;
mod passing;
mod source;
mod step;
mod turn;
mod wait;
mod waker;

use std::panic::Location;

pub use self::beacon::Beacon;
pub(crate) use self::cancel::CancelRef;
pub(crate) use self::context::{Cx, cx};
pub use self::context::{Live, Unfinished};
pub(crate) use self::flow::spawn;
pub(crate) use self::handle::{Detacher, Handle, discard, tell};
pub(crate) use self::passing::Passing;
pub(crate) use self::source::{Asked, Asking, Source};
pub use self::step::Next;
pub(crate) use self::step::Work;
pub(crate) use self::turn::{Held, hold, run_guarded};
pub use self::wait::Wait;
pub(crate) use self::waker::WakeCell;

pub(crate) type Site = &'static Location<'static>;

/// Where the caller of the caller stands. (Measured without by `bench/`.)
#[inline(always)]
#[track_caller]
pub(crate) fn here() -> Site {
    const NOWHERE: Site = Location::caller();
    if cfg!(thence_no_site) { NOWHERE } else { Location::caller() }
}
