//! Events one after the other, none of them missed.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::{Emitter, Reaction, Run, Subscription, own};
use crate::queue::{Queue, QueueClosed, QueueStream};
use crate::{Deferred, Failure};

impl Emitter {
    /// Every event of its type from now on, in order, however late it is asked for.
    ///
    /// ```
    /// use thence_core::Emitter;
    ///
    /// let emitter = Emitter::new();
    /// let beeps = emitter.events::<u32>();
    /// emitter.emit(1_u32);
    /// emitter.emit(2_u32);
    /// beeps.next().inspect(|beep| assert_eq!(*beep, 1)).report();
    /// beeps.next().inspect(|beep| assert_eq!(*beep, 2)).report();
    /// ```
    #[track_caller]
    pub fn events<E: Clone + 'static>(&self) -> Events<E> {
        let queue = Queue::unbounded();
        let stream = queue.stream();
        let subscription = self.subscribe(
            Location::caller(),
            Run::Each(Box::new(move |event: &E| {
                queue.try_put(event.clone()).map_err(Failure::from).into_reaction()
            })),
        );
        Events { stream, subscription }
    }
}

/// [`Emitter::events`] on this thread's own set.
///
/// ```
/// let numbers = thence_core::events::<u8>();
/// thence_core::emit(1_u8);
/// assert!(numbers.next().map(|n| n + 1).is_ready());
/// ```
#[track_caller]
pub fn events<E: Clone + 'static>() -> Events<E> {
    own().events()
}

/// Every event of a type since it was made; see [`Emitter::events`]. Also a `Stream`.
///
/// Dropping it unsubscribes. An event that was on its way to a `next` that left is the next one
/// again.
///
/// ```
/// use thence_core::{emit, events, testing};
///
/// #[derive(Clone)]
/// struct Line(&'static str);
///
/// let sum = testing::check_flow(async {
///     let lines = events::<Line>();
///     ["3", "4", "end"].into_iter().for_each(|text| emit(Line(text)));
///     let mut sum = 0;
///     while let Ok(n) = lines.next().await?.0.parse::<u8>() {
///         sum += n;
///     }
///     Ok(sum)
/// });
/// assert_eq!(sum, 7);
/// ```
#[must_use = "dropping it unsubscribes"]
pub struct Events<E: 'static> {
    stream: QueueStream<E>,
    subscription: Subscription,
}

impl<E: 'static> Events<E> {
    /// The next event.
    ///
    /// # Errors
    ///
    /// [`QueueClosed`], when the emitter is gone and every event was taken.
    ///
    /// ```
    /// use thence_core::Emitter;
    ///
    /// let emitter = Emitter::new();
    /// let numbers = emitter.events::<u8>();
    /// let first = numbers.next();
    /// assert!(!first.is_ready());
    /// emitter.emit(1_u8);
    /// assert!(first.is_ready());
    /// first.report();
    /// ```
    #[track_caller]
    pub fn next(&self) -> Deferred<E, QueueClosed> {
        self.stream.next()
    }
}

impl<E: 'static> Stream for Events<E> {
    type Item = E;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<E>> {
        Pin::new(&mut self.stream).poll_next(task)
    }
}

impl<E: 'static> Drop for Events<E> {
    fn drop(&mut self) {
        self.subscription.cancel();
    }
}

impl<E: 'static> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("waiting", &self.stream.len()).finish_non_exhaustive()
    }
}
