//! A flow's wakers: a borrowed one that costs nothing, and one that any thread may keep.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::cx;
use super::flow::{Common, orphaned, rewake};
use super::header::{Hdr, Node, Ptr};
use crate::crossing::{Flag, Handle, Woken};
use crate::inbox::{self, Entry, Inbox};

/// The waker lent to a flow's poll.
///
/// # Safety
///
/// It, not its clones, must be gone before the poll returns, and is never dropped.
pub(super) unsafe fn local(f: Ptr) -> Waker {
    // SAFETY: the functions of LOCAL take the pointer for a flow that is being polled.
    unsafe { Waker::from_raw(RawWaker::new(f.header().as_ptr().cast_const().cast(), &LOCAL)) }
}

/// Whether `waker` is the one lent to the poll of `f`.
pub(super) fn is_local(waker: &Waker, f: Ptr) -> bool {
    std::ptr::eq(waker.vtable(), &raw const LOCAL)
        && std::ptr::eq(waker.data(), f.header().as_ptr().cast_const().cast())
}

static LOCAL: RawWakerVTable = RawWakerVTable::new(clone_local, wake_local, wake_local, drop_local);

/// # Safety
///
/// `data` is a flow being polled. Any thread may call it while the poll lasts: only the immutable
/// `home` and the `OnceLock` are touched.
unsafe fn clone_local(data: *const ()) -> RawWaker {
    let f = address(data);
    // SAFETY: being polled, so neither freed nor closed.
    let common = unsafe { &*f.node().work::<Common>() };
    let cell = common.cell.get_or_init(|| WakeCell::new(f, common.home));
    let waker = std::mem::ManuallyDrop::new(Waker::from(Handle::of(cell)));
    RawWaker::new(waker.data(), waker.vtable())
}

/// # Safety
///
/// As [`clone_local`].
unsafe fn wake_local(data: *const ()) {
    let f = address(data);
    // SAFETY: being polled, so neither freed nor closed.
    let common = unsafe { &*f.node().work::<Common>() };
    let cx = cx();
    if common.home == cx.id() {
        // SAFETY: as above, and a flow.
        unsafe { rewake(cx, f.node()) };
    } else {
        common.cell.get_or_init(|| WakeCell::new(f, common.home)).wake();
    }
}

/// # Safety
///
/// None.
unsafe fn drop_local(_: *const ()) {}

/// What [`local`] made the pointer of.
fn address(data: *const ()) -> Ptr {
    Ptr::new(NonNull::new(data.cast_mut().cast::<Hdr>()).expect("a node is not at null"))
}

/// What other threads see of a flow (I9).
pub(crate) struct WakeCell {
    /// Null once the flow has ended. Only the home thread looks behind it.
    flow: AtomicPtr<Hdr>,
    home: u64,
    inbox: Arc<Inbox>,
    flag: Flag<Self>,
}

impl WakeCell {
    fn new(f: Ptr, home: u64) -> Arc<Self> {
        // Asked for at home, the inbox is closed and forgotten when the thread ends; `forget` asks
        // for what another thread made.
        let inbox = if home == cx().id() { inbox::mine() } else { inbox::of_thread(home) };
        Arc::new(Self { flow: AtomicPtr::new(f.header().as_ptr()), home, inbox, flag: Flag::new() })
    }

    /// Whether a waker is left, or has done its work already.
    pub(super) fn is_live(&self) -> bool {
        self.flag.is_live()
    }

    /// The flow has ended; wakers may come when they like.
    pub(super) fn forget(&self) {
        self.flow.store(std::ptr::null_mut(), Ordering::Release);
        // Made by another thread during a poll, the inbox is this thread's only from here on.
        drop(inbox::mine());
    }

    /// The home thread took it out of its inbox.
    pub(crate) fn arrived(&self) {
        self.flag.lower();
        if let Some(f) = self.flow() {
            // SAFETY: a cell is made for a flow.
            unsafe { rewake(cx(), f) };
        }
    }

    /// The home thread was told that the last waker is gone.
    pub(crate) fn arrived_orphaned(&self) {
        if let Some(f) = self.flow() {
            // SAFETY: a cell is made for a flow.
            unsafe { orphaned(cx(), f) };
        }
    }

    /// The flow, on its home thread, while it has not ended.
    fn flow(&self) -> Option<Node<'_>> {
        if self.home != cx().id() {
            return None;
        }
        let f = NonNull::new(self.flow.load(Ordering::Acquire))?;
        // SAFETY: `forget` empties this before the flow ends, and an unfinished node is alive (I1).
        // Callers use it before any code of a user's.
        Some(unsafe { Ptr::new(f).node() })
    }
}

impl Woken for WakeCell {
    fn flag(&self) -> &Flag<Self> {
        &self.flag
    }

    fn wake(self: &Arc<Self>) {
        let cx = cx();
        if self.home != cx.id() {
            if self.flag.raise() {
                // Closed: the thread has ended, and its flows with it.
                let _ = self.inbox.mailbox.push(Entry::Wake(self.clone()));
            }
            return;
        }
        if let Some(f) = self.flow() {
            // SAFETY: a cell is made for a flow.
            unsafe { rewake(cx, f) };
            // Never run from within a waker: whoever wakes may hold a lock. A loop that sleeps, or
            // a host that waits for its descriptor, is told.
            if cx.is_idle() {
                self.inbox.mailbox.nudge();
            }
        }
    }

    fn orphaned(self: &Arc<Self>) {
        let cx = cx();
        if self.home != cx.id() {
            if !self.flow.load(Ordering::Acquire).is_null() {
                let _ = self.inbox.mailbox.push(Entry::Orphan(self.clone()));
            }
            return;
        }
        if let Some(f) = self.flow() {
            // SAFETY: a cell is made for a flow.
            unsafe { orphaned(cx, f) };
            if cx.is_idle() && !cx.queue_is_empty() {
                self.inbox.mailbox.nudge();
            }
        }
    }
}
