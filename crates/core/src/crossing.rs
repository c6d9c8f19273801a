//! What crosses threads, all of it: a mailbox, the far end of a trigger, and the flag of a waker.
//!
//! Nothing here knows a node, a thread or what it carries, so that loom can run all of it alone,
//! in every order that threads may take (`tests/loom.rs`).
//!
//! Users' code: a host's waker runs, and is dropped, with no lock held; `inbox` makes it one that
//! does not panic. What is sent is dropped where its last end is.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, Weak};
use std::task::Wake;

use self::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use self::sync::{Mutex, MutexGuard};

/// A queue that any thread may write and one thread reads.
pub(crate) struct Mailbox<M> {
    state: Mutex<State<M>>,
    /// Something waits, here or with the reader. Written under the lock, and read without it too.
    waiting: AtomicBool,
}

struct State<M> {
    queue: VecDeque<M>,
    waker: Option<Arc<dyn Fn() + Send + Sync>>,
    /// The reader looks before it sleeps and needs no waker; see [`Mailbox::park`].
    awake: bool,
    closed: bool,
}

impl<M> Mailbox<M> {
    pub(crate) fn new() -> Arc<Self> {
        let state = State { queue: VecDeque::new(), waker: None, awake: false, closed: false };
        Arc::new(Self { state: Mutex::new(state), waiting: AtomicBool::new(false) })
    }

    /// Gives `news` back once it is closed. Calls the waker if nothing waited before and the
    /// reader is not awake: one that sleeps only after it has found the mailbox empty, or after
    /// [`park`](Mailbox::park) has, is told of all that arrives.
    pub(crate) fn push(&self, news: M) -> Result<(), M> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(news);
        }
        let tells = !self.waiting.swap(true, Ordering::AcqRel) && !state.awake;
        let waker = if tells { state.waker.clone() } else { None };
        state.queue.push_back(news);
        // The waker is foreign code: it may come back here, and its drop may too.
        drop(state);
        if let Some(waker) = waker {
            waker();
        }
        Ok(())
    }

    /// The reader has read all of `taken`: takes what has arrived since, all at once. False when
    /// there was nothing.
    pub(crate) fn take(&self, taken: &mut VecDeque<M>) -> bool {
        debug_assert!(taken.is_empty(), "what was taken first is read first");
        let mut state = lock(&self.state);
        std::mem::swap(&mut state.queue, taken);
        let any = !taken.is_empty();
        self.waiting.store(any, Ordering::Release);
        any
    }

    /// Whether nothing waits, seen without the lock: what arrives just now may be missed.
    pub(crate) fn is_empty(&self) -> bool {
        !self.waiting.load(Ordering::Acquire)
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// The reader looks here by itself before it sleeps: nobody has to call its waker.
    pub(crate) fn awake(&self) {
        lock(&self.state).awake = true;
    }

    /// The reader is about to sleep until its waker is called: from now on it is. False when
    /// something waits already, of which the waker told nobody.
    pub(crate) fn park(&self) -> bool {
        // One lock orders this and each `push`: that one finds the reader parked, or this one finds
        // what was pushed.
        let mut state = lock(&self.state);
        state.awake = false;
        self.is_empty()
    }

    /// Sets or takes away what is called, on the sender's thread. A closed mailbox keeps none.
    pub(crate) fn set_waker(&self, waker: Option<Arc<dyn Fn() + Send + Sync>>) {
        let mut state = lock(&self.state);
        let kept = if state.closed { None } else { waker.clone() };
        let old = std::mem::replace(&mut state.waker, kept);
        drop(state);
        drop((old, waker));
    }

    /// Calls the waker although nothing arrived, if the reader is not awake.
    pub(crate) fn nudge(&self) {
        let state = lock(&self.state);
        let waker = if state.awake { None } else { state.waker.clone() };
        drop(state);
        if let Some(waker) = waker {
            waker();
        }
    }

    /// Takes nothing more from now on, and gives what was not read.
    pub(crate) fn close(&self) -> VecDeque<M> {
        let mut state = lock(&self.state);
        state.closed = true;
        let left = std::mem::take(&mut state.queue);
        self.waiting.store(false, Ordering::Release);
        let waker = state.waker.take();
        drop(state);
        drop(waker);
        left
    }
}

/// The end of a trigger that travels. Its drop sends the news home, once, with or without a value.
pub(crate) struct FarEnd<T, M> {
    slot: Arc<Slot<T>>,
    mailbox: Arc<Mailbox<M>>,
    id: u64,
    news: fn(u64) -> M,
}

