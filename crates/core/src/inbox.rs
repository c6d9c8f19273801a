//! What arrives from other threads, and where: one inbox a thread.
//!
//! Users' code: what another thread posted runs under a guard, off the list; the host's waker runs,
//! and is dropped, under one on any thread. What is refused is its sender's to drop.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::crossing::Mailbox;
use crate::guarded::Guarded;
use crate::node::{WakeCell, cx, run_guarded};
use crate::report::reporting;

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
    pub(crate) mailbox: Arc<Mailbox<Entry>>,
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
    /// Has the thread run `f` in its next turn. A panic in `f` is reported there.
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
        self.mailbox.push(Entry::Call(f)).map_err(|_| Closed)
    }

    /// Sets what is called, on the sender's thread, when something arrives while the inbox was
    /// empty and the thread not [`awake`](Inbox::awake). While something waits it is not called
    /// again: a thread that sleeps until it is called looks at [`is_empty`](Inbox::is_empty) first.
    ///
    /// It runs wherever something is sent, in destructors too, so it must not panic.
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
        // It is a host's: a panic in it, or when it is dropped, is nobody's failure who sends.
        let waker = Guarded::new(waker);
        self.mailbox.set_waker(Some(Arc::new(move || reporting(&**waker))));
    }

    /// Takes that away again.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use thence_core::hosting;
    /// let inbox = hosting::inbox();
    /// inbox.set_waker(Arc::new(|| println!("a turn is due")));
    /// inbox.clear_waker();
    /// inbox.post(Box::new(|| ())).unwrap();
    /// hosting::run_until_idle();
    /// ```
    pub fn clear_waker(&self) {
        self.mailbox.set_waker(None);
    }

    /// Says that this thread looks into its inbox before it sleeps: the waker is not called until
    /// it [`park`](Inbox::park)s.
    ///
    /// ```
    /// use std::sync::{Arc, mpsc};
    /// use thence_core::hosting;
    ///
    /// let (tx, rx) = mpsc::channel();
    /// let inbox = hosting::inbox();
    /// inbox.set_waker(Arc::new(move || tx.send(()).unwrap()));
    /// inbox.awake();
    /// inbox.post(Box::new(|| ())).unwrap();
    /// assert!(rx.try_recv().is_err()); // whoever is awake needs no call
    ///
    /// assert!(!inbox.park()); // something is there: do not sleep
    /// hosting::run_until_idle();
    /// inbox.post(Box::new(|| ())).unwrap();
    /// assert!(rx.try_recv().is_ok());
    /// # inbox.clear_waker();
    /// # hosting::run_until_idle();
    /// ```
    pub fn awake(&self) {
        self.mailbox.awake();
    }

    /// Says that this thread is about to sleep until the waker is called, which it is from now on.
    /// Returns whether the inbox is empty: when it is not, nobody calls for what is there already.
    /// A thread that was never [`awake`](Inbox::awake) is parked.
    ///
    /// ```
    /// # use thence_core::hosting;
    /// let inbox = hosting::inbox();
    /// inbox.awake();
    /// // a turn
    /// if inbox.park() {
    ///     // sleep
    /// }
    /// ```
    pub fn park(&self) -> bool {
        self.mailbox.park()
    }

    /// Calls the waker as if something had arrived, unless the thread is
    /// [`awake`](Inbox::awake).
    ///
    /// ```
    /// use std::sync::{Arc, mpsc};
    /// use thence_core::hosting;
    ///
    /// let (tx, rx) = mpsc::channel();
    /// let inbox = hosting::inbox();
    /// inbox.set_waker(Arc::new(move || tx.send("a turn is due").unwrap()));
    /// inbox.nudge();
    /// assert_eq!(rx.recv(), Ok("a turn is due"));
    /// # inbox.clear_waker();
    /// ```
    pub fn nudge(&self) {
        self.mailbox.nudge();
    }

    /// Whether nothing has arrived. It takes no lock, so what arrives at the same time may not be
    /// seen yet.
    ///
    /// ```
    /// # use thence_core::hosting;
    /// assert!(hosting::inbox().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.mailbox.is_empty()
    }

    fn new() -> Arc<Self> {
        Arc::new(Self { mailbox: Mailbox::new() })
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("empty", &self.mailbox.is_empty())
            .field("closed", &self.mailbox.is_closed())
            .finish_non_exhaustive()
    }
}

