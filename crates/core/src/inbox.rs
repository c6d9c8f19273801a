//! What arrives from other threads, and where: one inbox a thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::crossing::Mailbox;
use crate::node::{WakeCell, cx, run_guarded};

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
    /// empty. While something waits it is not called again: a thread that sleeps until it is
    /// called looks at [`is_empty`](Inbox::is_empty) first.
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
        self.mailbox.set_waker(Some(waker));
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

    /// Whether nothing has arrived.
    ///
    /// ```
    /// # use thence_core::hosting;
    /// assert!(hosting::inbox().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.mailbox.len() == 0
    }

    fn new() -> Arc<Self> {
        Arc::new(Self { mailbox: Mailbox::new() })
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("waiting", &self.mailbox.len())
            .field("closed", &self.mailbox.is_closed())
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
        let inbox = of_thread(cx().id());
        retire(&inbox);
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
    let inbox = mine();
    let mut delivered = 0;
    while delivered < max
        && let Some(entry) = inbox.mailbox.pop()
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

/// Closes the inbox of this thread, which ends, and drops what was not read.
fn retire(inbox: &Inbox) {
    let left = inbox.mailbox.close();
    ALL.lock().unwrap_or_else(PoisonError::into_inner).remove(&cx().id());
    for entry in left {
        // A panic here would be the end of the process.
        cx().enter(|| run_guarded(|| drop(entry)));
    }
}

struct Mine(Arc<Inbox>);

impl Drop for Mine {
    fn drop(&mut self) {
        retire(&self.0);
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