/// The end that stayed at home.
pub(crate) struct NearEnd<T>(Arc<Slot<T>>);

/// Tells the far end of a request, and keeps no value alive.
pub(crate) struct Asker<T>(Weak<Slot<T>>);

struct Slot<T> {
    value: Mutex<Option<T>>,
    asked: AtomicBool,
}

impl<T, M> FarEnd<T, M> {
    /// Both ends; the mailbox gets `news(id)` at the end of the far one.
    pub(crate) fn new(
        mailbox: Arc<Mailbox<M>>,
        news: fn(u64) -> M,
        id: u64,
        asked: bool,
    ) -> (Self, NearEnd<T>) {
        let slot = Arc::new(Slot { value: Mutex::new(None), asked: AtomicBool::new(asked) });
        (Self { slot: slot.clone(), mailbox, id, news }, NearEnd(slot))
    }

    pub(crate) fn send(self, value: T) {
        *lock(&self.slot.value) = Some(value);
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.slot.asked.load(Ordering::Acquire)
    }
}

impl<T, M> Drop for FarEnd<T, M> {
    fn drop(&mut self) {
        // Closed: nobody waits at home any more.
        let _ = self.mailbox.push((self.news)(self.id));
    }
}

impl<T> NearEnd<T> {
    /// What was sent, once the news has come.
    pub(crate) fn take(&self) -> Option<T> {
        lock(&self.0.value).take()
    }

    pub(crate) fn asker(&self) -> Asker<T> {
        Asker(Arc::downgrade(&self.0))
    }
}

impl<T> Asker<T> {
    pub(crate) fn ask(&self) {
        if let Some(slot) = self.0.upgrade() {
            slot.asked.store(true, Ordering::Release);
        }
    }
}

/// What wakers wake, from any thread.
pub(crate) trait Woken: Send + Sync + Sized + 'static {
    fn flag(&self) -> &Flag<Self>;

    fn wake(self: &Arc<Self>);

    /// The last waker is gone.
    fn orphaned(self: &Arc<Self>);
}

/// What wakers and the home thread agree on.
pub(crate) struct Flag<C: Woken> {
    /// Word of a wake is on its way home.
    notified: AtomicBool,
    /// Handles alive.
    wakers: AtomicUsize,
    handle: Mutex<Weak<Handle<C>>>,
}

/// What all wakers of one thing share; its drop is the end of the last.
pub(crate) struct Handle<C: Woken>(Arc<C>);

impl<C: Woken> Flag<C> {
    pub(crate) fn new() -> Self {
        Self {
            notified: AtomicBool::new(false),
            wakers: AtomicUsize::new(0),
            handle: Mutex::new(Weak::new()),
        }
    }

    /// Whether the caller has to send word home: nobody else's is on its way.
    #[must_use]
    pub(crate) fn raise(&self) -> bool {
        !self.notified.swap(true, Ordering::AcqRel)
    }

    /// Word has come home; the poll that follows sees what every waker did before it raised the
    /// flag.
    pub(crate) fn lower(&self) {
        // Not a store: whoever found the flag raised has sent no word of its own, and the poll
        // learns what that waker did by reading what it wrote here.
        self.notified.swap(false, Ordering::AcqRel);
    }

    /// Whether a waker is left, or has done its work already.
    pub(crate) fn is_live(&self) -> bool {
        self.wakers.load(Ordering::Acquire) > 0 || self.notified.load(Ordering::Acquire)
    }
}

impl<C: Woken> Handle<C> {
    /// The handle of `woken`: the one there is, or a new one.
    pub(crate) fn of(woken: &Arc<C>) -> Arc<Self> {
        let flag = woken.flag();
        let mut kept = lock(&flag.handle);
        if let Some(handle) = kept.upgrade() {
            return handle;
        }
        flag.wakers.fetch_add(1, Ordering::AcqRel);
        let handle = Arc::new(Self(woken.clone()));
        *kept = Arc::downgrade(&handle);
        handle
    }
}

impl<C: Woken> Wake for Handle<C> {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake();
    }
}

impl<C: Woken> Drop for Handle<C> {
    fn drop(&mut self) {
        // A new one may have been made while this one was on its way out.
        if self.0.flag().wakers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.orphaned();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The types that loom looks into. It has no `Weak`, and `Wake` wants std's `Arc`: the models count
/// references for themselves.
mod sync {
    #[cfg(all(loom, test))]
    pub(super) use loom::sync::{Mutex, MutexGuard, atomic};
    #[cfg(not(all(loom, test)))]
    pub(super) use std::sync::{Mutex, MutexGuard, atomic};
}
