//! A queue: items wait for getters, getters for items, and putters for room.
//!
//! Users' code: items are dropped one by one under guards, the last of them after everybody who
//! waited has been told; nothing of an item is ever asked.

mod rejected;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

pub use self::rejected::{QueueClosed, Rejected};
pub use self::stream::QueueStream;
use crate::deferred::Canceller;
use crate::dump::Dump;
use crate::guarded::let_go_each;
use crate::node::cx;
use crate::waiters::Waiters;
use crate::{Deferred, Trigger};

/// Items on their way from those who put to those who get, first in, first out.
///
/// Nothing is lost to a getter that leaves or is cancelled: an item that was on its way to it is
/// the next one again, before all that came after it. (A queue may hold more than its size by what
/// came back.) Whoever took an item in a step of his own, such as `map`, has it.
///
/// A clone is another handle. When the last one is dropped nobody can put any more: what is in the
/// queue goes to its [streams](Queue::stream), and with none left getters end with
/// [`QueueClosed`], putters with [`Rejected::Closed`].
///
/// ```
/// use thence_core::Queue;
///
/// let queue = Queue::bounded(1);
/// queue.put("first").report();
/// let second = queue.put("second"); // waits for room
/// assert_eq!((queue.len(), queue.waiting_putters()), (1, 1));
/// queue.get().inspect(|item| assert_eq!(*item, "first")).report();
/// assert!(second.is_ready());
/// second.report();
/// ```
#[doc(alias = "DeferredQueue")]
#[doc(alias = "channel")]
#[doc(alias = "mpsc")]
pub struct Queue<T: 'static>(Rc<Shared<T>>);

struct Shared<T: 'static> {
    /// `None`: as many as come.
    size: Option<usize>,
    /// By the order in which they came, so that one that comes back finds its place.
    items: RefCell<BTreeMap<u64, T>>,
    next_number: Cell<u64>,
    is_closed: Cell<bool>,
    /// How many can put: the handles, and a pump.
    sources: Cell<usize>,
    getters: Waiters<T, QueueClosed>,
    /// Each with the item he brought.
    putters: Waiters<(), Rejected<T>, T>,
    /// Ends the flow that fills it from a stream.
    pump: RefCell<Option<Canceller>>,
}