/// This thread's inbox.
pub(crate) fn mine() -> Arc<Inbox> {
    // A thread that is ending has none: what arrives is not taken.
    with_mine(|mine| mine.inbox.clone()).unwrap_or_else(|| {
        let inbox = of_thread(cx().id());
        retire(&inbox, VecDeque::new());
        inbox
    })
}

/// The inbox of a thread that is alive, by its number. Whoever asks from another thread sees to it
/// that the thread asks for its own before it ends: that is what closes it.
pub(crate) fn of_thread(id: u64) -> Arc<Inbox> {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.entry(id).or_insert_with(Inbox::new).clone()
}

/// Runs up to `max` of what has arrived on this thread, and says how many that were.
pub(crate) fn deliver(max: usize) -> usize {
    let mut delivered = 0;
    while delivered < max
        && let Some(entry) = with_mine(Mine::next).flatten()
    {
        delivered += 1;
        match entry {
            Entry::Call(f) => run_guarded(f),
            Entry::Orphan(cell) => cell.arrived_orphaned(),
            Entry::Remote(id) => crate::trigger::arrived(id),
            Entry::Wake(cell) => cell.arrived(),
        }
    }
    delivered
}

/// Closes the inbox of this thread, which ends, and drops what was not read: what it had `taken`
/// out, and what it had not.
fn retire(inbox: &Inbox, taken: VecDeque<Entry>) {
    let left = inbox.mailbox.close();
    ALL.lock().unwrap_or_else(PoisonError::into_inner).remove(&cx().id());
    for entry in taken.into_iter().chain(left) {
        // A panic here would be the end of the process.
        cx().enter(|| run_guarded(|| drop(entry)));
    }
}

/// `f` with this thread's part; `None` when the thread is ending.
fn with_mine<R>(f: impl FnOnce(&mut Mine) -> R) -> Option<R> {
    let with = |mine: &RefCell<Option<Mine>>| {
        f(mine
            .borrow_mut()
            .get_or_insert_with(|| Mine { inbox: of_thread(cx().id()), taken: VecDeque::new() }))
    };
    MINE.try_with(with).ok()
}

struct Mine {
    inbox: Arc<Inbox>,
    /// What was taken out, all at once, and not run yet.
    taken: VecDeque<Entry>,
}

impl Mine {
    /// The next of what has arrived. With the last one the inbox is empty.
    fn next(&mut self) -> Option<Entry> {
        let mailbox = &self.inbox.mailbox;
        if self.taken.is_empty() && (mailbox.is_empty() || !mailbox.take(&mut self.taken)) {
            return None;
        }
        let entry = self.taken.pop_front();
        if self.taken.is_empty() {
            mailbox.take(&mut self.taken);
        }
        entry
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        retire(&self.inbox, std::mem::take(&mut self.taken));
    }
}

thread_local! {
    static MINE: RefCell<Option<Mine>> = const { RefCell::new(None) };
}

static ALL: LazyLock<Mutex<HashMap<u64, Arc<Inbox>>>> = LazyLock::new(Mutex::default);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::PoisonError;
    use std::task::Poll;
    use std::thread;

    use super::ALL;
    use crate::node::cx;
    use crate::{Failure, flow};

    #[test]
    fn an_inbox_that_another_thread_made_is_closed_with_its_own() {
        let (id, waker) = thread::spawn(|| {
            let (send, receive) = std::sync::mpsc::channel();
            flow(poll_fn(move |task| {
                let waker = task.waker();
                let clone = thread::scope(|scope| scope.spawn(|| waker.clone()).join().unwrap());
                send.send(clone).unwrap();
                Poll::Ready(Ok::<_, Failure>(()))
            }))
            .report();
            (cx().id(), receive.recv().unwrap())
        })
        .join()
        .unwrap();
        waker.wake();
        assert!(!ALL.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id));
    }
}
