//! Queues to and from `Stream`.
//!
//! Users' code: the stream is polled in a flow, and dropped under a guard.

use std::fmt;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::{Queue, QueueClosed, Rejected, Shared, close, get, put, source_gone};
use crate::guarded::Guarded;
use crate::{Deferred, Never, Wait};

impl<T: 'static> Queue<T> {
    /// The items as a `Stream`, which ends when the queue is closed and empty.
    ///
    /// Streams of one queue share its items. A stream is no handle on the queue: with the last of
    /// those gone it ends, once it has given what is in the queue.
    ///
    /// ```
    /// use thence_core::{Queue, flow};
    ///
    /// let queue = Queue::unbounded();
    /// let stream = queue.stream();
    /// (1..=3).for_each(|n| queue.put(n).report());
    /// drop(queue);
    /// flow(async move {
    ///     let mut sum = 0;
    ///     while let Ok(n) = stream.next().await {
    ///         sum += n;
    ///     }
    ///     assert_eq!(sum, 6);
    ///     Ok(())
    /// }).report();
    /// ```
    pub fn stream(&self) -> QueueStream<T> {
        QueueStream { wait: None, queue: self.0.clone() }
    }

    /// A queue of at most `size` items that a flow fills from `stream`, and closes at its end.
    ///
    /// The flow reads no further than one item beyond what there is room for. It ends, and drops
    /// `stream`, when every handle and every stream of the queue is gone. A panic in `stream` is
    /// reported, and closes the queue.
    ///
    /// ```
    /// # use std::{pin::Pin, task::{Context, Poll}};
    /// # struct Countdown(u32);
    /// # impl futures_core::Stream for Countdown {
    /// #     type Item = u32;
    /// #     fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
    /// #         let next = self.0.checked_sub(1);
    /// #         self.0 = next.unwrap_or(0);
    /// #         Poll::Ready(next)
    /// #     }
    /// # }
    /// use thence_core::Queue;
    ///
    /// let queue = Queue::from_stream(Countdown(3), 1); // a `Stream` that gives 2, 1, 0
    /// for expected in [2, 1, 0] {
    ///     queue.get().inspect(move |n| assert_eq!(*n, expected)).report();
    /// }
    /// assert!(queue.is_closed());
    /// ```
    #[track_caller]
    pub fn from_stream(stream: impl Stream<Item = T> + 'static, size: usize) -> Self {
        let queue = Self::bounded(size);
        let tap = Tap::new(&queue.0);
        let pump = async move {
            // Dropped while its own panic unwinds, it may panic again.
            let mut stream = Guarded::new(Box::pin(stream));
            while let Some(item) = poll_fn(|task| stream.as_mut().poll_next(task)).await {
                let Some(taken) = tap.put(item) else { break };
                if taken.await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let pump = Deferred::<(), Never>::from_future_at(pump, Location::caller());
        *queue.0.pump.borrow_mut() = Some(pump.canceller());
        pump.report();
        queue
    }
}

/// The end of a queue through which a pump fills it. Keeps nothing alive; its end closes the queue.
struct Tap<T: 'static>(Weak<Shared<T>>);

impl<T: 'static> Tap<T> {
    fn new(queue: &Rc<Shared<T>>) -> Self {
        queue.sources.set(queue.sources.get() + 1);
        Self(Rc::downgrade(queue))
    }

    fn put(&self, item: T) -> Option<Deferred<(), Rejected<T>>> {
        self.0.upgrade().map(|queue| put(&queue, item))
    }
}

impl<T: 'static> Drop for Tap<T> {
    fn drop(&mut self) {
        if let Some(queue) = self.0.upgrade() {
            close(&queue);
            source_gone(&queue);
        }
    }
}

/// The items of a [`Queue`] as a `Stream`; see [`Queue::stream`].
///
/// Dropping it leaves: an item that was on its way to it goes to the next getter.
///
/// ```
/// use thence_core::Queue;
///
/// let queue = Queue::unbounded();
/// let (one, other) = (queue.stream(), queue.stream()); // they share the items
/// queue.put(1).report();
/// queue.put(2).report();
/// assert!(one.next().is_ready() && other.next().is_ready());
/// ```
#[must_use = "a stream gives nothing until it is asked"]
pub struct QueueStream<T: 'static> {
    /// Left before the queue is let go of.
    wait: Option<Wait<T, QueueClosed>>,
    queue: Rc<Shared<T>>,
}

impl<T: 'static> QueueStream<T> {
    /// The next item, as [`Queue::get`].
    ///
    /// # Errors
    ///
    /// [`QueueClosed`], when nothing is left in a queue that is closed.
    ///
    /// ```
    /// # use thence_core::Queue;
    /// let queue = Queue::unbounded();
    /// let stream = queue.stream();
    /// queue.put(1).report();
    /// stream.next().inspect(|n| assert_eq!(*n, 1)).report();
    /// ```
    #[track_caller]
    pub fn next(&self) -> Deferred<T, QueueClosed> {
        get(&self.queue)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.items.borrow().len()
    }
}

impl<T: 'static> Stream for QueueStream<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        let wait = this.wait.get_or_insert_with(|| get(&this.queue).into_future());
        let next = ready!(Pin::new(wait).poll(task));
        this.wait = None;
        Poll::Ready(next.ok())
    }
}

impl<T: 'static> fmt::Debug for QueueStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueStream")
            .field("len", &self.len())
            .field("closed", &self.queue.is_closed.get())
            .finish()
    }
}
