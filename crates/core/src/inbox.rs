//! What crosses threads: a queue that any thread may write and one thread reads.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::node::{WakeCell, cx};

/// A thread's inbox. `Send + Sync`; get a thread's own with [`hosting::inbox`](crate::hosting).
///
/// ```
/// use thence_core::hosting;
///
/// let inbox = hosting::inbox();
/// let sender = inbox.clone();
/// std::thread::spawn(move || sender.post(Box::new(|| println!("here")))).join().unwrap().unwrap();
/// assert!(!inbox.is_empty());
/// hosting::run_until_idle(); // prints
/// ```
pub struct Inbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Entry>,
    waker: Option<Arc<dyn Fn() + Send + Sync>>,
    closed: bool,
}

/// What may arrive.
pub(crate) enum Entry {
    Call(Box<dyn FnOnce() + Send>),
    /// The last waker of a flow is gone.
    Orphan(Arc<WakeCell>),
    /// A remote trigger has fired or was dropped.
    Remote(u64),
    Wake(Arc<WakeCell>),
}

/// The thread whose inbox it was has ended.
///
/// ```
/// use thence_core::hosting::{self, Closed};
///
/// let inbox = std::thread::spawn(hosting::inbox).join().unwrap(); // that thread has ended
/// assert_eq!(inbox.post(Box::new(|| ())), Err(Closed));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the thread of this reactor has ended")
    }
}

impl std::error::Error for Closed {}

impl Inbox {
    /// Has the thread run `f` in its next turn.
    ///
    /// # Errors
    ///
    /// [`Closed`] when the thread has ended; `f` is dropped.
    ///
    /// ```
    /// # use thence_core::hosting;
    /// hosting::inbox().post(Box::new(|| println!("next turn"))).unwrap();
    /// hosting::run_until_idle();
    /// ```
    pub fn post(&self, f: Box<dyn FnOnce() + Send>) -> Result<(), Closed> {
        if self.push(Entry::Call(f)) { Ok(()) } else { Err(Closed) }
    }

    /// Sets what is called, on the sender's thread, when something arrives while the inbox was
    /// empty.
    ///
    /// ```
    /// use std::sync::{Arc, mpsc};
    /// use thence_core::hosting;
    ///
    /// let (tx, rx) = mpsc::channel();
    /// let inbox = hosting::inbox();
    /// inbox.set_waker(Arc::new(move || tx.send("a turn is due").unwrap()));
    /// inbox.post(Box::new(|| ())).unwrap();
    /// assert_eq!(rx.recv(), Ok("a turn is due"));
    /// inbox.clear_waker();
    /// hosting::run_until_idle();
    /// ```
    pub fn set_waker(&self, waker: Arc<dyn Fn() + Send + Sync>) {
        let old = self.lock().waker.replace(waker);
        drop(old);
    }

    /// Takes that away again.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use thence_core::hosting;
    /// let inbox = hosting::inbox();
    /// inbox.set_waker(Arc::new(|| panic!("not any more")));
    /// inbox.clear_waker();
    /// inbox.post(Box::new(|| ())).unwrap();
    /// hosting::run_until_idle();
    /// ```
    pub fn clear_waker(&self) {
        let old = self.lock().waker.take();
        drop(old);
    }

    /// Whether nothing has arrived.
    ///
    /// ```
    /// # use thence_core::hosting;
    /// assert!(hosting::inbox().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.lock().queue.is_empty()
    }

    /// Whether it was taken.
    pub(crate) fn push(&self, entry: Entry) -> bool {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            drop(entry);
            return false;
        }
        let was_empty = state.queue.is_empty();
        state.queue.push_back(entry);
        let waker = if was_empty { state.waker.clone() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker();
        }
        true
    }

    /// Wakes the thread, or tells its host that a turn is due.
    pub(crate) fn nudge(&self) {
        let waker = self.lock().waker.clone();
        if let Some(waker) = waker {
            waker();
        }
    }

    fn pop(&self) -> Option<Entry> {
        self.lock().queue.pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default() })
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let queue = std::mem::take(&mut state.queue);
        let waker = state.waker.take();
        drop(state);
        drop((queue, waker));
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Inbox")
            .field("waiting", &state.queue.len())
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

/// This thread's inbox.
pub(crate) fn mine() -> Arc<Inbox> {
    let kept = MINE.try_with(|mine| {
        mine.borrow_mut().get_or_insert_with(|| Mine(of_thread(cx().id()))).0.clone()
    });
    // A thread that is ending has none: what arrives is not taken.
    kept.unwrap_or_else(|_| {
        let inbox = Inbox::new();
        inbox.close();
        inbox
    })
}

/// The inbox of a thread that is alive, by its number.
pub(crate) fn of_thread(id: u64) -> Arc<Inbox> {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.entry(id).or_insert_with(Inbox::new).clone()
}

/// Runs up to `max` of what has arrived on this thread, and says how many that were.
pub(crate) fn deliver(max: usize) -> usize {
    let inbox = mine();
    let mut delivered = 0;
    while delivered < max
        && let Some(entry) = inbox.pop()
    {
        delivered += 1;
        match entry {
            Entry::Call(f) => crate::node::run_guarded(f),
            Entry::Orphan(cell) => cell.arrived_orphaned(),
            Entry::Remote(id) => crate::trigger::arrived(id),
            Entry::Wake(cell) => cell.arrived(),
        }
    }
    delivered
}

/// Closes the inbox when the thread ends.
struct Mine(Arc<Inbox>);

impl Drop for Mine {
    fn drop(&mut self) {
        self.0.close();
        ALL.lock().unwrap_or_else(PoisonError::into_inner).remove(&cx().id());
    }
}

thread_local! {
    static MINE: RefCell<Option<Mine>> = const { RefCell::new(None) };
}

static ALL: LazyLock<Mutex<HashMap<u64, Arc<Inbox>>>> = LazyLock::new(Mutex::default);