impl<T: 'static> Queue<T> {
    /// A queue of at most `size` items; who puts more waits.
    ///
    /// Of size 0 it is a meeting: who puts waits until somebody gets.
    ///
    /// ```
    /// # use thence_core::Queue;
    /// let queue = Queue::bounded(2);
    /// queue.put(1).report();
    /// assert_eq!(queue.size(), Some(2));
    /// ```
    pub fn bounded(size: usize) -> Self {
        Self::of(Some(size))
    }

    /// A queue of as many items as are put.
    ///
    /// ```
    /// # use thence_core::Queue;
    /// let queue = Queue::unbounded();
    /// for n in 0..1000 {
    ///     queue.put(n).report(); // never waits
    /// }
    /// assert_eq!(queue.len(), 1000);
    /// ```
    pub fn unbounded() -> Self {
        Self::of(None)
    }

    fn of(size: Option<usize>) -> Self {
        Self(Rc::new(Shared {
            size,
            items: RefCell::default(),
            next_number: Cell::new(0),
            is_closed: Cell::new(false),
            sources: Cell::new(1),
            getters: Waiters::default(),
            putters: Waiters::default(),
            pump: RefCell::default(),
        }))
    }

    /// Puts an item in, or in line, when there is no room; ends when it is in.
    ///
    /// Leaving only stops the waiting: the item stays in line. A request to end takes it out, if
    /// it is not in yet, and drops it.
    ///
    /// # Errors
    ///
    /// [`Rejected::Closed`], with the item, when the queue is closed before the item is in.
    ///
    /// ```
    /// # use thence_core::Queue;
    /// let queue = Queue::bounded(1);
    /// queue.put("first").report();
    /// let second = queue.put("second");
    /// assert!(!second.is_ready());
    /// queue.try_get();
    /// assert!(second.is_ready());
    /// # second.report();
    /// ```
    #[doc(alias = "send")]
    #[track_caller]
    pub fn put(&self, item: T) -> Deferred<(), Rejected<T>> {
        put(&self.0, item)
    }

    /// Puts an item in, if there is room.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the item, when the queue is closed, or full: somebody else who waits for
    /// room is not overtaken.
    ///
    /// ```
    /// use thence_core::{Queue, Rejected};
    ///
    /// let queue = Queue::bounded(1);
    /// queue.try_put(1).unwrap();
    /// assert!(matches!(queue.try_put(2), Err(Rejected::Full(2))));
    /// ```
    #[doc(alias = "try_send")]
    pub fn try_put(&self, item: T) -> Result<(), Rejected<T>> {
        try_put(&self.0, item)
    }

    /// The next item. Who leaves or is cancelled is passed over.
    ///
    /// # Errors
    ///
    /// [`QueueClosed`], when nothing is left in a queue that is closed.
    ///
    /// ```
    /// # use thence_core::Queue;
    /// let queue = Queue::unbounded();
    /// let item = queue.get();
    /// queue.put("late").report();
    /// item.inspect(|item| assert_eq!(*item, "late")).report();
    /// ```
    #[doc(alias = "recv")]
    #[track_caller]
    pub fn get(&self) -> Deferred<T, QueueClosed> {
        get(&self.0)
    }

    /// The next item, if there is one.
    ///
    /// ```
    /// # use thence_core::Queue;
    /// let queue = Queue::unbounded();
    /// assert_eq!(queue.try_get(), None);
    /// queue.put(1).report();
    /// assert_eq!(queue.try_get(), Some(1));
    /// ```
    #[doc(alias = "try_recv")]
    pub fn try_get(&self) -> Option<T> {
        let first = self.0.items.borrow_mut().pop_first();
        if let Some((_, item)) = first {
            serve(&self.0);
            return Some(item);
        }
        // Only with no room at all does anybody wait at an empty queue.
        let putter = self.0.putters.pop()?;
        putter.trigger.fire(());
        Some(putter.with)
    }

    /// Takes nothing in any more. What is in the queue is still taken; then getters end with
    /// [`QueueClosed`]. Those who wait for room end with [`Rejected::Closed`], and have their
    /// items back.
    ///
    /// ```
    /// use thence_core::Queue;
    ///
    /// let queue = Queue::unbounded();
    /// queue.put(1).report();
    /// queue.close();
    /// queue.get().inspect(|item| assert_eq!(*item, 1)).report();
    /// queue.get().inspect_err(|closed| println!("{closed}")).recover(|_| 0).report();
    /// ```
    pub fn close(&self) {
        close(&self.0);
    }

    /// Whether it is closed; there may be items in it yet.
    ///
    /// ```
    /// # use thence_core::Queue;
    /// let queue = Queue::<u8>::unbounded();
    /// queue.close();
    /// assert!(queue.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.0.is_closed.get()
    }

    /// How many items are in it, without those that wait for room.
    ///
    /// ```
    /// # use thence_core::Queue;
    /// let queue = Queue::unbounded();
    /// queue.put(1).report();
    /// assert_eq!(queue.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.0.items.borrow().len()
    }

    /// Whether no item is in it.
    ///
    /// ```
    /// # use thence_core::Queue;
    /// assert!(Queue::<u8>::unbounded().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.items.borrow().is_empty()
    }

    /// How many items may be in it; `None` for one that is unbounded.
    ///
    /// ```
    /// # use thence_core::Queue;
    /// assert_eq!(Queue::<u8>::unbounded().size(), None);
    /// ```
    pub fn size(&self) -> Option<usize> {
        self.0.size
    }

    /// How many wait for an item.
    ///
    /// ```
    /// # use thence_core::Queue;
    /// let queue = Queue::<u8>::unbounded();
    /// let item = queue.get();
    /// assert_eq!(queue.waiting_getters(), 1);
    /// # drop(item);
    /// ```
    pub fn waiting_getters(&self) -> usize {
        self.0.getters.len()
    }

    /// How many items wait for room.
    ///
    /// ```
    /// # use thence_core::Queue;
    /// let queue = Queue::bounded(0);
    /// let put = queue.put(1);
    /// assert_eq!(queue.waiting_putters(), 1);
    /// # assert_eq!(queue.try_get(), Some(1));
    /// # put.report();
    /// ```
    pub fn waiting_putters(&self) -> usize {
        self.0.putters.len()
    }

    /// What is in it and who waits, in order: the sites where they began to.
    ///
    /// ```
    /// # use thence_core::Queue;
    /// let queue = Queue::bounded(2);
    /// queue.put(1).report();
    /// println!("{}", queue.dump());
    /// ```
    pub fn dump(&self) -> impl fmt::Display + use<T> {
        let mut head = format!("queue: {}", self.len());
        if let Some(size) = self.0.size {
            head += &format!(" of {size}");
        }
        head += if self.is_closed() { " items, closed" } else { " items" };
        let mut dump = Dump::new(head);
        self.0.getters.each(|site, ()| dump.line(format!("waiting to get {site}")));
        self.0.putters.each(|site, _| dump.line(format!("waiting to put {site}")));
        dump
    }
}

impl<T: 'static> Clone for Queue<T> {
    fn clone(&self) -> Self {
        self.0.sources.set(self.0.sources.get() + 1);
        Self(self.0.clone())
    }
}

impl<T: 'static> Drop for Queue<T> {
    fn drop(&mut self) {
        source_gone(&self.0);
    }
}

impl<T: 'static> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("size", &self.size())
            .field("closed", &self.is_closed())
            .field("waiting_getters", &self.waiting_getters())
            .field("waiting_putters", &self.waiting_putters())
            .finish()
    }
}

#[track_caller]
fn put<T: 'static>(queue: &Rc<Shared<T>>, item: T) -> Deferred<(), Rejected<T>> {
    match try_put(queue, item) {
        Ok(()) => Deferred::ok(()),
        Err(Rejected::Full(item)) => {
            let (trigger, d) = Deferred::with_error();
            queue.putters.stay(trigger, item);
            d
        }
        Err(closed) => Deferred::err(closed),
    }
}

fn try_put<T: 'static>(queue: &Rc<Shared<T>>, item: T) -> Result<(), Rejected<T>> {
    if queue.is_closed.get() {
        return Err(Rejected::Closed(item));
    }
    // Where there is room nobody waits for it: `serve` has let him in.
    if !queue.has_room() {
        return Err(Rejected::Full(item));
    }
    queue.take_in(item);
    serve(queue);
    Ok(())
}

#[track_caller]
fn get<T: 'static>(queue: &Rc<Shared<T>>) -> Deferred<T, QueueClosed> {
    let (trigger, d) = Deferred::with_error();
    queue.getters.join(trigger, ());
    serve(queue);
    d
}

/// Hands out what is there, and takes in what there is room for.
fn serve<T: 'static>(queue: &Rc<Shared<T>>) {
    // All of them stand in the queue of the thread before the first of them runs.
    cx().enter(|| {
        loop {
            if !queue.getters.is_empty() {
                let first = queue.items.borrow_mut().pop_first();
                if let Some((number, item)) = first {
                    match queue.getters.pop() {
                        Some(getter) => hand(queue, getter.trigger, number, item),
                        None => come_back(queue, number, item),
                    }
                    continue;
                }
            }
            if !queue.has_room() {
                return;
            }
            let Some(putter) = queue.putters.pop() else { break };
            queue.take_in(putter.with);
            putter.trigger.fire(());
        }
        if queue.is_closed.get() && queue.items.borrow().is_empty() {
            queue.end_getters();
        }
    });
}

fn hand<T: 'static>(queue: &Rc<Shared<T>>, trigger: Trigger<T, QueueClosed>, number: u64, item: T) {
    let home = Rc::downgrade(queue);
    trigger.on_unclaimed(move |item| {
        if let Some(queue) = home.upgrade() {
            come_back(&queue, number, item);
        }
    });
    trigger.fire(item);
}

fn come_back<T: 'static>(queue: &Rc<Shared<T>>, number: u64, item: T) {
    queue.items.borrow_mut().insert(number, item);
    serve(queue);
}

fn close<T: 'static>(queue: &Rc<Shared<T>>) {
    queue.is_closed.set(true);
    cx().enter(|| queue.end_putters());
    serve(queue);
}

/// A handle or a pump is gone. After the last of them nothing new comes.
fn source_gone<T: 'static>(queue: &Rc<Shared<T>>) {
    queue.sources.set(queue.sources.get() - 1);
    if queue.sources.get() == 0 {
        queue.is_closed.set(true);
        serve(queue);
    }
}

impl<T: 'static> Shared<T> {
    /// Whether one more may come in: to stay, or to go straight to a getter.
    fn has_room(&self) -> bool {
        !self.getters.is_empty() || self.size.is_none_or(|size| self.items.borrow().len() < size)
    }

    fn take_in(&self, item: T) {
        let number = self.next_number.replace(self.next_number.get() + 1);
        self.items.borrow_mut().insert(number, item);
    }

    fn end_getters(&self) {
        while let Some(getter) = self.getters.pop() {
            getter.trigger.fail(QueueClosed);
        }
    }

    fn end_putters(&self) {
        while let Some(putter) = self.putters.pop() {
            putter.trigger.fail(Rejected::Closed(putter.with));
        }
    }
}

/// Nobody is left who could get or put.
impl<T: 'static> Drop for Shared<T> {
    fn drop(&mut self) {
        let pump = self.pump.take();
        cx().enter(|| {
            self.end_putters();
            self.end_getters();
            if let Some(pump) = pump {
                pump.cancel();
            }
            let_go_each(self.items.take().into_values());
        });
    }
}
